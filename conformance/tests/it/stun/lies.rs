//! Servers with one defect each: the case for the defect fails, the results of others do not change, and nothing hangs.

use conformance::stun::Service;
use conformance::{Report, Verdict};
use tokio::time::timeout;

use super::liar::{LIMIT, Lie, nobody, start};
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
        (Turn, Lie::AnyUserRules, &["turn/441"]),
        (Turn, Lie::AnyFamily, &["turn/443"]),
        (Turn, Lie::ShortLifetime, &["turn/lifetime", "turn/refresh"]),
        (Turn, Lie::OddPorts, &["turn/even-port"]),
    ];
    let mut running = tokio::task::JoinSet::new();
    for (service, lie, wanted) in lies {
        running.spawn(async move {
            let asked = timeout(LIMIT, ask(*service, start(*lie).await, &[])).await;
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
