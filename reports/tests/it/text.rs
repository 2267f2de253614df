//! What a person reads, word for word.

use reports::{Seed, Sweep};
use sim::run::{Cause, Crash};

use crate::{FRIENDS, WALL, plain, play, replay, wrong};

#[test]
fn a_passing_run() {
    insta::assert_snapshot!(plain(&reports::outcome(&play(FRIENDS, 1), WALL, &replay(), None)));
}

#[test]
fn a_broken_promise() {
    insta::assert_snapshot!(plain(&reports::outcome(&play(&wrong(), 1), WALL, &replay(), None)));
}

#[test]
fn a_crash() {
    let crash = Crash { seed: 9, message: "the simulation hangs at 3s".to_owned(), cause: Cause::Glare };
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
    let crash = Crash { seed: 3, message: "a panic".to_owned(), cause: Cause::Glare };
    let seeds = vec![Seed::of(&play(FRIENDS, 1)), Seed::of(&play(&wrong(), 2)), Seed::crashed(&crash)];
    let sweep = Sweep { scenario: "friends".to_owned(), seeds, wall: WALL, twice: false };
    assert!(!sweep.passed());
    insta::assert_snapshot!(plain(&sweep.text(&replay(), None)));
}

#[test]
fn colours_mark_the_verdict() {
    let report = reports::outcome(&play(FRIENDS, 1), WALL, &replay(), None);
    assert!(report.starts_with("\u{1b}[1m\u{1b}[32mPASS\u{1b}[0m"), "{report:.40?}");
}
