//! IPv6: which machines have it, their addresses, and the firewalls of their networks.
//!
//! Addresses of IPv6 cannot be given: they follow from the numbers of networks and machines. All are in 2001:db8::/32
//! (RFC 3849). The decimal digits of a number are written as they are, so that the third actor has `::12`, as it has
//! 192.168.1.12.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::Serialize;
use toml::Spanned;
use toml::de::DeValue;

use crate::draft::{Draft, Net};
use crate::error::Problems;
use crate::file::File;
use crate::link::Link;
use crate::nat::{Dependence, FilterState, Hairpinning, NatBehavior, Pooling, PortAllocation, Unsolicited};
use crate::profile::{NatKeys, differing_keys};
use crate::scenario::{Actor, ActorIndex, Machine, NetworkIndex, ServerSetup};
use crate::table::{Lined, Read, Table, mistyped};
use crate::write::table;

/// The smallest MTU of a link with IPv6, bytes. RFC 8200 §5.
const MTU_MIN: u16 = 1280;
/// The number of the first actor, and of the first network.
const FIRST: usize = 10;

/// The addresses of a machine: at most one of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Its address of IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// Its address of IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

impl Addresses {
    /// All of them; that of IPv4 comes first.
    pub fn all(self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    /// Whether an address is one of them.
    pub fn has(self, address: IpAddr) -> bool {
        self.all().any(|own| own == address)
    }

    /// The one of the same family as `address`.
    pub fn to_reach(self, address: IpAddr) -> Option<IpAddr> {
        self.all().find(|own| own.is_ipv4() == address.is_ipv4())
    }
}

impl From<Ipv4Addr> for Addresses {
    fn from(address: Ipv4Addr) -> Self {
        Self { ipv4: Some(address), ipv6: None }
    }
}

/// The IPv6 of a network. Its hosts have public addresses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ipv6Network {
    /// What its router lets in and out, in the terms of a NAT that translates nothing; `None`: everything.
    pub firewall: Option<NatBehavior>,
}

impl Default for Ipv6Network {
    fn default() -> Self {
        Self { firewall: Some(firewall()) }
    }
}

/// A firewall as in home routers that run Linux: who is sent to may answer, from that address and port. The lifetimes are
/// those of `home-linux`, whose connection tracking it shares.
fn firewall() -> NatBehavior {
    NatBehavior {
        mapping: Dependence::EndpointIndependent,
        filtering: Dependence::AddressAndPortDependent,
        filter_state: FilterState::PerMapping,
        port_allocation: PortAllocation::Preserve,
        hairpinning: Hairpinning::Off,
        pooling: Pooling::Paired,
        udp_lifetime_new: Duration::from_secs(30),
        udp_lifetime: Duration::from_secs(120),
        udp_stream_after: Duration::from_secs(2),
        udp_inbound_refresh: true,
        tcp_lifetime: Duration::from_secs(432_000),
        tcp_lifetime_opening: Duration::from_secs(120),
        tcp_lifetime_closing: Duration::from_secs(120),
        tcp_lifetime_reset: Duration::from_secs(10),
        tcp_pick_up: true,
        unsolicited: Unsolicited::Drop,
        max_mappings: 8192,
        udp_blocked: false,
        tcp_ports_blocked: Vec::new(),
    }
}

/// The keys of a NAT that mean nothing for a firewall, which translates nothing.
const OF_NATS: [&str; 5] = ["mapping", "filter-state", "port-allocation", "hairpinning", "pooling"];

/// The keys of what a router blocks, which its firewall blocks too if nothing else is said: it is one machine with one policy.
const OF_POLICY: [&str; 2] = ["udp-blocked", "tcp-ports-blocked"];

/// The key `ipv6` of a network: whether it has IPv6, or the keys of its firewall.
#[derive(Clone, Debug)]
pub(crate) struct Ipv6Entry {
    network: Option<Ipv6Network>,
    /// Which of [`OF_POLICY`] it gives.
    gives: [bool; 2],
}

impl Ipv6Entry {
    fn new(network: Option<Ipv6Network>) -> Self {
        Self { network, gives: [false; 2] }
    }

    /// Whether it means that there is IPv6.
    pub(crate) fn is_on(&self) -> bool {
        self.network.is_some()
    }

    /// The IPv6 of a network with this NAT.
    pub(crate) fn network(&self, nat: Option<&NatBehavior>) -> Option<Ipv6Network> {
        let mut network = self.network.clone()?;
        if let (Some(firewall), Some(nat)) = (&mut network.firewall, nat) {
            let [udp, tcp] = self.gives;
            let policy = blocking_as(nat, firewall.clone());
            firewall.udp_blocked = if udp { firewall.udp_blocked } else { policy.udp_blocked };
            firewall.tcp_ports_blocked =
                if tcp { firewall.tcp_ports_blocked.clone() } else { policy.tcp_ports_blocked };
        }
        Some(network)
    }
}

/// A firewall that blocks what a NAT blocks.
fn blocking_as(nat: &NatBehavior, firewall: NatBehavior) -> NatBehavior {
    NatBehavior { udp_blocked: nat.udp_blocked, tcp_ports_blocked: nat.tcp_ports_blocked.clone(), ..firewall }
}

impl Read for Ipv6Entry {
    const RIGHT: &'static str = "true, false, or a table such as { filtering = \"endpoint-independent\" }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let DeValue::Table(keys) = value.get_ref() else {
            let DeValue::Boolean(on) = value.get_ref() else { return mistyped(value, name, problems) };
            return Some(Self::new(on.then(Ipv6Network::default)));
        };
        if let Some(off) = keys.get("firewall") {
            let mut table = Table::of::<Self>(value, name, problems)?;
            let is_on = table.required::<bool>("firewall")?;
            table.finish_knowing(|key| Some(format!("`{key}` belongs to a firewall: remove `firewall`")));
            if is_on.value {
                let line = problems.line(&off.span());
                problems.report(line, "`firewall` can only be false: a network has one anyway");
            }
            return Some(Self::new(Some(Ipv6Network { firewall: None })));
        }
        for (key, value) in keys.iter().filter(|(key, _)| OF_NATS.contains(&key.get_ref().as_ref())) {
            let message = format!("`{}` is for NATs, and IPv6 has none: remove it", key.get_ref());
            problems.report(problems.line(&value.span()), message);
        }
        let gives = OF_POLICY.map(|policy| keys.get(policy).is_some());
        let keys = NatKeys::read(value, name, problems)?;
        let mut behavior = firewall();
        keys.apply(&mut behavior);
        Some(Self { network: Some(Ipv6Network { firewall: Some(behavior) }), gives })
    }
}

/// Gives the actors their families, and servers IPv6 if an actor has it. Reports what does not fit together.
pub(crate) fn families(file: &File, nets: &[Net<'_>], mut draft: Draft, problems: &Problems) -> Draft {
    let has_ipv6 = |net: &Net<'_>| net.ipv6.is_some_and(|ipv6| ipv6.value.is_on());
    for net in nets.iter().filter(|net| has_ipv6(net)) {
        let outer = net.behind.and_then(|behind| draft.network_names.get(&behind.value));
        if let (Some(outer), Some(ipv6)) = (outer.map(|outer| &nets[outer.0]), net.ipv6)
            && !has_ipv6(outer)
        {
            let message =
                format!("`ipv6`: `{}` is behind `{}`, which has no IPv6: give it `ipv6 = true`", net.name, outer.name);
            problems.report(ipv6.line, message);
        }
    }
    for Lined { value: entry, .. } in &file.actors {
        let Some(actors) = draft.actor_names.get(&entry.name.value.0).cloned() else { continue };
        for actor in &mut draft.actors[actors] {
            let there = actor.network.map(|network| &nets[network.0]);
            let is_program = actor.program.is_some();
            actor.ipv6 = match &entry.ipv6 {
                Some(ipv6) => ipv6.value.is_on(),
                None => !is_program && there.is_some_and(has_ipv6),
            };
            let line = entry.ipv6.as_ref().map_or(actor.line, |ipv6| ipv6.line);
            let is_table = entry
                .ipv6
                .as_ref()
                .is_some_and(|ipv6| ipv6.value.network.as_ref().is_some_and(|it| *it != Ipv6Network::default()));
            if let Some(wrong) = wrong(
                actor,
                there.map(|net| (net.name.as_str(), has_ipv6(net))),
                is_table && there.is_none_or(|net| net.name != actor.name),
            ) {
                problems.report(line, format!("`{}` {wrong}", actor.name));
                break;
            }
        }
    }
    let has_any = draft.actors.iter().any(|actor| actor.ipv6);
    for (entry, server) in file.ice_servers.iter().zip(&mut draft.ice_servers) {
        server.ipv6 = entry.value.ipv6.unwrap_or(has_any);
    }
    draft
}

/// What is wrong with the families of an actor in a network, of which name and whether it has IPv6 are given.
fn wrong(actor: &Actor, there: Option<(&str, bool)>, gives_firewall: bool) -> Option<String> {
    if gives_firewall {
        return Some("has no firewall of its own: give `ipv6` to its [[network]]".to_owned());
    }
    match (actor.ipv4, actor.ipv6, there) {
        (_, true, Some((network, false))) => {
            Some(format!("has `ipv6`, but its network `{network}` has no IPv6: give it `ipv6 = true`"))
        }
        (false, false, _) => Some("has neither IPv4 nor IPv6: remove `ipv4 = false`, or add `ipv6 = true`".to_owned()),
        (ipv4, ipv6, _) if actor.program.is_some() && (!ipv4 || ipv6) => {
            Some("is a program given by `run`, which has IPv4 only: remove `ipv4` and `ipv6`".to_owned())
        }
        _ => None,
    }
}

/// Reports actors that cannot reach the server, and links that IPv6 does not allow.
pub(crate) fn check(draft: &Draft, nets: &[Net<'_>], server: &ServerSetup, problems: &Problems) {
    let is_alone = |actor: &&Actor| !actor.ipv4 && !server.ipv6;
    if let Some(actor) = draft.actors.iter().find(is_alone) {
        let message = format!(
            "`{}` has only IPv6 and the server only IPv4, so it cannot join: remove `ipv4 = false` here, or `ipv6 = false` of [server]",
            actor.name
        );
        problems.report(actor.line, message);
    }
    let too_small = |link: &Link| link.ways().iter().any(|way| way.mtu.is_some_and(|mtu| mtu < MTU_MIN));
    let actors = draft.actors.iter().filter(|actor| actor.ipv6).map(|actor| (&actor.name, actor.line, actor.link));
    let networks = draft.networks.iter().zip(nets).filter(|(network, _)| network.ipv6.is_some());
    let networks = networks.map(|(network, net)| (&network.name, net.line, network.link));
    for (name, line, link) in actors.chain(networks) {
        if too_small(&link) {
            problems
                .report(line, format!("`{name}` has IPv6, whose links have an `mtu` of at least {MTU_MIN} (RFC 8200)"));
        }
    }
}

/// The value of the key `ipv6` that means this network, beside a NAT.
pub(crate) fn written(network: &Ipv6Network, nat: Option<&NatBehavior>) -> String {
    let by_default = nat.map_or_else(firewall, |nat| blocking_as(nat, firewall()));
    match &network.firewall {
        None => "{ firewall = false }".to_owned(),
        Some(behavior) if *behavior == by_default => "true".to_owned(),
        Some(behavior) => table(&differing_keys(behavior, &by_default)),
    }
}

/// The address of a machine in a network, or on the internet.
pub(crate) fn address(machine: Machine, network: Option<NetworkIndex>) -> Ipv6Addr {
    let prefix = network.map_or([0; 2], |NetworkIndex(index)| digits(FIRST + index));
    let (kind, number) = match machine {
        Machine::Server => (0, 1),
        Machine::IceServer(index) => (1, 2 + index.0),
        Machine::Actor(ActorIndex(index)) => (0, FIRST + index),
    };
    let ([low, high], [site, more]) = (digits(number), prefix);
    Ipv6Addr::new(0x2001, 0xdb8, site, more, 0, kind, high, low)
}

/// A number as two groups of an address, the lower one first, that show its decimal digits.
fn digits(number: usize) -> [u16; 2] {
    let group = |number: usize| u16::from_str_radix(&(number % 10_000).to_string(), 16).expect("four digits");
    [group(number), group(number / 10_000)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::IceServerIndex;

    #[test]
    fn addresses_show_the_numbers_of_machines_and_networks() {
        let at = |machine, network: Option<usize>| address(machine, network.map(NetworkIndex)).to_string();
        let actor = |index| Machine::Actor(ActorIndex(index));
        assert_eq!(at(Machine::Server, None), "2001:db8::1");
        assert_eq!(at(Machine::IceServer(IceServerIndex(0)), None), "2001:db8::1:0:2");
        assert_eq!(at(actor(2), None), "2001:db8::12");
        assert_eq!(at(actor(2), Some(0)), "2001:db8:10::12");
        assert_eq!(at(actor(29_999), Some(12_000)), "2001:db8:2010:1::3:9");
    }
}
