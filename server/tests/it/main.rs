//! The server over real loopback sockets, and under classic turmoil.

mod access;
mod access_socketio;
mod api;
mod broadcast;
mod call;
mod call_socketio;
mod client;
mod http;
mod lifecycle;
mod limits;
mod malformed;
mod mesh;
mod metrics;
mod node;
mod polling;
mod relay;
mod sender_viewer;
mod socketio;
mod socketio_client;
mod socketio_fuzz;
mod stun;
mod tls;
mod turmoil;
