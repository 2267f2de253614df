//! NAT types that the record and the NAT itself share. They depend on neither.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{AddrParseError, IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::Serialize;

/// An IP address and a port. RFC 8445 §4.
///
/// Most events of a run have two or three of them. A `SocketAddr` would take 32 bytes, for the flow and the scope of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransportAddress {
    ip: IpAddr,
    port: u16,
}

impl TransportAddress {
    /// The transport address of a port.
    pub fn new(ip: impl Into<IpAddr>, port: u16) -> Self {
        Self { ip: ip.into(), port }
    }

    /// A transport address of IPv4.
    pub const fn ipv4(ip: Ipv4Addr, port: u16) -> Self {
        Self { ip: IpAddr::V4(ip), port }
    }

    /// The IP address.
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is of IPv6.
    pub const fn is_ipv6(&self) -> bool {
        self.ip.is_ipv6()
    }
}

/// An address of IPv4 hashes like its parts, so that the hash of a run does not depend on which families there are.
impl Hash for TransportAddress {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match SocketAddr::from(*self) {
            SocketAddr::V4(address) => address.hash(state),
            SocketAddr::V6(address) => address.hash(state),
        }
    }
}

impl fmt::Display for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl Serialize for TransportAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl FromStr for TransportAddress {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        text.parse().map(|address: SocketAddr| address.into())
    }
}

impl From<SocketAddr> for TransportAddress {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip(), address.port())
    }
}

impl From<TransportAddress> for SocketAddr {
    fn from(address: TransportAddress) -> Self {
        Self::new(address.ip, address.port)
    }
}

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
    pub internal: TransportAddress,
    /// The remote endpoint: Y:y in RFC 4787.
    pub remote: TransportAddress,
}

/// An internal endpoint and the external endpoint that represents it outside the NAT. RFC 4787 §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Mapping {
    /// The protocol whose packets it translates.
    pub protocol: Protocol,
    /// The internal endpoint: X:x in RFC 4787.
    pub internal: TransportAddress,
    /// The external endpoint: X':x' in RFC 4787.
    pub external: TransportAddress,
    /// The destination of the packet that created it: Y:y in RFC 4787. The mapping behaviour determines which part of
    /// it must match for the mapping to be reused.
    pub remote: TransportAddress,
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
    /// A TCP segment from the inside to a port to which the router lets no connections out.
    TcpPortBlocked,
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
            Self::TcpPortBlocked => "TCP port blocked",
        })
    }
}
