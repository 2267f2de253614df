//! Clients: the program that an actor runs, with its signaling and its WebRTC connections.
//!
//! Written against [`server::net::Network`], so that the same client runs on a simulated host and on real sockets.
//! Each part is sans-IO but for [`client`], the loop that joins them.

mod backoff;
pub mod client;
mod connection;
mod demux;
pub mod endpoint;
pub(crate) mod keys;
mod negotiation;
mod payload;
mod scripted;
mod signaling;
mod stun;

use std::time::Instant;

use backoff::Backoff;

/// Virtual or real time, whichever this runtime has, in the form that the WebRTC stack takes.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
