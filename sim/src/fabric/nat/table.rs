//! The live mappings, by internal endpoint, by external endpoint and by end time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use scenarios::{Dependence, FilterState, NatBehavior};

use super::FiveTuple;
use super::filter::{Filter, Lifetimes, Timer};
use crate::mapping::{Mapping, Protocol};

/// The index of a mapping in the table, valid while the mapping exists.
pub(super) type Slot = usize;

#[derive(Debug)]
pub(super) struct Table {
    mapping: Dependence,
    filtering: Dependence,
    filter_state: FilterState,
    lifetimes: [Lifetimes; 2],
    entries: Vec<Option<Entry>>,
    vacant: Vec<Slot>,
    /// In the key, the remote is reduced to the part that the mapping behaviour depends on: see [`scope`].
    by_internal: BTreeMap<FiveTuple, Slot>,
    by_external: BTreeMap<(Protocol, SocketAddrV4), Slot>,
    /// Each mapping has one entry, with a lower bound of its end time. A refresh does not update it, so the bound may
    /// be too early.
    ends: BTreeSet<(Duration, Slot)>,
    /// With [`FilterState::PerEndpoint`], the internal endpoints that have a mapping.
    endpoints: BTreeMap<(Protocol, SocketAddrV4), Endpoint>,
}

#[derive(Debug)]
struct Entry {
    mapping: Mapping,
    timer: Timer,
    /// The mapping's own filter with [`FilterState::PerMapping`]; otherwise empty.
    filter: Filter,
}

/// The state that all mappings of an internal endpoint share. It ends with the last of them.
#[derive(Debug, Default)]
struct Endpoint {
    filter: Filter,
    mappings: usize,
}

impl Table {
    pub(super) fn new(behavior: &NatBehavior) -> Self {
        let udp = Lifetimes {
            // So that an answer never shortens a mapping's lifetime.
            unanswered: behavior.udp_lifetime_new.min(behavior.udp_lifetime),
            answered: behavior.udp_lifetime,
            inbound_refresh: behavior.udp_inbound_refresh,
        };
        let tcp =
            Lifetimes { unanswered: behavior.tcp_lifetime, answered: behavior.tcp_lifetime, inbound_refresh: true };
        Self {
            mapping: behavior.mapping,
            filtering: behavior.filtering,
            filter_state: behavior.filter_state,
            lifetimes: [udp, tcp],
            entries: Vec::new(),
            vacant: Vec::new(),
            by_internal: BTreeMap::new(),
            by_external: BTreeMap::new(),
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

    pub(super) fn find_external(&self, protocol: Protocol, external: SocketAddrV4) -> Option<Slot> {
        self.by_external.get(&(protocol, external)).copied()
    }

    pub(super) fn insert(&mut self, mapping: Mapping, now: Duration) -> Slot {
        let Mapping { protocol, internal, external, remote } = mapping;
        let entry = Entry { mapping, timer: Timer::new(now), filter: Filter::default() };
        let end = entry.timer.end(&self.lifetimes[protocol as usize]);
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
        self.by_external.insert((protocol, external), slot);
        self.ends.insert((end, slot));
        if self.filter_state == FilterState::PerEndpoint {
            self.endpoints.entry((protocol, internal)).or_default().mappings += 1;
        }
        slot
    }

    /// A packet leaves for `remote`: refreshes the mapping, lets `remote` reply, and returns the external endpoint.
    pub(super) fn sent(&mut self, slot: Slot, now: Duration, remote: SocketAddrV4) -> SocketAddrV4 {
        let entry = self.entries[slot].as_mut().expect("a slot that was looked up is in use");
        let Mapping { protocol, internal, external, .. } = entry.mapping;
        entry.timer.sent(now);
        if self.filtering != Dependence::EndpointIndependent {
            let filter = match self.filter_state {
                FilterState::PerMapping => &mut entry.filter,
                FilterState::PerEndpoint => {
                    &mut self.endpoints.get_mut(&(protocol, internal)).expect("its mapping lives").filter
                }
            };
            filter.sent(scope(self.filtering, remote), now, &self.lifetimes[protocol as usize]);
        }
        external
    }

    /// A packet arrives from `remote`: returns the internal endpoint, or `None` if the packet is filtered. Only a
    /// packet that passes refreshes the mapping.
    pub(super) fn received(&mut self, slot: Slot, now: Duration, remote: SocketAddrV4) -> Option<SocketAddrV4> {
        let entry = self.entries[slot].as_mut().expect("a slot that was looked up is in use");
        let Mapping { protocol, internal, .. } = entry.mapping;
        let lifetimes = &self.lifetimes[protocol as usize];
        if self.filtering != Dependence::EndpointIndependent {
            let filter = match self.filter_state {
                FilterState::PerMapping => &mut entry.filter,
                FilterState::PerEndpoint => {
                    &mut self.endpoints.get_mut(&(protocol, internal)).expect("its mapping lives").filter
                }
            };
            if !filter.received(scope(self.filtering, remote), now, lifetimes) {
                return None;
            }
        }
        entry.timer.received(now, lifetimes);
        Some(internal)
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
        self.by_external.remove(&(protocol, external));
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
        self.ends.clear();
        self.endpoints.clear();
    }

    fn entry(&self, slot: Slot) -> &Entry {
        self.entries[slot].as_ref().expect("a slot in an index is in use")
    }

    fn end(&self, slot: Slot) -> Duration {
        let entry = self.entry(slot);
        entry.timer.end(&self.lifetimes[entry.mapping.protocol as usize])
    }
}

/// The part of a remote that a mapping or a filter depends on; the rest is zero.
fn scope(dependence: Dependence, remote: SocketAddrV4) -> SocketAddrV4 {
    match dependence {
        Dependence::EndpointIndependent => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        Dependence::AddressDependent => SocketAddrV4::new(*remote.ip(), 0),
        Dependence::AddressAndPortDependent => remote,
    }
}
