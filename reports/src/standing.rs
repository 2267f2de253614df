//! How pairs of clients stand at the end of a run, in words.

use crate::model::{Apart, End, Pair};
use crate::text::thousands;

/// How a pair stands at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Connected,
    /// They were connected, and the connection has ended.
    Ended(End),
    /// Their NATs keep them apart, or may do so.
    Apart(Apart),
    NeverConnected,
}

impl Standing {
    pub(crate) fn of(pair: &Pair) -> Self {
        match (pair.since, &pair.past, pair.apart) {
            (Some(_), ..) => Self::Connected,
            (None, Some(past), _) => Self::Ended(past.why),
            (None, None, Some(apart)) => Self::Apart(apart),
            (None, None, None) => Self::NeverConnected,
        }
    }

    /// Whether nobody asked for it.
    pub(crate) fn is_odd(self) -> bool {
        matches!(self, Self::Ended(End::Lost) | Self::NeverConnected)
    }

    fn words(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Ended(end) => end.words(),
            Self::Apart(Apart::Expected) => "kept apart, as expected",
            Self::Apart(Apart::Chance) => "not connected, which their NATs leave to chance",
            Self::NeverConnected => "never connected",
        }
    }
}

impl End {
    /// The end in words that complete "connected from … until …, …".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::HungUp => "hung up",
            Self::Left => "left",
            Self::PowerLost => "lost power",
            Self::Replaced => "replaced",
            Self::Lost => "lost",
        }
    }
}

/// All pairs in one line: `all 3 pairs connected`; `ana and ben connected 5.8–25.0 s, hung up`.
pub(crate) fn headline(pairs: &[Pair]) -> String {
    let number = thousands(pairs.len());
    match pairs {
        [] => "signaling as specified".to_owned(),
        [pair] => format!("{} and {} {}", pair.between[0], pair.between[1], state(pair)),
        [_, _] if all_connected(pairs) => "both pairs connected".to_owned(),
        _ if all_connected(pairs) => format!("all {number} pairs connected"),
        _ => {
            let standings: Vec<_> = pairs.iter().map(Standing::of).collect();
            let mut kinds = standings.clone();
            kinds.sort();
            kinds.dedup();
            let count = |kind: &Standing| standings.iter().filter(|standing| *standing == kind).count();
            let parts = kinds.iter().map(|kind| format!("{} {}", thousands(count(kind)), kind.words()));
            format!("{number} pairs: {}", parts.collect::<Vec<_>>().join("; "))
        }
    }
}

/// The number of pairs whose state nobody asked for, if there are any, to follow a sentence.
pub(crate) fn odd_ones(count: usize) -> String {
    if count == 0 { String::new() } else { format!("; {} lost or never connected", thousands(count)) }
}

fn all_connected(pairs: &[Pair]) -> bool {
    pairs.iter().all(|pair| Standing::of(pair) == Standing::Connected)
}

/// The state of a pair: `connected`, `connected 5.8–25.0 s, hung up`, `never connected`.
pub(crate) fn state(pair: &Pair) -> String {
    match &pair.past {
        Some(past) if pair.since.is_none() => {
            format!("connected {:.1}–{:.1} s, {}", past.since, past.until, past.why.words())
        }
        _ => Standing::of(pair).words().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Past;

    fn pair(since: Option<f64>, past: Option<End>, apart: Option<Apart>) -> Pair {
        let past = past.map(|why| Past { since: 5.83, until: 25.0, why });
        let between = ["ana", "ben"].map(str::to_owned);
        Pair { between, since, past, apart, first_heard: None, attempts: 1, selected: None, candidates: None }
    }

    #[test]
    fn one_pair_is_named_and_several_are_counted_by_how_they_stand() {
        let connected = pair(Some(1.0), None, None);
        let hung_up = pair(None, Some(End::HungUp), None);
        let apart = pair(None, None, Some(Apart::Expected));
        let never = pair(None, None, None);
        let line = |pairs: &[&Pair]| headline(&pairs.iter().map(|pair| (*pair).clone()).collect::<Vec<_>>());
        assert_eq!(line(&[&connected]), "ana and ben connected");
        assert_eq!(line(&[&hung_up]), "ana and ben connected 5.8–25.0 s, hung up");
        assert_eq!(line(&[&apart]), "ana and ben kept apart, as expected");
        assert_eq!(line(&[&connected, &connected]), "both pairs connected");
        assert_eq!(line(&[&connected, &connected, &connected]), "all 3 pairs connected");
        assert_eq!(
            line(&[&never, &connected, &hung_up, &connected]),
            "4 pairs: 2 connected; 1 hung up; 1 never connected"
        );
    }

    #[test]
    fn a_connection_that_exists_hides_an_earlier_one() {
        let again = pair(Some(30.0), Some(End::Lost), None);
        assert_eq!((state(&again), Standing::of(&again).is_odd()), ("connected".to_owned(), false));
        assert!(Standing::of(&pair(None, Some(End::Lost), None)).is_odd());
    }
}
