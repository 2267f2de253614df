//! What a person reads, word for word.

use reports::model::Case;
use reports::{Detail, Seed, Sweep};
use sim::run::{Cause, Crash};

use crate::model::{read, written};
use crate::{FRIENDS, WALL, avoided, plain, play, replay, wrong};

#[test]
fn a_passing_run() {
    insta::assert_snapshot!(plain(&reports::outcome(&play(FRIENDS, 1), Detail::Full, WALL, &replay(), None)));
}

#[test]
fn a_passing_run_in_brief() {
    insta::assert_snapshot!(plain(&reports::outcome(&play(FRIENDS, 1), Detail::Brief, WALL, &replay(), None)));
}

#[test]
fn a_broken_promise() {
    insta::assert_snapshot!(plain(&reports::outcome(&play(&wrong(), 1), Detail::Full, WALL, &replay(), None)));
}

#[test]
fn a_broken_promise_in_brief() {
    insta::assert_snapshot!(plain(&reports::outcome(&play(&wrong(), 1), Detail::Brief, WALL, &replay(), None)));
}

/// What a passing run says about pairs that are not connected: why, and nothing in red.
#[test]
fn pairs_that_are_not_connected_in_a_passing_run() {
    let apart = "name = \"apart\"\nduration = \"10s\"\n[[actor]]\nname = \"ana\"\nnat = \"symmetric\"\n\
        [[actor]]\nname = \"ben\"\nnat = \"symmetric\"\n[[actor]]\nname = \"cam\"\n\
        [expect]\nunconnected = [[\"ana\", \"ben\"]]\n";
    let left = "name = \"left\"\nduration = \"10s\"\n[[actor]]\nname = \"ana\"\n[[actor]]\nname = \"ben\"\n\
        [[step]]\nat = \"5s\"\ndo = \"leave\"\nactor = \"ben\"\n";
    let report = |text: &str| {
        let report = reports::outcome(&play(text, 1), Detail::Brief, WALL, &replay(), None);
        assert!(!report.contains("\u{1b}[31m") && !report.contains("not connected"), "nothing is red: {report}");
        plain(&report)
    };
    let apart = report(apart);
    let line = "PASS  apart: 3 pairs: 2 connected; 1 kept apart, as expected\n";
    assert!(apart.starts_with(line) && apart.ends_with(line), "{apart}");
    assert!(apart.contains("  kept apart, as expected, both behind symmetric"), "{apart}");
    let left = report(left);
    assert!(left.starts_with("PASS  left: ana and ben connected "), "{left}");
    assert!(left.contains("–5.0 s, left\n") && left.contains("host ↔ host"), "{left}");
}

/// A server program need not bring about what a scenario aims at. A PASS that tests nothing of it says so, wherever it is read.
#[test]
fn what_a_server_program_did_not_bring_about_is_not_tested() {
    let outcome = avoided();
    let report = |detail| plain(&reports::outcome(&outcome, detail, WALL, &replay(), None));
    let words = "Not tested  this server did not bring about what the scenario aims at: `reconnected`\n";
    assert!(report(Detail::Brief).contains(words), "{}", report(Detail::Brief));
    assert!(!plain(&reports::outcome(&play(FRIENDS, 1), Detail::Brief, WALL, &replay(), None)).contains("Not tested"));
    let seeds = vec![Seed::of(&outcome), Seed::of(&play(FRIENDS, 2))];
    let sweep = Sweep { scenario: "friends".to_owned(), seeds, wall: WALL, twice: false };
    let text = plain(&sweep.text(&replay(), None));
    assert!(text.contains("Not tested with this server") && text.contains("reconnected in 1 of 2 seeds"), "{text}");
    let case = reports::case_of_outcome(&outcome, WALL, &replay(), Detail::Brief, None);
    assert_eq!(case.simulation.as_ref().expect("it is one").not_tested, ["reconnected"]);
    // Of one run, and of many, which are shown in brief.
    for detail in [Detail::Full, Detail::Brief] {
        let page = |outcome| {
            let case = reports::case_of_outcome(outcome, WALL, &replay(), detail, None);
            reports::html(&[
                read(&written(vec![case.clone(), Case { id: "another".to_owned(), ..case }])).expect("a result")
            ])
        };
        let words = "Not tested, because this server did not bring it about";
        assert!(page(&outcome).contains(words) && !page(&play(FRIENDS, 1)).contains(words), "{detail:?}");
    }
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
fn a_sweep_of_one_story_says_so() {
    let of = |text: &str| {
        let seeds = (1..=3).map(|seed| Seed::of(&play(text, seed))).collect();
        plain(&Sweep { scenario: "friends".to_owned(), seeds, wall: WALL, twice: false }.text(&replay(), None))
    };
    assert!(of(FRIENDS).contains("All 3 seeds gave the same story"), "{}", of(FRIENDS));
    let varied = FRIENDS.replacen("[[actor]]", "[[actor]]\nlink = { jitter = \"9ms\" }", 1);
    assert!(!of(&varied).contains("the same story"), "{}", of(&varied));
}

#[test]
fn seeds_in_which_the_same_goes_wrong_are_told_together() {
    let crash = |seed, message: &str| Seed::crashed(&Crash { seed, message: message.to_owned(), cause: Cause::Glare });
    let mut seeds: Vec<_> = (0..10).map(|seed| crash(seed, "one")).collect();
    seeds.push(crash(10, "another"));
    let sweep = Sweep { scenario: "friends".to_owned(), seeds, wall: WALL, twice: false };
    let text = plain(&sweep.text(&replay(), None));
    assert!(text.contains("seeds 0, 1, 2, 3, 4, 5, 6, 7 and 2 others  ") && text.contains("seed 10  "), "{text}");
    assert_eq!(text.matches("--seed").count(), 2, "one line to replay each: {text}");
}

#[test]
fn colours_mark_the_verdict() {
    let report = reports::outcome(&play(FRIENDS, 1), Detail::Brief, WALL, &replay(), None);
    assert!(report.starts_with("\u{1b}[1m\u{1b}[32mPASS\u{1b}[0m"), "{report:.40?}");
}
