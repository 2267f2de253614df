//! The reference signaling and STUN server, the same code on real sockets and inside a simulation.

pub mod net;
