//! The packets of a run, for anyone who wants to inspect them. They are kept only on request and are not part of the
//! record.
//!
//! Each realm is a separate wire. A packet is seen on a realm's wire when it enters the realm, with the addresses that
//! it has there: a packet that a NAT translates is seen inside before the translation and outside after it. A packet
//! that a link loses has already been seen on the wire.

use std::time::Duration;

use crate::event::PacketId;

pub use crate::fabric::{Content, RealmIndex, Sighting, Taken};
pub use crate::peer::stack::KeyLog;

/// Everything that was captured in a run.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// Names of the realms, by [`RealmIndex`]: `internet` first, then the scenario's networks in their order.
    pub realms: Vec<String>,
    /// The packets that were seen, in order of time.
    pub sightings: Vec<Sighting>,
    /// Datagrams that programs read from their sockets, in order. They show which datagram a program's next action
    /// responds to.
    pub taken: Vec<Taken>,
    /// The secrets of all DTLS sessions.
    pub keys: KeyLog,
}

impl Capture {
    /// The times and realms at which a packet was seen, in order.
    pub fn of(&self, packet: PacketId) -> impl Iterator<Item = (Duration, RealmIndex)> + '_ {
        self.sightings.iter().filter(move |seen| seen.packet == packet).map(|seen| (seen.at, seen.realm))
    }
}
