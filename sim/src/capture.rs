//! The packets themselves, for who wants to look into them: off unless asked for, and no part of the record.
//!
//! Each realm is a wire of its own. A packet is seen on a realm's wire when it sets out there, with the addresses that it has there: what a
//! NAT translates is seen inside before and outside after. What a link loses was on the wire nevertheless.

use std::time::Duration;

use crate::event::{NodeId, PacketId};

pub use crate::fabric::{Content, Sighting};
pub use crate::peer::keys::KeyLog;

/// All that was seen in a run.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// Names of the realms, `internet` first, then the scenario's networks in their order.
    pub realms: Vec<String>,
    /// What passed, in order of time.
    pub sightings: Vec<Sighting>,
    /// Datagrams that programs took from their sockets, in order: what a program does next, it does because of them.
    pub taken: Vec<Taken>,
    /// The secrets of all DTLS sessions.
    pub keys: KeyLog,
}

/// A datagram that a program took from its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which packet it came in.
    pub packet: PacketId,
    /// Whose program.
    pub node: NodeId,
    /// Virtual time.
    pub at: Duration,
    /// How many events there were before.
    pub events: usize,
}

impl Capture {
    /// Where a packet was seen: times and realms, in order.
    pub fn of(&self, packet: PacketId) -> impl Iterator<Item = (Duration, usize)> + '_ {
        self.sightings.iter().filter(move |seen| seen.packet == packet).map(|seen| (seen.at, seen.realm))
    }
}
