//! NAT types that the record and the NAT itself share. They depend on neither.

use std::fmt;
use std::net::SocketAddrV4;

use serde::Serialize;

/// A transport protocol. Each has its own ports and mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// UDP. RFC 768.
    Udp,
    /// TCP. RFC 9293.
    Tcp,
}

/// A packet's protocol and two endpoints, as seen on the inside of a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FiveTuple {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// The internal endpoint: X:x in RFC 4787.
    pub internal: SocketAddrV4,
    /// The remote endpoint: Y:y in RFC 4787.
    pub remote: SocketAddrV4,
}

/// An internal endpoint and the external endpoint that represents it outside the NAT. RFC 4787 §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Mapping {
    /// The protocol whose packets it translates.
    pub protocol: Protocol,
    /// The internal endpoint: X:x in RFC 4787.
    pub internal: SocketAddrV4,
    /// The external endpoint: X':x' in RFC 4787.
    pub external: SocketAddrV4,
    /// The destination of the packet that created it: Y:y in RFC 4787. The mapping behaviour determines which part of
    /// it must match for the mapping to be reused.
    pub remote: SocketAddrV4,
}

/// Why a NAT does not forward a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// A packet from the outside to an external endpoint without a mapping.
    NoMapping,
    /// A packet from a remote to which the internal endpoint has not sent.
    Filtered,
    /// The mapping table is full.
    TableFull,
    /// No external port is free for a new mapping.
    PortsExhausted,
    /// The NAT blocks all UDP.
    UdpBlocked,
    /// A packet from the inside to the NAT's own external address, and the NAT does not support hairpinning.
    HairpinOff,
    /// A TCP segment from the inside that neither opens a connection nor belongs to a known one. It gets no new
    /// mapping, because its peer would then see it come from an unknown endpoint.
    TcpMidStream,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMapping => "no mapping",
            Self::Filtered => "filtered",
            Self::TableFull => "mapping table full",
            Self::PortsExhausted => "no port left",
            Self::UdpBlocked => "UDP blocked",
            Self::HairpinOff => "no hairpinning",
            Self::TcpMidStream => "TCP segment of an unknown connection",
        })
    }
}
