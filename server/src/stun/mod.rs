//! STUN (RFC 8489) over UDP and TCP: tells clients the source address of their packets.
//!
//! With a second address ([`Config::stun_alternate`](crate::Config::stun_alternate)), the UDP service also supports NAT
//! behavior discovery (RFC 5780). TURN shares the first UDP socket: see [`turn`](crate::TurnSettings).

pub(crate) mod binding;
pub(crate) mod message;
mod open;
pub(crate) mod tcp;

pub use binding::{Origin, Route, answer};
pub(crate) use open::{Sockets, open};
