//! What makes two failing runs the same: the oracle, and what it says apart from names, ids and times.

use crate::event::Record;
use crate::oracle::Violation;
use crate::run::{Crash, Outcome};

/// The oracle's slug of a run that panicked or hung.
pub const CRASH: &str = "no-crash";

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The oracle's slug, or [`CRASH`].
    pub oracle: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Whether it was found at the end, and not at an event.
    pub at_end: bool,
    /// The message without names, ids and times, up to the first colon or semicolon.
    kind: String,
}

impl Failure {
    /// All failures of a run, in the order of its violations.
    pub(super) fn all(outcome: &Outcome) -> Vec<Self> {
        outcome.violations.iter().map(|violation| Self::of(violation, &outcome.record)).collect()
    }

    fn of(violation: &Violation, record: &Record) -> Self {
        let names: Vec<&str> = record.nodes.iter().map(|node| &*node.name).collect();
        Self {
            oracle: violation.oracle,
            message: violation.message.clone(),
            at_end: violation.event.is_none(),
            kind: kind(&violation.message, &names),
        }
    }

    /// The failure of a run that did not finish.
    pub(super) fn crash(crash: &Crash) -> Self {
        Self { oracle: CRASH, message: crash.message.clone(), at_end: false, kind: kind(&crash.message, &[]) }
    }

    /// Whether the other is the same defect, as far as an oracle can tell.
    pub fn is_like(&self, other: &Self) -> bool {
        self.oracle == other.oracle && self.kind == other.kind
    }
}

/// What a message says, apart from who, when and how often.
fn kind(message: &str, names: &[&str]) -> String {
    let mut kind = String::new();
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let length = |belongs: fn(char) -> bool| rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let (shown, taken) = match first {
            ':' | ';' => break,
            '`' | '“' => {
                let end = if first == '`' { '`' } else { '”' };
                let after = rest[first.len_utf8()..].find(end).map(|at| at + first.len_utf8() + end.len_utf8());
                ("_", after.unwrap_or(rest.len()))
            }
            _ if rest.starts_with(" (id ") => ("", rest.find(')').map_or(rest.len(), |at| at + 1)),
            _ if rest.starts_with("the end") => ("# s", "the end".len()),
            '0'..='9' => ("#", length(|c| c.is_ascii_digit() || c == '.')),
            _ if first.is_alphanumeric() => {
                let taken = length(|c| c.is_alphanumeric() || c == '-');
                let word = &rest[..taken];
                (if names.contains(&word) { "_" } else { word }, taken)
            }
            _ => (&rest[..first.len_utf8()], first.len_utf8()),
        };
        kind.push_str(shown);
        rest = &rest[taken..];
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ids_and_times_do_not_count() {
        let names = ["ana", "ben", "net-1"];
        let of = |message: &str| kind(message, &names);
        assert_eq!(
            of("ana (id x7) and ben (id b2) are not connected: ana has no connection"),
            "_ and _ are not connected"
        );
        assert_eq!(
            of("ben and ana are not connected from 10.000 s to the end; the scenario"),
            of("ana and ben are not connected from 1.5 s to 12.000 s; it")
        );
        assert_ne!(
            of("`expect.unconnected` lists ana and ben, but their NATs let them"),
            of("ana and ben are not connected")
        );
        assert_eq!(of("anabel joined `room 1`"), "anabel joined _");
    }
}
