//! Runs the NAT beside a naive model of RFC 4787, which consists of lists that are searched from end to end. Every
//! result and every change must be the same.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use scenarios::Dependence::{self, AddressAndPortDependent, AddressDependent, EndpointIndependent};
use scenarios::FilterState::{PerEndpoint, PerMapping};
use scenarios::{Hairpinning, NatBehavior, NatReboot, Pooling, PortAllocation, Unsolicited};
use sim::event::Protocol::{Tcp, Udp};
use sim::event::TransportAddress;
use sim::event::{Mapping, Protocol, Refusal};
use sim::fabric::nat::{Change, FiveTuple, Nat, NatCx, Signal};

use crate::nat::at;

proptest! {
    // This many cases, because some states are rare: a filter that outlives the mapping through which it was opened
    // occurs in one case of several thousand.
    #![proptest_config(ProptestConfig { cases: 12_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_the_models(
        behavior in any_behavior(),
        addresses in 1..3u8,
        steps in prop::collection::vec((any_pause(), any_step()), 1..150),
        seed in any::<u64>(),
    ) {
        let external: Vec<_> = (1..=addresses).map(|last| Ipv4Addr::new(203, 0, 113, last)).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut nat = Nat::new(behavior.clone(), &external);
        let mut model = Model::new(behavior, external);
        for (pause, step) in steps {
            model.pass(pause);
            let now = model.now;
            let changes: Vec<_>;
            match step {
                Step::Nothing => {
                    nat.expire(now);
                    changes = nat.drain_changes().collect();
                }
                Step::Reboot(reboot) => {
                    nat.reboot(now, reboot);
                    changes = nat.drain_changes().collect();
                    model.reboot(reboot);
                }
                Step::Outbound { protocol, internal, remote, signal } => {
                    let packet = FiveTuple { protocol, internal, remote };
                    let answer = nat.outbound(packet, signal, &mut NatCx { now, rng: &mut rng });
                    changes = nat.drain_changes().collect();
                    prop_assert_eq!(answer, model.outbound(protocol, internal, remote, signal, &changes));
                }
                Step::Inbound { protocol, external, remote, signal } => {
                    let external = model.some_external(external);
                    let answer = nat.inbound(now, protocol, external, remote, signal);
                    changes = nat.drain_changes().collect();
                    prop_assert_eq!(answer, model.inbound(protocol, external, remote, signal));
                }
                Step::Hairpin { protocol, internal, external, signal } => {
                    let external = model.some_external(external);
                    let packet = FiveTuple { protocol, internal, remote: external };
                    let answer = nat.hairpin(packet, signal, &mut NatCx { now, rng: &mut rng });
                    changes = nat.drain_changes().collect();
                    prop_assert_eq!(answer, model.hairpin(protocol, internal, external, signal, &changes));
                }
            }
            prop_assert_eq!(in_order(changes), in_order(std::mem::take(&mut model.happened)));
            let live = model.live.iter().map(|known| known.mapping);
            prop_assert_eq!(in_order(nat.mappings().copied()), in_order(live));
            prop_assert_eq!(nat.next_expiry(), model.live.iter().map(|known| model.end_of(known)).min());
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Nothing,
    Reboot(NatReboot),
    Outbound {
        protocol: Protocol,
        internal: TransportAddress,
        remote: TransportAddress,
        signal: Signal,
    },
    /// A packet to an external endpoint that the NAT has used, counted from the newest; 0 is an endpoint that it has
    /// not used.
    Inbound {
        protocol: Protocol,
        external: usize,
        remote: TransportAddress,
        signal: Signal,
    },
    Hairpin {
        protocol: Protocol,
        internal: TransportAddress,
        external: usize,
        signal: Signal,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let packet = || prop_oneof![5 => Just((Udp, Signal::Data)), 2 => (Just(Tcp), any_signal())];
    let internal = || select(["10.0.0.2:5000", "10.0.0.2:1023", "10.0.0.3:5000", "10.0.0.3:1023"].map(at).to_vec());
    let remote = || select(["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"].map(at).to_vec());
    let reboot = (prop::option::weighted(0.2, Just(Ipv4Addr::new(203, 0, 113, 99))), any::<bool>())
        .prop_map(|(new_address, resets_tcp)| NatReboot { resets_tcp, new_address });
    prop_oneof![
        1 => Just(Step::Nothing),
        1 => reboot.prop_map(Step::Reboot),
        24 => (packet(), internal(), remote())
            .prop_map(|((protocol, signal), internal, remote)| Step::Outbound { protocol, internal, remote, signal }),
        24 => (packet(), 0..5usize, remote())
            .prop_map(|((protocol, signal), external, remote)| Step::Inbound { protocol, external, remote, signal }),
        8 => (packet(), internal(), 0..5usize)
            .prop_map(|((protocol, signal), internal, external)| Step::Hairpin { protocol, internal, external, signal }),
    ]
}

fn any_signal() -> impl Strategy<Value = Signal> {
    prop_oneof![
        4 => Just(Signal::Open),
        2 => Just(Signal::Accept),
        4 => Just(Signal::Data),
        1 => Just(Signal::Close),
        1 => Just(Signal::Reset),
    ]
}

/// Chosen so that a pause often ends exactly with a lifetime.
fn any_pause() -> impl Strategy<Value = Duration> {
    prop_oneof![6 => Just(0), 4 => Just(1), 2 => select(vec![4, 5, 9, 10]), 1 => Just(20)].prop_map(Duration::from_secs)
}

fn any_behavior() -> impl Strategy<Value = NatBehavior> {
    let dependence = || select(vec![EndpointIndependent, AddressDependent, AddressAndPortDependent]);
    let lifetime = || select(vec![5, 10, 20]).prop_map(Duration::from_secs);
    let choices = (
        select(vec![PerMapping, PerEndpoint]),
        select(vec![
            PortAllocation::Preserve,
            PortAllocation::PreserveOverloading,
            PortAllocation::Sequential,
            PortAllocation::Random,
            PortAllocation::Block,
        ]),
        select(vec![Hairpinning::Off, Hairpinning::InternalSource, Hairpinning::ExternalSource]),
        select(vec![Pooling::Paired, Pooling::Arbitrary]),
        select(vec![Unsolicited::Drop, Unsolicited::Reject, Unsolicited::Accept]),
        any::<bool>(),
    );
    let udp = (lifetime(), lifetime(), select(vec![0, 2, 5]).prop_map(Duration::from_secs), any::<bool>());
    let tcp = (lifetime(), lifetime(), lifetime(), lifetime());
    let limits =
        (select(vec![2, 5, 100]), prop::bool::weighted(0.05), select(vec![vec![], vec![], vec![2], vec![1, 3478]]));
    (dependence(), dependence(), choices, udp, tcp, limits).prop_map(
        |(mapping, filtering, choices, udp, tcp, limits)| {
            let (filter_state, port_allocation, hairpinning, pooling, unsolicited, tcp_pick_up) = choices;
            let (udp_lifetime_new, udp_lifetime, udp_stream_after, udp_inbound_refresh) = udp;
            let (tcp_lifetime, tcp_lifetime_opening, tcp_lifetime_closing, tcp_lifetime_reset) = tcp;
            let (max_mappings, udp_blocked, tcp_ports_blocked) = limits;
            let overloads = port_allocation == PortAllocation::PreserveOverloading;
            NatBehavior {
                mapping: if overloads { AddressAndPortDependent } else { mapping },
                filtering: if overloads { AddressAndPortDependent } else { filtering },
                filter_state,
                port_allocation,
                hairpinning,
                pooling,
                udp_lifetime_new,
                udp_lifetime,
                udp_stream_after,
                udp_inbound_refresh,
                tcp_lifetime,
                tcp_lifetime_opening,
                tcp_lifetime_closing,
                tcp_lifetime_reset,
                tcp_pick_up,
                unsolicited,
                max_mappings,
                udp_blocked,
                tcp_ports_blocked,
            }
        },
    )
}

/// The state of a NAT as the sentences of RFC 4787 define it. The model does not choose ports: it takes over the NAT's
/// choice if that is allowed.
struct Model {
    now: Duration,
    behavior: NatBehavior,
    external: Vec<Ipv4Addr>,
    live: Vec<Known>,
    contacts: Vec<Contact>,
    /// The TCP connections of each mapping.
    connections: Vec<Contact>,
    /// What the router took for its own: external endpoint, remote, end.
    own: Vec<(TransportAddress, TransportAddress, Duration)>,
    picks_up: bool,
    happened: Vec<Change>,
    /// All external endpoints that were assigned, in order.
    given: Vec<(Protocol, TransportAddress)>,
    /// With paired pooling: pairs of an internal and an external address.
    paired: Vec<(IpAddr, IpAddr)>,
}

struct Known {
    mapping: Mapping,
    used: Used,
}

/// A remote to which the inside has sent, or the other end of a TCP connection.
struct Contact {
    protocol: Protocol,
    internal: TransportAddress,
    through: TransportAddress,
    remote: TransportAddress,
    used: Used,
}

/// The packets that have passed.
#[derive(Clone, Copy)]
struct Used {
    first: Duration,
    last: Duration,
    /// UDP: whether the outside has sent, and whether it counts as a stream.
    answered: bool,
    stream: bool,
    /// TCP: whether each side has sent, and what else was seen.
    sides: [bool; 2],
    established: bool,
    closing: bool,
    reset: bool,
}

impl Used {
    /// The state after the first packet.
    fn new(now: Duration, protocol: Protocol, outward: bool, signal: Signal, behavior: &NatBehavior) -> Self {
        let established = protocol == Tcp && outward && signal == Signal::Data;
        let (first, last, sides) = (now, now, [false; 2]);
        let mut used =
            Self { first, last, answered: false, stream: false, sides, established, closing: false, reset: false };
        used.pass(now, protocol, outward, signal, behavior);
        used
    }

    fn pass(&mut self, now: Duration, protocol: Protocol, outward: bool, signal: Signal, behavior: &NatBehavior) {
        if protocol == Udp {
            let is_old = now > self.first + behavior.udp_stream_after;
            self.stream |= self.answered && is_old || !outward && behavior.udp_stream_after.is_zero();
            self.answered |= !outward;
            if outward || behavior.udp_inbound_refresh {
                self.last = now;
            }
            return;
        }
        self.last = now;
        if signal == Signal::Open && outward && (self.closing || self.reset) {
            (self.established, self.closing, self.reset, self.sides) = (false, false, false, [false; 2]);
        }
        self.established |= signal == Signal::Data && self.sides == [true; 2];
        self.sides[usize::from(outward)] = true;
        self.closing |= signal == Signal::Close;
        self.reset |= signal == Signal::Reset;
    }

    fn end(&self, protocol: Protocol, behavior: &NatBehavior) -> Duration {
        self.last
            + match protocol {
                Udp if self.stream => behavior.udp_lifetime,
                Udp => behavior.udp_lifetime.min(behavior.udp_lifetime_new),
                Tcp if self.reset => behavior.tcp_lifetime_reset,
                Tcp if self.closing => behavior.tcp_lifetime_closing,
                Tcp if self.established => behavior.tcp_lifetime,
                Tcp => behavior.tcp_lifetime_opening,
            }
    }
}

impl Model {
    fn new(behavior: NatBehavior, external: Vec<Ipv4Addr>) -> Self {
        let (live, contacts, happened) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            now: Duration::ZERO,
            picks_up: behavior.tcp_pick_up,
            behavior,
            external,
            live,
            contacts,
            connections: Vec::new(),
            own: Vec::new(),
            happened,
            given: Vec::new(),
            paired: Vec::new(),
        }
    }

    fn pass(&mut self, pause: Duration) {
        self.now += pause;
        let (live, ended): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.live).into_iter().partition(|known| self.end_of(known) > self.now);
        self.live = live;
        for known in ended {
            self.happened.push(Change::Expired { at: self.end_of(&known), mapping: known.mapping });
        }
        let contacts = std::mem::take(&mut self.contacts);
        let is_alive = |contact: &Contact| contact.used.end(contact.protocol, &self.behavior) > self.now;
        let lives = |contact: &Contact| self.live.iter().any(|known| self.is_of(contact, &known.mapping));
        self.contacts = contacts.into_iter().filter(|contact| is_alive(contact) && lives(contact)).collect();
        let connections = std::mem::take(&mut self.connections);
        let has_mapping = |connection: &Contact| {
            self.live.iter().any(|known| is_connection_of(connection, &known.mapping, self.overloads()))
        };
        self.connections = connections.into_iter().filter(has_mapping).collect();
    }

    /// When a mapping ends: a TCP mapping with the last of its connections.
    fn end_of(&self, known: &Known) -> Duration {
        let of_connections =
            self.connections.iter().filter(|one| is_connection_of(one, &known.mapping, self.overloads()));
        let end = of_connections.map(|one| one.used.end(Tcp, &self.behavior)).max();
        end.unwrap_or_else(|| known.used.end(known.mapping.protocol, &self.behavior))
    }

    fn reboot(&mut self, reboot: NatReboot) {
        self.happened.push(Change::Flushed { mappings: self.live.len() });
        self.picks_up = self.behavior.tcp_pick_up && !reboot.resets_tcp;
        self.live.clear();
        self.contacts.clear();
        self.connections.clear();
        self.own.clear();
        self.paired.clear();
        if let Some(address) = reboot.new_address {
            self.external = vec![address];
        }
    }

    fn outbound(
        &mut self,
        protocol: Protocol,
        internal: TransportAddress,
        remote: TransportAddress,
        signal: Signal,
        changes: &[Change],
    ) -> Result<TransportAddress, Refusal> {
        if protocol == Udp && self.behavior.udp_blocked {
            return Err(Refusal::UdpBlocked);
        }
        if protocol == Tcp && self.behavior.tcp_ports_blocked.contains(&remote.port()) {
            return Err(Refusal::TcpPortBlocked);
        }
        let dependence = self.behavior.mapping;
        let reused = self.live.iter().position(|known| {
            let Mapping { protocol: its_protocol, internal: its_internal, remote: its_remote, .. } = known.mapping;
            its_protocol == protocol && its_internal == internal && same(dependence, its_remote, remote)
        });
        let external = if let Some(known) = reused {
            self.live[known].used.pass(self.now, protocol, true, signal, &self.behavior);
            self.live[known].mapping.external
        } else if protocol == Tcp && signal != Signal::Open && !(signal == Signal::Data && self.picks_up) {
            return Err(Refusal::TcpMidStream);
        } else if self.live.len() >= self.behavior.max_mappings {
            return Err(Refusal::TableFull);
        } else {
            let created = changes.iter().find_map(|change| match change {
                Change::Created(mapping) => Some(mapping.external),
                _ => None,
            });
            let external = created.expect("a mapping must be created");
            self.assert_lawful(protocol, internal, external, remote);
            let mapping = Mapping { protocol, internal, external, remote };
            self.happened.push(Change::Created(mapping));
            self.given.push((protocol, external));
            let used = Used::new(self.now, protocol, true, signal, &self.behavior);
            self.live.push(Known { mapping, used });
            external
        };
        self.note(Mapping { protocol, internal, external, remote }, true, signal);
        Ok(external)
    }

    fn inbound(
        &mut self,
        protocol: Protocol,
        external: TransportAddress,
        remote: TransportAddress,
        signal: Signal,
    ) -> Result<TransportAddress, Refusal> {
        if protocol == Udp && self.behavior.udp_blocked {
            return Err(Refusal::UdpBlocked);
        }
        let has = |known: &Known| (known.mapping.protocol, known.mapping.external) == (protocol, external);
        let fits = |known: &Known| has(known) && (!self.overloads() || known.mapping.remote == remote);
        let Some(known) = self.live.iter().position(fits) else {
            let why = if self.live.iter().any(has) { Refusal::Filtered } else { Refusal::NoMapping };
            if protocol == Udp && self.behavior.unsolicited == Unsolicited::Accept {
                let NatBehavior { udp_lifetime, udp_lifetime_new, .. } = self.behavior;
                self.own.push((external, remote, self.now + udp_lifetime.min(udp_lifetime_new)));
            }
            return Err(why);
        };
        let mapping = Mapping { remote, ..self.live[known].mapping };
        let filtering = self.behavior.filtering;
        let may_pass = |contact: &Contact| {
            self.is_of(contact, &mapping)
                && same(filtering, contact.remote, remote)
                && contact.used.end(protocol, &self.behavior) > self.now
        };
        if filtering != EndpointIndependent && !self.contacts.iter().any(may_pass) {
            return Err(Refusal::Filtered);
        }
        self.live[known].used.pass(self.now, protocol, false, signal, &self.behavior);
        self.note(mapping, false, signal);
        Ok(mapping.internal)
    }

    /// Notes a packet that passes through a mapping, in the filter and in the TCP connection.
    fn note(&mut self, mapping: Mapping, outward: bool, signal: Signal) {
        let Mapping { protocol, internal, external: through, remote } = mapping;
        let (now, behavior) = (self.now, self.behavior.clone());
        let fresh = || {
            let used = Used::new(now, protocol, outward, signal, &behavior);
            Contact { protocol, internal, through, remote, used }
        };
        let is_same = |one: TransportAddress| match protocol {
            Udp => same(behavior.filtering, one, remote),
            Tcp => one == remote,
        };
        let contact = self.contacts.iter().position(|one| self.is_of(one, &mapping) && is_same(one.remote));
        match contact {
            Some(at) if self.contacts[at].used.end(protocol, &behavior) > now => {
                self.contacts[at].used.pass(now, protocol, outward, signal, &behavior);
            }
            Some(at) => self.contacts[at] = fresh(),
            None => self.contacts.push(fresh()),
        }
        if protocol == Tcp {
            let is_its = |one: &Contact| is_connection_of(one, &mapping, self.overloads()) && one.remote == remote;
            match self.connections.iter().position(is_its) {
                Some(at) if self.connections[at].used.end(Tcp, &behavior) > now => {
                    self.connections[at].used.pass(now, Tcp, outward, signal, &behavior);
                }
                Some(at) => self.connections[at] = fresh(),
                None => self.connections.push(fresh()),
            }
        }
    }

    fn hairpin(
        &mut self,
        protocol: Protocol,
        internal: TransportAddress,
        external: TransportAddress,
        signal: Signal,
        changes: &[Change],
    ) -> Result<(TransportAddress, TransportAddress), Refusal> {
        if self.behavior.hairpinning == Hairpinning::Off && !(protocol == Udp && self.behavior.udp_blocked) {
            return Err(Refusal::HairpinOff);
        }
        let source = self.outbound(protocol, internal, external, signal, changes)?;
        let destination = self.inbound(protocol, external, source, signal)?;
        Ok((if self.behavior.hairpinning == Hairpinning::ExternalSource { source } else { internal }, destination))
    }

    fn is_of(&self, contact: &Contact, mapping: &Mapping) -> bool {
        contact.protocol == mapping.protocol
            && match self.behavior.filter_state {
                PerMapping => is_through(contact, mapping, self.overloads()),
                PerEndpoint => contact.internal == mapping.internal,
            }
    }

    fn overloads(&self) -> bool {
        self.behavior.port_allocation == PortAllocation::PreserveOverloading
    }

    fn some_external(&self, from_the_last: usize) -> TransportAddress {
        match from_the_last.checked_sub(1) {
            Some(index) if index < self.given.len() => self.given[self.given.len() - 1 - index].1,
            _ => TransportAddress::new(self.external[0], 40_000),
        }
    }

    fn assert_lawful(
        &mut self,
        protocol: Protocol,
        internal: TransportAddress,
        external: TransportAddress,
        remote: TransportAddress,
    ) {
        let (address, port) = (external.ip(), external.port());
        let taken = |port: u16| {
            let endpoint = (protocol, TransportAddress::new(address, port));
            let holds = |known: &Known| (known.mapping.protocol, known.mapping.external) == endpoint;
            let clashes = |known: &Known| !self.overloads() || known.mapping.remote == remote;
            let is_own =
                |own: &(_, _, _)| protocol == Udp && (own.0, own.1) == (endpoint.1, remote) && own.2 > self.now;
            self.live.iter().any(|known| holds(known) && clashes(known))
                || self.overloads() && self.own.iter().any(is_own)
        };
        let next_free = |from: u16, first: u16, last: u16| (from..=last).chain(first..from).find(|&port| !taken(port));
        assert!(!taken(port), "port overloading");
        match self.behavior.port_allocation {
            PortAllocation::Preserve if internal.port() < 1024 => {
                assert_eq!(next_free(internal.port(), 1, 1023), Some(port))
            }
            PortAllocation::Preserve => assert_eq!(next_free(internal.port(), 1024, u16::MAX), Some(port)),
            PortAllocation::PreserveOverloading => {
                let is_its = |known: &&Known| {
                    let Mapping { protocol: its, internal: from, external, .. } = known.mapping;
                    (its, from, external.ip()) == (protocol, internal, address)
                };
                let newest = self.live.iter().rfind(is_its).map(|known| known.mapping.external.port());
                match newest.into_iter().chain([internal.port()]).find(|kept| !taken(*kept)) {
                    Some(kept) => assert_eq!(port, kept, "kept unless it is taken"),
                    None => assert!(port != internal.port()),
                }
                assert_eq!(port < 1024, internal.port() < 1024, "in the same range");
            }
            PortAllocation::Sequential => {
                let before = self.given.iter().rfind(|(its, before)| *its == protocol && before.ip() == address);
                if let Some((_, before)) = before {
                    assert_eq!(next_free(before.port() + 1, 1024, u16::MAX), Some(port));
                }
            }
            PortAllocation::Random => assert!(port >= 1024),
            PortAllocation::Block => {
                let block = |port: u16| (port - 1024) / 64;
                let on_address =
                    || self.live.iter().map(|known| &known.mapping).filter(|live| live.external.ip() == address);
                let own = |live: &&Mapping| live.internal.ip() == internal.ip();
                let in_block = |live: &&Mapping| block(live.external.port()) == block(port);
                assert!(on_address().filter(in_block).all(|live| own(&live)), "a block is one internal address's");
                assert!(
                    !on_address().any(|live| own(&live)) || on_address().filter(own).any(|live| in_block(&live)),
                    "one block does"
                );
            }
        }
        assert!(self.external.iter().any(|external| address == *external));
        if self.behavior.pooling == Pooling::Paired {
            let paired = self.paired.iter().find(|(inside, _)| *inside == internal.ip()).map(|(_, outside)| *outside);
            assert!(paired.is_none_or(|outside| outside == address), "paired");
            self.paired.push((internal.ip(), address));
        }
    }
}

/// Whether a contact was made through this mapping. Mappings with overloaded ports share an external endpoint, even
/// those of two internal endpoints.
fn is_through(contact: &Contact, mapping: &Mapping, overloads: bool) -> bool {
    contact.through == mapping.external
        && (!overloads || (contact.internal, contact.remote) == (mapping.internal, mapping.remote))
}

/// Whether a TCP connection belongs to a mapping.
fn is_connection_of(connection: &Contact, mapping: &Mapping, overloads: bool) -> bool {
    mapping.protocol == Tcp && connection.internal == mapping.internal && is_through(connection, mapping, overloads)
}

/// Whether a mapping or a filter treats two remotes as the same.
fn same(dependence: Dependence, one: TransportAddress, other: TransportAddress) -> bool {
    match dependence {
        EndpointIndependent => true,
        AddressDependent => one.ip() == other.ip(),
        AddressAndPortDependent => one == other,
    }
}

fn in_order<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items = Vec::from_iter(items);
    items.sort();
    items
}
