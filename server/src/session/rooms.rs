//! The members of rooms. Pure state: the dialect decides which messages a change causes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::identity::ClientId;
use super::queue::Queue;

/// Maximum length of a room id or name, in Unicode code points.
pub(crate) const NAME_CODE_POINTS_MAX: usize = 64;

/// Whether a text is valid as a room id or a name: 1–64 code points.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().nth(NAME_CODE_POINTS_MAX).is_none()
}

/// Rooms by name. A room exists while it has a member; names are compared exactly.
#[derive(Debug)]
pub(crate) struct Rooms<M> {
    rooms: BTreeMap<Arc<str>, Vec<Member<M>>>,
    members: usize,
}

/// A client in a room, with the dialect's data about it.
#[derive(Debug)]
pub(crate) struct Member<M> {
    pub(crate) id: ClientId,
    pub(crate) queue: Arc<Queue>,
    pub(crate) about: M,
}

impl<M> Default for Rooms<M> {
    fn default() -> Self {
        Self { rooms: BTreeMap::new(), members: 0 }
    }
}

impl<M> Rooms<M> {
    /// The members of a room in joining order; none if the room does not exist.
    pub(crate) fn members(&self, room: &str) -> &[Member<M>] {
        self.rooms.get(room).map_or(&[], Vec::as_slice)
    }

    /// One member.
    pub(crate) fn member(&self, room: &str, id: ClientId) -> Option<&Member<M>> {
        self.members(room).iter().find(|member| member.id == id)
    }

    /// One member, mutable.
    pub(crate) fn member_mut(&mut self, room: &str, id: ClientId) -> Option<&mut Member<M>> {
        self.rooms.get_mut(room)?.iter_mut().find(|member| member.id == id)
    }

    /// Adds a client that is not in the room yet.
    pub(crate) fn join(&mut self, room: &Arc<str>, member: Member<M>) {
        self.rooms.entry(Arc::clone(room)).or_default().push(member);
        self.members += 1;
    }

    /// Removes a client. Returns whether it was in the room.
    pub(crate) fn leave(&mut self, room: &str, id: ClientId) -> bool {
        let Some(members) = self.rooms.get_mut(room) else { return false };
        let Some(at) = members.iter().position(|member| member.id == id) else { return false };
        members.remove(at);
        self.members -= 1;
        if members.is_empty() {
            self.rooms.remove(room);
        }
        true
    }

    /// Queues one message, serialized once, for all members except `except`.
    pub(crate) fn broadcast(&self, room: &str, except: ClientId, message: &Utf8Bytes) {
        for member in self.members(room).iter().filter(|member| member.id != except) {
            member.queue.push(message.clone());
        }
    }

    /// The rooms' names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rooms.keys()
    }

    /// The number of rooms, and of members in all of them.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.rooms.len(), self.members)
    }
}
