//! Recordings of a run: complete, without secrets, and fit to be replayed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::{Dialect, Options, Played, Recording, Report, Selection, Show, Target, Unplayable};
use server::net::Tokio as Net;
use server::{Access, ApiSettings, Config, DIALECTS, Listen, Server, TurnSettings};

use crate::mini::{self, Behaviour, Choices, Defect, Ids};
use crate::{dialect, lenient_mesh, text};

async fn reference(config: Config) -> Server<Net> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = Listen::each(DIALECTS.iter().map(|entry| entry.name), |_| free);
    let all = Config { listen, stun: Some(free), ..config };
    Server::bind(Net, all).await.expect("port 0 is free")
}

/// Runs cases with recording on.
async fn recorded(dialect: &Arc<Dialect>, target: &Target, cases: &[&str]) -> (Report, Vec<Recording>) {
    let patterns = cases.iter().map(|case| (*case).to_owned()).collect();
    let cases = conformance::select(&Selection { patterns, ..Selection::default() }).expect("there are such cases");
    let options = Options { deadline: Duration::from_secs(300), record: true, ..Options::default() };
    let report = conformance::run(Tokio, target, dialect, &cases, &options).await.expect("it is there");
    let recordings = report.cases.iter().filter_map(|case| Recording::of(&report, case));
    // After a round trip through the file format.
    let read = |recording: Recording| {
        let read = Recording::parse("file", &recording.lines()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read, recording);
        read
    };
    let recordings = recordings.map(read).collect();
    (report, recordings)
}

async fn play(dialect: &Arc<Dialect>, target: &Target, recording: &Recording) -> Played {
    conformance::replay(Tokio, target, dialect, recording).await.unwrap_or_else(|error| panic!("{error}"))
}

fn of<'a>(recordings: &'a [Recording], case: &str) -> &'a Recording {
    recordings.iter().find(|recording| recording.head.case == case).expect("it was recorded")
}

fn at(address: SocketAddr) -> Target {
    format!("ws://{address}/").parse().expect("a good URL")
}

/// A recording of each case on one reference server replays without differences on another one, which assigns other
/// ids.
async fn comes_again(name: &str, at_least: usize) {
    let dialect = dialect(name);
    let (first, second) =
        (reference(Config::default()).await, reference(Config { seed: 99, ..Config::default() }).await);
    let targets: [Target; 2] =
        [&first, &second].map(|server| server.url(name).expect("asked for").parse().expect("a good URL"));
    tokio::spawn(first.run());
    tokio::spawn(second.run());
    let (report, recordings) = recorded(&dialect, &targets[0], &[]).await;
    assert!(report.passed(), "{}", text(&report));
    let mut played = 0;
    // Clients that connect or leave all at once do so in a different order each time, and the amount of data in the system's
    // buffers varies. A kick is a request over plain HTTP, which is not replayed.
    let by_chance = [
        "load/reconnect-storm",
        "mesh/one-offerer",
        "room/leave-together",
        "role/both-leave",
        "load/slow-consumer",
        "http/kick",
        "http/kick-once",
    ];
    let races = |recording: &&Recording| by_chance.contains(&&*recording.head.case);
    for recording in recordings.iter().filter(|recording| !races(recording)) {
        match conformance::replay(Tokio, &targets[1], &dialect, recording).await {
            Ok(again) => {
                // After a race the outcome may differ.
                let differs = again.differs().filter(|first| again.raced.is_none_or(|raced| first < &raced));
                assert_eq!(differs, None, "{name}\n{}", again.text());
                played += usize::from(again.raced.is_none());
            }
            Err(Unplayable::Bad(error)) => assert!(error.to_string().contains("--case"), "{error}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(played >= at_least, "{name}: only {played} of {} recordings were played", recordings.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_comes_again_on_another_server_of_its_kind() {
    comes_again("mesh", 40).await;
    comes_again("sender-viewer", 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_difference_is_marked() {
    let mesh = lenient_mesh();
    let right = mini::start(Behaviour::default()).await;
    let (_, recordings) = recorded(&mesh, &at(right), &["mesh/unicast", "room/join-ack"]).await;
    let recording = of(&recordings, "mesh/unicast");
    // Ids of a different length are replaced everywhere.
    let choices = Choices { ids: Ids::Uuid, ..Choices::default() };
    let other = mini::start(Behaviour { choices, ..Behaviour::default() }).await;
    let played = play(&mesh, &at(other), recording).await;
    assert_eq!(played.differs(), None, "{}", played.text());

    let wrong = Behaviour { defect: Some(Defect::TargetedMessageToAll), choices, ..Behaviour::default() };
    let played = play(&mesh, &at(mini::start(wrong).await), recording).await;
    let text = played.text();
    assert!(played.differs().is_some(), "{text}");
    let marked: Vec<_> = text.lines().filter(|line| line.contains('!')).collect();
    assert_eq!(marked.len(), 1, "{text}");
    assert!(text.contains("now ") && text.contains("then "), "{text}");

    let silent = Behaviour { defect: Some(Defect::SignalsNowhere), ..Behaviour::default() };
    let played = play(&mesh, &at(mini::start(silent).await), recording).await;
    assert!(played.text().contains("nothing"), "{}", played.text());
    let gone = conformance::replay(Tokio, &"ws://127.0.0.1:9/".parse().expect("good"), &mesh, recording).await;
    assert!(matches!(gone, Err(Unplayable::Unreachable(_))), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_kept_or_shown() {
    const BEARER: &str = "bearer-5ecret";
    const QUERY: &str = "query-5ecret";
    const SHARED: &str = "shared-5ecret";
    let access = Access { tokens: vec![BEARER.to_owned(), QUERY.to_owned()], ..Access::default() };
    let turn = TurnSettings { secret: Some(SHARED.to_owned()), ..TurnSettings::default() };
    // Where clients need tokens, kicks need one too.
    let api = ApiSettings { admin_token: Some(BEARER.to_owned()), ..ApiSettings::default() };
    let server = reference(Config { access, api, turn: Some(turn), ..Config::default() }).await;
    let address = server.address("api").expect("asked for");
    tokio::spawn(server.run());
    let url = format!("ws://{address}/ws?token={QUERY}");
    let target: Target = url.parse().expect("a good URL");
    let target = target.with_header("Authorization", &format!("Bearer {BEARER}")).expect("a good header");
    let dialect = dialect("sender-viewer");
    let (report, recordings) = recorded(&dialect, &target, &[]).await;
    assert!(report.passed(), "{}", text(&report));
    let ice = of(&recordings, "http/ice-schema").lines();
    assert!(ice.contains(r#"\"credential\":\"…\""#), "{ice}");
    let kept: String = recordings.iter().map(Recording::lines).collect();
    assert!(kept.contains("/ws?token=…"), "the path is kept");
    let shown = report.text(Show::new("again")) + &report.json() + &report.url;
    for secret in [BEARER, QUERY, SHARED] {
        assert!(!kept.contains(secret) && !shown.contains(secret), "{secret} is there");
    }
    // The secrets are not in the recording, so the user gives them again for the replay.
    let played = play(&dialect, &target, of(&recordings, "room/join-ack")).await;
    assert_eq!(played.differs(), None, "{}", played.text());
    let refused = conformance::replay(Tokio, &at(address), &dialect, of(&recordings, "room/join-ack")).await;
    assert!(matches!(refused, Err(Unplayable::Unreachable(_))), "{refused:?}");
}

#[test]
fn a_bad_file_is_told_by_its_line() {
    const HEAD: &str =
        r#"{"recording":1,"dialect":"mesh","case":"a/b","verdict":"pass","url":"ws://h/","clients":["ana"]}"#;
    for (text, says) in [
        (String::new(), "file:1: the file is empty"),
        ("{}".to_owned(), "file:1: is not a recording written by `--record DIR`: missing field `recording`"),
        (HEAD.replace(r#""recording":1"#, r#""recording":2"#), "file:1: is a recording of version 2"),
        (format!("{HEAD}\n{{\"at_ms\":1.0}}"), "file:2: missing field `client`"),
        (format!("{HEAD}\n\n{{\"at_ms\":1.0,\"client\":0,\"shouts\":\"x\"}}"), "file:3: "),
        (format!("{HEAD}\n{{\"at_ms\":1.0,\"client\":1,\"sends\":\"x\"}}"), "file:2: client 1 of 1: the first is 0"),
        (
            format!("{HEAD}\n{{\"at_ms\":1.0,\"client\":0,\"sends-bytes\":{{\"hex\":\"0\",\"words\":\"x\"}}}}"),
            "file:2: `hex` does not have two digits for each byte",
        ),
    ] {
        let error = Recording::parse("file", &text).expect_err(&text).to_string();
        assert!(error.starts_with(says), "{error}");
    }
    assert!(Recording::parse("file", HEAD).is_ok());
}

#[tokio::test]
async fn of_another_dialect_or_without_a_connection() {
    let head = |dialect: &str| {
        format!(
            r#"{{"recording":1,"dialect":"{dialect}","case":"a/b","verdict":"pass","url":"ws://h/","clients":["ana"]}}"#
        )
    };
    let target: Target = "ws://127.0.0.1:9/".parse().expect("good");
    for (name, says) in [("call", "a recording of `call`, not of `mesh`"), ("mesh", "run the case with --case a/b")] {
        let recording = Recording::parse("file", &head(name)).expect("good");
        let error = conformance::replay(Tokio, &target, &dialect("mesh"), &recording).await.expect_err(name);
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// A failure is shown as a list and as a diagram, with the commands that run the case again and replay it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_drawn() {
    let mesh = lenient_mesh();
    let wrong = mini::start(Behaviour { defect: Some(Defect::TargetedMessageToAll), ..Behaviour::default() }).await;
    let (report, _) = recorded(&mesh, &at(wrong), &["mesh/unicast"]).await;
    let show = Show { replay: Some("glare conformance replay DIR/FILE"), ..Show::new("glare conformance") };
    let wide = report.text(show);
    assert!(wide.contains("glare conformance replay DIR/mesh.unicast.jsonl\n"), "{wide}");
    let drawn: Vec<_> = wide.lines().filter(|line| line.contains("signal offer")).collect();
    assert!(!drawn.is_empty() && wide.contains("◀──") && wide.contains("─▶│"), "{wide}");
    assert!(!report.text(Show { columns: 50, ..show }).contains("◀──"));
    let plain = report.text(Show { ascii: true, ..show });
    assert!(plain.is_ascii() && plain.contains("<--") && plain.contains("->|"), "{plain}");
}
