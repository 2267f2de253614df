//! Random scenarios: for a while whatever may go wrong does, then there is time to settle.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use scenarios::{
    Action, Actor, ActorIndex, Builder, Command, Dependence, FilterState, Framing, Hairpinning, Link, Machine,
    MachineAction, MediaKind, NatBehavior, NatReboot, NetworkAction, NetworkIndex, Pooling, PortAllocation, Role,
    Scenario, WorldAction,
};

use crate::reachability::{Place, Verdict, can_connect};

/// Trouble begins at most this long after the start.
const TROUBLE_MS: u64 = 35_000;
/// When the last trouble is over: what was cut heals, what was down may be up.
const CALM: Duration = Duration::from_secs(45);
/// When it is judged.
const END: Duration = Duration::from_secs(110);
const HEARTBEAT: Duration = Duration::from_secs(3);

/// What random scenarios are like.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What scenarios are called, before their seed.
    pub name: &'static str,
    /// Whether actors make WebRTC connections, or only play their signaling.
    pub webrtc: bool,
    /// What actors play, each as likely.
    pub roles: &'static [Role],
    /// Actors at most, at least two.
    pub actors_max: u64,
    /// NATs at most.
    pub nats_max: u64,
    /// Rooms at most.
    pub rooms_max: u64,
    /// How much goes wrong at most.
    pub troubles_max: u64,
    /// How likely the trouble is with an actor or a network, with a user's calls, and with the server.
    pub weights: [u64; 3],
    /// How long something may be away, down or cut off at most, milliseconds.
    pub longest_ms: u64,
}

impl Profile {
    /// Two to four peers of a mesh with real WebRTC connections, behind any NATs, over any links.
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

    /// Two to twelve peers of a mesh that only signal, in up to three rooms, and a server that comes and goes.
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

    /// Two to ten of any role that only signal, in up to two rooms, and a server that comes and goes. Users call a lot.
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

    /// All of them.
    pub const ALL: [Self; 3] = [Self::CALLS, Self::CROWD, Self::ROLES];
}

/// The scenario of a seed: the same for ever, as long as this file is.
///
/// Whatever happens in it, all must be well at its end. Some of its steps do nothing, such as `leave` of somebody who is not there.
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
    let mut scenario = generator.builder.at(CALM, Action::World(WorldAction::Heal)).build();
    if profile.webrtc {
        scenario.expect.unconnected = unconnected(&scenario);
    }
    scenario
}

/// The pairs that no NAT lets through.
fn unconnected(scenario: &Scenario) -> Vec<(ActorIndex, ActorIndex)> {
    let actors = || (0..scenario.actors.len()).map(ActorIndex);
    let pairs = actors().flat_map(|b| actors().take_while(move |a| *a < b).map(move |a| (a, b)));
    let place = |actor| Place::of(scenario, actor);
    pairs.filter(|(a, b)| matches!(can_connect(&place(*a), &place(*b)), Verdict::NeedsRelay(_))).collect()
}

/// Draws whose results depend on nothing but the seed.
struct Draw(ChaCha8Rng);

impl Draw {
    /// A number from 0 to `limit` - 1; `limit` is far below 2^64, so none is noticeably more likely.
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

    /// The number of a weight, as likely as the weight is large.
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
        let jitter = Duration::from_millis(if self.coin() { 0 } else { self.below(20) });
        let mut share = || if self.coin() { 0 } else { self.below(30_000) as u32 };
        Link { latency, jitter, loss_ppm: share(), duplicate_ppm: share(), reorder_ppm: share(), bandwidth_bps: None }
    }

    /// Any behaviour that keeps a mapping for as long as ICE's keep-alives, and lets UDP through or does not.
    fn nat(&mut self) -> NatBehavior {
        const DEPENDENCES: [Dependence; 3] =
            [Dependence::EndpointIndependent, Dependence::AddressDependent, Dependence::AddressAndPortDependent];
        NatBehavior {
            mapping: self.pick(&DEPENDENCES),
            filtering: self.pick(&DEPENDENCES),
            filter_state: self.pick(&[FilterState::PerMapping, FilterState::PerEndpoint]),
            port_allocation: self.pick(&[
                PortAllocation::Preserve,
                PortAllocation::Sequential,
                PortAllocation::Random,
                PortAllocation::Block,
            ]),
            hairpinning: self.pick(&[Hairpinning::Off, Hairpinning::InternalSource, Hairpinning::ExternalSource]),
            pooling: Pooling::Paired,
            udp_lifetime_new: Duration::from_secs(30),
            udp_lifetime: Duration::from_secs(30 + self.below(150)),
            udp_inbound_refresh: self.coin(),
            tcp_lifetime: Duration::from_secs(7440),
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

    /// Adds NATs; the last may be behind the first.
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
            // Beyond the last network is the internet.
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

    /// Something that goes wrong with an actor or a network. What can be mended is, after a while.
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
        // A NAT behind another keeps its address.
        let is_public = self.builder.scenario.networks[network].behind.is_none();
        let new_address = (self.draw.coin() && is_public)
            .then(|| Ipv4Addr::new(198, 51, 101 + network as u8, 1 + (at_ms % 250) as u8));
        let reboot = NatReboot { resets_tcp: self.draw.coin(), new_address };
        self.at(at_ms, Action::Network(NetworkIndex(network), NetworkAction::Reboot(reboot)));
    }

    /// One or two machines of actors.
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

    /// The actors that fit.
    fn those(&self, fits: impl Fn(&Actor) -> bool) -> Vec<ActorIndex> {
        let actors = self.builder.scenario.actors.iter().enumerate();
        actors.filter(|(_, actor)| fits(actor)).map(|(index, _)| ActorIndex(index)).collect()
    }

    /// A command that names another actor, if two of those that `can` are of one kind and in one room.
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

    /// Something that a user does, if there are users.
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
