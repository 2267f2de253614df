//! STUN and TURN servers, tested over their own protocol.
//!
//! The suite has its own wire code, which knows no server's; RFC 5769's vectors check it.

pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod crypto;
pub(crate) mod cx;
pub(crate) mod env;
pub(crate) mod names;
mod net;
mod peers;
mod server;
mod target;
pub(crate) mod tcp;
pub(crate) mod turn;
pub(crate) mod vectors;
pub(crate) mod wire;

pub use net::{Datagram, Datagrams};
pub use server::run;
pub use target::{Credential, Service, ServiceTarget};
