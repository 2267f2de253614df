//! What an embedder chooses: where to listen, the limits, the heartbeat, the seed.

use std::net::{Ipv4Addr, SocketAddr};

use crate::session::{Heartbeat, Limits};

/// Where a [`Server`](crate::Server) listens and how it behaves. Port 0 lets the host choose, `None` leaves a service out.
#[derive(Clone, Debug)]
pub struct Config {
    /// WebSocket address of the `mesh` dialect: 127.0.0.1:8787 unless told otherwise.
    pub mesh: Option<SocketAddr>,
    /// UDP address of the STUN service: 127.0.0.1:3478 unless told otherwise.
    pub stun: Option<SocketAddr>,
    /// What one client may cost.
    pub limits: Limits,
    /// How a dead connection is noticed.
    pub heartbeat: Heartbeat,
    /// The source of every id the server hands out, and of all its randomness. The same seed and the same arrivals give
    /// the same ids, so give a server on a real network a fresh one at each start.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mesh: Some((Ipv4Addr::LOCALHOST, 8787).into()),
            stun: Some((Ipv4Addr::LOCALHOST, 3478).into()),
            limits: Limits::default(),
            heartbeat: Heartbeat::default(),
            seed: 0,
        }
    }
}
