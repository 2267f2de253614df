//! The reference server passes every case.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use conformance::service_cases as cases;
use conformance::stun::Service;
use conformance::{Level, Verdict};
use server::net::Tokio;
use server::{Config, Server, TurnSettings};

use super::ask;
use crate::text;

async fn reference(address: SocketAddr) -> SocketAddr {
    reference_with(address, |_| {}).await
}

async fn reference_with(address: SocketAddr, change: impl FnOnce(&mut TurnSettings)) -> SocketAddr {
    let user = |name: &str, password: &str| (name.to_owned(), password.to_owned());
    let mut turn = TurnSettings {
        users: vec![user("u", "p"), user("v", "q")],
        allow_private_peers: true,
        // More than the cases need in parallel, yet few enough for one case to use up.
        allocations_per_user_max: 60,
        ..TurnSettings::default()
    };
    change(&mut turn);
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
        .filter(|slug| !slug.starts_with("stun/tcp") && !["stun/xor-v6", "stun/every-address"].contains(slug))
        .collect();
    assert!(unsupported.is_empty(), "{unsupported:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_of_turn_passes_on_the_reference_server() {
    let report = ask(Service::Turn, reference((Ipv4Addr::LOCALHOST, 0).into()).await, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let other: Vec<_> =
        report.cases.iter().filter(|case| case.verdict != Verdict::Pass).map(|case| case.case.slug).collect();
    // Features that the reference server has only if asked; and it has one address of one family, and allows loopback peers here.
    let expected = [
        "turn/sha256",
        "turn/userhash",
        "turn/peer-loopback",
        "turn/peer-tunneled",
        "turn/peer-spellings",
        "turn/every-address",
    ];
    assert_eq!(other, expected, "{}", text(&report));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_pass_where_the_reference_server_has_them() {
    let hashes = |turn: &mut TurnSettings| (turn.sha256, turn.userhash) = (true, true);
    let address = reference_with((Ipv4Addr::LOCALHOST, 0).into(), hashes).await;
    let report = ask(Service::Turn, address, &["turn/sha256", "turn/userhash"]).await.expect("it is there");
    for slug in ["turn/sha256", "turn/userhash"] {
        assert_eq!(report.case(slug).expect("selected").verdict, Verdict::Pass, "{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_services_pass_on_the_reference_server_over_ipv6() {
    for service in [Service::Stun, Service::Turn] {
        let report = ask(service, reference((Ipv6Addr::LOCALHOST, 0).into()).await, &[]).await.expect("it is there");
        assert!(report.passed(), "{}", text(&report));
        for slug in ["stun/xor-v6", "turn/data-both-ways", "turn/channel-data", "turn/peer-tunneled"] {
            let asked = report.case(slug).is_none_or(|case| case.verdict == Verdict::Pass);
            assert!(asked, "{slug}\n{}", text(&report));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_server_refuses_each_address_of_its_own_machine() {
    let both = |turn: &mut TurnSettings| {
        turn.allow_private_peers = false;
        turn.relay_addresses = vec![IpAddr::from(Ipv4Addr::LOCALHOST).into(), IpAddr::from(Ipv6Addr::LOCALHOST).into()];
    };
    let address = reference_with((Ipv4Addr::LOCALHOST, 0).into(), both).await;
    let report =
        ask(Service::Turn, address, &["turn/peer-spellings", "turn/peer-tunneled"]).await.expect("it is there");
    for slug in ["turn/peer-spellings", "turn/peer-tunneled"] {
        assert_eq!(report.case(slug).expect("selected").verdict, Verdict::Pass, "{}", text(&report));
    }
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
