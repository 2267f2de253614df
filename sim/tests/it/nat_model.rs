//! Runs the NAT beside a naive model of RFC 4787, which consists of lists that are searched from end to end. Every
//! result and every change must be the same.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use scenarios::Dependence::{self, AddressAndPortDependent, AddressDependent, EndpointIndependent};
use scenarios::FilterState::{PerEndpoint, PerMapping};
use scenarios::{Hairpinning, NatBehavior, Pooling, PortAllocation};
use sim::event::Protocol::{Tcp, Udp};
use sim::event::{Mapping, Protocol, Refusal};
use sim::fabric::nat::{Change, FiveTuple, Nat, NatCx};

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
                Step::Reboot(new_address) => {
                    nat.reboot(now, new_address);
                    changes = nat.drain_changes().collect();
                    model.reboot(new_address);
                }
                Step::Outbound { protocol, internal, remote, opens } => {
                    let packet = FiveTuple { protocol, internal, remote };
                    let answer = nat.outbound(packet, opens, &mut NatCx { now, rng: &mut rng });
                    changes = nat.drain_changes().collect();
                    prop_assert_eq!(answer, model.outbound(protocol, internal, remote, opens, &changes));
                }
                Step::Inbound { protocol, external, remote } => {
                    let external = model.some_external(external);
                    let answer = nat.inbound(now, protocol, external, remote);
                    changes = nat.drain_changes().collect();
                    prop_assert_eq!(answer, model.inbound(protocol, external, remote));
                }
                Step::Hairpin { protocol, internal, external, opens } => {
                    let external = model.some_external(external);
                    let packet = FiveTuple { protocol, internal, remote: external };
                    let answer = nat.hairpin(packet, opens, &mut NatCx { now, rng: &mut rng });
                    changes = nat.drain_changes().collect();
                    prop_assert_eq!(answer, model.hairpin(protocol, internal, external, opens, &changes));
                }
            }
            prop_assert_eq!(in_order(changes), in_order(std::mem::take(&mut model.happened)));
            let live = model.live.iter().map(|known| known.mapping);
            prop_assert_eq!(in_order(nat.mappings().copied()), in_order(live));
            prop_assert_eq!(nat.next_expiry(), model.live.iter().map(|known| model.end(known.mapping.protocol, known.used)).min());
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Nothing,
    Reboot(Option<Ipv4Addr>),
    Outbound {
        protocol: Protocol,
        internal: SocketAddrV4,
        remote: SocketAddrV4,
        opens: bool,
    },
    /// A packet to an external endpoint that the NAT has used, counted from the newest; 0 is an endpoint that it has
    /// not used.
    Inbound {
        protocol: Protocol,
        external: usize,
        remote: SocketAddrV4,
    },
    Hairpin {
        protocol: Protocol,
        internal: SocketAddrV4,
        external: usize,
        opens: bool,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let protocol = || prop_oneof![5 => Just(Udp), 1 => Just(Tcp)];
    let internal = || select(["10.0.0.2:5000", "10.0.0.2:1023", "10.0.0.3:5000", "10.0.0.3:1023"].map(at).to_vec());
    let remote = || select(["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"].map(at).to_vec());
    prop_oneof![
        1 => Just(Step::Nothing),
        1 => prop::option::weighted(0.2, Just(Ipv4Addr::new(203, 0, 113, 99))).prop_map(Step::Reboot),
        24 => (protocol(), internal(), remote(), prop::bool::weighted(0.8))
            .prop_map(|(protocol, internal, remote, opens)| Step::Outbound { protocol, internal, remote, opens }),
        24 => (protocol(), 0..5usize, remote()).prop_map(|(protocol, external, remote)| Step::Inbound { protocol, external, remote }),
        8 => (protocol(), internal(), 0..5usize, any::<bool>())
            .prop_map(|(protocol, internal, external, opens)| Step::Hairpin { protocol, internal, external, opens }),
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
            PortAllocation::Sequential,
            PortAllocation::Random,
            PortAllocation::Block,
        ]),
        select(vec![Hairpinning::Off, Hairpinning::InternalSource, Hairpinning::ExternalSource]),
        select(vec![Pooling::Paired, Pooling::Arbitrary]),
    );
    let limits = (select(vec![2, 5, 100]), prop::bool::weighted(0.05));
    (dependence(), dependence(), choices, lifetime(), lifetime(), any::<bool>(), lifetime(), limits).prop_map(
        |(mapping, filtering, choices, udp_lifetime_new, udp_lifetime, udp_inbound_refresh, tcp_lifetime, limits)| {
            let (filter_state, port_allocation, hairpinning, pooling) = choices;
            let (max_mappings, udp_blocked) = limits;
            NatBehavior {
                mapping,
                filtering,
                filter_state,
                port_allocation,
                hairpinning,
                pooling,
                udp_lifetime_new,
                udp_lifetime,
                udp_inbound_refresh,
                tcp_lifetime,
                max_mappings,
                udp_blocked,
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
    happened: Vec<Change>,
    /// All external endpoints that were assigned, in order.
    given: Vec<(Protocol, SocketAddrV4)>,
    /// With paired pooling: pairs of an internal and an external address.
    paired: Vec<(Ipv4Addr, Ipv4Addr)>,
}

struct Known {
    mapping: Mapping,
    used: Used,
}

/// A remote to which the inside has sent.
struct Contact {
    protocol: Protocol,
    internal: SocketAddrV4,
    through: SocketAddrV4,
    remote: SocketAddrV4,
    used: Used,
}

#[derive(Clone, Copy)]
struct Used {
    last: Duration,
    answered: bool,
}

impl Model {
    fn new(behavior: NatBehavior, external: Vec<Ipv4Addr>) -> Self {
        let (live, contacts, happened) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            now: Duration::ZERO,
            behavior,
            external,
            live,
            contacts,
            happened,
            given: Vec::new(),
            paired: Vec::new(),
        }
    }

    fn pass(&mut self, pause: Duration) {
        self.now += pause;
        let (live, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.live)
            .into_iter()
            .partition(|known| self.end(known.mapping.protocol, known.used) > self.now);
        self.live = live;
        for Known { mapping, used } in ended {
            self.happened.push(Change::Expired { at: self.end(mapping.protocol, used), mapping });
        }
        let contacts = std::mem::take(&mut self.contacts);
        let lives = |contact: &Contact| self.live.iter().any(|known| self.is_of(contact, &known.mapping));
        self.contacts = contacts
            .into_iter()
            .filter(|contact| self.end(contact.protocol, contact.used) > self.now && lives(contact))
            .collect();
    }

    fn end(&self, protocol: Protocol, used: Used) -> Duration {
        let NatBehavior { udp_lifetime, udp_lifetime_new, tcp_lifetime, .. } = self.behavior;
        used.last
            + match protocol {
                Tcp => tcp_lifetime,
                Udp if used.answered => udp_lifetime,
                Udp => udp_lifetime.min(udp_lifetime_new),
            }
    }

    fn reboot(&mut self, new_address: Option<Ipv4Addr>) {
        self.happened.push(Change::Flushed { mappings: self.live.len() });
        self.live.clear();
        self.contacts.clear();
        self.paired.clear();
        if let Some(address) = new_address {
            self.external = vec![address];
        }
    }

    fn outbound(
        &mut self,
        protocol: Protocol,
        internal: SocketAddrV4,
        remote: SocketAddrV4,
        opens: bool,
        changes: &[Change],
    ) -> Result<SocketAddrV4, Refusal> {
        if protocol == Udp && self.behavior.udp_blocked {
            return Err(Refusal::UdpBlocked);
        }
        let mapping = self.behavior.mapping;
        let reused = self.live.iter_mut().find(|known| {
            let Mapping { protocol: its_protocol, internal: its_internal, remote: its_remote, .. } = known.mapping;
            its_protocol == protocol && its_internal == internal && same(mapping, its_remote, remote)
        });
        let external = if let Some(known) = reused {
            known.used.last = self.now;
            known.mapping.external
        } else if protocol == Tcp && !opens {
            return Err(Refusal::TcpMidStream);
        } else if self.live.len() >= self.behavior.max_mappings {
            return Err(Refusal::TableFull);
        } else {
            let created = changes.iter().find_map(|change| match change {
                Change::Created(mapping) => Some(mapping.external),
                _ => None,
            });
            let external = created.expect("a mapping must be created");
            self.assert_lawful(protocol, internal, external);
            let mapping = Mapping { protocol, internal, external, remote };
            self.happened.push(Change::Created(mapping));
            self.given.push((protocol, external));
            self.live.push(Known { mapping, used: Used { last: self.now, answered: false } });
            external
        };
        let mapping = Mapping { protocol, internal, external, remote };
        match self.contact(mapping) {
            Some(contact) => self.contacts[contact].used.last = self.now,
            None => {
                let used = Used { last: self.now, answered: false };
                self.contacts.push(Contact { protocol, internal, through: external, remote, used });
            }
        }
        Ok(external)
    }

    fn inbound(
        &mut self,
        protocol: Protocol,
        external: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Result<SocketAddrV4, Refusal> {
        if protocol == Udp && self.behavior.udp_blocked {
            return Err(Refusal::UdpBlocked);
        }
        let known =
            self.live.iter().position(|known| (known.mapping.protocol, known.mapping.external) == (protocol, external));
        let known = known.ok_or(Refusal::NoMapping)?;
        let contact = self.contact(Mapping { remote, ..self.live[known].mapping });
        if self.behavior.filtering != EndpointIndependent && contact.is_none() {
            return Err(Refusal::Filtered);
        }
        let contact = contact.map(|contact| &mut self.contacts[contact].used);
        for used in [Some(&mut self.live[known].used), contact].into_iter().flatten() {
            used.answered = true;
            if protocol == Tcp || self.behavior.udp_inbound_refresh {
                used.last = self.now;
            }
        }
        Ok(self.live[known].mapping.internal)
    }

    fn hairpin(
        &mut self,
        protocol: Protocol,
        internal: SocketAddrV4,
        external: SocketAddrV4,
        opens: bool,
        changes: &[Change],
    ) -> Result<(SocketAddrV4, SocketAddrV4), Refusal> {
        if self.behavior.hairpinning == Hairpinning::Off && !(protocol == Udp && self.behavior.udp_blocked) {
            return Err(Refusal::HairpinOff);
        }
        let source = self.outbound(protocol, internal, external, opens, changes)?;
        let destination = self.inbound(protocol, external, source)?;
        Ok((if self.behavior.hairpinning == Hairpinning::ExternalSource { source } else { internal }, destination))
    }

    /// The contact in a mapping's filter that matches its remote.
    fn contact(&self, mapping: Mapping) -> Option<usize> {
        let fits = |contact: &Contact| {
            self.is_of(contact, &mapping) && same(self.behavior.filtering, contact.remote, mapping.remote)
        };
        self.contacts.iter().position(fits)
    }

    fn is_of(&self, contact: &Contact, mapping: &Mapping) -> bool {
        contact.protocol == mapping.protocol
            && match self.behavior.filter_state {
                PerMapping => contact.through == mapping.external,
                PerEndpoint => contact.internal == mapping.internal,
            }
    }

    fn some_external(&self, from_the_last: usize) -> SocketAddrV4 {
        match from_the_last.checked_sub(1) {
            Some(index) if index < self.given.len() => self.given[self.given.len() - 1 - index].1,
            _ => SocketAddrV4::new(self.external[0], 40_000),
        }
    }

    fn assert_lawful(&mut self, protocol: Protocol, internal: SocketAddrV4, external: SocketAddrV4) {
        let (address, port) = (*external.ip(), external.port());
        let taken = |port: u16| {
            let endpoint = (protocol, SocketAddrV4::new(address, port));
            self.live.iter().any(|known| (known.mapping.protocol, known.mapping.external) == endpoint)
        };
        let next_free = |from: u16, first: u16, last: u16| (from..=last).chain(first..from).find(|&port| !taken(port));
        assert!(!taken(port), "port overloading");
        match self.behavior.port_allocation {
            PortAllocation::Preserve if internal.port() < 1024 => {
                assert_eq!(next_free(internal.port(), 1, 1023), Some(port))
            }
            PortAllocation::Preserve => assert_eq!(next_free(internal.port(), 1024, u16::MAX), Some(port)),
            PortAllocation::Sequential => {
                let before = self.given.iter().rfind(|(its, before)| *its == protocol && *before.ip() == address);
                if let Some((_, before)) = before {
                    assert_eq!(next_free(before.port() + 1, 1024, u16::MAX), Some(port));
                }
            }
            PortAllocation::Random => assert!(port >= 1024),
            PortAllocation::Block => {
                let block = |port: u16| (port - 1024) / 64;
                let on_address =
                    || self.live.iter().map(|known| &known.mapping).filter(|live| *live.external.ip() == address);
                let own = |live: &&Mapping| live.internal.ip() == internal.ip();
                let in_block = |live: &&Mapping| block(live.external.port()) == block(port);
                assert!(on_address().filter(in_block).all(|live| own(&live)), "a block is one internal address's");
                assert!(
                    !on_address().any(|live| own(&live)) || on_address().filter(own).any(|live| in_block(&live)),
                    "one block does"
                );
            }
        }
        assert!(self.external.contains(&address));
        if self.behavior.pooling == Pooling::Paired {
            let paired = self.paired.iter().find(|(inside, _)| inside == internal.ip()).map(|(_, outside)| *outside);
            assert!(paired.is_none_or(|outside| outside == address), "paired");
            self.paired.push((*internal.ip(), address));
        }
    }
}

/// Whether a mapping or a filter treats two remotes as the same.
fn same(dependence: Dependence, one: SocketAddrV4, other: SocketAddrV4) -> bool {
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
