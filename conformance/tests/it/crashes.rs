//! A server that crashes, and a command that brings it back.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::{Dialect, Options, Report, Restart, Selection, Verdict};
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::sleep;

use crate::small::{self, Clients, Did};
use crate::text;

/// Relays any text to the others in the room of the URL.
fn relay(clients: &mut Clients, me: usize, did: Did) {
    let Did::Sends(message) = did else { return };
    let path = &clients.connected[&me].path;
    clients.others(me, |other| other.path == *path).into_iter().for_each(|to| clients.message(to, message.clone()));
}

/// Starts a server that crashes when it receives a text for which this holds. A file of this name brings it back.
async fn start(name: &str, crashes: fn(&str) -> bool) -> (SocketAddr, PathBuf) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&file);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    let (crash, mut crashed) = unbounded_channel();
    // As with a process, nothing is delivered after the crash, however late the task below is notified.
    let is_dead = Arc::new(AtomicBool::new(false));
    let dies = Arc::clone(&is_dead);
    let handle = Arc::new(move |clients: &mut Clients, me: usize, did: Did| match did {
        _ if dies.load(Ordering::SeqCst) => {}
        Did::Sends(message) if message.to_text().is_ok_and(crashes) => {
            dies.store(true, Ordering::SeqCst);
            let _ = crash.send(());
        }
        did => relay(clients, me, did),
    });
    let wanted = file.clone();
    tokio::spawn(async move {
        let mut listener = Some(listener);
        loop {
            let bound = match listener.take() {
                Some(bound) => bound,
                None => TcpListener::bind(address).await.expect("it is free again"),
            };
            tokio::select! { biased;
                _ = crashed.recv() => {}
                () = small::accept(bound, Arc::clone(&handle)) => {}
            }
            while std::fs::remove_file(&wanted).is_err() {
                sleep(Duration::from_millis(20)).await;
            }
            is_dead.store(false, Ordering::SeqCst);
        }
    });
    (address, file)
}

async fn ask(address: SocketAddr, cases: &[&str], restart: Option<Restart>) -> Report {
    // The server has no limit, and passes on any text.
    let relay = include_str!("../../dialects/relay.toml").replace("code-points-max = 64\ndefault = \"default\"\n", "");
    let relay = relay.split("[declares]").next().expect("it begins");
    let dialect = Arc::new(Dialect::parse("relay.toml", relay).unwrap_or_else(|error| panic!("{error}")));
    let patterns = cases.iter().map(|case| (*case).to_owned()).collect();
    let cases = conformance::select(&Selection { patterns, ..Selection::default() }).expect("there are such cases");
    let options = Options { deadline: Duration::from_secs(300), restart, ..Options::default() };
    let target = format!("ws://{address}/").parse().expect("a URL");
    conformance::run(Tokio, &target, &dialect, &cases, &options).await.expect("it is there")
}

/// The cases that fail, each with the reason.
fn failed(report: &Report) -> Vec<(&'static str, &str)> {
    let fails = report.cases.iter().filter_map(|case| match &case.verdict {
        Verdict::Fail { why, .. } => Some((case.case.slug, why.as_str())),
        _ => None,
    });
    fails.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_crash_is_told_once_with_its_frame_and_the_run_goes_on() {
    let (address, file) = start("restart-alone", |text| text == "hello" || text == "null").await;
    let restart = Restart::new(format!("touch {}", file.display()));
    let report = ask(address, &["msg/*", "ws/close-*", "mesh/*"], Some(restart.clone())).await;
    let shown = text(&report);
    let [(json, word), (null, nothing)] = failed(&report)[..] else { panic!("{shown}") };
    assert_eq!((json, null), ("msg/not-json", "msg/null"), "{shown}");
    assert!(word.starts_with("the server crashed after ana sent hello: "), "{word}");
    assert!(nothing.starts_with("the server crashed after ana sent null: "), "{nothing}");
    assert!(report.cases.iter().all(|case| !matches!(case.verdict, Verdict::NotTested { .. })), "{shown}");
    assert!(restart.failure().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_cases_that_ran_together_only_the_one_that_crashed_it_fails() {
    let (address, file) = start("restart-together", |text| text.contains("number-5-")).await;
    let restart = Restart::new(format!("touch {}", file.display()));
    let report = ask(address, &["mesh/*", "bcast/*", "room/*", "sec/cross-room-leak"], Some(restart)).await;
    let shown = text(&report);
    let [(slug, why)] = failed(&report)[..] else { panic!("{shown}") };
    assert!(slug == "mesh/fifo" && why.starts_with("the server crashed after ana sent "), "{shown}");
    assert!(report.cases.iter().all(|case| !matches!(case.verdict, Verdict::NotTested { .. })), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_does_not_bring_it_back_is_told() {
    for (command, says) in [
        ("exit 3", "the command `exit 3` fails (exit status: 3): give a command that starts the server again"),
        ("true", "the command `true` has succeeded, but the server does not answer at ws://127.0.0.1:"),
    ] {
        let (address, _) = start("restart-not", |text| text == "null").await;
        let restart = Restart::new(command);
        let report = ask(address, &["msg/*"], Some(restart.clone())).await;
        let failure = restart.failure().unwrap_or_default();
        assert!(failure.starts_with(says) && failure.contains("at the same address"), "{failure}");
        let shown = text(&report);
        assert!(
            matches!(failed(&report)[..], [("msg/null", why)] if why.contains("crashed after ana sent null")),
            "{shown}"
        );
        assert!(shown.contains("the server has not answered since msg/null"), "{shown}");
    }
}
