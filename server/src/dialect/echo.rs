//! The `echo` dialect: every message comes back unchanged, text or binary. To try out a WebSocket client, and for
//! Autobahn's fuzzing client, which needs such a server.

use std::sync::Arc;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

use crate::session::client::Client;
use crate::session::close::Close;
use crate::session::dialect::{Dialect, Session, WebSocketDialect};

/// The endpoint; it has no state.
pub(crate) struct Echo;

/// One client.
struct EchoSession(Client);

impl Dialect for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn count(&self) -> (usize, usize) {
        (0, 0)
    }
}

impl WebSocketDialect for Echo {
    fn open(self: Arc<Self>, _query: Option<&str>, client: Client) -> Box<dyn Session> {
        Box::new(EchoSession(client))
    }
}

impl Session for EchoSession {
    fn text(&mut self, text: &str) {
        self.0.push(text.into());
    }

    fn binary(&mut self, data: Bytes) -> Result<(), Close> {
        self.0.push_all(&[Message::Binary(data)]);
        Ok(())
    }

    /// There is nothing to join.
    fn has_joined(&self) -> bool {
        true
    }
}
