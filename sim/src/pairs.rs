//! Which clients are connected to which, over which candidates, since when, and how earlier connections ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::event::{Candidate, Closed, IceState, MachineEvent, NodeId, PeerChange, PeerEvent, PeerName, Record, What};
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
    /// The last connection that ended before the scenario did.
    pub past: Option<PastConnection>,
    /// The times during which they were connected, in order; `None` is the end of the scenario. A time during which ICE
    /// did not reach the other side is not among them.
    pub spans: Vec<(Duration, Option<Duration>)>,
}

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastConnection {
    /// The connection while it existed.
    pub connection: Connection,
    /// When the first of its sides ended it, or noticed that it was dead.
    pub until: Duration,
    /// Why it ended.
    pub why: End,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// One side hung up, as the scenario ordered.
    HungUp,
    /// One side left.
    Left,
    /// The machine of one side lost power.
    PowerLost,
    /// A newer connection replaced it.
    Replaced,
    /// Nobody ended it: ICE gave it up, or one side took the other for gone.
    Lost,
}

impl End {
    /// Whether a step of the scenario ended the connection.
    pub fn is_ordered(self) -> bool {
        matches!(self, Self::HungUp | Self::Left | Self::PowerLost)
    }
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
    /// Whether ICE has reported that the other side is not reached.
    is_cut: bool,
}

impl Side {
    /// Whether both are sides of the same connection.
    fn is_one_with(&self, other: &Self) -> bool {
        !self.theirs.is_disjoint(&other.ours) && !other.theirs.is_disjoint(&self.ours)
    }
}

/// The sides of each client's connections to each other client, by its names for the other.
type Sides<'r> = BTreeMap<(NodeId, NodeId), BTreeMap<&'r PeerName, Side>>;

/// From when a side was connected, and until when if it ended.
type Span = (Duration, Option<Duration>);

/// What happens to the connections while a record is read.
#[derive(Default)]
struct Reading<'r> {
    pasts: BTreeMap<(NodeId, NodeId), Past>,
    sides: Sides<'r>,
    /// The last connection of each pair that has ended, by its nodes in order.
    ended: BTreeMap<(NodeId, NodeId), PastConnection>,
    spans: BTreeMap<(NodeId, NodeId), Vec<Span>>,
}

/// Reads the pairs from a record, in their state at the end of the scenario.
///
/// A client may know another by several names at once: a new id, and an old one that the server still believes in. So
/// each side has a connection for each name, and what happens under one name does not affect the others.
pub fn pairs(record: &Record) -> Vec<Pair> {
    let identities = Identities::of(record);
    let mut reading = Reading::default();
    for (index, event) in record.events.iter().enumerate().take_while(|(_, event)| event.what != What::TearDown) {
        match &event.what {
            What::Peer(PeerEvent { peer, change, .. }) => {
                let partner = identities.partner(index, event.node, peer);
                let Some(other) = partner.filter(|other| *other != event.node) else { continue };
                remember(reading.pasts.entry((event.node, other)).or_default(), change, event.at);
                reading.peer(event.node, other, peer, change, event.at);
            }
            What::Machine(machine) => reading.machine(event.node, *machine, event.at),
            _ => {}
        }
    }
    let Reading { pasts, sides, mut ended, mut spans } = reading;
    let both: BTreeSet<_> = pasts.keys().map(|&(a, b)| in_order(a, b)).collect();
    let past = |a, b| pasts.get(&(a, b)).copied().unwrap_or_default();
    both.into_iter()
        .map(|(a, b)| {
            let (ours, theirs) = (past(a, b), past(b, a));
            let first_heard = ours.first_heard.zip(theirs.first_heard).map(|(ours, theirs)| ours.max(theirs));
            let attempts = ours.attempts.max(theirs.attempts);
            let (past, spans) = (ended.remove(&(a, b)), spans.remove(&(a, b)).unwrap_or_default());
            Pair { a, b, first_heard, attempts, connection: connection(&sides, a, b), past, spans }
        })
        .collect()
}

fn in_order(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl<'r> Reading<'r> {
    fn peer(&mut self, node: NodeId, other: NodeId, name: &'r PeerName, change: &PeerChange, at: Duration) {
        let pair = in_order(node, other);
        let side = self.sides.entry((node, other)).or_default().entry(name).or_default();
        // A side that ICE has given up may still be ended by order.
        let was_cut = side.is_cut && side.open_since.is_some();
        let end = match change {
            PeerChange::Opened { .. } => End::Replaced,
            PeerChange::Closed { why } => end_of(*why),
            PeerChange::Ice { .. }
            | PeerChange::Described { .. }
            | PeerChange::Selected { .. }
            | PeerChange::ChannelOpen => End::Lost,
            _ => return,
        };
        let before = connection(&self.sides, pair.0, pair.1);
        read(self.sides.entry((node, other)).or_default().entry(name).or_default(), change, at);
        self.compare(pair, before, end, at);
        if let Some(past) = self.ended.get_mut(&pair).filter(|_| was_cut && end.is_ordered()) {
            past.why = end;
        }
    }

    /// A machine that starts or stops has lost all its connections.
    fn machine(&mut self, node: NodeId, event: MachineEvent, at: Duration) {
        let why = if event == MachineEvent::Ended { End::Left } else { End::PowerLost };
        let with: Vec<_> = self.sides.keys().filter(|(of, _)| *of == node).map(|&(of, to)| in_order(of, to)).collect();
        let before: Vec<_> = with.into_iter().map(|pair| (pair, connection(&self.sides, pair.0, pair.1))).collect();
        self.sides.retain(|(of, _), _| *of != node);
        before.into_iter().for_each(|(pair, before)| self.compare(pair, before, why, at));
    }

    /// Notes the connection that existed before an event and does not exist after it.
    fn compare(&mut self, pair: (NodeId, NodeId), before: Option<Connection>, why: End, at: Duration) {
        let after = connection(&self.sides, pair.0, pair.1);
        let spans = self.spans.entry(pair).or_default();
        match (before, after) {
            (Some(connection), None) => {
                if let Some((_, until)) = spans.last_mut() {
                    *until = Some(at);
                }
                self.ended.insert(pair, PastConnection { connection, until: at, why });
            }
            (Some(connection), Some(after)) if connection.since != after.since => {
                self.ended.insert(pair, PastConnection { connection, until: at, why: End::Replaced });
            }
            (None, Some(after)) => {
                spans.push((at, None));
                // ICE has recovered: it is still the same connection.
                if self.ended.get(&pair).is_some_and(|past| past.connection.since == after.since) {
                    self.ended.remove(&pair);
                }
            }
            _ => {}
        }
    }
}

/// Why a connection ended, if this is how its first side ended it. A hangup or a departure of the other side, which
/// itself has not ended the connection, is what the server claims.
fn end_of(why: Closed) -> End {
    match why {
        Closed::Hangup => End::HungUp,
        Closed::Leaving => End::Left,
        Closed::Replaced => End::Replaced,
        Closed::PeerLeft | Closed::RemoteHangup | Closed::Timeout | Closed::Failed | Closed::SignalingLost => End::Lost,
    }
}

/// The newest connection of which both sides are open.
fn connection(sides: &Sides<'_>, a: NodeId, b: NodeId) -> Option<Connection> {
    let (ours, theirs) = (sides.get(&(a, b))?, sides.get(&(b, a))?);
    let all = ours.values().flat_map(|one| theirs.values().map(move |other| (one, other)));
    let open = all.filter(|(one, other)| one.is_one_with(other) && !one.is_cut && !other.is_cut);
    let open = open.filter_map(|(one, other)| {
        let (local, remote) = one.selected?;
        Some(Connection { since: one.open_since?.max(other.open_since?), local, remote })
    });
    open.max_by_key(|connection| connection.since)
}

fn remember(past: &mut Past, change: &PeerChange, at: Duration) {
    match change {
        PeerChange::Opened { .. } => past.attempts += 1,
        PeerChange::ChannelReceived { .. } | PeerChange::Flows { sent: false } => {
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
        PeerChange::Flows { .. } => {
            side.open_since.get_or_insert(at);
        }
        PeerChange::Ice { state } => match state {
            IceState::Connected | IceState::Completed => side.is_cut = false,
            IceState::Disconnected | IceState::Failed => side.is_cut = true,
            IceState::New | IceState::Checking | IceState::Closed => {}
        },
        _ => {}
    }
}
