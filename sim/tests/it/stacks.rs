//! The second WebRTC stack: everything that the first one can, alone and in calls with it.

use std::process;
use std::sync::Arc;

use scenarios::{Scenario, Stack};
use sim::event::{IceState, PeerChange, PeerEvent, Record, What};
use sim::hash::event_hash;
use sim::run::{check_program, run, run_captured};

/// Set in the child process that a test starts.
const CHILD: &str = "GLARE_TEST_PRINT_HASH_OF_STACKS";

/// All actors with the second stack, and every other one.
const CASTS: [&[Stack]; 2] = [&[Stack::Str0m], &[Stack::Rtc, Stack::Str0m]];

fn with(name: &str, stacks: &[Stack]) -> Arc<Scenario> {
    let mut scenario = scenarios::load(name).expect("a shipped scenario");
    scenario.set_stacks(stacks);
    Arc::new(scenario)
}

fn hash(scenario: &Arc<Scenario>, seed: u64) -> String {
    event_hash(&sim::run::record(scenario, seed).expect("no crash")).to_string()
}

#[test]
fn every_shipped_scenario_holds_with_the_second_stack_and_with_both() {
    for shipped in scenarios::shipped().filter(|shipped| !shipped.is_slow()) {
        for stacks in CASTS {
            let scenario = with(shipped.name, stacks);
            if scenario.actors.iter().all(|actor| actor.media.is_none()) {
                let outcome = run(&scenario, 1).expect("no crash");
                assert_eq!(outcome.violations, [], "{} with {stacks:?}", shipped.name);
            }
        }
    }
}

#[test]
fn a_stack_without_media_is_refused_where_an_actor_has_media() {
    let refused = check_program(&with("call-with-media", CASTS[0])).expect_err("it sends no sound");
    let right = "`ana` has `media` and `stack = \"str0m\"`: only the stack `rtc` sends audio and video here";
    assert_eq!(refused.to_string(), right);
    check_program(&with("mesh-3", CASTS[0])).expect("it connects");
}

#[test]
fn a_seed_has_one_hash_on_any_thread() {
    for stacks in CASTS {
        let scenario = with("mesh-6-churn", stacks);
        let alone = hash(&scenario, 5);
        let together = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| hash(&scenario, 5))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert_eq!(together, vec![alone.clone(); 3], "{stacks:?}");
        assert_ne!(hash(&scenario, 6), alone, "{stacks:?}");
    }
}

/// Nothing depends on the real clock, on which the library's generator and its SCTP would fall back, nor on what an earlier
/// run has left in its statics.
#[test]
fn a_seed_has_one_hash_in_another_process() {
    let both = || CASTS.map(|stacks| hash(&with("mesh-6", stacks), 9)).join(" ");
    if std::env::var_os(CHILD).is_some() {
        println!("hashes={}", both());
        return;
    }
    let here = both();
    assert_eq!(both(), here);
    for _ in 0..2 {
        let child = process::Command::new(std::env::current_exe().expect("a test has a binary"))
            .args(["--exact", "stacks::a_seed_has_one_hash_in_another_process", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("a test binary can be started");
        let text = String::from_utf8_lossy(&child.stdout).into_owned();
        let there = text.split_once("hashes=").and_then(|(_, rest)| rest.lines().next());
        assert_eq!(there, Some(here.as_str()), "{text}");
    }
}

/// Both sides of a session write the same secret to the log, whatever their stacks.
#[test]
fn the_keys_of_a_session_are_logged_by_both_stacks() {
    let keys = |stacks: &[Stack]| {
        let scenario = with("two-peers", stacks);
        let (outcome, capture) = run_captured(&scenario, 1).expect("no crash");
        assert_eq!(outcome.hash.to_string(), hash(&scenario, 1), "a capture changes nothing");
        let text = capture.keys.text();
        assert!(
            text.lines().all(|line| line.starts_with("CLIENT_RANDOM ") && line.len() == 14 + 64 + 1 + 96),
            "{text}"
        );
        text.lines().count()
    };
    let [rtc, both] = [&[Stack::Rtc][..], &[Stack::Rtc, Stack::Str0m]].map(keys);
    assert_eq!((rtc, both, keys(&[Stack::Str0m])), (1, 1, 1));
}

fn parsed(text: &str) -> Arc<Scenario> {
    Arc::new(scenarios::parse("stacks.toml", text).unwrap_or_else(|error| panic!("{error}")))
}

fn changes<'r>(record: &'r Record, of: &'r str) -> impl Iterator<Item = (f64, &'r PeerChange)> {
    record.events.iter().filter_map(move |event| match &event.what {
        What::Peer(PeerEvent { change, .. }) if *record.nodes[usize::from(event.node.0)].name == *of => {
            Some((event.at.as_secs_f64(), change))
        }
        _ => None,
    })
}

/// ana hears from ben, but he does not hear her, so that none of her checks is answered.
#[test]
fn consent_expires_thirty_seconds_after_the_last_answer() {
    for stacks in CASTS {
        // Nobody can signal any more, or ben would hang up on her.
        let cut = "[[step]]\nat = \"2s\"\ndo = \"shutdown\"\n\
                   [[step]]\nat = \"40s\"\ndo = \"partition\"\nfrom = \"ana\"\nto = \"ben\"\none-way = true\n";
        let text = format!(
            "name = \"consent\"\nduration = \"90s\"\n[[actor]]\nname = \"ana\"\n[[actor]]\nname = \"ben\"\n{cut}"
        );
        let mut scenario = Arc::unwrap_or_clone(parsed(&text));
        scenario.set_stacks(&stacks.iter().rev().copied().collect::<Vec<_>>());
        let record = sim::run::record(&Arc::new(scenario), 1).expect("no crash");
        let expired = changes(&record, "ana").find(|(_, change)| **change == PeerChange::ConsentExpired);
        let (at, _) = expired.unwrap_or_else(|| panic!("{}", sim::timeline::Timeline::of(&record)));
        // Checks are sent every 2 s.
        assert!((67.9..70.2).contains(&at), "{stacks:?}: {at}");
    }
}

/// After a move, a new ICE generation without the old addresses takes over the connection, which lives on.
#[test]
fn a_moved_host_restarts_ice_and_keeps_its_connection() {
    for stacks in CASTS {
        let outcome = run(&with("wifi-to-cellular", stacks), 1).expect("no crash");
        assert_eq!(outcome.violations, [], "{stacks:?}");
        let selected: Vec<_> = outcome
            .scenario
            .actors
            .iter()
            .flat_map(|actor| changes(&outcome.record, &actor.name))
            .filter(|(_, change)| matches!(change, PeerChange::Selected { .. }))
            .collect();
        assert!(selected.len() >= 4, "before and after, on both sides, with {stacks:?}: {selected:#?}");
    }
}

/// Where a flight of the handshake is lost, `rtc-dtls` may hang for ever (`known_defects.rs`). Here nobody hangs up on a slow
/// handshake, because the server ends before that.
#[test]
fn no_handshake_hangs_at_loss() {
    let text = include_str!("../peers/two-with-loss.toml").replace("60s", "180s");
    let text = text + "[[step]]\nat = \"4s\"\ndo = \"shutdown\"\n";
    let mut given_time = 0;
    for seed in 0..30 {
        let mut scenario = Arc::unwrap_or_clone(parsed(&text));
        scenario.set_stacks(&[Stack::Str0m]);
        let record = sim::run::record(&Arc::new(scenario), seed).expect("no crash");
        let ice = |(_, change): &(f64, &PeerChange)| *change == &PeerChange::Ice { state: IceState::Connected };
        if !changes(&record, "ana").any(|change| ice(&change)) {
            continue;
        }
        let open = changes(&record, "ana").find(|(_, change)| **change == PeerChange::ChannelOpen);
        let (at, _) = open.unwrap_or_else(|| panic!("seed {seed}: {}", sim::timeline::Timeline::of(&record)));
        given_time += usize::from(at > 8.0);
    }
    assert!(given_time > 0, "no handshake lost enough");
}
