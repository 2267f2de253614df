//! The properties of each dialect, for code that must not depend on its messages. Oracles use them instead of checking
//! roles.

use scenarios::{Dialect, Role};

use crate::event::ClientState;

/// The properties of a dialect.
#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(crate) dialect: Dialect,
    /// Its roles. If there are two, the first is the one that offers.
    pub(crate) roles: &'static [Role],
    /// Whether clients learn who else is in the room, and who sent a signal.
    pub(crate) names_others: bool,
    /// Whether clients choose their own ids, and so return with the same id.
    pub(crate) chooses_ids: bool,
    /// Whether connecting is joining. If so, there is no message for joining or leaving.
    pub(crate) joins_by_connecting: bool,
    /// Whether all clients of a server are in one room.
    pub(crate) is_one_room: bool,
    /// Whether clients also receive their own signals.
    pub(crate) echoes: bool,
    /// Which pairs of clients in a room must be connected.
    pub(crate) pairing: Pairing,
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateRules {
    /// Whether a client with this role may go from the first state to the second.
    pub(crate) may_follow: fn(Role, ClientState, ClientState) -> bool,
    /// The state of a client whose partner is there.
    pub(crate) with_partner: ClientState,
}

/// The defaults of a dialect; each dialect sets its own name and roles.
const COMMON: Descriptor = Descriptor {
    dialect: Dialect::Mesh,
    roles: &[Role::Mesh],
    names_others: false,
    chooses_ids: false,
    joins_by_connecting: false,
    is_one_room: false,
    echoes: false,
    pairing: Pairing::Everybody,
    first_state: ClientState::Init,
    states: None,
};

/// The descriptors of all dialects.
pub(crate) static DESCRIPTORS: &[Descriptor] = &[
    Descriptor { dialect: Dialect::Mesh, roles: &[Role::Mesh], names_others: true, ..COMMON },
    Descriptor {
        dialect: Dialect::SenderViewer,
        roles: &[Role::Sender, Role::Viewer],
        pairing: Pairing::Roles,
        states: Some(StateRules { may_follow: may_follow_in_sender_viewer, with_partner: ClientState::Active }),
        ..COMMON
    },
    Descriptor {
        dialect: Dialect::Call,
        roles: &[Role::User],
        names_others: true,
        chooses_ids: true,
        is_one_room: true,
        pairing: Pairing::Calls,
        first_state: ClientState::Idle,
        ..COMMON
    },
    Descriptor {
        dialect: Dialect::Relay,
        roles: &[Role::Relay],
        joins_by_connecting: true,
        pairing: Pairing::Offers,
        ..COMMON
    },
    Descriptor {
        dialect: Dialect::Broadcast,
        roles: &[Role::Broadcast],
        joins_by_connecting: true,
        is_one_room: true,
        echoes: true,
        pairing: Pairing::Offers,
        ..COMMON
    },
];

/// The descriptor of a dialect.
pub(crate) fn describe(dialect: Dialect) -> &'static Descriptor {
    DESCRIPTORS.iter().find(|descriptor| descriptor.dialect == dialect).expect("every dialect is described")
}

/// The descriptor of a role's dialect.
pub(crate) fn descriptor(role: Role) -> &'static Descriptor {
    describe(role.dialect())
}

impl Descriptor {
    /// The role of the other side in a two-party room.
    pub(crate) fn partner(&self, role: Role) -> Option<Role> {
        if self.pairing != Pairing::Roles {
            return None;
        }
        self.roles.iter().copied().find(|other| *other != role)
    }
}

fn may_follow_in_sender_viewer(role: Role, before: ClientState, after: ClientState) -> bool {
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
