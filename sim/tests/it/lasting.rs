//! Connections that a scenario expects, and those that end although nobody asked for it.

use std::sync::Arc;
use std::time::Duration;

use scenarios::Scenario;
use sim::oracle::{Violation, judge_live};
use sim::pairs::{End, pairs};
use sim::run::{Outcome, run};

/// A viewer whose network gets another address in the middle of a call: its old connection holds its role.
pub(crate) const HOTEL: &str = r#"
duration = "60s"
[[network]]
name = "wifi"
nat = "home-linux"
[[actor]]
name = "sue"
plays = "sender"
nat = "home-median"
[[actor]]
name = "vic"
plays = "viewer"
network = "wifi"
joins = "1s"
[[step]]
at = "20s"
do = "nat-reboot"
network = "wifi"
new-address = true
resets-tcp = true
"#;

/// Two members of a mesh room.
const TWO: &str = r#"
duration = "60s"
[[actor]]
name = "ana"
nat = "home-linux"
[[actor]]
name = "ben"
nat = "home-median"
joins = "100ms"
"#;

#[test]
fn a_call_that_dies_and_does_not_come_back_is_a_violation() {
    for seed in 1..=5 {
        let outcome = play(HOTEL, seed);
        let found: Vec<_> = outcome.violations.iter().map(|violation| violation.oracle).collect();
        assert_eq!(found, ["nobody-kept-out"], "{seed}: the oracle that knows the reason reports it");
        // On real sockets, nobody knows the reason.
        let lost = live(&outcome);
        let [Violation { oracle: "connection-kept", message, .. }] = &lost[..] else { panic!("{seed}: {lost:?}") };
        assert!(message.starts_with("sue and vic were connected from "), "{message}");
        assert!(
            message.contains("not connected at the end: sue is in its room, vic is refused by the server"),
            "{message}"
        );
    }
}

#[test]
fn what_the_scenario_asks_for_is_no_lost_connection() {
    let asked = [
        ("leave", "at = \"20s\"\ndo = \"leave\"\nactor = \"ben\""),
        ("power-loss", "at = \"20s\"\ndo = \"power-loss\"\nmachine = \"ben\""),
        ("partition", "at = \"20s\"\ndo = \"partition\"\nfrom = \"ben\"\nto = [\"ana\", \"server\"]"),
        ("late", "at = \"40s\"\ndo = \"nat-reboot\"\nnetwork = \"ben\"\nnew-address = true"),
        ("server", "at = \"20s\"\ndo = \"power-loss\"\nmachine = \"server\""),
        ("dead link", "at = \"20s\"\ndo = \"link\"\nnetwork = \"ben\"\nlink = { loss = \"100%\" }"),
    ];
    for (what, step) in asked {
        let outcome = play(&format!("{TWO}[[step]]\n{step}\n"), 1);
        for found in [&outcome.violations, &live(&outcome)] {
            assert!(found.iter().all(|violation| violation.oracle != "connection-kept"), "{what}: {found:?}");
        }
    }
}

#[test]
fn a_connection_is_expected_for_a_time_at_one_time_and_at_the_end() {
    let leaves = "[[step]]\nat = \"20s\"\ndo = \"leave\"\nactor = \"ben\"\n";
    let expects = |text: &str, what: &str| {
        let text = format!("{text}[expect]\nconnected = [{{ pair = [\"ben\", \"ana\"]{what} }}]\n");
        let violations = play(&text, 1).violations;
        let own = violations.into_iter().find(|violation| violation.oracle == "connected-as-expected");
        own.map(|violation| violation.message)
    };
    assert_eq!(expects(TWO, ""), None);
    assert_eq!(expects(TWO, ", from = \"5s\""), None);
    let left = format!("{TWO}{leaves}");
    assert_eq!(expects(&left, ", from = \"5s\", until = \"20s\""), None);
    assert_eq!(expects(&left, ", until = \"10s\""), None);
    assert_eq!(
        expects(&left, ", from = \"5s\", until = \"30s\"").as_deref(),
        Some(
            "ben and ana are not connected from 20.000 s to 30.000 s; the scenario expects them to be connected from 5.000 s to 30.000 s"
        )
    );
    assert_eq!(
        expects(&left, ", until = \"21s\"").as_deref(),
        Some("ben and ana are not connected at 21.000 s; the scenario expects them to be connected then")
    );
    let early = expects(TWO, ", from = \"10ms\"").expect("they need longer");
    assert!(early.starts_with("ben and ana are not connected from 0.010 s to "), "{early}");
}

#[test]
fn a_pair_says_how_its_connection_ended() {
    let ended = |outcome: &Outcome| {
        let pairs = pairs(&outcome.record);
        let pair = pairs.first().expect("a pair");
        (pair.connection.is_some(), pair.past.as_ref().map(|past| (past.why, past.until)))
    };
    let call = Arc::new(scenarios::load("call-accept").expect("it is shipped"));
    let call = run(&call, 1).expect("no crash");
    assert_eq!(ended(&call), (false, Some((End::HungUp, Duration::from_secs(25)))));
    let with = |step: &str| ended(&play(&format!("{TWO}[[step]]\n{step}\n"), 1));
    let at_20 = |why| (false, Some((why, Duration::from_secs(20))));
    assert_eq!(with("at = \"20s\"\ndo = \"leave\"\nactor = \"ben\""), at_20(End::Left));
    assert_eq!(with("at = \"20s\"\ndo = \"power-loss\"\nmachine = \"ben\""), at_20(End::PowerLost));
    assert_eq!(with("at = \"50s\"\ndo = \"say\"\nactor = \"ben\"\ntext = \"hi\""), (true, None));
    let (is_connected, past) = with("at = \"20s\"\ndo = \"nat-reboot\"\nnetwork = \"ben\"\nnew-address = true");
    assert!(!is_connected || past.is_none_or(|(why, _)| why != End::HungUp), "nobody hangs up");
    let (is_connected, past) = ended(&play(HOTEL, 1));
    assert_eq!((is_connected, past.map(|(why, _)| why)), (false, Some(End::Lost)));
}

fn live(outcome: &Outcome) -> Vec<Violation> {
    let found = judge_live(&outcome.scenario, &outcome.record).0;
    // The connections of a simulation break on purpose, which real ones must not.
    found.into_iter().filter(|violation| violation.oracle != "signaling-kept").collect()
}

fn play(text: &str, seed: u64) -> Outcome {
    let text = format!("name = \"lasting\"\n{text}");
    let scenario: Scenario = scenarios::parse("lasting.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    run(&Arc::new(scenario), seed).expect("no crash")
}
