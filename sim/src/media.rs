//! What each client has received of the tracks that others sent to it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{NodeId, PeerChange, PeerEvent, Record, TrackKind, What};
use crate::identities::Identities;

/// A track from one client to another, over all of their connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client that sent it.
    pub from: NodeId,
    /// The client that received it.
    pub to: NodeId,
    /// What it carried.
    pub kind: TrackKind,
    /// The number of packets that arrived.
    pub packets: u64,
    /// How many the sequence numbers show to be missing. What is lost at the end of a connection is not among them.
    pub lost: u64,
    /// The longest time between two packets of a connection while they were sent; up to its end, if no more arrived.
    pub longest_gap: Duration,
}

impl Flow {
    /// The share of packets that were lost, in percent.
    pub fn lost_percent(&self) -> f64 {
        self.lost as f64 * 100.0 / ((self.packets + self.lost) as f64).max(1.0)
    }
}

/// Sender, receiver and what the track carries.
type Key = (NodeId, NodeId, TrackKind);

/// Reads the tracks from a record, in the order of senders and receivers. A client that lost power has not counted.
pub fn flows(record: &Record) -> Vec<Flow> {
    let identities = Identities::of(record);
    // When each track was turned off last, and whether it still is.
    let mut off: BTreeMap<Key, (Duration, bool)> = BTreeMap::new();
    let mut flows: BTreeMap<Key, Flow> = BTreeMap::new();
    // When the last packet arrived before a silence that lasts, for each connection.
    let mut silent: BTreeMap<Key, Duration> = BTreeMap::new();
    let end = record.events.iter().find(|event| event.what == What::TearDown).map(|event| event.at);
    for (index, event) in record.events.iter().enumerate() {
        let What::Peer(PeerEvent { peer, change, .. }) = &event.what else { continue };
        let Some(other) = identities.partner(index, event.node, peer).filter(|other| *other != event.node) else {
            continue;
        };
        let (sent, received) = (|kind| (event.node, other, kind), |kind| (other, event.node, kind));
        // Whether a track was sent from a time on until now.
        let was_sent = |key: &Key, since: Duration| off.get(key).is_none_or(|(at, is_off)| !is_off && *at < since);
        match change {
            PeerChange::Sends { kind, on: false } => {
                off.insert(sent(*kind), (event.at, true));
            }
            PeerChange::Sends { kind, on: true } => {
                off.entry(sent(*kind)).and_modify(|(_, is_off)| *is_off = false);
            }
            PeerChange::Plays { kind } => {
                silent.remove(&received(*kind));
                flow(&mut flows, received(*kind));
            }
            PeerChange::Silent { kind } => {
                silent.insert(received(*kind), event.at.saturating_sub(SILENCE));
            }
            PeerChange::Heard { kind, gap_ms } => {
                let (key, gap) = (received(*kind), Duration::from_millis(*gap_ms));
                silent.remove(&key);
                if was_sent(&key, event.at.saturating_sub(gap)) {
                    let flow = flow(&mut flows, key);
                    flow.longest_gap = flow.longest_gap.max(gap);
                }
            }
            PeerChange::MediaReceived { kind, packets, lost, gap_ms } => {
                let key = received(*kind);
                let sent_since = silent.remove(&key).filter(|since| was_sent(&key, *since));
                let last = sent_since.map(|since| end.map_or(event.at, |end| event.at.min(end)).saturating_sub(since));
                let flow = flow(&mut flows, key);
                flow.packets += packets;
                flow.lost += lost;
                flow.longest_gap = flow.longest_gap.max(Duration::from_millis(*gap_ms)).max(last.unwrap_or_default());
            }
            _ => {}
        }
    }
    flows.into_values().collect()
}

/// How long a track is silent when the client says so.
const SILENCE: Duration = Duration::from_secs(2);

fn flow(flows: &mut BTreeMap<Key, Flow>, key: Key) -> &mut Flow {
    let (from, to, kind) = key;
    flows.entry(key).or_insert(Flow { from, to, kind, packets: 0, lost: 0, longest_gap: Duration::ZERO })
}
