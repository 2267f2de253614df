//! The `relay` dialect: relays offers, answers and candidates between the clients of a room.
//!
//! `docs/conformance/promises.md` says what the protocol is. Decisions on what it leaves open:
//! - If a query has several `room` parameters, the first counts. Its name is compared exactly, `+` is a plus sign
//!   (percent-decoding, not form decoding), and a `%` that two hexadecimal digits do not follow is kept.
//! - A room name that is not UTF-8 after decoding is refused like one that is too long.
//! - Only `type` is checked: an offer without its `offer` is relayed as well.

use std::sync::{Arc, MutexGuard};

use serde::Serialize;

use super::json::{self, Malformed, serialise};
use crate::lock::Lock;
use crate::query;
use crate::random::Entropy;
use crate::session::client::Client;
use crate::session::dialect::{Dialect, Session, WebSocketDialect};
use crate::session::identity::{ClientId, ClientIds};
use crate::session::rooms::{Member, Rooms, is_name};

/// The room of clients that name none.
const DEFAULT_ROOM: &str = "default";

/// The endpoint: all rooms.
pub(crate) struct Relay {
    state: Lock<State>,
}

struct State {
    rooms: Rooms<()>,
    /// They are never sent: they only distinguish a sender from the others.
    ids: ClientIds,
}

/// One client, which is in its room as long as it is connected.
struct RelaySession {
    relay: Arc<Relay>,
    id: ClientId,
    client: Client,
    room: Arc<str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Notice<'a> {
    Error { message: &'a str },
}

impl Relay {
    pub(crate) fn new(entropy: impl Into<Entropy>) -> Self {
        Self { state: Lock::new(State { rooms: Rooms::default(), ids: ClientIds::new(entropy) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Dialect for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn count(&self) -> (usize, usize) {
        self.lock().rooms.count()
    }
}

impl WebSocketDialect for Relay {
    fn admit(&self, query: Option<&str>) -> Result<(), &'static str> {
        room(query).map(drop)
    }

    fn open(self: Arc<Self>, query: Option<&str>, client: Client) -> Box<dyn Session> {
        let room: Arc<str> = room(query).expect("it was admitted").into();
        let mut state = self.lock();
        let id = state.ids.issue();
        if client.may_join(&state.rooms, &room) {
            state.rooms.join(&room, Member { id, queue: Arc::clone(&client.queue), about: () });
        }
        drop(state);
        Box::new(RelaySession { relay: self, id, client, room })
    }
}

impl Session for RelaySession {
    fn text(&mut self, text: &str) {
        let message = match json::fields(text, &["type"]) {
            Err(Malformed::NotJson) => "Invalid JSON",
            Ok([Some(kind)]) if matches!(json::text(kind).as_deref(), Some("offer" | "answer" | "candidate")) => {
                return self.relay.lock().rooms.broadcast(&self.room, self.id, &text.into());
            }
            Ok(_) | Err(Malformed::NotAnObject) => "Unknown type",
        };
        self.client.push(serialise(&Notice::Error { message }));
    }

    /// Connecting is joining.
    fn has_joined(&self) -> bool {
        true
    }
}

impl Drop for RelaySession {
    fn drop(&mut self) {
        self.relay.lock().rooms.leave(&self.room, self.id);
    }
}

/// The room that a query names.
fn room(query: Option<&str>) -> Result<String, &'static str> {
    let room = query::value(query, "room").unwrap_or_default();
    let room = String::from_utf8(room.into_owned()).map_err(|_| "The room is not UTF-8")?;
    match room.as_str() {
        "" => Ok(DEFAULT_ROOM.to_owned()),
        _ if is_name(&room) => Ok(room),
        _ => Err("The room is longer than 64 code points"),
    }
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn rooms_are_percent_decoded() {
        let longest = "é".repeat(64);
        let cases = [
            (None, "default"),
            (Some(""), "default"),
            (Some("room"), "default"),
            (Some("room="), "default"),
            (Some("Room=x&xroom=y"), "default"),
            (Some("a=1&room=r&room=s"), "r"),
            (Some("room=a=b"), "a=b"),
            (Some("room=%61%2F%26%3d+%25"), "a/&=+%"),
            (Some("room=%C3%a9"), "é"),
            (Some("room=%"), "%"),
            (Some("room=%6"), "%6"),
            (Some("room=%zz%%36"), "%zz%6"),
            (Some(&format!("room={}", "%C3%A9".repeat(64))), &longest),
        ];
        for (query, expected) in cases {
            assert_eq!(room(query).as_deref(), Ok(expected), "{query:?}");
        }
        assert!(room(Some("room=%ff")).is_err());
        assert!(room(Some(&format!("room={}", "%C3%A9".repeat(65)))).is_err());
        assert!(room(Some(&format!("room={}", "a".repeat(65)))).is_err());
    }
}
