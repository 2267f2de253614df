//! What an embedder chooses: where to listen, the limits, the heartbeat, the seed.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::TurnSettings;
use crate::access::Access;
use crate::dialect::{DialectEntry, HTTP_PORT, STUN_PORT};
use crate::limits::Limits;
use crate::session::Heartbeat;
use crate::socketio::SocketIoSettings;
use crate::tls::Tls;

/// A TCP address, and what is served there besides `/healthz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address. Port 0 lets the host choose; [`Server::address`](crate::Server::address) tells what it chose.
    pub at: SocketAddr,
    /// Names in [`DIALECTS`](crate::DIALECTS), no two with the same path.
    pub dialects: Vec<&'static str>,
    /// Whether `/api/*` and `/metrics` are there too. `/api/status` and `/api/kick` need the dialect `sender-viewer`.
    pub pages: bool,
}

impl Listen {
    /// Addresses for dialects as the documents group them: those with the same [`port`](DialectEntry::port) share one, and the one
    /// that stands for [`HTTP_PORT`] has the pages. `at` says where, and is asked once for each address.
    ///
    /// # Panics
    /// A name is not in the table.
    pub fn each(
        names: impl IntoIterator<Item = &'static str>,
        at: impl Fn(&'static DialectEntry) -> SocketAddr,
    ) -> Vec<Self> {
        let mut by_port: Vec<(u16, Self)> = Vec::new();
        for name in names {
            let entry = DialectEntry::named(name).unwrap_or_else(|| panic!("there is no dialect `{name}`"));
            match by_port.iter_mut().find(|(port, _)| *port == entry.port) {
                Some((_, listen)) => listen.dialects.push(name),
                None => {
                    let pages = entry.port == HTTP_PORT;
                    by_port.push((entry.port, Self { at: at(entry), dialects: vec![name], pages }));
                }
            }
        }
        by_port.into_iter().map(|(_, listen)| listen).collect()
    }
}

/// Where a [`Server`](crate::Server) listens and how it behaves. Port 0 lets the host choose, `None` leaves a service out.
#[derive(Clone, Debug)]
pub struct Config {
    /// TCP addresses of the dialects: `mesh` at 127.0.0.1:8787 unless told otherwise.
    pub listen: Vec<Listen>,
    /// UDP and TCP address of the STUN service: 127.0.0.1:3478 unless told otherwise.
    pub stun: Option<SocketAddr>,
    /// A second address of this host for STUN, with another IP address and another port: with it the UDP service helps clients
    /// discover their NAT's behaviour (RFC 5780). It then also listens on `stun`'s IP address with this port, and on this IP
    /// address with `stun`'s port, and answers clients of RFC 3489. None unless told otherwise: CHANGE-REQUEST is refused with 420.
    pub stun_alternate: Option<SocketAddr>,
    /// TURN on STUN's UDP address: none unless told otherwise.
    pub turn: Option<TurnSettings>,
    /// HTTP address of `/metrics` and `/healthz` alone, never with TLS or a token: none unless told otherwise.
    pub metrics: Option<SocketAddr>,
    /// The certificate of every TCP address but `metrics`: plain HTTP unless told otherwise.
    pub tls: Option<Tls>,
    /// Who may open a WebSocket or an Engine.IO session: everybody unless told otherwise.
    pub access: Access,
    /// How `/api/*` behaves.
    pub api: ApiSettings,
    /// How the Socket.IO endpoints behave.
    pub socketio: SocketIoSettings,
    /// What one client may cost.
    pub limits: Limits,
    /// How a dead connection is noticed, except under Socket.IO.
    pub heartbeat: Heartbeat,
    /// Tells UNIX time in seconds, for the expiry of room tokens and of ephemeral TURN credentials, and for nothing else: the
    /// system's clock unless told otherwise. A simulation gives its own.
    pub unix_time: fn() -> u64,
    /// The source of every id the server hands out, and of all its randomness. The same seed and the same arrivals give
    /// the same ids, so give a server on a real network a fresh one at each start.
    pub seed: u64,
}

/// What an embedder chooses about the HTTP endpoints under `/api/`, and the CORS origin of those of Socket.IO.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// `Access-Control-Allow-Origin` of every answer, `*` unless told otherwise; `None` leaves CORS out.
    pub cors_origin: Option<String>,
    /// The bearer token that `POST /api/kick` and `/metrics` beside it ask for, if any.
    pub admin_token: Option<String>,
    /// The URLs that `/api/config` hands out. `None`: this server's own STUN service, if there is one, and its TURN service with
    /// an ephemeral credential, if it has a [shared secret](TurnSettings::secret), under the name that the request calls the
    /// server by.
    pub ice_urls: Option<Vec<String>>,
}

impl fmt::Debug for ApiSettings {
    /// Shows whether there is a token, not which.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let admin_token = self.admin_token.as_ref().map(|_| "…");
        f.debug_struct("ApiSettings")
            .field("cors_origin", &self.cors_origin)
            .field("admin_token", &admin_token)
            .field("ice_urls", &self.ice_urls)
            .finish()
    }
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self { cors_origin: Some("*".to_owned()), admin_token: None, ice_urls: None }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::each(["mesh"], |mesh| (Ipv4Addr::LOCALHOST, mesh.port).into()),
            metrics: None,
            tls: None,
            access: Access::default(),
            stun: Some((Ipv4Addr::LOCALHOST, STUN_PORT).into()),
            stun_alternate: None,
            turn: None,
            api: ApiSettings::default(),
            socketio: SocketIoSettings::default(),
            limits: Limits::default(),
            heartbeat: Heartbeat::default(),
            unix_time: system_time,
            seed: 0,
        }
    }
}

/// The time of day decides nothing but whether a token has expired, and a simulated thread has a clock of its own.
#[allow(clippy::disallowed_methods)]
fn system_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
