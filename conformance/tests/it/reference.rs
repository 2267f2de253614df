//! A correct server passes, the reference and another one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use conformance::{Selection, Verdict};
use server::net::Tokio;
use server::{Config, Server};

use crate::mini::{self, Behaviour};
use crate::{ask, text};

async fn reference() -> SocketAddr {
    let config = Config { mesh: Some((Ipv4Addr::LOCALHOST, 0).into()), stun: None, ..Config::default() };
    let server = Server::bind(Tokio, config).await.expect("port 0 is free");
    let address = server.mesh_addr().expect("asked for");
    tokio::spawn(server.run());
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_on_the_reference_server() {
    let report = ask(reference().await, &[]).await.expect("it is there");
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
    let behaviour = Behaviour { latency: Duration::from_millis(20), ..Behaviour::default() };
    let report = ask(mini::start(behaviour).await, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    assert!(report.round_trip >= Duration::from_millis(40), "{:?}", report.round_trip);
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
        assert!(case.asks.ends_with('.'), "{case:?} does not ask a sentence");
        for needed in case.needs {
            let needed = cases.iter().find(|other| other.slug == *needed).expect("it exists");
            assert!(!needed.alone, "{case:?} needs {needed:?}, which runs last");
        }
    }
}
