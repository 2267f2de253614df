//! Packets, and what NATs do to them.

use std::net::SocketAddrV4;

use serde::Serialize;

pub use crate::mapping::{Mapping, Protocol, Refusal};

/// A packet on its way; a duplicate and a translated packet keep their original's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PacketId(pub u32);

/// What a packet looks like at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PacketView {
    /// Which packet.
    pub packet: PacketId,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// TCP's control bits, FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 (RFC 9293 §3.1); zero for UDP.
    pub flags: u8,
    /// Source, as seen here.
    pub src: SocketAddrV4,
    /// Destination, as seen here.
    pub dst: SocketAddrV4,
    /// Payload bytes.
    pub bytes: u16,
    /// Xxh3 of the payload.
    pub digest: u64,
}

/// A packet's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum PacketEvent {
    /// A host put it on its link.
    Sent(PacketView),
    /// A host took it from its link.
    Delivered(PacketView),
    /// A link doubled it.
    Duplicated {
        /// Which packet.
        packet: PacketId,
    },
    /// A link let later ones overtake it.
    Reordered {
        /// Which packet.
        packet: PacketId,
    },
    /// It is gone.
    Dropped {
        /// Which packet.
        packet: PacketId,
        /// Why.
        why: Drop,
    },
}

/// Why a packet is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drop {
    /// Lost on a link.
    Loss,
    /// More than a link's queue holds.
    Congestion,
    /// A partition lies between.
    Partition,
    /// No route to its destination.
    NoRoute,
    /// Its time to live ran out.
    TtlExceeded,
    /// Its destination is without power.
    HostDown,
    /// No socket is bound there.
    PortUnreachable,
    /// The socket's receive buffer is full.
    ReceiveBufferFull,
    /// A NAT refused it.
    Refused(Refusal),
}

/// What a NAT did to its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum NatEvent {
    /// A mapping came to be.
    Created(Mapping),
    /// A packet went through a mapping. Outbound ones renew its lifetime, inbound ones where the NAT's behaviour says so.
    Used(Mapping),
    /// A mapping's lifetime ran out.
    Expired(Mapping),
    /// A packet was refused.
    Refused {
        /// UDP or TCP.
        protocol: Protocol,
        /// Source of the packet.
        src: SocketAddrV4,
        /// Destination of the packet.
        dst: SocketAddrV4,
        /// Why.
        why: Refusal,
    },
    /// All mappings are lost.
    Rebooted {
        /// Mappings lost.
        lost: usize,
    },
}
