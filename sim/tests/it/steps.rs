//! A step does what it says, or the run shows that it did not: in the timeline, and as a violation with its line.

use std::sync::Arc;

use scenarios::Scenario;
use sim::event::{Fault, Message, Signaling, What};
use sim::pairs::pairs;
use sim::run::{Outcome, run};
use sim::timeline::Timeline;

use crate::lasting::HOTEL;

/// Seeds with which each scenario is run.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;

// ---- a page that is loaded again

/// A page is loaded again: the old one closes its connection, the new one joins before that connection is closed. Both
/// clients are there at the end.
#[test]
fn a_page_that_is_loaded_again_is_back() {
    for again in ["8s", "8001ms", "8020ms", "9s"] {
        let text = format!(
            r#"
            duration = "30s"
            [[actor]]
            name = "ana"
            nat = "home-linux"
            [[actor]]
            name = "ben"
            nat = "home-median"
            joins = "1s"
            [[step]]
            at = "8s"
            do = "leave"
            actor = "ben"
            [[step]]
            at = "{again}"
            do = "join"
            actor = "ben"
            "#
        );
        for outcome in played(&scenario(&text)) {
            assert_eq!(joins(&outcome, "ben"), 2, "{again}\n{}", report(&outcome));
            assert!(pairs(&outcome.record)[0].connection.is_some(), "{again}\n{}", report(&outcome));
        }
    }
}

/// The same with a role and with a name, which the old page still holds when the new one asks for it.
#[test]
fn a_page_that_is_loaded_again_gets_its_role_and_its_name_back() {
    for role in ["sender", "viewer", "user", "relay", "broadcast"] {
        let other = if role == "sender" { "viewer" } else { role.replace("viewer", "sender").leak() };
        let text = format!(
            r#"
            duration = "30s"
            [[actor]]
            name = "ana"
            plays = "{other}"
            [[actor]]
            name = "ben"
            plays = "{role}"
            joins = "1s"
            link = {{ latency = "50ms" }}
            [[step]]
            at = "8s"
            do = "leave"
            actor = "ben"
            [[step]]
            at = "8001ms"
            do = "join"
            actor = "ben"
            "#
        );
        for outcome in played(&scenario(&text)) {
            let connected = |event: &&sim::event::Event| {
                &**outcome.record.name(event.node) == "ben" && event.what == What::Signaling(Signaling::Connected)
            };
            assert_eq!(outcome.record.events.iter().filter(connected).count(), 2, "{role}\n{}", report(&outcome));
        }
    }
}

// ---- steps without effect

/// Each step comes too early, too late or twice. Files with most of these steps are refused, because the mistake can be
/// seen without a run; here they run nevertheless.
#[test]
fn a_step_without_effect_is_a_violation_with_its_line() {
    let cases = [
        ("join'\nactor = 'ana'", "ana cannot join: it is already there"),
        ("leave'\nactor = 'cam'", "cam cannot leave: it is not there"),
        ("drop'\nactor = 'cam'", "cam cannot drop its signaling connection: it is not there"),
        ("say'\nactor = 'cam'\ntext = 'hello'", "cam cannot say “hello”: it is not there"),
        ("say'\nactor = 'eve'\ntext = 'hello'", "eve cannot say “hello”: it has no open data channel"),
        ("say'\nactor = 'gus'\ntext = 'hello'", "gus cannot say “hello”: it makes no WebRTC connections"),
        ("hangup'\nactor = 'ana'\nwith = 'cam'", "ana cannot hang up on cam: it knows no such client"),
        ("ice-restart'\nactor = 'ana'\nwith = 'cam'", "ana cannot restart ICE with cam: it knows no such client"),
        ("offer'\nactor = 'ana'\nwith = 'cam'", "ana cannot offer to cam: it knows no such client"),
        ("call'\nactor = 'uma'\nwith = 'uwe'", "uma cannot call uwe: it is already in a call"),
        ("accept'\nactor = 'uwe'", "uwe cannot accept the call: nobody is calling it"),
        ("reject'\nactor = 'uwe'", "uwe cannot reject the call: nobody is calling it"),
        ("hangup'\nactor = 'uma'\nwith = 'udo'", "uma cannot hang up on udo: there is no call between them"),
        ("offer'\nactor = 'uma'\nwith = 'udo'", "uma cannot offer to udo: it is not in a call with that user"),
        ("media'\nactor = 'ana'\nkind = 'audio'\nenabled = false", "ana cannot turn audio off: it has no such track"),
        ("media'\nactor = 'udo'\nkind = 'audio'\nenabled = false", "udo cannot turn audio off: it is not in a call"),
        ("power-loss'\nmachine = 'cam'", "cam cannot lose power: it has none"),
        ("boot'\nmachine = 'ana'", "ana cannot boot: it is already running"),
        ("boot'\nmachine = 'server'", "server cannot boot: it is already running"),
        ("nat-reboot'\nnetwork = 'empty'", "empty cannot lose its mappings: it has none"),
        ("heal'", "there is no partition to heal"),
        ("link'\nmachine = 'ana'\nlink = {}", "ana cannot change its link: the link already has these settings"),
        ("link'\nnetwork = 'empty'\nlink = {}", "empty cannot change its link: the link already has these settings"),
    ];
    for (step, why) in cases {
        let text = format!("{CROWD}\n[[step]]\nat = '10s'\ndo = '{step}\n");
        has_no_effect(&text, 0, why);
    }
}

/// The second of two equal steps does nothing.
#[test]
fn a_step_that_repeats_another_is_a_violation_with_its_line() {
    let cases = [
        ("leave'\nactor = 'ana'", "ana cannot leave: its program has ended"),
        ("drop'\nactor = 'ana'", "ana cannot drop its signaling connection: its signaling connection is not open"),
        ("shutdown'", "server cannot shut down: it is not running"),
        ("power-loss'\nmachine = 'server'", "server cannot lose power: it has none"),
        ("partition'\nfrom = ['ana', 'eve']\nto = 'server'", "these machines are already partitioned"),
    ];
    for (step, why) in cases {
        let text = format!("{CROWD}\n[[step]]\nat = '10s'\ndo = '{step}\n[[step]]\nat = '10s'\ndo = '{step}\n");
        has_no_effect(&text, 0, why);
    }
}

/// A command that a machine's loss of power overtakes.
#[test]
fn a_command_to_a_machine_that_loses_power_is_a_violation() {
    let hangup = "[[step]]\nat = '10s'\ndo = 'hangup'\nactor = 'uma'\nwith = 'uwe'\n";
    let text = format!("{CROWD}\n{hangup}[[step]]\nat = '10s'\ndo = 'power-loss'\nmachine = 'uma'\n");
    has_no_effect(&text, 1, "uma cannot hang up on uwe: its program has ended");
}

#[test]
fn a_scenario_may_allow_steps_without_effect() {
    let text = format!("{CROWD}\n[[step]]\nat = '10s'\ndo = 'heal'\n");
    let outcome = run(&scenario(&text), 1).expect("no crash");
    assert!(outcome.passed(), "{}", report(&outcome));
}

// ---- calls and faults of the network

/// A user is cut off for longer than the server waits. Both users are notified that their call is over, and they can
/// call each other again.
#[test]
fn users_call_again_after_a_partition_ended_their_call() {
    let text = r#"
        duration = "240s"
        [[actor]]
        name = "ana"
        plays = "user"
        over = "socket.io"
        nat = "home-linux"
        [[actor]]
        name = "ben"
        plays = "user"
        over = "socket.io"
        nat = "home-median"
        joins = "100ms"
        [[step]]
        at = "2s"
        do = "call"
        actor = "ana"
        with = "ben"
        [[step]]
        at = "3s"
        do = "accept"
        actor = "ben"
        [[step]]
        at = "20s"
        do = "partition"
        from = "ana"
        to = ["server", "ben"]
        [[step]]
        at = "110s"
        do = "heal"
        [[step]]
        at = "200s"
        do = "call"
        actor = "ana"
        with = "ben"
        [[step]]
        at = "202s"
        do = "accept"
        actor = "ben"
    "#;
    for outcome in played(&scenario(text)) {
        assert!(pairs(&outcome.record)[0].connection.is_some(), "{}", report(&outcome));
    }
}

/// A partition that is too short to end a call: that the file passes does not mean that the call is taken for over.
#[test]
fn a_call_during_a_call_that_survived_a_partition_is_a_violation() {
    let text = r#"
        duration = "30s"
        [[actor]]
        name = "ana"
        plays = "user"
        [[actor]]
        name = "ben"
        plays = "user"
        [[step]]
        at = "2s"
        do = "call"
        actor = "ana"
        with = "ben"
        [[step]]
        at = "3s"
        do = "accept"
        actor = "ben"
        [[step]]
        at = "5s"
        do = "partition"
        from = "ana"
        to = "server"
        [[step]]
        at = "6s"
        do = "heal"
        [[step]]
        at = "15s"
        do = "call"
        actor = "ana"
        with = "ben"
    "#;
    has_no_effect(text, 0, "ana cannot call ben: it is already in a call");
}

// ---- ghosts

/// The viewer's NAT reboots with another address. The viewer connects again, but the server still believes in its old
/// connection and refuses it to the end, while the sender waits for it.
#[test]
fn a_viewer_kept_out_by_its_own_earlier_connection_is_a_violation() {
    let slow = r#"
        [[step]]
        at = "20s"
        do = "link"
        network = "wifi"
        link = { latency = "60ms", jitter = "30ms", loss = "2%", bandwidth = "5Mbit" }
    "#;
    let text = &format!("{HOTEL}{slow}");
    is_kept_out(text, "vic has been refused the role of viewer in room `demo` since", "sue waits for it");
}

/// The same for the name of a user.
#[test]
fn a_user_kept_out_by_its_own_earlier_connection_is_a_violation() {
    let text = r#"
        duration = "60s"
        [[actor]]
        name = "ana"
        plays = "user"
        nat = "home-linux"
        [[actor]]
        name = "ben"
        plays = "user"
        nat = "home-median"
        joins = "1s"
        [[step]]
        at = "3s"
        do = "call"
        actor = "ana"
        with = "ben"
        [[step]]
        at = "4s"
        do = "accept"
        actor = "ben"
        [[step]]
        at = "20s"
        do = "nat-reboot"
        network = "ben"
        new-address = true
        resets-tcp = true
    "#;
    is_kept_out(text, "ben has been refused its name since", "ana waits for it");
}

/// The server still believes in who ana was. She is back under a new id and connected with ben, whose attempt to reach
/// her under the old id runs out later. That does not end the connection of the two.
#[test]
fn a_late_hangup_on_a_ghost_does_not_hide_the_living_connection() {
    let text = r#"
        duration = "40s"
        [[actor]]
        name = "ana"
        nat = "home-linux"
        [[actor]]
        name = "ben"
        [[step]]
        at = "10s"
        do = "nat-reboot"
        network = "ana"
        resets-tcp = true
        [[step]]
        at = "35s"
        do = "say"
        actor = ["ana", "ben"]
        text = "still here"
    "#;
    for outcome in played(&scenario(text)) {
        let [pair] = &pairs(&outcome.record)[..] else { panic!("{}", report(&outcome)) };
        let connection = pair.connection.as_ref().unwrap_or_else(|| panic!("{}", report(&outcome)));
        assert!(connection.since > std::time::Duration::from_secs(30), "{connection:?}");
    }
}

// ---- helpers

/// ana, eve and gus are alone in their rooms, gus without WebRTC; cam never joins. uma and uwe are in a call, udo is
/// free.
const CROWD: &str = r#"duration = '20s'
idle-steps = true
[[network]]
name = 'empty'
nat = 'home-linux'
[[actor]]
name = 'ana'
[[actor]]
name = 'eve'
room = 'attic'
[[actor]]
name = 'gus'
webrtc = false
room = 'cellar'
[[actor]]
name = 'cam'
joins = 'never'
[[actor]]
name = 'uma'
plays = 'user'
[[actor]]
name = 'uwe'
plays = 'user'
[[actor]]
name = 'udo'
plays = 'user'
[[step]]
at = '2s'
do = 'call'
actor = 'uma'
with = 'uwe'
[[step]]
at = '3s'
do = 'accept'
actor = 'uwe'"#;

fn scenario(text: &str) -> Arc<Scenario> {
    let named = format!("name = \"built\"\nabout = \"built by a test\"\n{}", text.trim_start());
    Arc::new(scenarios::parse("built.toml", &named).unwrap_or_else(|error| panic!("{error}")))
}

/// Runs a scenario, which must pass with every seed.
fn played(scenario: &Arc<Scenario>) -> Vec<Outcome> {
    let outcomes: Vec<_> = SEEDS.map(|seed| run(scenario, seed).expect("no crash")).collect();
    for outcome in &outcomes {
        assert!(outcome.passed(), "{}", report(outcome));
    }
    outcomes
}

/// Checks that one step has no effect, and no other: the last, or the one that `later` steps follow.
#[track_caller]
fn has_no_effect(text: &str, later: usize, why: &str) {
    let mut scenario = Scenario::clone(&scenario(text));
    scenario.idle_steps = false;
    let outcome = run(&scenario.into(), 1).expect("no crash");
    let lines: Vec<_> = text.trim_start().lines().collect();
    let is_step = |line: &&usize| lines[**line].trim() == "[[step]]";
    let numbers: Vec<_> = (0..lines.len()).collect();
    let step = numbers.iter().filter(is_step).rev().nth(later).expect("there are as many steps");
    // Two lines precede the text, and lines are counted from 1.
    let said = format!("the step on line {} has no effect: {why}", step + 3);
    let found: Vec<_> = outcome.violations.iter().filter(|one| one.oracle == "steps-take-effect").collect();
    assert_eq!(found.iter().map(|one| &*one.message).collect::<Vec<_>>(), [said], "{}", report(&outcome));
    let event = found[0].event.map(|event| &outcome.record.events[event].what);
    assert!(matches!(event, Some(What::Fault(Fault::NoEffect { .. }))), "{event:?}");
    assert!(Timeline::of(&outcome.record).to_string().contains("no effect: "), "{}", report(&outcome));
}

/// Checks that with every seed a client is kept out at the end, and that this is all that is wrong.
#[track_caller]
fn is_kept_out(text: &str, who: &str, partner: &str) {
    for seed in SEEDS {
        let outcome = run(&scenario(text), seed).expect("no crash");
        let [found] = &outcome.violations[..] else { panic!("{}", report(&outcome)) };
        assert_eq!(found.oracle, "nobody-kept-out", "{}", report(&outcome));
        for part in [who, "because of its own earlier connection, which it lost at", partner] {
            assert!(found.message.contains(part), "{}", found.message);
        }
    }
}

/// How often an actor was admitted to a room.
fn joins(outcome: &Outcome, name: &str) -> usize {
    let admitted = |what: &What| {
        matches!(what, What::Signaling(Signaling::Received(Message::Joined { .. } | Message::Admitted { .. })))
    };
    let events = outcome.record.events.iter();
    events.filter(|event| &**outcome.record.name(event.node) == name && admitted(&event.what)).count()
}

fn report(outcome: &Outcome) -> String {
    format!("seed {}\n{:#?}\n{}", outcome.seed, outcome.violations, Timeline::of(&outcome.record))
}
