//! Socket.IO 5 over Engine.IO 4: long-polling, WebSocket, and the change from one to the other.
//!
//! [`engine`] and [`packet`] are the wire formats, without IO, for either side. The rest is the server:
//! `endpoint` answers HTTP requests, `sessions` holds who is there, `session` is one Engine.IO session, whatever carries it, `websocket` carries one, and
//! `socket` is what Socket.IO says inside it to a dialect.
//!
//! What the protocol leaves open, decided here:
//! - Only the main namespace exists. A second CONNECT to it, an event before the first, whatever is no packet, and a packet that
//!   only a server sends close the session: 1002 on a WebSocket; a poll is answered with a close packet, then the id is unknown.
//! - An event and its attachments together are at most [`SocketIoSettings::payload_bytes_max`], and 10 attachments.
//! - An acknowledgement that a client asks for is answered with `[]`, after what the event caused.
//! - A session whose poll or post is cut off in the middle is over, as is one that polls, or posts, twice at a time.
//! - Only a pong answers a ping.

pub(crate) mod dialect;
mod endpoint;
pub mod engine;
pub mod packet;
mod session;
mod sessions;
mod settings;
mod socket;
mod websocket;

pub(crate) use sessions::{Engine, SocketIo};
pub use settings::SocketIoSettings;
pub(crate) use websocket::Opening;
