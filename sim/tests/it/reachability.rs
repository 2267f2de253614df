//! Which peers connect without a relay: exact tables, the rules that they follow, and the same question to the
//! simulated NATs.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use scenarios::Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
use scenarios::FilterState::{PerEndpoint, PerMapping};
use scenarios::{Dependence, FilterState, Hairpinning, NatBehavior, NetworkIndex, Pooling};
use sim::event::Protocol::Udp;
use sim::event::TransportAddress;
use sim::fabric::nat::{FiveTuple, Nat, NatCx, Signal};
use sim::reachability::{CandidateKind, Obstacle, Path, Place, Verdict, can_connect};

use crate::nat::behavior;

const DEPENDENCES: [Dependence; 3] = [EndpointIndependent, AddressDependent, AddressAndPortDependent];
const HOST: Verdict = Verdict::Connects(Path { a: CandidateKind::Host, b: CandidateKind::Host });
const SERVER_REFLEXIVE: Verdict =
    Verdict::Connects(Path { a: CandidateKind::ServerReflexive, b: CandidateKind::ServerReflexive });

/// `s`: connects, both ends are server-reflexive. `p`: connects, one end is peer-reflexive. `~`: checks arrive, but no
/// response fits. `-`: no check arrives. Each row and column is mapping/filtering as in RFC 4787: EI, AD, APD.
#[test]
fn all_81_pairs_with_filters_per_mapping() {
    assert_eq!(
        table(&EVERY, |mapping, filtering| behavior(mapping, filtering, PerMapping)),
        "
        EI/EI    s s s  p p p  p p p
        EI/AD    s s s  p p p  p p p
        EI/APD   s s s  ~ - -  ~ - -
        AD/EI    p p ~  p p ~  p p ~
        AD/AD    p p -  p - -  p - -
        AD/APD   p p -  ~ - -  ~ - -
        APD/EI   p p ~  p p ~  ~ ~ ~
        APD/AD   p p -  p - -  ~ - -
        APD/APD  p p -  ~ - -  ~ - -
        "
    );
}

#[test]
fn all_81_pairs_with_filters_per_endpoint() {
    assert_eq!(
        table(&EVERY, |mapping, filtering| behavior(mapping, filtering, PerEndpoint)),
        "
        EI/EI    s s s  p p p  p p p
        EI/AD    s s s  p p p  p p p
        EI/APD   s s s  ~ ~ ~  ~ ~ ~
        AD/EI    p p ~  p p ~  p p ~
        AD/AD    p p ~  p p ~  p p ~
        AD/APD   p p ~  ~ ~ -  ~ ~ -
        APD/EI   p p ~  p p ~  ~ ~ ~
        APD/AD   p p ~  p p ~  ~ ~ ~
        APD/APD  p p ~  ~ ~ -  ~ ~ -
        "
    );
}

/// `r`: connects through a relay. Whatever the NATs are, a TURN server on one side is enough, and a direct path is better.
#[test]
fn with_turn_exactly_the_pairs_that_do_not_connect_are_relayed() {
    for ((a, a_state), (b, b_state)) in every_pair() {
        let (a, b) = (behind(1, a, a_state), behind(2, b, b_state));
        let direct = can_connect(&a, &b);
        for (one, other) in [
            (a.clone().with_turn(), b.clone().with_turn()),
            (a.clone().with_turn(), b.clone()),
            (a.clone(), b.clone().with_turn()),
        ] {
            match (direct, can_connect(&one, &other)) {
                (Verdict::NeedsRelay(_), Verdict::Connects(path)) => assert!(path.is_relayed(), "{a:?} {b:?}"),
                (Verdict::Connects(_), with) => assert_eq!(with, direct, "{a:?} {b:?}"),
                (_, with) => panic!("{with:?}: {a:?} {b:?}"),
            }
        }
    }
}

#[test]
fn relayed_candidates_only_means_a_relay_even_on_the_internet() {
    let (hidden, open) = (Place::internet().with_turn().relay_only(), Place::internet());
    let path = |a, b| Verdict::Connects(Path { a, b });
    assert_eq!(can_connect(&hidden, &open), path(CandidateKind::Relayed, CandidateKind::Host));
    assert_eq!(can_connect(&hidden, &hidden), path(CandidateKind::Relayed, CandidateKind::Relayed));
    assert_eq!(can_connect(&hidden.without_turn(), &open), Verdict::NeedsRelay(Obstacle::NoCheckArrives));
    let blocked = Place::internet().behind(NetworkIndex(1), NatBehavior { udp_blocked: true, ..symmetric() });
    assert_eq!(can_connect(&blocked.with_turn(), &open), Verdict::NeedsRelay(Obstacle::UdpBlocked));
}

/// The four classes of RFC 3489: full cone, restricted cone, port-restricted cone, symmetric.
#[test]
fn of_the_textbook_classes_only_port_restricted_and_symmetric_fail_with_symmetric() {
    for filter_state in [PerMapping, PerEndpoint] {
        let fails = |a: Class, b: Class| !connects(&behind(1, a, filter_state), &behind(2, b, filter_state));
        let [full, restricted, port_restricted] = DEPENDENCES.map(|filtering| (EndpointIndependent, filtering));
        let symmetric = (AddressAndPortDependent, AddressAndPortDependent);
        let classes = [full, restricted, port_restricted, symmetric];
        let failing: Vec<_> = pairs(&classes).filter(|&(a, b)| fails(a, b)).collect();
        assert_eq!(failing, [(port_restricted, symmetric), (symmetric, port_restricted), (symmetric, symmetric)]);
    }
}

#[test]
fn the_rule_in_the_documentation_gives_every_cell() {
    for ((a, a_state), (b, b_state)) in every_pair() {
        let independent = |(mapping, _): Class| mapping == EndpointIndependent;
        let by_port = |(_, filtering): Class| filtering == AddressAndPortDependent;
        let lets_a_first_check_in =
            |(_, filtering): Class, state| filtering == EndpointIndependent || state == PerEndpoint;
        let rule = match (independent(a), independent(b)) {
            (true, true) => true,
            (true, false) => !by_port(a),
            (false, true) => !by_port(b),
            (false, false) => {
                (a.0 != AddressAndPortDependent || b.0 != AddressAndPortDependent)
                    && !by_port(a)
                    && !by_port(b)
                    && (lets_a_first_check_in(a, a_state) || lets_a_first_check_in(b, b_state))
            }
        };
        assert_eq!(
            connects(&behind(1, a, a_state), &behind(2, b, b_state)),
            rule,
            "{a:?} {a_state:?}, {b:?} {b_state:?}"
        );
    }
}

/// Compares two NAT state machines with a small ICE on top against the sets of symbols.
#[test]
fn the_simulated_nats_agree_in_every_cell() {
    for ((a, a_state), (b, b_state)) in every_pair() {
        let simulated = Simulated::new(behavior(a.0, a.1, a_state), behavior(b.0, b.1, b_state)).connects();
        let worked_out = connects(&behind(1, a, a_state), &behind(2, b, b_state));
        assert_eq!(simulated, worked_out, "{a:?} {a_state:?}, {b:?} {b_state:?}");
    }
}

#[test]
fn in_one_network_hosts_reach_each_other_whatever_the_nat() {
    let network = Place::internet().behind(NetworkIndex(1), NatBehavior { udp_blocked: true, ..symmetric() });
    assert_eq!(can_connect(&network, &network), HOST);
}

#[test]
fn on_the_internet_any_nat_will_do() {
    let path = |b| Verdict::Connects(Path { a: CandidateKind::Host, b });
    let internet = Place::internet();
    assert_eq!(can_connect(&internet, &internet), HOST);
    assert_eq!(
        can_connect(&internet, &internet.clone().behind(NetworkIndex(1), cone())),
        path(CandidateKind::ServerReflexive)
    );
    assert_eq!(
        can_connect(&internet, &internet.clone().behind(NetworkIndex(1), symmetric())),
        path(CandidateKind::PeerReflexive)
    );
}

#[test]
fn blocked_udp_needs_a_relay() {
    let blocked = Place::internet().behind(NetworkIndex(1), NatBehavior { udp_blocked: true, ..cone() });
    assert_eq!(can_connect(&blocked, &Place::internet()), Verdict::NeedsRelay(Obstacle::UdpBlocked));
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-6
//# REQ-9:  A NAT MUST support "Hairpinning".
#[test]
fn two_homes_behind_one_carrier_nat_need_it_to_hairpin() {
    let verdict = |hairpinning, home: NatBehavior| {
        let carrier = Place::internet().behind(NetworkIndex(1), NatBehavior { hairpinning, ..cone() });
        can_connect(&carrier.clone().behind(NetworkIndex(2), home.clone()), &carrier.behind(NetworkIndex(3), home))
    };
    let peer_reflexive = |a, b| Verdict::Connects(Path { a, b });
    assert_eq!(verdict(Hairpinning::Off, cone()), Verdict::NeedsRelay(Obstacle::NoCheckArrives));
    assert_eq!(verdict(Hairpinning::ExternalSource, cone()), SERVER_REFLEXIVE);
    // With the internal source, the peers learn each other's addresses inside the carrier's network, unless the homes'
    // filters require the address to which they sent.
    let open_home = behavior(EndpointIndependent, EndpointIndependent, PerMapping);
    assert_eq!(
        verdict(Hairpinning::InternalSource, open_home.clone()),
        peer_reflexive(CandidateKind::PeerReflexive, CandidateKind::PeerReflexive)
    );
    assert_eq!(verdict(Hairpinning::InternalSource, cone()), Verdict::NeedsRelay(Obstacle::NoCheckArrives));
    // With the router's source, a check comes from the router, where the answer goes; it comes back from where it was sent.
    let Verdict::Connects(path) = verdict(Hairpinning::RouterSource, open_home) else { panic!("they connect") };
    assert!([path.a, path.b].contains(&CandidateKind::PeerReflexive), "{path:?}");
    assert_eq!(verdict(Hairpinning::RouterSource, cone()), Verdict::NeedsRelay(Obstacle::NoCheckArrives));
}

#[test]
fn a_row_of_nats_is_as_bad_as_its_worst() {
    let two = |home, carrier| Place::internet().behind(NetworkIndex(1), carrier).behind(NetworkIndex(2), home);
    let other = Place::internet().behind(NetworkIndex(3), cone());
    assert_eq!(can_connect(&two(cone(), cone()), &other), SERVER_REFLEXIVE);
    assert_eq!(can_connect(&two(symmetric(), cone()), &other), Verdict::NeedsRelay(Obstacle::NoCheckArrives));
    assert_eq!(can_connect(&two(cone(), symmetric()), &other), Verdict::NeedsRelay(Obstacle::NoCheckArrives));
}

#[test]
fn somebody_inside_the_carriers_network_is_a_host_to_those_in_its_homes() {
    let carrier = Place::internet().behind(NetworkIndex(1), cone());
    let home = carrier.clone().behind(NetworkIndex(2), symmetric());
    let path = Path { a: CandidateKind::PeerReflexive, b: CandidateKind::Host };
    assert_eq!(can_connect(&home, &carrier), Verdict::Connects(path));
}

#[test]
fn arbitrary_pooling_leaves_it_to_chance_where_a_filter_looks_at_the_address() {
    let pooled = Place::internet().behind(NetworkIndex(1), NatBehavior { pooling: Pooling::Arbitrary, ..symmetric() });
    let verdict = |filtering| {
        can_connect(
            &pooled,
            &Place::internet().behind(NetworkIndex(2), behavior(EndpointIndependent, filtering, PerMapping)),
        )
    };
    let path = Path { a: CandidateKind::PeerReflexive, b: CandidateKind::ServerReflexive };
    assert_eq!(verdict(EndpointIndependent), Verdict::Connects(path));
    assert_eq!(verdict(AddressDependent), Verdict::Chance(path));
    assert_eq!(verdict(AddressAndPortDependent), Verdict::NeedsRelay(Obstacle::NoCheckArrives));
}

#[test]
fn it_does_not_matter_who_is_asked_first() {
    for ((a, a_state), (b, b_state)) in every_pair() {
        let (a, b) = (behind(1, a, a_state), behind(2, b, b_state));
        let turned = match can_connect(&b, &a) {
            Verdict::Connects(Path { a, b }) => Verdict::Connects(Path { a: b, b: a }),
            verdict => verdict,
        };
        assert_eq!(can_connect(&a, &b), turned);
    }
}

/// A pair of mapping and filtering.
type Class = (Dependence, Dependence);

const EVERY: [Class; 9] = {
    let mut every = [(EndpointIndependent, EndpointIndependent); 9];
    let mut index = 0;
    while index < 9 {
        every[index] = (DEPENDENCES[index / 3], DEPENDENCES[index % 3]);
        index += 1;
    }
    every
};

fn pairs<T: Copy>(of: &[T]) -> impl Iterator<Item = (T, T)> {
    of.iter().flat_map(move |&a| of.iter().map(move |&b| (a, b)))
}

/// Every class with either filter state, against every other: 324 pairs.
fn every_pair() -> impl Iterator<Item = ((Class, FilterState), (Class, FilterState))> {
    let every: Vec<_> =
        [PerMapping, PerEndpoint].into_iter().flat_map(|state| EVERY.map(|class| (class, state))).collect();
    pairs(&every).collect::<Vec<_>>().into_iter()
}

fn cone() -> NatBehavior {
    behavior(EndpointIndependent, AddressAndPortDependent, PerMapping)
}

fn symmetric() -> NatBehavior {
    behavior(AddressAndPortDependent, AddressAndPortDependent, PerMapping)
}

fn behind(network: usize, (mapping, filtering): Class, filter_state: FilterState) -> Place {
    Place::internet().behind(NetworkIndex(network), behavior(mapping, filtering, filter_state))
}

fn connects(a: &Place, b: &Place) -> bool {
    matches!(can_connect(a, b), Verdict::Connects(_))
}

fn table(classes: &[Class], behavior: impl Fn(Dependence, Dependence) -> NatBehavior) -> String {
    let short = |dependence| match dependence {
        EndpointIndependent => "EI",
        AddressDependent => "AD",
        AddressAndPortDependent => "APD",
    };
    let place =
        |network, (mapping, filtering)| Place::internet().behind(NetworkIndex(network), behavior(mapping, filtering));
    let mut text = String::from("\n");
    for &a in classes {
        text += &format!("        {:<7} ", format!("{}/{}", short(a.0), short(a.1)));
        for (index, &b) in classes.iter().enumerate() {
            text += if index % 3 == 0 && index > 0 { "  " } else { " " };
            text += match can_connect(&place(1, a), &place(2, b)) {
                SERVER_REFLEXIVE => "s",
                Verdict::Connects(_) => "p",
                Verdict::Chance(_) => "?",
                Verdict::NeedsRelay(Obstacle::NoAnswerFits) => "~",
                Verdict::NeedsRelay(_) => "-",
            };
        }
        text += "\n";
    }
    text + "        "
}

/// Two agents, each behind its own simulated NAT, with the same private address, as hosts in two homes often have.
struct Simulated {
    nats: [Nat; 2],
    rng: ChaCha8Rng,
}

impl Simulated {
    const STUN_SERVER: TransportAddress = TransportAddress::ipv4(Ipv4Addr::new(192, 0, 2, 1), 3478);
    const BASE: TransportAddress = TransportAddress::ipv4(Ipv4Addr::new(192, 168, 1, 10), 5000);

    fn new(a: NatBehavior, b: NatBehavior) -> Self {
        let nats = [Nat::new(a, &[Ipv4Addr::new(203, 0, 113, 1)]), Nat::new(b, &[Ipv4Addr::new(198, 51, 100, 1)])];
        Self { nats, rng: ChaCha8Rng::seed_from_u64(1) }
    }

    /// The source of a packet from `agent`, as seen outside.
    fn leave(&mut self, agent: usize, to: TransportAddress) -> TransportAddress {
        let packet = FiveTuple { protocol: Udp, internal: Self::BASE, remote: to };
        let sent =
            self.nats[agent].outbound(packet, Signal::Data, &mut NatCx { now: Duration::ZERO, rng: &mut self.rng });
        sent.expect("these NATs let everything out")
    }

    /// Whether a packet reaches `agent`.
    fn arrives(&mut self, agent: usize, to: TransportAddress, source: TransportAddress) -> bool {
        self.nats[agent].owns(to.ip())
            && self.nats[agent].inbound(Duration::ZERO, Udp, to, source, Signal::Data).is_ok()
    }

    fn connects(&mut self) -> bool {
        let gathered = [0, 1].map(|agent| self.leave(agent, Self::STUN_SERVER));
        let mut known = [vec![gathered[1]], vec![gathered[0]]];
        let mut connected = false;
        for _ in 0..6 {
            for (agent, peer) in [(0, 1), (1, 0)] {
                for candidate in known[agent].clone() {
                    let source = self.leave(agent, candidate);
                    if !self.arrives(peer, candidate, source) {
                        continue;
                    }
                    if !known[peer].contains(&source) {
                        known[peer].push(source);
                    }
                    let answer = self.leave(peer, source);
                    connected |= self.arrives(agent, source, answer) && answer == candidate;
                }
            }
        }
        connected
    }
}
