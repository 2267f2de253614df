//! Smaller versions of a scenario: without some of its actors, steps and networks. What names something that is gone goes
//! with it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use scenarios::{
    Action, Actor, ActorIndex, Command, Expect, ExpectedConnection, IceServerIndex, Jitter, Link, Machine,
    MachineAction, Move, NetworkAction, NetworkIndex, OneWay, PacketFate, PacketName, Scenario, Step, WorldAction,
};

use crate::reachability::{Place, Verdict, can_connect};

/// A link on which chance decides nothing.
pub(in crate::campaign) fn without_chance(link: Link) -> Link {
    let certain = |way| OneWay {
        jitter: Jitter::NONE,
        loss_ppm: 0,
        burst_loss: None,
        corrupt_ppm: 0,
        duplicate_ppm: 0,
        reorder_ppm: 0,
        ..way
    };
    both_ways(link, certain)
}

/// A link of which each direction is changed.
pub(super) fn both_ways(link: Link, change: impl Fn(OneWay) -> OneWay) -> Link {
    Link { up: change(link.up), down: change(link.down) }
}

/// Whether chance decides anything on a link.
pub(super) fn has_chance(link: Link) -> bool {
    without_chance(link) != link
}

/// All links of a scenario, in a fixed order: of the server, of other servers, networks and actors, and those of steps.
pub(in crate::campaign) fn links(scenario: &mut Scenario) -> Vec<&mut Link> {
    let of_steps = scenario.steps.iter_mut().filter_map(|step| match &mut step.action {
        Action::Machine(_, MachineAction::Link(link)) | Action::Network(_, NetworkAction::Link(link)) => Some(link),
        _ => None,
    });
    [&mut scenario.server.link]
        .into_iter()
        .chain(scenario.ice_servers.iter_mut().map(|server| &mut server.link))
        .chain(scenario.networks.iter_mut().map(|network| &mut network.link))
        .chain(scenario.actors.iter_mut().map(|actor| &mut actor.link))
        .chain(of_steps)
        .collect()
}

/// New indices of what is kept, by the old ones.
struct Kept<'a> {
    actor: &'a dyn Fn(ActorIndex) -> Option<ActorIndex>,
    ice_server: &'a dyn Fn(IceServerIndex) -> Option<IceServerIndex>,
    network: &'a dyn Fn(NetworkIndex) -> Option<NetworkIndex>,
}

impl Kept<'_> {
    fn machine(&self, machine: Machine) -> Option<Machine> {
        match machine {
            Machine::Server => Some(machine),
            Machine::Actor(actor) => (self.actor)(actor).map(Machine::Actor),
            Machine::IceServer(index) => (self.ice_server)(index).map(Machine::IceServer),
        }
    }

    fn machines(&self, machines: &[Machine]) -> Vec<Machine> {
        machines.iter().filter_map(|machine| self.machine(*machine)).collect()
    }

    fn action(&self, action: &Action) -> Option<Action> {
        Some(match action {
            Action::Join(actor) => Action::Join((self.actor)(*actor)?),
            Action::Actor(actor, command) => {
                let with = |other: &ActorIndex| (self.actor)(*other);
                let command = match command {
                    Command::Hangup(other) => Command::Hangup(with(other)?),
                    Command::IceRestart(other) => Command::IceRestart(with(other)?),
                    Command::Offer(other) => Command::Offer(with(other)?),
                    Command::Call(other) => Command::Call(with(other)?),
                    Command::Leave
                    | Command::Drop
                    | Command::Say(_)
                    | Command::Accept
                    | Command::Reject
                    | Command::Suspend
                    | Command::Resume
                    | Command::Media(..)
                    | Command::AddTrack(_) => command.clone(),
                };
                Action::Actor((self.actor)(*actor)?, command)
            }
            Action::Machine(machine, MachineAction::Move(to)) => {
                let network = match to.network {
                    Some(network) => Some((self.network)(network)?),
                    None => None,
                };
                Action::Machine(self.machine(*machine)?, MachineAction::Move(Move { network, ..*to }))
            }
            Action::Machine(machine, action) => Action::Machine(self.machine(*machine)?, *action),
            Action::Network(network, action) => Action::Network((self.network)(*network)?, *action),
            Action::World(WorldAction::Partition { from, to, one_way }) => {
                let (from, to) = (self.machines(from), self.machines(to));
                if from.is_empty() || to.is_empty() {
                    return None;
                }
                Action::World(WorldAction::Partition { from, to, one_way: *one_way })
            }
            Action::World(WorldAction::Shutdown | WorldAction::Heal) => action.clone(),
        })
    }

    fn pair(&self, (a, b): (ActorIndex, ActorIndex)) -> Option<(ActorIndex, ActorIndex)> {
        Some(((self.actor)(a)?, (self.actor)(b)?))
    }

    /// Rewrites what names actors, machines and networks.
    fn rename(&self, scenario: &mut Scenario) {
        let step = |step: &Step| Some(Step { action: self.action(&step.action)?, ..step.clone() });
        scenario.steps = scenario.steps.iter().filter_map(step).collect();
        let packet = |fate: &PacketFate| {
            let packet = fate.packet;
            let (from, to) = (self.machine(packet.from)?, self.machine(packet.to)?);
            Some(PacketFate { packet: PacketName { from, to, ..packet }, ..*fate })
        };
        scenario.packets = scenario.packets.iter().filter_map(packet).collect();
        for actor in &mut scenario.actors {
            actor.ice_servers = self.machines(&actor.ice_servers);
            actor.network = actor.network.and_then(self.network);
        }
        let Expect { connected, unconnected, relayed, .. } = &mut scenario.expect;
        let expected = |expected: &ExpectedConnection| {
            Some(ExpectedConnection { pair: self.pair(expected.pair)?, ..expected.clone() })
        };
        *connected = connected.iter().filter_map(expected).collect();
        *unconnected = unconnected.iter().filter_map(|pair| self.pair(*pair)).collect();
        *relayed = relayed.take().map(|pairs| pairs.iter().filter_map(|pair| self.pair(*pair)).collect());
    }
}

/// New indices for the members of a list that are kept.
fn renumbered(keep: &[bool]) -> BTreeMap<usize, usize> {
    let kept = keep.iter().enumerate().filter(|(_, keep)| **keep);
    kept.enumerate().map(|(new, (old, _))| (old, new)).collect()
}

fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    list.retain(|_| *keep.next().expect("one for each"));
}

/// The scenario with these actors only.
pub(super) fn with_actors(scenario: &Scenario, actors: &[usize]) -> Scenario {
    let keep: Vec<bool> = (0..scenario.actors.len()).map(|index| actors.contains(&index)).collect();
    let new = renumbered(&keep);
    let mut smaller = scenario.clone();
    retain(&mut smaller.actors, &keep);
    let kept = Kept { actor: &|actor| new.get(&actor.0).copied().map(ActorIndex), ice_server: &Some, network: &Some };
    kept.rename(&mut smaller);
    without_empty_networks(&smaller)
}

/// The scenario with these STUN and TURN servers only, apart from that of the signaling server's machine.
pub(super) fn with_ice_servers(scenario: &Scenario, servers: &[usize]) -> Scenario {
    let keep: Vec<bool> = (0..scenario.ice_servers.len()).map(|index| servers.contains(&index)).collect();
    let new = renumbered(&keep);
    let mut smaller = scenario.clone();
    retain(&mut smaller.ice_servers, &keep);
    let kept =
        Kept { actor: &Some, ice_server: &|index| new.get(&index.0).copied().map(IceServerIndex), network: &Some };
    kept.rename(&mut smaller);
    smaller
}

/// The scenario without the networks in which, and behind which, there is no actor.
fn without_empty_networks(scenario: &Scenario) -> Scenario {
    let mut keep = vec![false; scenario.networks.len()];
    let moves = scenario.steps.iter().filter_map(|step| match &step.action {
        Action::Machine(_, MachineAction::Move(to)) => Some(to.network),
        _ => None,
    });
    for network in scenario.actors.iter().map(|actor| actor.network).chain(moves) {
        let mut at = network;
        while let Some(network) = at {
            keep[network.0] = true;
            at = scenario.networks[network].behind;
        }
    }
    with_networks(scenario, &keep)
}

fn with_networks(scenario: &Scenario, keep: &[bool]) -> Scenario {
    let new = renumbered(keep);
    let renamed = |network: NetworkIndex| new.get(&network.0).copied().map(NetworkIndex);
    let mut smaller = scenario.clone();
    retain(&mut smaller.networks, keep);
    for network in &mut smaller.networks {
        network.behind = network.behind.and_then(renamed);
    }
    Kept { actor: &Some, ice_server: &Some, network: &renamed }.rename(&mut smaller);
    smaller
}

/// The scenario without a network: its actors and the networks behind it move to the network outside of it.
pub(super) fn without_network(scenario: &Scenario, network: usize) -> Scenario {
    let mut smaller = scenario.clone();
    let outside = scenario.networks[network].behind;
    for index in 0..smaller.actors.len() {
        if smaller.actors[index].network == Some(NetworkIndex(network)) {
            smaller.actors[index].network = outside;
            smaller.actors[index].address = free_address(&smaller, outside);
        }
    }
    for index in 0..smaller.networks.len() {
        if smaller.networks[index].behind == Some(NetworkIndex(network)) {
            smaller.networks[index].behind = outside;
            smaller.networks[index].external = vec![free_address(&smaller, outside)];
        }
    }
    let keep: Vec<bool> = (0..smaller.networks.len()).map(|index| index != network).collect();
    with_networks(&smaller, &keep)
}

/// An address in a network, or on the internet, that nobody has.
fn free_address(scenario: &Scenario, network: Option<NetworkIndex>) -> Ipv4Addr {
    let first = match network {
        None => Ipv4Addr::new(203, 0, 113, 0),
        Some(network) => scenario.networks[network].gateway,
    };
    let [a, b, c, _] = first.octets();
    let is_taken = |address: &Ipv4Addr| {
        scenario.server.address == *address
            || scenario.ice_servers.iter().any(|server| server.address == *address)
            || scenario.actors.iter().any(|actor| actor.address == *address)
            || scenario.networks.iter().any(|other| other.gateway == *address || other.external.contains(address))
    };
    let mut all = (10..=254).map(|last| Ipv4Addr::new(a, b, c, last));
    all.find(|address| !is_taken(address)).unwrap_or(first)
}

/// Whether a step is a fault, and not something that people do.
pub(super) fn is_fault(action: &Action) -> bool {
    match action {
        Action::Join(_) => false,
        Action::Actor(_, command) => matches!(command, Command::Drop | Command::Suspend | Command::Resume),
        Action::Machine(..) | Action::Network(..) | Action::World(_) => true,
    }
}

/// The scenario without faults: nothing happens but what people do, and chance decides nothing.
pub(super) fn calm(scenario: &Scenario) -> Scenario {
    let mut calm = scenario.clone();
    calm.steps.retain(|step| !is_fault(&step.action));
    calm.packets.clear();
    for link in links(&mut calm) {
        *link = without_chance(*link);
    }
    calm
}

/// What a scenario leaves broken at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Whether machines are cut off from each other.
    is_parted: bool,
    /// Servers without power or program.
    down: Vec<Machine>,
    /// The links that differ from the start.
    links: Vec<(Option<Machine>, Option<NetworkIndex>)>,
}

impl Left {
    /// Whether everything that is left broken is so in the other scenario, too. Indices may differ, so kinds are compared.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let servers = |left: &Self| left.down.iter().filter(|machine| machine.actor().is_none()).count();
        (!self.is_parted || other.is_parted) && servers(self) <= servers(other) && self.links.len() <= other.links.len()
    }
}

/// Removes the steps that repair what is not broken. Returns what is left broken at the end.
pub(super) fn tidy(scenario: &mut Scenario) -> Left {
    let mut left = Left::default();
    let (server, ice): (Link, Vec<Link>) =
        (scenario.server.link, scenario.ice_servers.iter().map(|server| server.link).collect());
    let (actors, networks): (Vec<Link>, Vec<Link>) = (
        scenario.actors.iter().map(|actor| actor.link).collect(),
        scenario.networks.iter().map(|network| network.link).collect(),
    );
    let set = |left: &mut Left, place, link: Link, start: Link| {
        let was_changed = left.links.contains(&place);
        left.links.retain(|other| *other != place);
        if link != start {
            left.links.push(place);
        }
        was_changed || link != start
    };
    scenario.steps.retain(|step| match &step.action {
        Action::World(WorldAction::Partition { .. }) => {
            left.is_parted = true;
            true
        }
        Action::World(WorldAction::Heal) => std::mem::take(&mut left.is_parted),
        Action::World(WorldAction::Shutdown) => {
            left.down.push(Machine::Server);
            true
        }
        Action::Machine(machine, MachineAction::PowerLoss) => {
            left.down.push(*machine);
            true
        }
        // An actor that has left boots, too.
        Action::Machine(machine, MachineAction::Boot) => {
            let was_down = left.down.contains(machine);
            left.down.retain(|other| other != machine);
            was_down || machine.actor().is_some()
        }
        Action::Machine(machine, MachineAction::Link(link)) => {
            let start = match machine {
                Machine::Server => server,
                Machine::IceServer(index) => ice[index.0],
                Machine::Actor(actor) => actors[*actor],
            };
            set(&mut left, (Some(*machine), None), *link, start)
        }
        Action::Network(network, NetworkAction::Link(link)) => {
            set(&mut left, (None, Some(*network)), *link, networks[*network])
        }
        _ => true,
    });
    left
}

/// Lists the pairs again that cannot connect, as it follows from the NATs.
pub(super) fn expect_what_nats_allow(scenario: &mut Scenario) {
    let place = |actor: usize| Place::of(scenario, ActorIndex(actor));
    let meet =
        |a: &Actor, b: &Actor| a.webrtc && b.webrtc && a.room == b.room && a.plays.dialect() == b.plays.dialect();
    let mut unconnected = Vec::new();
    for b in 0..scenario.actors.len() {
        for a in 0..b {
            let (one, other) = (&scenario.actors[a], &scenario.actors[b]);
            if meet(one, other) && matches!(can_connect(&place(a), &place(b)), Verdict::NeedsRelay(_)) {
                unconnected.push((ActorIndex(a), ActorIndex(b)));
            }
        }
    }
    scenario.expect.unconnected = unconnected;
}
