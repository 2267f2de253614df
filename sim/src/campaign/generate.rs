//! Draws stories: for a while anything may go wrong, and after that there is time to settle.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use scenarios::{
    Action, Actor, ActorIndex, Builder, Command, Framing, IceServerIndex, IceTransportPolicy, Machine, MachineAction,
    MediaKind, Move, NatReboot, NetworkAction, NetworkIndex, Role, Scenario, StoryProfile, Tracks, Trouble,
    TurnCredential, TurnServer, WorldAction, WorstLink,
};
use server::STUN_PORT;

use super::draw::Draw;
use super::shrink::edit::without_chance;
use super::target::{self, Target};
use crate::reachability::{Place, Verdict, can_connect};

const HEARTBEAT: Duration = Duration::from_secs(3);
/// Length of the string of bytes that a seed gives: more than the longest story of a shipped profile needs.
const BYTES: usize = 2048;
/// The shortest time for which something is away.
const SHORTEST: Duration = Duration::from_millis(100);
/// How much later than the first of two offers the second is made.
const OFFERS_APART: Duration = Duration::from_millis(100);
/// Time within which a user is mostly there after it has begun to join.
const JOINED_WITHIN: Duration = Duration::from_secs(1);
/// The longest time that a user takes to answer a call.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);

/// The string of bytes of a seed.
pub fn bytes_of(seed: u64) -> Vec<u8> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut bytes = vec![0; BYTES];
    ChaCha8Rng::from_seed(key).fill_bytes(&mut bytes);
    bytes
}

/// Generates the story of a seed. The result does not change as long as this folder does not.
pub fn generate(seed: u64, profile: &StoryProfile, target: &Target) -> Scenario {
    let mut scenario = generate_from(&bytes_of(seed), &format!("{}-{seed}", profile.name), profile, target);
    scenario.about = format!("generated: {} of seed {seed}", profile.name);
    scenario
}

/// Generates the story that a string of bytes stands for. Every string stands for one. `profile` is
/// [`adapted`](super::adapted) to the target.
///
/// Whatever happens in the story, every promise must hold at its end. Some of its steps have no effect, such as the
/// `leave` of an actor that is not in a room.
pub fn generate_from(bytes: &[u8], name: &str, profile: &StoryProfile, target: &Target) -> Scenario {
    let mut draw = Draw::new(bytes);
    let mut builder = Builder::new(name, profile.duration);
    builder.scenario.about = format!("generated: {}", profile.name);
    builder.scenario.server.heartbeat = HEARTBEAT;
    let worst = draw.worst(&profile.link);
    let mut generator = Generator { draw, profile, worst, builder };
    generator.add_networks();
    generator.add_actors();
    if profile.webrtc {
        generator.add_turn();
    }
    let weights = generator.kinds();
    for _ in 0..generator.draw.below(profile.troubles_max + 1) {
        if let Some(kind) = generator.draw.weighted(weights.iter().map(|(_, weight)| *weight)) {
            generator.add_trouble(weights[kind].0);
        }
    }
    if generator.draw.coin() {
        generator.mend_links();
    }
    let mut scenario = generator.builder.at(profile.calm, Action::World(WorldAction::Heal)).build();
    target::put(&mut scenario, target);
    if profile.webrtc {
        scenario.expect.unconnected = unconnected(&scenario);
    }
    scenario
}

/// Whether an actor can offer to another with the same role.
fn can_offer(actor: &Actor) -> bool {
    actor.webrtc && !matches!(actor.plays, Role::Sender | Role::Viewer)
}

/// Whether an actor sends a track of a kind from the start.
fn sends(actor: &Actor, kind: MediaKind) -> bool {
    actor.media.as_ref().is_some_and(|tracks| tracks.has(kind))
}

/// The pairs that meet and cannot connect, even through a TURN server if there is one.
fn unconnected(scenario: &Scenario) -> Vec<(ActorIndex, ActorIndex)> {
    let actors = || (0..scenario.actors.len()).map(ActorIndex);
    let pairs = actors().flat_map(|b| actors().take_while(move |a| *a < b).map(move |a| (a, b)));
    let place = |actor| Place::of(scenario, actor);
    let meet = |(a, b): &(ActorIndex, ActorIndex)| {
        let [a, b] = [&scenario.actors[*a], &scenario.actors[*b]];
        a.plays.dialect() == b.plays.dialect() && a.room == b.room
    };
    pairs.filter(meet).filter(|(a, b)| matches!(can_connect(&place(*a), &place(*b)), Verdict::NeedsRelay(_))).collect()
}

struct Generator<'a> {
    draw: Draw<'a>,
    profile: &'a StoryProfile,
    worst: WorstLink,
    builder: Builder,
}

impl Generator<'_> {
    fn actor(&mut self) -> ActorIndex {
        ActorIndex(self.draw.index(self.builder.scenario.actors.len()))
    }

    /// The kinds of trouble of this story with their weights. Each kind is left out of half of the stories: what hides
    /// another kind of trouble must sometimes be absent, and what needs several of one kind must sometimes be frequent.
    fn kinds(&mut self) -> Vec<(Trouble, u64)> {
        let weights = self.profile.weights.iter();
        weights
            .map(|(kind, weight)| (*kind, if self.draw.coin() { *weight } else { weight * 4 * self.draw.below(2) }))
            .collect()
    }

    /// Adds NATs. The last may be behind the first.
    fn add_networks(&mut self) {
        let count = self.draw.below(self.profile.nats_max + 1);
        let cascade = count > 1 && self.draw.coin();
        for number in 0..count {
            let behind = (cascade && number == count - 1).then_some(0);
            let mut nat = self.draw.nat();
            if self.profile.relays && nat.udp_blocked && self.draw.coin() {
                nat.tcp_ports_blocked = vec![STUN_PORT];
            }
            self.builder = self.builder.clone().network(behind, nat);
        }
    }

    fn add_actors(&mut self) {
        let networks = self.builder.scenario.networks.len();
        for _ in 0..2 + self.draw.below(self.profile.actors_max - 1) {
            // An index beyond the last network stands for the internet.
            let network = Some(self.draw.index(networks + 1)).filter(|network| *network < networks);
            let plays = self.draw.pick(&self.profile.roles);
            let over = self.draw.pick(&[Framing::WebSocket, Framing::SocketIo]);
            let room = self.draw.below(self.profile.rooms_max);
            let joins = self.draw.time(self.profile.troubles_until);
            let webrtc = self.profile.webrtc;
            let room = plays.only_room().map_or_else(|| format!("room-{room}"), str::to_owned);
            if webrtc && self.is_full(plays, &room) {
                continue;
            }
            self.builder = self.builder.clone().peer(network).with(|actor| {
                actor.plays = plays;
                actor.over = if plays == Role::User { over } else { plays.framing() };
                actor.room = room;
                actor.joins = Some(joins);
                actor.webrtc = webrtc;
            });
            let actor = self.builder.scenario.actors.last_mut().expect("it was added");
            actor.link = self.draw.link(actor.link, &self.worst);
            if self.profile.media && webrtc {
                let kinds: &[_] = match self.draw.below(4) {
                    1 => &[MediaKind::Audio],
                    2 => &[MediaKind::Video],
                    3 => &[MediaKind::Audio, MediaKind::Video],
                    _ => &[],
                };
                actor.media = (!kinds.is_empty()).then(|| Tracks { kinds: kinds.to_vec(), ..Tracks::default() });
            }
        }
    }

    /// Whether a room has two clients without names: WebRTC works for two of them only.
    fn is_full(&self, plays: Role, room: &str) -> bool {
        let is_there = |actor: &&Actor| actor.plays == plays && actor.room == room;
        let count = || self.builder.scenario.actors.iter().filter(is_there).count();
        matches!(plays, Role::Relay | Role::Broadcast) && count() == 2
    }

    fn at(&mut self, at: Duration, action: Action) {
        self.builder = self.builder.clone().at(at, action);
    }

    fn command(&mut self, at: Duration, actor: ActorIndex, command: Command) {
        self.at(at, Action::Actor(actor, command));
    }

    fn machine(&mut self, at: Duration, machine: Machine, action: MachineAction) {
        self.at(at, Action::Machine(machine, action));
    }

    /// How long something is away, down or cut off.
    fn span(&mut self) -> Duration {
        SHORTEST + self.draw.time(self.profile.longest - SHORTEST)
    }

    /// Adds a trouble. What can be repaired is repaired after a while, except the losses of power and the leaves that
    /// stories may end with.
    fn add_trouble(&mut self, kind: Trouble) {
        let at = self.draw.time(self.profile.troubles_until);
        match kind {
            Trouble::Call => return self.add_call(at),
            Trouble::Accept => return self.add_user(at, Command::Accept),
            Trouble::Reject => return self.add_user(at, Command::Reject),
            Trouble::Media => {
                let (kind, on) = (self.draw.pick(&[MediaKind::Audio, MediaKind::Video]), self.draw.coin());
                return match self.profile.media {
                    false => self.add_user(at, Command::Media(kind, on)),
                    true => self.add_command(at, Command::Media(kind, on), |actor| sends(actor, kind)),
                };
            }
            Trouble::IceRestart => return self.add_pair(at, Command::IceRestart, can_offer),
            Trouble::Hangup => {
                // Only these have a message for it.
                let can = |actor: &Actor| actor.plays == Role::User || actor.webrtc && actor.plays == Role::Mesh;
                return self.add_pair(at, Command::Hangup, can);
            }
            Trouble::Offer => return self.add_offers(at),
            Trouble::NatReboot => return self.add_nat_reboot(at),
            Trouble::Partition => return self.add_partition(at),
            Trouble::ServerShutdown => {
                let back = at + self.span();
                self.at(at, Action::World(WorldAction::Shutdown));
                return self.machine(back, Machine::Server, MachineAction::Boot);
            }
            Trouble::ServerPowerCycle => return self.add_power_cycle(at, Machine::Server),
            Trouble::TurnPowerCycle => {
                let servers = self.builder.scenario.ice_servers.len();
                if servers > 0 {
                    let server = IceServerIndex(self.draw.index(servers));
                    self.add_power_cycle(at, Machine::IceServer(server));
                }
                return;
            }
            Trouble::AddTrack => {
                let kind = self.draw.pick(&[MediaKind::Audio, MediaKind::Video]);
                return self.add_command(at, Command::AddTrack(kind), |actor| actor.webrtc && !sends(actor, kind));
            }
            Trouble::Stall => {
                let span = self.span();
                return self.machine(at, Machine::Server, MachineAction::Stall(span));
            }
            Trouble::ClockJump => {
                let ms = self.draw.below(7_200_000) as i64 - 3_600_000;
                return self.machine(at, Machine::Server, MachineAction::ClockJump { ms });
            }
            _ => {}
        }
        let actor = self.actor();
        let machine = Machine::Actor(actor);
        match kind {
            Trouble::LeaveAndReturn => {
                let back = at + self.span();
                self.command(at, actor, Command::Leave);
                self.at(back, Action::Join(actor));
            }
            Trouble::Leave => self.command(at, actor, Command::Leave),
            Trouble::Drop => self.command(at, actor, Command::Drop),
            Trouble::PowerCycle => self.add_power_cycle(at, machine),
            Trouble::PowerLoss => self.machine(at, machine, MachineAction::PowerLoss),
            Trouble::Move => self.add_move(at, actor),
            Trouble::Suspend => {
                let back = at + self.span();
                self.command(at, actor, Command::Suspend);
                self.command(back, actor, Command::Resume);
            }
            Trouble::Link => {
                let before = self.builder.scenario.link(machine);
                let back = at + self.span();
                let bad = self.draw.link(before, &self.profile.link);
                if bad != before {
                    self.machine(at, machine, MachineAction::Link(bad));
                    self.machine(back, machine, MachineAction::Link(before));
                }
            }
            _ => self.command(at, actor, Command::Say(format!("said at {} ms", at.as_millis()))),
        }
    }

    /// Moves an actor to another network, and in half of the cases back.
    fn add_move(&mut self, at: Duration, actor: ActorIndex) {
        let networks = self.builder.scenario.networks.len();
        let home = self.builder.scenario.actors[actor].clone();
        let to = Some(self.draw.index(networks + 1)).filter(|network| *network < networks).map(NetworkIndex);
        let last = 10 + actor.0 as u8;
        let address = match to {
            None => Ipv4Addr::new(203, 0, 113, last),
            Some(network) => Ipv4Addr::new(192, 168, network.0 as u8 + 1, last),
        };
        let link = self.draw.link(home.link, &self.worst);
        let back = self.draw.coin().then(|| at + self.span());
        if to == home.network {
            return;
        }
        self.machine(at, Machine::Actor(actor), MachineAction::Move(Move { network: to, address, link }));
        if let Some(back) = back {
            let home = Move { network: home.network, address: home.address, link: home.link };
            self.machine(back, Machine::Actor(actor), MachineAction::Move(home));
        }
    }

    fn add_power_cycle(&mut self, at: Duration, machine: Machine) {
        let back = at + self.span();
        self.machine(at, machine, MachineAction::PowerLoss);
        self.machine(back, machine, MachineAction::Boot);
    }

    fn add_nat_reboot(&mut self, at: Duration) {
        let count = self.builder.scenario.networks.len();
        if count == 0 {
            return;
        }
        let network = self.draw.index(count);
        // A NAT behind another NAT keeps its address.
        let is_public = self.builder.scenario.networks[network].behind.is_none();
        let new_address = (self.draw.coin() && is_public)
            .then(|| Ipv4Addr::new(198, 51, 101 + network as u8, 1 + (at.as_millis() % 250) as u8));
        let reboot = NatReboot { resets_tcp: self.draw.coin(), new_address };
        self.at(at, Action::Network(NetworkIndex(network), NetworkAction::Reboot(reboot)));
    }

    /// Adds an offer, or two that may cross.
    fn add_offers(&mut self, at: Duration) {
        let before = self.builder.scenario.steps.len();
        self.add_pair(at, Command::Offer, can_offer);
        let Some(Action::Actor(from, Command::Offer(to))) =
            self.builder.scenario.steps.get(before).map(|step| step.action.clone())
        else {
            return;
        };
        if self.draw.coin() {
            let later = at + self.draw.time(OFFERS_APART);
            self.command(later, to, Command::Offer(from));
        }
    }

    /// The machines of one or two actors.
    fn machines(&mut self) -> Vec<Machine> {
        (0..1 + self.draw.below(2)).map(|_| Machine::Actor(self.actor())).collect()
    }

    fn add_partition(&mut self, at: Duration) {
        let from = self.machines();
        let mut to = self.machines();
        to.retain(|machine| !from.contains(machine));
        if self.draw.coin() {
            to.push(Machine::Server);
        }
        let one_way = self.draw.coin();
        let heals = at + self.span();
        if !to.is_empty() {
            self.at(at, Action::World(WorldAction::Partition { from, to, one_way }));
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
    fn add_pair(&mut self, at: Duration, command: fn(ActorIndex) -> Command, can: fn(&Actor) -> bool) {
        if let Some((one, other)) = self.pair(can) {
            self.command(at, one, command(other));
        }
    }

    /// Two actors that fulfil `can`, with the same role and room, if there are any.
    fn pair(&mut self, can: fn(&Actor) -> bool) -> Option<(ActorIndex, ActorIndex)> {
        let able = self.those(can);
        if able.is_empty() {
            return None;
        }
        let one = self.draw.pick(&able);
        let Actor { name, plays, room, .. } = self.builder.scenario.actors[one].clone();
        let others = self.those(|other| can(other) && other.name != name && other.plays == plays && other.room == room);
        (!others.is_empty()).then(|| (one, self.draw.pick(&others)))
    }

    /// Adds a call between two users, once both are there, and mostly an answer: of users who do both at random times, hardly
    /// any would answer.
    fn add_call(&mut self, at: Duration) {
        let Some((caller, callee)) = self.pair(|actor| actor.plays == Role::User) else { return };
        let joins = |actor: ActorIndex| self.builder.scenario.actors[actor].joins.unwrap_or_default();
        let there = joins(caller).max(joins(callee)) + JOINED_WITHIN;
        let last = self.profile.troubles_until;
        let at = at.max(there).min(last);
        self.command(at, caller, Command::Call(callee));
        let answer = match self.draw.below(4) {
            0 => return,
            1 => Command::Reject,
            _ => Command::Accept,
        };
        let later = at + self.draw.time(ANSWERED_WITHIN);
        self.command(later.min(last), callee, answer);
    }

    /// Adds a command to a user, if there are users.
    fn add_user(&mut self, at: Duration, command: Command) {
        self.add_command(at, command, |actor| actor.plays == Role::User);
    }

    /// Adds a command to an actor that fulfils `can`, if there is one.
    fn add_command(&mut self, at: Duration, command: Command, can: impl Fn(&Actor) -> bool) {
        let able = self.those(can);
        if !able.is_empty() {
            let actor = self.draw.pick(&able);
            self.command(at, actor, command);
        }
    }

    /// Adds a TURN server to half of the stories, on the server's machine or on its own. Some actors then use relayed
    /// candidates only, or have a wrong credential.
    fn add_turn(&mut self) {
        let place = self.draw.below(4);
        let mut turn = TurnServer::default();
        if self.profile.relays {
            // Only a machine of its own has TLS.
            (turn.tcp, turn.tls) = (self.draw.coin(), self.draw.coin() && place == 3);
            for index in 0..self.builder.scenario.actors.len() {
                self.builder.scenario.actors[index].ice_from_config = self.draw.below(4) == 1;
            }
        }
        match place {
            2 => self.builder.scenario.server.turn = Some(turn),
            3 => {
                self.builder = self.builder.clone().ice_server(Some(turn));
                let named = self.builder.scenario.actors.iter_mut().filter(|actor| !actor.ice_from_config);
                for actor in named {
                    actor.ice_servers.push(Machine::IceServer(IceServerIndex(0)));
                }
            }
            _ => return,
        }
        for index in 0..self.builder.scenario.actors.len() {
            let from_config = self.builder.scenario.actors[index].ice_from_config;
            // What the signaling server lists has only its own TURN server, and always the right credential.
            if self.draw.below(6) == 1 && (!from_config || place == 2) {
                self.builder.scenario.actors[index].ice_transport_policy = IceTransportPolicy::Relay;
            }
            if self.draw.below(16) == 1 && !from_config {
                self.builder.scenario.actors[index].turn_credential = TurnCredential::Wrong;
            }
        }
    }

    /// Lets the faults of links end, too, when all other troubles are over.
    fn mend_links(&mut self) {
        for index in 0..self.builder.scenario.actors.len() {
            let link = self.builder.scenario.actors[index].link;
            let mended = without_chance(link);
            if mended != link {
                self.machine(self.profile.calm, Machine::Actor(ActorIndex(index)), MachineAction::Link(mended));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a fuzzer, not of a seed: whatever they are, they stand for a story, and the same for the same.
    #[test]
    fn every_string_of_bytes_stands_for_a_story() {
        for profile in StoryProfile::shipped() {
            for bytes in [&[][..], &[0xff; 3], &[0xff; 4000], b"a fuzzer's bytes", &bytes_of(3)[..100]] {
                let story = || generate_from(bytes, "mine", &profile, &Target::default());
                assert!(story().actors.len() >= 2);
                assert_eq!(story(), story());
            }
        }
    }

    #[test]
    fn no_story_of_a_shipped_profile_uses_up_the_bytes_of_its_seed() {
        for profile in StoryProfile::shipped() {
            for seed in 0..500 {
                let bytes = bytes_of(seed);
                let all = generate_from(&bytes, "all", &profile, &Target::default());
                let mut fewer = generate_from(&bytes[..BYTES - 64], "all", &profile, &Target::default());
                fewer.name.clone_from(&all.name);
                assert_eq!(fewer, all, "{} of seed {seed}", profile.name);
            }
        }
    }
}
