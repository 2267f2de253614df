//! A machine's power and software, the faults that a scenario injects, and what is left at the end.

use std::sync::Arc;

use serde::Serialize;

use crate::event::node::NodeId;

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
