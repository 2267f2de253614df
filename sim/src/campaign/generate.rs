//! Random scenarios: for a while anything may go wrong, and after that there is time to settle.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use scenarios::{
    Action, Actor, ActorIndex, Builder, Command, Dependence, FilterState, Framing, Hairpinning, IceServerIndex,
    IceTransportPolicy, Jitter, Link, Machine, MachineAction, MediaKind, NatBehavior, NatReboot, NetworkAction,
    NetworkIndex, OneWay, Pooling, PortAllocation, Role, Scenario, TurnServer, Unsolicited, WorldAction,
};

use crate::reachability::{Place, Verdict, can_connect};

/// Each trouble starts at most this long after the start of the scenario, milliseconds.
const TROUBLE_MS: u64 = 35_000;
/// When all troubles are over: what was cut off is connected again, and what was down may run again.
const CALM: Duration = Duration::from_secs(45);
/// Length of the scenario. Oracles judge the end state then.
const END: Duration = Duration::from_secs(110);
const HEARTBEAT: Duration = Duration::from_secs(3);

/// The properties of random scenarios.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The first part of a scenario's name; its seed follows.
    pub name: &'static str,
    /// Whether actors make real WebRTC connections; if not, only their signaling is simulated.
    pub webrtc: bool,
    /// The roles of actors. Each entry is drawn with the same probability.
    pub roles: &'static [Role],
    /// Maximum number of actors. The minimum is two.
    pub actors_max: u64,
    /// Maximum number of NATs.
    pub nats_max: u64,
    /// Maximum number of rooms.
    pub rooms_max: u64,
    /// Maximum number of troubles.
    pub troubles_max: u64,
    /// Weights of the kinds of trouble: with an actor or a network, with a user's calls, and with the server.
    pub weights: [u64; 3],
    /// Maximum time for which something is away, down or cut off, milliseconds.
    pub longest_ms: u64,
}

impl Profile {
    /// Two to four peers of a mesh with real WebRTC connections, behind arbitrary NATs, over arbitrary links.
    pub const CALLS: Self = Self {
        name: "calls",
        webrtc: true,
        roles: &[Role::Mesh],
        actors_max: 4,
        nats_max: 3,
        rooms_max: 1,
        troubles_max: 5,
        weights: [1, 0, 0],
        longest_ms: 8_000,
    };

    /// Two to twelve peers of a mesh that only use signaling, in up to three rooms, and a server that stops and starts.
    pub const CROWD: Self = Self {
        name: "crowd",
        webrtc: false,
        roles: &[Role::Mesh],
        actors_max: 12,
        nats_max: 1,
        rooms_max: 3,
        troubles_max: 23,
        weights: [6, 0, 1],
        longest_ms: 9_000,
    };

    /// Two to ten clients of any role that only use signaling, in up to two rooms, and a server that stops and starts.
    /// Users call often.
    pub const ROLES: Self = Self {
        name: "roles",
        webrtc: false,
        roles: &[Role::Mesh, Role::Sender, Role::Viewer, Role::User, Role::User, Role::Relay, Role::Broadcast],
        actors_max: 10,
        nats_max: 1,
        rooms_max: 2,
        troubles_max: 39,
        weights: [6, 8, 1],
        longest_ms: 9_000,
    };

    /// All profiles.
    pub const ALL: [Self; 3] = [Self::CALLS, Self::CROWD, Self::ROLES];
}

/// Generates the scenario of a seed. The result does not change as long as this file does not.
///
/// Whatever happens in the scenario, every promise must hold at its end. Some of its steps have no effect, such as the
/// `leave` of an actor that is not in a room.
pub fn generate(seed: u64, profile: &Profile) -> Scenario {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let draw = Draw(ChaCha8Rng::from_seed(bytes));
    let mut builder = Builder::new(&format!("{}-{seed}", profile.name), END);
    builder.scenario.about = format!("generated: {} of seed {seed}", profile.name);
    builder.scenario.server.heartbeat = HEARTBEAT;
    let mut generator = Generator { draw, profile, builder };
    generator.add_networks();
    generator.add_actors();
    for _ in 0..generator.draw.below(profile.troubles_max + 1) {
        generator.add_trouble();
    }
    if profile.webrtc {
        generator.add_turn();
    }
    let mut scenario = generator.builder.at(CALM, Action::World(WorldAction::Heal)).build();
    if profile.webrtc {
        scenario.expect.unconnected = unconnected(&scenario);
    }
    scenario
}

/// The pairs that cannot connect, even through a TURN server if there is one.
fn unconnected(scenario: &Scenario) -> Vec<(ActorIndex, ActorIndex)> {
    let actors = || (0..scenario.actors.len()).map(ActorIndex);
    let pairs = actors().flat_map(|b| actors().take_while(move |a| *a < b).map(move |a| (a, b)));
    let place = |actor| Place::of(scenario, actor);
    pairs.filter(|(a, b)| matches!(can_connect(&place(*a), &place(*b)), Verdict::NeedsRelay(_))).collect()
}

/// A source of random numbers whose results depend only on the seed.
struct Draw(ChaCha8Rng);

impl Draw {
    /// A number from 0 to `limit` - 1. `limit` is far below 2^64, so all results are practically equally likely.
    fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// The index of a weight, drawn with a probability in proportion to the weight.
    fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut drawn = self.below(weights.iter().sum());
        for (number, weight) in weights.iter().enumerate() {
            if drawn < *weight {
                return number;
            }
            drawn -= weight;
        }
        unreachable!("the draw is below the sum")
    }

    fn link(&mut self) -> Link {
        let latency = Duration::from_millis(1 + self.below(79));
        let jitter = Jitter::Uniform { max: Duration::from_millis(if self.coin() { 0 } else { self.below(20) }) };
        let mut share = || if self.coin() { 0 } else { self.below(30_000) as u32 };
        let (loss_ppm, duplicate_ppm, reorder_ppm) = (share(), share(), share());
        Link::both(OneWay { jitter, loss_ppm, duplicate_ppm, reorder_ppm, ..OneWay::with_latency(latency) })
    }

    /// Any behaviour that keeps a mapping for at least the interval of ICE's keep-alives. It may block UDP.
    fn nat(&mut self) -> NatBehavior {
        const DEPENDENCES: [Dependence; 3] =
            [Dependence::EndpointIndependent, Dependence::AddressDependent, Dependence::AddressAndPortDependent];
        let overloads = self.below(5) == 0;
        let mut dependence = || if overloads { Dependence::AddressAndPortDependent } else { self.pick(&DEPENDENCES) };
        let (mapping, filtering) = (dependence(), dependence());
        NatBehavior {
            mapping,
            filtering,
            filter_state: self.pick(&[FilterState::PerMapping, FilterState::PerEndpoint]),
            port_allocation: if overloads {
                PortAllocation::PreserveOverloading
            } else {
                self.pick(&[
                    PortAllocation::Preserve,
                    PortAllocation::Sequential,
                    PortAllocation::Random,
                    PortAllocation::Block,
                ])
            },
            hairpinning: self.pick(&[Hairpinning::Off, Hairpinning::InternalSource, Hairpinning::ExternalSource]),
            pooling: Pooling::Paired,
            udp_lifetime_new: Duration::from_secs(30),
            udp_lifetime: Duration::from_secs(30 + self.below(150)),
            udp_stream_after: Duration::from_secs(self.below(3)),
            udp_inbound_refresh: self.coin(),
            tcp_lifetime: Duration::from_secs(7440),
            tcp_lifetime_opening: Duration::from_secs(240),
            tcp_lifetime_closing: Duration::from_secs(10 + self.below(110)),
            tcp_lifetime_reset: Duration::from_secs(10 + self.below(110)),
            tcp_pick_up: self.coin(),
            unsolicited: self.pick(&[Unsolicited::Drop, Unsolicited::Reject, Unsolicited::Accept]),
            max_mappings: 65_536,
            udp_blocked: self.below(10) == 0,
        }
    }
}

struct Generator<'a> {
    draw: Draw,
    profile: &'a Profile,
    builder: Builder,
}

impl Generator<'_> {
    fn actor(&mut self) -> ActorIndex {
        ActorIndex(self.draw.index(self.builder.scenario.actors.len()))
    }

    /// Adds NATs. The last may be behind the first.
    fn add_networks(&mut self) {
        let count = self.draw.below(self.profile.nats_max + 1);
        let cascade = count > 1 && self.draw.coin();
        for number in 0..count {
            let behind = (cascade && number == count - 1).then_some(0);
            let nat = self.draw.nat();
            self.builder = self.builder.clone().network(behind, nat);
        }
    }

    fn add_actors(&mut self) {
        let networks = self.builder.scenario.networks.len();
        for _ in 0..2 + self.draw.below(self.profile.actors_max - 1) {
            // An index beyond the last network stands for the internet.
            let network = Some(self.draw.index(4)).filter(|network| *network < networks);
            let plays = self.draw.pick(self.profile.roles);
            let over = self.draw.pick(&[Framing::WebSocket, Framing::SocketIo]);
            let room = self.draw.below(self.profile.rooms_max);
            let joins = Duration::from_millis(self.draw.below(20_000));
            let link = self.draw.link();
            let webrtc = self.profile.webrtc;
            self.builder = self.builder.clone().peer(network).with(|actor| {
                actor.plays = plays;
                actor.over = if plays == Role::User { over } else { plays.framing() };
                actor.room = plays.only_room().map_or_else(|| format!("room-{room}"), str::to_owned);
                actor.joins = Some(joins);
                actor.link = link;
                actor.webrtc = webrtc;
            });
        }
    }

    fn add_trouble(&mut self) {
        let at_ms = self.draw.below(TROUBLE_MS);
        match self.draw.weighted(&self.profile.weights) {
            0 => self.add_fault(at_ms),
            1 => self.add_call(at_ms),
            _ => self.add_server_fault(at_ms),
        }
    }

    fn at(&mut self, at_ms: u64, action: Action) {
        self.builder = self.builder.clone().at(Duration::from_millis(at_ms), action);
    }

    fn command(&mut self, at_ms: u64, actor: ActorIndex, command: Command) {
        self.at(at_ms, Action::Actor(actor, command));
    }

    /// How long something is away, down or cut off, milliseconds.
    fn span(&mut self) -> u64 {
        100 + self.draw.below(self.profile.longest_ms - 100)
    }

    /// Adds a trouble with an actor or a network. What can be repaired is repaired after a while.
    fn add_fault(&mut self, at_ms: u64) {
        let actor = self.actor();
        let machine = Machine::Actor(actor);
        match self.draw.below(10) {
            0 => {
                let back = at_ms + self.span();
                self.command(at_ms, actor, Command::Leave);
                self.at(back, Action::Join(actor));
            }
            1 => self.command(at_ms, actor, Command::Leave),
            2 => self.command(at_ms, actor, Command::Drop),
            3 => {
                let back = at_ms + self.span();
                self.at(at_ms, Action::Machine(machine, MachineAction::PowerLoss));
                self.at(back, Action::Machine(machine, MachineAction::Boot));
            }
            4 => self.at(at_ms, Action::Machine(machine, MachineAction::PowerLoss)),
            5 => self.add_nat_reboot(at_ms),
            6 => self.add_partition(at_ms),
            7 => self.add_pair(at_ms, Command::IceRestart, |actor| actor.webrtc),
            8 => self.add_pair(at_ms, Command::Hangup, |actor| actor.webrtc || actor.plays == Role::User),
            _ => self.command(at_ms, actor, Command::Say(format!("said at {at_ms} ms"))),
        }
    }

    fn add_nat_reboot(&mut self, at_ms: u64) {
        let count = self.builder.scenario.networks.len();
        if count == 0 {
            return;
        }
        let network = self.draw.index(count);
        // A NAT behind another NAT keeps its address.
        let is_public = self.builder.scenario.networks[network].behind.is_none();
        let new_address = (self.draw.coin() && is_public)
            .then(|| Ipv4Addr::new(198, 51, 101 + network as u8, 1 + (at_ms % 250) as u8));
        let reboot = NatReboot { resets_tcp: self.draw.coin(), new_address };
        self.at(at_ms, Action::Network(NetworkIndex(network), NetworkAction::Reboot(reboot)));
    }

    /// The machines of one or two actors.
    fn machines(&mut self) -> Vec<Machine> {
        (0..1 + self.draw.below(2)).map(|_| Machine::Actor(self.actor())).collect()
    }

    fn add_partition(&mut self, at_ms: u64) {
        let from = self.machines();
        let mut to = self.machines();
        to.retain(|machine| !from.contains(machine));
        if self.draw.coin() {
            to.push(Machine::Server);
        }
        let one_way = self.draw.coin();
        let heals = at_ms + self.span();
        if !to.is_empty() {
            self.at(at_ms, Action::World(WorldAction::Partition { from, to, one_way }));
            self.at(heals, Action::World(WorldAction::Heal));
        }
    }

    /// The actors that fulfil `fits`.
    fn those(&self, fits: impl Fn(&Actor) -> bool) -> Vec<ActorIndex> {
        let actors = self.builder.scenario.actors.iter().enumerate();
        actors.filter(|(_, actor)| fits(actor)).map(|(index, _)| ActorIndex(index)).collect()
    }

    /// Adds a command that names another actor. Both must fulfil `can`, and have the same role and room; if there are
    /// no such actors, adds nothing.
    fn add_pair(&mut self, at_ms: u64, command: fn(ActorIndex) -> Command, can: fn(&Actor) -> bool) {
        let able = self.those(can);
        if able.is_empty() {
            return;
        }
        let one = self.draw.pick(&able);
        let Actor { name, plays, room, .. } = self.builder.scenario.actors[one].clone();
        let others = self.those(|other| can(other) && other.name != name && other.plays == plays && other.room == room);
        if !others.is_empty() {
            let other = self.draw.pick(&others);
            self.command(at_ms, one, command(other));
        }
    }

    /// Adds an action of a user, if there are users.
    fn add_call(&mut self, at_ms: u64) {
        const IS_USER: fn(&Actor) -> bool = |actor| actor.plays == Role::User;
        let users = self.those(IS_USER);
        if users.is_empty() {
            return;
        }
        let user = self.draw.pick(&users);
        match self.draw.weighted(&[4, 2, 1, 1, 1]) {
            0 => self.add_pair(at_ms, Command::Call, IS_USER),
            1 => self.command(at_ms, user, Command::Accept),
            2 => self.command(at_ms, user, Command::Reject),
            3 => self.command(at_ms, user, Command::Media(MediaKind::Audio, false)),
            _ => self.add_pair(at_ms, Command::Hangup, IS_USER),
        }
    }

    /// Adds a TURN server to half of the scenarios, on the server's machine or on its own, which may restart. Some actors
    /// then use relayed candidates only. This is drawn last: scenarios without TURN are as if there were none.
    fn add_turn(&mut self) {
        match self.draw.below(4) {
            0 => self.builder.scenario.server.turn = Some(TurnServer::default()),
            1 => {
                self.builder = self.builder.clone().ice_server(Some(TurnServer::default()));
                let machine = Machine::IceServer(IceServerIndex(0));
                for actor in &mut self.builder.scenario.actors {
                    actor.ice_servers.push(machine);
                }
                if self.draw.coin() {
                    let at_ms = self.draw.below(TROUBLE_MS);
                    let back = at_ms + self.span();
                    self.at(at_ms, Action::Machine(machine, MachineAction::PowerLoss));
                    self.at(back, Action::Machine(machine, MachineAction::Boot));
                }
            }
            _ => return,
        }
        for index in 0..self.builder.scenario.actors.len() {
            if self.draw.below(6) == 0 {
                self.builder.scenario.actors[index].ice_transport_policy = IceTransportPolicy::Relay;
            }
        }
    }

    fn add_server_fault(&mut self, at_ms: u64) {
        let back = at_ms + 500 + self.draw.below(8_500);
        let action = if self.draw.coin() {
            Action::World(WorldAction::Shutdown)
        } else {
            Action::Machine(Machine::Server, MachineAction::PowerLoss)
        };
        self.at(at_ms, action);
        self.at(back, Action::Machine(Machine::Server, MachineAction::Boot));
    }
}
