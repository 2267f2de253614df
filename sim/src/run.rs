//! From a scenario and a seed to an outcome.

use std::sync::Arc;
use std::time::Duration;

use scenarios::Scenario;

use crate::event::Record;
use crate::hash::{EventHash, event_hash};
use crate::oracle::{self, Probes, Violation};
use crate::stage;
use crate::world::{World, panic_message};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was played.
    pub scenario: Arc<Scenario>,
    /// The seed it was played with.
    pub seed: u64,
    /// What happened.
    pub record: Record,
    /// The hash of what happened.
    pub hash: EventHash,
    /// What should not have happened, or should have and did not.
    pub violations: Vec<Violation>,
    /// Which rare situations came about.
    pub probes: Probes,
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

/// A run that did not come to its end: a panic, or a simulation that hung. Its fault is Glare's, or a library's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The seed it was played with.
    pub seed: u64,
    /// The panic's message.
    pub message: String,
}

/// Plays a scenario and judges it.
///
/// # Errors
/// Something panicked or hung.
pub fn run(scenario: &Arc<Scenario>, seed: u64) -> Result<Outcome, Crash> {
    let record = record(scenario, seed)?;
    let hash = event_hash(&record);
    let (violations, probes) = oracle::judge(scenario, &record);
    Ok(Outcome { scenario: scenario.clone(), seed, record, hash, violations, probes })
}

/// Plays a scenario.
///
/// # Errors
/// Something panicked or hung.
pub fn record(scenario: &Arc<Scenario>, seed: u64) -> Result<Record, Crash> {
    let limit: Duration = scenario.duration + stage::LIMIT_AFTER_END;
    let played = scenario.clone();
    World::run(seed, stage::boots(scenario), limit, move |world| async move {
        stage::play(world.clone(), played, seed).await;
        world.recorder().take()
    })
    .map_err(|panic| Crash { seed, message: panic_message(&*panic) })
}
