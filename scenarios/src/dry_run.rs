//! Goes through the steps of a scenario before it is played, and tracks which actors are present and which users are in
//! a call.
//!
//! A step that would have no effect, because its actor is not present or has no power, is reported as a mistake. What
//! depends on the time that messages take is left to the run, which records steps without effect.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::draft::{Draft, SERVER};
use crate::error::{Problems, quote};
use crate::ice::IceServerIndex;
use crate::role::{Dialect, Role};
use crate::scenario::{
    Action, ActorIndex, Command, Machine, MachineAction, MediaKind, NetworkIndex, Step, WorldAction,
};
use crate::value::show;

/// Whether an actor is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Away,
    There,
    Down,
}

/// The state of a user's call. The state of the other side always matches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallState {
    /// A fault of the network may have ended the user's call, or have kept it from noticing one.
    Unknown,
    Idle,
    Calling(ActorIndex),
    Ringing(ActorIndex),
    InCall(ActorIndex),
}

impl CallState {
    fn peer(self) -> Option<ActorIndex> {
        match self {
            Self::Unknown | Self::Idle => None,
            Self::Calling(peer) | Self::Ringing(peer) | Self::InCall(peer) => Some(peer),
        }
    }
}

/// Goes through the steps and reports those that would have no effect. Returns the presence of each actor at the end.
pub(crate) fn dry_run(draft: &Draft, steps: &[Step], problems: &Problems) -> Vec<Presence> {
    let mut run = DryRun {
        draft,
        presence: vec![Presence::Away; draft.actors.len()],
        calls: vec![CallState::Idle; draft.actors.len()],
        server_down: false,
        ice_servers_down: BTreeSet::new(),
        partitioned: false,
        suspended: BTreeSet::new(),
        tracks: draft
            .actors
            .iter()
            .map(|actor| actor.media.iter().flat_map(|media| media.kinds.clone()).collect())
            .collect(),
        problems,
    };
    let mut joins: Vec<(Duration, ActorIndex)> =
        draft.actors.iter().enumerate().filter_map(|(index, actor)| Some((actor.joins?, ActorIndex(index)))).collect();
    joins.sort();
    let mut joins = joins.into_iter().peekable();
    for step in steps {
        // Joins happen before the steps at the same time.
        while let Some((at, actor)) = joins.next_if(|(at, _)| *at <= step.at) {
            run.join(actor, at, draft.actors[actor].line);
        }
        run.play(step);
    }
    for (at, actor) in joins {
        run.join(actor, at, draft.actors[actor].line);
    }
    run.presence
}

struct DryRun<'a> {
    draft: &'a Draft,
    presence: Vec<Presence>,
    calls: Vec<CallState>,
    server_down: bool,
    /// The machines with STUN and TURN servers that are down.
    ice_servers_down: BTreeSet<IceServerIndex>,
    partitioned: bool,
    suspended: BTreeSet<ActorIndex>,
    /// What each actor sends.
    tracks: Vec<BTreeSet<MediaKind>>,
    problems: &'a Problems,
}

impl DryRun<'_> {
    fn wrong(&self, line: usize, actor: ActorIndex, at: Duration, wrong: &str) {
        self.problems.report(line, format!("{} {wrong} at {}", quote(&self.draft.actors[actor].name), show(at)));
    }

    fn join(&mut self, actor: ActorIndex, at: Duration, line: usize) {
        match self.presence[actor] {
            Presence::Away => self.presence[actor] = Presence::There,
            Presence::There => self.wrong(line, actor, at, "cannot join: it is already there"),
            Presence::Down => self.wrong(line, actor, at, "cannot join: it has no power"),
        }
    }

    /// Reports an actor that cannot do `what` because it is not present.
    fn need(&self, actor: ActorIndex, what: &str, step: &Step) {
        match self.presence[actor] {
            Presence::There if self.suspended.contains(&actor) => {
                self.wrong(step.line, actor, step.at, &format!("{what}: it is suspended"));
            }
            Presence::There => {}
            Presence::Away => self.wrong(step.line, actor, step.at, &format!("{what}: it is not there")),
            Presence::Down => self.wrong(step.line, actor, step.at, &format!("{what}: it has no power")),
        }
    }

    /// Reports a user that is not in an accepted call with `with`.
    fn need_call(&self, actor: ActorIndex, with: ActorIndex, what: &str, step: &Step) {
        let is_user = self.draft.actors[actor].plays == Role::User;
        let may_be_in_call = [CallState::Unknown, CallState::InCall(with)].contains(&self.calls[actor]);
        if is_user && self.presence[actor] == Presence::There && !may_be_in_call {
            let wrong = format!("{what}: it is not in a call with `{}`", self.draft.actors[with].name);
            self.wrong(step.line, actor, step.at, &wrong);
        }
    }

    /// Ends the call that a user has, if any.
    fn hang_up(&mut self, actor: ActorIndex) {
        if let Some(peer) = std::mem::replace(&mut self.calls[actor], CallState::Idle).peer() {
            self.calls[peer] = CallState::Idle;
        }
    }

    /// Forgets the calls of the actors that `is_cut` selects: their connections to the server may break.
    fn doubt(&mut self, is_cut: impl Fn(ActorIndex) -> bool) {
        for actor in (0..self.calls.len()).map(ActorIndex).filter(|actor| is_cut(*actor)) {
            if let Some(peer) = std::mem::replace(&mut self.calls[actor], CallState::Unknown).peer() {
                self.calls[peer] = CallState::Unknown;
            }
        }
    }

    /// Forgets the calls of those who depend on the link or the mappings of a network.
    fn doubt_network(&mut self, network: NetworkIndex) {
        let draft = self.draft;
        let outer = |inner: &NetworkIndex| draft.networks[*inner].behind;
        let chain = |actor: ActorIndex| std::iter::successors(draft.actors[actor].network, outer);
        self.doubt(|actor| chain(actor).any(|inner| inner == network));
    }

    /// Ends all calls: the server that kept their state has gone.
    fn hang_up_all(&mut self) {
        self.calls.fill(CallState::Idle);
    }

    fn call(&mut self, actor: ActorIndex, with: ActorIndex, step: &Step) {
        self.need(actor, "cannot call", step);
        self.need(with, "cannot be called", step);
        match self.calls[actor] {
            CallState::Idle if self.calls[with] == CallState::Idle => {
                (self.calls[actor], self.calls[with]) = (CallState::Calling(with), CallState::Ringing(actor));
            }
            CallState::Unknown => self.doubt(|one| one == with),
            CallState::Idle if self.calls[with] == CallState::Unknown => self.doubt(|one| one == actor),
            // The called user is busy.
            CallState::Idle => {}
            // A user that calls its own caller accepts the call.
            CallState::Ringing(caller) if caller == with => self.connect(actor, with),
            _ => self.wrong(step.line, actor, step.at, "cannot call: it is already in a call"),
        }
    }

    fn connect(&mut self, one: ActorIndex, other: ActorIndex) {
        (self.calls[one], self.calls[other]) = (CallState::InCall(other), CallState::InCall(one));
    }

    /// The caller of a user who is ringing. Reports a problem if the user is not ringing.
    fn ringing(&mut self, actor: ActorIndex, what: &str, step: &Step) -> Option<ActorIndex> {
        self.need(actor, what, step);
        match self.calls[actor] {
            CallState::Ringing(caller) => return Some(caller),
            CallState::Unknown => {}
            _ if self.presence[actor] == Presence::There => {
                self.wrong(step.line, actor, step.at, &format!("{what}: nobody is calling it"));
            }
            _ => {}
        }
        None
    }

    fn power(&mut self, machine: Machine, on: bool, step: &Step) {
        let down = match machine {
            Machine::Server => self.server_down,
            Machine::IceServer(index) => self.ice_servers_down.contains(&index),
            Machine::Actor(actor) => self.presence[actor] == Presence::Down,
        };
        let wrong = match (on, down) {
            (true, false) => "cannot boot: it is not down",
            (false, true) => "cannot lose power: it is already down",
            _ => "",
        };
        match machine {
            Machine::Server => {
                if !wrong.is_empty() {
                    self.problems.report(step.line, format!("`{SERVER}` {wrong} at {}", show(step.at)));
                }
                self.server_down = !on;
                self.hang_up_all();
            }
            Machine::IceServer(index) => {
                if !wrong.is_empty() {
                    let name = quote(&self.draft.ice_servers[index].name);
                    self.problems.report(step.line, format!("{name} {wrong} at {}", show(step.at)));
                }
                if on {
                    self.ice_servers_down.remove(&index);
                } else {
                    self.ice_servers_down.insert(index);
                }
            }
            Machine::Actor(actor) => {
                if !wrong.is_empty() {
                    self.wrong(step.line, actor, step.at, wrong);
                }
                self.presence[actor] = if on { Presence::There } else { Presence::Down };
                self.suspended.remove(&actor);
                self.hang_up(actor);
            }
        }
    }

    fn play(&mut self, step: &Step) {
        match &step.action {
            Action::Join(actor) => self.join(*actor, step.at, step.line),
            Action::Actor(actor, command) => self.command(*actor, command, step),
            Action::Machine(machine, MachineAction::PowerLoss) => self.power(*machine, false, step),
            Action::Machine(machine, MachineAction::Boot) => self.power(*machine, true, step),
            Action::Machine(Machine::Actor(actor), MachineAction::Move(_)) => self.doubt(|one| one == *actor),
            Action::Machine(machine, MachineAction::NewSecret) => {
                let is_down = match machine {
                    Machine::IceServer(index) => self.ice_servers_down.contains(index),
                    Machine::Server | Machine::Actor(_) => self.server_down,
                };
                if is_down {
                    let message = format!("`new-secret`: the machine is down at {}", show(step.at));
                    self.problems.report(step.line, message);
                }
            }
            Action::Machine(_, MachineAction::Move(_)) => {}
            Action::Machine(Machine::Server, MachineAction::Link(_)) => self.doubt(|_| true),
            Action::Machine(Machine::IceServer(_), MachineAction::Link(_)) => {}
            Action::Machine(_, MachineAction::Stall(_) | MachineAction::ClockJump { .. }) => {
                if self.server_down {
                    let message = format!("`{SERVER}` is down at {}, so it has no program", show(step.at));
                    self.problems.report(step.line, message);
                }
                self.doubt(|_| true);
            }
            Action::Machine(Machine::Actor(actor), MachineAction::Link(_)) => self.doubt(|one| one == *actor),
            Action::Network(network, _) => self.doubt_network(*network),
            Action::World(WorldAction::Shutdown) => {
                if self.server_down {
                    self.problems.report(
                        step.line,
                        format!("`{SERVER}` cannot shut down: it is already down at {}", show(step.at)),
                    );
                }
                self.server_down = true;
                self.hang_up_all();
            }
            Action::World(WorldAction::Partition { from, to, .. }) => {
                self.partitioned = true;
                for (side, other) in [(from, to), (to, from)] {
                    if side.contains(&Machine::Server) {
                        let cut: BTreeSet<_> = other.iter().filter_map(Machine::actor).collect();
                        self.doubt(|actor| cut.contains(&actor));
                    }
                }
            }
            Action::World(WorldAction::Heal) => {
                if !self.partitioned {
                    self.problems.report(step.line, format!("there is no partition to heal at {}", show(step.at)));
                }
                self.partitioned = false;
            }
        }
    }

    fn command(&mut self, actor: ActorIndex, command: &Command, step: &Step) {
        match command {
            Command::Leave => {
                self.need(actor, "cannot leave", step);
                self.presence[actor] = Presence::Away;
                self.hang_up(actor);
            }
            Command::Drop => {
                self.need(actor, "has no connection to drop", step);
                self.hang_up(actor);
            }
            Command::Say(_) => self.need(actor, "cannot say anything", step),
            Command::Suspend => {
                self.need(actor, "cannot be suspended", step);
                self.suspended.insert(actor);
                self.doubt(|one| one == actor);
            }
            Command::Resume => {
                if !self.suspended.remove(&actor) {
                    self.wrong(step.line, actor, step.at, "cannot resume: it is not suspended");
                }
            }
            Command::Hangup(with) => {
                self.need(actor, "cannot hang up", step);
                self.need(*with, "cannot be hung up on", step);
                let is_user = self.draft.actors[actor].plays.dialect() == Dialect::Call;
                let may_be_call = self.calls[actor] == CallState::Unknown || self.calls[actor].peer() == Some(*with);
                if is_user && self.presence[actor] == Presence::There && !may_be_call {
                    let wrong =
                        format!("cannot hang up on `{}`: there is no call between them", self.draft.actors[*with].name);
                    self.wrong(step.line, actor, step.at, &wrong);
                }
                self.hang_up(actor);
            }
            Command::Offer(with) => {
                self.need(actor, "cannot offer", step);
                // In a dialect without names, a client does not know who is present.
                if !matches!(self.draft.actors[actor].plays, Role::Relay | Role::Broadcast) {
                    self.need(*with, "cannot receive an offer", step);
                }
                self.need_call(actor, *with, "cannot offer", step);
            }
            Command::Call(with) => self.call(actor, *with, step),
            Command::Accept => {
                if let Some(caller) = self.ringing(actor, "cannot accept a call", step) {
                    self.connect(actor, caller);
                }
            }
            Command::Reject => {
                if self.ringing(actor, "cannot reject a call", step).is_some() {
                    self.hang_up(actor);
                }
            }
            Command::Media(kind, _) => {
                let what = format!("cannot turn {} on or off", kind.name());
                self.need(actor, &what, step);
                let is_user = self.draft.actors[actor].plays == Role::User;
                if is_user && self.presence[actor] == Presence::There && self.calls[actor] == CallState::Idle {
                    self.wrong(step.line, actor, step.at, &format!("{what}: it is not in a call"));
                }
                if !is_user && !self.tracks[actor].contains(kind) {
                    let wrong = format!("{what}: it sends none; add `media = [\"{}\"]` to it,", kind.name());
                    self.wrong(step.line, actor, step.at, &wrong);
                }
            }
            Command::AddTrack(kind) => {
                self.need(actor, "cannot add a track", step);
                if !self.tracks[actor].insert(*kind) {
                    let wrong = format!("cannot add a track: it sends {} already", kind.name());
                    self.wrong(step.line, actor, step.at, &wrong);
                }
            }
            Command::IceRestart(with) => {
                self.need(actor, "cannot restart ICE", step);
                self.need(*with, "cannot restart ICE", step);
                self.need_call(actor, *with, "cannot restart ICE", step);
            }
        }
    }
}
