//! Clients: the program that an actor runs, with its signaling and its WebRTC connections.
//!
//! A client is generic over [`server::net::Network`], so that the same client runs on a simulated host and on real
//! sockets. Only [`client`] owns sockets, reads the clock and writes events. Everything else is sans-IO: [`agent`]
//! connects [`gather`], which gathers candidates, with [`negotiation`], which manages the connections over a WebRTC
//! [`stack`].

mod agent;
pub mod client;
pub mod endpoint;
pub(crate) mod gather;
mod negotiation;
mod path;
pub(crate) mod sdp;
pub(crate) mod stack;
mod stun;
pub(crate) mod tls;
pub(crate) mod turn;
