//! The packets of a run, for anyone who wants to inspect them: kept only if asked for, and no part of the record.
//!
//! Each realm is a wire of its own. A packet is seen on a realm's wire when it sets out there, with the addresses that it has there: a
//! packet that a NAT translates is seen inside before and outside after. A packet that a link loses was on the wire before.

use std::time::Duration;

use crate::event::PacketId;

pub use crate::fabric::{Content, RealmIndex, Sighting, Taken};
pub use crate::peer::stack::KeyLog;

/// Everything that was seen in a run.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// Names of the realms, by [`RealmIndex`]: `internet` first, then the scenario's networks in their order.
    pub realms: Vec<String>,
    /// What passed, in order of time.
    pub sightings: Vec<Sighting>,
    /// Datagrams that programs took from their sockets, in order: what a program does next, it does because of them.
    pub taken: Vec<Taken>,
    /// The secrets of all DTLS sessions.
    pub keys: KeyLog,
}

impl Capture {
    /// Where a packet was seen: times and realms, in order.
    pub fn of(&self, packet: PacketId) -> impl Iterator<Item = (Duration, RealmIndex)> + '_ {
        self.sightings.iter().filter(move |seen| seen.packet == packet).map(|seen| (seen.at, seen.realm))
    }
}
