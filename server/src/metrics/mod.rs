//! Metrics for operators. The hot path counts per connection, without contention; a scrape adds the counts up.

pub(crate) mod page;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::histogram::Histogram;

use crate::lock::Lock;

/// Upper bounds of the buckets, in seconds: from the time a relay takes to what a person notices.
const BUCKETS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Counts for the whole server, of events that are much rarer than messages.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Ended WebSockets, by reason.
    pub(crate) closed: Reasons,
    /// Refused requests, by reason.
    pub(crate) refused: Reasons,
    /// Time from accept, or from the end of the TLS handshake, to the response that opens a WebSocket.
    pub(crate) handshake: Histogram,
    /// Time from queuing a message for a client to writing it, for a sample of messages.
    pub(crate) delivery: Histogram,
    /// Received STUN datagrams.
    pub(crate) stun_received: AtomicU64,
    /// Answered STUN datagrams.
    pub(crate) stun_answered: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(BUCKETS);
        Self {
            closed: Reasons::default(),
            refused: Reasons::default(),
            handshake: histogram(),
            delivery: histogram(),
            stun_received: AtomicU64::default(),
            stun_answered: AtomicU64::default(),
        }
    }
}

/// Counts by reason, sorted by name.
#[derive(Debug, Default)]
pub(crate) struct Reasons(Lock<BTreeMap<&'static str, u64>>);

impl Reasons {
    pub(crate) fn count(&self, reason: &'static str) {
        *self.0.lock().entry(reason).or_default() += 1;
    }

    fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().clone()
    }
}

/// What one connection received. Only its task writes it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Counts a text message. With a single writer, a load and a store suffice; no atomic read-modify-write is needed.
    pub(crate) fn received(&self, bytes: usize) {
        self.messages.store(self.messages.load(Relaxed) + 1, Relaxed);
        self.bytes.store(self.bytes.load(Relaxed) + bytes as u64, Relaxed);
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.messages.load(Relaxed), self.bytes.load(Relaxed))
    }
}

/// Messages and bytes of text in both directions, and messages that were queued but never written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) messages_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) messages_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages_dropped: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.messages_received += other.messages_received;
        self.bytes_received += other.bytes_received;
        self.messages_sent += other.messages_sent;
        self.bytes_sent += other.bytes_sent;
        self.messages_dropped += other.messages_dropped;
    }
}
