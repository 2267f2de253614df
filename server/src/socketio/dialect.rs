//! What a signaling dialect over Socket.IO is to the server.

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

    /// A client has connected, and knows its id; the packets that go into `client` are sent to it.
    fn connect(self: Arc<Self>, id: ClientId, client: Client) -> Box<dyn EventSession>;
}

/// One client's side of an [`EventDialect`]. Dropping it is leaving, whatever the cause.
pub(crate) trait EventSession: Send + 'static {
    /// An event with its attachments. Answers go into the queue; an acknowledgement is not the dialect's business.
    fn event(&mut self, event: &Event<'_>, attachments: &[Bytes]);

    /// Whether it has ever joined anything, which ends the join timeout.
    fn has_joined(&self) -> bool;
}
