//! The packets themselves, for anyone who wants to inspect them: kept only if asked for, and no part of the record.

use std::net::SocketAddrV4;
use std::time::Duration;

use bytes::Bytes;

use crate::event::{NodeId, PacketId};
use crate::fabric::index::RealmIndex;

/// What was kept of a run.
#[derive(Default)]
pub(crate) struct Tap {
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) taken: Vec<Taken>,
}

/// A packet on the wire of a realm.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Virtual time.
    pub at: Duration,
    /// The realm.
    pub realm: RealmIndex,
    /// Which packet.
    pub packet: PacketId,
    /// The machine or router that sent it first.
    pub origin: NodeId,
    /// Hops it may still take.
    pub ttl: u8,
    /// Source, as seen here.
    pub src: SocketAddrV4,
    /// Destination, as seen here.
    pub dst: SocketAddrV4,
    /// What is in it.
    pub content: Content,
}

/// What is in a packet.
#[derive(Clone, Debug)]
pub enum Content {
    /// A datagram's payload.
    Udp(Bytes),
    /// A segment. RFC 9293 §3.1.
    Tcp {
        /// Sequence number.
        seq: u32,
        /// Acknowledgment number.
        ack: u32,
        /// Control bits, FIN being the lowest.
        flags: u8,
        /// Window.
        window: u16,
        /// Payload.
        payload: Bytes,
    },
}

/// A datagram that a program has taken from its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The packet that it came in.
    pub packet: PacketId,
    /// The program's machine.
    pub node: NodeId,
    /// Virtual time.
    pub at: Duration,
    /// How many events there were before.
    pub events: usize,
}
