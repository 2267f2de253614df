//! The `broadcast` dialect: every client receives every offer and answer, including its sender.
//!
//! `docs/conformance/promises.md` says what the protocol is. Decisions on what it leaves open: an event with another name is ignored; one
//! without arguments is relayed without arguments.

use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

use crate::lock::Lock;
use crate::random::Entropy;
use crate::session::client::Client;
use crate::session::dialect::Dialect;
use crate::session::identity::{ClientId, ClientIds};
use crate::session::rooms::{Member, Rooms};
use crate::socketio::dialect::{EventDialect, EventSession};
use crate::socketio::packet::{self, Event, Kind, Packet};

/// The only room, which all clients are in.
const ROOM: &str = "";

/// The endpoint.
pub(crate) struct Broadcast {
    state: Lock<State>,
}

struct State {
    rooms: Rooms<()>,
    ids: ClientIds,
}

/// One client.
struct BroadcastSession {
    endpoint: Arc<Broadcast>,
    id: ClientId,
}

impl Broadcast {
    pub(crate) fn new(entropy: impl Into<Entropy>) -> Self {
        Self { state: Lock::new(State { rooms: Rooms::default(), ids: ClientIds::new(entropy) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Dialect for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }

    fn count(&self) -> (usize, usize) {
        self.lock().rooms.count()
    }
}

impl EventDialect for Broadcast {
    fn issue_id(&self) -> ClientId {
        self.lock().ids.issue()
    }

    fn connect(self: Arc<Self>, id: ClientId, client: Client) -> Box<dyn EventSession> {
        let mut state = self.lock();
        if client.may_join(&state.rooms, ROOM) {
            state.rooms.join(&ROOM.into(), Member { id, queue: Arc::clone(&client.queue), about: () });
        }
        drop(state);
        Box::new(BroadcastSession { endpoint: self, id })
    }
}

impl EventSession for BroadcastSession {
    fn event(&mut self, event: &Event<'_>, attachments: &[Bytes]) {
        let name = match &*event.name {
            "send-offer" => "receive-offer",
            "send-answer" => "receive-answer",
            _ => return,
        };
        let data = Event { name: name.into(), ..event.clone() }.to_string();
        let packet = Packet { attachments: attachments.len(), ..Packet::new(Kind::Event, &data) };
        let text = packet::message(&packet);
        let state = self.endpoint.lock();
        let everybody = state.rooms.members(ROOM).iter();
        if attachments.is_empty() {
            everybody.for_each(|member| member.queue.push(text.clone()));
        } else {
            let attachments = attachments.iter().cloned().map(Message::Binary);
            let messages: Vec<_> = [Message::Text(text)].into_iter().chain(attachments).collect();
            everybody.for_each(|member| member.queue.push_all(&messages));
        }
    }

    /// Connecting is joining.
    fn has_joined(&self) -> bool {
        true
    }
}

impl Drop for BroadcastSession {
    fn drop(&mut self) {
        self.endpoint.lock().rooms.leave(ROOM, self.id);
    }
}
