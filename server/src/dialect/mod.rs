//! The signaling dialects. Each is one file that implements [`Dialect`] for its endpoint and [`Session`] for a connection;
//! the rest of the server knows only these two traits.

use std::sync::Arc;

use crate::session::close::Close;
use crate::session::queue::Queue;

pub(crate) mod json;
pub(crate) mod mesh;

/// An endpoint, shared by all its connections.
pub(crate) trait Dialect: Send + Sync + 'static {
    /// Its name in logs and errors.
    const NAME: &'static str;
    /// One connection's state.
    type Session: Session;

    /// Whether a WebSocket may be opened at this path of a URL (without the query).
    fn is_at(&self, path: &str) -> bool;

    /// How many rooms there are, and members in all of them.
    fn count(&self) -> (usize, usize);

    /// A WebSocket was opened; what goes into `queue` is sent to it.
    fn open(self: Arc<Self>, queue: Arc<Queue>) -> Self::Session;
}

/// One connection's side of a dialect. Dropping it is leaving, whatever the cause: others are told there, and only there.
pub(crate) trait Session: Send + 'static {
    /// A text message within the limit. Answers go into the queue.
    fn text(&mut self, text: &str);

    /// A text message over [`Limits::message_bytes_max`](crate::Limits::message_bytes_max) came.
    ///
    /// # Errors
    /// The dialect has no answer for that, so the connection is to be closed.
    fn oversized(&mut self) -> Result<(), Close> {
        Err(Close::TooLarge)
    }

    /// Whether it has ever joined anything, which ends the join timeout.
    fn has_joined(&self) -> bool;
}
