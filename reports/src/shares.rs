//! How the pairs of a population connected: directly, through a relay, or not at all.

use crate::model::{CandidateKind, Pair, Population};
use crate::text::thousands;

/// The shares of a run whose scenario has a population.
pub(crate) fn of(source: &str, pairs: &[Pair]) -> Population {
    let connected = || pairs.iter().filter(|pair| pair.since.is_some());
    let is_relayed = |pair: &&Pair| {
        pair.selected.as_ref().is_some_and(|both| both.iter().any(|candidate| candidate.kind == CandidateKind::Relay))
    };
    let relayed = connected().filter(is_relayed).count();
    Population { source: source.to_owned(), pairs: pairs.len(), direct: connected().count() - relayed, relayed }
}

impl Population {
    /// The shares in words: `67.2 % direct, 32.0 % relayed, 0.8 % not connected, of 500 pairs`.
    pub(crate) fn words(&self) -> String {
        let Self { pairs, direct, relayed, .. } = *self;
        let percent = |count: usize| count as f64 * 100.0 / pairs.max(1) as f64;
        let apart = pairs - direct - relayed;
        format!(
            "{:.1} % direct, {:.1} % relayed, {:.1} % not connected, of {} pairs",
            percent(direct),
            percent(relayed),
            percent(apart),
            thousands(pairs)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_percentages_of_all_pairs() {
        let shares = |pairs, direct, relayed| Population { source: "here".to_owned(), pairs, direct, relayed }.words();
        assert_eq!(shares(500, 336, 160), "67.2 % direct, 32.0 % relayed, 0.8 % not connected, of 500 pairs");
        assert_eq!(shares(0, 0, 0), "0.0 % direct, 0.0 % relayed, 0.0 % not connected, of 0 pairs");
    }
}
