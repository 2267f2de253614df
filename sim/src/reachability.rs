//! Whether two ICE agents can connect, and whether they need a relay for that, worked out from their NATs alone.
//!
//! This is an independent check of the simulated NATs and shares no code with them. It models neither time nor ports: a
//! mapping is a symbol that differs from all other mappings, and a filter is the set of remotes that were sent to. Both
//! agents (RFC 8445) gather their host and server-reflexive candidates, exchange them and send checks, until no check
//! yields new knowledge. Sets only grow, so the order of packets does not matter. **The verdict holds if no packet is
//! lost for good, no mapping expires before ICE is done, and no NAT is full.**
//!
//! The rules that decide (RFC 8445 §7):
//! - A check goes from an agent's only base to a candidate of the other agent. If its source is unknown, that becomes a
//!   peer-reflexive candidate, which is checked in turn.
//! - The response goes from the base that the check reached to the source that it was seen from.
//! - *A check succeeds only if its response comes from the very address to which the check was sent.* A response that
//!   leaves through an endpoint-dependent mapping often comes from another address.
//! - A private address is valid only in its own network. Elsewhere it reaches no host, or an unrelated one, which has
//!   the same effect.
//! - A relayed candidate is a base at its TURN server, on the internet. It lets in whoever has an IP address that its
//!   agent has sent to through it (RFC 8656 §9).
//!
//! # What follows, with one agent behind each of two NATs
//! A pair works if each side sends to the very mapping that the other side uses towards it, and the filters let both
//! pass.
//! - *Two endpoint-independent mappings* always connect. Each side knows from the start where to send, and sending
//!   opens its own filter.
//! - *One endpoint-dependent mapping*: they connect unless the endpoint-independent side filters by port. It opened its
//!   filter for the port that the STUN server saw, and the checks come from another port of the same address. The
//!   filter of the dependent side does not matter: its check reaches the other side first, so the response may come in.
//! - *Two endpoint-dependent mappings*: at first neither side knows where to send. They connect if all of these hold:
//!   1. At most one of the mappings depends on the port. Otherwise each mapping changes whenever the other does, and
//!      responses never come from the address to which the check was sent, even without any filter.
//!   2. Neither side filters by port, because it cannot yet have sent to the other side's mapping towards it.
//!   3. Some first check passes. It can only go to the mapping that the STUN server saw, the only one known. So one
//!      side must filter nothing, or have a filter per endpoint: a filter per mapping, of whatever kind, lets only the
//!      STUN server in there. After that first check the other side sends to the right mapping, whose filter, which
//!      compares only the address, lets it pass.
//!
//! # IPv6
//! Nothing translates IPv6, so a host candidate is right everywhere, and firewalls only filter. Two agents that both
//! have it always connect, unless one drops all UDP: each opens its firewall for the other by its own check. The two
//! families are separate exchanges, of which the better path counts; candidates of different families make no pair.
//!
//! A TURN server with both families relays from either. An agent without IPv4 asks it over IPv6 for a relayed candidate
//! of IPv4, its only one there. Without one, it reaches no agent that has IPv4 only.
//!
//! The tables of all 81 pairs of behaviours are in `tests/it/reachability.rs`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use scenarios::{
    Action, ActorIndex, Dependence, FilterState, Hairpinning, IceServerIndex, IceTransportPolicy, Machine,
    MachineAction, NatBehavior, NetworkIndex, Pooling, Scenario, Step, TURN_TLS_PORT, TurnCredential, Unsolicited,
    WorldAction,
};
use server::STUN_PORT;

/// Maximum number of the other agent's candidates that an agent keeps.
///
/// Two NATs that map per address and port and filter nothing would create peer-reflexive candidates for ever: each
/// check comes from a new mapping, which is a new candidate to check. It leads nowhere, and real agents stop it by the
/// limit on their checklist (RFC 8445 §6.1.2.5).
const REMOTES_MAX: usize = 16;

/// A TURN server, as an agent uses it.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// The number of its machine.
    machine: usize,
    /// Whether it certainly serves the agent.
    is_sure: bool,
    /// The TCP ports at which the agent also reaches it, with or without TLS, if its routers let it.
    ports: [Option<u16>; 2],
    /// Whether it also has an address of IPv6.
    has_ipv6: bool,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ipv4,
    Ipv6,
}

/// Where an agent is: the NATs between the internet and its host, and the servers that it uses.
#[derive(Clone, Debug)]
pub struct Place {
    /// From the internet inwards, each with the network on its inside.
    nats: Vec<(NetworkIndex, NatBehavior)>,
    /// Whether its host has IPv4.
    has_ipv4: bool,
    /// If its host has IPv6: all routers from the internet inwards, each with the network on its inside and its firewall.
    ipv6: Option<Vec<(NetworkIndex, Option<NatBehavior>)>>,
    /// The machine of its STUN server, if it has one, and whether that also has IPv6. Machines are told apart by their
    /// numbers.
    stun: Option<(usize, bool)>,
    /// Its TURN server, if it has one.
    turn: Option<Turn>,
    /// Whether it uses relayed candidates only.
    is_relay_only: bool,
}

impl Place {
    /// A place on the internet, without a NAT and without TURN.
    pub fn internet() -> Self {
        Self { nats: Vec::new(), has_ipv4: true, ipv6: None, stun: Some((0, false)), turn: None, is_relay_only: false }
    }

    /// Gives the agent a TURN server on the machine of its STUN server.
    pub fn with_turn(self) -> Self {
        Self { turn: Some(Turn { machine: 0, is_sure: true, ports: [None; 2], has_ipv6: false }), ..self }
    }

    /// Gives the agent a TURN server on the machine of its STUN server, which it also reaches over TCP.
    pub fn with_turn_over_tcp(self) -> Self {
        Self { turn: Some(Turn { machine: 0, is_sure: true, ports: [Some(STUN_PORT), None], has_ipv6: false }), ..self }
    }

    /// Makes the agent use relayed candidates only.
    pub fn relay_only(self) -> Self {
        Self { is_relay_only: true, ..self }
    }

    /// The same place without a TURN server.
    pub fn without_turn(&self) -> Self {
        Self { turn: None, ..self.clone() }
    }

    /// Adds a NAT in front of the agent, which is then in the network `network` on the NAT's inside.
    ///
    /// Two places with the same network are in one network, and must have the same NATs up to it. Arbitrary pooling is
    /// assumed to have several addresses to choose from: a NAT with one external address must be given as paired.
    pub fn behind(mut self, network: NetworkIndex, nat: NatBehavior) -> Self {
        self.nats.push((network, nat));
        self
    }

    /// The place of an actor at the end of a scenario. A router that does not translate makes its network part of the outer one.
    pub fn of(scenario: &Scenario, actor: ActorIndex) -> Self {
        let played = &scenario.actors[actor];
        let (mut nats, mut routers) = (Vec::new(), Vec::new());
        let (network, addresses) = scenario.place_at(actor, Duration::MAX);
        let mut at = network;
        while let Some(index) = at {
            let network = &scenario.networks[index];
            if let Some(nat) = &network.nat {
                let pooling = if network.external.len() == 1 { Pooling::Paired } else { nat.pooling };
                nats.push((index, NatBehavior { pooling, ..nat.clone() }));
            }
            routers.push((index, network.ipv6.as_ref().and_then(|ipv6| ipv6.firewall.clone())));
            at = network.behind;
        }
        nats.reverse();
        routers.reverse();
        let ipv6 = addresses.ipv6.map(|_| routers);
        // Numbers of the scenario, not of the actor.
        let number = |machine: Machine| match machine {
            Machine::IceServer(IceServerIndex(index)) => 1 + index,
            Machine::Server | Machine::Actor(_) => 0,
        };
        let has_ipv6 = |machine: Machine| scenario.addresses(machine).ipv6.is_some();
        let stun = played.ice_servers.first().map(|machine| (number(*machine), has_ipv6(*machine)));
        let is_relay_only = played.ice_transport_policy == IceTransportPolicy::Relay;
        let place = Self { nats, has_ipv4: addresses.ipv4.is_some(), ipv6, stun, turn: None, is_relay_only };
        // One that certainly serves it counts before others, and one over TCP before one over UDP only.
        let turns = played.ice_servers.iter().filter_map(|machine| turn(scenario, actor, *machine, number(*machine)));
        let has_tcp =
            |turn: &Turn| [Family::Ipv4, Family::Ipv6].iter().any(|family| place.reaches_by_tcp(*family, turn));
        let turn = turns.max_by_key(|turn| (turn.is_sure, has_tcp(turn), Reverse(turn.machine)));
        Self { turn, ..place }
    }

    /// The same place without STUN and TURN servers.
    pub(crate) fn without_servers(self) -> Self {
        Self { stun: None, turn: None, ..self }
    }

    fn network(&self, family: Family) -> Realm {
        match family {
            Family::Ipv4 => self.nats.last().map(|(network, _)| *network),
            Family::Ipv6 => self.ipv6.iter().flatten().last().map(|(network, _)| *network),
        }
    }

    fn has(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.has_ipv4,
            Family::Ipv6 => self.ipv6.is_some(),
        }
    }

    /// Whether it can have candidates of a family: a relayed one may be of IPv4 though its host has none.
    fn may_have(&self, family: Family) -> bool {
        self.has(family) || family == Family::Ipv4 && self.turn.is_some_and(|turn| turn.has_ipv6)
    }

    fn blocks_udp(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.nats.iter().any(|(_, nat)| nat.udp_blocked),
            Family::Ipv6 => self.firewalls().any(|firewall| firewall.udp_blocked),
        }
    }

    /// Whether it reaches a TURN server over TCP in a family: whether its routers let out connections to one of the ports.
    fn reaches_by_tcp(&self, family: Family, turn: &Turn) -> bool {
        let lets_out = |port: &u16| match family {
            Family::Ipv4 => !self.nats.iter().any(|(_, nat)| nat.tcp_ports_blocked.contains(port)),
            Family::Ipv6 => !self.firewalls().any(|firewall| firewall.tcp_ports_blocked.contains(port)),
        };
        self.has(family) && turn.ports.iter().flatten().any(lets_out)
    }

    fn firewalls(&self) -> impl Iterator<Item = &NatBehavior> {
        self.ipv6.iter().flatten().filter_map(|(_, firewall)| firewall.as_ref())
    }
}

/// The TURN server of a machine, if it may serve an actor at the end of a scenario. `number` is that of the machine.
fn turn(scenario: &Scenario, actor: ActorIndex, machine: Machine, number: usize) -> Option<Turn> {
    let turn = scenario.turn_server(machine)?;
    let actor = &scenario.actors[actor];
    if actor.program.is_some() || actor.turn_credential == TurnCredential::Wrong {
        return None;
    }
    let is_up = scenario.steps.iter().fold(true, |is_up, step| match &step.action {
        Action::Machine(of, MachineAction::PowerLoss) if *of == machine => false,
        Action::Machine(of, MachineAction::Boot) if *of == machine => true,
        Action::World(WorldAction::Shutdown) if machine == Machine::Server => false,
        _ => is_up,
    });
    // After another secret, an older credential is wrong.
    let renews = |step: &Step| step.action == Action::Machine(machine, MachineAction::NewSecret);
    let is_sure = turn.credential_lifetime.is_none_or(|lifetime| lifetime >= scenario.duration)
        && !scenario.steps.iter().any(renews);
    let has_ipv6 = scenario.addresses(machine).ipv6.is_some();
    // The server lists only UDP.
    let has_tcp = turn.tcp && !actor.ice_from_config;
    let ports = [has_tcp.then_some(STUN_PORT), turn.tls.then_some(TURN_TLS_PORT)];
    is_up.then_some(Turn { machine: number, is_sure, ports, has_ipv6 })
}

/// The type of candidate at one end of a working path, the least preferred first. RFC 8445 §5.1.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateKind {
    /// An address of a TURN server.
    Relayed,
    /// The mapped address that the STUN server saw.
    ServerReflexive,
    /// An address that only the other agent sees.
    PeerReflexive,
    /// The host's own address.
    Host,
}

/// The best working pair, with the type of each agent's candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The first agent's end.
    pub a: CandidateKind,
    /// The second agent's end.
    pub b: CandidateKind,
}

impl Path {
    /// Whether it leads through a TURN server.
    pub fn is_relayed(self) -> bool {
        [self.a, self.b].contains(&CandidateKind::Relayed)
    }
}

/// Why two agents do not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A NAT blocks all UDP.
    UdpBlocked,
    /// No check arrives, because of filters or missing hairpinning.
    NoCheckArrives,
    /// One has only IPv4 and the other only IPv6, and no TURN server relays between the two.
    NoCommonFamily,
    /// Checks arrive, but each response is blocked or comes from another address than the one to which the check was
    /// sent.
    NoAnswerFits,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UdpBlocked => "a NAT blocks UDP",
            Self::NoCommonFamily => "one has only IPv4 and the other only IPv6",
            Self::NoCheckArrives => "no connectivity check arrives",
            Self::NoAnswerFits => "checks arrive, but no response comes from the address that was checked",
        })
    }
}

/// Whether two agents connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They connect; the path is the best one.
    Connects(Path),
    /// They connect only if arbitrary pooling happens to assign the same address to the mappings that need it, if those
    /// behind a router without a firewall happen to send first, or if the TURN server still serves them. The path is the
    /// best one.
    Chance(Path),
    /// They do not connect without a relay, or without another one.
    NeedsRelay(Obstacle),
}

/// Whether agents at two places connect. Their STUN and TURN servers are on the internet.
pub fn can_connect(a: &Place, b: &Place) -> Verdict {
    // The two extremes of arbitrary pooling: the address of a new mapping is never, or always, one that was seen
    // before. Of routers without a firewall: the other side's packet always, or never, comes first. And of TURN servers
    // that may not serve: they never or always do.
    match (best([a, b], false), best([a, b], true)) {
        (Ok(path), _) => Verdict::Connects(path),
        (Err(_), Ok(path)) => Verdict::Chance(path),
        (Err(obstacle), Err(_)) => Verdict::NeedsRelay(obstacle),
    }
}

/// Whether two agents connect over the same path, or not at all, whatever is left to chance.
pub fn is_sure(a: &Place, b: &Place) -> bool {
    best([a, b], false) == best([a, b], true)
}

/// The best path of all families.
fn best(places: [&Place; 2], lucky: bool) -> Result<Path, Obstacle> {
    let shared = [Family::Ipv4, Family::Ipv6].into_iter().filter(|family| {
        // An agent without IPv4 has a relayed candidate there, and that only.
        places.iter().all(|place| place.may_have(*family))
    });
    let tried: Vec<_> = shared.map(|family| Exchange::new(places, family, lucky).run()).collect();
    let found = tried.iter().flatten().copied().max_by_key(rank);
    let obstacle = || tried.iter().find_map(|tried| tried.err()).unwrap_or(Obstacle::NoCommonFamily);
    found.ok_or_else(obstacle)
}

/// What ICE prefers. RFC 8445 §6.1.2.3: the end with the lower preference counts first.
///
/// Of the relayed pairs, the first agent, which is the controlling one, prefers those that it checks from its own host
/// candidate: that counts more than any candidate that the other agent can have there.
fn rank(path: &Path) -> (CandidateKind, bool, CandidateKind) {
    let is_own_direct = path.b == CandidateKind::Relayed && path.a != CandidateKind::Relayed;
    (path.a.min(path.b), is_own_direct, path.a.max(path.b))
}

/// A realm, named by the network on the inside of its NAT; `None` is the internet.
type Realm = Option<NetworkIndex>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Address {
    /// A machine with a STUN or TURN server, by its number. Port 0 is that of STUN, the others are relayed candidates.
    Server(usize),
    /// The host of the first or the second agent.
    Host(usize),
    /// The NAT of a network, and the index of one of its external addresses.
    Nat(NetworkIndex, usize),
    /// The NAT of a network, at its address inside, which stands for its external one.
    Router(NetworkIndex),
}

/// A symbolic transport address. Two are equal if and only if the real ones are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    address: Address,
    port: usize,
}

/// The part of a remote endpoint that a mapping or a filter depends on.
type Scope = (Option<Address>, Option<usize>);

fn scope(dependence: Dependence, remote: Endpoint) -> Scope {
    match dependence {
        Dependence::EndpointIndependent => (None, None),
        Dependence::AddressDependent => (Some(remote.address), None),
        Dependence::AddressAndPortDependent => (Some(remote.address), Some(remote.port)),
    }
}

/// The STUN port of a machine, which is also that of TURN.
fn server(number: usize) -> Endpoint {
    Endpoint { address: Address::Server(number), port: 0 }
}

fn base(agent: usize) -> Endpoint {
    Endpoint { address: Address::Host(agent), port: 0 }
}

/// Everything that the two agents and the NATs between them know.
struct Exchange<'a> {
    places: [&'a Place; 2],
    family: Family,
    /// Whether arbitrary pooling always picks the same address, and nobody sends to a router without a firewall before
    /// its inside has sent to them.
    lucky: bool,
    /// The external endpoint, by NAT, internal endpoint and scope of the destination.
    mappings: BTreeMap<(NetworkIndex, Endpoint, Scope), Endpoint>,
    /// Open filter entries: the NAT, the owner of the filter (an external endpoint, or an internal one with filters per
    /// endpoint) and the scope of the remote that was sent to.
    sent: BTreeSet<(NetworkIndex, Endpoint, Scope)>,
    /// The mapped address that each agent learned from the STUN server.
    server_reflexive: [Option<Endpoint>; 2],
    /// The relayed candidate of each agent.
    relayed: [Option<Endpoint>; 2],
    /// The permissions at TURN servers: the agent, and the address that may send to its relayed candidate.
    permitted: BTreeSet<(usize, Address)>,
    /// For each agent, the candidates of the other agent that it knows.
    remotes: [Vec<Endpoint>; 2],
    paths: Vec<Path>,
    check_arrived: bool,
}

impl<'a> Exchange<'a> {
    fn new(places: [&'a Place; 2], family: Family, lucky: bool) -> Self {
        Self {
            places,
            family,
            lucky,
            mappings: BTreeMap::new(),
            sent: BTreeSet::new(),
            server_reflexive: [None; 2],
            relayed: [None; 2],
            permitted: BTreeSet::new(),
            remotes: Default::default(),
            paths: Vec::new(),
            check_arrived: false,
        }
    }

    fn run(mut self) -> Result<Path, Obstacle> {
        for agent in [0, 1] {
            let Place { stun, turn, .. } = *self.places[agent];
            let family = self.family;
            let is_there = |has_ipv6: bool| family == Family::Ipv4 || has_ipv6;
            if let Some((number, _)) = stun.filter(|(_, has_ipv6)| self.has_host(agent) && is_there(*has_ipv6)) {
                self.server_reflexive[agent] = self.gather(agent, server(number));
            }
            let turn = turn.filter(|turn| (self.lucky || turn.is_sure) && is_there(turn.has_ipv6));
            if let Some(turn) = turn.filter(|_| self.relays(agent))
                && (self.reaches_by_tcp(agent, &turn) || self.reaches(agent, server(turn.machine)))
            {
                self.relayed[agent] = Some(Endpoint { port: 1 + agent, ..server(turn.machine) });
            }
        }
        for (agent, peer) in [(0, 1), (1, 0)] {
            let host = self.has_host(peer).then(|| base(peer));
            self.remotes[agent] =
                [host, self.server_reflexive[peer], self.relayed[peer]].into_iter().flatten().collect();
        }
        let mut before = (usize::MAX, 0, 0, 0);
        loop {
            let remotes = self.remotes[0].len() + self.remotes[1].len();
            let known = (self.mappings.len(), self.sent.len(), self.permitted.len(), remotes);
            if known == before {
                break;
            }
            before = known;
            for agent in [0, 1] {
                let host = self.has_host(agent).then(|| base(agent));
                for from in [host, self.relayed[agent]].into_iter().flatten() {
                    for remote in self.remotes[agent].clone() {
                        self.check(agent, from, remote);
                    }
                }
            }
        }
        let best = self.paths.iter().copied().max_by_key(rank);
        best.ok_or({
            if self.places.iter().any(|place| place.blocks_udp(self.family)) {
                Obstacle::UdpBlocked
            } else if self.check_arrived {
                Obstacle::NoAnswerFits
            } else {
                Obstacle::NoCheckArrives
            }
        })
    }

    /// Whether an agent uses its host candidate in this family.
    fn has_host(&self, agent: usize) -> bool {
        self.places[agent].has(self.family) && !self.places[agent].is_relay_only
    }

    /// Whether an agent asks for a relayed candidate of this family: one with both asks over each for its own.
    fn relays(&self, agent: usize) -> bool {
        match self.family {
            Family::Ipv4 => true,
            Family::Ipv6 => self.places[agent].has_ipv4,
        }
    }

    /// Whether an agent reaches a TURN server over TCP, in whichever family it must.
    fn reaches_by_tcp(&self, agent: usize, turn: &Turn) -> bool {
        let place = self.places[agent];
        place.reaches_by_tcp(if place.has(self.family) { self.family } else { Family::Ipv6 }, turn)
    }

    /// Whether an agent reaches a TURN server over UDP, in whichever family it must.
    fn reaches(&mut self, agent: usize, server: Endpoint) -> bool {
        if self.places[agent].has(self.family) {
            return self.gather(agent, server).is_some();
        }
        !self.places[agent].blocks_udp(Family::Ipv6)
    }

    /// Simulates a request to a STUN or TURN server and its response. Returns the mapped address.
    fn gather(&mut self, agent: usize, server: Endpoint) -> Option<Endpoint> {
        let (_, seen) = self.carry(self.places[agent].network(self.family), base(agent), server)?;
        let (reached, from) = self.carry(None, server, seen)?;
        (reached == base(agent) && from == server).then_some(seen)
    }

    /// Sends a packet of an agent from one of its bases. Returns the base that it reaches, and the source as seen there.
    fn send(&mut self, agent: usize, from: Endpoint, to: Endpoint) -> Option<(Endpoint, Endpoint)> {
        if Some(from) != self.relayed[agent] {
            return self.carry(self.places[agent].network(self.family), from, to);
        }
        self.permitted.insert((agent, to.address));
        self.carry(None, from, to)
    }

    /// Simulates a connectivity check from a base and its response.
    fn check(&mut self, agent: usize, from: Endpoint, remote: Endpoint) {
        let peer = 1 - agent;
        let Some((reached, source)) = self.send(agent, from, remote) else { return };
        assert!(
            reached == base(peer) || Some(reached) == self.relayed[peer],
            "a candidate leads to the agent that sent it, or nowhere"
        );
        self.check_arrived = true;
        if !self.remotes[peer].contains(&source) && self.remotes[peer].len() < REMOTES_MAX {
            self.remotes[peer].push(source);
        }
        let answer = self.send(peer, reached, source);
        //= https://www.rfc-editor.org/rfc/rfc8445#section-7.2.5.2.1
        //# That is, the source IP address and port
        //# of the response MUST be equal to the destination IP address and port
        //# to which the Binding request was sent
        if answer == Some((from, remote)) {
            let (ours, theirs) = (self.kind(agent, source), self.kind(peer, remote));
            self.paths.push(if agent == 0 { Path { a: ours, b: theirs } } else { Path { a: theirs, b: ours } });
        }
    }

    fn kind(&self, agent: usize, seen: Endpoint) -> CandidateKind {
        if Some(seen) == self.relayed[agent] {
            CandidateKind::Relayed
        } else if seen == base(agent) {
            CandidateKind::Host
        } else if Some(seen) == self.server_reflexive[agent] {
            CandidateKind::ServerReflexive
        } else {
            CandidateKind::PeerReflexive
        }
    }

    /// Carries a packet from a network to its receiver. Returns the endpoint that it reaches and the source as seen
    /// there, or `None` if the packet does not arrive.
    fn carry(
        &mut self,
        mut at: Realm,
        mut source: Endpoint,
        mut destination: Endpoint,
    ) -> Option<(Endpoint, Endpoint)> {
        loop {
            at = match destination.address {
                Address::Server(_) if at.is_none() => {
                    let relays = |agent: &usize| self.relayed[*agent] == Some(destination);
                    let owner = [0, 1].into_iter().find(relays);
                    let is_let_in = owner.is_none_or(|agent| self.permitted.contains(&(agent, source.address)));
                    return is_let_in.then_some((destination, source));
                }
                Address::Host(agent) if at == self.places[agent].network(self.family) => {
                    return Some((destination, source));
                }
                Address::Host(agent) if self.inwards(at, agent).is_some() => {
                    let network = self.inwards(at, agent)?;
                    self.lets_in(network, source, destination).then_some(())?;
                    Some(network)
                }
                Address::Nat(nat, _) if at == self.outside(nat) => {
                    destination = self.inbound(nat, source, destination)?;
                    Some(nat)
                }
                Address::Nat(nat, _) | Address::Router(nat) if at == Some(nat) => {
                    (source, destination) = self.hairpin(nat, source, destination)?;
                    at
                }
                // Nothing here has the address: the packet leaves through the network's NAT. On the internet it has
                // nowhere to go.
                _ if self.family == Family::Ipv6 => {
                    let network = at?;
                    self.lets_out(network, source, destination).then_some(())?;
                    self.outer(network)
                }
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
        // A router without a firewall keeps the port only towards those who have not sent to it first.
        let keeps_port = self.lucky
            || behavior.unsolicited != Unsolicited::Accept
            || matches!(destination, Endpoint { address: Address::Server(_), port: 0 });
        let mapping = if keeps_port { behavior.seen_mapping() } else { behavior.mapping };
        let fresh = self.mappings.len();
        let address = if behavior.pooling == Pooling::Arbitrary && !self.lucky { fresh } else { 0 };
        let external = *self
            .mappings
            .entry((nat, source, scope(mapping, destination)))
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
        let is_answer = matches!(destination.address, Address::Router(_));
        let destination =
            if is_answer { Endpoint { address: Address::Nat(nat, 0), ..destination } } else { destination };
        let external = self.outbound(nat, source, destination)?;
        let internal = self.inbound(nat, external, destination)?;
        let shown = match hairpinning {
            Hairpinning::InternalSource => source,
            Hairpinning::RouterSource if !is_answer => Endpoint { address: Address::Router(nat), ..external },
            _ => external,
        };
        Some((shown, internal))
    }

    /// With IPv6, the network through whose router a packet goes from a realm to an agent; `None` if the agent is not
    /// inside of that realm.
    fn inwards(&self, at: Realm, agent: usize) -> Realm {
        let routers = self.places[agent].ipv6.as_ref().filter(|_| self.family == Family::Ipv6)?;
        let next = match at {
            None => 0,
            Some(network) => 1 + routers.iter().position(|(inside, _)| *inside == network)?,
        };
        routers.get(next).map(|(network, _)| *network)
    }

    /// With IPv6, the realm on the outside of a network's router.
    fn outer(&self, network: NetworkIndex) -> Realm {
        self.places.iter().find_map(|place| {
            let routers = place.ipv6.as_ref()?;
            let at = routers.iter().position(|(inside, _)| *inside == network)?;
            Some(at.checked_sub(1).map(|outer| routers[outer].0))
        })?
    }

    /// The firewall of a network's router; `None` if everything passes.
    fn firewall(&self, network: NetworkIndex) -> Option<&'a NatBehavior> {
        let mut routers = self.places.iter().flat_map(|place| place.ipv6.iter().flatten());
        routers.find(|(inside, _)| *inside == network)?.1.as_ref()
    }

    fn lets_out(&mut self, network: NetworkIndex, source: Endpoint, destination: Endpoint) -> bool {
        let Some(firewall) = self.firewall(network) else { return true };
        self.sent.insert((network, source, scope(firewall.filtering, destination)));
        !firewall.udp_blocked
    }

    fn lets_in(&self, network: NetworkIndex, source: Endpoint, destination: Endpoint) -> bool {
        let Some(firewall) = self.firewall(network) else { return true };
        !firewall.udp_blocked && self.sent.contains(&(network, destination, scope(firewall.filtering, source)))
    }

    fn behavior(&self, nat: NetworkIndex) -> &'a NatBehavior {
        let mut nats = self.places.iter().flat_map(|place| &place.nats);
        &nats.find(|(network, _)| *network == nat).expect("packets meet only NATs of the two places").1
    }

    /// The realm on the outside of a NAT.
    fn outside(&self, nat: NetworkIndex) -> Realm {
        self.places.iter().find_map(|place| {
            let at = place.nats.iter().position(|(network, _)| *network == nat)?;
            Some(at.checked_sub(1).map(|outer| place.nats[outer].0))
        })?
    }
}
