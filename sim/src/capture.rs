//! The packets themselves, for who wants to look into them: off unless asked for, and no part of the record.
//!
//! Each realm is a wire of its own. A packet is seen on a realm's wire when it sets out there, with the addresses that it has there: what a
//! NAT translates is seen inside before and outside after. What a link loses was on the wire nevertheless.

use std::time::Duration;

use crate::event::PacketId;

pub use crate::fabric::{Content, Sighting};

/// All that was seen in a run.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// Names of the realms, `internet` first, then the scenario's networks in their order.
    pub realms: Vec<String>,
    /// What passed, in order of time.
    pub sightings: Vec<Sighting>,
}

impl Capture {
    /// Where a packet was seen: times and realms, in order.
    pub fn of(&self, packet: PacketId) -> impl Iterator<Item = (Duration, usize)> + '_ {
        self.sightings.iter().filter(move |seen| seen.packet == packet).map(|seen| (seen.at, seen.realm))
    }
}
