//! What an actor plays: a dialect, and where it has them, a part in it.

use serde::Serialize;

use crate::error::{instead, quote};
use crate::value::Parse;

/// What an actor is to the signaling server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// One of many in a room, each connected to each.
    #[default]
    Mesh,
    /// The one of a room who shows something, and so the one who offers.
    Sender,
    /// The one of a room who watches, and answers.
    Viewer,
    /// A named user who calls others and is called.
    User,
    /// One of two in a room without names: what one says the other hears.
    Relay,
    /// One of two among whom everybody hears every offer and every answer, their own too.
    Broadcast,
}

/// A signaling protocol of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Rooms of many peers.
    Mesh,
    /// Rooms of a sender and a viewer.
    SenderViewer,
    /// Users who call each other.
    Call,
    /// Rooms without names.
    Relay,
    /// One room, in which everybody hears all.
    Broadcast,
}

/// What the messages of a dialect go in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// A WebSocket's text messages.
    #[default]
    WebSocket,
    /// Events of Socket.IO 5, over a WebSocket.
    SocketIo,
}

/// Every role, as files call it.
const ROLES: &[(&str, Role)] = &[
    ("mesh", Role::Mesh),
    ("sender", Role::Sender),
    ("viewer", Role::Viewer),
    ("user", Role::User),
    ("relay", Role::Relay),
    ("broadcast", Role::Broadcast),
];

impl Role {
    /// The dialect it is a part of.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Mesh => Dialect::Mesh,
            Self::Sender | Self::Viewer => Dialect::SenderViewer,
            Self::User => Dialect::Call,
            Self::Relay => Dialect::Relay,
            Self::Broadcast => Dialect::Broadcast,
        }
    }

    /// What its messages go in, where a file does not choose.
    pub fn framing(self) -> Framing {
        if self == Self::Broadcast { Framing::SocketIo } else { Framing::WebSocket }
    }

    /// The room that all who play it are in, where they have no choice.
    pub fn only_room(self) -> Option<&'static str> {
        match self {
            Self::User => Some("users"),
            Self::Broadcast => Some("everybody"),
            Self::Mesh | Self::Sender | Self::Viewer | Self::Relay => None,
        }
    }

    /// What files call it.
    pub fn name(self) -> &'static str {
        ROLES.iter().find(|(_, role)| *role == self).map(|(name, _)| *name).expect("every role has a name")
    }
}

impl Dialect {
    /// Its name, which the server's table of dialects has too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::SenderViewer => "sender-viewer",
            Self::Call => "call",
            Self::Relay => "relay",
            Self::Broadcast => "broadcast",
        }
    }
}

impl Parse for Role {
    const RIGHT: &'static str = "a role such as \"sender\"";

    fn parse(text: &str) -> Result<Self, String> {
        let found = ROLES.iter().find(|(name, _)| *name == text).map(|(_, role)| *role);
        found.ok_or_else(|| {
            format!("unknown role {}{}", quote(text), instead(text, "roles", ROLES.iter().map(|(name, _)| *name)))
        })
    }
}

impl Parse for Framing {
    const RIGHT: &'static str = "\"websocket\" or \"socket.io\"";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "websocket" => Ok(Self::WebSocket),
            "socket.io" => Ok(Self::SocketIo),
            _ => Err(format!("{} must be {}", quote(text), <Self as Parse>::RIGHT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_called() {
        for (name, role) in ROLES {
            assert_eq!((role.name(), Role::parse(name)), (*name, Ok(*role)));
        }
        let wrong = Role::parse("veiwer").expect_err("no role");
        assert!(wrong.starts_with("unknown role `veiwer`; did you mean `viewer`? (roles: `mesh`, "), "{wrong}");
    }
}
