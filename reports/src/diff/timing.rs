//! Timings that moved: medians further apart than their noise.
//!
//! One sample says nothing, and a mean is at the mercy of one slow run. The noise of a sample is its median absolute deviation, which half
//! of the samples may be wild without spoiling; 1.4826 of it is a standard deviation where the noise is normal (Rousseeuw and Croux 1993).
//! The standard error of a median of n is 1.2533 σ/√n. What moved by more than five of them, and by more than a floor, is told.

use std::collections::BTreeMap;

use crate::model::Suite;
use crate::result::Results;

/// Samples on either side below which nothing is said.
const SAMPLES_MIN: usize = 8;
/// Standard errors beyond which it is no noise: one in millions, for there are many timings.
const ERRORS: f64 = 5.0;
/// Virtual time has no noise but the seeds': a smaller share is nothing that anybody would feel.
const VIRTUAL_SHARE: f64 = 0.03;
/// Machines differ in their mood from run to run, which repeats within a run do not show.
const REAL_SHARE: f64 = 0.5;
/// Seconds below which no timing is looked at.
const LEAST: f64 = 0.005;

/// A timing that moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// What it is of: a scenario's connecting, a case's repeats.
    pub what: String,
    /// Whether it is virtual time, which no machine's load changes.
    pub is_virtual: bool,
    /// Median before, seconds.
    pub before: f64,
    /// Median now, seconds.
    pub now: f64,
    /// By how much it may move without meaning, seconds.
    pub band: f64,
    /// Samples before and now.
    pub samples: (usize, usize),
}

pub(super) fn compare(before: &Results, now: &Results) -> Vec<Timing> {
    let (old, new) = (samples(before), samples(now));
    let moved = |(key, new): (&(bool, String), &Vec<f64>)| moved(key, old.get(key)?, new);
    new.iter().filter_map(moved).collect()
}

fn moved((is_virtual, what): &(bool, String), old: &[f64], new: &[f64]) -> Option<Timing> {
    if old.len().min(new.len()) < SAMPLES_MIN {
        return None;
    }
    let (before, now) = (median(old), median(new));
    let spread = deviation(old, before).max(deviation(new, now)) * 1.4826;
    let error = 1.2533 * spread * (1.0 / old.len() as f64 + 1.0 / new.len() as f64).sqrt();
    let share = if *is_virtual { VIRTUAL_SHARE } else { REAL_SHARE };
    let band = (ERRORS * error).max(share * before).max(LEAST);
    ((now - before).abs() > band).then(|| Timing {
        what: what.clone(),
        is_virtual: *is_virtual,
        before,
        now,
        band,
        samples: (old.len(), new.len()),
    })
}

/// Connecting of all seeds of a scenario, in virtual time; real time of a case's repeats, or of a scenario's seeds.
fn samples(results: &Results) -> BTreeMap<(bool, String), Vec<f64>> {
    let mut samples: BTreeMap<(bool, String), Vec<f64>> = BTreeMap::new();
    for case in &results.cases {
        if let Some(simulation) = &case.simulation {
            let heard = simulation.pairs.iter().filter_map(|pair| pair.first_heard);
            samples.entry((true, format!("{}: pairs connected", case.group))).or_default().extend(heard);
        }
        let what = match results.opening.suite {
            Suite::Sim => format!("{}: a run", case.group),
            Suite::Conformance | Suite::Mutants => case.id.clone(),
        };
        samples.entry((false, what)).or_default().push(case.wall);
    }
    samples.values_mut().for_each(|samples| samples.retain(|sample| sample.is_finite()));
    samples
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// The median absolute deviation.
fn deviation(samples: &[f64], median_of: f64) -> f64 {
    median(&samples.iter().map(|sample| (sample - median_of).abs()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(center: f64, count: usize) -> Vec<f64> {
        // A fixed pattern with some wild samples, as a busy machine gives them.
        (0..count).map(|i| center * (1.0 + [0.0, 0.02, -0.02, 0.05, -0.04, 0.01, 3.0][i % 7] * 0.5)).collect()
    }

    fn told(is_virtual: bool, old: &[f64], new: &[f64]) -> bool {
        moved(&(is_virtual, String::new()), old, new).is_some()
    }

    #[test]
    fn a_few_wild_samples_move_nothing_and_a_shift_of_all_does() {
        assert!(!told(true, &noisy(1.0, 100), &noisy(1.0, 90)));
        assert!(told(true, &noisy(1.0, 100), &noisy(1.2, 100)));
        assert!(told(true, &noisy(1.2, 100), &noisy(1.0, 100)), "both ways");
        let mut wild = noisy(1.0, 100);
        wild[..30].fill(50.0);
        assert!(!told(true, &noisy(1.0, 100), &wild), "three in ten are wild");
    }

    #[test]
    fn one_sample_says_nothing() {
        assert!(!told(true, &[1.0], &[9.0]));
        assert!(!told(false, &noisy(1.0, SAMPLES_MIN - 1), &noisy(9.0, 100)));
    }

    #[test]
    fn a_machine_in_another_mood_is_no_change() {
        assert!(!told(false, &noisy(1.0, 100), &noisy(1.3, 100)));
        assert!(told(false, &noisy(1.0, 100), &noisy(2.0, 100)));
    }
}
