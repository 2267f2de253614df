//! The reference server passes every case.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use conformance::service_cases as cases;
use conformance::stun::Service;
use conformance::{Level, Verdict};
use server::net::Tokio;
use server::{Config, Server, TurnSettings};

use super::ask;
use crate::text;

async fn reference(address: SocketAddr) -> SocketAddr {
    let user = |name: &str, password: &str| (name.to_owned(), password.to_owned());
    let turn = TurnSettings {
        users: vec![user("u", "p"), user("v", "q")],
        allow_private_peers: true,
        // More than the cases need in parallel, yet few enough for one case to use up.
        allocations_per_user_max: 60,
        ..TurnSettings::default()
    };
    let config = Config { listen: Vec::new(), stun: Some(address), turn: Some(turn), ..Config::default() };
    let server = Server::bind(Tokio, config).await.expect("port 0 is free");
    let address = server.address("stun").expect("asked for");
    tokio::spawn(server.run());
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_on_the_reference_server() {
    let report = ask(Service::Stun, reference((Ipv4Addr::LOCALHOST, 0).into()).await, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let must = |case: &&conformance::CaseReport| case.case.group() == "stun" && case.case.level == Level::Must;
    let unsupported: Vec<_> = report
        .cases
        .iter()
        .filter(must)
        .filter(|case| case.verdict != Verdict::Pass)
        .map(|case| case.case.slug)
        .filter(|slug| !slug.starts_with("stun/tcp") && *slug != "stun/xor-v6")
        .collect();
    assert!(unsupported.is_empty(), "{unsupported:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_of_turn_passes_on_the_reference_server() {
    let report = ask(Service::Turn, reference((Ipv4Addr::LOCALHOST, 0).into()).await, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let other: Vec<_> =
        report.cases.iter().filter(|case| case.verdict != Verdict::Pass).map(|case| case.case.slug).collect();
    // Features that the reference server lacks; and it allows loopback peers here.
    let expected = ["turn/sha256", "turn/dont-fragment", "turn/peer-loopback", "turn/tcp"];
    assert_eq!(other, expected, "{}", text(&report));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_is_asked_where_the_server_has_it() {
    let report = ask(Service::Stun, reference((Ipv6Addr::LOCALHOST, 0).into()).await, &["stun/xor-v6"]).await;
    let report = report.expect("it is there");
    assert_eq!(report.case("stun/xor-v6").expect("selected").verdict, Verdict::Pass, "{}", text(&report));
}

#[test]
fn slugs_are_unique_and_what_they_need_comes_before_and_hurts_nobody() {
    let all: Vec<_> = [Service::Stun, Service::Turn].into_iter().flat_map(cases).collect();
    for (index, case) in all.iter().enumerate() {
        assert!(["stun", "nat-behaviour", "turn"].contains(&case.group()), "{case:?}");
        assert!(all[..index].iter().all(|other| other.slug != case.slug), "{case:?} is there twice");
        assert!(case.rule.ends_with('.'), "the rule of {case:?} is not a sentence");
        assert!(!case.citations.is_empty() || case.level == Level::May, "{case:?} is of no specification");
        for needed in case.needs {
            let needed = all.iter().find(|other| other.slug == *needed).expect("it exists");
            assert!(!needed.alone && !needed.slow, "{case:?} needs {needed:?}, which runs last");
        }
    }
}
