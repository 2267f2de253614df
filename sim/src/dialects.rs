//! The dialects that the clients of a scenario speak, and what oracles may know about each. Both follow from the
//! dialect's file: no code depends on a dialect by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dialect::file::{AssignedBy, Framing as Carrier, JoinAnswer, JoinBy, Payload, RoomIn, Sender};
use dialect::{Dialect as File, DialectError, form};
use scenarios::{Framing, Role, Scenario};

use crate::event::{ClientId, ClientState};
use crate::hash::digest;
use crate::peer::client::meeting::Meeting;
use crate::protocol;

/// A dialect as Glare's clients speak it.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) file: File,
    pub(crate) descriptor: Descriptor,
}

/// The properties of a dialect, for code that must not depend on its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// Which clients speak it, and so which client is needed.
    pub(crate) pairing: Pairing,
    /// Whether clients learn who else is in the room, and who sent a signal.
    pub(crate) names_others: bool,
    /// Whether clients choose their own ids, and so return with the same id.
    pub(crate) chooses_ids: bool,
    /// Whether who connects asks to join.
    pub(crate) asks_by_connecting: bool,
    /// Whether connecting is joining, and nothing answers it.
    pub(crate) joins_by_connecting: bool,
    /// Whether a client is a member as soon as it asks: nothing answers, or its request carries offers already.
    pub(crate) joins_by_asking: bool,
    /// Whether all clients of a server are in one room.
    pub(crate) is_one_room: bool,
    /// Whether clients also receive their own signals.
    pub(crate) echoes: bool,
    /// Whether the server may relay the same JSON in other bytes.
    pub(crate) rewrites: bool,
    /// Heartbeats during which a server cannot have dropped a silent client: over WebSocket two pongs must be missed first,
    /// and with Engine.IO one.
    pub(crate) heartbeats_to_trust: u32,
    /// The state of a client that has not connected yet.
    pub(crate) first_state: ClientState,
    /// The rules for the states of its clients, if the dialect has such rules.
    pub(crate) states: Option<StateRules>,
}

/// Which pairs of clients in a room must be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// Any two clients.
    Everybody,
    /// Two clients with different roles; a room has one client of each role.
    Roles,
    /// Two users who are in a call with each other.
    Calls,
    /// Two clients of which one has received the other's offer.
    Offers,
}

/// The rules for the states of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateRules {
    /// The state of a client whose partner is there.
    pub(crate) with_partner: ClientState,
}

impl Descriptor {
    /// The properties of the dialect in a file.
    fn of(dialect: &File) -> Self {
        let file = &dialect.file;
        let assigned = file.identity.assigned_by;
        let has_ids = assigned != AssignedBy::Nobody;
        let is_answered = !matches!(file.join.answer, JoinAnswer::Echo | JoinAnswer::None);
        let names_others = has_ids && file.signals.sender != Sender::Absent;
        let pairing = match () {
            () if file.roles.is_some() => Pairing::Roles,
            () if file.calls.needed => Pairing::Calls,
            () if names_others => Pairing::Everybody,
            () => Pairing::Offers,
        };
        let meeting = Meeting::of(dialect);
        // Of two roles, the one that offers is told when the other is there.
        let has_states = file.roles.as_ref().is_some_and(|roles| roles.ready.is_some());
        let joins_by_connecting = file.join.by == JoinBy::Connecting && (!has_ids || !is_answered);
        Self {
            pairing,
            names_others,
            chooses_ids: matches!(assigned, AssignedBy::Client | AssignedBy::UserName),
            asks_by_connecting: file.join.by == JoinBy::Connecting,
            joins_by_connecting,
            joins_by_asking: file.join.by == JoinBy::Message && (!is_answered || meeting == Some(Meeting::Offered)),
            // Clients that know each other's ids meet only those, without a room.
            is_one_room: file.room.r#in == RoomIn::None
                && !(pairing == Pairing::Everybody && meeting == Some(Meeting::Known)),
            echoes: file.signals.echo && !names_others,
            rewrites: file.signals.payload == Payload::Json,
            heartbeats_to_trust: if file.connection.framing == Carrier::SocketIo { 1 } else { 2 },
            first_state: if pairing == Pairing::Calls { ClientState::Idle } else { ClientState::Init },
            states: has_states.then_some(StateRules { with_partner: ClientState::Active }),
        }
    }

    /// The role of the other side in a two-party room.
    pub(crate) fn partner(&self, role: Role) -> Option<Role> {
        match (self.pairing, role) {
            (Pairing::Roles, Role::Sender) => Some(Role::Viewer),
            (Pairing::Roles, Role::Viewer) => Some(Role::Sender),
            _ => None,
        }
    }
}

impl StateRules {
    /// Whether a client with this role may go from the first state to the second.
    pub(crate) fn may_follow(self, role: Role, before: ClientState, after: ClientState) -> bool {
        use ClientState::{Active, Error, Init, Waiting};
        match (before, after) {
            (_, Init | Error) => true,
            // A viewer may be notified that its sender left before it received an offer.
            (Init, Waiting) => true,
            (Init, Active) => role == Role::Viewer,
            (Error, Waiting) => role == Role::Sender,
            (Waiting, Active) | (Active, Waiting) => true,
            _ => false,
        }
    }
}

impl Spoken {
    /// The dialect of this name or in this file.
    ///
    /// # Errors
    /// What is wrong with the file, or that there is none.
    pub(crate) fn load(name_or_path: &str) -> Result<Arc<Self>, DialectError> {
        read_once(name_or_path, || File::load(name_or_path).map(Self::new))
    }

    fn new(file: File) -> Self {
        Self { descriptor: Descriptor::of(&file), file }
    }

    /// The id of the client with this name in a room, if clients choose their ids.
    pub(crate) fn id_of(&self, name: &str, room: &str) -> Option<ClientId> {
        let identity = &self.file.file.identity;
        match identity.assigned_by {
            AssignedBy::UserName => Some(name.into()),
            AssignedBy::Client => Some(match &identity.form {
                Some(form) => filled(form.get_ref(), &format!("{room}/{name}")).into(),
                None => {
                    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
                    format!("{room}-{name}").chars().filter(plain).collect::<String>().into()
                }
            }),
            AssignedBy::Server | AssignedBy::Nobody => None,
        }
    }

    /// The name of a room on the wire.
    pub(crate) fn room_of(&self, room: &str) -> String {
        let rules = &self.file.file.room;
        match &rules.form {
            Some(form) => filled(form.get_ref(), room),
            None => format!("{room:-<0$}", rules.code_points_min),
        }
    }

    /// What carries the messages; `None` if Glare's clients cannot use it.
    pub(crate) fn framing(&self) -> Option<Framing> {
        match self.file.file.connection.framing {
            // To the layer above, a posted message is one frame, and so is an event.
            Carrier::WebSocket | Carrier::WebSocketBinary | Carrier::Sse => Some(Framing::WebSocket),
            Carrier::SocketIo => Some(Framing::SocketIo),
            Carrier::Adapter => None,
        }
    }
}

/// A name of this form that follows from a text.
fn filled(form: &str, text: &str) -> String {
    let number = digest(text.as_bytes());
    form::fill(form, number >> 20, usize::try_from(number & 0xf_ffff).expect("20 bits"))
}

/// The dialects of a scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialects {
    /// The dialect of all actors, if it is not the one of their roles.
    own: Option<Arc<Spoken>>,
}

impl Dialects {
    /// The dialects that a scenario's actors speak. Reads those that this process has not read yet, so call it before
    /// the run: what a run draws at random must not depend on whether another run came before it.
    ///
    /// # Errors
    /// What is wrong with the dialect that the scenario names.
    pub(crate) fn of(scenario: &Scenario) -> Result<Self, DialectError> {
        for actor in &scenario.actors {
            of_role(actor.plays, actor.over);
        }
        Ok(Self { own: scenario.server.dialect.as_deref().map(Spoken::load).transpose()? })
    }

    /// The dialect in which clients with this role speak.
    pub(crate) fn spoken(&self, role: Role, over: Framing) -> Arc<Spoken> {
        self.own.clone().unwrap_or_else(|| of_role(role, over))
    }

    /// The properties of the dialect in which clients with this role speak.
    pub(crate) fn descriptor(&self, role: Role) -> Descriptor {
        // Whatever carries them, the messages of a dialect have the same properties.
        self.spoken(role, role.framing()).descriptor
    }
}

/// The dialect of a role, as the reference server speaks it.
fn of_role(role: Role, over: Framing) -> Arc<Spoken> {
    let name = protocol::entry(role.dialect(), over).name;
    read_once(&format!("the reference server's {name}"), || {
        let mut spoken = Spoken::new(File::load(name).expect("a dialect of the server is shipped"));
        // The reference server keeps the bytes of payloads, whatever the dialect allows.
        spoken.descriptor.rewrites = false;
        Ok(spoken)
    })
    .expect("it is shipped")
}

/// Reads a dialect, once in this process.
fn read_once(name: &str, read: impl FnOnce() -> Result<Spoken, DialectError>) -> Result<Arc<Spoken>, DialectError> {
    static READ: Mutex<BTreeMap<String, Arc<Spoken>>> = Mutex::new(BTreeMap::new());
    let mut known = READ.lock().expect("reading a dialect does not panic");
    if let Some(spoken) = known.get(name) {
        return Ok(spoken.clone());
    }
    let spoken = Arc::new(read()?);
    known.insert(name.to_owned(), spoken.clone());
    Ok(spoken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What oracles know about a dialect follows from its file.
    #[test]
    fn the_properties_of_the_reference_servers_dialects() {
        let common = Descriptor {
            pairing: Pairing::Everybody,
            names_others: false,
            chooses_ids: false,
            asks_by_connecting: false,
            joins_by_connecting: false,
            joins_by_asking: false,
            is_one_room: false,
            echoes: false,
            rewrites: false,
            heartbeats_to_trust: 2,
            first_state: ClientState::Init,
            states: None,
        };
        let expected = [
            (Role::Mesh, Descriptor { names_others: true, ..common }),
            (
                Role::Sender,
                Descriptor {
                    pairing: Pairing::Roles,
                    states: Some(StateRules { with_partner: ClientState::Active }),
                    ..common
                },
            ),
            (
                Role::User,
                Descriptor {
                    pairing: Pairing::Calls,
                    names_others: true,
                    chooses_ids: true,
                    is_one_room: true,
                    first_state: ClientState::Idle,
                    ..common
                },
            ),
            (
                Role::Relay,
                Descriptor { pairing: Pairing::Offers, asks_by_connecting: true, joins_by_connecting: true, ..common },
            ),
            (
                Role::Broadcast,
                Descriptor {
                    pairing: Pairing::Offers,
                    asks_by_connecting: true,
                    joins_by_connecting: true,
                    is_one_room: true,
                    echoes: true,
                    heartbeats_to_trust: 1,
                    ..common
                },
            ),
        ];
        for (role, right) in expected {
            assert_eq!(of_role(role, role.framing()).descriptor, right, "{role:?}");
        }
        let [websocket, socketio] = [Framing::WebSocket, Framing::SocketIo].map(|over| of_role(Role::User, over));
        assert_eq!(Descriptor { heartbeats_to_trust: 1, ..websocket.descriptor }, socketio.descriptor);
    }

    #[test]
    fn clients_that_choose_their_ids_have_the_same_in_each_life() {
        let peerjs = Spoken::new(File::load("peerjs").expect("it is shipped"));
        assert_eq!(peerjs.id_of("ana", "r 1"), Some("r1-ana".into()));
        let star = Spoken::new(File::load("webrtc-star").expect("it is shipped"));
        let id = star.id_of("ana", "r").expect("an id");
        assert_eq!(Some(&id), star.id_of("ana", "r").as_ref());
        assert!(id.starts_with("/ip4/127.0.0.1/tcp/9090/ws/p2p-webrtc-star/p2p/Qm"), "{id}");
        assert_ne!(Some(id), star.id_of("ben", "r"));
        assert_eq!(of_role(Role::Mesh, Framing::WebSocket).id_of("ana", "r"), None);
    }
}
