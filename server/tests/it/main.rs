//! The server over real loopback sockets, and under classic turmoil.

mod api;
mod call;
mod client;
mod http;
mod lifecycle;
mod limits;
mod malformed;
mod mesh;
mod relay;
mod sender_viewer;
mod stun;
mod turmoil;
