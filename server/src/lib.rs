//! The reference signaling and STUN server, the same code on real sockets and inside a simulation.
//!
//! [`Server::bind`] opens the sockets on any [`net::Network`], [`Server::run`] serves them until
//! [`Handle::shutdown`]. Time comes from `tokio::time` and randomness from [`Config::seed`] alone, so a run inside a
//! paused runtime repeats exactly.

mod api;
mod config;
mod dialect;
mod http;
pub mod net;
mod session;
pub mod socketio;
mod stop;
pub mod stun;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use api::{Api, Page};
pub use config::{ApiSettings, Config};
use dialect::Dialect;
use dialect::broadcast::Broadcast;
use dialect::call::Call;
use dialect::mesh::Mesh;
use dialect::relay::Relay;
use dialect::sender_viewer::SenderViewer;
use http::{Route, Site};
use net::{Listener, Network, Udp};
use session::registry::Registry;
pub use session::{Heartbeat, Limits};
use socketio::{Engine, SocketIo};

/// Pause after a failed accept: out of file descriptors, say, which the end of another connection mends.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A server with open sockets.
pub struct Server<N: Network> {
    net: N,
    shared: Arc<Shared>,
    http: Option<SocketAddr>,
    mesh: Option<SocketAddr>,
    call: Option<SocketAddr>,
    call_socketio: Option<SocketAddr>,
    broadcast: Option<SocketAddr>,
    stun: Option<SocketAddr>,
    /// What serves each open socket until the server stops.
    services: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Ends a server and counts what it holds, from anywhere.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// What a server holds at a moment. All but the peaks are 0 once every client is gone: anything else is a leak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Open TCP connections, from accept to the end of their shutdown.
    pub connections: usize,
    /// Engine.IO sessions; over WebSocket each has a connection, polling it has one at times.
    pub sessions: usize,
    /// Rooms with a member; in `call`, calls that ring or were answered.
    pub rooms: usize,
    /// Members of all rooms; in `call`, users.
    pub members: usize,
    /// Messages that wait to be written, over all connections and sessions.
    pub queued_messages: usize,
    /// Their size in bytes of text.
    pub queued_bytes: usize,
    /// The most messages that ever waited for one connection.
    pub queued_messages_peak: usize,
    /// The most bytes that ever waited for one connection.
    pub queued_bytes_peak: usize,
}

struct Shared {
    config: Config,
    registry: Arc<Registry>,
    /// Those that are served, entered by [`Server::bind`], to count what they hold.
    dialects: Mutex<Vec<Arc<dyn Dialect>>>,
    stop: Arc<stop::Stop>,
}

impl<N: Network> Server<N> {
    /// Opens the sockets that `config` asks for; nothing is served before [`run`](Self::run).
    ///
    /// # Errors
    /// A socket cannot be opened; the message names the service and the address. Or a setting of the API is none.
    pub async fn bind(net: N, config: Config) -> io::Result<Self> {
        let Config { http, mesh, call, call_socketio, broadcast, stun, seed, .. } = config;
        let registry = Arc::default();
        let shared = Shared { config, registry, dialects: Mutex::default(), stop: Arc::default() };
        let shared = Arc::new(shared);
        let bad_origin =
            |error| io::Error::new(io::ErrorKind::InvalidInput, format!("use the configured CORS origin: {error}"));
        let engine = Engine::new(net.clone(), Arc::clone(&shared.registry), &shared.config).map_err(bad_origin)?;
        let engine = Arc::new(engine);
        let mut server = Self {
            net,
            shared,
            http: None,
            mesh: None,
            call: None,
            call_socketio: None,
            broadcast: None,
            stun: None,
            services: Vec::new(),
        };
        let mesh_routes = vec![("/", Route::WebSocket(Arc::new(Mesh::new(seed))))];
        server.mesh = server.add_site(mesh, Site { name: "mesh", routes: mesh_routes }).await?;
        server.stun = server.add_stun(stun).await?;
        let dialect = Arc::new(Call::new(seed));
        let call_routes = vec![("/", Route::WebSocket(Arc::clone(&dialect) as _))];
        server.call = server.add_site(call, Site { name: "call", routes: call_routes }).await?;
        let call_routes = vec![("/socket.io/", Route::SocketIo(SocketIo::new(dialect, Arc::clone(&engine))))];
        server.call_socketio =
            server.add_site(call_socketio, Site { name: "call-socketio", routes: call_routes }).await?;
        let broadcast_routes =
            vec![("/socket.io/", Route::SocketIo(SocketIo::new(Arc::new(Broadcast::new(seed)), engine)))];
        server.broadcast = server.add_site(broadcast, Site { name: "broadcast", routes: broadcast_routes }).await?;
        let sender_viewer = Arc::new(SenderViewer::new(seed));
        let Config { api, limits, .. } = &server.shared.config;
        let api = Api::new(Arc::clone(&sender_viewer), api, server.stun, limits.request_timeout);
        let api = Arc::new(api.map_err(bad_origin)?);
        let http_routes = vec![
            ("/ws", Route::WebSocket(sender_viewer)),
            ("/relay", Route::WebSocket(Arc::new(Relay::new(seed)))),
            ("/api/config", Route::Api(Arc::clone(&api), Page::Config)),
            ("/api/health", Route::Api(Arc::clone(&api), Page::Health)),
            ("/api/status", Route::Api(Arc::clone(&api), Page::Status)),
            ("/api/kick", Route::Api(api, Page::Kick)),
        ];
        server.http = server.add_site(http, Site { name: "http", routes: http_routes }).await?;
        Ok(server)
    }

    /// Where `sender-viewer`, `relay` and `/api/*` listen, with the port that was chosen.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where the `mesh` dialect listens, with the port that was chosen.
    pub fn mesh_addr(&self) -> Option<SocketAddr> {
        self.mesh
    }

    /// Where the `call` dialect listens, with the port that was chosen.
    pub fn call_addr(&self) -> Option<SocketAddr> {
        self.call
    }

    /// Where the `call` dialect listens for Socket.IO, with the port that was chosen.
    pub fn call_socketio_addr(&self) -> Option<SocketAddr> {
        self.call_socketio
    }

    /// Where the `broadcast` dialect listens, with the port that was chosen.
    pub fn broadcast_addr(&self) -> Option<SocketAddr> {
        self.broadcast
    }

    /// Where STUN listens, with the port that was chosen.
    pub fn stun_addr(&self) -> Option<SocketAddr> {
        self.stun
    }

    /// A handle for the time while the server runs.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::shutdown`], then stops accepting, closes every WebSocket with 1001, and returns when all
    /// connections have ended: at most [`Limits::close_timeout`] and a second later.
    pub async fn run(self) {
        // Every service holds a sender, so the receiver ends when all of them have.
        let (alive, mut services_ended) = mpsc::channel::<()>(1);
        for service in self.services {
            let alive = alive.clone();
            self.net.spawn(async move {
                service.await;
                drop(alive);
            });
        }
        drop(alive);
        let Shared { stop, registry, config, .. } = &*self.shared;
        stop.heard().await;
        registry.shut_down();
        let ended = async {
            services_ended.recv().await;
            registry.drained().await;
        };
        let _ = timeout(config.limits.close_timeout + Duration::from_secs(1), ended).await;
        tracing::info!("shut down");
    }

    async fn add_site(&mut self, address: Option<SocketAddr>, site: Site) -> io::Result<Option<SocketAddr>> {
        let Some(address) = address else { return Ok(None) };
        let (listener, address) = opened(site.name, address, self.net.listen(address), Listener::local_addr).await?;
        let mut dialects = self.shared.dialects.lock().expect("nothing panics while it holds the dialects");
        for dialect in site.dialects() {
            // One that is served at two addresses is counted once.
            if !dialects.iter().any(|known| std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(&dialect))) {
                dialects.push(dialect);
            }
        }
        drop(dialects);
        self.services.push(Box::pin(accept(self.net.clone(), listener, Arc::new(site), Arc::clone(&self.shared))));
        Ok(Some(address))
    }

    async fn add_stun(&mut self, address: Option<SocketAddr>) -> io::Result<Option<SocketAddr>> {
        let Some(address) = address else { return Ok(None) };
        let (socket, address) = opened("stun", address, self.net.bind_udp(address), Udp::local_addr).await?;
        self.services.push(Box::pin(stun::serve(socket, Arc::clone(&self.shared.stop))));
        Ok(Some(address))
    }
}

impl Handle {
    /// Ends the server gracefully; [`Server::run`] returns when it is done. Again is as good as once.
    pub fn shutdown(&self) {
        self.0.stop.say();
    }

    /// Counts what the server holds. Costs a walk over all connections.
    #[must_use]
    pub fn census(&self) -> Census {
        let totals = self.0.registry.totals();
        let dialects = self.0.dialects.lock().expect("nothing panics while it holds the dialects");
        let (rooms, members) =
            dialects.iter().map(|dialect| dialect.count()).fold((0, 0), |sum, (r, m)| (sum.0 + r, sum.1 + m));
        Census {
            connections: totals.connections,
            sessions: totals.sessions,
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
    tracing::info!(service, %address, "listens");
    Ok((socket, address))
}

/// Accepts connections for one site, each with a task of its own.
async fn accept<N: Network>(net: N, listener: N::Listener, site: Arc<Site>, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.heard() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                tracing::trace!(site = site.name, %from, "connection");
                let registration = shared.registry.open(&shared.config.limits);
                let (site, shared) = (Arc::clone(&site), Arc::clone(&shared));
                net.spawn(async move {
                    http::serve(stream, &site, registration, &shared.registry, &shared.config).await;
                });
            }
            Err(error) => {
                tracing::debug!(site = site.name, %error, "failed to accept");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
