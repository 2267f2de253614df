//! The state just before the event that is judged: what is in flight, what each client knows about the others, and
//! which programs run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scenarios::{Machine, Scenario};

use crate::dialects::Dialects;
use crate::event::{
    ClientId, Event, Fault, MachineEvent, Message, NodeId, PeerChange, ProgramEvent, Record, Signaling, What,
};
use crate::oracle::call_states::CallStates;
use crate::oracle::history::{At, History, Stay, server_of};
use crate::oracle::signals::Signals;
use crate::oracle::tcp::TcpTraffic;
use crate::oracle::webrtc::PeerConnections;

/// Time within which a message arrives, unless a segment of its connection is visibly late.
pub(crate) const SLACK: Duration = Duration::from_secs(2);
/// Time within which a server must have acted on a client's `leave` message or close frame.
const LEAVE_HANDLED: Duration = Duration::from_secs(5);
/// Heartbeats within which a server must have noticed that a client vanished: two missed pongs, the interval in which
/// it vanished, and one more for servers that count differently.
const HEARTBEATS_TO_NOTICE: u32 = 4;

/// The notices that a client has received about another.
#[derive(Clone, Debug)]
pub(crate) struct Notices {
    /// When it received the first notice.
    pub(crate) since: At,
    /// How often the other was announced, in a roster or as a newcomer, since the last notice that it had left.
    pub(crate) announced: usize,
    /// When it received the notice that the other left, if no newer announcement followed.
    pub(crate) gone: Option<At>,
    /// How often it received a notice that the other joined.
    joins: usize,
}

/// A notice that the owner of an id left.
#[derive(Clone, Copy, Debug)]
struct LeaveNotice {
    at: At,
    /// The client that received it.
    witness: NodeId,
    /// Whether it is certainly about the newest stay under the id, because the witness had learned of every join.
    is_of_newest: bool,
}

/// The history of the whole record, and the state just before the event that is judged.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) dialects: Dialects,
    pub(crate) history: History,
    pub(crate) signals: Signals,
    pub(crate) tcp: TcpTraffic,
    pub(crate) peer_connections: PeerConnections,
    pub(crate) call_states: CallStates,
    /// The notices that each client in a room has received about the others, by their ids.
    pub(crate) views: BTreeMap<NodeId, BTreeMap<ClientId, Notices>>,
    leave_notices: BTreeMap<ClientId, Vec<LeaveNotice>>,
    /// Clients that could not get their ICE servers, and go on without.
    pub(crate) unconfigured: BTreeSet<NodeId>,
    /// Clients whose program is running.
    pub(crate) running: BTreeSet<NodeId>,
    heartbeat: Duration,
    server: Option<NodeId>,
    /// The current run of the server, counted from 1.
    life: u32,
    serves: bool,
    /// Until when the server cannot be expected to act, because it stands still.
    stalled_until: Duration,
    /// The time of the last event.
    time: Duration,
}

impl Model {
    pub(crate) fn of(scenario: &Scenario, record: &Record) -> Self {
        let dialects = Dialects::of(scenario).expect("the run has read them");
        let history = History::of(scenario, &dialects, record);
        let carried = scenario.actors.iter().map(|actor| dialects.spoken(actor.plays, actor.over));
        let trusted = carried.map(|spoken| spoken.descriptor.heartbeats_to_trust).min().unwrap_or_default();
        Self {
            dialects,
            signals: Signals::of(record, &history),
            tcp: TcpTraffic::new(
                server_of(record),
                scenario.addresses(Machine::Server),
                scenario.server.heartbeat * trusted,
            ),
            peer_connections: PeerConnections::default(),
            call_states: CallStates::default(),
            history,
            views: BTreeMap::new(),
            leave_notices: BTreeMap::new(),
            unconfigured: BTreeSet::new(),
            running: BTreeSet::new(),
            heartbeat: scenario.server.heartbeat,
            server: server_of(record),
            life: 0,
            serves: false,
            stalled_until: Duration::ZERO,
            time: Duration::ZERO,
        }
    }

    /// Applies an event that has been judged.
    pub(crate) fn advance(&mut self, index: usize, event: &Event) {
        let at = At { index, time: event.at };
        self.time = event.at;
        match &event.what {
            What::Packet(packet) => self.tcp.advance(event, packet),
            What::Peer(peer) => {
                match peer.change {
                    PeerChange::IceServers { .. } => _ = self.unconfigured.remove(&event.node),
                    PeerChange::NoIceServers { .. } => _ = self.unconfigured.insert(event.node),
                    _ => {}
                }
                self.peer_connections.advance(event, peer);
            }
            What::Machine(machine) if Some(event.node) == self.server => {
                self.serves = *machine == MachineEvent::Booted;
                self.life += u32::from(self.serves);
            }
            What::Fault(Fault::Shutdown) => self.serves = false,
            What::Fault(Fault::Stall { ms }) if Some(event.node) == self.server => {
                self.stalled_until = event.at + Duration::from_millis(*ms) + SLACK
            }
            // A program that has just booted may take a while until it listens; one that has ended serves nobody.
            What::Program(ProgramEvent::Ended { .. } | ProgramEvent::Lost { .. })
                if Some(event.node) == self.server =>
            {
                self.serves = false;
            }
            What::Machine(machine) => {
                if *machine != MachineEvent::Booted {
                    self.running.remove(&event.node);
                }
                self.views.remove(&event.node);
                self.peer_connections.end_all(event.node);
                self.call_states.end(event.node);
            }
            What::Signaling(signaling) => self.advance_signaling(event.node, signaling, at),
            _ => {}
        }
    }

    fn advance_signaling(&mut self, node: NodeId, event: &Signaling, at: At) {
        self.call_states.advance(node, event, at);
        let first = || Notices { since: at, announced: 0, gone: None, joins: 0 };
        match event {
            Signaling::Connecting { .. } => {
                self.running.insert(node);
            }
            Signaling::Closed { .. } | Signaling::Sent(Message::Leave { .. }) => {
                self.views.remove(&node);
            }
            Signaling::Received(Message::Joined { roster, .. }) => {
                for member in roster.iter() {
                    self.has_returned(&member.id, node);
                }
                let known = roster.iter().map(|member| (member.id.clone(), Notices { announced: 1, ..first() }));
                self.views.insert(node, known.collect());
            }
            Signaling::Received(Message::PeerJoined { member, .. }) => {
                self.has_returned(&member.id, node);
                if let Some(view) = self.views.get_mut(&node) {
                    let notices = view.entry(member.id.clone()).or_insert_with(first);
                    (notices.announced, notices.gone) = (notices.announced + 1, None);
                    notices.joins += 1;
                }
            }
            Signaling::Received(Message::PeerLeft { id, .. }) => {
                let is_of_newest = self.has_learned_of_all_joins(node, id, at);
                let notice = LeaveNotice { at, witness: node, is_of_newest };
                self.leave_notices.entry(id.clone()).or_default().push(notice);
                if let Some(view) = self.views.get_mut(&node) {
                    let notices = view.entry(id.clone()).or_insert_with(first);
                    (notices.gone, notices.announced) = (Some(at), 0);
                }
            }
            _ => {}
        }
    }

    /// When the first client received a notice that may be about the end of this stay, and which client. Where clients
    /// choose their ids, the notice may also be about an earlier stay of the same user, and have been on its way for long.
    pub(crate) fn leave_notice(&self, stay: &Stay) -> Option<(At, NodeId)> {
        self.notices_since_newest_ask(stay).map(|notice| (notice.at, notice.witness)).next()
    }

    /// When the first client received a notice that is certainly about the end of this stay, and which client.
    pub(crate) fn certain_leave_notice(&self, stay: &Stay) -> Option<(At, NodeId)> {
        let is_only = self.history.joins_under(&stay.id).all(|join| stay.asked.contains(&join.asked));
        let mut notices = self.notices_since_newest_ask(stay);
        notices.find(|notice| is_only || notice.is_of_newest).map(|notice| (notice.at, notice.witness))
    }

    fn notices_since_newest_ask(&self, stay: &Stay) -> impl Iterator<Item = &LeaveNotice> {
        let newest_ask = stay.asked.last().copied().unwrap_or(stay.joined);
        let notices = self.leave_notices.get(&stay.id).into_iter().flatten();
        notices.filter(move |notice| notice.at > newest_ask)
    }

    /// Whether a client has been told of every join under an id so far: each was either answered before the client asked
    /// to join itself, so that its roster has it, or was announced to the client.
    fn has_learned_of_all_joins(&self, node: NodeId, id: &ClientId, at: At) -> bool {
        let Some(stay) = self.history.stay_at(node, at.index) else { return false };
        let joins = self.history.joins_under(id).filter(|join| join.asked < at);
        let later = joins.filter(|join| join.answered.is_none_or(|answered| answered > stay.asked())).count();
        let announced = self.views.get(&node).and_then(|view| view.get(id)).map_or(0, |notices| notices.joins);
        announced >= later
    }

    /// A user who returns has the same name. A client that has seen the return no longer witnesses that the user left.
    fn has_returned(&mut self, id: &ClientId, witness: NodeId) {
        if let Some(notices) = self.leave_notices.get_mut(id) {
            notices.retain(|notice| notice.witness != witness);
        }
    }

    /// Whether the server is running, and does not stand still.
    pub(crate) fn serves(&self) -> bool {
        self.serves && self.time >= self.stalled_until
    }

    /// Whether a connection leads to the server that is running.
    pub(crate) fn is_served(&self, connection: usize) -> bool {
        self.serves() && self.history.connections[connection].life == self.life
    }

    /// Whether no segment of a connection is late, so that what was sent some time ago has arrived.
    pub(crate) fn flows(&self, connection: usize, now: Duration) -> bool {
        let flow = self.history.connections[connection].flow;
        flow.is_some_and(|flow| !self.tcp.is_late(flow, now, SLACK))
    }

    /// Whether the running server has certainly received what a client sent at `said`, and no part of its response is
    /// lost or late.
    pub(crate) fn has_received(&self, connection: usize, sent: At, now: Duration) -> bool {
        let Some(flow) = self.history.connections[connection].flow else { return false };
        let is_received = self.tcp.last_received(flow).is_some_and(|received| received >= sent.time);
        is_received
            && self.is_served(connection)
            && self.flows(connection, now)
            && !self.tcp.has_lost_since(flow, sent.time)
    }

    /// Whether a client considers itself present and the server has no reason to think otherwise.
    pub(crate) fn is_surely_there(&self, stay: &Stay, at: At) -> bool {
        let flow = self.history.connections[stay.connection].flow;
        let last_received = flow.and_then(|flow| self.tcp.last_received(flow));
        let trusted = self.heartbeat * stay.dialect().heartbeats_to_trust;
        // A server that dropped the client just before it heard from it again has told others, and the client not yet.
        let heard_again = flow.and_then(|flow| self.tcp.heard_again(flow));
        stay.is_on(at.index)
            && self.is_served(stay.connection)
            && self.flows(stay.connection, at.time)
            && !flow.is_some_and(|flow| self.tcp.is_reset(flow))
            && last_received.is_some_and(|received| at.time < received + trusted)
            && heard_again.is_none_or(|heard| at.time > heard + SLACK)
    }

    /// The deadline by which a server must have noticed that a stay is over; `None` if it is not over, or while its
    /// last messages are in flight.
    pub(crate) fn noticed_by(&self, stay: &Stay, now: At) -> Option<Duration> {
        let ended = stay.ended.filter(|ended| ended.index < now.index)?;
        let flow = self.history.connections[stay.connection].flow?;
        if self.tcp.is_late(flow, now.time, Duration::ZERO) {
            return None;
        }
        let last = self.tcp.last_received(flow).map_or(ended.time, |received| received.max(ended.time));
        let has_left = stay.farewell && !self.tcp.has_lost_since(flow, ended.time);
        Some(last + if has_left { LEAVE_HANDLED } else { self.heartbeat * HEARTBEATS_TO_NOTICE + LEAVE_HANDLED })
    }

    /// The deadline by which a server must have noticed that clients which never learned their id are gone.
    pub(crate) fn unanswered_noticed_by(&self, room: &str, index: usize) -> Option<Duration> {
        let asked = self.history.unanswered.iter().filter(|join| *join.room == *room && join.asked.index < index);
        let patience = self.heartbeat * HEARTBEATS_TO_NOTICE + LEAVE_HANDLED;
        // A join that is still pending may be announced at any time.
        asked.map(|join| join.ended.map(|ended| ended.time + patience)).max_by_key(|by| by.unwrap_or(Duration::MAX))?
    }
}
