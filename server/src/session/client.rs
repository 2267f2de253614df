//! A connection as its dialect sees it: its queue, and what it may do.

use std::ops::Deref;
use std::sync::Arc;

use super::close::Close;
use super::queue::Queue;
use super::rooms::Rooms;
use crate::access::Grant;
use crate::limits::Limits;

/// A client. Messages for it go into its [`Queue`], to which it dereferences.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) queue: Arc<Queue>,
    /// What its token allows.
    grant: Grant,
    room_members_max: u32,
    rooms_max: u32,
}

impl Client {
    pub(crate) fn new(queue: Arc<Queue>, grant: Grant, limits: &Limits) -> Self {
        let (room_members_max, rooms_max) = (count_max(limits.room_members_max), count_max(limits.rooms_max));
        Self { queue, grant, room_members_max, rooms_max }
    }

    /// Whether it may join a room that it is not in. If not, its connection is closed.
    pub(crate) fn may_join<M>(&self, rooms: &Rooms<M>, room: &str) -> bool {
        let members = rooms.members(room).len();
        let close = if !self.grant.allows_room(room) {
            Close::NotAllowed
        } else if members >= self.room_members_max as usize {
            Close::RoomFull
        } else if members == 0 && rooms.count().0 >= self.rooms_max as usize {
            Close::TooManyRooms
        } else {
            return true;
        };
        self.queue.close(close);
        false
    }

    /// Whether it may use this name. If not, its connection is closed.
    pub(crate) fn may_use_name(&self, name: &str) -> bool {
        let may = self.grant.allows_user(name);
        if !may {
            self.queue.close(Close::NotAllowed);
        }
        may
    }
}

impl Deref for Client {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.queue
    }
}

/// A limit in the size that a client stores; without a limit, a number that is never reached.
fn count_max(limit: Option<usize>) -> u32 {
    limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(u32::MAX)
}
