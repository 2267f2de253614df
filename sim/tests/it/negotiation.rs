//! How clients negotiate: offers that cross, slow paths, restarts.

use std::sync::Arc;

use sim::event::{Message, SignalKind, Signaling, What};
use sim::run::{Outcome, run};

#[test]
fn of_two_ice_restarts_at_once_one_wins_and_the_connection_lives() {
    let steps = "[[step]]\nat = \"10s\"\ndo = \"ice-restart\"\nactor = \"ana\"\nwith = \"ben\"\n\
                 [[step]]\nat = \"10s\"\ndo = \"ice-restart\"\nactor = \"ben\"\nwith = \"ana\"\n\
                 [[step]]\nat = \"15s\"\ndo = \"say\"\nactor = \"ben\"\ntext = \"still here\"\n\
                 [expect]\nprobes = [\"glare\", \"ice-restarted\"]\n";
    for seed in 0..5 {
        let outcome = play("20s", "", steps, seed);
        assert_eq!(outcome.violations, [], "seed {seed}");
        let story = sim::timeline::Timeline::of(&outcome.record).to_string();
        assert!(story.contains("receives “still here”"), "{story}");
        assert!(!story.contains("connection 2 begins"), "the restart itself must do: {story}");
    }
}

#[test]
fn a_slow_path_is_not_hung_up_on() {
    for latency in ["200ms", "300ms", "400ms"] {
        let outcome = play("60s", &format!("[link]\nlatency = \"{latency}\"\n"), "", 1);
        assert_eq!(outcome.violations, [], "{latency}");
    }
}

/// Runs two peers behind home NATs.
fn play(duration: &str, links: &str, more: &str, seed: u64) -> Outcome {
    let text = format!(
        "name = \"two\"\nabout = \"two peers\"\nduration = \"{duration}\"\n{links}\
         [[actor]]\nname = \"ana\"\nnat = \"home-linux\"\n[[actor]]\nname = \"ben\"\nnat = \"home-linux\"\njoins = \"100ms\"\n{more}"
    );
    let scenario = scenarios::parse("two.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    run(&Arc::new(scenario), seed).expect("no crash")
}

/// Whoever answers later, the side that answered first stays the one that opened the DTLS association. RFC 8842 §5.3.
#[test]
fn later_answers_keep_the_dtls_roles() {
    let step = "[[step]]\nat = \"10s\"\ndo = \"ice-restart\"\nactor = \"ben\"\nwith = \"ana\"\n";
    let outcome = play("20s", "", step, 1);
    assert_eq!(outcome.violations, []);
    let answers = outcome.record.events.iter().filter_map(|event| match &event.what {
        What::Signaling(Signaling::Sent(Message::Signal { kind: SignalKind::Answer, payload, .. })) => {
            Some((&**outcome.record.name(event.node), payload.contains("a=setup:passive")))
        }
        _ => None,
    });
    assert_eq!(answers.collect::<Vec<_>>(), [("ben", false), ("ana", true)]);
}
