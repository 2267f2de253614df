//! Counters of the TURN service, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::refusal::Refusal;

/// What the TURN service holds, and its counts since the start. Datagrams and bytes are of application data, without
/// headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnCounters {
    /// Current number of allocations.
    pub allocations: u64,
    /// Number of usernames that hold them.
    pub users: u64,
    /// Allocations since the start.
    pub allocations_made: u64,
    /// Datagrams relayed from clients to peers.
    pub packets_to_peers: u64,
    /// Their bytes.
    pub bytes_to_peers: u64,
    /// Datagrams relayed from peers to clients.
    pub packets_to_clients: u64,
    /// Their bytes.
    pub bytes_to_clients: u64,
    /// Datagrams to or from a peer without permission, or on an unbound channel: discarded, as the spec requires.
    pub packets_forbidden: u64,
    /// Datagrams that could not be relayed: too long, or not accepted by the network.
    pub packets_dropped: u64,
    /// Datagrams beyond the bandwidth of their user, or of all.
    pub packets_throttled: u64,
    /// Refused requests: error codes and how often each occurred, sorted by code, without those that never occurred.
    pub refusals: Vec<(u16, u64)>,
}

/// The counters as stored.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) allocations_made: AtomicU64,
    pub(crate) to_peers: Flow,
    pub(crate) to_clients: Flow,
    pub(crate) forbidden: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) throttled: AtomicU64,
    refusals: [AtomicU64; Refusal::ALL.len()],
}

/// One direction of relayed data.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Flow {
    pub(crate) fn add(&self, packets: usize, bytes: usize) {
        self.packets.fetch_add(packets as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

impl Counters {
    pub(crate) fn refuse(&self, refusal: Refusal) {
        let index = Refusal::ALL.iter().position(|one| one.code() == refusal.code()).expect("ALL has all codes");
        self.refusals[index].fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(&self, allocations: usize, users: usize) -> TurnCounters {
        let refusals =
            Refusal::ALL.iter().zip(&self.refusals).map(|(refusal, count)| (refusal.code(), count.load(Relaxed)));
        TurnCounters {
            allocations: allocations as u64,
            users: users as u64,
            allocations_made: self.allocations_made.load(Relaxed),
            packets_to_peers: self.to_peers.packets.load(Relaxed),
            bytes_to_peers: self.to_peers.bytes.load(Relaxed),
            packets_to_clients: self.to_clients.packets.load(Relaxed),
            bytes_to_clients: self.to_clients.bytes.load(Relaxed),
            packets_forbidden: self.forbidden.load(Relaxed),
            packets_dropped: self.dropped.load(Relaxed),
            packets_throttled: self.throttled.load(Relaxed),
            refusals: refusals.filter(|(_, count)| *count > 0).collect(),
        }
    }
}
