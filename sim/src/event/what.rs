//! An event: when, where and what.

use std::time::Duration;

use serde::Serialize;

use crate::event::machine::{Census, Fault, MachineEvent};
use crate::event::node::NodeId;
use crate::event::packet::{NatEvent, PacketEvent};
use crate::event::peer::PeerEvent;
use crate::event::signaling::Signaling;

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
