//! How much may be asked for in a time: a token bucket, kept as one instant.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// What may be asked for: `burst` at once, and `per_second` in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that come back in a second.
    pub per_second: NonZeroU32,
    /// Tokens in a full bucket.
    pub burst: NonZeroU32,
}

/// What is left of a [`Rate`]. The clock is passed in.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// When all tokens will be back: each one taken moves it on by the time that one takes to come back.
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Takes a token; tells whether there was one.
    pub(crate) fn take(&mut self, rate: &Rate, now: Instant) -> bool {
        let one = Duration::from_secs(1) / rate.per_second.get();
        let full_at = self.full_at.max(now) + one;
        let is_there = full_at - now <= one * rate.burst.get();
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_at_once_then_one_each_interval() {
        let rate = Rate { per_second: NonZeroU32::new(4).expect("4"), burst: NonZeroU32::new(3).expect("3") };
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let mut taken = |millis, wanted: u32| {
            let now = start + Duration::from_millis(millis);
            (0..wanted).filter(|_| bucket.take(&rate, now)).count()
        };
        assert_eq!(taken(0, 9), 3);
        assert_eq!(taken(249, 9), 0);
        assert_eq!(taken(250, 9), 1);
        assert_eq!(taken(1000, 9), 3);
        assert_eq!(taken(60_000, 9), 3, "it never holds more than a burst");
        assert!(!bucket.is_full(start + Duration::from_millis(60_749)));
        assert!(bucket.is_full(start + Duration::from_millis(60_750)));
    }
}
