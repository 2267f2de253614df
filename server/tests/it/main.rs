//! The server over real loopback sockets, and under classic turmoil.

mod access;
mod access_socketio;
mod api;
mod attacks;
mod broadcast;
mod call;
mod call_socketio;
mod client;
mod clock;
mod deflate;
mod discovery;
mod echo;
mod faults;
mod http;
mod lifecycle;
mod limits;
mod malformed;
mod mesh;
mod metrics;
mod node;
mod operators;
mod pages;
mod polling;
mod relay;
mod sender_viewer;
#[cfg(target_os = "linux")]
mod several_addresses;
mod socketio;
mod socketio_client;
mod socketio_fuzz;
mod stun;
mod stun_tcp;
mod stun_tls;
mod tls;
mod turmoil;
mod turn;
mod turn_client;
#[cfg(target_os = "linux")]
mod turn_families;
mod turn_garbage;
mod turn_outsiders;
mod turn_sha256;
mod turn_turmoil;
mod wire;
