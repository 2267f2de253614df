//! The `sender-viewer` dialect: one sender and one viewer per room.
//!
//! `docs/conformance/promises.md` says what the protocol is. Decisions on what it leaves open:
//! - A message's form is checked before its effect: first its fields (`invalid-message`), then whether the client has a role
//!   (`not-joined`), then the direction (`not-allowed`), then the other side (`no-peer`). An offer or answer without `sdp`
//!   and a candidate message without `candidate` are `invalid-message`.
//! - A client that asks for another room or role loses the old one, even if the new one is refused.
//! - Joining the same room and role again repeats `viewer-ready`.
//! - A holder counts as gone from the moment the server has decided to close its connection, for whatever reason.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use serde::Serialize;
use serde_json::value::RawValue;

use super::json::{self, serialise};
use crate::lock::Lock;
use crate::random::Entropy;
use crate::session::client::Client;
use crate::session::close::Close;
use crate::session::dialect::{Dialect, Session, WebSocketDialect};
use crate::session::identity::{ClientId, ClientIds};
use crate::session::queue::Queue;
use crate::session::rooms::{Member, Rooms, is_name};
use crate::shown::Shown;

/// The endpoint: all rooms, and all connections, joined or not.
pub(crate) struct SenderViewer {
    state: Lock<State>,
}

struct State {
    rooms: Rooms<Role>,
    clients: BTreeMap<ClientId, Arc<Queue>>,
    ids: ClientIds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    Sender,
    Viewer,
}

impl Role {
    fn other(self) -> Self {
        match self {
            Self::Sender => Self::Viewer,
            Self::Viewer => Self::Sender,
        }
    }
}

/// One client.
struct SenderViewerSession {
    endpoint: Arc<SenderViewer>,
    id: ClientId,
    client: Client,
    /// Its last room and role. Another client may have replaced it there; `rooms` decides.
    assignment: Option<(Arc<str>, Role)>,
    has_joined: bool,
}

/// What is wrong with a message; the name is part of the dialect.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Refusal {
    SenderAlreadyExists,
    ViewerAlreadyExists,
    InvalidMessage,
    NotJoined,
    NotAllowed,
    NoPeer,
}

/// A message from the server.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Notice<'a> {
    Joined { role: Role, room: &'a str, client_id: &'a str },
    ViewerReady,
    SenderLeft,
    ViewerLeft,
    Error { reason: Refusal },
}

/// A relayed message. Not a [`Notice`], because a [`RawValue`] does not pass through an internally tagged enum.
#[derive(Serialize)]
struct Signal<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdp: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<&'a RawValue>,
}

/// The clients in a room, as `/api/status` shows them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomStatus {
    room_id: Arc<str>,
    sender: RoleStatus,
    viewer: RoleStatus,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoleStatus {
    connected: bool,
    client_id: Option<String>,
}

impl SenderViewer {
    pub(crate) fn new(entropy: impl Into<Entropy>) -> Self {
        let state = State { rooms: Rooms::default(), clients: BTreeMap::new(), ids: ClientIds::new(entropy) };
        Self { state: Lock::new(state) }
    }

    /// Every room with a client in it, by name; only this one, if one is given.
    pub(crate) fn status(&self, only: Option<&str>) -> Vec<RoomStatus> {
        let state = self.lock();
        let role_status = |room: &str, role| {
            let holder = state.rooms.live_holder(room, role);
            RoleStatus { connected: holder.is_some(), client_id: holder.map(|holder| holder.id.as_str().to_owned()) }
        };
        let names = state.rooms.names().filter(|room| only.is_none_or(|only| ***room == *only));
        let rooms = names.map(|room| RoomStatus {
            room_id: Arc::clone(room),
            sender: role_status(room, Role::Sender),
            viewer: role_status(room, Role::Viewer),
        });
        rooms.collect()
    }

    /// Closes a client's connection. Returns whether the client exists.
    pub(crate) fn kick(&self, client_id: &str) -> bool {
        let state = self.lock();
        let queue = ClientId::parse(client_id).and_then(|id| state.clients.get(&id));
        let queue = queue.filter(|queue| !queue.is_closing());
        queue.inspect(|queue| queue.close(Close::Kicked)).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Dialect for SenderViewer {
    fn name(&self) -> &'static str {
        "sender-viewer"
    }

    fn count(&self) -> (usize, usize) {
        self.lock().rooms.count()
    }
}

impl WebSocketDialect for SenderViewer {
    fn open(self: Arc<Self>, _query: Option<&str>, client: Client) -> Box<dyn Session> {
        let mut state = self.lock();
        let id = state.ids.issue();
        state.clients.insert(id, Arc::clone(&client.queue));
        drop(state);
        Box::new(SenderViewerSession { endpoint: self, id, client, assignment: None, has_joined: false })
    }
}

impl Rooms<Role> {
    /// The client with a role in a room.
    fn holder(&self, room: &str, role: Role) -> Option<&Member<Role>> {
        self.members(room).iter().find(|member| member.about == role)
    }

    /// The same, unless its connection is about to end.
    fn live_holder(&self, room: &str, role: Role) -> Option<&Member<Role>> {
        self.holder(room, role).filter(|holder| !holder.queue.is_closing())
    }

    /// Frees a role if this client has it, and notifies the other side.
    fn free_role(&mut self, room: &str, role: Role, id: ClientId) {
        if self.leave(room, id) {
            let notice = match role {
                Role::Sender => Notice::SenderLeft,
                Role::Viewer => Notice::ViewerLeft,
            };
            self.broadcast(room, id, &serialise(&notice));
            tracing::debug!(client = ?id, room = %Shown(room), ?role, "left");
        }
    }
}

impl Session for SenderViewerSession {
    fn text(&mut self, text: &str) {
        if let Err(reason) = self.handle(text) {
            self.client.push(serialise(&Notice::Error { reason }));
        }
    }

    fn has_joined(&self) -> bool {
        self.has_joined
    }
}

impl Drop for SenderViewerSession {
    fn drop(&mut self) {
        let endpoint = Arc::clone(&self.endpoint);
        let mut state = endpoint.lock();
        state.clients.remove(&self.id);
        self.leave_role(&mut state.rooms);
    }
}

impl SenderViewerSession {
    fn handle(&mut self, text: &str) -> Result<(), Refusal> {
        let fields = json::fields(text, &["type", "role", "room", "sdp", "candidate"]);
        let [kind, role, room, sdp, candidate] = fields.map_err(|_| Refusal::InvalidMessage)?;
        match kind.and_then(json::text).as_deref() {
            Some("join") => {
                let role = match role.and_then(json::text).as_deref() {
                    Some("sender") => Role::Sender,
                    Some("viewer") => Role::Viewer,
                    _ => return Err(Refusal::InvalidMessage),
                };
                let room = room.and_then(json::text).filter(|room| is_name(room)).ok_or(Refusal::InvalidMessage)?;
                self.join(&room, role)
            }
            Some("offer") => self.relay("offer", sdp, None, Some(Role::Sender)),
            Some("answer") => self.relay("answer", sdp, None, Some(Role::Viewer)),
            Some("ice-candidate") => self.relay("ice-candidate", None, candidate, None),
            _ => Err(Refusal::InvalidMessage),
        }
    }

    fn join(&mut self, room: &str, role: Role) -> Result<(), Refusal> {
        let endpoint = Arc::clone(&self.endpoint);
        let rooms = &mut endpoint.lock().rooms;
        if self.assignment.as_ref().is_some_and(|(old, old_role)| (&**old, *old_role) != (room, role)) {
            self.leave_role(rooms);
        }
        match rooms.holder(room, role) {
            Some(holder) if holder.id == self.id => {}
            Some(holder) if !holder.queue.is_closing() => {
                return Err(match role {
                    Role::Sender => Refusal::SenderAlreadyExists,
                    Role::Viewer => Refusal::ViewerAlreadyExists,
                });
            }
            dead => {
                if let Some(dead) = dead.map(|dead| dead.id) {
                    rooms.free_role(room, role, dead);
                }
                if !self.client.may_join(rooms, room) {
                    return Ok(());
                }
                let room: Arc<str> = room.into();
                rooms.join(&room, Member { id: self.id, queue: Arc::clone(&self.client.queue), about: role });
                self.assignment = Some((room, role));
                self.has_joined = true;
            }
        }
        tracing::debug!(client = ?self.id, room = %Shown(room), ?role, "joined");
        self.client.push(serialise(&Notice::Joined { role, room, client_id: self.id.as_str() }));
        if let (Some(sender), Some(_)) = (rooms.live_holder(room, Role::Sender), rooms.live_holder(room, Role::Viewer))
        {
            sender.queue.push_state(serialise(&Notice::ViewerReady));
        }
        Ok(())
    }

    /// Relays a message to the other side. With `from`, only this role may send it.
    fn relay(
        &self,
        kind: &'static str,
        sdp: Option<&RawValue>,
        candidate: Option<&RawValue>,
        from: Option<Role>,
    ) -> Result<(), Refusal> {
        if sdp.or(candidate).is_none() {
            return Err(Refusal::InvalidMessage);
        }
        let rooms = &self.endpoint.lock().rooms;
        let assignment = self.assignment.as_ref().filter(|(room, _)| rooms.member(room, self.id).is_some());
        let (room, role) = assignment.ok_or(Refusal::NotJoined)?;
        if from.is_some_and(|from| from != *role) {
            return Err(Refusal::NotAllowed);
        }
        let peer = rooms.live_holder(room, role.other()).ok_or(Refusal::NoPeer)?;
        peer.queue.push(serialise(&Signal { kind, sdp, candidate }));
        Ok(())
    }

    fn leave_role(&mut self, rooms: &mut Rooms<Role>) {
        if let Some((room, role)) = self.assignment.take() {
            rooms.free_role(&room, role, self.id);
        }
    }
}

#[cfg(test)]
#[path = "sender_viewer_model.rs"]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::access::Grant;

    fn connect(endpoint: &Arc<SenderViewer>) -> (Box<dyn Session>, Arc<Queue>) {
        let queue = Queue::alone(&Limits::default());
        let client = Client::new(Arc::clone(&queue), Grant::default(), &Limits::default());
        (Arc::clone(endpoint).open(None, client), queue)
    }

    /// The types of the messages queued since the last call.
    fn received_types(queue: &Queue) -> Vec<String> {
        let messages = queue.drained();
        let kinds = messages.iter().map(|message| {
            let message: serde_json::Value = serde_json::from_str(message.to_text().expect("a text")).expect("JSON");
            message["type"].as_str().expect("a string").to_owned()
        });
        kinds.collect()
    }

    /// Between the decision to close a connection and the end of its task, another client may take its role.
    #[test]
    fn a_dead_holder_is_replaced_and_its_leaving_told_once_and_first() {
        for (dead_role, other_role, left) in [("sender", "viewer", "sender-left"), ("viewer", "sender", "viewer-left")]
        {
            let join = |role| format!(r#"{{"type":"join","role":"{role}","room":"r"}}"#);
            let endpoint = Arc::new(SenderViewer::new(1));
            let [(mut dead, dead_queue), (mut other, other_queue), (mut new, new_queue)] =
                std::array::from_fn(|_| connect(&endpoint));
            dead.text(&join(dead_role));
            other.text(&join(other_role));
            received_types(&other_queue);
            dead_queue.close(Close::HeartbeatMissed);
            other.text(r#"{"type":"ice-candidate","candidate":null}"#);
            assert_eq!(received_types(&other_queue), ["error"], "nobody is there any more");
            new.text(&join(dead_role));
            dead.text(r#"{"type":"ice-candidate","candidate":null}"#);
            drop(dead);
            new.text(r#"{"type":"ice-candidate","candidate":null}"#);
            let (new_receives, other_receives): (&[&str], &[&str]) = match dead_role {
                "sender" => (&["joined", "viewer-ready"], &[left, "ice-candidate"]),
                _ => (&["joined"], &[left, "viewer-ready", "ice-candidate"]),
            };
            assert_eq!(received_types(&new_queue), new_receives);
            assert_eq!(received_types(&other_queue), other_receives);
            assert_eq!(endpoint.count(), (1, 2));
            drop((new, other));
            assert_eq!(endpoint.count(), (0, 0));
            assert!(endpoint.lock().clients.is_empty());
        }
    }

    #[test]
    fn a_dying_viewer_is_not_ready_for_a_new_sender() {
        let endpoint = Arc::new(SenderViewer::new(1));
        let [(mut viewer, viewer_queue), (mut sender, sender_queue)] = std::array::from_fn(|_| connect(&endpoint));
        viewer.text(r#"{"type":"join","role":"viewer","room":"r"}"#);
        viewer_queue.close(Close::Shutdown);
        sender.text(r#"{"type":"join","role":"sender","room":"r"}"#);
        drop(viewer);
        assert_eq!(received_types(&sender_queue), ["joined", "viewer-left"]);
    }
}
