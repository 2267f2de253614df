//! The interface of a signaling dialect: an endpoint, and a session for each connection.

use std::sync::Arc;

use bytes::Bytes;

use super::client::Client;
use super::close::Close;

/// An endpoint, shared by all its connections.
pub(crate) trait Dialect: Send + Sync + 'static {
    /// Its name in the documents and the metrics.
    fn name(&self) -> &'static str;

    /// The number of rooms, and of members in all of them.
    fn count(&self) -> (usize, usize);
}

/// An endpoint whose messages are the texts of a WebSocket.
pub(crate) trait WebSocketDialect: Dialect {
    /// Checks whether a WebSocket may be opened with this query of its URL.
    ///
    /// # Errors
    /// What is wrong with it, for the HTTP 400 response.
    fn admit(&self, _query: Option<&str>) -> Result<(), &'static str> {
        Ok(())
    }

    /// Opens a session for a WebSocket whose query was [admitted](Self::admit). Messages pushed to `client` are sent to
    /// it.
    fn open(self: Arc<Self>, query: Option<&str>, client: Client) -> Box<dyn Session>;
}

/// The session of one WebSocket. Dropping it makes the client leave, whatever the cause; only there are others
/// notified.
pub(crate) trait Session: Send + 'static {
    /// Handles a text message within the limit. Answers go into the queue.
    fn text(&mut self, text: &str);

    /// Handles a binary message.
    ///
    /// # Errors
    /// The dialect has no binary messages, so the connection must be closed.
    fn binary(&mut self, _data: Bytes) -> Result<(), Close> {
        Err(Close::Binary)
    }

    /// Handles a text message over [`Limits::message_bytes_max`](crate::Limits::message_bytes_max).
    ///
    /// # Errors
    /// The dialect has no answer for it, so the connection must be closed.
    fn oversized(&mut self) -> Result<(), Close> {
        Err(Close::TooLarge)
    }

    /// Whether it has ever joined anything, which ends the join timeout. If it is true from the start, there is no
    /// timeout.
    fn has_joined(&self) -> bool;
}
