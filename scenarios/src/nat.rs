//! What a NAT does, in the words of RFC 4787.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a mapping, or a filter, depends on beside the internal endpoint. RFC 4787 §4.1 and §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    /// On nothing: one mapping for all destinations; anybody may send through it.
    EndpointIndependent,
    /// On the remote address.
    AddressDependent,
    /// On the remote address and port.
    AddressAndPortDependent,
}

/// Where a NAT remembers to whom the inside has sent, which decides what an endpoint-dependent filter lets in.
///
/// RFC 4787 leaves it open and devices differ. It matters only where one internal endpoint has several mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterState {
    /// With each mapping: a packet to a mapping passes if that very mapping was used towards its source.
    PerMapping,
    /// With the internal endpoint: a packet to any of its mappings passes if the endpoint has sent to its source through any.
    PerEndpoint,
}

/// How the external port of a new mapping is chosen. RFC 4787 §4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortAllocation {
    /// The internal port where it is free, else the next free one.
    Preserve,
    /// One after the other.
    Sequential,
    /// Any free port from 1024 on.
    Random,
    /// Sequentially out of a block of 64 ports that an internal address is given at its first mapping (RFC 6888 §4, REQ-14).
    Block,
}

/// What happens to a packet from the inside to one of the NAT's own external endpoints. RFC 4787 §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hairpinning {
    /// It is dropped.
    Off,
    /// It is turned round and bears the sender's internal endpoint as its source.
    InternalSource,
    /// It is turned round and bears the sender's external endpoint as its source, as REQ-9 asks.
    ExternalSource,
}

/// Which external address an internal one gets where the NAT has several. RFC 4787 §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Always the same one.
    Paired,
    /// Any, anew for each mapping.
    Arbitrary,
}

/// All that decides what a NAT does with a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NatBehavior {
    /// When two destinations share a mapping.
    pub mapping: Dependence,
    /// Who may send through a mapping.
    pub filtering: Dependence,
    /// Where the filter's memory lies.
    pub filter_state: FilterState,
    /// How external ports are chosen.
    pub port_allocation: PortAllocation,
    /// Whether insiders reach each other by external endpoints.
    pub hairpinning: Hairpinning,
    /// How external addresses are chosen.
    pub pooling: Pooling,
    /// Time without traffic after which a UDP mapping that has seen only outbound packets expires.
    pub udp_lifetime_new: Duration,
    /// Time without traffic after which a UDP mapping that has seen packets both ways expires.
    pub udp_lifetime: Duration,
    /// Whether inbound packets refresh a UDP mapping; outbound ones always do (RFC 4787 §4.3, REQ-6).
    pub udp_inbound_refresh: bool,
    /// Time without traffic after which a TCP mapping expires.
    pub tcp_lifetime: Duration,
    /// Live mappings at most; a further one is refused.
    pub max_mappings: usize,
    /// Whether UDP is dropped in both directions.
    pub udp_blocked: bool,
}

/// What a NAT's reboot does beside losing every mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatReboot {
    /// Whether TCP segments without a mapping are answered with RST from then on, rather than dropped.
    pub resets_tcp: bool,
    /// The new external address, if the old one is lost too.
    pub new_address: Option<Ipv4Addr>,
}
