//! The `mesh` dialect: up to N peers in a room, each connected to each other one.
//!
//! `docs/conformance/promises.md` says what the protocol is. Decisions on what it leaves open:
//! - A message's fields are checked before its effect: first `roomId`, then `type`, then membership, then `to`.
//! - `name` is optional: if it is not a string of 1–64 code points, it counts as absent, and the join succeeds.
//! - Joining the same room again without a name keeps the name; with a name, it replaces it for clients that join
//!   later.
//! - If `to` is the sender itself, it is treated as a client that does not exist: nothing is delivered to its own
//!   sender.

use std::borrow::Cow;
use std::sync::{Arc, MutexGuard};

use serde::Serialize;
use serde_json::value::RawValue;

use super::json::{self, Malformed, serialise};
use crate::lock::Lock;
use crate::random::Entropy;
use crate::session::client::Client;
use crate::session::close::Close;
use crate::session::dialect::{Dialect, Session, WebSocketDialect};
use crate::session::identity::{ClientId, ClientIds};
use crate::session::rooms::{Member, NAME_CODE_POINTS_MAX, Rooms, is_name};
use crate::shown::Shown;

/// The endpoint: all rooms.
pub(crate) struct Mesh {
    state: Lock<State>,
}

struct State {
    rooms: Rooms<Option<Arc<str>>>,
    ids: ClientIds,
}

/// One client.
pub(crate) struct MeshSession {
    mesh: Arc<Mesh>,
    id: ClientId,
    client: Client,
    room: Option<Arc<str>>,
    has_joined: bool,
}

/// What is wrong with a message; the text is part of the dialect.
#[derive(Debug)]
enum Refusal<'a> {
    InvalidJson,
    InvalidAction,
    UnknownAction(Cow<'a, str>),
    NotInThisRoom,
    TargetNotFound(Cow<'a, str>),
    RoomIdTooLong,
    InvalidRoomIdType,
    InvalidSignalType,
    MessageTooLarge,
}

/// A message from the server.
#[derive(Serialize)]
#[serde(tag = "action", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Notice<'a> {
    Joined { room_id: &'a str, client_id: &'a str, peers: Vec<Peer<'a>> },
    PeerJoined { room_id: &'a str, peer: Peer<'a> },
    PeerLeft { room_id: &'a str, client_id: &'a str },
    Error { message: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Peer<'a> {
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Not a [`Notice`], because a [`RawValue`] does not pass through an internally tagged enum.
#[derive(Serialize)]
struct Signal<'a> {
    action: &'static str,
    #[serde(rename = "roomId")]
    room_id: &'a str,
    from: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl Mesh {
    pub(crate) fn new(entropy: impl Into<Entropy>) -> Self {
        Self { state: Lock::new(State { rooms: Rooms::default(), ids: ClientIds::new(entropy) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What a defect in a handler would do.
    #[cfg(test)]
    pub(crate) fn panic_while_locked(&self) {
        let _state = self.lock();
        panic!("a defect");
    }
}

impl Dialect for Mesh {
    fn name(&self) -> &'static str {
        "mesh"
    }

    fn count(&self) -> (usize, usize) {
        self.lock().rooms.count()
    }
}

impl WebSocketDialect for Mesh {
    fn open(self: Arc<Self>, _query: Option<&str>, client: Client) -> Box<dyn Session> {
        Box::new(MeshSession::new(self, client))
    }
}

impl Session for MeshSession {
    fn text(&mut self, text: &str) {
        if let Err(refusal) = self.handle(text) {
            self.refuse(&refusal);
        }
    }

    fn oversized(&mut self) -> Result<(), Close> {
        self.refuse(&Refusal::MessageTooLarge);
        Ok(())
    }

    fn has_joined(&self) -> bool {
        self.has_joined
    }
}

impl Drop for MeshSession {
    fn drop(&mut self) {
        let mesh = Arc::clone(&self.mesh);
        self.leave_room(&mut mesh.lock().rooms);
    }
}

impl MeshSession {
    fn new(mesh: Arc<Mesh>, client: Client) -> Self {
        let id = mesh.lock().ids.issue();
        Self { mesh, id, client, room: None, has_joined: false }
    }

    fn handle<'a>(&mut self, text: &'a str) -> Result<(), Refusal<'a>> {
        let [action, room, name, kind, data, to] =
            json::fields(text, &["action", "roomId", "name", "type", "data", "to"]).map_err(
                |malformed| match malformed {
                    Malformed::NotJson => Refusal::InvalidJson,
                    Malformed::NotAnObject => Refusal::InvalidAction,
                },
            )?;
        let action = action.and_then(json::text).ok_or(Refusal::InvalidAction)?;
        match &*action {
            "signal" => self.signal(&room_id(room)?, kind, data, to),
            "join" => {
                self.join(&room_id(room)?, name.and_then(json::text).filter(|name| is_name(name)).as_deref());
                Ok(())
            }
            "leave" => {
                let room = room_id(room)?;
                if self.room.as_deref() != Some(&*room) {
                    return Err(Refusal::NotInThisRoom);
                }
                let mesh = Arc::clone(&self.mesh);
                self.leave_room(&mut mesh.lock().rooms);
                Ok(())
            }
            _ => Err(Refusal::UnknownAction(action)),
        }
    }

    fn join(&mut self, room: &str, name: Option<&str>) {
        let mesh = Arc::clone(&self.mesh);
        let rooms = &mut mesh.lock().rooms;
        self.has_joined = true;
        if !name.is_none_or(|name| self.client.may_use_name(name)) {
            return;
        }
        if self.room.as_deref() == Some(room) {
            if let (Some(me), Some(name)) = (rooms.member_mut(room, self.id), name) {
                me.about = Some(name.into());
            }
            self.send_joined(rooms, room);
            return;
        }
        if !self.client.may_join(rooms, room) {
            return;
        }
        self.leave_room(rooms);
        self.send_joined(rooms, room);
        let peer = Peer { client_id: self.id.as_str(), name };
        rooms.broadcast(room, self.id, &serialise(&Notice::PeerJoined { room_id: room, peer }));
        let room: Arc<str> = room.into();
        rooms.join(&room, Member { id: self.id, queue: Arc::clone(&self.client.queue), about: name.map(Arc::from) });
        tracing::debug!(client = ?self.id, room = %Shown(&room), "joined");
        self.room = Some(room);
    }

    fn send_joined(&self, rooms: &Rooms<Option<Arc<str>>>, room: &str) {
        let others = rooms.members(room).iter().filter(|member| member.id != self.id);
        let peers = others.map(|member| Peer { client_id: member.id.as_str(), name: member.about.as_deref() });
        let peers = peers.collect();
        self.client.push(serialise(&Notice::Joined { room_id: room, client_id: self.id.as_str(), peers }));
    }

    fn leave_room(&mut self, rooms: &mut Rooms<Option<Arc<str>>>) {
        let Some(room) = self.room.take() else { return };
        rooms.leave(&room, self.id);
        if !rooms.members(&room).is_empty() {
            let notice = serialise(&Notice::PeerLeft { room_id: &room, client_id: self.id.as_str() });
            rooms.broadcast(&room, self.id, &notice);
        }
        tracing::debug!(client = ?self.id, room = %Shown(&room), "left");
    }

    fn signal<'a>(
        &self,
        room: &str,
        kind: Option<&RawValue>,
        data: Option<&RawValue>,
        to: Option<&'a RawValue>,
    ) -> Result<(), Refusal<'a>> {
        let kind = kind.and_then(json::text).ok_or(Refusal::InvalidSignalType)?;
        let kinds = ["offer", "answer", "ice-candidate", "hangup"];
        let kind = kinds.into_iter().find(|known| *known == kind).ok_or(Refusal::InvalidSignalType)?;
        if self.room.as_deref() != Some(room) {
            return Err(Refusal::NotInThisRoom);
        }
        let message = serialise(&Signal { action: "signal", room_id: room, from: self.id.as_str(), kind, data });
        let state = self.mesh.lock();
        match to.filter(|to| to.get() != "null") {
            None => state.rooms.broadcast(room, self.id, &message),
            Some(to) => {
                let id = json::text(to).unwrap_or(Cow::Borrowed(to.get()));
                let target = ClientId::parse(&id).filter(|target| *target != self.id);
                match target.and_then(|target| state.rooms.member(room, target)) {
                    Some(target) => target.queue.push(message),
                    None => return Err(Refusal::TargetNotFound(id)),
                }
            }
        }
        Ok(())
    }

    fn refuse(&self, refusal: &Refusal<'_>) {
        let echo = |text| json::cut(text, NAME_CODE_POINTS_MAX);
        let message: Cow<'_, str> = match refusal {
            Refusal::InvalidJson => "Invalid JSON".into(),
            Refusal::InvalidAction => "Invalid action".into(),
            Refusal::UnknownAction(action) => format!("Unknown action: {}", echo(action)).into(),
            Refusal::NotInThisRoom => "Not in this room".into(),
            Refusal::TargetNotFound(id) => format!("Target client {} not found or not in room", echo(id)).into(),
            Refusal::RoomIdTooLong => "RoomId too long".into(),
            Refusal::InvalidRoomIdType => "Invalid roomId type".into(),
            Refusal::InvalidSignalType => "Invalid signal type".into(),
            Refusal::MessageTooLarge => "Message too large".into(),
        };
        self.client.push(serialise(&Notice::Error { message: &message }));
    }
}

fn room_id<'a>(value: Option<&'a RawValue>) -> Result<Cow<'a, str>, Refusal<'a>> {
    let id = value.and_then(json::text).filter(|id| !id.is_empty()).ok_or(Refusal::InvalidRoomIdType)?;
    if is_name(&id) { Ok(id) } else { Err(Refusal::RoomIdTooLong) }
}

#[cfg(test)]
#[path = "mesh_model.rs"]
mod model;
