//! Translates the commands of a scenario, which names actors by index, to commands for clients, which know each other
//! by name.

use std::sync::Arc;

use scenarios::{ActorIndex, Scenario};

use crate::event::Fault;
use crate::peer::client::Command;

/// The command for a client, the command in words, and the fault that the record shows for it.
pub(super) fn of(scenario: &Scenario, command: &scenarios::Command) -> (Command, Arc<str>, Fault) {
    let name = |actor: &ActorIndex| scenario.actors[*actor].name.as_str();
    let (command, what) = match command {
        scenarios::Command::Leave => (Command::Leave, "leave".to_owned()),
        scenarios::Command::Drop => (Command::Drop, "drop its signaling connection".to_owned()),
        scenarios::Command::Say(text) => (Command::Say(text.as_str().into()), format!("say “{text}”")),
        scenarios::Command::Hangup(on) => (Command::Hangup(name(on).into()), format!("hang up on {}", name(on))),
        scenarios::Command::IceRestart(with) => {
            (Command::IceRestart(name(with).into()), format!("restart ICE with {}", name(with)))
        }
        scenarios::Command::Offer(to) => (Command::Offer(name(to).into()), format!("offer to {}", name(to))),
        scenarios::Command::Call(user) => (Command::Call(name(user).into()), format!("call {}", name(user))),
        scenarios::Command::Suspend => (Command::Suspend, "be suspended".to_owned()),
        scenarios::Command::Resume => (Command::Resume, "resume".to_owned()),
        scenarios::Command::Accept => (Command::Accept, "accept the call".to_owned()),
        scenarios::Command::Reject => (Command::Reject, "reject the call".to_owned()),
        scenarios::Command::Media(kind, enabled) => {
            let on = if *enabled { "on" } else { "off" };
            (Command::Media(*kind, *enabled), format!("turn {} {on}", kind.name()))
        }
        scenarios::Command::AddTrack(kind) => (Command::AddTrack(*kind), format!("add {}", kind.name())),
    };
    let what: Arc<str> = what.into();
    let fault = match command {
        Command::Drop => Fault::SignalingDropped,
        Command::Suspend => Fault::Suspend,
        Command::Resume => Fault::Resume,
        _ => Fault::Told { what: what.clone() },
    };
    (command, what, fault)
}
