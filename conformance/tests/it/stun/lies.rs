//! Servers with one defect each: the case for the defect fails, the results of others do not change, and nothing hangs.

use std::net::Ipv4Addr;

use conformance::stun::Service;
use conformance::{Report, Verdict};
use tokio::time::timeout;

use super::liar::{Habit, LIMIT, Lie, nobody, start, start_with};
use super::{Service::Stun, Service::Turn, ask};
use crate::text;

fn red(report: &Report) -> Vec<&'static str> {
    let is_red = |verdict: &Verdict| matches!(verdict, Verdict::Fail { .. });
    report.cases.iter().filter(|case| is_red(&case.verdict)).map(|case| case.case.slug).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_honest_one_passes() {
    for service in [Stun, Turn] {
        let report = ask(service, start(Lie::Nothing).await, &[]).await.expect("it is there");
        assert!(report.passed(), "{}", text(&report));
    }
}

/// The suite asks for IPv6 at the port that it knows, where somebody else may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_at_the_same_port_is_not_the_server() {
    let server = start(Lie::Nothing).await;
    let echo = tokio::net::UdpSocket::bind((std::net::Ipv6Addr::LOCALHOST, server.port())).await.expect("it is free");
    tokio::spawn(async move {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = echo.recv_from(&mut datagram).await {
            let _ = echo.send_to(&datagram[..length], from).await;
        }
    });
    let report = ask(Stun, server, &["stun/xor-v6"]).await.expect("it is there");
    let verdict = &report.case("stun/xor-v6").expect("it is listed").verdict;
    assert!(matches!(verdict, Verdict::Unsupported { .. }), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_servers_with_unusual_habits_pass() {
    let alternate = start(Lie::Nothing).await;
    let habits = [
        Habit::FewChallenges,
        Habit::NonceOnce,
        Habit::Redirects(alternate),
        Habit::OnlyV6,
        Habit::BothFamilies,
        Habit::Quota,
        Habit::Tcp,
        Habit::Remembers,
    ];
    let mut running = tokio::task::JoinSet::new();
    for habit in habits {
        running.spawn(async move {
            let asked = timeout(LIMIT, ask(Turn, start_with(Lie::Nothing, habit).await, &[])).await;
            (habit, asked.unwrap_or_else(|_| panic!("{habit:?} hangs")).expect("it is there"))
        });
    }
    while let Some(asked) = running.join_next().await {
        let (habit, report) = asked.expect("no panic");
        assert!(report.passed(), "{habit:?}\n{}", text(&report));
        // The server has what the case needs, so it is really asked.
        let needed: &[&str] = match habit {
            Habit::OnlyV6 => &["turn/peer-tunneled", "turn/data-both-ways", "turn/channel-data"],
            Habit::BothFamilies => &["turn/peer-tunneled", "turn/443-mapped"],
            Habit::Quota => &["turn/486", "turn/486-per-user"],
            Habit::Tcp => &["turn/tcp", "turn/tcp-padding"],
            _ => &["turn/data-both-ways", "turn/441-channel"],
        };
        for slug in needed {
            assert_eq!(report.case(slug).expect("selected").verdict, Verdict::Pass, "{habit:?}\n{}", text(&report));
        }
    }
}

/// A server that refuses its own machine is asked only about that: on this machine it relays to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_its_own_machine_passes() {
    let address = start_with(Lie::Nothing, Habit::NotItself).await;
    let report = ask(Turn, address, &["turn/peer-spellings"]).await.expect("it is there");
    assert_eq!(report.case("turn/peer-spellings").expect("selected").verdict, Verdict::Pass, "{}", text(&report));
}

/// What a server needs so that its defect shows.
fn habit_for(lie: Lie) -> Habit {
    match lie {
        Lie::SharedQuota => Habit::Quota,
        Lie::LeaksPaddingOverTcp => Habit::Tcp,
        Lie::V6ByDefault | Lie::NothingByDefault | Lie::TunneledPeers => Habit::BothFamilies,
        Lie::AnotherNameOfItself => Habit::NotItself,
        Lie::RedirectsNowhere | Lie::RedirectsToItself => Habit::Redirects((Ipv4Addr::LOCALHOST, 9).into()),
        _ => Habit::Usual,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_lie_turns_the_right_cases_red() {
    let lies: &[(Service, Lie, &[&str])] = &[
        (Stun, Lie::WrongTransactionId, &["stun/binding"]),
        (Stun, Lie::NoXor, &["stun/xor-v4", "stun/no-mixup", "stun/transaction-id", "stun/unknown-optional"]),
        (Stun, Lie::WrongXorPort, &["stun/xor-v4", "stun/no-mixup", "stun/transaction-id", "stun/unknown-optional"]),
        (Stun, Lie::ConstantAddress, &["stun/xor-v4", "stun/no-mixup", "stun/transaction-id", "stun/unknown-optional"]),
        (Stun, Lie::No420List, &["stun/unknown-required", "stun/vectors-5769", "nat-behaviour/single-ip"]),
        (Stun, Lie::Wrong420List, &["stun/unknown-required", "stun/vectors-5769", "nat-behaviour/single-ip"]),
        (Stun, Lie::IgnoresUnknown, &["stun/unknown-required", "nat-behaviour/single-ip"]),
        (Stun, Lie::AnswersFromAnotherPort, &["stun/source-address"]),
        (Stun, Lie::Garbage, &["stun/binding"]),
        (Stun, Lie::AnswersTwice, &["stun/no-mixup"]),
        (Stun, Lie::AnswersIndications, &["stun/indication"]),
        (Stun, Lie::AnswersResponses, &["stun/response-ignored"]),
        (Stun, Lie::AnswersBadCookie, &["stun/bad-cookie"]),
        (Stun, Lie::AnswersBadLength, &["stun/bad-length"]),
        (Stun, Lie::AnswersShort, &["stun/short"]),
        (Stun, Lie::DiesOfShort, &["stun/short"]),
        (Stun, Lie::BadPadding, &["stun/well-formed"]),
        (Stun, Lie::WrongFingerprint, &["stun/well-formed", "stun/fingerprint"]),
        (Turn, Lie::No401, &["turn/401"]),
        (Turn, Lie::SameNonce, &["turn/nonce-per-client"]),
        (Turn, Lie::AnyPassword, &["turn/wrong-password", "turn/unknown-user", "turn/tampered"]),
        (Turn, Lie::AnyNonce, &["turn/438"]),
        (Turn, Lie::UnsealedAnswers, &["turn/allocate"]),
        (Turn, Lie::AnyTransport, &["turn/442"]),
        (Turn, Lie::AllocatesAgain, &["turn/437"]),
        (Turn, Lie::RelaysInWithoutPermission, &["turn/no-permission", "turn/permission-own"]),
        (Turn, Lie::RelaysOutWithoutPermission, &["turn/no-permission"]),
        (Turn, Lie::PermissionForPort, &["turn/permission-any-port", "turn/channel-permission"]),
        (Turn, Lie::OpenRelay, &["turn/refresh-0-data", "turn/open-relay"]),
        (Turn, Lie::WrongPeerAddress, &["turn/data-both-ways"]),
        (Turn, Lie::TruncatesData, &["turn/data-both-ways"]),
        (Turn, Lie::RefreshZeroKeeps, &["turn/refresh-0", "turn/refresh-0-data"]),
        (Turn, Lie::AnyChannel, &["turn/channel-range"]),
        (Turn, Lie::RebindsChannels, &["turn/channel-rebind"]),
        (Turn, Lie::DataOnBoundChannel, &["turn/channel-data"]),
        (Turn, Lie::AnyUserRules, &["turn/441", "turn/441-channel"]),
        (Turn, Lie::AnyFamily, &["turn/443", "turn/443-mapped"]),
        (Turn, Lie::ShortLifetime, &["turn/lifetime", "turn/refresh"]),
        (Turn, Lie::OddPorts, &["turn/even-port"]),
        (Stun, Lie::DiesOfLong, &["stun/long"]),
        (Turn, Lie::DiesOfLong, &["turn/data-long"]),
        (Turn, Lie::AnswersFromAnotherPort, &["turn/source-address"]),
        (Turn, Lie::DataFromAnotherPort, &["turn/source-address"]),
        (Turn, Lie::ReadsBehindIntegrity, &["turn/behind-integrity"]),
        (Turn, Lie::DropsFingerprint, &["turn/fingerprint"]),
        (Turn, Lie::IgnoresFingerprint, &["turn/fingerprint-wrong"]),
        (Turn, Lie::AnyNonceLater, &["turn/438-requests"]),
        (Turn, Lie::AnyUserBinds, &["turn/441-channel"]),
        (Turn, Lie::SharedQuota, &["turn/486-per-user"]),
        (Turn, Lie::LastPeerCounts, &["turn/first-counts"]),
        (Turn, Lie::AllPeersReceive, &["turn/first-counts"]),
        (Turn, Lie::PermitsGoodPeers, &["turn/permission-all-or-none"]),
        (Turn, Lie::UnmapsPeers, &["turn/443-mapped"]),
        (Turn, Lie::CutsLongData, &["turn/data-long"]),
        (Turn, Lie::CutsLongDataToClients, &["turn/data-long"]),
        (Turn, Lie::PeerEndsRelay, &["turn/data-long", "turn/long-stranger"]),
        (Turn, Lie::LeaksPadding, &["turn/padding-zero"]),
        (Turn, Lie::LeaksPaddingOverTcp, &["turn/tcp-padding"]),
        (Turn, Lie::V6ByDefault, &["turn/default-family"]),
        (Turn, Lie::NothingByDefault, &["turn/default-family"]),
        (Turn, Lie::TunneledPeers, &["turn/peer-tunneled"]),
        (Turn, Lie::AnotherNameOfItself, &["turn/peer-spellings"]),
        (Turn, Lie::RedirectsNowhere, &["turn/allocate"]),
        (Turn, Lie::RedirectsToItself, &["turn/allocate"]),
    ];
    let mut running = tokio::task::JoinSet::new();
    for (service, lie, wanted) in lies {
        running.spawn(async move {
            let asked = timeout(LIMIT, ask(*service, start_with(*lie, habit_for(*lie)).await, &[])).await;
            (*lie, *wanted, asked.unwrap_or_else(|_| panic!("{lie:?} hangs")).expect("it is there"))
        });
    }
    let mut wrong = Vec::new();
    while let Some(asked) = running.join_next().await {
        let (lie, wanted, report) = asked.expect("no panic");
        let harness = report.cases.iter().any(|case| matches!(case.verdict, Verdict::HarnessError { .. }));
        if red(&report) != wanted || harness {
            wrong.push(format!("{lie:?}: {:?}, not {wanted:?}\n{}", red(&report), text(&report)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_survived() {
    let report = timeout(LIMIT, ask(Stun, start(Lie::Floods).await, &[])).await.expect("in time").expect("it is there");
    assert!(!report.passed(), "{}", text(&report));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_answers_is_unreachable() {
    let (_socket, silent) = nobody().await;
    for (service, address) in [(Stun, start(Lie::NeverAnswers).await), (Turn, silent)] {
        let error = timeout(LIMIT, ask(service, address, &[])).await.expect("in time").expect_err("no answer");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert!(error.to_string().contains("no answer"), "{error}");
    }
}
