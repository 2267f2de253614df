//! The part of a scenario that can run against a server at a URL: the actors that speak the server's dialect, and every
//! step that needs neither the server's machine nor a simulated network.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dialect::DialectError;
use scenarios::{
    Action, Actor, ActorIndex, Command, Expect, ExpectedConnection, IceTransportPolicy, Jitter, Link, Machine,
    MachineAction, NetworkAction, NetworkIndex, OneWay, Role, Scenario, ServerSetup, Step, WorldAction,
};
use server::{DIALECTS, DialectEntry};

use super::browser::Browser;
use super::network::Place;
use crate::dialects::Spoken;
use crate::fit::{self, Misfit};
use crate::hash::digest;
use crate::protocol;

/// Maximum length of a room id, in code points, in every dialect.
const ROOM_CHARS_MAX: usize = 64;

/// The protocol of a server at a URL.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// The name or the path of its dialect.
    name: String,
    spoken: Arc<Spoken>,
}

impl Protocol {
    /// The protocol of a dialect: a shipped one by its name, or a file by its path.
    ///
    /// # Errors
    /// What is wrong with the file, or that there is none.
    pub fn load(name_or_path: &str) -> Result<Self, DialectError> {
        Ok(Self { name: name_or_path.to_owned(), spoken: Spoken::load(name_or_path)? })
    }

    pub(super) fn spoken(&self) -> &Arc<Spoken> {
        &self.spoken
    }

    /// Whether all clients of the server are in one room. Then only one scenario may run on the server at a time.
    pub fn is_one_room(&self) -> bool {
        self.spoken.descriptor.is_one_room
    }

    /// Whether it is a framing of the same dialect as this one of the reference server.
    fn is_named_for(&self, entry: &DialectEntry) -> bool {
        DIALECTS.iter().any(|own| own.name == self.name && own.dialect == entry.dialect)
    }

    /// Whether actors with this role speak it. A role of the dialect's own name does; without one, every role that
    /// needs what the dialect has.
    fn is_of(&self, role: Role) -> bool {
        match DIALECTS.iter().find(|entry| entry.name == self.name).and_then(protocol::spoken) {
            Some((dialect, _)) => role.dialect() == dialect,
            None => fit::can_play(role, &self.spoken),
        }
    }
}

/// A scenario adapted to real sockets: there are no NATs, all actors are on this machine, and each link stands for the
/// whole path to the server.
#[derive(Clone, Debug)]
pub struct Script {
    /// The scenario that is run and judged.
    pub scenario: Arc<Scenario>,
    /// Names of the actors that speak other dialects and do not take part.
    pub absent: Vec<String>,
    /// Probes that the scenario expects but that only a simulated network can produce.
    pub unasked: Vec<String>,
    /// The browser of the actors that run in one. It must be running before the script is.
    pub browser: Option<Browser>,
}

/// Why a scenario cannot run on real sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplayable {
    /// The scenario's name.
    pub scenario: String,
    /// The step that prevents it: its line in the scenario's file, and its time.
    pub step: Option<(usize, Duration)>,
    /// The actor whose path to the server prevents it from the start.
    pub actor: Option<String>,
    /// The reason.
    pub why: Reason,
}

/// What prevents a scenario from running on real sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Fewer than two actors speak the dialect. The scenario can run with these protocols instead.
    TooFewActors(Vec<&'static str>),
    /// The dialect lacks what the scenario needs.
    Misfit(Misfit),
    /// The actors use both framings of the dialect.
    TwoFramings,
    /// `expect.unconnected` names these actors.
    Unconnected(String, String),
    /// A link loses, corrupts, duplicates or reorders packets.
    LossyLink,
    /// A link has a bandwidth or an MTU.
    Bandwidth,
    /// A link has another distribution of jitter than the uniform one.
    Distribution,
    /// This action starts or ends the server.
    NotOurs(&'static str),
    /// The NAT of this network is rebooted.
    NatReboot(String),
    /// A partition separates two actors.
    PartitionOfActors,
    /// An actor is a program.
    Program,
    /// A connection goes through a TURN server.
    Relayed,
    /// The scenario decides the fate of the packet on this line.
    Packet(usize),
}

impl fmt::Display for Unplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be played on the wire: ", self.scenario)?;
        if let Some((line, at)) = self.step {
            write!(f, "line {line}, the step at {} s: ", at.as_secs_f64())?;
        }
        if let Some(actor) = &self.actor {
            write!(f, "{actor}: ")?;
        }
        self.why.fmt(f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewActors(others) => {
                let others: Vec<_> = others.iter().map(|name| format!("--dialect {name}")).collect();
                let hint = if others.is_empty() { String::new() } else { format!("; use {}", others.join(" or ")) };
                write!(f, "fewer than two of its actors speak this dialect{hint}")
            }
            Self::Misfit(misfit) => misfit.fmt(f),
            Self::TwoFramings => f.write_str("its users use two framings, but a URL has only one"),
            Self::Unconnected(a, b) => {
                write!(f, "`expect.unconnected` lists {a} and {b}, but only simulations have NATs")
            }
            Self::LossyLink => f.write_str("links lose, corrupt, duplicate or reorder packets only in simulations"),
            Self::Bandwidth => f.write_str("links have a bandwidth or an MTU only in simulations"),
            Self::Distribution => {
                f.write_str("links have a distribution of jitter only in simulations: give `jitter` one time")
            }
            Self::NotOurs(what) => write!(f, "{what}: the server at the URL cannot be switched off"),
            Self::NatReboot(network) => write!(f, "`nat-reboot` of `{network}`: NATs exist only in simulations"),
            Self::Relayed => f.write_str("TURN servers exist only in simulations"),
            Self::Packet(line) => write!(f, "line {line}: the fate of a packet can be decided only in simulations"),
            Self::Program => f.write_str("`run`: programs are actors only in simulations"),
            Self::PartitionOfActors => f.write_str(
                "`partition` of two actors: the proxy in front of the server does not carry the packets between them",
            ),
        }
    }
}

impl std::error::Error for Unplayable {}

impl Script {
    /// The part of a scenario that can run against a server with this protocol. Rooms get names that differ for every
    /// `seed`.
    ///
    /// # Errors
    /// The reason why the scenario cannot run on real sockets.
    pub fn of(scenario: &Scenario, protocol: &Protocol, seed: u64) -> Result<Self, Unplayable> {
        let refuse = |why| Unplayable { scenario: scenario.name.clone(), step: None, actor: None, why };
        let speaks = |actor: &&Actor| protocol.is_of(actor.plays);
        let present: Vec<ActorIndex> =
            (0..scenario.actors.len()).map(ActorIndex).filter(|actor| speaks(&&scenario.actors[*actor])).collect();
        let selection = Selection {
            scenario,
            index: present.iter().enumerate().map(|(new, old)| (*old, ActorIndex(new))).collect(),
        };
        let actors = || present.iter().map(|actor| &scenario.actors[*actor]);
        if present.len() < 2 {
            let others = DIALECTS.iter().filter(|entry| {
                let spoken = protocol::spoken(entry);
                let speak = |actor: &&Actor| spoken.is_some_and(|(dialect, _)| actor.plays.dialect() == dialect);
                !protocol.is_named_for(entry) && scenario.actors.iter().filter(speak).count() > 1
            });
            return Err(refuse(Reason::TooFewActors(others.map(|entry| entry.name).collect())));
        }
        if actors().any(|one| actors().any(|other| one.over != other.over)) {
            return Err(refuse(Reason::TwoFramings));
        }
        if let Some(program) = actors().find(|actor| actor.program.is_some()) {
            return Err(Unplayable { actor: Some(program.name.clone()), ..refuse(Reason::Program) });
        }
        if let Some((a, b)) = scenario.expect.unconnected.iter().find(|(a, b)| selection.has(*a) && selection.has(*b)) {
            let name = |actor: ActorIndex| scenario.actors[actor].name.clone();
            return Err(refuse(Reason::Unconnected(name(*a), name(*b))));
        }
        let is_relayed = scenario.expect.relayed.as_ref().is_some_and(|pairs| !pairs.is_empty())
            || scenario.expect.probes.iter().any(|probe| OF_TURN.contains(&probe.as_str()));
        if is_relayed || actors().any(|actor| actor.ice_transport_policy == IceTransportPolicy::Relay) {
            return Err(refuse(Reason::Relayed));
        }
        if let Some(packet) = scenario.packets.first() {
            return Err(refuse(Reason::Packet(packet.line)));
        }
        let steps = selection.steps().map_err(|(step, why)| Unplayable { step: Some(step), ..refuse(why) })?;
        let tag = tag(seed);
        let actor = |index: &ActorIndex| -> Result<Actor, Unplayable> {
            let actor = &scenario.actors[*index];
            let link = selection.way(*index, &Links::of(scenario));
            let link = link.map_err(|why| Unplayable { actor: Some(actor.name.clone()), ..refuse(why) })?;
            let room = if protocol.is_one_room() { actor.room.clone() } else { room(&actor.room, &tag) };
            let ice_servers = vec![Machine::Server];
            Ok(Actor {
                network: None,
                address: Place::LOOPBACK,
                ipv4: true,
                ipv6: false,
                link,
                room,
                ice_servers,
                ice_from_config: false,
                ..actor.clone()
            })
        };
        let (unasked, probes) =
            scenario.expect.probes.iter().cloned().partition(|probe| SIMULATED.contains(&probe.as_str()));
        let connected = scenario.expect.connected.iter().filter_map(|expected| {
            let (a, b) = expected.pair;
            let pair = (*selection.index.get(&a)?, *selection.index.get(&b)?);
            Some(ExpectedConnection { pair, ..expected.clone() })
        });
        let connected = connected.collect();
        let played = Scenario {
            server: ServerSetup {
                address: Place::LOOPBACK,
                link: LINK,
                dialect: Some(protocol.name.clone()),
                turn: None,
                ..scenario.server.clone()
            },
            ice_servers: Vec::new(),
            networks: Vec::new(),
            actors: present.iter().map(actor).collect::<Result<_, _>>()?,
            steps,
            expect: Expect { connected, unconnected: Vec::new(), relayed: None, probes, line: scenario.expect.line },
            ..scenario.clone()
        };
        fit::of(&played, &protocol.spoken).map_err(|misfit| refuse(Reason::Misfit(misfit)))?;
        let absent = scenario.actors.iter().filter(|actor| !speaks(actor)).map(|actor| actor.name.clone()).collect();
        Ok(Self { scenario: played.into(), absent, unasked, browser: None })
    }

    /// The actors that run in a browser.
    pub fn in_browser(&self) -> impl Iterator<Item = &Actor> {
        self.scenario.actors.iter().filter(|actor| actor.runs.is_some())
    }

    /// Lets the actors for which `is_chosen` holds run in Chromium, if they have WebRTC connections. The others stay as the
    /// scenario has them.
    pub fn run_in_chromium(&mut self, is_chosen: impl Fn(&str) -> bool) {
        let scenario = Arc::make_mut(&mut self.scenario);
        for actor in scenario.actors.iter_mut().filter(|actor| actor.webrtc && is_chosen(&actor.name)) {
            (actor.runs, actor.stack) = (Some(scenarios::Browser::Chromium), scenarios::Stack::default());
        }
    }
}

/// Probes that need a NAT, a lossy link or the server's own machine.
const SIMULATED: &[&str] = &[
    "hairpin-refused",
    "hairpinned",
    "mapping-expired",
    "nat-rebooted",
    "nat-refused",
    "packet-congested",
    "packet-corrupted",
    "packet-duplicated",
    "packet-fragmented",
    "packet-lost",
    "packet-oversized",
    "packet-reordered",
    "partitioned",
    "peer-reflexive",
    "port-collision",
    "ports-exhausted",
    "receive-buffer-full",
    "server-crashed",
    "server-restarted",
    "table-full",
    "tcp-mapping-lost",
    "tcp-port-blocked",
    "udp-blocked",
];

/// Situations at TURN servers: a scenario that aims at one is about nothing without them.
const OF_TURN: &[&str] = &["allocation-lost", "relayed", "turn-refused", "turn-unanswered"];

/// A link without delay.
const LINK: Link = Link::both(OneWay::with_latency(Duration::ZERO));

/// The step that prevents a run, by line and time, and the reason.
type Refused = ((usize, Duration), Reason);

/// One direction of a whole path, as one link.
fn one_way(path: impl Iterator<Item = OneWay>) -> Result<OneWay, Reason> {
    let (mut latency, mut longest) = (Duration::ZERO, Duration::ZERO);
    for way in path {
        if way.loss_ppm + way.corrupt_ppm + way.duplicate_ppm + way.reorder_ppm > 0 || way.burst_loss.is_some() {
            return Err(Reason::LossyLink);
        }
        if way.bandwidth_bps.is_some() || way.mtu.is_some() {
            return Err(Reason::Bandwidth);
        }
        let Jitter::Uniform { max } = way.jitter else { return Err(Reason::Distribution) };
        latency += way.latency;
        longest += max;
    }
    Ok(OneWay { jitter: Jitter::Uniform { max: longest }, ..OneWay::with_latency(latency) })
}

/// The actors that take part.
struct Selection<'a> {
    scenario: &'a Scenario,
    /// The new index of each actor that takes part, by its index in the scenario.
    index: BTreeMap<ActorIndex, ActorIndex>,
}

/// The settings of all links at one time of a scenario.
struct Links {
    server: Link,
    networks: Vec<Link>,
    actors: Vec<Link>,
}

impl Links {
    fn of(scenario: &Scenario) -> Self {
        let networks = scenario.networks.iter().map(|network| network.link).collect();
        let actors = scenario.actors.iter().map(|actor| actor.link).collect();
        Self { server: scenario.server.link, networks, actors }
    }
}

impl Selection<'_> {
    fn has(&self, actor: ActorIndex) -> bool {
        self.index.contains_key(&actor)
    }

    /// An actor's whole path to the server, as one link.
    fn way(&self, actor: ActorIndex, links: &Links) -> Result<Link, Reason> {
        let mut way = vec![links.server, links.actors[actor]];
        let mut at = self.scenario.actors[actor].network;
        while let Some(network) = at {
            way.push(links.networks[network]);
            at = self.scenario.networks[network].behind;
        }
        let (server, ours) = way.split_first().expect("the server's link is the first");
        let up = ours.iter().map(|link| link.up).chain([server.down]);
        let down = [server.up].into_iter().chain(ours.iter().map(|link| link.down));
        Ok(Link { up: one_way(up)?, down: one_way(down)? })
    }

    /// Whether a link is a part of an actor's path to the server.
    fn is_on_way(&self, actor: ActorIndex, link: &Action) -> bool {
        match link {
            Action::Machine(Machine::Server, _) => true,
            Action::Machine(Machine::Actor(other), _) => *other == actor,
            Action::Network(network, _) => {
                let outer = |inner: &NetworkIndex| self.scenario.networks[*inner].behind;
                std::iter::successors(self.scenario.actors[actor].network, outer).any(|inner| inner == *network)
            }
            _ => false,
        }
    }

    /// The steps for the actors that take part. A change of a link becomes one change for each path that contains the
    /// link.
    fn steps(&self) -> Result<Vec<Step>, Refused> {
        let mut links = Links::of(self.scenario);
        let way = |old: &ActorIndex| Some((*old, self.way(*old, &links).ok()?));
        let mut ways: BTreeMap<ActorIndex, Link> = self.index.keys().filter_map(way).collect();
        let mut is_partitioned = false;
        let mut steps = Vec::new();
        for step in &self.scenario.steps {
            let refuse = |why| ((step.line, step.at), why);
            match &step.action {
                Action::Machine(Machine::Server, MachineAction::Link(link)) => links.server = *link,
                Action::Machine(Machine::Actor(actor), MachineAction::Link(link)) => links.actors[*actor] = *link,
                Action::Network(network, NetworkAction::Link(link)) => links.networks[*network] = *link,
                // A partition between others has been left out.
                Action::World(WorldAction::Heal) if !is_partitioned => continue,
                other => {
                    let action = self.action(other).map_err(refuse)?;
                    match action {
                        Some(Action::World(WorldAction::Partition { .. })) => is_partitioned = true,
                        Some(Action::World(WorldAction::Heal)) => is_partitioned = false,
                        _ => {}
                    }
                    steps.extend(action.map(|action| Step { action, ..step.clone() }));
                    continue;
                }
            }
            let mut paths = Vec::new();
            for (old, new) in self.index.iter().filter(|(old, _)| self.is_on_way(**old, &step.action)) {
                let link = self.way(*old, &links).map_err(refuse)?;
                paths.push((*new, link, ways.insert(*old, link) != Some(link)));
            }
            // If no path changes, the step has no effect, and the run shows that.
            let changes_one = paths.iter().any(|(.., changes)| *changes);
            for (actor, link, changes) in paths {
                if changes || !changes_one {
                    let action = Action::Machine(Machine::Actor(actor), MachineAction::Link(link));
                    steps.push(Step { action, ..step.clone() });
                }
            }
        }
        Ok(steps)
    }

    /// An action with the new indices; `None` if it concerns only actors that do not take part.
    fn action(&self, action: &Action) -> Result<Option<Action>, Reason> {
        let one = |actor: &ActorIndex| self.index.get(actor).copied();
        let there = |machine: &Machine| match machine {
            Machine::Server => Some(Machine::Server),
            Machine::Actor(actor) => one(actor).map(Machine::Actor),
            Machine::IceServer(_) => None,
        };
        Ok(match action {
            Action::Join(actor) => one(actor).map(Action::Join),
            Action::Actor(actor, command) => {
                one(actor).zip(self.command(command)).map(|(actor, command)| Action::Actor(actor, command))
            }
            Action::Machine(Machine::Server, MachineAction::PowerLoss) => {
                return Err(Reason::NotOurs("`power-loss` of the server"));
            }
            Action::Machine(Machine::Server, MachineAction::Boot) => {
                return Err(Reason::NotOurs("`boot` of the server"));
            }
            Action::Machine(Machine::Server, MachineAction::Stall(_)) => {
                return Err(Reason::NotOurs("`stall`"));
            }
            Action::Machine(Machine::Server, MachineAction::ClockJump { .. }) => {
                return Err(Reason::NotOurs("`clock-jump`"));
            }
            Action::Machine(_, MachineAction::NewSecret) => return Err(Reason::NotOurs("`new-secret`")),
            Action::World(WorldAction::Shutdown) => return Err(Reason::NotOurs("`shutdown`")),
            Action::Machine(_, MachineAction::Move(_)) => return Err(Reason::NotOurs("`move`")),
            Action::Machine(machine, action) => there(machine).map(|machine| Action::Machine(machine, *action)),
            Action::Network(network, _) => {
                return Err(Reason::NatReboot(self.scenario.networks[*network].name.clone()));
            }
            Action::World(WorldAction::Partition { from, to, one_way }) => {
                let side = |machines: &[Machine]| machines.iter().filter_map(there).collect::<Vec<_>>();
                let (from, to) = (side(from), side(to));
                let is_actor = |machine: &&Machine| **machine != Machine::Server;
                if from.iter().any(|machine| is_actor(&machine)) && to.iter().any(|machine| is_actor(&machine)) {
                    return Err(Reason::PartitionOfActors);
                }
                let is_felt = !from.is_empty() && !to.is_empty();
                is_felt.then_some(Action::World(WorldAction::Partition { from, to, one_way: *one_way }))
            }
            Action::World(WorldAction::Heal) => Some(action.clone()),
        })
    }

    /// A command with the new indices; `None` if it concerns an actor that does not take part.
    fn command(&self, command: &Command) -> Option<Command> {
        let one = |actor: &ActorIndex| self.index.get(actor).copied();
        match command {
            Command::Hangup(on) => one(on).map(Command::Hangup),
            Command::IceRestart(with) => one(with).map(Command::IceRestart),
            Command::Offer(to) => one(to).map(Command::Offer),
            Command::Call(other) => one(other).map(Command::Call),
            Command::Leave
            | Command::Drop
            | Command::Say(_)
            | Command::Accept
            | Command::Reject
            | Command::Suspend
            | Command::Resume
            | Command::Media(..)
            | Command::AddTrack(_) => Some(command.clone()),
        }
    }
}

/// The name of a room that belongs to this run alone.
fn room(room: &str, tag: &str) -> String {
    let own = format!("{room}-{tag}");
    if own.chars().count() <= ROOM_CHARS_MAX { own } else { format!("{:016x}-{tag}", digest(room.as_bytes())) }
}

/// Eight hexadecimal digits of a seed.
fn tag(seed: u64) -> String {
    format!("{:08x}", digest(&seed.to_le_bytes()) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_in_the_vocabulary() {
        let unknown: Vec<_> =
            SIMULATED.iter().filter(|probe| !scenarios::PROBES.iter().any(|(name, _)| name == *probe)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn a_script_has_its_own_rooms_and_the_whole_way_of_each_actor() {
        let scenario = scenarios::load("mesh-6").expect("it is shipped");
        let script =
            |seed| Script::of(&scenario, &Protocol::load("mesh").expect("a protocol"), seed).expect("it can be played");
        let (one, other) = (script(1), script(2));
        assert_ne!(one.scenario.actors[0].room, other.scenario.actors[0].room);
        assert_eq!(one.unasked, ["hairpinned"]);
        // eve is behind two NATs: that of her home and that of her provider.
        let [ana, eve] = [0, 4].map(|actor: usize| one.scenario.actors[actor].link);
        let networks: Duration =
            scenario.networks.iter().filter(|n| n.name == "provider").map(|n| n.link.up.latency).sum();
        assert_eq!(eve.up.latency - ana.up.latency, networks);
        assert!(room(&"x".repeat(64), "1234abcd").chars().count() <= ROOM_CHARS_MAX);
    }

    #[test]
    fn each_direction_of_a_way_has_its_own_time_and_what_cannot_be_made_is_refused() {
        let way = |link: &str| {
            let text = format!(
                "name = 'x'\nduration = '9s'\n[server]\nlink = {{ latency = '5ms', up = {{ latency = '3ms', jitter = '2ms' }} }}\n\
                 [[actor]]\nname = 'ana'\nlink = {{ {link} }}\n[[actor]]\nname = 'ben'\n"
            );
            let scenario = scenarios::parse("x.toml", &text).unwrap_or_else(|error| panic!("{error}"));
            Script::of(&scenario, &Protocol::load("mesh").expect("a protocol"), 1)
                .map(|script| script.scenario.actors[0].link)
        };
        let link =
            way("up = { latency = '40ms' }, down = { latency = '20ms', jitter = '7ms' }").expect("it can be played");
        let millis = |way: OneWay| (way.latency.as_millis(), way.jitter.usual_max().as_millis());
        // Towards the server: the actor's link up and the server's down.
        assert_eq!((millis(link.up), millis(link.down)), ((45, 0), (23, 9)));
        let why = |link: &str| way(link).expect_err(link).why;
        assert_eq!(why("down = { corrupt = '1%' }"), Reason::LossyLink);
        assert_eq!(why("gilbert-elliott = { p = '1%', r = '50%' }"), Reason::LossyLink);
        assert_eq!(why("up = { mtu = 1400 }"), Reason::Bandwidth);
        assert_eq!(why("jitter = { distribution = 'pareto', mean = '1ms' }"), Reason::Distribution);
    }

    #[test]
    fn who_speaks_something_else_stays_away_with_their_steps() {
        let scenario = scenarios::load("glare-offer").expect("it is shipped");
        let script = Script::of(&scenario, &Protocol::load("relay").expect("a protocol"), 1).expect("it can be played");
        assert_eq!(script.absent, ["ana", "ben"]);
        let offer = |a, b| Action::Actor(ActorIndex(a), Command::Offer(ActorIndex(b)));
        let expected = [offer(0, 1), offer(1, 0)];
        assert_eq!(script.scenario.steps.iter().map(|step| step.action.clone()).collect::<Vec<_>>()[..2], expected);
        assert_eq!(script.scenario.steps.len(), 4, "two offers, and two say something");
    }
}
