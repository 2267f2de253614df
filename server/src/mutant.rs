//! Defects planted on purpose: the conformance suite must find every one of them. Compiled with the feature `mutants` alone.
//!
//! A mutant is an entry in the catalogue below and `planted!(Name)` in the line or two that it breaks. It is planted for a
//! thread, so that servers with different defects run at the same time, each in a thread and a runtime of its own. A mutant
//! must neither panic while a lock is held nor block its thread.

use std::cell::Cell;

use crate::dialect::json;

/// What clients meet of a server, and what the suite has questions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the dialects' names say it
pub enum Surface {
    Mesh,
    SenderViewer,
    Relay,
    Call,
    CallSocketIo,
    Broadcast,
    Stun,
    Turn,
}

impl Surface {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Mesh,
        Self::SenderViewer,
        Self::Relay,
        Self::Call,
        Self::CallSocketIo,
        Self::Broadcast,
        Self::Stun,
        Self::Turn,
    ];

    /// The dialect's name, or the service's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::SenderViewer => "sender-viewer",
            Self::Relay => "relay",
            Self::Call => "call",
            Self::CallSocketIo => "call-socketio",
            Self::Broadcast => "broadcast",
            Self::Stun => "stun",
            Self::Turn => "turn",
        }
    }
}

macro_rules! catalogue {
    ($($mutant:ident: $name:literal, $file:literal, [$($surface:ident),+], $defect:literal;)+) => {
        /// A defect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $(#[doc = $defect] $mutant,)+
        }

        impl Mutant {
            /// The whole catalogue.
            pub const ALL: &[Self] = &[$(Self::$mutant,)+];

            /// `area/name`, for people and commands.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$mutant => $name,)+
                }
            }

            /// What is wrong, in a sentence.
            #[must_use]
            pub fn defect(self) -> &'static str {
                match self {
                    $(Self::$mutant => $defect,)+
                }
            }

            /// The file that it breaks, below `server/src`.
            #[must_use]
            pub fn file(self) -> &'static str {
                match self {
                    $(Self::$mutant => $file,)+
                }
            }

            /// Where it shows.
            #[must_use]
            pub fn surfaces(self) -> &'static [Surface] {
                match self {
                    $(Self::$mutant => &[$(Surface::$surface),+],)+
                }
            }
        }
    };
}

// Name: "area/name", file, where it shows, the defect in a sentence.
catalogue! {
    // Rooms and their members.
    EchoToSender: "room/echo-to-sender", "session/rooms.rs", [Mesh, Relay],
        "A signal for everybody comes back to its sender.";
    ToldEverywhere: "room/told-everywhere", "session/rooms.rs", [Mesh, Relay],
        "What is for everybody in a room goes to everybody in every room.";

    // The dialect `mesh`.
    FromTrusted: "mesh/from-trusted", "dialect/mesh.rs", [Mesh],
        "A signal's `from` is what its sender writes there.";
    ForeignLeaveBelieved: "mesh/foreign-leave-believed", "dialect/mesh.rs", [Mesh],
        "Who leaves is whom the message names, and not who sends it.";
    TargetedToAll: "mesh/targeted-to-all", "dialect/mesh.rs", [Mesh],
        "A signal with a receiver goes to everybody.";
    PayloadReserialised: "message/payload-reserialised", "dialect/json.rs", [Mesh, SenderViewer, Call],
        "Payloads are parsed and written again: keys change places, big numbers lose digits.";

    // What all WebSockets share.
    GhostAfterAbruptClose: "session/ghost-after-abrupt-close", "session/connection.rs", [Mesh, SenderViewer, Call],
        "Whoever loses its TCP connection stays a member for ever.";
    HalfOpenNeverNoticed: "session/half-open-never-noticed", "session/heartbeat.rs", [Mesh],
        "Pings that stay unanswered have no consequence.";
    Reordered: "session/reordered", "session/queue.rs", [Mesh, Relay],
        "What waits to be written goes out in the wrong order.";
}

thread_local! {
    static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Gives the servers that this thread runs from now on a defect, or none.
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// Whether this thread's server has a defect.
pub(crate) fn is_planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// What a client claims in a field of its message, where that is believed.
pub(crate) fn claimed(mutant: Mutant, field: &str, text: &str) -> Option<String> {
    let [value] = json::fields(text, &[field]).ok().filter(|_| is_planted(mutant))?;
    value.and_then(json::text).map(String::from)
}
