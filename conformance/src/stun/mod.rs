//! STUN, NAT behaviour discovery and TURN: the suite's own wire code, and what its cases work with.
#![allow(dead_code)]

mod crypto;
mod names;
mod vectors;
mod wire;
