//! The behaviour of a NAT as rules of nftables and parameters of the kernel's connection tracking.
//!
//! Linux itself translates as `masquerade` does: a mapping for each destination, which keeps the internal port if it can
//! (`port-allocation = "preserve-overloading"`) or takes a random one. **Endpoint-independent mappings** do not exist in
//! the kernel. They are made of a table of the internal ports that have sent, and of destination NAT for what arrives at
//! such a port; a second table of those to whom it has sent is the filter.

use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;
use std::time::Duration;

use scenarios::{Dependence, Hairpinning, NatBehavior, Network, PortAllocation, Unsolicited};

use super::topology::{INSIDE, OUTSIDE};

/// How a router is set up.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The rules, as `nft -f` reads them.
    pub(super) text: String,
    /// Kernel parameters and their values.
    pub(super) parameters: Vec<(&'static str, u64)>,
}

/// A behaviour that cannot be made with Linux: the key of the scenario file that says so, and what can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmakeable {
    /// The name of the network.
    pub network: String,
    /// The key.
    pub key: &'static str,
    /// What can be made.
    pub possible: &'static str,
}

impl fmt::Display for Unmakeable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the NAT of `{}` cannot be made with Linux: `{}`: {}", self.network, self.key, self.possible)
    }
}

impl Rules {
    /// The rules of a network's router.
    pub(super) fn of(network: &Network) -> Result<Self, Unmakeable> {
        let refuse = |key, possible| Err(Unmakeable { network: network.name.clone(), key, possible });
        let Some(nat) = &network.nat else { return refuse("nat", "a router that does not translate is not built") };
        let [external] = network.external[..] else { return refuse("external", "only one address is possible") };
        let masquerade = match (nat.mapping, nat.port_allocation) {
            (Dependence::AddressAndPortDependent, PortAllocation::PreserveOverloading)
            | (Dependence::EndpointIndependent, PortAllocation::Preserve) => "masquerade",
            (Dependence::AddressAndPortDependent, PortAllocation::Random) => "masquerade fully-random",
            (Dependence::AddressDependent, _) => return refuse("mapping", "Linux has no mapping for each address"),
            (Dependence::AddressAndPortDependent, _) => {
                return refuse("port-allocation", "only \"preserve-overloading\" and \"random\" are possible here");
            }
            (Dependence::EndpointIndependent, _) => {
                return refuse("port-allocation", "only \"preserve\" is possible with an endpoint-independent mapping");
            }
        };
        let translated = match nat.mapping {
            Dependence::EndpointIndependent => {
                if nat.unsolicited == Unsolicited::Accept {
                    return refuse("unsolicited", "\"accept\" is possible only with overloaded ports");
                }
                endpoint_independent(nat, external)
            }
            _ => {
                if nat.filtering != Dependence::AddressAndPortDependent {
                    return refuse("filtering", "a mapping for each destination lets only that destination in");
                }
                if nat.hairpinning != Hairpinning::Off {
                    return refuse("hairpinning", "only an endpoint-independent mapping can be hairpinned");
                }
                String::new()
            }
        };
        let mut text = format!(
            "table ip glare {{\n{translated}\
             chain source {{ type nat hook postrouting priority srcnat; oifname \"{OUTSIDE}\" {masquerade}; }}\n"
        );
        text.push_str(&firewall(nat));
        text.push_str("}\n");
        Ok(Self { text, parameters: parameters(nat) })
    }
}

/// The tables and the destination NAT of endpoint-independent mappings. Ports are preserved, so an external port is the
/// internal one.
fn endpoint_independent(nat: &NatBehavior, external: Ipv4Addr) -> String {
    let lifetime = nat.udp_lifetime.as_millis();
    let mut text =
        format!("map owner {{ typeof udp sport : ip saddr; flags dynamic,timeout; timeout {lifetime}ms; }}\n");
    // What was sent to whom, as seen when it is sent and when something comes back. In a packet from the inside to an
    // external endpoint, the source has not been translated yet when the filter is asked: it will be `external`.
    let (sent, came, hairpinned) = match nat.filtering {
        Dependence::EndpointIndependent => ("", "", ""),
        Dependence::AddressDependent => {
            ("ip daddr . udp sport", "ip saddr . udp dport @asked ", "ip daddr . udp dport @asked ")
        }
        Dependence::AddressAndPortDependent => (
            "ip daddr . udp sport . udp dport",
            "ip saddr . udp dport . udp sport @asked ",
            "ip daddr . udp dport . udp sport @asked ",
        ),
    };
    let mut asking = String::new();
    if !sent.is_empty() {
        let _ = writeln!(text, "set asked {{ typeof {sent}; flags dynamic,timeout; timeout {lifetime}ms; }}");
        asking = format!("iifname \"{INSIDE}\" meta l4proto udp update @asked {{ {sent} }}; ");
    }
    // Every packet passes here before it is translated; those of known flows do not pass the chain of type `nat`.
    let _ = writeln!(
        text,
        "chain remember {{ type filter hook prerouting priority mangle; iifname \"{INSIDE}\" meta l4proto udp \
         update @owner {{ udp sport : ip saddr }}; {asking}}}"
    );
    let _ = write!(
        text,
        "chain destination {{ type nat hook prerouting priority dstnat; \
         iifname \"{OUTSIDE}\" ip daddr {external} {came}dnat to udp dport map @owner; "
    );
    if nat.hairpinning != Hairpinning::Off {
        let _ = write!(text, "iifname \"{INSIDE}\" ip daddr {external} {hairpinned}dnat to udp dport map @owner; ");
    }
    text.push_str("}\n");
    let source = match nat.hairpinning {
        Hairpinning::Off | Hairpinning::InternalSource => return text,
        Hairpinning::ExternalSource => format!("snat to {external}"),
        Hairpinning::RouterSource => "masquerade".to_owned(),
    };
    // What comes from the outside has a translated destination too, and keeps its source.
    let _ = writeln!(
        text,
        "chain hairpin {{ type nat hook postrouting priority srcnat; iifname \"{INSIDE}\" oifname \"{INSIDE}\" \
         ct status dnat meta l4proto udp {source}; }}"
    );
    text
}

/// What passes the router, and what it says to the rest.
fn firewall(nat: &NatBehavior) -> String {
    let mut blocked = if nat.udp_blocked { "meta l4proto udp drop; " } else { "" }.to_owned();
    for port in &nat.tcp_ports_blocked {
        let _ = write!(blocked, "iifname \"{INSIDE}\" tcp dport {port} drop; ");
    }
    let rejected = "meta l4proto tcp reject with tcp reset; reject; ";
    let (policy, refused) = match nat.unsolicited {
        Unsolicited::Drop => ("drop", ""),
        Unsolicited::Reject => ("drop", rejected),
        Unsolicited::Accept => ("accept", ""),
    };
    format!(
        "chain input {{ type filter hook input priority filter; policy {policy}; \
         ct state established,related accept; {refused}}}\n\
         chain forward {{ type filter hook forward priority filter; policy drop; {blocked}\
         ct state established,related accept; ct status dnat accept; iifname \"{INSIDE}\" accept; }}\n"
    )
}

/// Forwarding, and the lifetimes. Linux counts whole seconds.
fn parameters(nat: &NatBehavior) -> Vec<(&'static str, u64)> {
    let seconds = |time: Duration| time.as_secs().max(1);
    vec![
        ("net/ipv4/ip_forward", 1),
        ("net/netfilter/nf_conntrack_udp_timeout", seconds(nat.udp_lifetime_new)),
        ("net/netfilter/nf_conntrack_udp_timeout_stream", seconds(nat.udp_lifetime)),
        ("net/netfilter/nf_conntrack_tcp_timeout_established", seconds(nat.tcp_lifetime)),
        ("net/netfilter/nf_conntrack_tcp_timeout_syn_sent", seconds(nat.tcp_lifetime_opening)),
        ("net/netfilter/nf_conntrack_tcp_timeout_syn_recv", seconds(nat.tcp_lifetime_opening)),
        ("net/netfilter/nf_conntrack_tcp_timeout_fin_wait", seconds(nat.tcp_lifetime_closing)),
        ("net/netfilter/nf_conntrack_tcp_timeout_time_wait", seconds(nat.tcp_lifetime_closing)),
        ("net/netfilter/nf_conntrack_tcp_timeout_close", seconds(nat.tcp_lifetime_reset)),
        ("net/netfilter/nf_conntrack_tcp_loose", nat.tcp_pick_up.into()),
    ]
}
