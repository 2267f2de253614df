//! How messages are carried: each framing turns commands into bytes, and bytes into events.

mod adapter;
pub(crate) mod connector;
pub(crate) mod cookies;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod net;
mod socket;
mod socketio;
mod sse;
pub(crate) mod stream;
pub(crate) mod websocket;
pub(crate) mod wire;
