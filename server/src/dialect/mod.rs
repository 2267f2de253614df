//! The signaling dialects. Each is one file that implements [`Dialect`] for its endpoint and [`Session`] for a connection;
//! the rest of the server knows only these two traits.

use std::sync::Arc;

use crate::session::close::Close;
use crate::session::queue::Queue;

pub(crate) mod call;
pub(crate) mod json;
pub(crate) mod mesh;
pub(crate) mod relay;
pub(crate) mod sender_viewer;

/// A WebSocket endpoint, shared by all its connections.
pub(crate) trait Dialect: Send + Sync + 'static {
    /// How many rooms there are, and members in all of them.
    fn count(&self) -> (usize, usize);

    /// Whether a WebSocket may be opened with this query of its URL.
    ///
    /// # Errors
    /// What is wrong with it, for the HTTP 400 that refuses it.
    fn admit(&self, _query: Option<&str>) -> Result<(), &'static str> {
        Ok(())
    }

    /// A WebSocket was opened with a query that was [admitted](Self::admit); what goes into `queue` is sent to it.
    fn open(self: Arc<Self>, query: Option<&str>, queue: Arc<Queue>) -> Box<dyn Session>;
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

    /// Whether it has ever joined anything, which ends the join timeout. There is none where it is true from the start.
    fn has_joined(&self) -> bool;
}
