//! Names that the signaling gives to rooms, clients, and the other side of a WebRTC connection.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use scenarios::Role;
use serde::{Serialize, Serializer};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        // Maps with such keys can be asked with a plain text: a name compares and hashes like its text.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self)
            }
        }
    };
}

name! {
    /// The name of a room.
    RoomName
}

name! {
    /// The id by which other clients address a client: the server assigns it, or it is a user's name.
    ClientId
}

/// The other side of a WebRTC connection, as a client's dialect names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerName {
    /// A client, by its id.
    Client(ClientId),
    /// The client with this role in the same room.
    Role(Role),
    /// Whoever else is there: the dialect has neither ids nor roles.
    Other,
    /// No peer: the event belongs to no connection yet, as when a host candidate is gathered.
    None,
}

/// The name as text: an id, a role, `other`, or an empty text for no peer.
impl Deref for PeerName {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Client(id) => id,
            Self::Role(role) => role.name(),
            Self::Other => "other",
            Self::None => "",
        }
    }
}

impl PeerName {
    /// The client's id, if the dialect has ids.
    pub fn id(&self) -> Option<&ClientId> {
        match self {
            Self::Client(id) => Some(id),
            Self::Role(_) | Self::Other | Self::None => None,
        }
    }
}

impl From<ClientId> for PeerName {
    fn from(id: ClientId) -> Self {
        Self::Client(id)
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl Serialize for PeerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}
