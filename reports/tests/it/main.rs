//! What a person reads, word for word.

use std::sync::Arc;
use std::time::Duration;

use reports::{Replay, Seed, Sweep};
use scenarios::Scenario;
use sim::run::{Crash, Outcome};

/// The wall time of every run here.
const WALL: Duration = Duration::from_millis(40);

/// Two friends behind full-cone NATs.
const FRIENDS: &str = r#"
name = "friends"
about = "two peers behind friendly NATs"
duration = "10s"
[[actor]]
name = "ana"
nat = "full-cone"
[[actor]]
name = "ben"
nat = "full-cone"
joins = "100ms"
"#;

#[test]
fn a_passing_run() {
    insta::assert_snapshot!(plain(&reports::outcome(&play(FRIENDS, 1), WALL, &replay())));
}

#[test]
fn a_broken_promise() {
    let wrong = format!("{FRIENDS}[expect]\nunconnected = [[\"ana\", \"ben\"]]\n");
    insta::assert_snapshot!(plain(&reports::outcome(&play(&wrong, 1), WALL, &replay())));
}

#[test]
fn a_crash() {
    let crash = Crash { seed: 9, message: "the simulation hangs at 3s".to_owned() };
    insta::assert_snapshot!(plain(&reports::crash(&crash, "friends", &replay())));
}

#[test]
fn two_runs_of_one_seed_that_differ() {
    let (first, mut second) = (play(FRIENDS, 1), play(FRIENDS, 1));
    second.record.events.remove(5);
    second.hash = sim::hash::event_hash(&second.record);
    assert_ne!(first.hash, second.hash);
    insta::assert_snapshot!(plain(&reports::mismatch(&first, &second, &replay())));
}

#[test]
fn many_seeds() {
    let wrong = format!("{FRIENDS}[expect]\nunconnected = [[\"ana\", \"ben\"]]\n");
    let crash = Crash { seed: 3, message: "a panic".to_owned() };
    let seeds = vec![Seed::of(&play(FRIENDS, 1)), Seed::of(&play(&wrong, 2)), Seed::crashed(&crash)];
    let sweep = Sweep { scenario: "friends".to_owned(), seeds, wall: WALL, twice: false };
    assert!(!sweep.passed());
    insta::assert_snapshot!(plain(&sweep.text(&replay())));
}

#[test]
fn the_same_for_a_program() {
    let json = reports::result_json(&play(FRIENDS, 1), WALL, &replay());
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    insta::assert_snapshot!(plain(&serde_json::to_string_pretty(&value).expect("JSON")));
}

#[test]
fn colours_mark_the_verdict() {
    let report = reports::outcome(&play(FRIENDS, 1), WALL, &replay());
    assert!(report.starts_with("\u{1b}[1m\u{1b}[32mPASS\u{1b}[0m"), "{report:.40?}");
}

fn play(text: &str, seed: u64) -> Outcome {
    let scenario: Arc<Scenario> = Arc::new(scenarios::parse("friends.toml", text).expect("a valid scenario"));
    sim::run::run(&scenario, seed).expect("no crash")
}

fn replay() -> Replay {
    Replay { program: "glare".to_owned(), scenario: "friends.toml".to_owned() }
}

/// Without colours, and without hashes: they change with anything that happens, the rest only with what a person would see.
fn plain(text: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    let is_hash = |word: &str| word.len() == 16 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = text.split_inclusive([' ', '\n', '"']);
    words
        .map(|word| if is_hash(&word[..word.len() - 1]) { word.replace(&word[..16], "HASH") } else { word.to_owned() })
        .collect()
}
