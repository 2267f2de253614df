//! The reference signaling, STUN and TURN server: the same code on real sockets and inside a simulation.
//!
//! It supports several signaling protocols ([`DIALECTS`]) over WebSocket and Socket.IO, has HTTP endpoints for clients
//! and operators (`/api/*`, `/metrics`, `/healthz`), answers STUN over UDP and TCP (RFC 8489, including NAT discovery
//! of RFC 5780), and relays with TURN over UDP (RFC 8656). Every limit per client is a setting: see [`Limits`] and
//! [`Access`].
//!
//! [`Server::bind`] opens the sockets of a [`Config`], [`Server::run`] serves them until [`Handle::shutdown`]:
//!
//! ```
//! use server::net::Tokio;
//! use server::{Config, Listen, Randomness, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! // Two dialects on ports that the host chooses. The default is `mesh` and STUN on their usual ports.
//! let listen = Listen::each(["mesh", "call"], |_| ([127, 0, 0, 1], 0).into());
//! // On a real network, ids must come from the operating system, or whoever knows the seed knows them all.
//! let randomness = Randomness::System;
//! let server = Server::bind(Tokio, Config { listen, stun: None, randomness, ..Config::default() }).await?;
//! assert!(server.url("call").expect("it is served").starts_with("ws://127.0.0.1:"));
//!
//! let handle = server.handle();
//! let running = tokio::spawn(server.run());
//! assert_eq!(handle.census().connections, 0);
//! handle.shutdown();
//! running.await?;
//! # Ok(())
//! # }
//! ```
//!
//! **Time comes only from `tokio::time` and, by default, randomness only from [`Config::seed`]**, so a run in a paused runtime
//! repeats exactly. Sockets and tasks come from a [`net::Network`]: [`net::Tokio`] is the host's, and [`net_impl!`]
//! generates the adapter for any module that mirrors `tokio::net`, such as turmoil's. `examples/embed.rs` is a complete
//! program.
//!
//! [`socketio::engine`], [`socketio::packet`] and [`stun::answer`] are pure functions on bytes that other programs can
//! use too.

mod access;
mod api;
mod config;
mod cors;
mod datagrams;
mod descriptors;
mod dialect;
pub mod faults;
mod handshake;
mod http;
mod limits;
mod lock;
mod metrics;
pub mod net;
mod pace;
mod pages;
mod query;
mod random;
mod rate;
mod session;
mod shown;
mod site;
pub mod socketio;
mod stop;
pub mod stun;
mod tls;
mod tokio_udp;
mod turn;
mod udp;
#[cfg(target_os = "linux")]
mod udp_calls;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use access::Guard;
use access::addresses::Source;
use access::proxy_protocol;
pub use access::{Access, Cidr, CidrError, is_origin};
use api::IceService;
pub use config::{ApiSettings, Config, Listen};
use cors::Cors;
pub use dialect::{DIALECTS, DialectEntry, Framing, HTTP_PORT, STUN_PORT};
pub use limits::Limits;
use lock::Lock;
use net::{Buffers, Listener, Network};
pub use pages::{PageSettings, SocketIoClient};
pub use random::Randomness;
pub use rate::Rate;
pub use session::Heartbeat;
use session::deflate::Codecs;
pub use session::deflate::Deflate;
use session::dialect::Dialect;
use session::registry::{Registration, Registry};
use site::{Site, Sites};
pub use tls::{Tls, TlsError};
pub use tokio_udp::host_addresses;
use turn::Turn;
pub use turn::{RelayAddress, TurnCounters, TurnSettings, ephemeral_password};

/// Pause after a failed accept, for example if file descriptors run out until another connection ends.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Shortest time between two warnings of failed accepts.
const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// How many host-chosen ports are tried until one is free on all sockets that need the same port.
const TRIES: usize = 16;

/// A server with open sockets.
pub struct Server<N: Network> {
    net: N,
    shared: Arc<Shared>,
    /// The address of each service, by name.
    addresses: BTreeMap<&'static str, SocketAddr>,
    /// The tasks that serve the open sockets until the server stops.
    services: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Stops a server and counts what it holds, from any task.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// What a server holds at one moment. Once every client is gone, all values except the peaks are 0, or there is a leak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Open TCP connections, from accept to the end of their shutdown.
    pub connections: usize,
    /// Engine.IO sessions. Over WebSocket each has a connection; with polling it has one only at times.
    pub sessions: usize,
    /// Rooms with members; in `call`, calls that ring or were answered.
    pub rooms: usize,
    /// Members of all rooms; in `call`, users.
    pub members: usize,
    /// Queued messages of all connections and sessions.
    pub queued_messages: usize,
    /// Their size in bytes of text.
    pub queued_bytes: usize,
    /// The same with unfinished messages and request bodies: what [`Limits::buffered_bytes_max`] limits.
    pub buffered_bytes: usize,
    /// The largest number of messages that were ever queued for one connection.
    pub queued_messages_peak: usize,
    /// The largest number of bytes that were ever queued for one connection.
    pub queued_bytes_peak: usize,
}

struct Shared {
    config: Config,
    registry: Arc<Registry>,
    guard: Guard,
    cors: Cors,
    codecs: Arc<Codecs>,
    /// The served dialects, added by [`Server::bind`], to count what they hold.
    dialects: Lock<Vec<Arc<dyn Dialect>>>,
    /// The address of each service by name, once all are open.
    addresses: OnceLock<BTreeMap<&'static str, SocketAddr>>,
    /// The TURN service, once there is one.
    turn: OnceLock<Arc<dyn Operated>>,
    stop: Arc<stop::Stop>,
}

/// What operators do with the TURN service, whatever its network.
trait Operated: Send + Sync {
    fn counters(&self) -> TurnCounters;
    fn reload(&self, settings: &TurnSettings);
    fn drain(&self);
}

impl<N: Network> Operated for Turn<N> {
    fn counters(&self) -> TurnCounters {
        self.counters()
    }

    fn reload(&self, settings: &TurnSettings) {
        self.reload(settings);
    }

    fn drain(&self) {
        self.drain();
    }
}

impl Shared {
    fn dialects(&self) -> Vec<Arc<dyn Dialect>> {
        self.dialects.lock().clone()
    }
}

impl<N: Network> Server<N> {
    /// Opens the sockets of `config`. Nothing is served before [`run`](Self::run).
    ///
    /// # Errors
    /// A socket cannot be opened; the message names the service and the address. Or a setting is invalid; the message
    /// names it.
    pub async fn bind(net: N, mut config: Config) -> io::Result<Self> {
        descriptors::share(&mut config)?;
        config.heartbeat.check().map_err(|why| invalid(why.to_owned()))?;
        let guard = Guard::new(&config.access, &config.api, &config.limits, config.unix_time)?;
        let cors = Cors::new(&config.api)?;
        let registry = Arc::new(Registry::new(&config.limits));
        let shared = Arc::new(Shared {
            config,
            registry,
            guard,
            cors,
            codecs: Arc::default(),
            dialects: Lock::default(),
            addresses: OnceLock::new(),
            turn: OnceLock::new(),
            stop: Arc::default(),
        });
        let mut server = Self { net, shared, addresses: BTreeMap::new(), services: Vec::new() };
        // The API tells clients its address.
        let stun = server.add_stun().await?;
        let shared = Arc::clone(&server.shared);
        let sites = Sites::new(server.net.clone(), &shared, stun);
        for listen in &shared.config.listen {
            let address = server.add_site(listen.at, &listen.also_at, sites.site(listen)?).await?;
            let names = listen.dialects.iter().copied().chain(listen.pages.then_some("api"));
            server.addresses.extend(names.map(|name| (name, address)));
        }
        if let Some(at) = shared.config.metrics {
            let address = server.add_site(at, &[], sites.metrics()).await?;
            server.addresses.insert("metrics", address);
        }
        shared.addresses.get_or_init(|| server.addresses.clone());
        Ok(server)
    }

    /// The address of a service, with the chosen port: a dialect by its name in [`DIALECTS`], `api`, `stun`, `turn`,
    /// `stun-tls` for [`Config::stun_tls`], or `metrics` for [`Config::metrics`]. `None` if it is not served.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.addresses.get(name).copied()
    }

    /// The URL of a dialect by its name in [`DIALECTS`], with its address. `None` if it is not served.
    #[must_use]
    pub fn url(&self, name: &str) -> Option<String> {
        let (entry, address) = (DialectEntry::named(name)?, self.address(name)?);
        Some(entry.url(address, self.shared.config.tls.is_some()))
    }

    /// A handle to use while the server runs.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::shutdown`], then stops accepting, closes every WebSocket with 1001, and returns when all
    /// connections have ended, at most [`Limits::close_timeout`] plus one second later.
    pub async fn run(self) {
        // Every service holds a sender, so the receiver ends when all services have ended.
        let (alive, mut services_ended) = mpsc::channel::<()>(1);
        for service in self.services {
            let alive = alive.clone();
            self.net.spawn(async move {
                service.await;
                drop(alive);
            });
        }
        drop(alive);
        let Shared { stop, registry, .. } = &*self.shared;
        stop.stopped().await;
        registry.shut_down();
        let ended = async {
            services_ended.recv().await;
            registry.drained().await;
        };
        let _ = timeout(registry.limits().close_timeout + Duration::from_secs(1), ended).await;
        tracing::info!("shut down");
    }

    async fn add_site(&mut self, at: SocketAddr, also_at: &[SocketAddr], site: Site) -> io::Result<SocketAddr> {
        let listeners = open_all(&self.net, site.name, at, also_at).await?;
        let address = listeners[0].1;
        let mut dialects = self.shared.dialects.lock();
        for dialect in site.dialects() {
            // A dialect that is served at two addresses is counted once.
            if !dialects.iter().any(|known| std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(&dialect))) {
                dialects.push(dialect);
            }
        }
        drop(dialects);
        let site = Arc::new(site);
        for (listener, _) in listeners {
            let (site, shared) = (Arc::clone(&site), Arc::clone(&self.shared));
            self.services.push(Box::pin(accept(self.net.clone(), listener, site, shared)));
        }
        Ok(address)
    }

    /// Opens STUN over UDP and TCP, and TURN on the same sockets.
    async fn add_stun(&mut self) -> io::Result<Option<IceService>> {
        let shared = Arc::clone(&self.shared);
        let Config { stun, stun_alternate, unix_time, .. } = shared.config;
        let entropy = shared.config.entropy();
        let Some(address) = stun else { return Ok(None) };
        let readers = shared.config.udp_readers.get();
        let sockets = stun::open(&self.net, address, stun_alternate, readers).await?;
        let stun::Sockets { udp: sockets, addresses, readers, tcp } = sockets;
        let buffers = Arc::new(Buffers::default());
        let address = addresses[0];
        self.addresses.insert("stun", address);
        let turn = match shared.config.turn.clone() {
            Some(settings) => {
                let (net, sockets, stop) = (self.net.clone(), Arc::clone(&sockets), Arc::clone(&shared.stop));
                let buffers = Arc::clone(&buffers);
                let host = turn::Host { net, sockets, buffers, address, entropy, unix_time, stop };
                let turn = Turn::new(settings, host);
                Some(Arc::new(turn.map_err(|why| invalid(format!("serve turn on {address}: {why}")))?))
            }
            None => None,
        };
        if let Some(turn) = &turn {
            self.addresses.insert("turn", address);
            let operated: Arc<dyn Operated> = Arc::<Turn<N>>::clone(turn);
            assert!(shared.turn.set(operated).is_ok(), "there is one TURN service");
        }
        let all = (0..sockets.len()).map(|index| (index, None));
        for (index, reader) in all.chain(readers.into_iter().map(|reader| (0, Some(reader)))) {
            let (sockets, addresses) = (Arc::clone(&sockets), Arc::clone(&addresses));
            let turn = turn.clone().filter(|_| index == 0);
            let buffers = Arc::clone(&buffers);
            let service = udp::Service::<N> { sockets, addresses, index, reader, turn, buffers };
            self.services.push(Box::pin(service.serve(Arc::clone(&shared))));
        }
        let net = || self.net.clone();
        self.services.push(Box::pin(stun::tcp::serve(net(), tcp, None, turn.clone(), Arc::clone(&shared))));
        let mut tls_port = None;
        if let Some(at) = shared.config.stun_tls {
            let Some(tls) = shared.config.tls.clone() else {
                return Err(invalid(format!("open stun over TLS on {at}: there is no certificate")));
            };
            let (listener, at) = opened("stun over TLS", at, self.net.listen(at), Listener::local_addr).await?;
            self.addresses.insert("stun-tls", at);
            tls_port = Some(at.port());
            let service = stun::tcp::serve(net(), listener, Some(tls), turn.clone(), Arc::clone(&shared));
            self.services.push(Box::pin(service));
        }
        Ok(Some(IceService { stun: address, tls_port, turn: turn.map(|turn| turn.credentials()) }))
    }
}

impl Handle {
    /// Stops the server gracefully; [`Server::run`] returns when it has stopped. Calling it again has no effect.
    pub fn shutdown(&self) {
        self.0.stop.stop();
    }

    /// Lets nobody new in from here on, while everyone who is there stays: new WebSockets and sessions get 503, and so does
    /// the health check, new TURN allocations get 508. Then [`shutdown`](Self::shutdown) when [`census`](Self::census) and
    /// [`turn`](Self::turn) count nobody any more, or when that takes too long.
    pub fn drain(&self) {
        self.0.guard.drain();
        if let Some(turn) = self.0.turn.get() {
            turn.drain();
        }
        // Only now: whoever reads this may try to get in.
        tracing::info!("draining: no more clients are let in");
    }

    /// Takes from a configuration what can change while the server runs: [`access`](Config::access) and the admin token,
    /// [`limits`](Config::limits), and of [`turn`](Config::turn) the users, the secret and the maximum numbers of
    /// allocations, and the certificate of [`tls`](Config::tls). New connections and requests follow it; whoever has been
    /// let in stays. Returns the names of other settings that differ: they need a restart.
    ///
    /// # Errors
    /// A setting is invalid; the message names it. Then nothing changes.
    pub fn reload(&self, mut config: Config) -> io::Result<Vec<&'static str>> {
        let Shared { config: old, guard, registry, turn, .. } = &*self.0;
        descriptors::share(&mut config)?;
        let turn_settings = match (turn.get(), config.turn.clone(), old.stun) {
            (Some(turn), Some(settings), Some(stun)) => {
                let checked = settings.checked(stun).map_err(|why| invalid(format!("serve turn on {stun}: {why}")))?;
                Some((turn, checked))
            }
            _ => None,
        };
        guard.reload(&config.access, &config.api, &config.limits)?;
        registry.set_limits(&config.limits);
        if let (Some(tls), Some(renewed)) = (&old.tls, &config.tls) {
            tls.renew(renewed);
        }
        if let Some((turn, settings)) = turn_settings {
            turn.reload(&settings);
        }
        Ok(old.fixed_differences(&config))
    }

    /// The counters of the TURN service; `None` if there is none.
    #[must_use]
    pub fn turn(&self) -> Option<TurnCounters> {
        self.0.turn.get().map(|turn| turn.counters())
    }

    /// How many clients there are: open WebSockets, and Engine.IO sessions. Iterates over all connections.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.0.registry.clients()
    }

    /// Counts what the server holds. Iterates over all connections.
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
            buffered_bytes: self.0.registry.budget.used(),
            queued_messages_peak: totals.peak.messages,
            queued_bytes_peak: totals.peak.bytes,
        }
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Awaits a socket and returns it with its address. An error names the service and the address.
async fn opened<S>(
    service: &str,
    address: SocketAddr,
    opening: impl Future<Output = io::Result<S>>,
    local_addr: impl Fn(&S) -> io::Result<SocketAddr>,
) -> io::Result<(S, SocketAddr)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("open {service} on {address}: {error}"));
    let socket = opening.await.map_err(named)?;
    let address = local_addr(&socket).map_err(named)?;
    tracing::info!(service, %address, "listening");
    Ok((socket, address))
}

/// Opens all addresses of a service. Port 0 stands for the first one's port. Not every address must be available: a
/// name may also have addresses of a family that this host does not support.
async fn open_all<N: Network>(
    net: &N,
    service: &str,
    at: SocketAddr,
    also_at: &[SocketAddr],
) -> io::Result<Vec<(N::Listener, SocketAddr)>> {
    let mut tries = if at.port() == 0 && !also_at.is_empty() { TRIES } else { 1 };
    loop {
        tries -= 1;
        match try_open_all(net, service, at, also_at).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            done => return done,
        }
    }
}

async fn try_open_all<N: Network>(
    net: &N,
    service: &str,
    at: SocketAddr,
    also_at: &[SocketAddr],
) -> io::Result<Vec<(N::Listener, SocketAddr)>> {
    let mut listeners: Vec<(N::Listener, SocketAddr)> = Vec::new();
    let mut unavailable = None;
    for mut at in std::iter::once(at).chain(also_at.iter().copied()) {
        if let (0, Some((_, first))) = (at.port(), listeners.first()) {
            at.set_port(first.port());
        }
        match opened(service, at, net.listen(at), Listener::local_addr).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
                return Err(error);
            }
            Err(error) => drop(unavailable.get_or_insert(error)),
        }
    }
    match unavailable {
        Some(error) if listeners.is_empty() => Err(error),
        Some(error) => {
            tracing::warn!(%error, "failed to listen on one of several addresses");
            Ok(listeners)
        }
        None => Ok(listeners),
    }
}

/// Warns of connections that cannot be accepted, now and then.
#[derive(Default)]
pub(crate) struct AcceptFailures {
    warned_at: Option<Instant>,
    /// Since the last warning.
    count: u64,
}

impl AcceptFailures {
    /// Counts one, and warns of all since the last warning, if that was some time ago.
    pub(crate) fn warn(&mut self, site: &str, error: &io::Error) {
        if let Some(failures) = self.due_report() {
            tracing::warn!(site, %error, failures, "failed to accept connections");
        }
    }

    fn due_report(&mut self) -> Option<u64> {
        self.count += 1;
        let is_due = self.warned_at.is_none_or(|at| at.elapsed() >= ACCEPT_WARNING_INTERVAL);
        is_due.then(|| {
            self.warned_at = Some(Instant::now());
            std::mem::take(&mut self.count)
        })
    }
}

/// The client of a connection from a proxy that begins it with a PROXY header. `None` if there is no valid one in time.
pub(crate) async fn proxied<S: AsyncRead + Unpin>(
    stream: &mut S,
    from: SocketAddr,
    registration: &Registration,
    shared: &Shared,
) -> Option<SocketAddr> {
    let reading = timeout(shared.registry.limits().head_timeout, proxy_protocol::read(stream, from));
    let client = tokio::select! {
        biased;
        () = registration.queue.closed() => return None,
        read = reading => read,
    };
    let client = client.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match client {
        Ok(client) => {
            registration.is_from(client.ip());
            Some(client)
        }
        Err(error) => {
            tracing::debug!(%from, %error, "failed to read the PROXY header of a connection");
            shared.registry.metrics.refused.count("proxy-header");
            None
        }
    }
}

/// Spawns the task of a client's connection.
fn serve_site<N: Network>(
    net: &N,
    stream: N::Stream,
    from: SocketAddr,
    site: Arc<Site>,
    registration: Registration,
    shared: Arc<Shared>,
) {
    let source = if site.is_private { Source::unlimited(from.ip()) } else { shared.guard.enter(from.ip()) };
    match shared.config.tls.as_ref().filter(|_| !site.is_private).map(Tls::acceptor) {
        None => net.spawn(http::serve(stream, source, site, registration, shared)),
        Some(tls) => net.spawn(http::serve_tls(stream, tls, source, site, registration, shared)),
    }
}

/// Accepts connections for one site and spawns a task for each.
async fn accept<N: Network>(net: N, listener: N::Listener, site: Arc<Site>, shared: Arc<Shared>) {
    let mut failures = AcceptFailures::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                tracing::trace!(site = site.name, %from, "accepted");
                let Some(registration) = shared.registry.open(from.ip()) else { continue };
                let (site, shared) = (Arc::clone(&site), Arc::clone(&shared));
                if !site.is_private && shared.guard.begins_with_header(from.ip()) {
                    let spawning = net.clone();
                    net.spawn(async move {
                        let mut stream = stream;
                        if let Some(client) = proxied(&mut stream, from, &registration, &shared).await {
                            serve_site(&spawning, stream, client, site, registration, shared);
                        }
                    });
                } else {
                    serve_site(&net, stream, from, site, registration, shared);
                }
            }
            Err(error) => {
                failures.warn(site.name, &error);
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_to_accept_are_warned_of_at_a_bounded_rate() {
        let mut failures = AcceptFailures::default();
        let mut reported = Vec::new();
        for _ in 0..500 {
            reported.extend(failures.due_report());
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        assert_eq!(reported, [1, 200, 200]);
    }
}
