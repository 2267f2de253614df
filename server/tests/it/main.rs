//! The server over real loopback sockets, and under classic turmoil.

mod client;
mod http;
mod lifecycle;
mod limits;
mod malformed;
mod mesh;
mod stun;
mod turmoil;
