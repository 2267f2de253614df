//! Tests STUN and TURN servers over their own protocols.
//!
//! The suite has its own wire code, independent of any server's; the test vectors of RFC 5769 check it.

pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod crypto;
pub(crate) mod cx;
pub(crate) mod env;
mod explore;
pub(crate) mod names;
mod net;
mod server;
mod target;
pub(crate) mod tcp;
pub(crate) mod turn;
pub(crate) mod vectors;
pub(crate) mod wire;

pub use net::{Datagram, Datagrams};
pub use server::run;
pub use target::{Credential, Service, ServiceTarget};
