//! A queue of future things, ordered by time and then by age.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

/// Things that are due at some time. Things due at the same time are returned in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    /// How many things were ever added.
    added: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Duration,
    /// Its age: the lower, the older.
    number: u64,
    thing: T,
}

impl<T> Schedule<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), added: 0 }
    }

    /// Adds a thing that is due at `at`, rounded up to a whole millisecond.
    ///
    /// tokio's timers have no finer resolution: a thing due between two milliseconds would come late, after things that
    /// are due at the later millisecond.
    pub(crate) fn add(&mut self, at: Duration, thing: T) {
        let at = Duration::from_millis(at.as_nanos().div_ceil(1_000_000) as u64);
        self.heap.push(Reverse(Entry { at, number: self.added, thing }));
        self.added += 1;
    }

    /// When the next thing is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(first)| first.at)
    }

    /// Removes the next thing, if it is due by `now`.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(first)| first.thing)
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (Duration, u64) {
        (self.at, self.number)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Removes everything due by `now`, in order.
    fn due(schedule: &mut Schedule<&'static str>, now: Duration) -> Vec<&'static str> {
        std::iter::from_fn(|| schedule.pop(now)).collect()
    }

    #[test]
    fn time_comes_before_age_and_age_breaks_ties() {
        let mut schedule = Schedule::new();
        for (ms, thing) in [(2, "old, later"), (1, "older"), (1, "newer"), (3, "not due")] {
            schedule.add(Duration::from_millis(ms), thing);
        }
        assert_eq!(due(&mut schedule, Duration::from_millis(2)), ["older", "newer", "old, later"]);
        assert_eq!(schedule.next(), Some(Duration::from_millis(3)));
    }

    #[test]
    fn everything_is_due_at_a_whole_millisecond_and_never_early() {
        let mut schedule = Schedule::new();
        schedule.add(Duration::from_millis(5), "first");
        schedule.add(Duration::from_micros(4001), "second");
        assert_eq!(schedule.next(), Some(Duration::from_millis(5)));
        assert_eq!(due(&mut schedule, Duration::from_micros(4999)), [""; 0]);
        assert_eq!(due(&mut schedule, Duration::from_millis(5)), ["first", "second"], "both are due at 5 ms");
    }
}
