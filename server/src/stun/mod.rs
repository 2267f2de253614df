//! STUN (RFC 8489) over UDP and TCP: tells a client which address its packets come from.
//!
//! With a second address ([`Config::stun_alternate`](crate::Config::stun_alternate)) the UDP service also answers what
//! RFC 5780 asks to discover a NAT's behaviour. TURN shares the first UDP socket: see [`turn`](crate::TurnSettings).

pub(crate) mod binding;
pub(crate) mod message;
mod open;
pub(crate) mod tcp;

pub use binding::{Origin, Route, answer};
pub(crate) use open::{Sockets, open};
