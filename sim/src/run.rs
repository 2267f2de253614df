//! From a scenario and a seed to an outcome.

use std::sync::Arc;
use std::time::Duration;

use scenarios::Scenario;

use crate::capture::Capture;
use crate::event::Record;
use crate::hash::{EventHash, event_hash};
use crate::oracle::{self, Probes, Violation};
use crate::shared::panic_message;
use crate::stage;
use crate::stage::simulated::{self, Simulated};
use crate::world::World;

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
    Ok(judge(scenario, seed, record(scenario, seed)?))
}

/// Plays a scenario, judges it, and keeps all its packets. What happens is the same.
///
/// # Errors
/// Something panicked or hung.
pub fn run_captured(scenario: &Arc<Scenario>, seed: u64) -> Result<(Outcome, Capture), Crash> {
    let (record, capture) = play(scenario, seed, World::capture, |world| (world.recorder().take(), world.captured()))?;
    let networks = scenario.networks.iter().map(|network| network.name.clone());
    let realms = std::iter::once("internet".to_owned()).chain(networks).collect();
    Ok((judge(scenario, seed, record), Capture { realms, ..capture }))
}

fn judge(scenario: &Arc<Scenario>, seed: u64, record: Record) -> Outcome {
    let hash = event_hash(&record);
    let (violations, probes) = oracle::judge(scenario, &record);
    Outcome { scenario: scenario.clone(), seed, record, hash, violations, probes }
}

/// Plays a scenario.
///
/// # Errors
/// Something panicked or hung.
pub fn record(scenario: &Arc<Scenario>, seed: u64) -> Result<Record, Crash> {
    play(scenario, seed, |_| {}, |world| world.recorder().take())
}

/// Plays a scenario; `before` and `after` see the world before anything has happened and when all is over.
fn play<T: Send + 'static>(
    scenario: &Arc<Scenario>,
    seed: u64,
    before: fn(&World),
    after: fn(&World) -> T,
) -> Result<T, Crash> {
    let limit: Duration = scenario.duration + simulated::LIMIT_AFTER_END;
    let played = scenario.clone();
    let ended = World::run(seed, simulated::boots(scenario), limit, move |world| async move {
        before(&world);
        let ground = Simulated::new(world.clone(), played.clone(), seed);
        stage::play(ground, played, seed).await.map(|()| after(&world))
    });
    let ended = ended.unwrap_or_else(|panic| Err(panic_message(&*panic)));
    ended.map_err(|message| Crash { seed, message })
}
