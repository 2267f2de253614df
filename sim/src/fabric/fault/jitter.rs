//! Jitter: a random delay in whole milliseconds.
//!
//! All arithmetic is on integers, so a seed draws the same times on every machine and in every build profile.

use std::time::Duration;

use rand_core::RngCore;
use scenarios::{Jitter as Distribution, OneWay};

use super::{Fault, FaultCx, Verdict};
use crate::fabric::packet::Packet;

pub(crate) struct Jitter {
    distribution: Distribution,
}

impl Default for Jitter {
    fn default() -> Self {
        Self { distribution: Distribution::NONE }
    }
}

impl Fault for Jitter {
    fn configure(&mut self, way: &OneWay) {
        self.distribution = way.jitter;
    }

    fn on_packet(&mut self, _: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        let milliseconds = match self.distribution {
            Distribution::NONE => return Verdict::Pass,
            Distribution::Uniform { max } => return Verdict::Delay(cx.milliseconds_up_to(max.as_millis() as u64)),
            Distribution::Normal { mean, deviation } => normal(mean, deviation, cx.rng),
            Distribution::Pareto { mean } => pareto(mean, cx.rng.next_u32()),
        };
        Verdict::Delay(Duration::from_millis(milliseconds).min(Distribution::LONGEST))
    }
}

/// A time of the normal distribution, milliseconds: the sum of twelve uniform numbers, whose variance is 1 (Irwin–Hall).
/// It is never further from the mean than six standard deviations.
fn normal(mean: Duration, deviation: Duration, rng: &mut impl RngCore) -> u64 {
    /// The range of a uniform number; also the standard deviation of the sum.
    const UNIT: i64 = 1 << 16;
    let mut sum = 0;
    for _ in 0..3 {
        let mut drawn = rng.next_u64();
        for _ in 0..4 {
            sum += (drawn & 0xffff) as i64;
            drawn >>= 16;
        }
    }
    let from_mean = sum - 6 * (UNIT - 1);
    let (mean, deviation) = (mean.as_millis() as i64, deviation.as_millis() as i64);
    let time = mean * UNIT + deviation * from_mean;
    u64::try_from((time + UNIT / 2).div_euclid(UNIT)).unwrap_or(0)
}

/// A time of the Pareto distribution of type II with shape 3, milliseconds. `drawn` is uniform.
///
/// The inverse of its distribution function: `scale · (v^(-1/3) - 1)`, where `v` is uniform from 0 (not included) to 1
/// and `scale` is twice the mean.
fn pareto(mean: Duration, drawn: u32) -> u64 {
    /// Fraction bits of the cube root.
    const FRACTION: u32 = 16;
    let reciprocal = (1_u128 << (32 + 3 * FRACTION)) / (u128::from(drawn) + 1);
    let times_scale = cube_root(reciprocal) - (1 << FRACTION);
    let time = 2 * mean.as_millis() * times_scale;
    ((time + (1 << (FRACTION - 1))) >> FRACTION) as u64
}

/// The largest number whose cube is at most `cube`, which is below 2^81.
fn cube_root(cube: u128) -> u128 {
    (0..27).rev().fold(0_u128, |root, bit| {
        let next = root | 1 << bit;
        if next.pow(3) <= cube { next } else { root }
    })
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;

    const MEAN: Duration = Duration::from_millis(1000);

    #[test]
    fn cube_roots_are_exact() {
        for root in [0, 1, 2, 3, 1 << 16, 100_000_007, (1 << 27) - 1] {
            let root: u128 = root;
            assert_eq!(cube_root(root.pow(3)), root);
            assert_eq!(cube_root(root.pow(3) + 3 * root), root, "the next cube is further away");
        }
    }

    /// Values of the inverse distribution function, worked out with a calculator.
    #[test]
    fn pareto_is_its_inverse_distribution_function() {
        let at = |percent: u64| pareto(MEAN, (u64::from(u32::MAX) * (100 - percent) / 100) as u32);
        assert_eq!([0, 50, 90, 99].map(at), [0, 520, 2309, 7283]);
        assert_eq!(pareto(MEAN, 0), 3_248_997, "the longest: 2 s · (2^(32/3) - 1)");
    }

    /// Mean and standard deviation of 100,000 draws; the bounds are five standard errors.
    #[test]
    fn normal_has_its_mean_and_its_deviation() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn: Vec<f64> = (0..100_000).map(|_| normal(MEAN, MEAN / 5, &mut rng) as f64).collect();
        let mean = drawn.iter().sum::<f64>() / 100_000.0;
        let deviation = (drawn.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / 100_000.0).sqrt();
        assert!((mean - 1000.0).abs() < 3.2, "{mean}");
        assert!((deviation - 200.0).abs() < 2.3, "{deviation}");
        let within = |sigmas: f64| drawn.iter().filter(|time| (**time - 1000.0).abs() <= sigmas * 200.0).count();
        // Of a normal distribution: 68.3 %, 95.4 % and 99.7 %.
        assert!((67_500..69_000).contains(&within(1.0)), "{}", within(1.0));
        assert!((95_100..95_900).contains(&within(2.0)), "{}", within(2.0));
        assert!((99_650..99_850).contains(&within(3.0)), "{}", within(3.0));
    }

    #[test]
    fn a_normal_time_is_never_negative() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn: Vec<u64> = (0..1000).map(|_| normal(Duration::from_millis(1), MEAN, &mut rng)).collect();
        assert!(drawn.iter().all(|time| *time < 6001), "no negative time has become a huge one");
        let zeros = drawn.iter().filter(|time| **time == 0).count();
        assert!((430..570).contains(&zeros), "half of them would be negative: {zeros}");
    }
}
