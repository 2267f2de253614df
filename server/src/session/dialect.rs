//! What a signaling dialect is to the server: an endpoint, and a session for each connection.

use std::sync::Arc;

use bytes::Bytes;

use super::client::Client;
use super::close::Close;

/// An endpoint, shared by all its connections.
pub(crate) trait Dialect: Send + Sync + 'static {
    /// Its name in the documents and the metrics.
    fn name(&self) -> &'static str;

    /// How many rooms there are, and members in all of them.
    fn count(&self) -> (usize, usize);
}

/// An endpoint whose messages are the texts of a WebSocket.
pub(crate) trait WebSocketDialect: Dialect {
    /// Whether a WebSocket may be opened with this query of its URL.
    ///
    /// # Errors
    /// What is wrong with it, for the HTTP 400 that refuses it.
    fn admit(&self, _query: Option<&str>) -> Result<(), &'static str> {
        Ok(())
    }

    /// A WebSocket was opened with a query that was [admitted](Self::admit); what goes into `client` is sent to it.
    fn open(self: Arc<Self>, query: Option<&str>, client: Client) -> Box<dyn Session>;
}

/// One WebSocket's side of a dialect. Dropping it is leaving, whatever the cause: others are told there, and only there.
pub(crate) trait Session: Send + 'static {
    /// A text message within the limit. Answers go into the queue.
    fn text(&mut self, text: &str);

    /// A binary message.
    ///
    /// # Errors
    /// The dialect has none, so the connection is to be closed.
    fn binary(&mut self, _data: Bytes) -> Result<(), Close> {
        Err(Close::Binary)
    }

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
