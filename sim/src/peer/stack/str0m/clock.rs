//! The time that the library sees. It is told the time, but its SCTP reads the clock when it connects, and its DTLS
//! converts times by a static that the first connection of the process has set. In a simulation both see a clock that is
//! the same in every run.

use std::time::{Duration, Instant};

use crate::entropy;

/// A deadline later than this means that there is none.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Translates between the time of a client and that of the library.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Option<Simulated>);

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
struct Simulated {
    client: Instant,
    /// The same as the time of the simulation.
    time: Duration,
    library: Instant,
}

impl Clock {
    /// A clock of a connection that begins at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self(entropy::time().map(|time| {
            #[allow(clippy::disallowed_methods)] // it stands still, at the time of the simulation
            let library = entropy::within(time, Instant::now);
            Simulated { client: now, time, library }
        }))
    }

    /// Calls the library at `now`, which it gets as it sees it.
    pub(super) fn call<T>(self, now: Instant, f: impl FnOnce(Instant) -> T) -> T {
        let Some(Simulated { client, time, library }) = self.0 else { return f(now) };
        let passed = now.saturating_duration_since(client);
        entropy::within(time + passed, || f(library + passed))
    }

    /// When to call the library that wants it at `at`, rounded up to a whole millisecond after `now`, as all times of a
    /// simulation are. `None` if it wants nothing.
    pub(super) fn deadline(self, at: Instant, now: Instant) -> Option<Instant> {
        let wait = self.call(now, |now| at.saturating_duration_since(now));
        let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).ok()?;
        (wait < NEVER).then(|| now + Duration::from_millis(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // only differences count
    fn the_library_sees_the_same_times_in_every_simulation() {
        let see = || {
            let run = || {
                let start = Instant::now();
                entropy::set_wall_clock(Duration::from_secs(3));
                let clock = Clock::new(start);
                let later = start + Duration::from_millis(500);
                let (told, read) = clock.call(later, |now| (now, Instant::now()));
                assert_eq!(told, read);
                let deadline = |micros| clock.deadline(told + Duration::from_micros(micros), later);
                assert_eq!(deadline(1_001), Some(later + Duration::from_millis(2)), "rounded up");
                assert_eq!(clock.deadline(told - Duration::from_secs(1), later), Some(later), "at once");
                assert_eq!(deadline(1_000_000_000_000), None);
                told
            };
            entropy::sealed(1, run).expect("no panic")
        };
        assert_eq!(see(), see());
    }
}
