//! The delays before a client dials again after its signaling connection broke.

use std::time::Duration;

/// Number of failed attempts after which a client stops dialling.
pub(crate) const ATTEMPTS_MAX: u32 = 5;

/// Delays of 1, 2, 3, 4 and 5 s, then no further attempt. A success resets them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failed: u32,
}

impl Backoff {
    /// Number of attempts that failed since the last success.
    pub(crate) fn failed(&self) -> u32 {
        self.failed
    }

    /// The delay before the next attempt; `None` if there is none.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        if self.failed == ATTEMPTS_MAX {
            return None;
        }
        self.failed += 1;
        Some(Duration::from_secs(u64::from(self.failed)))
    }

    /// Resets the delays after a successful attempt.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_one_to_five_seconds_and_gives_up() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = std::iter::from_fn(|| backoff.next()).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.next(), Some(Duration::from_secs(1)));
    }
}
