//! Which clients are connected to which, over which candidates, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::event::{Candidate, NodeId, PeerChange, PeerEvent, PeerName, Record, What};
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

/// What one side has experienced of the other, over all connections.
#[derive(Clone, Copy, Default)]
struct Past {
    first_heard: Option<Duration>,
    attempts: usize,
}

/// The current connection of one side.
#[derive(Clone, Default)]
struct Side {
    open_since: Option<Duration>,
    selected: Option<(Candidate, Candidate)>,
    /// The ICE generations of this side, and those that it has seen of the other side.
    ours: BTreeSet<Arc<str>>,
    theirs: BTreeSet<Arc<str>>,
}

impl Side {
    /// Whether both are sides of the same connection.
    fn is_one_with(&self, other: &Self) -> bool {
        !self.theirs.is_disjoint(&other.ours) && !other.theirs.is_disjoint(&self.ours)
    }
}

/// Reads the pairs from a record, in their state at the end of the scenario.
///
/// A client may know another by several names at once: a new id, and an old one that the server still believes in. So
/// each side has a connection for each name, and what happens under one name does not affect the others.
pub fn pairs(record: &Record) -> Vec<Pair> {
    let identities = Identities::of(record);
    let mut pasts: BTreeMap<(NodeId, NodeId), Past> = BTreeMap::new();
    let mut sides: BTreeMap<(NodeId, NodeId), BTreeMap<&PeerName, Side>> = BTreeMap::new();
    for (index, event) in record.events.iter().enumerate().take_while(|(_, event)| event.what != What::TearDown) {
        match &event.what {
            What::Peer(PeerEvent { peer, change, .. }) => {
                let partner = identities.partner(index, event.node, peer);
                let Some(other) = partner.filter(|other| *other != event.node) else { continue };
                let key = (event.node, other);
                remember(pasts.entry(key).or_default(), change, event.at);
                read(sides.entry(key).or_default().entry(peer).or_default(), change, event.at);
            }
            // A machine that starts or stops has lost all its connections.
            What::Machine(_) => sides.retain(|(node, _), _| *node != event.node),
            _ => {}
        }
    }
    let both: BTreeSet<_> = pasts.keys().map(|&(a, b)| (a.min(b), a.max(b))).collect();
    let past = |a, b| pasts.get(&(a, b)).copied().unwrap_or_default();
    both.into_iter()
        .map(|(a, b)| {
            let (ours, theirs) = (past(a, b), past(b, a));
            let first_heard = ours.first_heard.zip(theirs.first_heard).map(|(ours, theirs)| ours.max(theirs));
            let attempts = ours.attempts.max(theirs.attempts);
            Pair { a, b, first_heard, attempts, connection: connection(sides.get(&(a, b)), sides.get(&(b, a))) }
        })
        .collect()
}

/// The newest connection of which both sides are open.
fn connection(
    ours: Option<&BTreeMap<&PeerName, Side>>,
    theirs: Option<&BTreeMap<&PeerName, Side>>,
) -> Option<Connection> {
    let all =
        ours?.values().flat_map(|one| theirs.into_iter().flat_map(BTreeMap::values).map(move |other| (one, other)));
    let open = all.filter(|(one, other)| one.is_one_with(other)).filter_map(|(one, other)| {
        let (local, remote) = one.selected?;
        Some(Connection { since: one.open_since?.max(other.open_since?), local, remote })
    });
    open.max_by_key(|connection| connection.since)
}

fn remember(past: &mut Past, change: &PeerChange, at: Duration) {
    match change {
        PeerChange::Opened { .. } => past.attempts += 1,
        PeerChange::ChannelReceived { .. } => {
            past.first_heard.get_or_insert(at);
        }
        _ => {}
    }
}

fn read(side: &mut Side, change: &PeerChange, at: Duration) {
    match change {
        PeerChange::Opened { .. } | PeerChange::Closed { .. } => *side = Side::default(),
        PeerChange::Described { local: true, ufrag, .. } => {
            side.ours.insert(ufrag.clone());
        }
        PeerChange::Described { local: false, ufrag, .. } => {
            side.theirs.insert(ufrag.clone());
        }
        PeerChange::Selected { local, remote } => side.selected = Some((*local, *remote)),
        PeerChange::ChannelOpen => side.open_since = Some(at),
        _ => {}
    }
}
