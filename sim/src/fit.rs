//! Whether the actors of a scenario can speak a dialect. What a scenario needs follows from its actors and steps, what
//! a dialect has from its file.

use std::collections::BTreeSet;
use std::fmt;

use dialect::file::Framing as Carrier;
use dialect::shape::OFFERS;
use dialect::{Kind, Operation};
use scenarios::{Action, Actor, Command, Role, Scenario};
use server::DIALECTS;

use crate::dialects::{Pairing, Spoken};
use crate::peer::client::meeting::Meeting;

/// Why the actors of a scenario cannot speak a dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The dialect cannot be read.
    Unreadable(String),
    /// The reference server does not speak it.
    NoServer,
    /// Glare's clients do not speak what carries the messages.
    Carrier(&'static str),
    /// Members of a room have no way to learn of each other.
    NobodyMeets,
    /// A join carries one offer to nobody in particular, and not a list of them.
    OfferInJoin,
    /// Actors have roles that the dialect does not have.
    Roles {
        /// What the dialect's clients are.
        has: &'static str,
        /// The role of an actor.
        plays: &'static str,
    },
    /// A room has more actors than the dialect allows.
    Crowded {
        /// The room.
        room: String,
        /// The most members.
        members_max: usize,
    },
    /// The scenario has several rooms, and the dialect none.
    Rooms,
    /// A step on this line needs a message that the dialect lacks.
    Step {
        /// The line of the scenario's file.
        line: usize,
        /// What is missing, in words.
        lacks: &'static str,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => f.write_str(why),
            Self::NoServer => {
                let names: Vec<_> = DIALECTS.iter().map(|entry| format!("`{}`", entry.name)).collect();
                write!(f, "the reference server does not speak it; it speaks {}. Name a server that does, with --server", names.join(", "))
            }
            Self::Carrier(carrier) => {
                write!(f, "the dialect's messages are carried by {carrier}, and Glare's clients know WebSockets and streams of events only")
            }
            Self::NobodyMeets => f.write_str(
                "members of this dialect do not learn of each other: it has no roster, no notice, no `announce`, and no ids that clients choose",
            ),
            Self::OfferInJoin => f.write_str(
                "in this dialect a join carries one offer, but a client needs one for each member: write the list as `$offers[…]`",
            ),
            Self::Roles { has, plays } => {
                write!(f, "the dialect is for {has}, but an actor plays `{plays}`")
            }
            Self::Crowded { room, members_max } => {
                write!(f, "room `{room}` has more actors than the dialect's {members_max}")
            }
            Self::Rooms => f.write_str("the scenario has several rooms, and the dialect has none"),
            Self::Step { line, lacks } => write!(f, "line {line}: the dialect has {lacks}"),
        }
    }
}

impl std::error::Error for Misfit {}

/// Why a scenario cannot be played in the dialect that it names; `None` if it can, or if it names none.
pub fn misfit(scenario: &Scenario) -> Option<Misfit> {
    let name = scenario.server.dialect.as_deref()?;
    let spoken = match Spoken::load(name) {
        Ok(spoken) => spoken,
        Err(error) => return Some(Misfit::Unreadable(error.to_string())),
    };
    let is_served = scenario.server.program.is_some() || DIALECTS.iter().any(|entry| entry.name == name);
    of(scenario, &spoken).err().or((!is_served).then_some(Misfit::NoServer))
}

/// Whether actors with this role can speak a dialect.
pub(crate) fn can_play(role: Role, spoken: &Spoken) -> bool {
    match spoken.descriptor.pairing {
        Pairing::Everybody => role == Role::Mesh,
        Pairing::Roles => matches!(role, Role::Sender | Role::Viewer),
        Pairing::Calls => role == Role::User,
        Pairing::Offers => matches!(role, Role::Relay | Role::Broadcast),
    }
}

/// Checks that all actors of a scenario can speak a dialect.
pub(crate) fn of(scenario: &Scenario, spoken: &Spoken) -> Result<(), Misfit> {
    of_dialect(spoken)?;
    if let Some(other) = scenario.actors.iter().find(|actor| !can_play(actor.plays, spoken)) {
        return Err(Misfit::Roles { has: clients(spoken.descriptor.pairing), plays: other.plays.name() });
    }
    of_rooms(&scenario.actors, spoken)?;
    of_steps(scenario, spoken)
}

/// Checks what no scenario can help.
fn of_dialect(spoken: &Spoken) -> Result<(), Misfit> {
    let file = &spoken.file.file;
    match file.connection.framing {
        Carrier::Sse if file.connection.post.as_ref().is_some_and(|post| post.get_ref().contains("$nonce")) => {
            return Err(Misfit::Carrier("HTTP requests to an address that the server tells"));
        }
        Carrier::Adapter => return Err(Misfit::Carrier("an adapter")),
        Carrier::WebSocket | Carrier::WebSocketBinary if file.connection.post.is_some() => {
            return Err(Misfit::Carrier("HTTP requests and a WebSocket"));
        }
        Carrier::WebSocket | Carrier::WebSocketBinary | Carrier::SocketIo | Carrier::Sse => {}
    }
    if spoken.file.shape(Operation::Join).is_some_and(|join| join.has("data") && !join.has(OFFERS)) {
        return Err(Misfit::OfferInJoin);
    }
    let meets = spoken.descriptor.pairing != Pairing::Everybody || Meeting::of(&spoken.file).is_some();
    if meets { Ok(()) } else { Err(Misfit::NobodyMeets) }
}

fn of_rooms(actors: &[Actor], spoken: &Spoken) -> Result<(), Misfit> {
    let room = &spoken.file.file.room;
    let rooms: BTreeSet<&str> = actors.iter().map(|actor| actor.room.as_str()).collect();
    if rooms.len() > 1 && spoken.descriptor.is_one_room {
        return Err(Misfit::Rooms);
    }
    let Some(members_max) = room.members_max else { return Ok(()) };
    let count = |room: &str| actors.iter().filter(|actor| actor.room == room).count();
    // Whom a full room refuses is what a scenario of roles may be about.
    match rooms.into_iter().find(|room| count(room) > members_max && spoken.descriptor.pairing != Pairing::Roles) {
        Some(room) => Err(Misfit::Crowded { room: room.to_owned(), members_max }),
        None => Ok(()),
    }
}

fn of_steps(scenario: &Scenario, spoken: &Spoken) -> Result<(), Misfit> {
    for step in &scenario.steps {
        let Action::Actor(_, command) = &step.action else { continue };
        if let Some(lacks) = lacks(command, spoken) {
            return Err(Misfit::Step { line: step.line, lacks });
        }
    }
    Ok(())
}

/// What a dialect lacks for a command, in words.
pub(crate) fn lacks(command: &Command, spoken: &Spoken) -> Option<&'static str> {
    let has = |operation| spoken.file.shape(operation).is_some();
    let has_names = || spoken.descriptor.chooses_ids || spoken.file.patterns().iter().any(|p| p.shape.has("name"));
    let is_member = spoken.descriptor.pairing == Pairing::Everybody;
    match command {
        Command::Hangup(_) if is_member && spoken.file.signal_operation(Kind::Hangup).is_none() => Some("no hangup"),
        Command::Hangup(_) | Command::IceRestart(_) | Command::Offer(_) if is_member && !has_names() => {
            Some("no names by which a member could be told from the others")
        }
        Command::IceRestart(_) | Command::Offer(_)
            if is_member && spoken.file.signal_operation(Kind::Offer).is_none() =>
        {
            Some("no offer to a certain member")
        }
        Command::Call(_) if !has(Operation::Call) => Some("no `call`"),
        Command::Accept if !has(Operation::Accept) => Some("no `accept`"),
        Command::Reject if !has(Operation::Reject) => Some("no `reject`"),
        // Others turn a track on or off without a word.
        Command::Media(..) if spoken.descriptor.pairing == Pairing::Calls && !has(Operation::Media) => {
            Some("no `media`")
        }
        Command::AddTrack(_) if is_member && spoken.file.signal_operation(Kind::Offer).is_none() => {
            Some("no offer to a certain member")
        }
        _ => None,
    }
}

/// What the clients of a dialect are.
fn clients(pairing: Pairing) -> &'static str {
    match pairing {
        Pairing::Everybody => "members of a room",
        Pairing::Roles => "a sender and a viewer",
        Pairing::Calls => "users who call each other",
        Pairing::Offers => "clients without names",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scenario: &str, dialect: &str) -> Option<String> {
        let mut scenario = scenarios::load(scenario).expect("it is shipped");
        scenario.server.dialect = Some(dialect.to_owned());
        misfit(&scenario).map(|misfit| misfit.to_string())
    }

    #[test]
    fn a_scenario_fits_the_dialects_that_have_what_it_needs() {
        let scenario = scenarios::load("mesh-3").expect("it is shipped");
        for dialect in [
            "mesh",
            "peerjs",
            "y-webrtc",
            "matchbox",
            "rxdb",
            "rtcmulticonnection",
            "webrtc-star",
            "bittorrent-tracker",
            "protoo",
            "signalhub",
        ] {
            let spoken = Spoken::load(dialect).expect("it is shipped");
            assert_eq!(of(&scenario, &spoken), Ok(()), "{dialect}");
        }
        assert_eq!(check("mesh-3", "mesh"), None);
        assert_eq!(check("call-accept", "call-socketio"), None);
        let mut scenario = scenario;
        scenario.server.dialect = Some("peerjs".to_owned());
        scenario.server.program = Some(scenarios::ServerProgram::default());
        assert_eq!(misfit(&scenario), None, "a program may speak anything");
        for (dialect, why) in [
            ("call", "the dialect is for users who call each other, but an actor plays `mesh`"),
            ("simple-signal", "do not learn of each other"),
            ("pearjs", "did you mean `peerjs`?"),
            ("peerjs", "the reference server does not speak it; it speaks "),
        ] {
            let found = check("mesh-3", dialect).expect("it does not fit");
            assert!(found.contains(why), "{dialect}: {found}");
        }
    }
}
