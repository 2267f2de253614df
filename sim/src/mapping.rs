//! The words of NATs that the record and the NAT itself share. They know neither of the two.

use std::fmt;
use std::net::SocketAddrV4;

use serde::Serialize;

/// A transport protocol. Each has its own ports and mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// RFC 768.
    Udp,
    /// RFC 9293.
    Tcp,
}

/// A packet's protocol and two endpoints, as seen on the inside of a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FiveTuple {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// The endpoint inside: X:x in RFC 4787.
    pub internal: SocketAddrV4,
    /// The endpoint it talks to: Y:y in RFC 4787.
    pub remote: SocketAddrV4,
}

/// An internal endpoint and the external endpoint that represents it outside the NAT. RFC 4787 §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Mapping {
    /// The protocol whose packets it translates.
    pub protocol: Protocol,
    /// The endpoint inside: X:x in RFC 4787.
    pub internal: SocketAddrV4,
    /// The endpoint seen outside: X':x' in RFC 4787.
    pub external: SocketAddrV4,
    /// The destination of the packet that created it: Y:y in RFC 4787. The mapping behaviour decides how much of it binds the mapping.
    pub remote: SocketAddrV4,
}

/// Why a NAT does not forward a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// From outside, to an external endpoint without a mapping.
    NoMapping,
    /// From outside, from a remote that the inside has not sent to.
    Filtered,
    /// The mapping table is full.
    TableFull,
    /// No external port is free for a new mapping.
    PortsExhausted,
    /// The NAT passes no UDP.
    UdpBlocked,
    /// From the inside to the NAT's own external address, and the NAT does not hairpin.
    HairpinOff,
    /// A TCP segment from the inside that opens no connection and belongs to none that the NAT knows. It gets no new mapping, because
    /// its peer would see it come from an unknown endpoint.
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
