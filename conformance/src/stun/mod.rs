//! Questions to any STUN or TURN server, over its own protocol.
//!
//! The suite has its own wire code, which knows no server's; RFC 5769's vectors check it.

use std::future::Future;
use std::pin::Pin;

use crate::case::Stop;

pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod crypto;
pub(crate) mod cx;
pub(crate) mod names;
mod net;
mod peers;
mod runner;
mod suite;
pub(crate) mod tcp;
pub(crate) mod turn;
pub(crate) mod vectors;
pub(crate) mod wire;

pub use cx::Credential;
pub use net::{Datagram, Datagrams};
pub use runner::{Options, run};
pub use suite::{Service, Target, cases};

/// A function that asks a STUN or TURN server.
pub(crate) type Run = for<'a> fn(&'a mut cx::Cx) -> Running<'a>;
/// What it returns.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>>;
