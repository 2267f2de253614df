//! Correct servers pass: the reference server and another one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conformance::{Dialect, Selection, Target, Verdict};
use server::net::Tokio;
use server::{Access, ApiSettings, Config, DIALECTS, Deflate, Listen, Server, Tls};

use crate::mini::{self, Behaviour};
use crate::{ask, ask_as, ask_at, dialect, text};

/// Starts the reference server with all dialects, on free ports; it lives as long as the test's runtime.
pub(crate) async fn server() -> Server<Tokio> {
    server_with(None).await
}

async fn server_with(deflate: Option<Deflate>) -> Server<Tokio> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = Listen::each(DIALECTS.iter().map(|entry| entry.name), |_| free);
    let config = Config { listen, stun: Some(free), deflate, ..Config::default() };
    Server::bind(Tokio, config).await.expect("port 0 is free")
}

pub(crate) async fn reference() -> SocketAddr {
    let server = server().await;
    let address = server.address("mesh").expect("asked for");
    tokio::spawn(server.run());
    address
}

/// Every case that applies passes on the reference server in this dialect, and at least this many do.
async fn all_pass(name: &str, at_least: usize) {
    all_pass_with(name, at_least, None).await;
}

async fn all_pass_with(name: &str, at_least: usize, deflate: Option<Deflate>) {
    let server = server_with(deflate).await;
    let url = server.url(name).expect("asked for");
    tokio::spawn(server.run());
    let report = ask_as(&dialect(name), &url, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let asked = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. })).count();
    assert!(asked >= at_least, "{asked} cases asked\n{}", text(&report));
    for slug in ["ws/deflate-parameters", "ws/deflate"] {
        let is_asked = report.case(slug).expect("all are listed").verdict == Verdict::Pass;
        assert_eq!(is_asked, deflate.is_some(), "{slug}\n{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sender_viewer() {
    all_pass("sender-viewer", 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call() {
    all_pass("call", 49).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay() {
    all_pass("relay", 43).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcast() {
    all_pass("broadcast", 26).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_over_socketio() {
    all_pass("call-socketio", 35).await;
}

/// The cases about compression are asked, and in the others browsers' handshakes offer it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay_with_compression() {
    all_pass_with("relay", 43, Some(Deflate::NoTakeover)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_with_compression_that_refers_to_earlier_messages() {
    all_pass_with("call", 49, Some(Deflate::Takeover)).await;
}

/// Over TLS with a self-signed certificate, and with a token. The suite is given both, and the server requires the
/// token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_a_token() {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key and a certificate");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tls");
    std::fs::create_dir_all(&folder).expect("the target folder is ours");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, pair.cert.pem()).expect("written");
    std::fs::write(&key, pair.signing_key.serialize_pem()).expect("written");
    let tls = Tls::load(&certificate, &key).unwrap_or_else(|error| panic!("{error}"));
    let access = Access { tokens: vec!["let-me-in".to_owned()], ..Access::default() };
    let listen = Listen::each(["mesh"], |_| (Ipv4Addr::LOCALHOST, 0).into());
    let config = Config { listen, stun: None, tls: Some(tls), access, ..Config::default() };
    let server = Server::bind(Tokio, config).await.expect("port 0 is free");
    let url = format!("wss://localhost:{}/", server.address("mesh").expect("asked for").port());
    tokio::spawn(server.run());

    let mesh = include_str!("../../dialects/mesh.toml").replace("[identity]", "[auth]\nrequired = true\n\n[identity]");
    let mesh = Arc::new(Dialect::parse("mesh.toml", &mesh).unwrap_or_else(|error| panic!("{error}")));
    let target: Target = url.parse().expect("a good URL");
    let error = ask_at(&mesh, &target, &[]).await.expect_err("nobody signed it").to_string();
    assert!(
        error.contains("the TLS handshake fails") && error.contains("--insecure accepts any certificate"),
        "{error}"
    );
    let target = target.insecure(true);
    let error = ask_at(&mesh, &target, &[]).await.expect_err("no token").to_string();
    assert!(error.contains("TLS is accepted") && error.contains("HTTP 401"), "{error}");
    let target = target.with_header("Authorization", "Bearer let-me-in").expect("a good header");
    let report = ask_at(&mesh, &target, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    assert_eq!(report.case("sec/auth").expect("asked").verdict, Verdict::Pass);
}

/// With an admin token, and with pages of one origin that may send credentials.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_with_a_token_and_credentials() {
    let api = ApiSettings {
        admin_token: Some("admin".to_owned()),
        credentials_origins: vec!["https://page.example".to_owned()],
        ..ApiSettings::default()
    };
    let listen = Listen::each(["sender-viewer"], |_| (Ipv4Addr::LOCALHOST, 0).into());
    let server = Server::bind(Tokio, Config { listen, stun: None, api, ..Config::default() }).await;
    let server = server.expect("port 0 is free");
    let url = server.url("sender-viewer").expect("asked for");
    tokio::spawn(server.run());
    let text = include_str!("../../dialects/sender-viewer.toml").replace("[http.kick]", "[http.kick]\nbearer = true");
    let dialect = Arc::new(Dialect::parse("sender-viewer.toml", &text).unwrap_or_else(|error| panic!("{error}")));
    let target: Target = url.parse().expect("a good URL");
    let report = ask_at(&dialect, &target, &["http/kick*"]).await.expect("it is there");
    let kick = &report.case("http/kick").expect("asked").verdict;
    assert!(matches!(kick, Verdict::Unsupported { why } if why.contains("use --bearer")), "{kick:?}");
    let target = target.with_header("Authorization", "Bearer admin").expect("a good header");
    let report = ask_at(&dialect, &target, &["http/*"]).await.expect("it is there");
    assert!(report.passed(), "{}", crate::text(&report));
    for slug in ["http/kick-auth", "http/cors-credentials", "http/preflight"] {
        assert_eq!(report.case(slug).expect("asked").verdict, Verdict::Pass, "{slug}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_on_the_reference_server() {
    let url = format!("ws://{}/", reference().await);
    let report = ask_as(&dialect("mesh"), &url, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let text = text(&report);
    assert!(text.starts_with("PASS  ws://127.0.0.1:"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(json["passed"], true);
    assert!(json["cases"].as_array().is_some_and(|cases| cases.len() > 60), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_on_a_correct_server_that_makes_other_choices() {
    let report = ask(mini::start(Behaviour::default()).await, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let remarks: Vec<_> = report.cases.iter().flat_map(|case| &case.notes.choices).collect();
    assert!(remarks.iter().any(|remark| remark.contains("ignored without an error")), "{remarks:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_on_a_slow_server() {
    let behaviour = Behaviour { latency: Duration::from_millis(40), ..Behaviour::default() };
    let report = ask(mini::start(behaviour).await, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    assert!(report.round_trip >= Duration::from_millis(80), "{:?}", report.round_trip);
}

#[tokio::test]
async fn one_case_runs_with_what_it_needs() {
    let report = ask(reference().await, &["mesh/uni*"]).await.expect("it is there");
    let slugs: Vec<_> = report.cases.iter().map(|case| case.case.slug).collect();
    assert_eq!(slugs, ["room/join-ack", "mesh/delivery", "mesh/unicast"]);
    assert!(report.cases.iter().all(|case| case.verdict == Verdict::Pass));
}

#[test]
fn an_unknown_case_is_refused_with_the_nearest_name() {
    let error = conformance::select(&Selection {
        patterns: vec!["room/*".to_owned(), "sec/from-spof".to_owned()],
        ..Selection::default()
    });
    assert_eq!(
        error.expect_err("there is none").to_string(),
        "no case matches `sec/from-spof`; the nearest is `sec/from-spoof`"
    );
}

#[test]
fn slugs_are_unique_and_what_they_need_comes_before_and_hurts_nobody() {
    let cases = conformance::cases();
    for (index, case) in cases.iter().enumerate() {
        assert!(case.slug.split_once('/').is_some_and(|(group, name)| !group.is_empty() && !name.is_empty()));
        assert!(cases[..index].iter().all(|other| other.slug != case.slug), "{case:?} is there twice");
        assert!(case.rule.ends_with('.'), "the rule of {case:?} is not a sentence");
        for needed in case.needs {
            let needed = cases.iter().position(|other| other.slug == *needed).expect("it exists");
            let (needed, before) = (cases[needed], needed < index);
            assert!(!needed.alone || (case.alone && before), "{case:?} needs {needed:?}, which runs last");
        }
    }
}
