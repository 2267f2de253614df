//! How messages are carried: each framing turns commands into bytes, and bytes into events.

mod adapter;
pub(crate) mod browser;
pub(crate) mod connector;
pub(crate) mod cookies;
mod deflate;
pub(crate) mod error;
pub(crate) mod extension;
pub(crate) mod http;
mod inflating;
pub(crate) mod link;
pub(crate) mod net;
pub(crate) mod post;
mod socket;
pub(crate) mod socketio;
mod sse;
pub(crate) mod stream;
pub(crate) mod websocket;
pub(crate) mod wire;
