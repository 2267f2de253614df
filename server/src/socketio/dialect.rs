//! The interface of a signaling dialect over Socket.IO.

use std::sync::Arc;

use bytes::Bytes;

use super::packet::Event;
use crate::session::client::Client;
use crate::session::dialect::Dialect;
use crate::session::identity::ClientId;

/// An endpoint whose messages are the named events of Socket.IO's main namespace.
pub(crate) trait EventDialect: Dialect {
    /// An id for a client that is about to connect.
    fn issue_id(&self) -> ClientId;

    /// Opens a session for a client that has connected and knows its id. Packets pushed to `client` are sent to it.
    fn connect(self: Arc<Self>, id: ClientId, client: Client) -> Box<dyn EventSession>;
}

/// The session of one client. Dropping it makes the client leave, whatever the cause.
pub(crate) trait EventSession: Send + 'static {
    /// Handles an event with its attachments. Answers go into the queue. The dialect does not send acknowledgements.
    fn event(&mut self, event: &Event<'_>, attachments: &[Bytes]);

    /// Whether it has ever joined anything, which ends the join timeout.
    fn has_joined(&self) -> bool;
}
