//! The reference signaling and STUN server, the same code on real sockets and inside a simulation.
//!
//! [`Server::bind`] opens the sockets on any [`net::Network`], [`Server::run`] serves them until
//! [`Handle::shutdown`]. Time comes from `tokio::time` and randomness from [`Config::seed`] alone, so a run inside a
//! paused runtime repeats exactly.

mod config;
mod dialect;
mod http;
pub mod net;
mod session;
pub mod stun;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

pub use config::Config;
use dialect::Dialect;
use dialect::mesh::Mesh;
use net::{Listener, Network, Udp};
use session::registry::Registry;
pub use session::{Heartbeat, Limits};

/// Pause after a failed accept: out of file descriptors, say, which the end of another connection mends.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A server with open sockets.
pub struct Server<N: Network> {
    net: N,
    config: Arc<Config>,
    mesh: Option<(N::Listener, SocketAddr)>,
    stun: Option<(N::Udp, SocketAddr)>,
    shared: Arc<Shared>,
}

/// Ends a server and counts what it holds, from anywhere.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// What a server holds at a moment. All but the peaks are 0 once every client is gone: anything else is a leak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Open TCP connections, from accept to the end of their shutdown.
    pub connections: usize,
    /// Rooms with a member.
    pub rooms: usize,
    /// Members of all rooms.
    pub members: usize,
    /// Messages that wait to be written, over all connections.
    pub queued_messages: usize,
    /// Their size in bytes of text.
    pub queued_bytes: usize,
    /// The most messages that ever waited for one connection.
    pub queued_messages_peak: usize,
    /// The most bytes that ever waited for one connection.
    pub queued_bytes_peak: usize,
}

struct Shared {
    registry: Arc<Registry>,
    mesh: Arc<Mesh>,
    stop: watch::Sender<bool>,
}

impl<N: Network> Server<N> {
    /// Opens the sockets that `config` asks for; nothing is served before [`run`](Self::run).
    ///
    /// # Errors
    /// A socket cannot be opened; the message names the service and the address.
    pub async fn bind(net: N, config: Config) -> io::Result<Self> {
        let mesh = match config.mesh {
            Some(address) => Some(opened(Mesh::NAME, address, net.listen(address), Listener::local_addr).await?),
            None => None,
        };
        let stun = match config.stun {
            Some(address) => Some(opened("stun", address, net.bind_udp(address), Udp::local_addr).await?),
            None => None,
        };
        let shared = Shared {
            registry: Arc::default(),
            mesh: Arc::new(Mesh::new(config.seed)),
            stop: watch::Sender::new(false),
        };
        Ok(Self { net, config: Arc::new(config), mesh, stun, shared: Arc::new(shared) })
    }

    /// Where the `mesh` dialect listens, with the port that was chosen.
    pub fn mesh_addr(&self) -> Option<SocketAddr> {
        self.mesh.as_ref().map(|(_, address)| *address)
    }

    /// Where STUN listens, with the port that was chosen.
    pub fn stun_addr(&self) -> Option<SocketAddr> {
        self.stun.as_ref().map(|(_, address)| *address)
    }

    /// A handle for the time while the server runs.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::shutdown`], then stops accepting, closes every WebSocket with 1001, and returns when all
    /// connections have ended: at most [`Limits::close_timeout`] and a second later.
    pub async fn run(self) {
        // Every task holds a sender, so the receiver ends when all of them have.
        let (alive, mut all_ended) = mpsc::channel::<()>(1);
        if let Some((listener, address)) = self.mesh {
            tracing::info!(%address, "mesh listens");
            let dialect = Arc::clone(&self.shared.mesh);
            let accepting = accept(
                self.net.clone(),
                listener,
                dialect,
                Arc::clone(&self.shared),
                Arc::clone(&self.config),
                alive.clone(),
            );
            self.net.spawn(accepting);
        }
        if let Some((socket, address)) = self.stun {
            tracing::info!(%address, "stun listens");
            let (stop, alive) = (self.shared.stop.subscribe(), alive.clone());
            self.net.spawn(async move {
                stun::serve(socket, stop).await;
                drop(alive);
            });
        }
        drop(alive);
        let mut stop = self.shared.stop.subscribe();
        let _ = stop.wait_for(|stop| *stop).await;
        self.shared.registry.shut_down();
        let _ = timeout(self.config.limits.close_timeout + Duration::from_secs(1), all_ended.recv()).await;
        tracing::info!("shut down");
    }
}

impl Handle {
    /// Ends the server gracefully; [`Server::run`] returns when it is done. Again is as good as once.
    pub fn shutdown(&self) {
        self.0.stop.send_replace(true);
    }

    /// Counts what the server holds. Costs a walk over all connections.
    #[must_use]
    pub fn census(&self) -> Census {
        let totals = self.0.registry.totals();
        let (rooms, members) = self.0.mesh.count();
        Census {
            connections: totals.connections,
            rooms,
            members,
            queued_messages: totals.load.messages,
            queued_bytes: totals.load.bytes,
            queued_messages_peak: totals.peak.messages,
            queued_bytes_peak: totals.peak.bytes,
        }
    }
}

/// Awaits a socket and asks for its address; an error names both.
async fn opened<S>(
    service: &str,
    address: SocketAddr,
    opening: impl Future<Output = io::Result<S>>,
    local_addr: impl Fn(&S) -> io::Result<SocketAddr>,
) -> io::Result<(S, SocketAddr)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("open {service} on {address}: {error}"));
    let socket = opening.await.map_err(named)?;
    let address = local_addr(&socket).map_err(named)?;
    Ok((socket, address))
}

/// Accepts connections for one dialect, each with a task of its own.
async fn accept<N: Network, D: Dialect>(
    net: N,
    listener: N::Listener,
    dialect: Arc<D>,
    shared: Arc<Shared>,
    config: Arc<Config>,
    alive: mpsc::Sender<()>,
) {
    let mut stop = shared.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                tracing::trace!(dialect = D::NAME, %from, "connection");
                let (dialect, config, alive) = (Arc::clone(&dialect), Arc::clone(&config), alive.clone());
                let registry = Arc::clone(&shared.registry);
                let registration = registry.open(&config.limits);
                net.spawn(async move {
                    http::serve(stream, dialect, registration, &registry, &config).await;
                    drop(alive);
                });
            }
            Err(error) => {
                tracing::debug!(dialect = D::NAME, %error, "failed to accept");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
