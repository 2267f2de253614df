//! The signaling dialects. Each is one file. Over WebSocket it implements [`WebSocketDialect`] for its endpoint and
//! [`Session`](crate::session::dialect::Session) for a connection, over Socket.IO [`EventDialect`] and
//! [`EventSession`](crate::socketio::dialect::EventSession); the rest of the server knows only these traits.

use std::fmt;
use std::sync::Arc;

use self::broadcast::Broadcast;
use self::call::Call;
use self::echo::Echo;
pub use self::framing::Framing;
use self::mesh::Mesh;
use self::relay::Relay;
use self::sender_viewer::SenderViewer;
use crate::random::Entropy;
use crate::session::dialect::WebSocketDialect;
use crate::socketio::dialect::EventDialect;

pub(crate) mod broadcast;
pub(crate) mod call;
pub(crate) mod echo;
pub(crate) mod framing;
pub(crate) mod json;
pub(crate) mod mesh;
pub(crate) mod relay;
pub(crate) mod sender_viewer;

/// An entry of [`DIALECTS`]: a dialect in one framing.
#[derive(Debug)]
pub struct DialectEntry {
    /// Its name in [`Listen::dialects`](crate::Listen::dialects) and in the conformance suite.
    pub name: &'static str,
    /// The dialect's name in the metrics. It differs from `name` if a dialect has two framings.
    pub dialect: &'static str,
    /// The framing of its messages.
    pub framing: Framing,
    /// The path at which its WebSockets or Engine.IO sessions are opened.
    pub path: &'static str,
    /// Its documented TCP port. Dialects with the same port share an address.
    pub port: u16,
    pub(crate) make: fn(&Parts) -> Served,
}

/// The shared state from which dialects are created.
pub(crate) struct Parts {
    entropy: Entropy,
    /// Served in two framings.
    call: Arc<Call>,
    /// Also used by the API.
    pub(crate) sender_viewer: Arc<SenderViewer>,
}

/// A dialect as served at an address.
#[derive(Clone)]
pub(crate) enum Served {
    WebSocket(Arc<dyn WebSocketDialect>),
    SocketIo(Arc<dyn EventDialect>),
}

/// The TCP port that several dialects share, each at its own path, with `/api/*` and `/metrics`.
pub const HTTP_PORT: u16 = 8080;
/// The UDP and TCP port of STUN, and the UDP port of TURN.
pub const STUN_PORT: u16 = 3478;

/// Every signaling protocol that the server supports. A new one needs its file and an entry here.
pub const DIALECTS: &[DialectEntry] = &[
    DialectEntry {
        name: "mesh",
        dialect: "mesh",
        framing: Framing::WebSocket,
        path: "/",
        port: 8787,
        make: |parts| Served::WebSocket(Arc::new(Mesh::new(parts.entropy))),
    },
    DialectEntry {
        name: SENDER_VIEWER,
        dialect: SENDER_VIEWER,
        framing: Framing::WebSocket,
        path: "/ws",
        port: HTTP_PORT,
        make: |parts| Served::WebSocket(Arc::clone(&parts.sender_viewer) as _),
    },
    DialectEntry {
        name: "call",
        dialect: "call",
        framing: Framing::WebSocket,
        path: "/",
        port: 3000,
        make: |parts| Served::WebSocket(Arc::clone(&parts.call) as _),
    },
    DialectEntry {
        name: "call-socketio",
        dialect: "call",
        framing: Framing::SocketIo,
        path: "/socket.io/",
        port: 3001,
        make: |parts| Served::SocketIo(Arc::clone(&parts.call) as _),
    },
    DialectEntry {
        name: "broadcast",
        dialect: "broadcast",
        framing: Framing::SocketIo,
        path: "/socket.io/",
        port: 5001,
        make: |parts| Served::SocketIo(Arc::new(Broadcast::new(parts.entropy))),
    },
    DialectEntry {
        name: "relay",
        dialect: "relay",
        framing: Framing::WebSocket,
        path: "/relay",
        port: HTTP_PORT,
        make: |parts| Served::WebSocket(Arc::new(Relay::new(parts.entropy))),
    },
    DialectEntry {
        name: "echo",
        dialect: "echo",
        framing: Framing::WebSocket,
        path: "/echo",
        port: HTTP_PORT,
        make: |_| Served::WebSocket(Arc::new(Echo)),
    },
];

pub(crate) const SENDER_VIEWER: &str = "sender-viewer";

/// Differences between the seeds of the dialects' ids, so that no two dialects issue the same id.
const CALL_SEED: u64 = 1 << 40;
const SENDER_VIEWER_SEED: u64 = 2 << 40;

impl DialectEntry {
    /// The entry with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        DIALECTS.iter().find(|entry| entry.name == name)
    }

    /// Its URL on a server at `authority`, a host and a port; with TLS if `is_secure`.
    #[must_use]
    pub fn url(&self, authority: impl fmt::Display, is_secure: bool) -> String {
        let scheme = match (self.framing, is_secure) {
            (Framing::WebSocket, false) => "ws",
            (Framing::WebSocket, true) => "wss",
            (Framing::SocketIo, false) => "http",
            (Framing::SocketIo, true) => "https",
        };
        format!("{scheme}://{authority}{}", self.path)
    }
}

impl Parts {
    pub(crate) fn new(entropy: Entropy) -> Self {
        Self {
            entropy,
            call: Arc::new(Call::new(entropy.differing_by(CALL_SEED))),
            sender_viewer: Arc::new(SenderViewer::new(entropy.differing_by(SENDER_VIEWER_SEED))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_right_about_every_dialect() {
        let parts = Parts::new(Entropy::Seed(0));
        for entry in DIALECTS {
            let (dialect, framing) = match (entry.make)(&parts) {
                Served::WebSocket(dialect) => (dialect.name(), Framing::WebSocket),
                Served::SocketIo(dialect) => (dialect.name(), Framing::SocketIo),
            };
            assert_eq!((dialect, framing), (entry.dialect, entry.framing), "{}", entry.name);
            assert_eq!(DialectEntry::named(entry.name).map(|known| known.path), Some(entry.path), "{}", entry.name);
        }
    }
}
