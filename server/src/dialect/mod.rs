//! The signaling dialects. Each is one file. Over WebSocket it implements [`WebSocketDialect`] for its endpoint and [`Session`]
//! for a connection, over Socket.IO [`EventDialect`] and [`EventSession`]; the rest of the server knows only these traits.

use std::sync::Arc;

use bytes::Bytes;

use self::echo::Echo;
use self::relay::Relay;
use self::sender_viewer::SenderViewer;
use crate::session::close::Close;
use crate::session::identity::ClientId;
use crate::session::queue::Queue;
use crate::socketio::packet::Event;

pub(crate) mod broadcast;
pub(crate) mod call;
pub(crate) mod echo;
pub(crate) mod framing;
pub(crate) mod json;
pub(crate) mod mesh;
pub(crate) mod relay;
pub(crate) mod sender_viewer;

/// A dialect over WebSocket at a path of the HTTP address ([`Config::http`](crate::Config::http)).
#[derive(Debug)]
pub struct HttpDialect {
    /// Its name in the documents and the metrics.
    pub name: &'static str,
    /// Where its WebSockets are opened.
    pub path: &'static str,
    pub(crate) make: fn(&Parts) -> Arc<dyn WebSocketDialect>,
}

/// What dialects are made of.
pub(crate) struct Parts {
    pub(crate) seed: u64,
    /// Also known to the API.
    pub(crate) sender_viewer: Arc<SenderViewer>,
}

pub(crate) const SENDER_VIEWER: &str = "sender-viewer";

/// The dialects that share the HTTP address. Another one is its file and a line here.
pub const HTTP_DIALECTS: &[HttpDialect] = &[
    HttpDialect { name: SENDER_VIEWER, path: "/ws", make: |parts| Arc::clone(&parts.sender_viewer) as _ },
    HttpDialect { name: "relay", path: "/relay", make: |parts| Arc::new(Relay::new(parts.seed)) },
    HttpDialect { name: "echo", path: "/echo", make: |_| Arc::new(Echo) },
];

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

    /// A WebSocket was opened with a query that was [admitted](Self::admit); what goes into `queue` is sent to it.
    fn open(self: Arc<Self>, query: Option<&str>, queue: Arc<Queue>) -> Box<dyn Session>;
}

/// An endpoint whose messages are the named events of Socket.IO's main namespace.
pub(crate) trait EventDialect: Dialect {
    /// An id for a client that is about to connect.
    fn issue_id(&self) -> ClientId;

    /// A client has connected, and knows its id; the packets that go into `queue` are sent to it.
    fn connect(self: Arc<Self>, id: ClientId, queue: Arc<Queue>) -> Box<dyn EventSession>;
}

/// One client's side of an [`EventDialect`]. Dropping it is leaving, whatever the cause.
pub(crate) trait EventSession: Send + 'static {
    /// An event with its attachments. Answers go into the queue; an acknowledgement is not the dialect's business.
    fn event(&mut self, event: &Event<'_>, attachments: &[Bytes]);

    /// Whether it has ever joined anything, which ends the join timeout.
    fn has_joined(&self) -> bool;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_calls_every_dialect_by_its_own_name() {
        let parts = Parts { seed: 0, sender_viewer: Arc::new(SenderViewer::new(0)) };
        for line in HTTP_DIALECTS {
            assert_eq!((line.make)(&parts).name(), line.name);
        }
    }
}
