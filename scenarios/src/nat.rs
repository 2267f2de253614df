//! The behavior of a NAT, in the terms of RFC 4787.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a mapping or a filter depends on besides the internal endpoint. RFC 4787 §4.1 and §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    /// On nothing: all destinations share a mapping, and any host may send through it.
    EndpointIndependent,
    /// On the remote address.
    AddressDependent,
    /// On the remote address and port.
    AddressAndPortDependent,
}

/// Where a NAT remembers the destinations to which the inside has sent. A filter that is not endpoint-independent uses
/// this.
///
/// RFC 4787 leaves this open, and devices differ. It matters only if an internal endpoint has several mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterState {
    /// With each mapping: a packet to a mapping passes if this mapping was used to send to the packet's source.
    PerMapping,
    /// With the internal endpoint: a packet to any mapping passes if any of the endpoint's mappings was used to
    /// send to the packet's source.
    PerEndpoint,
}

/// How the external port of a new mapping is chosen. RFC 4787 §4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortAllocation {
    /// The internal port if it is free, otherwise the next free port.
    Preserve,
    /// As in Linux: the port of the internal endpoint's newest mapping, or else the internal port. Several mappings may
    /// have it as long as their remote endpoints differ; otherwise a random port. RFC 4787 §4.2.1 calls it port overloading. It needs a mapping and a filter that depend
    /// on address and port, because only the remote endpoint tells the mappings apart.
    PreserveOverloading,
    /// The next free port after the one that was assigned last.
    Sequential,
    /// A random free port, 1024 or higher.
    Random,
    /// Sequentially from a block of 64 ports that the NAT assigns to an internal address with its first mapping
    /// (RFC 6888 §4, REQ-14).
    Block,
}

/// What happens to a packet from the inside to one of the NAT's own external endpoints. RFC 4787 §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hairpinning {
    /// It is dropped.
    Off,
    /// It is hairpinned, with the sender's internal endpoint as its source.
    InternalSource,
    /// It is hairpinned, with the sender's external endpoint as its source, as REQ-9 requires.
    ExternalSource,
    /// It is hairpinned, with the router's own address inside as its source, and the port of the sender's external endpoint.
    /// Routers with port forwarding do so ("NAT loopback"), so that answers come back to them. An answer has the external
    /// endpoint as its source.
    RouterSource,
}

/// What a router does with a packet from the outside that belongs to no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unsolicited {
    /// It drops it.
    Drop,
    /// Its firewall refuses it: a TCP segment is answered with an RST.
    Reject,
    /// It has no firewall and takes it for its own: a TCP segment is answered with an RST. A router with overloaded
    /// ports remembers a datagram as a flow to itself, so that no mapping can have the same two endpoints.
    Accept,
}

/// How a NAT with several external addresses chooses one. RFC 4787 §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Always the same one for an internal address.
    Paired,
    /// Any one, chosen for each mapping.
    Arbitrary,
}

/// Everything that determines what a NAT does with a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NatBehavior {
    /// Which destinations share a mapping.
    pub mapping: Dependence,
    /// Who may send through a mapping.
    pub filtering: Dependence,
    /// Where the state of the filter is kept.
    pub filter_state: FilterState,
    /// How external ports are chosen.
    pub port_allocation: PortAllocation,
    /// Whether internal hosts reach each other at external endpoints.
    pub hairpinning: Hairpinning,
    /// How external addresses are chosen.
    pub pooling: Pooling,
    /// Time without traffic after which a UDP mapping that has seen only outbound packets expires.
    pub udp_lifetime_new: Duration,
    /// Time without traffic after which a UDP mapping that has seen packets both ways expires.
    pub udp_lifetime: Duration,
    /// The age that a UDP mapping must have so that a packet after the first answer gives it `udp_lifetime`; until then
    /// it has `udp_lifetime_new`. With zero, the first answer does.
    pub udp_stream_after: Duration,
    /// Whether inbound packets refresh a UDP mapping. Outbound packets always do (RFC 4787 §4.3, REQ-6).
    pub udp_inbound_refresh: bool,
    /// Time without traffic after which the NAT forgets a TCP connection that is established.
    pub tcp_lifetime: Duration,
    /// The same for a connection whose handshake is not complete.
    pub tcp_lifetime_opening: Duration,
    /// The same for a connection of which a FIN was seen.
    pub tcp_lifetime_closing: Duration,
    /// The same for a connection of which an RST was seen.
    pub tcp_lifetime_reset: Duration,
    /// Whether a segment from the inside in the middle of a connection creates a mapping.
    pub tcp_pick_up: bool,
    /// What happens to a packet from the outside that belongs to no mapping.
    pub unsolicited: Unsolicited,
    /// Maximum number of live mappings. Packets that need another one are refused.
    pub max_mappings: usize,
    /// Whether UDP is dropped in both directions.
    pub udp_blocked: bool,
    /// The TCP ports of the outside to which the inside opens no connections, in order. What it sends there is dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp_ports_blocked: Vec<u16>,
}

impl NatBehavior {
    /// What is impossible in this behavior, and what would be right; `None` if it is possible.
    pub fn contradiction(&self) -> Option<String> {
        let depends = Dependence::AddressAndPortDependent;
        let overloads = self.port_allocation == PortAllocation::PreserveOverloading;
        if overloads && self.hairpinning == Hairpinning::RouterSource {
            return Some(
                "with `hairpinning = \"router-source\"`, the port at the router's address must belong to one mapping, so \
                 `port-allocation` must not be \"preserve-overloading\""
                    .to_owned(),
            );
        }
        (overloads && (self.mapping, self.filtering) != (depends, depends)).then(|| {
            "with `port-allocation = \"preserve-overloading\"`, only the remote endpoint tells mappings apart, so `mapping` \
             and `filtering` must be \"address-and-port-dependent\"; or use `port-allocation = \"preserve\"`"
                .to_owned()
        })
    }

    /// What a mapping depends on, as one host alone sees it. With overloaded ports, a host keeps its port towards all
    /// remotes.
    pub fn seen_mapping(&self) -> Dependence {
        match self.port_allocation {
            PortAllocation::PreserveOverloading => Dependence::EndpointIndependent,
            _ => self.mapping,
        }
    }
}

/// What happens at a NAT's reboot, besides the loss of all mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatReboot {
    /// Whether TCP segments without a mapping are answered with RST after the reboot instead of being dropped.
    pub resets_tcp: bool,
    /// The new external address, if the old one is lost too.
    pub new_address: Option<Ipv4Addr>,
}
