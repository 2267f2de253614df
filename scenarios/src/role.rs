//! The roles that actors play: a dialect and, in some dialects, a role in it.

use serde::Serialize;

use crate::value::{BadValue, Parse, Why};

/// The role of an actor in the signaling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// One of many clients in a room, all connected to each other.
    #[default]
    Mesh,
    /// The client in a room that sends media, and so makes the offer.
    Sender,
    /// The client in a room that receives media, and so answers.
    Viewer,
    /// A named user who makes and receives calls.
    User,
    /// One of two clients in a room without names. Each receives what the other sends.
    Relay,
    /// One of two clients that both receive every offer and every answer, including their own.
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
    /// One room, in which all clients receive all messages.
    Broadcast,
}

/// How the messages of a dialect are transported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// As text messages of a WebSocket.
    #[default]
    WebSocket,
    /// As events of Socket.IO 5, over a WebSocket.
    SocketIo,
}

/// All roles, with their names in files.
const ROLES: &[(&str, Role)] = &[
    ("mesh", Role::Mesh),
    ("sender", Role::Sender),
    ("viewer", Role::Viewer),
    ("user", Role::User),
    ("relay", Role::Relay),
    ("broadcast", Role::Broadcast),
];

impl Role {
    /// The dialect that it belongs to.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Mesh => Dialect::Mesh,
            Self::Sender | Self::Viewer => Dialect::SenderViewer,
            Self::User => Dialect::Call,
            Self::Relay => Dialect::Relay,
            Self::Broadcast => Dialect::Broadcast,
        }
    }

    /// The default framing of its messages.
    pub fn framing(self) -> Framing {
        if self == Self::Broadcast { Framing::SocketIo } else { Framing::WebSocket }
    }

    /// The room that all actors with this role share, if they cannot choose one.
    pub fn only_room(self) -> Option<&'static str> {
        match self {
            Self::User => Some("users"),
            Self::Broadcast => Some("everybody"),
            Self::Mesh | Self::Sender | Self::Viewer | Self::Relay => None,
        }
    }

    /// Its name in files.
    pub fn name(self) -> &'static str {
        ROLES.iter().find(|(_, role)| *role == self).map(|(name, _)| *name).expect("every role has a name")
    }
}

impl Dialect {
    /// Its name, which is also its name in the server's table of dialects.
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

    fn parse(text: &str) -> Result<Self, BadValue> {
        let found = ROLES.iter().find(|(name, _)| *name == text).map(|(_, role)| *role);
        let names = || ROLES.iter().map(|(name, _)| *name).collect();
        found.ok_or_else(|| BadValue::new(text, Why::Unknown("role", names())))
    }
}

impl Parse for Framing {
    const RIGHT: &'static str = "\"websocket\" or \"socket.io\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        match text {
            "websocket" => Ok(Self::WebSocket),
            "socket.io" => Ok(Self::SocketIo),
            _ => Err(BadValue::new(text, Why::MustBe(<Self as Parse>::RIGHT))),
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
        let wrong = Role::parse("veiwer").expect_err("no role").to_string();
        assert!(wrong.starts_with("unknown role `veiwer`; did you mean `viewer`? (roles: `mesh`, "), "{wrong}");
    }
}
