//! Which clients a signal reaches, for callers that fill rooms.

use crate::Dialect;
use crate::file::{Addressing, RoomIn};

/// Which clients a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The most members of one room that can signal to each other. `None`: no limit.
    pub members_max: Option<usize>,
    /// Whether rooms keep clients apart. If not, the whole server is one room.
    pub rooms: bool,
    /// Whether a signal reaches all in the room. If not, it reaches the one member that it names.
    pub everyone: bool,
    /// Whether the sender receives its own signal.
    pub echo: bool,
}

impl Dialect {
    /// Which clients a signal reaches.
    pub fn audience(&self) -> Audience {
        let file = &self.file;
        let two = file.calls.needed || file.roles.is_some();
        let everyone = file.signals.addressing != Addressing::Targeted;
        Audience {
            members_max: if two { Some(2) } else { file.room.members_max },
            // If signals name their receiver, no other client receives them, even without rooms.
            rooms: !everyone || file.room.r#in != RoomIn::None,
            everyone,
            echo: everyone && file.signals.echo,
        }
    }
}
