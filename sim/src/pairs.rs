//! Which clients are connected to which, over which candidates, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::event::{Candidate, NodeId, PeerChange, PeerEvent, Record, What};
use crate::identities::Identities;

/// Two clients that had, or tried to have, a WebRTC connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The client whose node comes first.
    pub a: NodeId,
    /// The other client.
    pub b: NodeId,
    /// When both had first received a message from the other, since the start of the run.
    pub first_heard: Option<Duration>,
    /// Number of connections that were opened, over the whole run.
    pub attempts: usize,
    /// The connection that exists when the scenario ends.
    pub connection: Option<Connection>,
}

/// A connection on which both sides' data channels are open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// When the later of the two channels opened.
    pub since: Duration,
    /// The candidate that `a` uses, as `a` reports it.
    pub local: Candidate,
    /// The candidate that `b` uses, as `a` reports it.
    pub remote: Candidate,
}

/// The current connection of one side.
#[derive(Clone, Copy, Default)]
struct Side {
    open_since: Option<Duration>,
    selected: Option<(Candidate, Candidate)>,
    first_heard: Option<Duration>,
    attempts: usize,
}

/// Reads the pairs from a record, in their state at the end of the scenario.
pub fn pairs(record: &Record) -> Vec<Pair> {
    let identities = Identities::of(record);
    let mut sides: BTreeMap<(NodeId, NodeId), Side> = BTreeMap::new();
    for (index, event) in record.events.iter().enumerate().take_while(|(_, event)| event.what != What::TearDown) {
        match &event.what {
            What::Peer(PeerEvent { peer, change, .. }) => {
                let partner = identities.partner(index, event.node, peer);
                let Some(other) = partner.filter(|other| *other != event.node) else { continue };
                read(sides.entry((event.node, other)).or_default(), change, event.at);
            }
            What::Machine(_) => {
                // A machine that starts or stops has lost all its connections.
                for ((node, _), side) in &mut sides {
                    if *node == event.node {
                        *side = Side { first_heard: side.first_heard, attempts: side.attempts, ..Side::default() };
                    }
                }
            }
            _ => {}
        }
    }
    let both: BTreeSet<_> = sides.keys().map(|&(a, b)| (a.min(b), a.max(b))).collect();
    let side = |a, b| sides.get(&(a, b)).copied().unwrap_or_default();
    both.into_iter()
        .map(|(a, b)| {
            let (ours, theirs) = (side(a, b), side(b, a));
            let connection = match (ours.open_since, theirs.open_since, ours.selected) {
                (Some(ours), Some(theirs), Some((local, remote))) => {
                    Some(Connection { since: ours.max(theirs), local, remote })
                }
                _ => None,
            };
            let first_heard = ours.first_heard.zip(theirs.first_heard).map(|(ours, theirs)| ours.max(theirs));
            Pair { a, b, first_heard, attempts: ours.attempts.max(theirs.attempts), connection }
        })
        .collect()
}

fn read(side: &mut Side, change: &PeerChange, at: Duration) {
    match change {
        PeerChange::Opened { .. } => {
            *side = Side { attempts: side.attempts + 1, first_heard: side.first_heard, ..Side::default() };
        }
        PeerChange::Closed { .. } => {
            *side = Side { attempts: side.attempts, first_heard: side.first_heard, ..Side::default() };
        }
        PeerChange::Selected { local, remote } => side.selected = Some((*local, *remote)),
        PeerChange::ChannelOpen => side.open_since = Some(at),
        PeerChange::ChannelReceived { .. } => {
            side.first_heard.get_or_insert(at);
        }
        _ => {}
    }
}
