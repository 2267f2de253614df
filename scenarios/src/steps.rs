//! The steps and expectations of a scenario: resolves their names, and checks that the named actors can do what the
//! steps say.

use std::collections::BTreeSet;

use crate::draft::{Draft, INTERNET, SERVER};
use crate::dry_run::{Presence, dry_run};
use crate::error::{Problems, instead, list, unknown};
use crate::file::{File, Names, Verb};
use crate::ice::IceServerIndex;
use crate::link::LinkEntry;
use crate::nat::NatReboot;
use crate::probes::PROBES;
use crate::role::Role;
use crate::scenario::{
    Action, Actor, ActorIndex, Command, Expect, ExpectedConnection, Machine, MachineAction, Network, NetworkAction,
    NetworkIndex, ServerSetup, Step, WorldAction,
};
use crate::table::Lined;
use crate::value::show;

/// The steps in order of time, and the expectations. Reports problems.
pub(crate) fn resolve(file: &File, draft: &Draft, server: &ServerSetup, problems: &Problems) -> (Vec<Step>, Expect) {
    let look_up = LookUp { draft, server, problems };
    let mut steps = Vec::new();
    for (number, Lined { line, value: entry }) in file.steps.iter().enumerate() {
        let at = entry.at.value;
        if at >= file.duration.value {
            let message =
                format!("`at`: {} is not before the end: `duration` is {}", show(at), show(file.duration.value));
            problems.report(entry.at.line, message);
        }
        let actions = look_up.actions(number, *line, &entry.verb);
        steps.extend(actions.into_iter().map(|action| Step { at, action, line: *line }));
    }
    steps.sort_by_key(|step| step.at);
    let at_end = if problems.none() && !file.idle_steps { dry_run(draft, &steps, problems) } else { Vec::new() };
    let expect = look_up.expect(file, &at_end);
    (steps, expect)
}

/// Resolves names.
pub(crate) struct LookUp<'a> {
    pub(crate) draft: &'a Draft,
    pub(crate) server: &'a ServerSetup,
    pub(crate) problems: &'a Problems,
}

impl LookUp<'_> {
    /// The actions of a verb, one for each actor or machine.
    fn actions(&self, number: usize, line: usize, verb: &Verb) -> Vec<Action> {
        let each = |names: &Names, command: Command| self.commands(names, &command);
        let machines = |names: &Names, action: MachineAction| {
            self.machines(names).into_iter().map(|machine| Action::Machine(machine, action)).collect()
        };
        match verb {
            Verb::Join(names) => self.actors(names).into_iter().map(Action::Join).collect(),
            Verb::Leave(names) => each(names, Command::Leave),
            Verb::Drop(names) => each(names, Command::Drop),
            Verb::Say(names, text) => each(names, Command::Say(text.clone())),
            Verb::Hangup(actor, with) => self.pair("hang up on", actor, with, Command::Hangup),
            Verb::IceRestart(actor, with) => self.pair("restart ICE with", actor, with, Command::IceRestart),
            Verb::Offer(actor, with) => self.pair("offer to", actor, with, Command::Offer),
            Verb::Call(actor, with) => self.pair("call", actor, with, Command::Call),
            Verb::Accept(names) => self.users("accept a call", names, &Command::Accept),
            Verb::Reject(names) => self.users("reject a call", names, &Command::Reject),
            Verb::Media(names, kind, enabled) => each(names, Command::Media(*kind, *enabled)),
            Verb::AddTrack(names, kind) => {
                self.senders(names);
                self.commands(names, &Command::AddTrack(*kind))
            }
            Verb::PowerLoss(names) => machines(names, MachineAction::PowerLoss),
            Verb::Boot(names) => machines(names, MachineAction::Boot),
            Verb::Shutdown => vec![Action::World(WorldAction::Shutdown)],
            Verb::Stall(names, time) => {
                if time.value.is_zero() {
                    self.problems.report(time.line, "`time` must be longer than 0s");
                }
                self.programs_only("stall", names, MachineAction::Stall(time.value))
            }
            Verb::ClockJump(names, by) => {
                self.programs_only("clock-jump", names, MachineAction::ClockJump { ms: by.value.0 })
            }
            Verb::NewSecret(names) => self.turn_servers(names),
            Verb::Move { actors, network, .. } => self.moves(number, line, actors, network),
            Verb::Suspend(names) => self.clients("suspend", names, &Command::Suspend),
            Verb::Resume(names) => self.clients("resume", names, &Command::Resume),
            Verb::NatReboot { network, resets_tcp, .. } => {
                let Some(index) = self.network(network) else { return Vec::new() };
                let Network { nat, ipv6, .. } = &self.draft.networks[index];
                let has_firewall = ipv6.as_ref().is_some_and(|ipv6| ipv6.firewall.is_some());
                if nat.is_none() && !has_firewall {
                    self.problems.report(network.line, format!("`{}` has no NAT that could reboot", network.value));
                }
                let new_address = self.draft.new_addresses.get(&number).copied();
                let reboot = NatReboot { resets_tcp: *resets_tcp, new_address };
                vec![Action::Network(index, NetworkAction::Reboot(reboot))]
            }
            Verb::Partition { from, to, one_way } => {
                let (from_machines, to_machines) = (self.machines(from), self.machines(to));
                if let Some(both) = from_machines.iter().find(|machine| to_machines.contains(machine)) {
                    let message = format!("`{}` is on both sides of the partition", self.name(*both));
                    self.problems.report(line, message);
                }
                let partition = WorldAction::Partition { from: from_machines, to: to_machines, one_way: *one_way };
                vec![Action::World(partition)]
            }
            Verb::Heal => vec![Action::World(WorldAction::Heal)],
            Verb::Link { machine, network, link } => self.links(machine.as_ref(), network.as_ref(), link),
        }
    }

    /// An action for machines that run a program of others. Whether the server does is known only when it is started.
    fn programs_only(&self, verb: &str, names: &Names, action: MachineAction) -> Vec<Action> {
        let machines = self.machines(names);
        for machine in &machines {
            let (name, program) = match *machine {
                Machine::Server => continue,
                Machine::IceServer(index) => {
                    let server = &self.draft.ice_servers[index];
                    (&server.name, &server.program)
                }
                Machine::Actor(actor) => (&self.draft.actors[actor].name, &self.draft.actors[actor].program),
            };
            if program.is_none() {
                let line = names.first().map_or(0, |first| first.line);
                let message = format!("`{verb}` is for programs only: `{name}` has no `run`");
                self.problems.report(line, message);
            }
        }
        machines.into_iter().map(|machine| Action::Machine(machine, action)).collect()
    }

    /// A new secret for TURN servers. Reports machines that have none, or one of others.
    fn turn_servers(&self, names: &Names) -> Vec<Action> {
        let machines = self.machines(names);
        for machine in &machines {
            let wrong = match *machine {
                Machine::Server if self.server.turn.is_none() => "has no TURN server: add `turn = true`",
                Machine::IceServer(index) => match &self.draft.ice_servers[index] {
                    server if server.turn.is_none() => "has no TURN server: remove `turn = false`",
                    server if server.program.is_some() => "has `run`, and only the program can change its secret",
                    _ => continue,
                },
                Machine::Actor(_) => "is an actor: name a machine with a TURN server",
                Machine::Server => continue,
            };
            let line = names.first().map_or(0, |first| first.line);
            self.problems.report(line, format!("`new-secret`: `{}` {wrong}", self.name(*machine)));
        }
        machines.into_iter().map(|machine| Action::Machine(machine, MachineAction::NewSecret)).collect()
    }

    /// The moves of actors to another network.
    fn moves(&self, number: usize, line: usize, names: &Names, network: &Lined<String>) -> Vec<Action> {
        let to = if network.value == INTERNET { None } else { Some(self.network(network)) };
        if to == Some(None) {
            return Vec::new();
        }
        let has_ipv6 = to.flatten().is_some_and(|network| self.draft.networks[network].ipv6.is_some());
        let mut actions = Vec::new();
        for actor in self.actors(names) {
            let Actor { name, ipv4, program, .. } = &self.draft.actors[actor];
            if program.is_some() {
                self.problems.report(line, format!("`move`: `{name}` is a program given by `run`, which cannot move"));
            } else if !ipv4 && !has_ipv6 {
                let message =
                    format!("`{name}` has no IPv4, and `{}` no IPv6: it would have no address", network.value);
                self.problems.report(network.line, message);
            }
            let to = self.draft.moves.get(&(number, actor.0)).copied();
            actions.extend(to.map(|to| Action::Machine(Machine::Actor(actor), MachineAction::Move(to))));
        }
        actions
    }

    /// A command for clients of Glare. Reports actors that are programs of others.
    fn clients(&self, verb: &str, names: &Names, command: &Command) -> Vec<Action> {
        let program = self.actors(names).into_iter().find(|actor| self.draft.actors[*actor].program.is_some());
        if let (Some(actor), Some(name)) = (program, names.first()) {
            let message = format!(
                "`{verb}` is for Glare's own clients, and `{}` has `run`: use `stall`",
                self.draft.actors[actor].name
            );
            self.problems.report(name.line, message);
        }
        self.commands(names, command)
    }

    fn links(&self, machine: Option<&Names>, network: Option<&Lined<String>>, link: &LinkEntry) -> Vec<Action> {
        let of_network = network.and_then(|network| self.network(network));
        let of_machines = machine.map(|names| self.machines(names)).unwrap_or_default();
        let changed = |machine: Machine| {
            let before = match machine {
                Machine::Server => self.server.link,
                Machine::IceServer(index) => self.draft.ice_servers[index].link,
                Machine::Actor(actor) => self.draft.actors[actor].link,
            };
            Action::Machine(machine, MachineAction::Link(link.over(before)))
        };
        let of_network = of_network.map(|index| {
            let link = link.over(self.draft.networks[index].link);
            Action::Network(index, NetworkAction::Link(link))
        });
        of_machines.into_iter().map(changed).chain(of_network).collect()
    }

    fn network(&self, name: &Lined<String>) -> Option<NetworkIndex> {
        let found = self.draft.network_names.get(&name.value).copied();
        if found.is_none() {
            let known = self.draft.network_names.keys().map(String::as_str);
            self.problems.report(name.line, unknown("network", &name.value, known));
        }
        found
    }

    /// The actors that names and groups stand for, without duplicates.
    fn actors(&self, names: &Names) -> Vec<ActorIndex> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            match self.draft.actor_names.get(&name.value) {
                Some(range) => found.extend(range.clone().map(ActorIndex).filter(|actor| seen.insert(*actor))),
                None if name.value == SERVER => {
                    self.problems.report(name.line, format!("`{SERVER}` is not an actor: name an actor"));
                }
                None => self.problems.report(name.line, self.unknown_actor(&name.value)),
            }
        }
        found
    }

    fn unknown_actor(&self, name: &str) -> String {
        unknown("actor", name, self.draft.actor_names.keys().map(String::as_str))
    }

    /// The actor that a name stands for. Reports the names of groups.
    fn actor(&self, name: &Lined<String>) -> Option<ActorIndex> {
        let found = self.draft.actor_names.get(&name.value);
        match found.cloned().map(|range| range.map(ActorIndex)).map(|mut range| (range.next(), range.next())) {
            Some((one, None)) => one,
            Some((Some(first), Some(_))) => {
                let first = &self.draft.actors[first].name;
                self.problems
                    .report(name.line, format!("`{}` is several actors: name one, such as `{first}`", name.value));
                None
            }
            _ => {
                self.problems.report(name.line, self.unknown_actor(&name.value));
                None
            }
        }
    }

    /// The machines that names of actors, of groups and of servers stand for.
    fn machines(&self, names: &[Lined<String>]) -> Vec<Machine> {
        let mut machines = Vec::new();
        for name in names {
            if name.value == SERVER {
                machines.push(Machine::Server);
            } else if let Some(range) = self.draft.actor_names.get(&name.value) {
                machines.extend(range.clone().map(ActorIndex).map(Machine::Actor));
            } else if let Some(index) = self.draft.ice_servers.iter().position(|server| server.name == name.value) {
                machines.push(Machine::IceServer(IceServerIndex(index)));
            } else {
                let servers = self.draft.ice_servers.iter().map(|server| server.name.as_str());
                let known = self.draft.actor_names.keys().map(String::as_str).chain(servers).chain([SERVER]);
                self.problems.report(name.line, unknown("machine", &name.value, known));
            }
        }
        machines
    }

    /// The machine that a name stands for. Reports the names of groups.
    pub(crate) fn machine(&self, name: &Lined<String>) -> Option<Machine> {
        if self.draft.actor_names.get(&name.value).is_some_and(|range| range.len() > 1) {
            return self.actor(name).map(Machine::Actor);
        }
        self.machines(std::slice::from_ref(name)).first().copied()
    }

    fn name(&self, machine: Machine) -> &str {
        match machine {
            Machine::Server => SERVER,
            Machine::IceServer(index) => &self.draft.ice_servers[index].name,
            Machine::Actor(actor) => &self.draft.actors[actor].name,
        }
    }

    /// A command for each of the actors. Reports actors that are not users, because only users can do it.
    fn users(&self, what: &str, names: &Names, command: &Command) -> Vec<Action> {
        let found = self.actors(names);
        let is_user = |actor: &&ActorIndex| self.draft.actors[**actor].plays == Role::User;
        if let (Some(other), Some(name)) = (found.iter().find(|actor| !is_user(actor)), names.first()) {
            let other = &self.draft.actors[*other];
            let message =
                format!("`{}` cannot {what}: only users can call, and it plays `{}`", other.name, other.plays.name());
            self.problems.report(name.line, message);
        }
        self.commands(names, command)
    }

    /// Reports actors that cannot add a track, because they make no offers or no tracks.
    fn senders(&self, names: &Names) {
        let wrong = |actor: &Actor| match actor {
            Actor { program: Some(_), .. } => Some("it is a program given by `run`"),
            Actor { runs: Some(_), .. } => Some("it is a browser, which sends both from the start"),
            Actor { webrtc: false, .. } => Some("it has `webrtc = false`"),
            Actor { plays: Role::Viewer, .. } => Some("a viewer's offer is refused; only its sender offers"),
            _ => None,
        };
        let found = self.actors(names).into_iter().find_map(|actor| {
            let actor = &self.draft.actors[actor];
            Some((&actor.name, wrong(actor)?))
        });
        if let (Some((actor, why)), Some(name)) = (found, names.first()) {
            self.problems.report(name.line, format!("`{actor}` cannot add a track: {why}"));
        }
    }

    /// A command for each of the actors that names and groups stand for.
    fn commands(&self, names: &Names, command: &Command) -> Vec<Action> {
        self.actors(names).into_iter().map(|actor| Action::Actor(actor, command.clone())).collect()
    }

    /// The reason why the roles or rooms of two actors do not allow a command between them, or `None`.
    fn miscast(&self, command: &Command, one: ActorIndex, other: ActorIndex) -> Option<String> {
        let [one, other] = [one, other].map(|actor| &self.draft.actors[actor]);
        let plays = |actor: &Actor| format!("`{}` plays `{}`", actor.name, actor.plays.name());
        let is_mixed =
            one.plays.dialect() != other.plays.dialect() || one.plays == other.plays && one.plays == Role::Sender;
        match (command, one.plays) {
            _ if is_mixed => Some(format!("{} and {}", plays(one), plays(other))),
            _ if one.room != other.room => Some("they are in different rooms".to_owned()),
            (Command::Call(_), Role::User) => None,
            (Command::Call(_), _) => Some(format!("only users can call, and {}", plays(one))),
            (Command::Hangup(_), Role::Mesh | Role::User) => None,
            (Command::Hangup(_), _) => Some(format!("{}, which has no hangup", plays(one))),
            (_, Role::Viewer) => Some("a viewer's offer is refused; only its sender offers".to_owned()),
            _ => None,
        }
    }

    fn pair(
        &self,
        what: &str,
        actor: &Lined<String>,
        with: &Lined<String>,
        command: fn(ActorIndex) -> Command,
    ) -> Vec<Action> {
        let (Some(one), Some(other)) = (self.actor(actor), self.actor(with)) else { return Vec::new() };
        let actors = &self.draft.actors;
        let command = command(other);
        if one == other {
            self.problems.report(with.line, format!("`{}` cannot {what} itself: name another actor", actor.value));
        } else if let Some(wrong) = self.miscast(&command, one, other) {
            self.problems.report(with.line, format!("`{}` cannot {what} `{}`: {wrong}", actor.value, with.value));
        } else if let Some(mute) = [one, other].into_iter().find(|actor| !actors[*actor].webrtc)
            && !matches!(command, Command::Call(_) | Command::Hangup(_) if actors[one].plays == Role::User)
        {
            let message = format!(
                "`{}` cannot {what} `{}`: `{}` has `webrtc = false`",
                actor.value, with.value, actors[mute].name
            );
            self.problems.report(with.line, message);
        }
        vec![Action::Actor(one, command)]
    }

    /// Resolves the expectations. `at_end` has one element per actor, or is empty if that is unknown.
    fn expect(&self, file: &File, at_end: &[Presence]) -> Expect {
        let is_there = |actor: ActorIndex| at_end.get(actor.0).is_none_or(|presence| *presence == Presence::There);
        let mut unconnected = Vec::new();
        let mut seen = BTreeSet::new();
        for pair in &file.expect.unconnected {
            let Some(((first, second), wrong)) = self.expected_pair("unconnected", pair) else { continue };
            let wrong = if !wrong.is_empty() {
                wrong
            } else if !seen.insert((first.min(second), first.max(second))) {
                "are listed twice"
            } else if !is_there(first) || !is_there(second) {
                "are not both there at the end: remove the pair"
            } else {
                ""
            };
            self.report_pair("unconnected", pair, wrong);
            unconnected.push((first, second));
        }
        let relayed = file.expect.relayed.as_ref().map(|pairs| self.relayed(pairs, &seen, &is_there));
        let mut connected = Vec::new();
        for Lined { line, value: entry } in &file.expect.connected {
            let Some(((first, second), wrong)) = self.expected_pair("pair", &entry.pair) else { continue };
            let end = file.duration.value;
            let until = entry.until.as_ref().map_or(end, |until| until.value);
            let from = entry.from.as_ref().map_or(until, |from| from.value);
            let wrong = if !wrong.is_empty() {
                wrong
            } else if until == end && seen.contains(&(first.min(second), first.max(second))) {
                "are also listed in `unconnected`: remove one of the two"
            } else if until == end && (!is_there(first) || !is_there(second)) {
                "are not both there at the end: add an `until`"
            } else {
                ""
            };
            self.report_pair("pair", &entry.pair, wrong);
            if let Some(late) = entry.until.as_ref().filter(|until| until.value > end) {
                let message = format!("`until`: {} is after the end: `duration` is {}", show(late.value), show(end));
                self.problems.report(late.line, message);
            }
            if let Some(late) = entry.from.as_ref().filter(|from| from.value > until) {
                let message =
                    format!("`from`: {} is after {}, when the expectation ends", show(late.value), show(until));
                self.problems.report(late.line, message);
            }
            connected.push(ExpectedConnection { pair: (first, second), from, until, line: *line });
        }
        let known = PROBES.iter().map(|(name, _)| *name);
        for probe in &file.expect.probes {
            if !known.clone().any(|name| name == probe.value.0) {
                let instead = instead(&probe.value.0, "probes", known.clone());
                self.problems.report(probe.line, format!("unknown probe `{}`{instead}", probe.value.0));
            }
        }
        let probes = file.expect.probes.iter().map(|probe| probe.value.0.clone()).collect();
        Expect { connected, unconnected, relayed, probes, line: file.expect.line }
    }

    /// The pairs that are expected to be relayed. `unconnected` are those that are not to be connected at all.
    fn relayed(
        &self,
        pairs: &[Lined<Vec<Lined<String>>>],
        unconnected: &BTreeSet<(ActorIndex, ActorIndex)>,
        is_there: &impl Fn(ActorIndex) -> bool,
    ) -> Vec<(ActorIndex, ActorIndex)> {
        let mut relayed = Vec::new();
        let mut seen = BTreeSet::new();
        let has_turn = |actor: ActorIndex| {
            self.draft.actors[actor].ice_servers.iter().any(|machine| match machine {
                Machine::Server => self.server.turn.is_some(),
                Machine::IceServer(index) => self.draft.ice_servers[*index].turn.is_some(),
                Machine::Actor(_) => false,
            })
        };
        for pair in pairs {
            let Some(((first, second), wrong)) = self.expected_pair("relayed", pair) else { continue };
            let both = (first.min(second), first.max(second));
            let wrong = if !wrong.is_empty() {
                wrong
            } else if !seen.insert(both) {
                "are listed twice"
            } else if unconnected.contains(&both) {
                "are also listed in `unconnected`: remove one of the two"
            } else if !is_there(first) || !is_there(second) {
                "are not both there at the end: remove the pair"
            } else if !has_turn(first) && !has_turn(second) {
                "have no TURN server: add `turn = true` to [server], or an [[ice-server]]"
            } else {
                ""
            };
            self.report_pair("relayed", pair, wrong);
            relayed.push((first, second));
        }
        relayed
    }

    /// Two actors of which something is expected, and why they can never be connected, which is empty if they can.
    /// Reports names that are not two actors.
    fn expected_pair(
        &self,
        key: &str,
        pair: &Lined<Vec<Lined<String>>>,
    ) -> Option<((ActorIndex, ActorIndex), &'static str)> {
        let [one, other] = pair.value.as_slice() else {
            self.problems.report(pair.line, format!("`{key}`: a pair has two actors, not {}", pair.value.len()));
            return None;
        };
        let (first, second) = (self.actor(one)?, self.actor(other)?);
        let actors = &self.draft.actors;
        let wrong = if first == second {
            "are the same: name two actors"
        } else if actors[first].plays.dialect() != actors[second].plays.dialect() {
            "play different dialects, so they never connect: remove the pair"
        } else if actors[first].room != actors[second].room {
            "are in different rooms, so they never connect: remove the pair"
        } else if !actors[first].webrtc || !actors[second].webrtc {
            "have no WebRTC (`webrtc = false`): remove the pair"
        } else {
            ""
        };
        Some(((first, second), wrong))
    }

    /// Reports what is wrong with a pair, unless that is empty.
    fn report_pair(&self, key: &str, pair: &Lined<Vec<Lined<String>>>, wrong: &str) {
        if let ([one, other], false) = (pair.value.as_slice(), wrong.is_empty()) {
            let names = list([one.value.as_str(), other.value.as_str()], "and");
            self.problems.report(one.line, format!("`{key}`: {names} {wrong}"));
        }
    }
}
