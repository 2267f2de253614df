//! The captured packets, for anyone who wants to inspect them. They are kept only on request and are not part of the
//! record.

use std::time::Duration;

use bytes::Bytes;

use crate::event::TransportAddress;
use crate::event::{NodeId, PacketId};
use crate::fabric::index::RealmIndex;

/// Everything that was captured in a run.
#[derive(Default)]
pub(crate) struct Tap {
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) taken: Vec<Taken>,
}

/// A packet seen on the wire of a realm.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Virtual time since the start.
    pub at: Duration,
    /// The realm in which it was seen.
    pub realm: RealmIndex,
    /// The packet's number.
    pub packet: PacketId,
    /// The machine or router that sent it first.
    pub origin: NodeId,
    /// Remaining hops.
    pub ttl: u8,
    /// Source, as seen here.
    pub src: TransportAddress,
    /// Destination, as seen here.
    pub dst: TransportAddress,
    /// Its contents.
    pub content: Content,
}

/// The contents of a packet.
#[derive(Clone, Debug)]
pub enum Content {
    /// A datagram's payload.
    Udp(Bytes),
    /// A TCP segment. RFC 9293 §3.1.
    Tcp {
        /// Sequence number.
        seq: u32,
        /// Acknowledgment number.
        ack: u32,
        /// Control bits, with FIN as the lowest bit.
        flags: u8,
        /// Window size.
        window: u16,
        /// Payload.
        payload: Bytes,
    },
}

/// A datagram that a program has read from its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The number of the packet that carried it.
    pub packet: PacketId,
    /// The program's machine.
    pub node: NodeId,
    /// Virtual time since the start.
    pub at: Duration,
    /// Number of events in the record at that time.
    pub events: usize,
}
