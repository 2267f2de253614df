//! Socket.IO 5 over Engine.IO 4: long-polling, WebSocket, and the upgrade from one to the other.
//!
//! [`engine`] and [`packet`] are the wire formats, without IO, for client and server. The rest is the server:
//! `endpoint` answers HTTP requests, `sessions` stores the sessions, `session` is one Engine.IO session on any
//! transport, `websocket` transports one, and `socket` passes Socket.IO events to a dialect.
//!
//! Decisions on what the protocol leaves open:
//! - Only the main namespace exists. A second CONNECT to it, an event before the first, an invalid packet, and a packet
//!   that only servers send close the session: with 1002 on a WebSocket; a poll is answered with a close packet, then
//!   the id is unknown.
//! - An event and its attachments together have at most [`SocketIoSettings::payload_bytes_max`], and at most 10
//!   attachments.
//! - An acknowledgement that a client requests is `[]`, sent after the effects of the event.
//! - A session ends if one of its polls or posts is aborted, or if it has two polls or two posts at the same time.
//! - A post that is too slow gets 408. Its packets are not handled, and the session continues.
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
