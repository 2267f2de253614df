//! Plays a story, and says what it reached.

use std::collections::BTreeSet;
use std::sync::Arc;

use scenarios::Scenario;

use crate::oracle::Situation;
use crate::run::{self, Crash, Outcome};

/// A story that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// Its outcome.
    pub outcome: Outcome,
    /// The situations that the oracles' model met in it.
    pub situations: BTreeSet<Situation>,
}

/// Plays and judges a story.
///
/// # Errors
/// The run panicked or hung.
pub fn play(scenario: &Arc<Scenario>, seed: u64) -> Result<Played, Crash> {
    let (outcome, situations) = run::run_noting(scenario, seed)?;
    Ok(Played { outcome, situations })
}
