//! The live mappings, by internal endpoint, by external endpoint and by end time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use scenarios::{Dependence, FilterState, NatBehavior, PortAllocation};

use super::filter::Filter;
use super::timer::{Lifetimes, Timer};
use super::{FiveTuple, Signal};
use crate::mapping::{Mapping, Protocol, TransportAddress};

/// The index of a mapping in the table, valid while the mapping exists.
pub(super) type Slot = usize;

/// Number of flows to the router at which those that have ended are removed.
const OWN_FLOWS_KEPT: usize = 1024;

#[derive(Debug)]
pub(super) struct Table {
    mapping: Dependence,
    filtering: Dependence,
    filter_state: FilterState,
    lifetimes: [Lifetimes; 2],
    entries: Vec<Option<Entry>>,
    vacant: Vec<Slot>,
    /// Number of mappings that were ever created.
    created: u64,
    /// In the key, the remote is reduced to the part that the mapping behaviour depends on: see [`scope`].
    by_internal: BTreeMap<FiveTuple, Slot>,
    /// In the key, the remote is zero, unless ports are overloaded: then mappings with different remotes may share an
    /// external endpoint.
    by_external: BTreeMap<(Protocol, TransportAddress, TransportAddress), Slot>,
    overloads: bool,
    /// Flows from the outside to the router itself, by external endpoint and remote, and when each ends. As long as
    /// one lives, no mapping can have the same two endpoints.
    own_flows: BTreeMap<(Protocol, TransportAddress, TransportAddress), Duration>,
    /// Each mapping has one entry, with a lower bound of its end time. A refresh does not update it, so the bound may
    /// be too early.
    ends: BTreeSet<(Duration, Slot)>,
    /// With [`FilterState::PerEndpoint`], the internal endpoints that have a mapping.
    endpoints: BTreeMap<(Protocol, TransportAddress), Endpoint>,
}

#[derive(Debug)]
struct Entry {
    mapping: Mapping,
    /// The timer of a UDP mapping. A TCP mapping lives as long as one of its connections.
    timer: Timer,
    /// For UDP, the mapping's own filter with [`FilterState::PerMapping`], otherwise empty. For TCP, its connections.
    filter: Filter,
    /// The mapping's time in [`Table::ends`].
    queued: Duration,
    /// Number of mappings that were created before it.
    number: u64,
}

/// The state that all mappings of an internal endpoint share. It ends with the last of them.
#[derive(Debug, Default)]
struct Endpoint {
    filter: Filter,
    mappings: usize,
}

impl Table {
    pub(super) fn new(behavior: &NatBehavior) -> Self {
        let udp = Lifetimes::Udp {
            // So that an answer never shortens a mapping's lifetime.
            unanswered: behavior.udp_lifetime_new.min(behavior.udp_lifetime),
            answered: behavior.udp_lifetime,
            stream_after: behavior.udp_stream_after,
            inbound_refresh: behavior.udp_inbound_refresh,
        };
        let tcp = Lifetimes::Tcp {
            opening: behavior.tcp_lifetime_opening,
            established: behavior.tcp_lifetime,
            closing: behavior.tcp_lifetime_closing,
            reset: behavior.tcp_lifetime_reset,
        };
        Self {
            mapping: behavior.mapping,
            filtering: behavior.filtering,
            filter_state: behavior.filter_state,
            lifetimes: [udp, tcp],
            entries: Vec::new(),
            vacant: Vec::new(),
            created: 0,
            by_internal: BTreeMap::new(),
            by_external: BTreeMap::new(),
            overloads: behavior.port_allocation == PortAllocation::PreserveOverloading,
            own_flows: BTreeMap::new(),
            ends: BTreeSet::new(),
            endpoints: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_external.len()
    }

    /// By protocol, then external endpoint.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.by_external.values().map(|&slot| &self.entry(slot).mapping)
    }

    pub(super) fn find_internal(&self, packet: FiveTuple) -> Option<Slot> {
        self.by_internal.get(&FiveTuple { remote: scope(self.mapping, packet.remote), ..packet }).copied()
    }

    /// The external port of an internal endpoint's newest mapping on this external address, towards whichever remote.
    pub(super) fn newest(&self, protocol: Protocol, internal: TransportAddress, on: IpAddr) -> Option<u16> {
        let towards = |remote| FiveTuple { protocol, internal, remote };
        let all = self.by_internal.range(towards(ANYBODY)..=towards(LAST)).map(|(_, slot)| self.entry(*slot));
        let here = all.filter(|entry| entry.mapping.external.ip() == on);
        here.max_by_key(|entry| entry.number).map(|entry| entry.mapping.external.port())
    }

    /// The mapping through which a packet from `remote` to an external endpoint comes in, if its filter lets it.
    pub(super) fn find_external(
        &self,
        protocol: Protocol,
        external: TransportAddress,
        remote: TransportAddress,
    ) -> Option<Slot> {
        self.by_external.get(&self.external_key(protocol, external, remote)).copied()
    }

    /// Whether a mapping has this external endpoint, towards whichever remote.
    pub(super) fn uses(&self, protocol: Protocol, external: TransportAddress) -> bool {
        self.first_with(protocol, external).is_some()
    }

    /// A mapping with this external endpoint, towards whichever remote.
    pub(super) fn first_with(&self, protocol: Protocol, external: TransportAddress) -> Option<&Mapping> {
        let (key, slot) = self.by_external.range((protocol, external, ANYBODY)..).next()?;
        ((key.0, key.1) == (protocol, external)).then(|| &self.entry(*slot).mapping)
    }

    /// Whether no new mapping towards `remote` can have this external endpoint, though ports are overloaded.
    pub(super) fn is_taken(
        &self,
        protocol: Protocol,
        external: TransportAddress,
        remote: TransportAddress,
        now: Duration,
    ) -> bool {
        let key = (protocol, external, remote);
        self.by_external.contains_key(&key) || self.own_flows.get(&key).is_some_and(|end| *end > now)
    }

    /// Notes that the router itself accepted a datagram from `remote`, which keeps that flow from any mapping for as
    /// long as an unanswered flow lives.
    pub(super) fn accept_own(&mut self, external: TransportAddress, remote: TransportAddress, now: Duration) {
        if !self.overloads {
            return;
        }
        if self.own_flows.len() >= OWN_FLOWS_KEPT {
            self.own_flows.retain(|_, end| *end > now);
        }
        let lifetimes = &self.lifetimes[Protocol::Udp as usize];
        let end = Timer::new(now, false, Signal::Data, lifetimes).end(lifetimes);
        self.own_flows.insert((Protocol::Udp, external, remote), end);
    }

    pub(super) fn insert(&mut self, mapping: Mapping, now: Duration, signal: Signal) -> Slot {
        let Mapping { protocol, internal, external, remote } = mapping;
        let lifetimes = &self.lifetimes[protocol as usize];
        let timer = Timer::new(now, true, signal, lifetimes);
        let queued = timer.end(lifetimes);
        let entry = Entry { mapping, timer, filter: Filter::default(), queued, number: self.created };
        self.created += 1;
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.entries[slot] = Some(entry);
                slot
            }
            None => {
                self.entries.push(Some(entry));
                self.entries.len() - 1
            }
        };
        self.by_internal.insert(FiveTuple { protocol, internal, remote: scope(self.mapping, remote) }, slot);
        self.by_external.insert(self.external_key(protocol, external, remote), slot);
        self.ends.insert((queued, slot));
        if self.filter_state == FilterState::PerEndpoint {
            self.endpoints.entry((protocol, internal)).or_default().mappings += 1;
        }
        slot
    }

    /// A packet leaves for `remote`: refreshes the mapping, lets `remote` reply, and returns the external endpoint.
    pub(super) fn sent(
        &mut self,
        slot: Slot,
        now: Duration,
        remote: TransportAddress,
        signal: Signal,
    ) -> TransportAddress {
        self.passed(slot, now, true, remote, signal);
        self.entry(slot).mapping.external
    }

    /// A packet arrives from `remote`: returns the internal endpoint, or `None` if the packet is filtered. Only a
    /// packet that passes refreshes the mapping.
    pub(super) fn received(
        &mut self,
        slot: Slot,
        now: Duration,
        remote: TransportAddress,
        signal: Signal,
    ) -> Option<TransportAddress> {
        let filtering = self.filtering;
        if filtering != Dependence::EndpointIndependent {
            let (protocol, lifetimes) = (self.entry(slot).mapping.protocol, self.lifetimes_of(slot));
            let filter = self.filter(slot);
            let may_pass = match protocol {
                Protocol::Udp => filter.has(scope(filtering, remote), now, &lifetimes),
                Protocol::Tcp => filter.has_like(remote, filtering, now, &lifetimes),
            };
            if !may_pass {
                return None;
            }
        }
        self.passed(slot, now, false, remote, signal);
        Some(self.entry(slot).mapping.internal)
    }

    fn passed(&mut self, slot: Slot, now: Duration, outward: bool, remote: TransportAddress, signal: Signal) {
        let (filtering, lifetimes) = (self.filtering, self.lifetimes_of(slot));
        let entry = self.entry_mut(slot);
        match entry.mapping.protocol {
            Protocol::Udp => {
                entry.timer.passed(now, outward, signal, &lifetimes);
                if filtering != Dependence::EndpointIndependent {
                    self.filter(slot).passed(scope(filtering, remote), now, outward, signal, &lifetimes);
                }
            }
            Protocol::Tcp => {
                entry.filter.passed(remote, now, outward, signal, &lifetimes);
                if self.filter_state == FilterState::PerEndpoint {
                    self.filter(slot).passed(remote, now, outward, signal, &lifetimes);
                }
                self.requeue_if_earlier(slot);
            }
        }
    }

    /// The filter that decides about a mapping's packets.
    fn filter(&mut self, slot: Slot) -> &mut Filter {
        match self.filter_state {
            FilterState::PerMapping => &mut self.entry_mut(slot).filter,
            FilterState::PerEndpoint => {
                let Mapping { protocol, internal, .. } = self.entry(slot).mapping;
                &mut self.endpoints.get_mut(&(protocol, internal)).expect("its mapping lives").filter
            }
        }
    }

    /// A FIN or an RST makes a mapping end earlier than before.
    fn requeue_if_earlier(&mut self, slot: Slot) {
        let (end, queued) = (self.end(slot), self.entry(slot).queued);
        if end < queued {
            self.ends.remove(&(queued, slot));
            self.ends.insert((end, slot));
            self.entry_mut(slot).queued = end;
        }
    }

    /// A time before which no mapping ends. Unlike [`next_end`](Self::next_end), it costs nothing and may be too early.
    pub(super) fn no_end_before(&self) -> Option<Duration> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// When the next mapping ends, if nothing more is sent.
    pub(super) fn next_end(&mut self) -> Option<Duration> {
        loop {
            let &(at, slot) = self.ends.first()?;
            let end = self.end(slot);
            if end == at {
                return Some(at);
            }
            self.ends.pop_first();
            self.ends.insert((end, slot));
            self.entry_mut(slot).queued = end;
        }
    }

    /// Removes the mapping that ended first, if one has ended by `now`; returns when it ended.
    pub(super) fn pop_ended(&mut self, now: Duration) -> Option<(Duration, Mapping)> {
        // A time in `ends` is never too late, so for nearly every packet this check is all that is needed.
        if self.ends.first()?.0 > now {
            return None;
        }
        let at = self.next_end().filter(|&end| end <= now)?;
        let (_, slot) = self.ends.pop_first().expect("the next end is the first");
        let mapping = self.entries[slot].take().expect("a mapping that ends is in use").mapping;
        self.vacant.push(slot);
        let Mapping { protocol, internal, external, remote } = mapping;
        self.by_internal.remove(&FiveTuple { protocol, internal, remote: scope(self.mapping, remote) });
        self.by_external.remove(&self.external_key(protocol, external, remote));
        if self.filter_state == FilterState::PerEndpoint {
            let endpoint = self.endpoints.get_mut(&(protocol, internal)).expect("its mapping lived");
            endpoint.mappings -= 1;
            if endpoint.mappings == 0 {
                self.endpoints.remove(&(protocol, internal));
            }
        }
        Some((at, mapping))
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.vacant.clear();
        self.by_internal.clear();
        self.by_external.clear();
        self.own_flows.clear();
        self.ends.clear();
        self.endpoints.clear();
    }

    fn external_key(
        &self,
        protocol: Protocol,
        external: TransportAddress,
        remote: TransportAddress,
    ) -> (Protocol, TransportAddress, TransportAddress) {
        (protocol, external, if self.overloads { remote } else { ANYBODY })
    }

    fn entry(&self, slot: Slot) -> &Entry {
        self.entries[slot].as_ref().expect("a slot in an index is in use")
    }

    fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        self.entries[slot].as_mut().expect("a slot in an index is in use")
    }

    fn lifetimes_of(&self, slot: Slot) -> Lifetimes {
        self.lifetimes[self.entry(slot).mapping.protocol as usize]
    }

    fn end(&self, slot: Slot) -> Duration {
        let entry = self.entry(slot);
        let lifetimes = &self.lifetimes[entry.mapping.protocol as usize];
        let of_connections = match entry.mapping.protocol {
            Protocol::Udp => None,
            Protocol::Tcp => entry.filter.end(lifetimes),
        };
        of_connections.unwrap_or_else(|| entry.timer.end(lifetimes))
    }
}

/// The greatest endpoint of IPv4: only NATs of IPv4 overload ports.
const LAST: TransportAddress = TransportAddress::ipv4(Ipv4Addr::BROADCAST, u16::MAX);
/// Stands for all remotes.
const ANYBODY: TransportAddress = TransportAddress::ipv4(Ipv4Addr::UNSPECIFIED, 0);

/// The part of a remote that a mapping or a filter depends on; the rest is zero.
pub(super) fn scope(dependence: Dependence, remote: TransportAddress) -> TransportAddress {
    match dependence {
        Dependence::EndpointIndependent => ANYBODY,
        Dependence::AddressDependent => TransportAddress::new(remote.ip(), 0),
        Dependence::AddressAndPortDependent => remote,
    }
}
