//! What changed: each kind of change is told as that and as nothing else; a planted fault is found, and what is right raises no alarm.

use std::sync::Arc;

use reports::Results;
use reports::diff::Diff;
use reports::model::{Case, Finding, Opening, Suite, Verdict};
use sim::event::{Event, Message, Record, Signaling, What};
use sim::run::Outcome;

use crate::model::{opening, read, written, written_by};
use crate::{FRIENDS, WALL, play, replay, wrong};

#[test]
fn each_change_is_told_as_what_it_is() {
    let before =
        result(&[("a", &[P]), ("b", &[F]), ("c", &[F]), ("d", &[P, F]), ("e", &[P]), ("gone", &[P]), ("t", &[P])]);
    let now = result(&[("a", &[F]), ("b", &[P]), ("c", &[F]), ("d", &[F, P]), ("e", &[P]), ("new", &[F]), ("t", &[N])]);
    let diff = Diff::of(&before, &now).expect("comparable");
    let names = |ids: &[String]| ids.join(" ");
    assert_eq!(diff.newly_failing.iter().map(|failing| failing.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(
        (names(&diff.fixed), names(&diff.still_failing), names(&diff.removed)),
        ("b".into(), "c".into(), "gone".into())
    );
    assert_eq!(
        diff.flaky.iter().map(|flaky| (flaky.id.as_str(), flaky.before, flaky.now)).collect::<Vec<_>>(),
        [("d", (1, 2), (1, 2))]
    );
    assert_eq!(diff.added, [("new".to_owned(), Verdict::Fail)]);
    assert_eq!(diff.no_longer_tested, [("t".to_owned(), Verdict::NotTested)]);
    assert!(diff.is_regression());
    insta::assert_snapshot!(crate::plain(&diff.text(None)));
}

#[test]
fn what_is_equal_is_told_in_one_line() {
    let same = result(&[("a", &[P]), ("b", &[F])]);
    let diff = Diff::of(&same, &same).expect("comparable");
    assert!(!diff.is_regression() && diff.is_empty());
    assert!(crate::plain(&diff.text(None)).starts_with("SAME  2 cases, nothing changed\n"));
}

#[test]
fn what_is_measured_is_another_each_time_and_no_change() {
    let with = |remark: &str| {
        let mut result = result(&[("a", &[P])]);
        result.cases[0].remarks = vec![remark.to_owned()];
        result
    };
    let before = with("a flood of 1000 messages takes 12.5 ms");
    assert!(Diff::of(&before, &with("a flood of 1000 messages takes 8 ms")).expect("comparable").is_empty());
    let other = Diff::of(&before, &with("a flood closes the connection")).expect("comparable");
    assert_eq!((other.behaviour.len(), other.is_regression()), (1, false));
}

#[test]
fn repeats_decide_between_a_flake_and_a_regression() {
    let verdict = |before: &[Verdict], now: &[Verdict]| {
        let diff = Diff::of(&result(&[("a", before)]), &result(&[("a", now)])).expect("comparable");
        (diff.is_regression(), diff.flaky.len())
    };
    assert_eq!(verdict(&[P, P, P], &[P, F, P]), (false, 1), "one failure of three is a flake");
    assert_eq!(verdict(&[P, P, P], &[F, F, P]), (true, 0), "two of three are more than that");
    assert_eq!(verdict(&[P, F, P], &[F, F, F]), (false, 1), "it was flaky before");
    assert_eq!(verdict(&[P, P, P], &[F, F, F]), (true, 0));
}

#[test]
fn a_failing_case_that_breaks_another_rule_too_is_a_regression() {
    let mut now = result(&[("a", &[F])]);
    now.cases[0].findings.push(Finding {
        rule: "one-leave-notice".to_owned(),
        message: "two".to_owned(),
        ..Finding::default()
    });
    let diff = Diff::of(&result(&[("a", &[F])]), &now).expect("comparable");
    assert_eq!(diff.newly_failing[0].rules, [("one-leave-notice".to_owned(), "two".to_owned())]);
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_reason() {
    let refuse = |before: &Results, now: &Results| Diff::of(before, now).expect_err("it cannot be").to_string();
    let one = result(&[("a", &[P])]);
    let sim = read(&written(vec![case("a", P)])).expect("a result");
    assert_eq!(
        refuse(&one, &sim),
        "one is a result of conformance, the other of sim: compare results of the same suite"
    );
    let cut = Results { closing: None, ..one.clone() };
    assert_eq!(refuse(&one, &cut), "the new result is truncated after 1 cases: run it again");
    assert!(refuse(&one, &result(&[("b", &[P])])).starts_with("they have no case in common"));
}

#[test]
fn a_run_that_passes_and_behaves_otherwise_shows_the_first_event() {
    let (mut first, mut second) = (folder("behaves-a", &play(FRIENDS, 1)), folder("behaves-b", &play(FRIENDS, 2)));
    // As if the seed were the same and the server another.
    (first.cases[0].id, second.cases[0].id) = ("x".to_owned(), "x".to_owned());
    let diff = Diff::of(&first, &second).expect("comparable");
    assert!(!diff.is_regression());
    let side = diff.behaviour[0].first.as_ref().expect("both have their events");
    let line = |seed| {
        let outcome = play(FRIENDS, seed);
        outcome.record.json_line(&outcome.record.events[side.index])
    };
    assert_eq!((side.of, &side.before, &side.now), ("event", &Some(line(1)), &Some(line(2))));
    assert_eq!(side.common.len(), 3.min(side.index));
    let text = crate::plain(&diff.text(None));
    assert!(text.contains("Passes, but behaves differently  1\n  x\n"), "{text}");
    assert!(text.contains(&format!("the first difference is event {}:", side.index)), "{text}");
}

#[test]
fn connecting_that_became_slower_is_told_and_fails_no_build() {
    let seeds: Vec<Case> = (1..20)
        .map(|seed| reports::case_of_outcome(&play(FRIENDS, seed), WALL, &replay(), reports::Detail::Brief, None))
        .collect();
    let mut slow = seeds.clone();
    for pair in slow.iter_mut().flat_map(|case| &mut case.simulation.as_mut().expect("simulated").pairs) {
        pair.first_heard = pair.first_heard.map(|at| at + 0.5);
    }
    let (before, now) = (read(&written(seeds)).expect("a result"), read(&written(slow)).expect("a result"));
    let diff = Diff::of(&before, &now).expect("comparable");
    assert!(!diff.is_regression());
    assert_eq!(diff.timing.len(), 1, "{:?}", diff.timing);
    assert!(diff.timing[0].is_virtual && (diff.timing[0].now - diff.timing[0].before - 0.5).abs() < 0.01);
    assert!(crate::plain(&diff.text(None)).contains("  friends: pairs connected  slower  "));
    assert_eq!(Diff::of(&before, &before).expect("comparable").timing, []);
}

/// A faulty server would have written these records: each is a regression, by the promise that it breaks, with the line that replays it.
#[test]
fn thirty_planted_faults_are_regressions_and_nothing_else() {
    let good = play(FRIENDS, 1);
    let before = folder("mutants", &good);
    let mut found = 0;
    for (oracle, plant) in FAULTS {
        for nth in 0.. {
            let mut record = good.record.clone();
            if !plant(&mut record, nth) {
                assert!(nth > 0, "{oracle}: nothing to break");
                break;
            }
            let mutant = judged(&good, record);
            assert!(!mutant.passed(), "{oracle} {nth}: no oracle sees it");
            let now = read(&written(vec![of(&mutant)])).expect("a result");
            let diff = Diff::of(&before, &now).expect("comparable");
            let [failing] = &diff.newly_failing[..] else { panic!("{oracle} {nth}: {}", diff.text(None)) };
            let others =
                (diff.fixed.len(), diff.still_failing.len(), diff.flaky.len(), diff.behaviour.len(), diff.added.len());
            assert_eq!(others, (0, 0, 0, 0, 0), "{oracle} {nth}: it is told as that alone");
            assert!(failing.rules.iter().any(|(rule, _)| rule == oracle), "{oracle} {nth}: {:?}", failing.rules);
            assert_eq!(failing.replay, "glare sim --scenario friends.toml --seed 1");
            found += 1;
        }
    }
    assert!(found >= 30, "{found} faults");
}

#[test]
fn fifty_runs_of_the_correct_server_raise_no_alarm() {
    let once = |seeds: std::ops::Range<u64>| {
        let case = |seed| reports::case_of_outcome(&play(FRIENDS, seed), WALL, &replay(), reports::Detail::Brief, None);
        read(&written(seeds.map(case).collect())).expect("a result")
    };
    let before = once(0..3);
    for _ in 0..50 {
        let diff = Diff::of(&before, &once(0..3)).expect("comparable");
        assert!(diff.is_empty(), "{}", diff.text(None));
    }
}

#[test]
fn ten_thousand_cases_are_compared() {
    let mut cases: Vec<Case> = (0..10_000).map(|n| case(&format!("group-{}/case-{n}", n % 40), P)).collect();
    let text = written_by(&Opening { suite: Suite::Conformance, ..opening() }, cases.clone());
    cases.iter_mut().step_by(100).for_each(|case| *case = self::case(&case.id, F));
    let changed = written_by(&Opening { suite: Suite::Conformance, ..opening() }, cases);
    let diff = Diff::of(&read(&text).expect("a result"), &read(&changed).expect("a result")).expect("comparable");
    assert_eq!(diff.newly_failing.len(), 100);
}

// ---- faults

/// Plants the nth fault of a kind into a record; false when there is no nth.
type Plant = fn(&mut Record, usize) -> bool;

const FAULTS: [(&str, Plant); 6] = [
    ("at-most-once", |record, nth| {
        let Some(at) = signals(record).nth(nth) else { return false };
        let again = record.events[at].clone();
        record.events.insert(at + 1, again);
        true
    }),
    ("payload-byte-exact", |record, nth| {
        changed(record, nth, |message| {
            if let Message::Signal { payload, .. } = message {
                *payload = format!("{payload} ").into()
            }
        })
    }),
    ("sender-identity-stamped", |record, nth| {
        changed(record, nth, |message| {
            if let Message::Signal { peer, .. } = message {
                *peer = Some("nobody".into())
            }
        })
    }),
    ("no-cross-room-leak", |record, nth| {
        changed(record, nth, |message| {
            if let Message::Signal { room, .. } = message {
                *room = "attic".into()
            }
        })
    }),
    ("no-echo-to-sender", |record, nth| {
        let Some(at) = signals(record).nth(nth) else { return false };
        let Event { at: time, node, what } = record.events[at].clone();
        let other =
            record.events.iter().map(|event| event.node).find(|other| is_client(record, *other) && *other != node);
        record.events.insert(at + 1, Event { at: time, node: other.expect("two friends"), what });
        true
    }),
    ("roster-matches-model", |record, nth| {
        let joined = |event: &Event| matches!(event.what, What::Signaling(Signaling::Received(Message::Joined { .. })));
        let Some(at) = (0..record.events.len()).filter(|&at| joined(&record.events[at])).nth(nth) else { return false };
        let What::Signaling(Signaling::Received(Message::Joined { roster, .. })) = &mut record.events[at].what else {
            unreachable!("it is one")
        };
        roster.push(sim::event::Member { id: "ghost".into(), name: None });
        true
    }),
];

fn signals(record: &Record) -> impl Iterator<Item = usize> + '_ {
    let is_signal = |event: &Event| matches!(event.what, What::Signaling(Signaling::Received(Message::Signal { .. })));
    (0..record.events.len()).filter(move |&at| is_signal(&record.events[at]))
}

fn changed(record: &mut Record, nth: usize, change: fn(&mut Message)) -> bool {
    let Some(at) = signals(record).nth(nth) else { return false };
    let What::Signaling(Signaling::Received(message)) = &mut record.events[at].what else { unreachable!("it is one") };
    change(message);
    true
}

fn is_client(record: &Record, node: sim::event::NodeId) -> bool {
    matches!(record.nodes[usize::from(node.0)].kind, sim::event::NodeKind::Machine(scenarios::Machine::Actor(_)))
}

fn judged(good: &Outcome, record: Record) -> Outcome {
    let (violations, probes) = sim::oracle::judge(&good.scenario, &record);
    let hash = sim::hash::event_hash(&record);
    Outcome { scenario: Arc::clone(&good.scenario), seed: good.seed, record, hash, violations, probes }
}

// ---- helpers

const P: Verdict = Verdict::Pass;
const F: Verdict = Verdict::Fail;
const N: Verdict = Verdict::NotTested;

/// A conformance result with these cases, each asked as often as it has verdicts.
fn result(cases: &[(&str, &[Verdict])]) -> Results {
    let all = cases.iter().flat_map(|(id, verdicts)| verdicts.iter().map(|verdict| case(id, *verdict))).collect();
    read(&written_by(&Opening { suite: Suite::Conformance, ..opening() }, all)).expect("a result")
}

fn case(id: &str, verdict: Verdict) -> Case {
    let finding = Finding { rule: id.to_owned(), message: format!("{id} is broken"), ..Finding::default() };
    Case {
        verdict,
        wall: 0.01,
        findings: if verdict == P { Vec::new() } else { vec![finding] },
        ..Case::new(
            id.to_owned(),
            format!("What {id} asks."),
            format!("glare conformance --url ws://127.0.0.1:8787/ --case {id}"),
        )
    }
}

fn of(outcome: &Outcome) -> Case {
    let events = format!("friends-{}/events.jsonl", outcome.seed);
    reports::case_of_outcome(outcome, WALL, &replay(), reports::Detail::Full, Some(events))
}

/// The result of a run with its events beside it.
fn folder(name: &str, outcome: &Outcome) -> Results {
    let dir = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    reports::write_outcome(&dir, outcome, WALL, &replay()).expect("a scratch folder");
    Results { dir, ..read(&written(vec![of(outcome)])).expect("a result") }
}

#[test]
fn a_scenario_that_expects_the_impossible_is_a_regression_too() {
    let diff =
        Diff::of(&folder("right", &play(FRIENDS, 1)), &read(&written(vec![of(&play(&wrong(), 1))])).expect("a result"));
    assert_eq!(diff.expect("comparable").newly_failing[0].rules[0].0, "everyone-connected");
}
