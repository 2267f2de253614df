//! What an embedder chooses: where to listen, the limits, the heartbeat, the seed.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::TurnSettings;
use crate::access::Access;
use crate::session::{Heartbeat, Limits};
use crate::socketio::SocketIoSettings;
use crate::tls::Tls;

/// Where a [`Server`](crate::Server) listens and how it behaves. Port 0 lets the host choose, `None` leaves a service out.
#[derive(Clone, Debug)]
pub struct Config {
    /// HTTP address of `sender-viewer` (`/ws`), `relay` (`/relay`) and `/api/*`: none unless told otherwise; the documents
    /// give it port 8080.
    pub http: Option<SocketAddr>,
    /// WebSocket address of the `mesh` dialect: 127.0.0.1:8787 unless told otherwise.
    pub mesh: Option<SocketAddr>,
    /// WebSocket address of the `call` dialect: none unless told otherwise; the documents give it port 3000.
    pub call: Option<SocketAddr>,
    /// Socket.IO address of the `call` dialect: none unless told otherwise; the documents give it port 3001. Its users and
    /// those of [`call`](Self::call) are the same.
    pub call_socketio: Option<SocketAddr>,
    /// Socket.IO address of the `broadcast` dialect: none unless told otherwise; the documents give it port 5001.
    pub broadcast: Option<SocketAddr>,
    /// UDP and TCP address of the STUN service: 127.0.0.1:3478 unless told otherwise.
    pub stun: Option<SocketAddr>,
    /// A second address of this host for STUN, with another IP address and another port: with it the UDP service helps clients
    /// discover their NAT's behaviour (RFC 5780). It then also listens on `stun`'s IP address with this port, and on this IP
    /// address with `stun`'s port, and answers clients of RFC 3489. None unless told otherwise: CHANGE-REQUEST is refused with 420.
    pub stun_alternate: Option<SocketAddr>,
    /// TURN on STUN's UDP address: none unless told otherwise.
    pub turn: Option<TurnSettings>,
    /// Names of the [`HTTP_DIALECTS`](crate::HTTP_DIALECTS) that `http` serves: `sender-viewer`, and with it `/api/status` and
    /// `/api/kick`, and `relay` unless told otherwise.
    pub http_dialects: Vec<&'static str>,
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
            http: None,
            mesh: Some((Ipv4Addr::LOCALHOST, 8787).into()),
            call: None,
            call_socketio: None,
            broadcast: None,
            http_dialects: vec!["sender-viewer", "relay"],
            metrics: None,
            tls: None,
            access: Access::default(),
            stun: Some((Ipv4Addr::LOCALHOST, 3478).into()),
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
