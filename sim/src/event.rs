//! The record of a run: one typed stream of what happened, when and where.
//!
//! Nothing but the world and its peers writes it, through a [`Recorder`]; timeline, oracles, hash, snapshots and reports read
//! it and nothing else.

use std::fmt;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scenarios::{Machine, MediaKind, NetworkIndex};
use serde::Serialize;
use tokio::time::Instant;

/// A machine or a NAT, by its place in [`Record::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeId(pub u16);

/// A packet on its way; a duplicate and a translated packet keep their original's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PacketId(pub u32);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Event {
    /// Time since the start of the run: virtual in a simulation, else real.
    pub at: Duration,
    /// Where.
    pub node: NodeId,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Hash, Serialize)]
#[serde(tag = "layer", rename_all = "kebab-case")]
pub enum What {
    /// A machine's power and software.
    Machine(MachineEvent),
    /// A packet's fate.
    Packet(PacketEvent),
    /// A NAT's table.
    Nat(NatEvent),
    /// The signaling connection of a client, and what passes over it.
    Signaling(Signaling),
    /// A WebRTC connection of a client.
    Peer(PeerEvent),
    /// A fault that the scenario injected.
    Fault(Fault),
    /// The scenario is over: what must hold in the end is judged here. From now on clients leave and the server shuts down.
    TearDown,
    /// What is left when all has ended.
    Census(Census),
}

/// A machine's power and software.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum MachineEvent {
    /// It starts.
    Booted,
    /// It dies at once.
    PowerLost,
    /// Its program ends by itself: a client that has left, a server that was shut down.
    Ended,
}

/// What a packet looks like at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PacketView {
    /// Which packet.
    pub packet: PacketId,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// TCP's control bits, FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 (RFC 9293 §3.1); zero for UDP.
    pub flags: u8,
    /// Source, as seen here.
    pub src: SocketAddrV4,
    /// Destination, as seen here.
    pub dst: SocketAddrV4,
    /// Payload bytes.
    pub bytes: u16,
    /// Xxh3 of the payload.
    pub digest: u64,
}

/// A packet's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum PacketEvent {
    /// A host put it on its link.
    Sent(PacketView),
    /// A host took it from its link.
    Delivered(PacketView),
    /// A link doubled it.
    Duplicated {
        /// Which packet.
        packet: PacketId,
    },
    /// A link let later ones overtake it.
    Reordered {
        /// Which packet.
        packet: PacketId,
    },
    /// It is gone.
    Dropped {
        /// Which packet.
        packet: PacketId,
        /// Why.
        why: Drop,
    },
}

/// Why a packet is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drop {
    /// Lost on a link.
    Loss,
    /// More than a link's queue holds.
    Congestion,
    /// A partition lies between.
    Partition,
    /// No route to its destination.
    NoRoute,
    /// Its time to live ran out.
    TtlExceeded,
    /// Its destination is without power.
    HostDown,
    /// No socket is bound there.
    PortUnreachable,
    /// The socket's receive buffer is full.
    ReceiveBufferFull,
    /// A NAT refused it.
    Refused(Refusal),
}

pub use crate::mapping::{Mapping, Protocol, Refusal};

/// What a NAT did to its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum NatEvent {
    /// A mapping came to be.
    Created(Mapping),
    /// A packet went through a mapping. Outbound ones renew its lifetime, inbound ones where the NAT's behaviour says so.
    Used(Mapping),
    /// A mapping's lifetime ran out.
    Expired(Mapping),
    /// A packet was refused.
    Refused {
        /// UDP or TCP.
        protocol: Protocol,
        /// Source of the packet.
        src: SocketAddrV4,
        /// Destination of the packet.
        dst: SocketAddrV4,
        /// Why.
        why: Refusal,
    },
    /// All mappings are lost.
    Rebooted {
        /// Mappings lost.
        lost: usize,
    },
}

/// A client's signaling connection, and what passes over it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Signaling {
    /// It dials: the how-manieth time since the last success, from 0.
    Connecting {
        /// Attempts that failed since the last success.
        attempt: u32,
    },
    /// The WebSocket is open.
    Connected,
    /// It is closed.
    Closed {
        /// The close code, if a close frame came or was sent. RFC 6455 §7.4.
        code: Option<u16>,
        /// What ended it.
        reason: Arc<str>,
    },
    /// It will not dial again.
    GaveUp {
        /// Attempts that failed.
        attempts: u32,
    },
    /// A frame left.
    FrameSent(Frame),
    /// A frame came.
    FrameReceived(Frame),
    /// A message left, by its meaning.
    Sent(Message),
    /// A message came, by its meaning.
    Received(Message),
    /// The client is in another state of its dialect; the first is [`ClientState::Init`], a user's [`ClientState::Idle`].
    State {
        /// The state it is in.
        state: ClientState,
    },
}

/// A WebSocket frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "opcode", content = "payload", rename_all = "kebab-case")]
pub enum Frame {
    /// Text.
    Text(Arc<str>),
    /// Binary, its length in bytes.
    Binary(usize),
    /// Ping.
    Ping,
    /// Pong.
    Pong,
    /// Close, with its code.
    Close(Option<u16>),
}

/// What a client of a dialect with states is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientState {
    /// A sender or viewer that has not joined, or a viewer that has no sender yet.
    Init,
    /// A sender or viewer whose partner is missing, or gone.
    Waiting,
    /// A sender that has offered, a viewer that was offered to.
    Active,
    /// A sender or viewer that was refused, or has given up.
    Error,
    /// A user without a call.
    Idle,
    /// A user whose call rings at another.
    Calling,
    /// A user who is called.
    Ringing,
    /// A user in a call.
    InCall,
}

/// A signaling message by its meaning, whatever the dialect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "message", rename_all = "kebab-case")]
pub enum Message {
    /// A client asks to join.
    Join {
        /// The room.
        room: Arc<str>,
    },
    /// The server lets a client in.
    Joined {
        /// The room.
        room: Arc<str>,
        /// The client's own id.
        id: Arc<str>,
        /// Who is there already.
        roster: Vec<Member>,
    },
    /// Somebody else came.
    PeerJoined {
        /// The room.
        room: Arc<str>,
        /// Who.
        member: Member,
    },
    /// A client leaves.
    Leave {
        /// The room.
        room: Arc<str>,
    },
    /// Somebody else is gone.
    PeerLeft {
        /// The room.
        room: Arc<str>,
        /// Their id.
        id: Arc<str>,
    },
    /// Something for another client.
    Signal {
        /// The room.
        room: Arc<str>,
        /// To whom (sent; `None` is everybody else), or from whom (received; `None` where the dialect does not say).
        peer: Option<Arc<str>>,
        /// What it is.
        kind: SignalKind,
        /// The opaque payload, byte for byte.
        payload: Arc<str>,
    },
    /// The server complains.
    Error {
        /// Its words.
        text: Arc<str>,
    },
    /// Something that the dialect does not know.
    Unknown,
    /// The server lets a client in, and does not say who is there.
    Admitted {
        /// The room.
        room: Arc<str>,
        /// The client's own id.
        id: Arc<str>,
    },
    /// The other side of a room of two is there.
    PartnerReady {
        /// The room.
        room: Arc<str>,
    },
    /// The other side of a room of two is gone.
    PartnerLeft {
        /// The room.
        room: Arc<str>,
    },
    /// A step of a call between users.
    Call {
        /// To whom (sent), or from whom (received).
        peer: Arc<str>,
        /// What becomes of it.
        step: CallStep,
    },
}

/// A step of a call between users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum CallStep {
    /// It rings.
    Ring,
    /// It is taken.
    Accept,
    /// It is not taken.
    Reject,
    /// The called one is in another call.
    Busy,
    /// It is over.
    End,
    /// A camera or microphone was turned on or off.
    Media {
        /// Which.
        kind: MediaKind,
        /// Whether it is on.
        enabled: bool,
    },
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Member {
    /// The id by which they are addressed.
    pub id: Arc<str>,
    /// What they call themselves.
    pub name: Option<Arc<str>>,
}

/// What a signal carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalKind {
    /// A session description that proposes. RFC 9429.
    Offer,
    /// A session description that accepts.
    Answer,
    /// A trickled candidate. RFC 8838.
    IceCandidate,
    /// The end of a pair.
    Hangup,
}

/// One of a client's WebRTC connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PeerEvent {
    /// The other side's id in the signaling. Where the dialect names nobody: `sender` or `viewer`, or `other` in a relay.
    pub peer: Arc<str>,
    /// The how-manieth connection to that peer, from 1. A candidate of the host, which belongs to none, has 0.
    pub attempt: u16,
    /// What.
    #[serde(flatten)]
    pub change: PeerChange,
}

/// What happens to a WebRTC connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum PeerChange {
    /// It comes to be.
    Opened {
        /// Whether this side offers, and so controls ICE.
        offerer: bool,
    },
    /// The STUN server said how it sees the socket.
    Mapped {
        /// The socket.
        base: SocketAddrV4,
        /// XOR-MAPPED-ADDRESS.
        mapped: SocketAddrV4,
    },
    /// A description was set. RFC 9429 §3.5.
    Described {
        /// Whether it is this side's own.
        local: bool,
        /// Offer or answer.
        kind: SignalKind,
        /// Its ICE generation.
        ufrag: Arc<str>,
    },
    /// A local candidate was gathered, or a remote one was taken.
    Candidate {
        /// Whether it is this side's own.
        local: bool,
        /// The candidate.
        candidate: Candidate,
        /// The ICE generation it belongs to.
        ufrag: Arc<str>,
    },
    /// A remote candidate came before the description it belongs to, and waits.
    CandidateQueued,
    /// Something of an older ICE generation came and was left aside.
    Stale {
        /// What came.
        kind: SignalKind,
    },
    /// ICE changed state.
    Ice {
        /// The state it is in.
        state: IceState,
    },
    /// ICE restarts with new credentials.
    IceRestart,
    /// ICE chose a pair.
    Selected {
        /// This side's candidate.
        local: Candidate,
        /// The other side's.
        remote: Candidate,
    },
    /// DTLS changed state.
    Dtls {
        /// The state it is in.
        state: DtlsState,
    },
    /// The data channel is open.
    ChannelOpen,
    /// A message left on the data channel.
    ChannelSent {
        /// The message.
        text: Arc<str>,
    },
    /// A message came on the data channel.
    ChannelReceived {
        /// The message.
        text: Arc<str>,
    },
    /// The stack reported an error.
    Error {
        /// Its words.
        text: Arc<str>,
    },
    /// It is over.
    Closed {
        /// Why.
        why: Closed,
    },
    /// The own offer was taken back, for the other side's stands. RFC 9429 §4.1.10.2.
    RolledBack,
}

/// Why a WebRTC connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closed {
    /// The other side left the room.
    PeerLeft,
    /// The other side hung up.
    RemoteHangup,
    /// This side was told to hang up.
    Hangup,
    /// It was not connected in time.
    Timeout,
    /// ICE failed.
    Failed,
    /// A newer connection takes its place.
    Replaced,
    /// The client leaves.
    Leaving,
    /// The signaling was lost, and the call with it.
    SignalingLost,
}

/// A candidate as an event shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Candidate {
    /// Its type.
    pub kind: CandidateKind,
    /// Its transport address.
    pub address: SocketAddrV4,
}

/// Types of candidates, the preferred first. RFC 8445 §5.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateKind {
    /// A local address.
    Host,
    /// Learned from the other side's checks.
    Prflx,
    /// Learned from a STUN server.
    Srflx,
    /// Lent by a TURN server.
    Relay,
}

/// ICE connection states. W3C WebRTC §5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the specification's own words
pub enum IceState {
    New,
    Checking,
    Connected,
    Completed,
    Disconnected,
    Failed,
    Closed,
}

/// DTLS transport states. W3C WebRTC §5.5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the specification's own words
pub enum DtlsState {
    New,
    Connecting,
    Connected,
    Closed,
    Failed,
}

/// A fault that the scenario injected; its place is the node it befalls.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Fault {
    /// A signaling connection is torn.
    SignalingDropped,
    /// Power is lost.
    PowerLoss,
    /// Power is back.
    Boot,
    /// The server is told to shut down.
    Shutdown,
    /// A NAT reboots.
    NatReboot,
    /// Nodes are cut off from others.
    Partition {
        /// From where nothing comes through.
        from: Vec<NodeId>,
        /// To where.
        to: Vec<NodeId>,
        /// Whether the way back stays open.
        one_way: bool,
    },
    /// All partitions end.
    Heal,
    /// A link changes.
    Link,
    /// A client is told to say something, to hang up or to restart ICE.
    Told {
        /// What.
        what: Arc<str>,
    },
}

/// What is left when all clients have left and the server has shut down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Census {
    /// Tasks that still run.
    pub tasks: usize,
    /// Sockets that are still open.
    pub sockets: usize,
    /// Packets still under way.
    pub packets_in_flight: usize,
    /// Signaling connections that the server still counts.
    pub connections: usize,
    /// Rooms that the server still counts.
    pub rooms: usize,
    /// Messages in the server's outbound queues.
    pub queued_messages: usize,
}

/// What kind of thing a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A machine of the scenario.
    Machine(Machine),
    /// The NAT of a network of the scenario.
    Nat(NetworkIndex),
    /// The world itself: what befalls all.
    World,
}

/// A machine, a NAT, or the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Node {
    /// Its name in the scenario.
    pub name: Arc<str>,
    /// What it is.
    pub kind: NodeKind,
}

/// All that happened in a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Who can have an event.
    pub nodes: Vec<Node>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl Record {
    /// A node's name.
    ///
    /// # Panics
    /// If the node is of another record.
    pub fn name(&self, node: NodeId) -> &Arc<str> {
        &self.nodes[usize::from(node.0)].name
    }

    /// An event as one line of JSON: `{"at":1.25,"node":"ana","layer":…,…}`, `at` in seconds.
    pub fn json_line(&self, event: &Event) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            at: f64,
            node: &'a str,
            #[serde(flatten)]
            what: &'a What,
        }
        let line = Line { at: event.at.as_secs_f64(), node: self.name(event.node), what: &event.what };
        serde_json::to_string(&line).expect("every event has a JSON form")
    }
}

/// Writes a record. Clones write the same one.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    record: Arc<Mutex<Record>>,
}

impl Recorder {
    /// A new record; its time starts at `start`.
    pub fn new(start: Instant) -> Self {
        Self { start, record: Arc::default() }
    }

    /// Adds a node.
    ///
    /// # Panics
    /// Beyond 65,536 nodes.
    pub fn node(&self, name: &str, kind: NodeKind) -> NodeId {
        let mut record = self.lock();
        record.nodes.push(Node { name: name.into(), kind });
        NodeId(u16::try_from(record.nodes.len() - 1).expect("a scenario has fewer nodes than that"))
    }

    /// Writes down what happened just now.
    pub fn write(&self, node: NodeId, what: What) {
        let at = self.start.elapsed();
        self.lock().events.push(Event { at, node, what });
    }

    /// Writes down what happened at `at`.
    pub(crate) fn write_at(&self, at: Duration, node: NodeId, what: What) {
        self.lock().events.push(Event { at, node, what });
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes the record; what is written afterwards starts an empty one.
    pub fn take(&self) -> Record {
        std::mem::take(&mut *self.lock())
    }

    /// How many events there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().events.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().expect("no writer panics while it holds the record")
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("start", &self.start).finish_non_exhaustive()
    }
}
