//! Whether two ICE agents can connect without a relay, worked out from the NATs alone.
//!
//! It is the second opinion on the simulated NATs and shares no code with them. There is no time and there are no ports: a mapping is a
//! symbol for whatever tells it from others, a filter is the set of what was sent. Both agents (RFC 8445) gather their host and
//! server-reflexive candidates, tell each other and check, until no check teaches anybody anything. Sets only grow, so the order in
//! which packets go does not matter. **The verdict holds if no packet is lost for good, no mapping expires before ICE is done, and no NAT
//! is full.**
//!
//! What decides (RFC 8445 §7):
//! - A check goes from an agent's one base to a candidate of the other. Its source, where unknown, becomes a peer-reflexive candidate,
//!   which is checked in turn.
//! - The answer goes from the base that was reached to the source it saw.
//! - *A check succeeds only if its answer comes from the very address the check went to.* An answer that leaves through an
//!   endpoint-dependent mapping often comes from another.
//! - A private address means something in its own network only. Elsewhere it reaches nobody, or a stranger, which is the same.
//!
//! # What comes of it, one agent behind each of two NATs
//! A pair works if each side's mapping towards the other is the one the other sends to, and the filters let both through.
//! - *Two endpoint-independent mappings* always connect. Each knows where to send from the start, and sending opens its own filter.
//! - *One of them endpoint-dependent*: they connect unless the endpoint-independent side filters by port. It opened its filter for the
//!   port the STUN server saw, and the checks come from another port of the same address. What the dependent side filters is no matter:
//!   its check reaches the other first, so the answer is let in.
//! - *Both endpoint-dependent*: neither knows where to send at first. They connect if all of this holds:
//!   1. Not both mappings depend on the port. Else each mapping moves whenever the other's does and answers never come from where the
//!      check went, even where nothing at all is filtered.
//!   2. Neither filters by port. The mapping towards the other is one it cannot have sent to.
//!   3. Some first check gets in, to the mapping the STUN server saw, the only one known: one side filters nothing, or has its filter
//!      per endpoint. A filter per mapping, even a mild one, lets in only the STUN server there. After that first check the other side
//!      sends to the right mapping, and its filter, which looks at the address, fits.
//!
//! The tables of all 81 pairs of behaviours are in `tests/it/reachability.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use scenarios::{ActorIndex, Dependence, FilterState, Hairpinning, NatBehavior, NetworkIndex, Pooling, Scenario};

/// Candidates of the other an agent knows at most.
///
/// Two NATs that map per address and port and filter nothing would breed peer-reflexive ones for ever: each check comes from a new
/// mapping, which is a new candidate to check. It leads nowhere, and real agents end it by the limit on their checklist (RFC 8445
/// §6.1.2.5).
const REMOTES_MAX: usize = 16;

/// Where an agent is: the NATs between the internet and its host.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// From the internet inwards, each with the name of the network behind it.
    nats: Vec<(NetworkIndex, NatBehavior)>,
}

impl Place {
    /// On the internet, behind no NAT.
    pub fn internet() -> Self {
        Self::default()
    }

    /// Behind one more NAT: in the network `network`, which that NAT leads into.
    ///
    /// Two places with the same network are in the same network, and must have the same NATs up to it. Arbitrary pooling is taken to have
    /// addresses to choose from: a NAT with one external address is paired, whatever it is called.
    pub fn behind(mut self, network: NetworkIndex, nat: NatBehavior) -> Self {
        self.nats.push((network, nat));
        self
    }

    /// Where a scenario puts an actor. A router that translates nothing makes its network a part of the one outside.
    pub fn of(scenario: &Scenario, actor: ActorIndex) -> Self {
        let mut nats = Vec::new();
        let mut at = scenario.actors[actor].network;
        while let Some(index) = at {
            let network = &scenario.networks[index];
            if let Some(nat) = &network.nat {
                let pooling = if network.external.len() == 1 { Pooling::Paired } else { nat.pooling };
                nats.push((index, NatBehavior { pooling, ..nat.clone() }));
            }
            at = network.behind;
        }
        nats.reverse();
        Self { nats }
    }

    fn network(&self) -> Realm {
        self.nats.last().map(|(network, _)| *network)
    }

    fn blocks_udp(&self) -> bool {
        self.nats.iter().any(|(_, nat)| nat.udp_blocked)
    }
}

/// What kind of candidate one end of a working path is, from the least preferred up. RFC 8445 §5.1.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateKind {
    /// What the STUN server saw.
    ServerReflexive,
    /// What only the other agent sees.
    PeerReflexive,
    /// The host's own address.
    Host,
}

/// The best working pair: as what kind of address each agent is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The first agent's end.
    pub a: CandidateKind,
    /// The second agent's end.
    pub b: CandidateKind,
}

/// Why two agents need a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A NAT passes no UDP.
    UdpBlocked,
    /// Every check is stopped on the way, by a filter or a missing hairpin.
    NoCheckArrives,
    /// Checks arrive, but each answer is stopped or comes from another address than the check went to.
    NoAnswerFits,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UdpBlocked => "a NAT passes no UDP",
            Self::NoCheckArrives => "no connectivity check gets through",
            Self::NoAnswerFits => "checks get through, but no answer comes back from the address that was checked",
        })
    }
}

/// Whether two agents connect without a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They do, at best this way.
    Connects(Path),
    /// They do if arbitrary pooling happens to give the right mappings the same address, at best this way.
    Chance(Path),
    /// They do not.
    NeedsRelay(Obstacle),
}

/// Whether agents at two places connect without a relay, with a STUN server on the internet.
pub fn can_connect(a: &Place, b: &Place) -> Verdict {
    // The two extremes of arbitrary pooling: a new mapping's address is never, or always, one seen before.
    match (Exchange::new([a, b], false).run(), Exchange::new([a, b], true).run()) {
        (Ok(path), _) => Verdict::Connects(path),
        (Err(_), Ok(path)) => Verdict::Chance(path),
        (Err(obstacle), Err(_)) => Verdict::NeedsRelay(obstacle),
    }
}

/// The inside of a NAT by the name of its network; `None` is the internet.
type Realm = Option<NetworkIndex>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Address {
    StunServer,
    /// The host of the first or the second agent.
    Host(usize),
    /// The NAT before a network, and which of its external addresses.
    Nat(NetworkIndex, usize),
}

/// A symbolic transport address: two are equal if and only if the real ones are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    address: Address,
    port: usize,
}

/// What a mapping or a filter looks at of a remote endpoint.
type Scope = (Option<Address>, Option<usize>);

fn scope(dependence: Dependence, remote: Endpoint) -> Scope {
    match dependence {
        Dependence::EndpointIndependent => (None, None),
        Dependence::AddressDependent => (Some(remote.address), None),
        Dependence::AddressAndPortDependent => (Some(remote.address), Some(remote.port)),
    }
}

const STUN_SERVER: Endpoint = Endpoint { address: Address::StunServer, port: 0 };

fn base(agent: usize) -> Endpoint {
    Endpoint { address: Address::Host(agent), port: 0 }
}

/// All that the two agents and the NATs between them know.
struct Exchange<'a> {
    places: [&'a Place; 2],
    /// Whether arbitrary pooling always picks the same address.
    lucky: bool,
    /// For NAT, internal endpoint and the scope of the destination: the external endpoint.
    mappings: BTreeMap<(NetworkIndex, Endpoint, Scope), Endpoint>,
    /// For NAT, whose filter it is (an external endpoint, or with filters per endpoint an internal one) and the scope of who was sent to.
    sent: BTreeSet<(NetworkIndex, Endpoint, Scope)>,
    /// What the STUN server told each agent.
    server_reflexive: [Option<Endpoint>; 2],
    /// For each agent, the other's candidates it knows.
    remotes: [Vec<Endpoint>; 2],
    paths: Vec<Path>,
    check_arrived: bool,
}

impl<'a> Exchange<'a> {
    fn new(places: [&'a Place; 2], lucky: bool) -> Self {
        Self {
            places,
            lucky,
            mappings: BTreeMap::new(),
            sent: BTreeSet::new(),
            server_reflexive: [None; 2],
            remotes: Default::default(),
            paths: Vec::new(),
            check_arrived: false,
        }
    }

    fn run(mut self) -> Result<Path, Obstacle> {
        for agent in [0, 1] {
            self.server_reflexive[agent] = self.gather(agent);
        }
        for (agent, peer) in [(0, 1), (1, 0)] {
            self.remotes[agent] = [Some(base(peer)), self.server_reflexive[peer]].into_iter().flatten().collect();
        }
        let mut before = (usize::MAX, 0, 0);
        loop {
            let known = (self.mappings.len(), self.sent.len(), self.remotes[0].len() + self.remotes[1].len());
            if known == before {
                break;
            }
            before = known;
            for agent in [0, 1] {
                for remote in self.remotes[agent].clone() {
                    self.check(agent, remote);
                }
            }
        }
        // RFC 8445 §6.1.2.3: the worse end of a pair weighs first.
        let best = self.paths.iter().max_by_key(|path| (path.a.min(path.b), path.a.max(path.b)));
        best.copied().ok_or({
            if self.places.iter().any(|place| place.blocks_udp()) {
                Obstacle::UdpBlocked
            } else if self.check_arrived {
                Obstacle::NoAnswerFits
            } else {
                Obstacle::NoCheckArrives
            }
        })
    }

    /// A request to the STUN server and its answer.
    fn gather(&mut self, agent: usize) -> Option<Endpoint> {
        let (_, seen) = self.carry(self.places[agent].network(), base(agent), STUN_SERVER)?;
        let (reached, from) = self.carry(None, STUN_SERVER, seen)?;
        (reached == base(agent).address && from == STUN_SERVER).then_some(seen)
    }

    /// A connectivity check and its answer.
    fn check(&mut self, agent: usize, remote: Endpoint) {
        let peer = 1 - agent;
        let Some((reached, source)) = self.carry(self.places[agent].network(), base(agent), remote) else { return };
        assert_eq!(reached, Address::Host(peer), "a candidate leads to whoever told it, or nowhere");
        self.check_arrived = true;
        if !self.remotes[peer].contains(&source) && self.remotes[peer].len() < REMOTES_MAX {
            self.remotes[peer].push(source);
        }
        let answer = self.carry(self.places[peer].network(), base(peer), source);
        //= https://www.rfc-editor.org/rfc/rfc8445#section-7.2.5.2.1
        //# That is, the source IP address and port
        //# of the response MUST be equal to the destination IP address and port
        //# to which the Binding request was sent
        if answer == Some((Address::Host(agent), remote)) {
            let (ours, theirs) = (self.kind(agent, source), self.kind(peer, remote));
            self.paths.push(if agent == 0 { Path { a: ours, b: theirs } } else { Path { a: theirs, b: ours } });
        }
    }

    fn kind(&self, agent: usize, seen: Endpoint) -> CandidateKind {
        if seen == base(agent) {
            CandidateKind::Host
        } else if Some(seen) == self.server_reflexive[agent] {
            CandidateKind::ServerReflexive
        } else {
            CandidateKind::PeerReflexive
        }
    }

    /// Takes a packet from a network to whoever it reaches: the address there, and the source as seen there.
    fn carry(&mut self, mut at: Realm, mut source: Endpoint, mut destination: Endpoint) -> Option<(Address, Endpoint)> {
        loop {
            at = match destination.address {
                Address::StunServer if at.is_none() => return Some((destination.address, source)),
                Address::Host(agent) if at == self.places[agent].network() => {
                    return Some((destination.address, source));
                }
                Address::Nat(nat, _) if at == self.outside(nat) => {
                    destination = self.inbound(nat, source, destination)?;
                    Some(nat)
                }
                Address::Nat(nat, _) if at == Some(nat) => {
                    (source, destination) = self.hairpin(nat, source, destination)?;
                    at
                }
                // Nobody here: on through this network's NAT. From the internet there is nowhere to go.
                _ => {
                    let nat = at?;
                    source = self.outbound(nat, source, destination)?;
                    self.outside(nat)
                }
            }
        }
    }

    fn outbound(&mut self, nat: NetworkIndex, source: Endpoint, destination: Endpoint) -> Option<Endpoint> {
        let behavior = self.behavior(nat);
        if behavior.udp_blocked {
            return None;
        }
        let fresh = self.mappings.len();
        let address = if behavior.pooling == Pooling::Arbitrary && !self.lucky { fresh } else { 0 };
        let external = *self
            .mappings
            .entry((nat, source, scope(behavior.mapping, destination)))
            .or_insert(Endpoint { address: Address::Nat(nat, address), port: fresh });
        let whose = match behavior.filter_state {
            FilterState::PerMapping => external,
            FilterState::PerEndpoint => source,
        };
        self.sent.insert((nat, whose, scope(behavior.filtering, destination)));
        Some(external)
    }

    fn inbound(&self, nat: NetworkIndex, source: Endpoint, destination: Endpoint) -> Option<Endpoint> {
        let behavior = self.behavior(nat);
        if behavior.udp_blocked {
            return None;
        }
        let (&(_, internal, _), _) =
            self.mappings.iter().find(|(key, external)| key.0 == nat && **external == destination)?;
        let whose = match behavior.filter_state {
            FilterState::PerMapping => destination,
            FilterState::PerEndpoint => internal,
        };
        self.sent.contains(&(nat, whose, scope(behavior.filtering, source))).then_some(internal)
    }

    fn hairpin(&mut self, nat: NetworkIndex, source: Endpoint, destination: Endpoint) -> Option<(Endpoint, Endpoint)> {
        let hairpinning = self.behavior(nat).hairpinning;
        if hairpinning == Hairpinning::Off {
            return None;
        }
        let external = self.outbound(nat, source, destination)?;
        let internal = self.inbound(nat, external, destination)?;
        Some((if hairpinning == Hairpinning::InternalSource { source } else { external }, internal))
    }

    fn behavior(&self, nat: NetworkIndex) -> &'a NatBehavior {
        let mut nats = self.places.iter().flat_map(|place| &place.nats);
        &nats.find(|(network, _)| *network == nat).expect("packets meet only NATs of the two places").1
    }

    /// The network a NAT's outside is in.
    fn outside(&self, nat: NetworkIndex) -> Realm {
        self.places.iter().find_map(|place| {
            let at = place.nats.iter().position(|(network, _)| *network == nat)?;
            Some(at.checked_sub(1).map(|outer| place.nats[outer].0))
        })?
    }
}
