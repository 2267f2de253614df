//! What happens to packets and in NATs.

use serde::Serialize;

pub use crate::mapping::{Mapping, Protocol, Refusal, TransportAddress};

/// The number of a packet in flight. A duplicate or a translated packet keeps the number of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PacketId(pub u32);

/// A packet as seen at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PacketView {
    /// The packet's number.
    pub packet: PacketId,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// TCP's control bits, FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 (RFC 9293 §3.1); zero for UDP.
    pub flags: u8,
    /// Source, as seen here.
    pub src: TransportAddress,
    /// Destination, as seen here.
    pub dst: TransportAddress,
    /// Size of the payload, bytes.
    pub bytes: u16,
    /// The Xxh3 hash of the payload.
    pub digest: u64,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum PacketEvent {
    /// A host sent it over its link.
    Sent(PacketView),
    /// A host received it from its link.
    Delivered(PacketView),
    /// A link duplicated it.
    Duplicated {
        /// The packet's number.
        packet: PacketId,
    },
    /// A link delayed it so that later packets may overtake it.
    Reordered {
        /// The packet's number.
        packet: PacketId,
    },
    /// It was dropped.
    Dropped {
        /// The packet's number.
        packet: PacketId,
        /// The reason.
        why: Drop,
    },
    /// A link, or its sender, split it into fragments.
    Fragmented {
        /// The packet's number.
        packet: PacketId,
        /// How many packets it is from here on.
        pieces: u16,
    },
    /// A link flipped a bit of it.
    Corrupted {
        /// The packet's number.
        packet: PacketId,
    },
    /// Its sender learned by ICMP that it was dropped because it was too long (RFC 1191).
    FragmentationNeeded {
        /// The packet's number.
        packet: PacketId,
        /// The MTU of the link that it could not pass, bytes.
        mtu: u16,
    },
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drop {
    /// Lost on a link.
    Loss,
    /// The queue of a link was full.
    Congestion,
    /// A partition blocks the way to its destination.
    Partition,
    /// There is no route to its destination.
    NoRoute,
    /// Its time to live ran out.
    TtlExceeded,
    /// Its destination has no power.
    HostDown,
    /// No socket is bound to its destination port.
    PortUnreachable,
    /// The socket's receive buffer is full.
    ReceiveBufferFull,
    /// A NAT refused it.
    Refused(Refusal),
    /// Its sender has given up after many retransmissions.
    GivenUp,
    /// It was too long for a link, whose router told its sender by ICMP.
    FragmentationNeeded {
        /// The MTU of the link, bytes.
        mtu: u16,
    },
    /// It was too long for a link, and nobody is told.
    Oversized,
    /// A bit was flipped on its way, and its receiver found that the checksum is wrong.
    Checksum,
}

/// A change in a NAT's table, or a packet that the NAT refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum NatEvent {
    /// A mapping was created.
    Created(Mapping),
    /// A packet used a mapping. An outbound packet refreshes the mapping; an inbound one does so only if the NAT's
    /// behaviour says so.
    Used(Mapping),
    /// A mapping's lifetime ran out.
    Expired(Mapping),
    /// The NAT refused a packet.
    Refused {
        /// UDP or TCP.
        protocol: Protocol,
        /// Source of the packet.
        src: TransportAddress,
        /// Destination of the packet.
        dst: TransportAddress,
        /// The reason.
        why: Refusal,
    },
    /// The NAT rebooted and lost all mappings.
    Rebooted {
        /// How many mappings were lost.
        lost: usize,
    },
}
