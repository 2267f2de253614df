//! The bytes that clients make the server hold: queues, unfinished messages, request bodies. One budget for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many holders a client can have: its queue, and what it sends over each of two connections.
const HOLDERS: usize = 3;

/// A number of bytes for all clients. While less than half of it is used, everyone may hold as much as the other limits
/// allow. Beyond, a holder gets no more than an equal share of the other half, so that the ones who hold most have to
/// let go, and the sum stays below the maximum.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: AtomicUsize,
    used: AtomicUsize,
    clients: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max: AtomicUsize::new(bytes_max), used: AtomicUsize::new(0), clients: AtomicUsize::new(0) }
    }

    /// Replaces the maximum. What is held already stays.
    pub(crate) fn set_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    /// Counts one more client that shares the budget.
    pub(crate) fn enter(&self) {
        self.clients.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.clients.fetch_sub(1, Relaxed);
    }

    /// Whether a holder may hold this many bytes now.
    pub(crate) fn allows(&self, held: usize) -> bool {
        let half = self.bytes_max.load(Relaxed) / 2;
        self.used.load(Relaxed) < half || held <= half / (HOLDERS * self.clients.load(Relaxed).max(1))
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// The bytes of one unfinished message or body, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    pub(crate) fn nothing(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds this many bytes from here on. Returns whether they may stay; if not, the caller must let go of them.
    #[must_use]
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        let is_allowed = bytes <= self.bytes || self.budget.allows(bytes);
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.budget.take(more),
            None => self.budget.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
        is_allowed
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_most_lets_go_first_and_the_sum_stays_below_the_maximum() {
        let budget = Arc::new(Budget::new(6000));
        let mut holders: Vec<Held> = (0..10).map(|_| Held::nothing(&budget)).collect();
        holders.iter().for_each(|_| budget.enter());
        let share = 3000 / (HOLDERS * 10);
        let (large, small) = holders.split_at_mut(3);
        // Half of the budget is free for all.
        assert!(large.iter_mut().all(|one| one.set(999)));
        assert!(large[0].set(1002));
        assert!(small[0].set(1));
        assert!(!large[1].set(1000), "it holds more than a share of the other half");
        assert!(large[1].set(999), "less is always allowed");
        assert!(small.iter_mut().all(|one| one.set(share)), "the others have their shares");
        assert!(!small[0].set(share + 1));
        assert!(budget.used() <= 6000);
        drop(holders);
        assert_eq!(budget.used(), 0);
    }
}
