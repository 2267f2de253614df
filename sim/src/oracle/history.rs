//! What the record says about who is connected, and who is in which room under which id.
//!
//! It is computed from the whole record in advance, because a client may be announced to others before it learns its
//! own id.

use std::collections::BTreeMap;
use std::time::Duration;

use scenarios::{Machine, Role, Scenario};

use crate::dialects::{Descriptor, Dialects};
use crate::event::{
    ClientId, Frame, MachineEvent, Message, Node, NodeId, NodeKind, PacketEvent, PeerName, Record, RoomName, Signaling,
    What,
};
use crate::oracle::tcp::{FlowNumbers, TcpFlow, is_syn};

/// A position in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) index: usize,
    pub(crate) time: Duration,
}

/// A signaling connection, as its client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) node: NodeId,
    pub(crate) opened: At,
    pub(crate) ended: Option<At>,
    /// The run of the server that it leads to, counted from 1.
    pub(crate) life: u32,
    pub(crate) flow: Option<TcpFlow>,
    /// The rooms that the client asked to join, and when.
    pub(crate) asked: Vec<(At, RoomName)>,
    /// When the newest of these requests was refused.
    pub(crate) refused: Option<At>,
    /// Whether the server ended it with a close frame that gives no reason to think of a refusal.
    pub(crate) closed_silently: bool,
    /// Whether the client said goodbye.
    farewell: bool,
}

impl Connection {
    /// The last request to join before `at`.
    pub(crate) fn asked_before(&self, at: At) -> Option<(At, RoomName)> {
        self.asked.iter().rfind(|(asked, _)| *asked < at).cloned()
    }
}

/// A client's time in a room under one id, as that client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    pub(crate) node: NodeId,
    pub(crate) role: Role,
    pub(crate) dialect: Descriptor,
    pub(crate) connection: usize,
    pub(crate) room: RoomName,
    /// The id that the server assigned, or a user's name. If the dialect has no ids, it is one that the oracles invent.
    pub(crate) id: ClientId,
    /// The times at which it asked to join: more than one if it repeated the request.
    pub(crate) asked: Vec<At>,
    pub(crate) joined: At,
    pub(crate) ended: Option<At>,
    /// Whether the client said goodbye; false if it vanished.
    pub(crate) farewell: bool,
}

impl Stay {
    pub(crate) fn asked(&self) -> At {
        self.asked[0]
    }

    pub(crate) fn dialect(&self) -> &Descriptor {
        &self.dialect
    }

    /// Whether both are in the same room.
    pub(crate) fn is_with(&self, other: &Self) -> bool {
        self.role.dialect() == other.role.dialect() && self.room == other.room
    }

    /// The name by which the client refers to the other side of a WebRTC connection: its id, or its role if the dialect
    /// has no ids.
    pub(crate) fn calls(&self, other: &Self) -> PeerName {
        match self.dialect().partner(self.role) {
            _ if self.dialect().names_others => PeerName::Client(other.id.clone()),
            Some(partner) => PeerName::Role(partner),
            None => PeerName::Other,
        }
    }

    pub(crate) fn is_on(&self, index: usize) -> bool {
        self.joined.index <= index && self.ended.is_none_or(|ended| ended.index > index)
    }
}

/// A join that was never answered: the client may have been announced to others under an id that it never learned.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    pub(crate) node: NodeId,
    pub(crate) room: RoomName,
    pub(crate) asked: At,
    pub(crate) ended: Option<At>,
}

/// A request to join under an id, and when it was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Join {
    pub(crate) asked: At,
    pub(crate) answered: Option<At>,
}

/// All connections and stays of a record.
#[derive(Debug, Default)]
pub(crate) struct History {
    clients: BTreeMap<NodeId, ClientOf>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) stays: Vec<Stay>,
    pub(crate) unanswered: Vec<Unanswered>,
    by_id: BTreeMap<ClientId, Vec<usize>>,
    stays_of: BTreeMap<NodeId, Vec<usize>>,
    stays_in: BTreeMap<RoomName, Vec<usize>>,
    connections_of: BTreeMap<NodeId, Vec<usize>>,
}

/// What the scenario says about a client.
#[derive(Clone, Debug)]
struct ClientOf {
    role: Role,
    dialect: Descriptor,
    room: RoomName,
    /// Its id, if clients choose their ids.
    id: Option<ClientId>,
}

/// The state of a client at the position up to which the record has been read.
#[derive(Default)]
struct ReadState {
    dials_from: Option<TcpFlow>,
    /// When the client dialled. A server may let it in before the client sees that it is connected.
    dialled: Option<At>,
    connection: Option<usize>,
    /// The join that has not been answered yet.
    pending: Option<Pending>,
    stay: Option<usize>,
}

struct Pending {
    asked: At,
    room: RoomName,
}

impl History {
    pub(crate) fn of(scenario: &Scenario, dialects: &Dialects, record: &Record) -> Self {
        let mut history = Self { clients: clients(scenario, dialects, record), ..Self::default() };
        let mut clients: BTreeMap<NodeId, ReadState> = BTreeMap::new();
        let server = server_of(record);
        let mut life = 0;
        let mut flows = FlowNumbers::default();
        for (index, event) in record.events.iter().enumerate() {
            let at = At { index, time: event.at };
            if Some(event.node) == server {
                life += u32::from(event.what == What::Machine(MachineEvent::Booted));
                continue;
            }
            let client = clients.entry(event.node).or_default();
            match &event.what {
                What::Packet(PacketEvent::Sent(view)) if is_syn(view) => {
                    client.dials_from = Some(flows.of(event.node, view));
                }
                What::Machine(MachineEvent::PowerLost | MachineEvent::Ended) => history.end(client, at),
                What::Signaling(signaling) => history.read(event.node, signaling, client, at, life),
                _ => {}
            }
        }
        for (node, client) in &mut clients {
            history.stop_waiting(*node, client, None);
        }
        history
    }

    fn read(&mut self, node: NodeId, event: &Signaling, client: &mut ReadState, at: At, life: u32) {
        match event {
            Signaling::Connecting { .. } => client.dialled = Some(at),
            Signaling::Connected => {
                let number = self.connections.len();
                let (flow, dialled) = (client.dials_from, client.dialled.unwrap_or(at));
                *client = ReadState { connection: Some(number), ..ReadState::default() };
                self.connections_of.entry(node).or_default().push(number);
                self.connections.push(Connection {
                    node,
                    opened: at,
                    ended: None,
                    life,
                    flow,
                    asked: Vec::new(),
                    refused: None,
                    closed_silently: false,
                    farewell: false,
                });
                let asking = self.clients.get(&node).filter(|client| client.dialect.asks_by_connecting);
                if let Some(ClientOf { room, id, dialect, .. }) = asking.cloned() {
                    self.connections[number].asked.push((dialled, room.clone()));
                    client.pending = Some(Pending { asked: dialled, room: room.clone() });
                    if dialect.joins_by_connecting {
                        let id = id.unwrap_or_else(|| format!("connection {number}").into());
                        self.join(client, node, room, id, at);
                    }
                }
            }
            Signaling::Closed { .. } => self.end(client, at),
            Signaling::FrameReceived(Frame::Close(code)) => {
                if let Some(connection) = client.connection {
                    // The answer to the client's own close frame is not the server's wish.
                    let connection = &mut self.connections[connection];
                    connection.closed_silently = !connection.farewell && says_nothing(*code);
                }
            }
            Signaling::FrameSent(Frame::Close(_)) => {
                if let Some(connection) = client.connection {
                    self.connections[connection].farewell = true;
                }
                // If the dialect has no message for leaving, the close frame is the goodbye.
                self.leave(client, at, true);
            }
            Signaling::Sent(Message::Join { room }) => {
                let Some(connection) = client.connection else { return };
                self.connections[connection].asked.push((at, room.clone()));
                client.pending = Some(Pending { asked: at, room: room.clone() });
                match client.stay {
                    Some(stay) if self.stays[stay].room == *room => self.stays[stay].asked.push(at),
                    _ => self.leave(client, at, true),
                }
                let asking = self.clients.get(&node).filter(|client| client.dialect.joins_by_asking);
                if let Some(id) = asking.and_then(|client| client.id.clone()) {
                    self.join(client, node, room.clone(), id, at);
                }
            }
            Signaling::Sent(Message::Leave { room })
                if client.stay.is_some_and(|stay| self.stays[stay].room == *room) =>
            {
                self.leave(client, at, true);
            }
            Signaling::Received(Message::Joined { room, id, .. } | Message::Admitted { room, id }) => {
                self.join(client, node, room.clone(), id.clone(), at);
            }
            // The join was refused, so the client no longer waits for an answer.
            Signaling::Received(Message::Refused { why, .. }) if why.is_join() => {
                client.pending = None;
                if let Some(connection) = client.connection {
                    self.connections[connection].refused = Some(at);
                }
            }
            _ => {}
        }
    }

    fn join(&mut self, client: &mut ReadState, node: NodeId, room: RoomName, id: ClientId, at: At) {
        let asked = client.pending.take().map_or(at, |join| join.asked);
        let Some(connection) = client.connection else { return };
        if client.stay.is_some_and(|stay| self.stays[stay].room == room && self.stays[stay].id == id) {
            return;
        }
        self.leave(client, at, false);
        let Some(ClientOf { role, dialect, .. }) = self.clients.get(&node).cloned() else { return };
        client.stay = Some(self.stays.len());
        self.by_id.entry(id.clone()).or_default().push(self.stays.len());
        self.stays_of.entry(node).or_default().push(self.stays.len());
        self.stays_in.entry(room.clone()).or_default().push(self.stays.len());
        self.stays.push(Stay {
            node,
            role,
            dialect,
            connection,
            room,
            id,
            asked: vec![asked],
            joined: at,
            ended: None,
            farewell: false,
        });
    }

    fn leave(&mut self, client: &mut ReadState, at: At, farewell: bool) {
        if let Some(stay) = client.stay.take() {
            self.stays[stay].ended = Some(at);
            self.stays[stay].farewell = farewell;
        }
    }

    fn end(&mut self, client: &mut ReadState, at: At) {
        let Some(connection) = client.connection.take() else { return };
        self.connections[connection].ended = Some(at);
        let Connection { node, farewell, .. } = self.connections[connection];
        self.leave(client, at, farewell);
        self.stop_waiting(node, client, Some(at));
    }

    fn stop_waiting(&mut self, node: NodeId, client: &mut ReadState, ended: Option<At>) {
        if let Some(Pending { asked, room }) = client.pending.take() {
            self.unanswered.push(Unanswered { node, room, asked, ended });
        }
    }

    /// The newest stay under an id, among those requested before `index`. `None` for a user who has since asked again
    /// and got no answer: other clients may already see a newer stay under the same name.
    pub(crate) fn stay_of(&self, id: &str, index: usize) -> Option<&Stay> {
        let mut stays = self.by_id.get(id)?.iter().map(|stay| &self.stays[*stay]);
        let stay = stays.rfind(|stay| stay.asked().index < index)?;
        let is_since = |asked: At| stay.ended.is_some_and(|ended| ended <= asked) && asked.index < index;
        let mut unanswered = self.unanswered.iter().filter(|join| join.node == stay.node);
        let has_asked_again = stay.dialect().chooses_ids && unanswered.any(|join| is_since(join.asked));
        (!has_asked_again).then_some(stay)
    }

    /// All stays under an id.
    pub(crate) fn stays_under(&self, id: &str) -> impl Iterator<Item = &Stay> {
        self.by_id.get(id).into_iter().flatten().map(|stay| &self.stays[*stay])
    }

    /// All requests to join under an id. A repeated request in a stay counts as one without an answer, and so does, where
    /// clients choose their ids, one whose client never learned what became of it.
    pub(crate) fn joins_under(&self, id: &str) -> impl Iterator<Item = Join> {
        let of_stay = |stay: &Stay| {
            let joined = stay.joined;
            let answer = move |(number, asked)| Join { asked, answered: (number == 0).then_some(joined) };
            stay.asked.clone().into_iter().enumerate().map(answer)
        };
        let chooses = self.stays_under(id).next().filter(|stay| stay.dialect().chooses_ids).map(|stay| stay.node);
        let unanswered_of = |node| self.unanswered.iter().filter(move |join| join.node == node);
        let unanswered = chooses.into_iter().flat_map(unanswered_of);
        let unanswered = unanswered.map(|join| Join { asked: join.asked, answered: None });
        self.stays_under(id).flat_map(of_stay).chain(unanswered)
    }

    /// The stay that a client is in, as far as the client knows.
    pub(crate) fn stay_at(&self, node: NodeId, index: usize) -> Option<&Stay> {
        self.stays_of.get(&node)?.iter().map(|stay| &self.stays[*stay]).rfind(|stay| stay.is_on(index))
    }

    /// The stays in rooms of this name, in the order of joining, of clients that are there as far as they know.
    pub(crate) fn stays_in(&self, room: &str, index: usize) -> impl Iterator<Item = &Stay> {
        let stays = self.stays_in.get(room).into_iter().flatten().map(|stay| &self.stays[*stay]);
        stays.filter(move |stay| stay.is_on(index))
    }

    /// The last connections of a client, as far as the server closed each without a word after the client had asked to
    /// join and was not admitted, the newest first. The one that is open at the end does not count.
    pub(crate) fn closed_in_a_row(&self, node: NodeId) -> Vec<&Connection> {
        let stays = self.stays_of.get(&node);
        let was_admitted =
            |connection| stays.is_some_and(|stays| stays.iter().any(|stay| self.stays[*stay].connection == connection));
        let of_client = self.connections_of.get(&node).into_iter().flatten().rev();
        let ended = of_client.filter(|connection| self.connections[**connection].ended.is_some());
        ended
            .map(|connection| (*connection, &self.connections[*connection]))
            .take_while(|(number, connection)| {
                connection.closed_silently
                    && !connection.asked.is_empty()
                    && connection.refused.is_none()
                    && !was_admitted(*number)
            })
            .map(|(_, connection)| connection)
            .collect()
    }

    /// The connection that a client has, as far as the client knows.
    pub(crate) fn connection_at(&self, node: NodeId, index: usize) -> Option<usize> {
        self.connections_of.get(&node)?.iter().copied().rfind(|connection| {
            let connection = &self.connections[*connection];
            connection.opened.index <= index && connection.ended.is_none_or(|ended| ended.index > index)
        })
    }

    /// Whether a client that never learned its id may have been announced in a room.
    pub(crate) fn may_be_unanswered(&self, room: &str, index: usize) -> bool {
        self.unanswered.iter().any(|join| *join.room == *room && join.asked.index < index)
    }
}

/// Whether a close code is neither a refusal, as a policy and the codes of applications are, nor says that the server goes
/// or is overloaded (RFC 6455 §7.4).
fn says_nothing(code: Option<u16>) -> bool {
    code.is_none_or(|code| matches!(code, 1000 | 1005 | 1006 | 1011))
}

fn clients(scenario: &Scenario, dialects: &Dialects, record: &Record) -> BTreeMap<NodeId, ClientOf> {
    let client = |(number, node): (usize, &Node)| match node.kind {
        NodeKind::Machine(Machine::Actor(actor)) => {
            let actor = scenario.actors.get(actor.0)?;
            let spoken = dialects.spoken(actor.plays, actor.over);
            let (role, dialect, room) = (actor.plays, spoken.descriptor, actor.room.as_str().into());
            let id = spoken.id_of(&actor.name, &actor.room);
            Some((NodeId(number as u16), ClientOf { role, dialect, room, id }))
        }
        _ => None,
    };
    record.nodes.iter().enumerate().filter_map(client).collect()
}

pub(crate) fn server_of(record: &Record) -> Option<NodeId> {
    let server = record.nodes.iter().position(|node| node.kind == NodeKind::Machine(Machine::Server))?;
    Some(NodeId(u16::try_from(server).expect("a record has at most 65,536 nodes")))
}
