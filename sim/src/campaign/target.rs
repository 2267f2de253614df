//! What a campaign tests, and how stories are made to fit its dialect.

use std::collections::BTreeMap;

use scenarios::{Action, Builder, Framing, Role, Scenario, ServerProgram, StoryProfile, Trouble};

use crate::dialects::{Pairing, Spoken};
use crate::fit::{self, Misfit};

/// The server of a campaign, and the dialect that all actors speak.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// The name of a shipped dialect, or the path of a file. `None`: each actor speaks the one of its role.
    pub dialect: Option<String>,
    /// The program that runs in place of the reference server.
    pub program: Option<ServerProgram>,
}

/// The profile, with what the target's dialect cannot do left out: roles, rooms, and what only a server program or only
/// actors with WebRTC can do.
///
/// # Errors
/// No story can be played in the dialect.
pub fn adapted(profile: &StoryProfile, target: &Target) -> Result<StoryProfile, Misfit> {
    let mut adapted = profile.clone();
    adapted.weights.retain(|trouble, _| match trouble {
        Trouble::Stall | Trouble::ClockJump => target.program.is_some(),
        Trouble::IceRestart | Trouble::Offer | Trouble::AddTrack => profile.webrtc,
        _ => true,
    });
    let Some(name) = &target.dialect else { return Ok(adapted) };
    // A scenario without actors has what every one has.
    let mut empty = Builder::new("empty", profile.duration).scenario;
    empty.server.dialect = Some(name.clone());
    empty.server.program.clone_from(&target.program);
    if let Some(misfit) = fit::misfit(&empty) {
        return Err(misfit);
    }
    let spoken = Spoken::load(name).map_err(|error| Misfit::Unreadable(error.to_string()))?;
    adapted.roles.retain(|role| fit::can_play(*role, &spoken));
    if adapted.roles.is_empty() {
        adapted.roles = match spoken.descriptor.pairing {
            Pairing::Everybody => vec![Role::Mesh],
            Pairing::Roles => vec![Role::Sender, Role::Viewer],
            Pairing::Calls => vec![Role::User],
            Pairing::Offers if spoken.descriptor.is_one_room => vec![Role::Broadcast],
            Pairing::Offers => vec![Role::Relay],
        };
    }
    if spoken.descriptor.is_one_room {
        adapted.rooms_max = 1;
        if let Some(most) = members_max(&spoken) {
            adapted.actors_max = adapted.actors_max.min(most as u64);
        }
    }
    Ok(adapted)
}

/// The most members of a room, where those who are too many cannot be played. Whom a full room refuses is what a story of
/// two roles may be about.
fn members_max(spoken: &Spoken) -> Option<usize> {
    spoken.file.file.room.members_max.filter(|_| spoken.descriptor.pairing != Pairing::Roles)
}

/// Puts a scenario before a target: sets the server, and takes away what the dialect lacks.
pub(crate) fn put(scenario: &mut Scenario, target: &Target) {
    scenario.server.program.clone_from(&target.program);
    if target.program.is_some() {
        // A program need not have `/api/config`.
        scenario.actors.iter_mut().for_each(|actor| actor.ice_from_config = false);
    }
    let Some(name) = &target.dialect else { return };
    scenario.server.dialect = Some(name.clone());
    let spoken = Spoken::load(name).expect("the profile was adapted to it");
    let over = spoken.framing().unwrap_or(Framing::WebSocket);
    let mut members: BTreeMap<String, usize> = BTreeMap::new();
    for actor in &mut scenario.actors {
        // Only users can speak their own dialect over either. Others speak the target's, whatever carries it.
        actor.over = if actor.plays == Role::User { over } else { actor.plays.framing() };
        if let Some(most) = members_max(&spoken) {
            // A room that is full is followed by another.
            let room = actor.room.clone();
            let mut number = 1;
            while members.get(&actor.room).is_some_and(|count| *count >= most) {
                number += 1;
                actor.room = format!("{room}-{number}");
            }
        }
        *members.entry(actor.room.clone()).or_default() += 1;
    }
    let is_there = |action: &Action| match action {
        Action::Actor(_, command) => fit::lacks(command, &spoken).is_none(),
        _ => true,
    };
    scenario.steps.retain(|step| is_there(&step.action));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::generate;

    /// A finding is such a file.
    #[test]
    fn a_story_in_any_dialect_of_the_server_is_a_valid_file() {
        for name in ["mesh", "sender-viewer", "relay", "call", "call-socketio", "broadcast"] {
            let target = Target { dialect: Some(name.to_owned()), program: None };
            for profile in StoryProfile::shipped() {
                let profile = adapted(&profile, &target).unwrap_or_else(|misfit| panic!("{name}: {misfit:?}"));
                for seed in 0..5 {
                    let text = scenarios::write(&generate(seed, &profile, &target));
                    scenarios::parse("story.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                }
            }
        }
    }
}
