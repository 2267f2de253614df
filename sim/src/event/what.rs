//! An event: when, where and what.

use std::time::Duration;

use serde::Serialize;

use crate::event::machine::{Census, Fault, MachineEvent};
use crate::event::node::NodeId;
use crate::event::packet::{NatEvent, PacketEvent};
use crate::event::peer::PeerEvent;
use crate::event::program::ProgramEvent;
use crate::event::signaling::Signaling;

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Event {
    /// Time since the start of the run: virtual in a simulation, else real.
    pub at: Duration,
    /// The node at which it happened.
    pub node: NodeId,
    /// What happened.
    pub what: What,
}

/// The kinds of events, by layer.
#[derive(Clone, Debug, PartialEq, Hash, Serialize)]
#[serde(tag = "layer", rename_all = "kebab-case")]
pub enum What {
    /// A change of a machine's power or software.
    Machine(MachineEvent),
    /// Something happened to a packet.
    Packet(PacketEvent),
    /// A change in a NAT's table.
    Nat(NatEvent),
    /// An event of a client's signaling connection.
    Signaling(Signaling),
    /// A change of a client's WebRTC connection.
    Peer(PeerEvent),
    /// The scenario injected a fault.
    Fault(Fault),
    /// The scenario is over, and oracles judge what must hold at the end. After this event clients leave and the server
    /// shuts down.
    TearDown,
    /// The resources left when everything has ended.
    Census(Census),
    /// The program of a machine that runs a server of others did something.
    Program(ProgramEvent),
}
