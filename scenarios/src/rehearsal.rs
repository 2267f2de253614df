//! Goes through the steps of a scenario before it is played, with who is there when, and in which call.
//!
//! A step that would do nothing, because whom it names is not there or has no power, is a mistake of the author's.

use std::time::Duration;

use crate::error::{Problems, quote};
use crate::expand::{Cast, SERVER};
use crate::role::{Dialect, Role};
use crate::scenario::{Action, ActorIndex, Machine, Step};
use crate::value::show;

/// How an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Away,
    There,
    Down,
}

/// What a user's telephone does, and with whom. The other side's always matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Idle,
    Calling(ActorIndex),
    Ringing(ActorIndex),
    InCall(ActorIndex),
}

impl Line {
    fn peer(self) -> Option<ActorIndex> {
        match self {
            Self::Idle => None,
            Self::Calling(peer) | Self::Ringing(peer) | Self::InCall(peer) => Some(peer),
        }
    }
}

/// Goes through the steps and reports those that could do nothing. Says how each actor is at the end.
pub(crate) fn rehearse(cast: &Cast, steps: &[Step], problems: &Problems) -> Vec<State> {
    let (actors, lines) = (vec![State::Away; cast.actors.len()], vec![Line::Idle; cast.actors.len()]);
    let mut stage = Stage { cast, actors, lines, server_down: false, partitioned: false, problems };
    let mut joins: Vec<(Duration, ActorIndex)> =
        cast.actors.iter().enumerate().filter_map(|(index, actor)| Some((actor.joins?, index))).collect();
    joins.sort();
    let mut joins = joins.into_iter().peekable();
    for step in steps {
        // Who joins by themselves at the time of a step is there before it.
        while let Some((at, actor)) = joins.next_if(|(at, _)| *at <= step.at) {
            stage.join(actor, at, cast.actor_lines[actor]);
        }
        stage.play(step);
    }
    for (at, actor) in joins {
        stage.join(actor, at, cast.actor_lines[actor]);
    }
    stage.actors
}

struct Stage<'a> {
    cast: &'a Cast,
    actors: Vec<State>,
    lines: Vec<Line>,
    server_down: bool,
    partitioned: bool,
    problems: &'a Problems,
}

impl Stage<'_> {
    fn wrong(&self, line: usize, actor: ActorIndex, at: Duration, wrong: &str) {
        self.problems.report(line, format!("{} {wrong} at {}", quote(&self.cast.actors[actor].name), show(at)));
    }

    fn join(&mut self, actor: ActorIndex, at: Duration, line: usize) {
        match self.actors[actor] {
            State::Away => self.actors[actor] = State::There,
            State::There => self.wrong(line, actor, at, "cannot join: it is there already"),
            State::Down => self.wrong(line, actor, at, "cannot join: it has no power"),
        }
    }

    /// Reports an actor that cannot do what it should, since it is not there.
    fn need(&self, actor: ActorIndex, what: &str, step: &Step) {
        match self.actors[actor] {
            State::There => {}
            State::Away => self.wrong(step.line, actor, step.at, &format!("{what}: it is not there")),
            State::Down => self.wrong(step.line, actor, step.at, &format!("{what}: it has no power")),
        }
    }

    /// Reports a user who has no answered call with whom it should have one.
    fn need_call(&self, actor: ActorIndex, with: ActorIndex, what: &str, step: &Step) {
        let is_user = self.cast.actors[actor].plays == Role::User;
        if is_user && self.actors[actor] == State::There && self.lines[actor] != Line::InCall(with) {
            let wrong = format!("{what}: it is not in a call with `{}`", self.cast.actors[with].name);
            self.wrong(step.line, actor, step.at, &wrong);
        }
    }

    /// Ends the call that a user has, if any.
    fn hang_up(&mut self, actor: ActorIndex) {
        if let Some(peer) = std::mem::replace(&mut self.lines[actor], Line::Idle).peer() {
            self.lines[peer] = Line::Idle;
        }
    }

    /// A call goes with the server that knows of it.
    fn hang_up_all(&mut self) {
        self.lines.fill(Line::Idle);
    }

    fn call(&mut self, actor: ActorIndex, with: ActorIndex, step: &Step) {
        self.need(actor, "cannot call", step);
        self.need(with, "cannot be called", step);
        match self.lines[actor] {
            Line::Idle if self.lines[with] == Line::Idle => {
                (self.lines[actor], self.lines[with]) = (Line::Calling(with), Line::Ringing(actor));
            }
            // The other is busy.
            Line::Idle => {}
            // Who calls whoever calls them accepts.
            Line::Ringing(caller) if caller == with => self.connect(actor, with),
            _ => self.wrong(step.line, actor, step.at, "cannot call: it is in a call already"),
        }
    }

    fn connect(&mut self, one: ActorIndex, other: ActorIndex) {
        (self.lines[one], self.lines[other]) = (Line::InCall(other), Line::InCall(one));
    }

    /// The caller whose call rings at a user.
    fn ringing(&mut self, actor: ActorIndex, what: &str, step: &Step) -> Option<ActorIndex> {
        self.need(actor, what, step);
        match self.lines[actor] {
            Line::Ringing(caller) => return Some(caller),
            _ if self.actors[actor] == State::There => {
                self.wrong(step.line, actor, step.at, &format!("{what}: nobody calls it"));
            }
            _ => {}
        }
        None
    }

    fn power(&mut self, machine: Machine, on: bool, step: &Step) {
        let down = match machine {
            Machine::Server => self.server_down,
            Machine::Actor(actor) => self.actors[actor] == State::Down,
        };
        let wrong = match (on, down) {
            (true, false) => "cannot boot: it is not down",
            (false, true) => "cannot lose power: it is down already",
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
            Machine::Actor(actor) => {
                if !wrong.is_empty() {
                    self.wrong(step.line, actor, step.at, wrong);
                }
                self.actors[actor] = if on { State::There } else { State::Down };
                self.hang_up(actor);
            }
        }
    }

    fn play(&mut self, step: &Step) {
        match &step.action {
            Action::Join(actor) => self.join(*actor, step.at, step.line),
            Action::Leave(actor) => {
                self.need(*actor, "cannot leave", step);
                self.actors[*actor] = State::Away;
                self.hang_up(*actor);
            }
            Action::Drop(actor) => {
                self.need(*actor, "has no connection to drop", step);
                self.hang_up(*actor);
            }
            Action::Say(actor, _) => self.need(*actor, "cannot say anything", step),
            Action::Hangup(actor, with) => {
                self.need(*actor, "cannot hang up", step);
                self.need(*with, "cannot be hung up on", step);
                let is_user = self.cast.actors[*actor].plays.dialect() == Dialect::Call;
                if is_user && self.actors[*actor] == State::There && self.lines[*actor].peer() != Some(*with) {
                    let wrong = format!("cannot hang up on `{}`: it has no call with it", self.cast.actors[*with].name);
                    self.wrong(step.line, *actor, step.at, &wrong);
                }
                self.hang_up(*actor);
            }
            Action::Offer(actor, with) => {
                self.need(*actor, "cannot offer", step);
                // Where nobody is named, nobody knows who is there.
                if !matches!(self.cast.actors[*actor].plays, Role::Relay | Role::Broadcast) {
                    self.need(*with, "cannot be offered to", step);
                }
                self.need_call(*actor, *with, "cannot offer", step);
            }
            Action::Call(actor, with) => self.call(*actor, *with, step),
            Action::Accept(actor) => {
                if let Some(caller) = self.ringing(*actor, "cannot accept a call", step) {
                    self.connect(*actor, caller);
                }
            }
            Action::Reject(actor) => {
                if self.ringing(*actor, "cannot reject a call", step).is_some() {
                    self.hang_up(*actor);
                }
            }
            Action::Media(actor, kind, _) => {
                self.need(*actor, &format!("cannot turn {} on or off", kind.name()), step);
                if self.actors[*actor] == State::There && self.lines[*actor] == Line::Idle {
                    self.wrong(step.line, *actor, step.at, "has nobody to tell: it is in no call");
                }
            }
            Action::IceRestart(actor, with) => {
                self.need(*actor, "cannot restart ICE", step);
                self.need(*with, "cannot restart ICE", step);
                self.need_call(*actor, *with, "cannot restart ICE", step);
            }
            Action::PowerLoss(machine) => self.power(*machine, false, step),
            Action::Boot(machine) => self.power(*machine, true, step),
            Action::Shutdown => {
                if self.server_down {
                    self.problems.report(
                        step.line,
                        format!("`{SERVER}` cannot shut down: it is down already at {}", show(step.at)),
                    );
                }
                self.server_down = true;
                self.hang_up_all();
            }
            Action::Partition { .. } => self.partitioned = true,
            Action::Heal => {
                if !self.partitioned {
                    self.problems.report(step.line, format!("there is no partition to heal at {}", show(step.at)));
                }
                self.partitioned = false;
            }
            Action::NatReboot(..) | Action::Link(..) | Action::NetworkLink(..) => {}
        }
    }
}
