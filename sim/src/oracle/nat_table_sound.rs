//! A second, simpler model of each NAT, which follows the NAT's events: what it may translate, whom it may let in, and
//! when it must forget. Where the events leave a choice, the oracle allows both: they do not tell the direction of a
//! packet, and say nothing of hairpinned ones. RFC 4787, RFC 5382.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use scenarios::{Dependence, FilterState, Hairpinning, NatBehavior, Pooling, PortAllocation};

use crate::event::{Event, Mapping, NatEvent, NodeId, NodeKind, PacketEvent, Protocol, TransportAddress, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

/// How late a check for mappings that have ended may come at the end of a run.
const SLACK: Duration = Duration::from_secs(1);
/// Less than every other address.
const ANYBODY: TransportAddress = TransportAddress::ipv4(Ipv4Addr::UNSPECIFIED, 0);

#[derive(Default)]
pub(crate) struct NatTableSound {
    tables: BTreeMap<NodeId, Table>,
    /// Which endpoints have sent to which: the actors' hosts, and NATs.
    sent: BTreeSet<(Protocol, TransportAddress, TransportAddress)>,
}

/// The mappings of one NAT.
#[derive(Default)]
struct Table {
    /// By protocol, internal endpoint and the part of the remote endpoint that the mapping depends on.
    live: BTreeMap<(Protocol, TransportAddress, TransportAddress), Live>,
    /// The external endpoints in use; with overloaded ports, each together with the remote endpoint.
    taken: BTreeSet<(Protocol, TransportAddress, TransportAddress)>,
    /// The external address of each internal one.
    paired: BTreeMap<IpAddr, IpAddr>,
}

struct Live {
    mapping: Mapping,
    created: Duration,
    used: Duration,
}

impl Oracle for NatTableSound {
    const SLUG: &'static str = "nat-table-sound";
    const PROMISE: &'static str = "A NAT translates, filters and forgets as its profile says.";
    const SEES_PACKETS: bool = true;
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        match &event.what {
            // Whoever is in the internet now may move behind a NAT.
            What::Packet(PacketEvent::Sent(view)) if cx.actor(event.node).is_some() => {
                self.sent.insert((view.protocol, view.src, view.dst));
            }
            What::Nat(nat) => {
                let family = match nat {
                    NatEvent::Created(mapping) | NatEvent::Used(mapping) | NatEvent::Expired(mapping) => {
                        mapping.internal.ip()
                    }
                    NatEvent::Rebooted { .. } => {
                        self.tables.remove(&event.node);
                        return;
                    }
                    NatEvent::Refused { .. } => return,
                };
                let Some(behavior) = behavior(event.node, family, cx) else { return };
                let wrong = match nat {
                    NatEvent::Created(mapping) => self.created(event.node, mapping, behavior, event.at),
                    NatEvent::Used(mapping) => {
                        let wrong = self.used(event.node, mapping, behavior, event.at);
                        // To a NAT further out, this one is a host that sends.
                        self.sent.insert((mapping.protocol, mapping.external, mapping.remote));
                        wrong
                    }
                    NatEvent::Expired(mapping) => self.expired(event.node, mapping, behavior, event.at),
                    NatEvent::Rebooted { .. } | NatEvent::Refused { .. } => None,
                };
                report(event.node, wrong, cx);
            }
            _ => {}
        }
    }

    fn finish(&mut self, cx: &mut OracleCx<'_>) {
        for (node, table) in std::mem::take(&mut self.tables) {
            let now = cx.time();
            let forgotten = table.live.values().find_map(|live| {
                let behavior = behavior(node, live.mapping.internal.ip(), cx)?;
                let longest = lifetimes(behavior, live.mapping.protocol).1;
                let is_late = is_timed(behavior) && now > live.used + longest + SLACK;
                is_late
                    .then(|| format!("still has {}, {}", shown(&live.mapping), idle(now - live.used, "most", longest)))
            });
            report(node, forgotten, cx);
        }
    }
}

impl NatTableSound {
    fn created(&mut self, node: NodeId, new: &Mapping, behavior: &NatBehavior, now: Duration) -> Option<String> {
        let table = self.tables.entry(node).or_default();
        let address = *table.paired.entry(new.internal.ip()).or_insert(new.external.ip());
        let is_moved = behavior.pooling == Pooling::Paired && address != new.external.ip();
        let is_shared = !table.taken.insert(external_key(new, behavior));
        let live = Live { mapping: *new, created: now, used: now };
        let second = table.live.insert(internal_key(new, behavior), live);
        if let Some(first) = second {
            Some(format!("created {}, though it has {}", shown(new), shown(&first.mapping)))
        } else if is_shared {
            Some(format!("created {}, though another mapping has that external endpoint", shown(new)))
        } else if is_moved {
            Some(format!("created {}, though that host's mappings have the address {address}", shown(new)))
        } else if table.live.len() > behavior.max_mappings {
            Some(format!("has {} mappings; it has room for {}", table.live.len(), behavior.max_mappings))
        } else if behavior.udp_blocked && new.protocol == Protocol::Udp {
            Some(format!("created {}, though it blocks UDP", shown(new)))
        } else if behavior.tcp_ports_blocked.contains(&new.remote.port()) && new.protocol == Protocol::Tcp {
            Some(format!("created {}, though it blocks that TCP port", shown(new)))
        } else {
            None
        }
    }

    fn used(&mut self, node: NodeId, used: &Mapping, behavior: &NatBehavior, now: Duration) -> Option<String> {
        let table = self.tables.entry(node).or_default();
        let Some(live) = table.find(used, behavior) else {
            return Some(format!("used {}, which it does not have", shown(used)));
        };
        let (longest, since) = (lifetimes(behavior, used.protocol).1, live.used);
        live.used = now;
        if is_timed(behavior) && now >= since + longest {
            return Some(format!("used {}, {}", shown(used), idle(now - since, "most", longest)));
        }
        // Who sends to a remote may hear from it. So may, with some filters, who has sent to its address.
        let remotes = match behavior.filtering {
            Dependence::EndpointIndependent => return None,
            Dependence::AddressDependent => {
                let port = |port| TransportAddress::new(used.remote.ip(), port);
                port(0)..=port(u16::MAX)
            }
            Dependence::AddressAndPortDependent => used.remote..=used.remote,
        };
        let key = |remote| (used.protocol, used.internal, remote);
        let has_sent = self.sent.range(key(*remotes.start())..=key(*remotes.end())).next().is_some();
        (!has_sent).then(|| format!("let {} in to {}, which has never sent to it", used.remote, used.internal))
    }

    fn expired(&mut self, node: NodeId, gone: &Mapping, behavior: &NatBehavior, now: Duration) -> Option<String> {
        let table = self.tables.entry(node).or_default();
        table.taken.remove(&external_key(gone, behavior));
        let Some(live) = table.live.remove(&internal_key(gone, behavior)) else {
            return Some(format!("forgot {}, which it does not have", shown(gone)));
        };
        let shortest = lifetimes(behavior, gone.protocol).0;
        let refreshes = behavior.udp_inbound_refresh || gone.protocol == Protocol::Tcp;
        let since = if refreshes { live.used } else { live.created };
        (now < since + shortest).then(|| format!("forgot {}, {}", shown(gone), idle(now - since, "least", shortest)))
    }
}

impl Table {
    /// The mapping that a packet used.
    fn find(&mut self, used: &Mapping, behavior: &NatBehavior) -> Option<&mut Live> {
        let Mapping { protocol, internal, external, .. } = *used;
        let key = internal_key(used, behavior);
        let is_there = self.live.get(&key).is_some_and(|live| live.mapping.external == external);
        // A packet from another remote may come in by a mapping that was made for the first.
        let may_differ = behavior.filtering < behavior.mapping || behavior.filter_state == FilterState::PerEndpoint;
        let key = match is_there {
            true => key,
            false if may_differ => {
                let last = TransportAddress::new(Ipv6Addr::from(u128::MAX), u16::MAX);
                let of_endpoint = self.live.range((protocol, internal, ANYBODY)..=(protocol, internal, last));
                *of_endpoint.filter(|(_, live)| live.mapping.external == external).map(|(key, _)| key).next()?
            }
            false => return None,
        };
        self.live.get_mut(&key)
    }
}

/// What a router must do with packets of this address's family: its NAT's behavior, or that of its firewall for IPv6.
fn behavior<'c>(node: NodeId, family: IpAddr, cx: &OracleCx<'c>) -> Option<&'c NatBehavior> {
    let NodeKind::Nat(network) = cx.record.nodes[usize::from(node.0)].kind else { return None };
    let network = &cx.scenario.networks[network];
    match family {
        IpAddr::V4(_) => network.nat.as_ref(),
        IpAddr::V6(_) => network.ipv6.as_ref()?.firewall.as_ref(),
    }
}

fn report(node: NodeId, wrong: Option<String>, cx: &mut OracleCx<'_>) {
    if let Some(wrong) = wrong {
        let message = format!("the NAT of {} {wrong}", cx.name(node));
        cx.violated(&[node], message);
    }
}

/// Whether the oracle knows when a mapping was last used. A hairpinned packet refreshes mappings without an event.
fn is_timed(behavior: &NatBehavior) -> bool {
    behavior.hairpinning == Hairpinning::Off
}

/// The shortest and the longest lifetime of a mapping, in whichever state.
fn lifetimes(behavior: &NatBehavior, protocol: Protocol) -> (Duration, Duration) {
    let all = match protocol {
        Protocol::Udp => vec![behavior.udp_lifetime_new, behavior.udp_lifetime],
        Protocol::Tcp => vec![
            behavior.tcp_lifetime,
            behavior.tcp_lifetime_opening,
            behavior.tcp_lifetime_closing,
            behavior.tcp_lifetime_reset,
        ],
    };
    let (shortest, longest) = (all.iter().min().copied(), all.iter().max().copied());
    (shortest.unwrap_or_default(), longest.unwrap_or_default())
}

fn internal_key(mapping: &Mapping, behavior: &NatBehavior) -> (Protocol, TransportAddress, TransportAddress) {
    let remote = match behavior.mapping {
        Dependence::EndpointIndependent => ANYBODY,
        Dependence::AddressDependent => TransportAddress::new(mapping.remote.ip(), 0),
        Dependence::AddressAndPortDependent => mapping.remote,
    };
    (mapping.protocol, mapping.internal, remote)
}

fn external_key(mapping: &Mapping, behavior: &NatBehavior) -> (Protocol, TransportAddress, TransportAddress) {
    let overloads = behavior.port_allocation == PortAllocation::PreserveOverloading;
    (mapping.protocol, mapping.external, if overloads { mapping.remote } else { ANYBODY })
}

fn shown(mapping: &Mapping) -> String {
    let Mapping { internal, external, remote, .. } = mapping;
    format!("a mapping of {internal} to {external} towards {remote}")
}

fn idle(time: Duration, bound: &str, lifetime: Duration) -> String {
    let (time, lifetime) = (time.as_secs_f64(), lifetime.as_secs_f64());
    format!("which was idle for {time:.3} s; its lifetime is at {bound} {lifetime:.3} s")
}
