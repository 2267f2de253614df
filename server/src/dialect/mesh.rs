//! The `mesh` dialect: up to N peers in a room, each connected to each other one.
//!
//! `dialects.md` §2 is the reference. What it leaves open, decided here:
//! - A message's fields are checked before its effect: first `roomId`, then `type`, then membership, then `to`.
//! - `name` is decoration: one that is no string of 1–64 code points counts as absent, and the join succeeds.
//! - Joining the same room again without a name keeps the name, with one replaces it for those who join later.
//! - `to` naming the sender itself is answered like any client that is not there: nothing is delivered to its own sender.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;
use serde_json::value::RawValue;

use super::json::{self, Malformed, serialise};
use crate::session::close::Close;
use crate::session::dialect::{Dialect, Session, WebSocketDialect};
use crate::session::identity::{ClientId, ClientIds};
use crate::session::queue::Queue;
use crate::session::rooms::{Member, NAME_CODE_POINTS_MAX, Rooms, is_name};

/// The endpoint: all rooms.
pub(crate) struct Mesh {
    state: Mutex<State>,
}

struct State {
    rooms: Rooms<Option<Arc<str>>>,
    ids: ClientIds,
}

/// One client.
pub(crate) struct MeshSession {
    mesh: Arc<Mesh>,
    id: ClientId,
    queue: Arc<Queue>,
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

/// What the server says.
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
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Mutex::new(State { rooms: Rooms::default(), ids: ClientIds::new(seed) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the rooms")
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
    fn open(self: Arc<Self>, _query: Option<&str>, queue: Arc<Queue>) -> Box<dyn Session> {
        Box::new(MeshSession::new(self, queue))
    }
}

impl Session for MeshSession {
    fn text(&mut self, text: &str) {
        if let Err(refusal) = self.obey(text) {
            self.refuse(&refusal);
            if planted!(RoomForgottenAfterBadJson) && matches!(refusal, Refusal::InvalidJson) {
                self.room = None;
            }
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
    fn new(mesh: Arc<Mesh>, queue: Arc<Queue>) -> Self {
        let id = mesh.lock().ids.issue();
        Self { mesh, id, queue, room: None, has_joined: false }
    }

    fn obey<'a>(&mut self, text: &'a str) -> Result<(), Refusal<'a>> {
        let [action, room, name, kind, data, to] =
            json::fields(text, &["action", "roomId", "name", "type", "data", "to"]).map_err(
                |malformed| match malformed {
                    Malformed::NotJson => Refusal::InvalidJson,
                    Malformed::NotAnObject => Refusal::InvalidAction,
                },
            )?;
        let action = action.and_then(json::text).ok_or(Refusal::InvalidAction)?;
        match &*action {
            "signal" => self.signal(&room_id(room)?, kind, data, to, text),
            "join" => {
                self.join(&room_id(room)?, name.and_then(json::text).filter(|name| is_name(name)).as_deref());
                Ok(())
            }
            "leave" => {
                let room = room_id(room)?;
                let named = planted!(ForeignLeaveBelieved: "clientId" in text).and_then(|id| ClientId::parse(&id));
                self.id = named.unwrap_or(self.id);
                if self.room.as_deref() != Some(&*room) && !planted!(AnyLeaveLeaves) {
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
        if !name.is_none_or(|name| self.queue.may_be(name)) {
            return;
        }
        let leaves_first = planted!(RejoinLeavesFirst) || planted!(RejoinIsTwoMembers);
        if self.room.as_deref() == Some(room) && !leaves_first {
            if let (Some(me), Some(name)) = (rooms.member_mut(room, self.id), name) {
                me.about = Some(name.into());
            }
            self.say_joined(rooms, room);
            return;
        }
        if !rooms.admits(room, &self.queue) {
            return;
        }
        if !planted!(MoveKeepsOldRoom) && !planted!(RejoinIsTwoMembers) {
            self.leave_room(rooms);
        }
        self.say_joined(rooms, room);
        let peer = Peer { client_id: self.id.as_str(), name };
        let notice = serialise(&Notice::PeerJoined { room_id: room, peer });
        if planted!(JoinToldToOneself) {
            self.queue.push(notice.clone());
        }
        if !planted!(JoinNotTold) {
            rooms.tell_others(room, self.id, &notice);
        }
        let room: Arc<str> = room.into();
        rooms.join(&room, Member { id: self.id, queue: Arc::clone(&self.queue), about: name.map(Arc::from) });
        tracing::debug!(client = ?self.id, %room, "joined");
        self.room = Some(room);
    }

    fn say_joined<'a>(&'a self, rooms: &'a Rooms<Option<Arc<str>>>, room: &str) {
        let others = rooms.members(room).iter().filter(|member| member.id != self.id);
        let others = others.skip(usize::from(planted!(RosterMissesTheFirst)));
        let named = |member: &'a Member<Option<Arc<str>>>| member.about.as_deref().filter(|_| !planted!(NamesLost));
        let peers = others.map(|member| Peer { client_id: member.id.as_str(), name: named(member) });
        let oneself = planted!(RosterWithOneself).then(|| Peer { client_id: self.id.as_str(), name: None });
        let peers = peers.chain(oneself).collect();
        self.queue.push(serialise(&Notice::Joined { room_id: room, client_id: self.id.as_str(), peers }));
    }

    fn leave_room(&mut self, rooms: &mut Rooms<Option<Arc<str>>>) {
        let Some(room) = self.room.take() else { return };
        if !planted!(LeaverStays) {
            rooms.leave(&room, self.id);
        }
        if !rooms.members(&room).is_empty() && !planted!(LeaveNotTold) {
            let notice = serialise(&Notice::PeerLeft { room_id: &room, client_id: self.id.as_str() });
            rooms.tell_others(&room, self.id, &notice);
            if planted!(LeaveToldTwice) {
                rooms.tell_others(&room, self.id, &notice);
            }
        }
        tracing::debug!(client = ?self.id, %room, "left");
    }

    fn signal<'a>(
        &self,
        room: &str,
        kind: Option<&RawValue>,
        data: Option<&RawValue>,
        to: Option<&'a RawValue>,
        text: &str,
    ) -> Result<(), Refusal<'a>> {
        let kind = kind.and_then(json::text).or(planted!(TypeNotAskedFor).then_some("offer".into()));
        let kind = kind.ok_or(Refusal::InvalidSignalType)?;
        let kinds = ["offer", "answer", "ice-candidate", "hangup"];
        let known = kinds.into_iter().find(|known| *known == kind).or(planted!(UnknownTypeIsOffer).then_some("offer"));
        let kind = known.ok_or(Refusal::InvalidSignalType)?;
        let kind = if planted!(KindLost) { "offer" } else { kind };
        if planted!(EarlyCandidateDropped) && kind == "ice-candidate" && self.queue.tally.counts().0 <= 2 {
            return Ok(());
        }
        if self.room.as_deref() != Some(room) && !planted!(MembershipUnchecked) {
            return Err(Refusal::NotInThisRoom);
        }
        let claimed = planted!(FromTrusted: "from" in text);
        let from = claimed.as_deref().unwrap_or(self.id.as_str());
        let from = if planted!(FromEmpty) { "" } else { from };
        let message = serialise(&Signal { action: "signal", room_id: room, from, kind, data });
        let state = self.mesh.lock();
        match to.filter(|to| (to.get() != "null" || planted!(NullIsATarget)) && !planted!(TargetedToAll)) {
            None => state.rooms.tell_others(room, self.id, &message),
            Some(to) => {
                let id = json::text(to).unwrap_or(Cow::Borrowed(to.get()));
                let target = ClientId::parse(&id).filter(|target| *target != self.id);
                let rooms = &state.rooms;
                let elsewhere = |target| rooms.names().find_map(|other| rooms.member(other, target));
                let found = target.and_then(|target| match rooms.member(room, target) {
                    None if planted!(TargetsAcrossRooms) => elsewhere(target),
                    found => found,
                });
                match found {
                    Some(target) => target.queue.push(message),
                    None if planted!(AbsentTargetToAll) => rooms.tell_others(room, self.id, &message),
                    None => return Err(Refusal::TargetNotFound(id)),
                }
            }
        }
        Ok(())
    }

    fn refuse(&self, refusal: &Refusal<'_>) {
        let echo = |text| json::cut(text, NAME_CODE_POINTS_MAX);
        let message: Cow<'_, str> = match refusal {
            Refusal::InvalidJson if planted!(InsideShown) => concat!("Unexpected end, at ", file!(), ":1").into(),
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
        let notice = serialise(&Notice::Error { message: &message });
        if let Some(room) = self.room.as_ref().filter(|_| planted!(ErrorsToEverybody)) {
            self.mesh.lock().rooms.tell_others(room, self.id, &notice);
        }
        self.queue.push(notice);
    }
}

fn room_id<'a>(value: Option<&'a RawValue>) -> Result<Cow<'a, str>, Refusal<'a>> {
    let coerced = value.map(|value| Cow::Borrowed(value.get())).filter(|_| planted!(RoomIdsCoerced));
    let id = value.and_then(json::text).or(coerced).filter(|id| !id.is_empty() || planted!(EmptyRoomId));
    let id = id.ok_or(Refusal::InvalidRoomIdType)?;
    match &*id {
        id if planted!(RoomIdsFolded) => return Ok(id.to_lowercase().into()),
        id if planted!(RoomIdsTrimmed) => return Ok(id.trim().to_owned().into()),
        id if planted!(RoomIdsCut) => return Ok(json::cut(id, NAME_CODE_POINTS_MAX).to_owned().into()),
        "__proto__" if planted!(PrototypeFound) => return Err(Refusal::InvalidRoomIdType),
        _ => {}
    }
    if is_name(&id) || planted!(EmptyRoomId) { Ok(id) } else { Err(Refusal::RoomIdTooLong) }
}

#[cfg(test)]
#[path = "mesh_model.rs"]
mod model;
