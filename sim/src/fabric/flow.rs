//! Keeps the packets of a flow in order.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Protocol;
use crate::event::TransportAddress;
use crate::fabric::index::RealmIndex;

/// Number of flows at which those without packets in flight are removed for the first time.
const FLOWS_KEPT: usize = 4096;

/// Packets of one protocol from one endpoint to another in one realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(crate) realm: RealmIndex,
    pub(crate) protocol: Protocol,
    pub(crate) src: TransportAddress,
    pub(crate) dst: TransportAddress,
}

/// When the last packet of each flow arrives. Jitter and retransmissions delay a flow but never reorder it.
#[derive(Debug)]
pub(crate) struct Flows {
    last: BTreeMap<Flow, Duration>,
    /// Number of flows at which those without packets in flight are removed. It is twice what was left the last time, so
    /// that a packet costs the same on average, however many flows there are.
    kept: usize,
}

impl Default for Flows {
    fn default() -> Self {
        Self { last: BTreeMap::new(), kept: FLOWS_KEPT }
    }
}

impl Flows {
    /// The arrival time of a packet that would arrive at `at` by itself: never before an earlier packet of its flow.
    pub(crate) fn in_order(&mut self, flow: Flow, at: Duration, now: Duration) -> Duration {
        if self.last.len() >= self.kept {
            self.last.retain(|_, last| *last >= now);
            self.kept = FLOWS_KEPT.max(2 * self.last.len());
        }
        let last = self.last.entry(flow).or_insert(at);
        *last = at.max(*last);
        *last
    }
}
