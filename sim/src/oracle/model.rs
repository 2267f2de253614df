//! What the record says of who is connected, who is in which room under which id, and what each client has been told of the others.
//!
//! [`History`] is read off the whole record at once: a client may be announced to others before it learns its own id. [`Model`] adds what
//! holds *just before* the event that is being judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use scenarios::{Dialect, Machine, Role, Scenario};

use crate::event::{
    Event, Fault, Frame, MachineEvent, Message, Node, NodeId, NodeKind, PacketEvent, Record, Signaling, What,
};
use crate::oracle::calls::Calls;
use crate::oracle::signals::Signals;
use crate::oracle::telephones::Telephones;
use crate::oracle::wire::{Line, Lines, Wire, is_syn};

/// Time in which a message arrives unless a segment of its connection is seen to be late.
pub(crate) const SLACK: Duration = Duration::from_secs(2);
/// Time after which a server must have acted on a client's own farewell.
const FAREWELL: Duration = Duration::from_secs(5);
/// Heartbeats within which a server must have noticed a client that is gone without a word: two missed pongs, the interval in which it
/// went, and one more for servers that count differently.
const HEARTBEATS_TO_NOTICE: u32 = 4;
/// Heartbeats for which a silent client cannot have been given up: two pongs must be missed first.
const HEARTBEATS_TO_TRUST: u32 = 2;

/// A place in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) index: usize,
    pub(crate) time: Duration,
}

/// A signaling connection, as its client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) node: NodeId,
    pub(crate) opened: At,
    pub(crate) ended: Option<At>,
    /// The how-manieth run of the server it leads to.
    pub(crate) life: u32,
    pub(crate) line: Option<Line>,
    /// The rooms that were asked for, and when.
    pub(crate) asked: Vec<(At, Arc<str>)>,
    /// When the newest of them was refused.
    pub(crate) refused: Option<At>,
    /// Whether the client said that it goes.
    farewell: bool,
}

impl Connection {
    /// What was last asked for before `at`.
    pub(crate) fn asked_before(&self, at: At) -> Option<(At, Arc<str>)> {
        self.asked.iter().rfind(|(asked, _)| *asked < at).cloned()
    }
}

/// A client's time in a room under an id, as that client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    pub(crate) node: NodeId,
    pub(crate) role: Role,
    pub(crate) connection: usize,
    pub(crate) room: Arc<str>,
    /// The id that the server gave it; a user's name; where none is given, one that the oracles make up.
    pub(crate) id: Arc<str>,
    /// When it asked to join; again, if it did so again.
    pub(crate) asked: Vec<At>,
    pub(crate) joined: At,
    pub(crate) ended: Option<At>,
    /// Whether it said that it leaves, rather than vanished.
    pub(crate) farewell: bool,
}

impl Stay {
    pub(crate) fn asked(&self) -> At {
        self.asked[0]
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.role.dialect()
    }

    /// Whether both are in one room.
    pub(crate) fn is_with(&self, other: &Self) -> bool {
        self.dialect() == other.dialect() && self.room == other.room
    }

    /// What the client calls the other side of a WebRTC connection: its id, or where nobody is named, what it is.
    pub(crate) fn calls(&self, other: &Self) -> Arc<str> {
        match self.role {
            Role::Mesh | Role::User => other.id.clone(),
            Role::Sender => Role::Viewer.name().into(),
            Role::Viewer => Role::Sender.name().into(),
            Role::Relay | Role::Broadcast => "other".into(),
        }
    }

    pub(crate) fn is_on(&self, index: usize) -> bool {
        self.joined.index <= index && self.ended.is_none_or(|ended| ended.index > index)
    }
}

/// A join whose answer did not come: the client may have been announced to others under an id that it never learned.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    pub(crate) node: NodeId,
    pub(crate) room: Arc<str>,
    pub(crate) asked: At,
    pub(crate) ended: Option<At>,
}

/// All connections and stays of a record.
#[derive(Debug, Default)]
pub(crate) struct History {
    roles: BTreeMap<NodeId, (Role, Arc<str>)>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) stays: Vec<Stay>,
    pub(crate) unanswered: Vec<Unanswered>,
    by_id: BTreeMap<Arc<str>, Vec<usize>>,
    stays_of: BTreeMap<NodeId, Vec<usize>>,
    connections_of: BTreeMap<NodeId, Vec<usize>>,
}

/// What a client does just now, while its history is read.
#[derive(Default)]
struct Hand {
    dials_from: Option<Line>,
    connection: Option<usize>,
    pending: Option<(At, NodeId, Arc<str>)>,
    stay: Option<usize>,
}

impl History {
    fn of(scenario: &Scenario, record: &Record) -> Self {
        let mut history = Self { roles: roles(scenario, record), ..Self::default() };
        let mut hands: BTreeMap<NodeId, Hand> = BTreeMap::new();
        let server = server_of(record);
        let (mut life, mut lines) = (0, Lines::default());
        for (index, event) in record.events.iter().enumerate() {
            let at = At { index, time: event.at };
            if Some(event.node) == server {
                life += u32::from(event.what == What::Machine(MachineEvent::Booted));
                continue;
            }
            let hand = hands.entry(event.node).or_default();
            match &event.what {
                What::Packet(PacketEvent::Sent(view)) if is_syn(view) => {
                    hand.dials_from = Some(lines.of(event.node, view))
                }
                What::Machine(MachineEvent::PowerLost | MachineEvent::Ended) => history.end(hand, at),
                What::Signaling(event_) => history.read(event.node, event_, hand, at, life),
                _ => {}
            }
        }
        for hand in hands.values_mut() {
            history.give_up_waiting(hand, None);
        }
        history
    }

    fn read(&mut self, node: NodeId, event: &Signaling, hand: &mut Hand, at: At, life: u32) {
        match event {
            Signaling::Connected => {
                let line = hand.dials_from;
                *hand = Hand { connection: Some(self.connections.len()), ..Hand::default() };
                self.connections_of.entry(node).or_default().push(self.connections.len());
                let (asked, refused, farewell) = (Vec::new(), None, false);
                self.connections.push(Connection {
                    node,
                    opened: at,
                    ended: None,
                    life,
                    line,
                    asked,
                    refused,
                    farewell,
                });
                if let Some((Role::Relay | Role::Broadcast, room)) = self.roles.get(&node).cloned() {
                    // Connecting is joining.
                    let connection = self.connections.len() - 1;
                    self.connections[connection].asked.push((at, room.clone()));
                    self.join(hand, node, room, format!("connection {connection}").into(), at);
                }
            }
            Signaling::Closed { .. } => self.end(hand, at),
            Signaling::FrameSent(Frame::Close(_)) => {
                if let Some(connection) = hand.connection {
                    self.connections[connection].farewell = true;
                }
                // Where there is no word of leaving, this is it.
                self.leave(hand, at, true);
            }
            Signaling::Sent(Message::Join { room }) => {
                let Some(connection) = hand.connection else { return };
                self.connections[connection].asked.push((at, room.clone()));
                hand.pending = Some((at, node, room.clone()));
                match hand.stay {
                    Some(stay) if self.stays[stay].room == *room => self.stays[stay].asked.push(at),
                    _ => self.leave(hand, at, true),
                }
            }
            Signaling::Sent(Message::Leave { room })
                if hand.stay.is_some_and(|stay| self.stays[stay].room == *room) =>
            {
                self.leave(hand, at, true);
            }
            Signaling::Received(Message::Joined { room, id, .. } | Message::Admitted { room, id }) => {
                self.join(hand, node, room.clone(), id.clone(), at);
            }
            // Refused, and so not waiting any more.
            Signaling::Received(Message::Error { text }) if is_refusal(text) => {
                hand.pending = None;
                if let Some(connection) = hand.connection {
                    self.connections[connection].refused = Some(at);
                }
            }
            _ => {}
        }
    }

    fn join(&mut self, hand: &mut Hand, node: NodeId, room: Arc<str>, id: Arc<str>, at: At) {
        let asked = hand.pending.take().map_or(at, |(asked, ..)| asked);
        let Some(connection) = hand.connection else { return };
        if hand.stay.is_some_and(|stay| self.stays[stay].room == room && self.stays[stay].id == id) {
            return;
        }
        self.leave(hand, at, false);
        hand.stay = Some(self.stays.len());
        self.by_id.entry(id.clone()).or_default().push(self.stays.len());
        self.stays_of.entry(node).or_default().push(self.stays.len());
        let role = self.roles.get(&node).map_or(Role::Mesh, |(role, _)| *role);
        let asked = vec![asked];
        self.stays.push(Stay { node, role, connection, room, id, asked, joined: at, ended: None, farewell: false });
    }

    fn leave(&mut self, hand: &mut Hand, at: At, farewell: bool) {
        if let Some(stay) = hand.stay.take() {
            (self.stays[stay].ended, self.stays[stay].farewell) = (Some(at), farewell);
        }
    }

    fn end(&mut self, hand: &mut Hand, at: At) {
        let Some(connection) = hand.connection.take() else { return };
        self.connections[connection].ended = Some(at);
        let farewell = self.connections[connection].farewell;
        self.leave(hand, at, farewell);
        self.give_up_waiting(hand, Some(at));
    }

    fn give_up_waiting(&mut self, hand: &mut Hand, ended: Option<At>) {
        self.unanswered.extend(hand.pending.take().map(|(asked, node, room)| Unanswered { node, room, asked, ended }));
    }

    /// The newest stay under an id, of those that were asked for before `index`. None for a user who has asked again since and was
    /// not answered: to others a newer one may have begun, under the same name.
    pub(crate) fn stay_of(&self, id: &str, index: usize) -> Option<&Stay> {
        let mut stays = self.by_id.get(id)?.iter().map(|stay| &self.stays[*stay]);
        let stay = stays.rfind(|stay| stay.asked().index < index)?;
        let is_since = |asked: At| stay.ended.is_some_and(|ended| ended <= asked) && asked.index < index;
        let mut unanswered = self.unanswered.iter().filter(|join| join.node == stay.node);
        let has_asked_again = stay.role == Role::User && unanswered.any(|join| is_since(join.asked));
        (!has_asked_again).then_some(stay)
    }

    /// All stays under an id.
    pub(crate) fn stays_under(&self, id: &str) -> impl Iterator<Item = &Stay> {
        self.by_id.get(id).into_iter().flatten().map(|stay| &self.stays[*stay])
    }

    /// The stay that a client is in, by its own knowledge.
    pub(crate) fn stay_at(&self, node: NodeId, index: usize) -> Option<&Stay> {
        self.stays_of.get(&node)?.iter().map(|stay| &self.stays[*stay]).rfind(|stay| stay.is_on(index))
    }

    /// The connection that a client has, by its own knowledge.
    pub(crate) fn connection_at(&self, node: NodeId, index: usize) -> Option<usize> {
        self.connections_of.get(&node)?.iter().copied().rfind(|connection| {
            let connection = &self.connections[*connection];
            connection.opened.index <= index && connection.ended.is_none_or(|ended| ended.index > index)
        })
    }

    /// Whether somebody who never learned their id may be known to others in a room.
    pub(crate) fn may_be_unanswered(&self, room: &str, index: usize) -> bool {
        self.unanswered.iter().any(|join| *join.room == *room && join.asked.index < index)
    }
}

/// What a client has been told of another.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    /// When it first heard of it.
    pub(crate) since: At,
    /// How often it was announced, by a roster or by itself, since it was last told to have left.
    pub(crate) announced: usize,
    /// When it was told that it left, if nothing came after that.
    pub(crate) gone: Option<At>,
}

/// The history, and what holds just before the event that is judged.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) history: History,
    pub(crate) signals: Signals,
    pub(crate) wire: Wire,
    pub(crate) calls: Calls,
    pub(crate) telephones: Telephones,
    /// What each client that is in a room has been told, by id.
    pub(crate) views: BTreeMap<NodeId, BTreeMap<Arc<str>, Word>>,
    /// Who was told of whose leaving, and when.
    pub(crate) told: BTreeMap<Arc<str>, Vec<(At, NodeId)>>,
    /// Clients whose program runs.
    pub(crate) running: BTreeSet<NodeId>,
    heartbeat: Duration,
    server: Option<NodeId>,
    /// The how-manieth run of the server this is, and whether it serves.
    life: u32,
    serves: bool,
}

impl Model {
    pub(crate) fn of(scenario: &Scenario, record: &Record) -> Self {
        let history = History::of(scenario, record);
        Self {
            signals: Signals::of(record, &history),
            wire: Wire::new(server_of(record), scenario.server.address),
            calls: Calls::default(),
            telephones: Telephones::default(),
            history,
            views: BTreeMap::new(),
            told: BTreeMap::new(),
            running: BTreeSet::new(),
            heartbeat: scenario.server.heartbeat,
            server: server_of(record),
            life: 0,
            serves: false,
        }
    }

    /// Takes note of an event that has been judged.
    pub(crate) fn advance(&mut self, index: usize, event: &Event) {
        let at = At { index, time: event.at };
        match &event.what {
            What::Packet(packet) => self.wire.advance(event, packet),
            What::Peer(peer) => self.calls.advance(event, peer),
            What::Machine(machine) if Some(event.node) == self.server => {
                self.serves = *machine == MachineEvent::Booted;
                self.life += u32::from(self.serves);
            }
            What::Fault(Fault::Shutdown) => self.serves = false,
            What::Machine(machine) => {
                if *machine != MachineEvent::Booted {
                    self.running.remove(&event.node);
                }
                self.views.remove(&event.node);
                self.calls.end_all(event.node);
                self.telephones.end(event.node);
            }
            What::Signaling(signaling) => self.advance_signaling(event.node, signaling, at),
            _ => {}
        }
    }

    fn advance_signaling(&mut self, node: NodeId, event: &Signaling, at: At) {
        self.telephones.advance(node, event, at);
        let heard = || Word { since: at, announced: 0, gone: None };
        match event {
            Signaling::Connecting { .. } => {
                self.running.insert(node);
            }
            Signaling::Closed { .. } | Signaling::Sent(Message::Leave { .. }) => {
                self.views.remove(&node);
            }
            Signaling::Received(Message::Joined { roster, .. }) => {
                let known = roster.iter().map(|member| (member.id.clone(), Word { announced: 1, ..heard() }));
                self.views.insert(node, known.collect());
            }
            Signaling::Received(Message::PeerJoined { member, .. }) => {
                if let Some(view) = self.views.get_mut(&node) {
                    let word = view.entry(member.id.clone()).or_insert_with(heard);
                    (word.announced, word.gone) = (word.announced + 1, None);
                }
            }
            Signaling::Received(Message::PeerLeft { id, .. }) => {
                self.told.entry(id.clone()).or_default().push((at, node));
                if let Some(view) = self.views.get_mut(&node) {
                    let word = view.entry(id.clone()).or_insert_with(heard);
                    (word.gone, word.announced) = (Some(at), 0);
                }
            }
            _ => {}
        }
    }

    /// When somebody was first told that this stay is over, and who.
    pub(crate) fn told_over(&self, stay: &Stay) -> Option<(At, NodeId)> {
        let newest_ask = stay.asked.last().copied().unwrap_or(stay.joined);
        // A user's name comes back with the user: who has heard of that counts no more.
        let still_counts = |witness: &NodeId| {
            let word = self.views.get(witness).and_then(|view| view.get(&stay.id));
            stay.role != Role::User || word.is_none_or(|word| word.gone.is_some())
        };
        let mut told = self.told.get(&stay.id)?.iter().copied();
        told.find(|(told, witness)| *told > newest_ask && still_counts(witness))
    }

    /// Whether the server that is up is the one that a connection leads to.
    pub(crate) fn is_served(&self, connection: usize) -> bool {
        self.serves && self.history.connections[connection].life == self.life
    }

    /// Whether nothing of a connection is late: what was sent some time ago has arrived.
    pub(crate) fn flows(&self, connection: usize, now: Duration) -> bool {
        let line = self.history.connections[connection].line;
        line.is_some_and(|line| !self.wire.is_late(line, now, SLACK))
    }

    /// Whether the server that is up has surely got what a client said at `said`, and nothing of its answer is lost or late.
    pub(crate) fn has_got(&self, connection: usize, said: At, now: Duration) -> bool {
        let Some(line) = self.history.connections[connection].line else { return false };
        let is_heard = self.wire.heard(line).is_some_and(|heard| heard >= said.time);
        is_heard
            && self.is_served(connection)
            && self.flows(connection, now)
            && !self.wire.has_lost_since(line, said.time)
    }

    /// Whether a server has no reason to think that a client is gone, while the client thinks it is there.
    pub(crate) fn is_surely_there(&self, stay: &Stay, at: At) -> bool {
        let line = self.history.connections[stay.connection].line;
        let heard = line.and_then(|line| self.wire.heard(line));
        stay.is_on(at.index)
            && self.is_served(stay.connection)
            && self.flows(stay.connection, at.time)
            && heard.is_some_and(|heard| at.time < heard + self.heartbeat * HEARTBEATS_TO_TRUST)
    }

    /// When a server must have noticed at the latest that a stay is over; `None` while it is not, or while its last words are under way.
    pub(crate) fn noticed_by(&self, stay: &Stay, now: At) -> Option<Duration> {
        let ended = stay.ended.filter(|ended| ended.index < now.index)?;
        let line = self.history.connections[stay.connection].line?;
        if self.wire.is_late(line, now.time, Duration::ZERO) {
            return None;
        }
        let last = self.wire.heard(line).map_or(ended.time, |heard| heard.max(ended.time));
        let by_farewell = stay.farewell && !self.wire.has_lost_since(line, ended.time);
        Some(last + if by_farewell { FAREWELL } else { self.heartbeat * HEARTBEATS_TO_NOTICE + FAREWELL })
    }

    /// When a server must have noticed at the latest that clients are gone who never learned their id.
    pub(crate) fn unanswered_noticed_by(&self, room: &str, index: usize) -> Option<Duration> {
        let asked = self.history.unanswered.iter().filter(|join| *join.room == *room && join.asked.index < index);
        let patience = self.heartbeat * HEARTBEATS_TO_NOTICE + FAREWELL;
        // One that waits still may come to be known at any time.
        asked.map(|join| join.ended.map(|ended| ended.time + patience)).max_by_key(|by| by.unwrap_or(Duration::MAX))?
    }
}

/// What everybody plays, and in which room.
fn roles(scenario: &Scenario, record: &Record) -> BTreeMap<NodeId, (Role, Arc<str>)> {
    let role = |(number, node): (usize, &Node)| match node.kind {
        NodeKind::Machine(Machine::Actor(actor)) => {
            let actor = scenario.actors.get(actor.0)?;
            Some((NodeId(number as u16), (actor.plays, actor.room.as_str().into())))
        }
        _ => None,
    };
    record.nodes.iter().enumerate().filter_map(role).collect()
}

/// Whether an error says that a join is refused.
pub(crate) fn is_refusal(error: &str) -> bool {
    error.ends_with("-already-exists") || error == "username-taken"
}

fn server_of(record: &Record) -> Option<NodeId> {
    let server = record.nodes.iter().position(|node| node.kind == NodeKind::Machine(Machine::Server))?;
    Some(NodeId(u16::try_from(server).expect("a record has at most 65,536 nodes")))
}
