//! The reference signaling, STUN and TURN server, the same code on real sockets and inside a simulation.
//!
//! [`Server::bind`] opens the sockets on any [`net::Network`], [`Server::run`] serves them until
//! [`Handle::shutdown`]. Time comes from `tokio::time` and randomness from [`Config::seed`] alone, so a run inside a
//! paused runtime repeats exactly.

#[macro_use]
mod planted;

mod access;
mod api;
mod config;
mod dialect;
mod http;
mod metrics;
#[cfg(feature = "mutants")]
pub mod mutant;
pub mod net;
mod query;
mod session;
pub mod socketio;
mod stop;
pub mod stun;
mod tls;
mod turn;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use access::Guard;
use access::addresses::Visit;
pub use access::{Access, Rate};
use api::{Api, Page};
pub use config::{ApiSettings, Config};
use dialect::broadcast::Broadcast;
use dialect::call::Call;
use dialect::mesh::Mesh;
use dialect::sender_viewer::SenderViewer;
use dialect::{Dialect, Parts, SENDER_VIEWER};
pub use dialect::{HTTP_DIALECTS, HttpDialect};
use http::{Route, Site};
use metrics::page::MetricsPage;
use net::{Listener, Network};
use session::registry::Registry;
pub use session::{Heartbeat, Limits};
use socketio::{Engine, SocketIo};
pub use tls::Tls;
use turn::Turn;
use turn::credentials::Credentials;
pub use turn::{RelayAddress, TurnCounters, TurnSettings};

/// Pause after a failed accept: out of file descriptors, say, which the end of another connection mends.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What the seed of a dialect's ids differs in, so that no id of one is met in another.
const CALL_SEED: u64 = 1 << 40;
const SENDER_VIEWER_SEED: u64 = 2 << 40;

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
    metrics: Option<SocketAddr>,
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
    guard: Guard,
    /// Those that are served, entered by [`Server::bind`], to count what they hold.
    dialects: Mutex<Vec<Arc<dyn Dialect>>>,
    /// Asks the TURN service for its counters, once there is one.
    turn_counters: OnceLock<Box<dyn Fn() -> TurnCounters + Send + Sync>>,
    stop: Arc<stop::Stop>,
}

impl Shared {
    fn dialects(&self) -> Vec<Arc<dyn Dialect>> {
        self.dialects.lock().expect("nothing panics while it holds the dialects").clone()
    }
}

impl<N: Network> Server<N> {
    /// Opens the sockets that `config` asks for; nothing is served before [`run`](Self::run).
    ///
    /// # Errors
    /// A socket cannot be opened; the message names the service and the address. Or a setting is none; the message names it.
    pub async fn bind(net: N, config: Config) -> io::Result<Self> {
        let Config { http, mesh, call, call_socketio, broadcast, stun, metrics, seed, .. } = config;
        let at_http = http_dialects(&config.http_dialects)?;
        let registry = Arc::default();
        let guard = Guard::new(&config.access, &config.limits, config.unix_time)?;
        let (dialects, turn_counters, stop) = (Mutex::default(), OnceLock::new(), Arc::default());
        let shared = Shared { config, registry, guard, dialects, turn_counters, stop };
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
            metrics: None,
            services: Vec::new(),
        };
        let mesh_routes = vec![("/", Route::WebSocket(Arc::new(Mesh::new(seed))))];
        server.mesh = server.add_site(mesh, Site::new("mesh", mesh_routes)).await?;
        let minter = server.add_stun(stun).await?;
        let dialect = Arc::new(Call::new(seed ^ CALL_SEED));
        let call_routes = vec![("/", Route::WebSocket(Arc::clone(&dialect) as _))];
        server.call = server.add_site(call, Site::new("call", call_routes)).await?;
        let call_routes = vec![("/socket.io/", Route::SocketIo(SocketIo::new(dialect, Arc::clone(&engine))))];
        server.call_socketio = server.add_site(call_socketio, Site::new("call-socketio", call_routes)).await?;
        let broadcast_routes =
            vec![("/socket.io/", Route::SocketIo(SocketIo::new(Arc::new(Broadcast::new(seed)), engine)))];
        server.broadcast = server.add_site(broadcast, Site::new("broadcast", broadcast_routes)).await?;
        let dialect = Arc::new(SenderViewer::new(seed ^ SENDER_VIEWER_SEED));
        let Config { api: settings, limits, .. } = &server.shared.config;
        let admin_token = settings.admin_token.clone();
        let api = Api::new(Arc::clone(&dialect), settings, server.stun, minter, limits.request_timeout);
        let api = Arc::new(api.map_err(bad_origin)?);
        let page = |page| Route::Api(Arc::clone(&api), page);
        let mut http_routes = vec![
            ("/api/config", page(Page::Config)),
            ("/api/health", page(Page::Health)),
            ("/metrics", Route::Metrics(MetricsPage::new(&server.shared, admin_token))),
        ];
        let parts = Parts { seed, sender_viewer: dialect };
        for HttpDialect { name, path, make } in at_http {
            http_routes.push((*path, Route::WebSocket(make(&parts))));
            if *name == SENDER_VIEWER {
                http_routes.extend([("/api/status", page(Page::Status)), ("/api/kick", page(Page::Kick))]);
            }
        }
        let http_site = Site { api: Some(api), ..Site::new("http", http_routes) };
        server.http = server.add_site(http, http_site).await?;
        let metrics_routes = vec![("/metrics", Route::Metrics(MetricsPage::new(&server.shared, None)))];
        let metrics_site = Site { is_private: true, ..Site::new("metrics", metrics_routes) };
        server.metrics = server.add_site(metrics, metrics_site).await?;
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

    /// Where `/metrics` listens alone, with the port that was chosen.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics
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

    /// Opens STUN over UDP and TCP, and TURN on the same UDP socket. Returns what hands out TURN credentials.
    async fn add_stun(&mut self, address: Option<SocketAddr>) -> io::Result<Option<Arc<Credentials>>> {
        let Some(address) = address else { return Ok(None) };
        let shared = Arc::clone(&self.shared);
        let Config { stun_alternate, seed, unix_time, .. } = shared.config;
        let stun::Sockets { udp: sockets, addresses, tcp } = stun::open(&self.net, address, stun_alternate).await?;
        let address = addresses[0];
        let turn = shared.config.turn.clone().map(|settings| {
            let stop = Arc::clone(&shared.stop);
            Turn::new(self.net.clone(), settings, Arc::clone(&sockets), address, seed, unix_time, stop).map(Arc::new)
        });
        let turn = turn
            .transpose()
            .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, format!("serve turn on {address}: {why}")))?;
        let credentials = turn.as_ref().map(|turn| turn.credentials());
        if let Some(turn) = &turn {
            let turn = Arc::clone(turn);
            let counters = shared.turn_counters.set(Box::new(move || turn.counters()));
            assert!(counters.is_ok(), "there is one TURN service");
        }
        for index in 0..sockets.len() {
            let (sockets, addresses) = (Arc::clone(&sockets), Arc::clone(&addresses));
            let turn = turn.clone().filter(|_| index == 0);
            let service = stun::udp::Service::<N> { sockets, addresses, index, turn };
            self.services.push(Box::pin(service.serve(Arc::clone(&shared))));
        }
        self.services.push(Box::pin(stun::tcp::serve(self.net.clone(), tcp, shared)));
        self.stun = Some(address);
        Ok(credentials)
    }
}

impl Handle {
    /// Ends the server gracefully; [`Server::run`] returns when it is done. Again is as good as once.
    pub fn shutdown(&self) {
        self.0.stop.say();
    }

    /// What the TURN service holds and has done; `None` when there is none.
    #[must_use]
    pub fn turn(&self) -> Option<TurnCounters> {
        self.0.turn_counters.get().map(|counters| counters())
    }

    /// Counts what the server holds. Costs a walk over all connections.
    #[must_use]
    pub fn census(&self) -> Census {
        let totals = self.0.registry.totals();
        let (rooms, members) =
            self.0.dialects().iter().map(|dialect| dialect.count()).fold((0, 0), |sum, (r, m)| (sum.0 + r, sum.1 + m));
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

/// The lines of the table that are asked for.
fn http_dialects(names: &[&'static str]) -> io::Result<Vec<&'static HttpDialect>> {
    let line = |name: &&str| {
        HTTP_DIALECTS.iter().find(|line| line.name == *name).ok_or_else(|| {
            let names: Vec<_> = HTTP_DIALECTS.iter().map(|line| line.name).collect();
            let why = format!("serve `{name}` over HTTP: there are {}", names.join(", "));
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })
    };
    names.iter().map(line).collect()
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
                tracing::trace!(site = site.name, %from, "accepted");
                let registration = shared.registry.open(&shared.config.limits);
                let (site, shared) = (Arc::clone(&site), Arc::clone(&shared));
                let visit = if site.is_private { Visit::unlimited(from.ip()) } else { shared.guard.enter(from.ip()) };
                match shared.config.tls.clone().filter(|_| !site.is_private) {
                    None => net.spawn(http::serve(stream, visit, site, registration, shared)),
                    Some(Tls(tls)) => net.spawn(http::serve_tls(stream, tls, visit, site, registration, shared)),
                }
            }
            Err(error) => {
                tracing::debug!(site = site.name, %error, "failed to accept");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
