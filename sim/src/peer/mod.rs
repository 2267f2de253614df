//! Clients: the program that an actor runs, with its signaling and its WebRTC connections.
//!
//! Written against [`server::net::Network`], so that the same client runs on a simulated host and on real sockets. Only
//! [`client`] owns sockets, reads the clock and writes events. All else is sans-IO: [`agent`] joins what gathers candidates ([`gather`]) and
//! what keeps the connections ([`negotiation`]) over a WebRTC [`stack`].

mod agent;
pub mod client;
pub mod endpoint;
mod gather;
mod negotiation;
mod path;
pub(crate) mod stack;
mod stun;
