//! Timings that changed: medians that differ by more than their noise.
//!
//! One sample is not enough, and one slow run distorts a mean. So the noise is measured by the median absolute
//! deviation, which stays meaningful even if nearly half of the samples are outliers. Multiplied by 1.4826, it
//! estimates the standard deviation of normal noise (Rousseeuw and Croux 1993). The standard error of a median of n
//! samples is 1.2533 σ/√n. A change by more than five standard errors and more than a minimum is reported.

use std::collections::BTreeMap;

use crate::model::Suite;
use crate::result::Results;

/// Minimum number of samples in each result.
const SAMPLES_MIN: usize = 8;
/// Standard errors beyond which a change is not noise. A false alarm is one in millions, because there are many
/// timings.
const ERRORS: f64 = 5.0;
/// Minimum relative change of virtual time. It varies only with the seeds, and users would not notice less.
const VIRTUAL_SHARE: f64 = 0.03;
/// Minimum relative change of real time. A machine's speed varies between runs, which repeats within a run do not show.
const REAL_SHARE: f64 = 0.5;
/// Timings below this many seconds are ignored.
const LEAST: f64 = 0.005;

/// A timing that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// What is timed: how long connecting takes in a scenario, or the repeats of a case.
    pub what: String,
    /// Whether it is virtual time, which does not depend on the machine's load.
    pub is_virtual: bool,
    /// Median before, seconds.
    pub before: f64,
    /// Median now, seconds.
    pub now: f64,
    /// The change, in seconds, up to which it counts as noise.
    pub band: f64,
    /// Numbers of samples before and now.
    pub samples: (usize, usize),
}

pub(super) fn compare(before: &Results, now: &Results) -> Vec<Timing> {
    let (old, new) = (samples(before), samples(now));
    let change = |(key, new): (&(bool, String), &Vec<f64>)| change(key, old.get(key)?, new);
    new.iter().filter_map(change).collect()
}

fn change((is_virtual, what): &(bool, String), old: &[f64], new: &[f64]) -> Option<Timing> {
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

/// Samples by timing: virtual connecting times of all seeds of a scenario, and real times of a case's repeats or a
/// scenario's seeds.
fn samples(results: &Results) -> BTreeMap<(bool, String), Vec<f64>> {
    let mut samples: BTreeMap<(bool, String), Vec<f64>> = BTreeMap::new();
    for case in &results.cases {
        if let Some(simulation) = &case.simulation {
            let connected_at = simulation.pairs.iter().filter_map(|pair| pair.first_heard);
            samples.entry((true, format!("{}: pairs connected", case.group))).or_default().extend(connected_at);
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
        // A fixed pattern with some outliers, as on a busy machine.
        (0..count).map(|i| center * (1.0 + [0.0, 0.02, -0.02, 0.05, -0.04, 0.01, 3.0][i % 7] * 0.5)).collect()
    }

    fn is_changed(is_virtual: bool, old: &[f64], new: &[f64]) -> bool {
        change(&(is_virtual, String::new()), old, new).is_some()
    }

    #[test]
    fn outliers_change_nothing_but_a_shift_of_all_samples_does() {
        assert!(!is_changed(true, &noisy(1.0, 100), &noisy(1.0, 90)));
        assert!(is_changed(true, &noisy(1.0, 100), &noisy(1.2, 100)));
        assert!(is_changed(true, &noisy(1.2, 100), &noisy(1.0, 100)), "both ways");
        let mut outliers = noisy(1.0, 100);
        outliers[..30].fill(50.0);
        assert!(!is_changed(true, &noisy(1.0, 100), &outliers), "three in ten are outliers");
    }

    #[test]
    fn one_sample_is_not_enough() {
        assert!(!is_changed(true, &[1.0], &[9.0]));
        assert!(!is_changed(false, &noisy(1.0, SAMPLES_MIN - 1), &noisy(9.0, 100)));
    }

    #[test]
    fn a_machine_at_another_speed_is_not_a_change() {
        assert!(!is_changed(false, &noisy(1.0, 100), &noisy(1.3, 100)));
        assert!(is_changed(false, &noisy(1.0, 100), &noisy(2.0, 100)));
    }
}
