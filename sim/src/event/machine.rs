//! A machine's power and software, the faults that a scenario injects, and the resources left at the end.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;

use crate::event::node::NodeId;

/// A change of a machine's power or software.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum MachineEvent {
    /// The machine starts.
    Booted,
    /// The machine loses power at once.
    PowerLost,
    /// The machine's program ends by itself: a client has left, or a server was shut down.
    Ended,
}

/// A fault that the scenario injected. The event's node is the one that the fault affects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Fault {
    /// A client's signaling connection is cut.
    SignalingDropped,
    /// A machine loses power.
    PowerLoss,
    /// A machine gets power back.
    Boot,
    /// The server is ordered to shut down.
    Shutdown,
    /// A NAT reboots.
    NatReboot,
    /// Packets between two sets of nodes are blocked.
    Partition {
        /// Senders whose packets are blocked.
        from: Vec<NodeId>,
        /// Receivers that the packets do not reach.
        to: Vec<NodeId>,
        /// Whether packets in the other direction still pass.
        one_way: bool,
    },
    /// All partitions end.
    Heal,
    /// The settings of a link change.
    Link,
    /// A client is ordered to do something, such as to send a text, to hang up or to restart ICE.
    Told {
        /// The order, in words.
        what: Arc<str>,
    },
    /// A step of the scenario has no effect. The event's node is the one that the step is about.
    NoEffect {
        /// The line of the step in the scenario's file, counted from 1; 0 if the scenario was not read from a file.
        line: Line,
        /// What cannot be done and the reason, as a predicate of the node: `cannot join: it is already there`.
        why: Arc<str>,
    },
    /// A machine's program stands still for a time.
    Stall {
        /// For how long, in milliseconds.
        ms: u64,
    },
    /// A machine's wall clock jumps.
    ClockJump {
        /// By how much, in milliseconds.
        ms: i64,
    },
    /// The scenario decides the fate of a packet that was never sent. The event's node is the sender.
    NoPacket {
        /// The line of the packet in the scenario's file, counted from 1; 0 if the scenario was not read from a file.
        line: Line,
        /// What was sent instead, as a predicate of the node: `sent only 2 packets of the kind stun-request to ben`.
        why: Arc<str>,
    },
    /// A machine moves to another network.
    Move {
        /// The network's name, or `internet`.
        to: Arc<str>,
    },
    /// A client stands still until it is resumed.
    Suspend,
    /// A client goes on.
    Resume,
    /// A TURN server takes another shared secret.
    NewSecret,
}

/// A line of a scenario file. It is not part of the hash of a run: a comment that moves the steps changes no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Line(pub usize);

impl Hash for Line {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// The resources that are left when all clients have left and the server has shut down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Census {
    /// Tasks that still run.
    pub tasks: usize,
    /// Sockets that are still open.
    pub sockets: usize,
    /// Packets still in flight.
    pub packets_in_flight: usize,
    /// Signaling connections in the server's count. This and the following numbers are zero for a program of others,
    /// which does not tell them.
    pub connections: usize,
    /// Rooms in the server's count.
    pub rooms: usize,
    /// Messages in the server's outbound queues.
    pub queued_messages: usize,
}
