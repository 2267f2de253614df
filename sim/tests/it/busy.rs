//! Runs that take minutes: the same scenario twice with each seed, while both cores do something else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use scenarios::Scenario;
use sim::hash::first_difference;
use sim::run::run;

/// Two busy loops that end with this value.
pub(crate) struct Busy {
    over: Arc<AtomicBool>,
}

impl Busy {
    pub(crate) fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let over = Arc::clone(&over);
            #[allow(clippy::disallowed_methods)] // nothing of this is simulated
            std::thread::spawn(move || while !over.load(Relaxed) {});
        }
        Self { over }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

/// Plays a scenario twice with each seed. Returns a line for each seed whose runs differ.
///
/// `GLARE_DOUBLE_RUNS` says how many seeds there are.
pub(crate) fn double_runs(scenario: &Arc<Scenario>) -> Vec<String> {
    let runs = std::env::var("GLARE_DOUBLE_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(50_u64);
    let mut different = Vec::new();
    for seed in 1..=runs {
        let [first, second] = [(); 2].map(|()| run(scenario, seed).unwrap_or_else(|crash| panic!("{}", crash.message)));
        if let Some(difference) = first_difference(&first.record, &second.record) {
            different.push(format!("{}, seed {seed}: {difference:?}", scenario.name));
        }
    }
    eprintln!("{}: {} of {runs} double runs differ", scenario.name, different.len());
    different
}
