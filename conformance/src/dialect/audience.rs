//! Whom a signal reaches, for whoever fills rooms.

use super::Dialect;
use super::file::{Addressing, RoomIn};

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience {
    /// How many members can signal to each other in a room. `None`: as many as you like.
    pub members_max: Option<usize>,
    /// Whether clients in different rooms do not hear each other. Otherwise a server is one room.
    pub rooms: bool,
    /// Whether one signal reaches all in the room. Otherwise it reaches the one member that it names.
    pub everyone: bool,
    /// Whether the sender hears its own signal.
    pub echo: bool,
}

impl Dialect {
    /// Whom a signal reaches.
    pub fn audience(&self) -> Audience {
        let file = &self.file;
        let two = file.calls.needed || file.roles.is_some();
        let everyone = file.signals.addressing != Addressing::Targeted;
        Audience {
            members_max: if two { Some(2) } else { file.room.members_max },
            // Where signals name their receiver, who is not named hears nothing either.
            rooms: !everyone || file.room.r#in != RoomIn::None,
            everyone,
            echo: everyone && file.signals.echo,
        }
    }
}
