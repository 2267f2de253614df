//! What a scenario's steps tell its actors, whoever runs their clients.

use std::time::Duration;

use scenarios::{Action, ActorIndex, Scenario};

use crate::peer::client::Command;

/// What an actor is told to do.
pub(crate) struct Order {
    pub(crate) actor: ActorIndex,
    pub(crate) command: Command,
    /// In words, behind "is told to".
    pub(crate) what: String,
}

/// Joins and steps in order of time, joins first.
pub(crate) fn programme(scenario: &Scenario) -> Vec<(Duration, Action)> {
    let joins = scenario.actors.iter().enumerate().filter_map(|(index, a)| Some((a.joins?, Action::Join(index))));
    let mut all: Vec<_> = joins.chain(scenario.steps.iter().map(|step| (step.at, step.action.clone()))).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

/// What a step tells an actor; `None` where it befalls machines or networks.
pub(crate) fn order(scenario: &Scenario, action: &Action) -> Option<Order> {
    let name = |actor: &ActorIndex| scenario.actors[*actor].name.as_str();
    let (actor, command, what) = match action {
        Action::Leave(actor) => (actor, Command::Leave, "leave".to_owned()),
        Action::Say(actor, text) => (actor, Command::Say(text.as_str().into()), format!("say “{text}”")),
        Action::Hangup(actor, on) => (actor, Command::Hangup(name(on).into()), format!("hang up on {}", name(on))),
        Action::IceRestart(actor, with) => {
            (actor, Command::IceRestart(name(with).into()), format!("restart ICE with {}", name(with)))
        }
        Action::Offer(actor, with) => (actor, Command::Offer(name(with).into()), format!("offer to {}", name(with))),
        Action::Call(actor, with) => (actor, Command::Call(name(with).into()), format!("call {}", name(with))),
        Action::Accept(actor) => (actor, Command::Accept, "accept the call".to_owned()),
        Action::Reject(actor) => (actor, Command::Reject, "reject the call".to_owned()),
        Action::Media(actor, kind, enabled) => {
            let on = if *enabled { "on" } else { "off" };
            (actor, Command::Media(*kind, *enabled), format!("turn {} {on}", kind.name()))
        }
        Action::Join(_)
        | Action::Drop(_)
        | Action::PowerLoss(_)
        | Action::Boot(_)
        | Action::Shutdown
        | Action::NatReboot(..)
        | Action::Partition { .. }
        | Action::Heal
        | Action::Link(..)
        | Action::NetworkLink(..) => return None,
    };
    Some(Order { actor: *actor, command, what })
}
