//! The matrix of NAT profiles, as text, JSON and a page.

use reports::{NatCell, NatMatrix};
use sim::nat_matrix::{Found, Prediction};
use sim::reachability::{CandidateKind, Obstacle, Path, Verdict};

use crate::html::words;

const DIRECT: Path = Path { a: CandidateKind::ServerReflexive, b: CandidateKind::PeerReflexive };

/// Four pairs, of which the last is not as predicted if `last` is not nothing.
fn matrix(last: Found) -> NatMatrix {
    let relayed = Path { a: CandidateKind::Relayed, b: CandidateKind::Host };
    NatMatrix {
        tool: "glare 1".to_owned(),
        command: "glare nat-matrix".to_owned(),
        seed: 7,
        turn: true,
        stacks: ["rtc", "rtc"],
        profiles: vec!["cone".to_owned(), "symmetric".to_owned()],
        cells: vec![
            NatCell::new("cone", "cone", Found::Connected(DIRECT), sure(Verdict::Connects(DIRECT))),
            NatCell::new("cone", "symmetric", Found::Connected(relayed), sure(Verdict::Connects(relayed))),
            NatCell::new(
                "symmetric",
                "cone",
                Found::ChecksArrive,
                Prediction { verdict: Verdict::Chance(DIRECT), is_sure: false, any_relay: false },
            ),
            NatCell::new("symmetric", "symmetric", last, sure(Verdict::NeedsRelay(Obstacle::NoCheckArrives))),
        ],
    }
}

fn sure(verdict: Verdict) -> Prediction {
    Prediction { verdict, is_sure: true, any_relay: false }
}

/// Where a relay is needed, and both sides have one, a stack that nominates more than once may use both.
#[test]
fn two_relays_may_serve_one_direction_each() {
    let split = Path { a: CandidateKind::Relayed, b: CandidateKind::Relayed };
    let relayed = Path { a: CandidateKind::PeerReflexive, b: CandidateKind::Relayed };
    let any = |verdict| Prediction { any_relay: true, ..sure(verdict) };
    let cell = NatCell::new("symmetric", "cone", Found::Split(split), any(Verdict::Connects(relayed)));
    assert!(cell.agrees);
    assert!(!NatCell::new("symmetric", "cone", Found::Split(split), sure(Verdict::Connects(relayed))).agrees);
    assert!(!NatCell::new("symmetric", "cone", Found::Connected(DIRECT), any(Verdict::Connects(relayed))).agrees);
    assert_eq!(cell.found.words(), "relay-relay, each side over a pair of its own");
    assert_eq!(cell.found.result, reports::NatResult::Relayed);
    let cell = NatCell::new("cone", "cone", Found::Split(split), any(Verdict::Connects(DIRECT)));
    assert!(!cell.agrees, "a direct pair is possible");
}

#[test]
fn a_matrix_as_predicted_passes() {
    let matrix = matrix(Found::Nothing);
    assert_eq!(matrix.differing().count(), 0);
    let text = anstream::adapter::strip_str(&matrix.text()).to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines[..3], ["              1   2", " 1 cone       sp  rh", " 2 symmetric  ~?  -"], "{text}");
    assert_eq!(lines.last(), Some(&"PASS  4 pairs: 1 direct, 1 relayed, 2 failed; all as predicted, 1 left to chance"));
    let page = matrix.html();
    assert!(page.contains(
        "symmetric with cone: checks get through, answers do not fit; predicted: srflx-prflx, another path, or nothing"
    ));
    let page = words(&page);
    assert!(page.contains("PASS") && page.contains("all as predicted"), "{page}");
}

#[test]
fn a_pair_that_is_not_as_predicted_is_told_everywhere() {
    let matrix = matrix(Found::Connected(DIRECT));
    assert_eq!(matrix.differing().count(), 1);
    let text = anstream::adapter::strip_str(&matrix.text()).to_string();
    assert!(text.contains("sp! ") || text.contains("sp!\n"), "{text}");
    assert!(text.contains("symmetric with symmetric: srflx-prflx, but predicted is nothing gets through"), "{text}");
    assert!(text.contains("FAIL  4 pairs: 2 direct, 1 relayed, 1 failed; 1 not as predicted"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&matrix.json()).expect("JSON");
    assert_eq!(json.pointer("/cells/3/agrees"), Some(&false.into()));
    assert_eq!(json.pointer("/cells/3/path"), Some(&serde_json::json!(["srflx", "prflx"])));
    assert_eq!(json.pointer("/cells/3/predicted/result"), Some(&"failed".into()));
    let page = words(&matrix.html());
    assert!(page.contains("FAIL") && page.contains("Not as predicted"), "{page}");
    assert!(page.contains("symmetric with symmetric: srflx-prflx; predicted: nothing gets through"), "{page}");
}

#[test]
fn a_matrix_that_is_left_to_chance_is_no_pass() {
    let mut matrix = matrix(Found::Nothing);
    matrix.profiles.truncate(1);
    matrix.cells = vec![matrix.cells.swap_remove(2)];
    let text = anstream::adapter::strip_str(&matrix.text()).to_string();
    let line = "NOT TESTED  1 pair: 0 direct, 0 relayed, 1 failed; no prediction to compare with, 1 left to chance";
    assert!(text.trim_end().ends_with(line), "{text}");
    let page = words(&matrix.html());
    assert!(page.contains("NOT TESTED") && !page.contains("PASS"), "{page}");
}
