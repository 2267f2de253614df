//! Rate limits: a token bucket, stored as one instant.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::Lock;

/// A rate limit: `burst` at once, and `per_second` on average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that are added per second.
    pub per_second: NonZeroU32,
    /// Tokens in a full bucket.
    pub burst: NonZeroU32,
}

/// The remaining tokens of a [`Rate`]. The time is passed in.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// When the bucket will be full again: each token taken moves this by the time in which one is added.
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Takes a token. Returns whether there was one.
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

/// A limit of bytes per second, for several senders. What was not used within a second is lost.
#[derive(Debug)]
pub(crate) struct ByteBucket {
    bytes_per_second: u64,
    /// When the bucket will be full again.
    full_at: Lock<Option<Instant>>,
}

impl ByteBucket {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, full_at: Lock::new(None) }
    }

    /// Takes so many bytes. Returns whether they were there.
    pub(crate) fn take(&self, bytes: usize, now: Instant) -> bool {
        let nanos = bytes as u64 * 1_000_000_000 / self.bytes_per_second.max(1);
        let mut full_at = self.full_at.lock();
        let begun = full_at.map_or(now, |at| at.max(now));
        let after = begun + Duration::from_nanos(nanos);
        let is_there = begun <= now + Duration::from_secs(1);
        if is_there {
            *full_at = Some(after);
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
