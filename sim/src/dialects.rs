//! What each dialect is like, for whatever must not depend on its messages: oracles ask this instead of looking at roles.

use scenarios::{Dialect, Role};

use crate::event::ClientState;

/// What a dialect is like.
#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(crate) dialect: Dialect,
    /// Its roles. Of two, the first is the one that offers.
    pub(crate) roles: &'static [Role],
    /// Whether clients are told who else is there, and who sent a signal.
    pub(crate) names_others: bool,
    /// Whether clients choose their own ids, and so come back under the same.
    pub(crate) chooses_ids: bool,
    /// Whether connecting is joining: then there is no message for either.
    pub(crate) joins_by_connecting: bool,
    /// Whether all clients of a server meet in one room.
    pub(crate) is_one_room: bool,
    /// Whether clients receive their own signals too.
    pub(crate) echoes: bool,
    /// Which two clients of a room are to be connected.
    pub(crate) pairing: Pairing,
    /// The state of a client that has not connected yet.
    pub(crate) first_state: ClientState,
    /// The states that its clients must go through, if the dialect has such a rule.
    pub(crate) states: Option<StateRules>,
}

/// Which two clients of a room are to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// Every two.
    Everybody,
    /// Two of different roles, of which a room has one client each.
    Roles,
    /// Two users who are in a call with each other.
    Calls,
    /// Two of which one has received the other's offer.
    Offers,
}

/// The states that clients must go through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateRules {
    /// Whether a client of a role may go from the first state to the second.
    pub(crate) may_follow: fn(Role, ClientState, ClientState) -> bool,
    /// The state of a client whose partner is there.
    pub(crate) with_partner: ClientState,
}

/// What most dialects are like; each gives its own name and roles.
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

/// Every dialect.
static DESCRIPTORS: &[Descriptor] = &[
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

/// What a dialect is like.
pub(crate) fn describe(dialect: Dialect) -> &'static Descriptor {
    DESCRIPTORS.iter().find(|descriptor| descriptor.dialect == dialect).expect("every dialect is described")
}

/// What the dialect of a role is like.
pub(crate) fn descriptor(role: Role) -> &'static Descriptor {
    describe(role.dialect())
}

impl Descriptor {
    /// The role of the other side in a room of two.
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
        // A viewer may be told that its sender left before an offer from it came.
        (Init, Waiting) => true,
        (Init, Active) => role == Role::Viewer,
        (Error, Waiting) => role == Role::Sender,
        (Waiting, Active) | (Active, Waiting) => true,
        _ => false,
    }
}
