//! The server's configuration: addresses, limits, heartbeat, seed.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::TurnSettings;
use crate::access::Access;
use crate::dialect::{DialectEntry, HTTP_PORT, STUN_PORT};
use crate::limits::Limits;
use crate::pages::PageSettings;
use crate::random::{Entropy, Randomness};
use crate::session::Heartbeat;
use crate::session::deflate::Deflate;
use crate::socketio::SocketIoSettings;
use crate::tls::Tls;

/// A TCP address, and what is served there in addition to `/healthz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address. With port 0 the host chooses a port; [`Server::address`](crate::Server::address) returns it.
    pub at: SocketAddr,
    /// More addresses of the same service, for example the others of a host name. Default: none. Port 0 stands for the
    /// port of [`at`](Self::at). Addresses that this host cannot open are left out if it can open at least one.
    pub also_at: Vec<SocketAddr>,
    /// Names from [`DIALECTS`](crate::DIALECTS), no two with the same path.
    pub dialects: Vec<&'static str>,
    /// Whether `/api/*` and `/metrics` are served too, and the [pages for browsers](Config::pages). `/api/status` and
    /// `/api/kick` need the dialect `sender-viewer`.
    pub pages: bool,
}

impl Listen {
    /// Addresses for dialects, grouped as documented: dialects with the same [`port`](DialectEntry::port) share an
    /// address, and the one for [`HTTP_PORT`] also serves the pages. `at` returns the address and is called once per
    /// address.
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
                    by_port
                        .push((entry.port, Self { at: at(entry), also_at: Vec::new(), dialects: vec![name], pages }));
                }
            }
        }
        by_port.into_iter().map(|(_, listen)| listen).collect()
    }
}

/// Where a [`Server`](crate::Server) listens and how it behaves. With port 0 the host chooses; `None` turns a service
/// off.
#[derive(Clone, Debug)]
pub struct Config {
    /// TCP addresses of the dialects. Default: `mesh` at 127.0.0.1:8787.
    pub listen: Vec<Listen>,
    /// UDP and TCP address of the STUN service. Default: 127.0.0.1:3478.
    pub stun: Option<SocketAddr>,
    /// A second address of this host for STUN, with another IP address and another port, for NAT behavior discovery
    /// over UDP (RFC 5780). The service then also listens on `stun`'s IP address with this port and on this IP address
    /// with `stun`'s port, and answers clients of RFC 3489. Default: `None`, and CHANGE-REQUEST gets 420.
    pub stun_alternate: Option<SocketAddr>,
    /// How many tasks read the UDP port of STUN, each with its own socket, among which the host distributes the clients.
    /// Default: 1. More help if the runtime has several threads, on Linux.
    pub udp_readers: NonZeroUsize,
    /// TCP address of STUN and TURN over TLS, with the certificate of `tls` (RFC 8656 §2.1). Default: off.
    pub stun_tls: Option<SocketAddr>,
    /// TURN on STUN's UDP address. Default: off.
    pub turn: Option<TurnSettings>,
    /// HTTP address for only `/metrics` and `/healthz`, always without TLS and token. Default: off.
    pub metrics: Option<SocketAddr>,
    /// The certificate for every TCP address except `metrics`. Default: plain HTTP.
    pub tls: Option<Tls>,
    /// Who may open a WebSocket or an Engine.IO session. Default: everyone.
    pub access: Access,
    /// How `/api/*` behaves.
    pub api: ApiSettings,
    /// The pages for browsers.
    pub pages: PageSettings,
    /// How the Socket.IO endpoints behave.
    pub socketio: SocketIoSettings,
    /// Limits for one client.
    pub limits: Limits,
    /// How dead connections are detected, except with Socket.IO.
    pub heartbeat: Heartbeat,
    /// Whether a WebSocket uses the first subprotocol that its client offers, as many WebSocket libraries do. Default:
    /// no, which lets browsers fail that offer one.
    pub accept_subprotocol: bool,
    /// Whether messages on WebSockets are compressed for clients that offer permessage-deflate (RFC 7692). Default: no.
    pub deflate: Option<Deflate>,
    /// How many file descriptors the process may open. TURN and connections then get shares of them, so that neither
    /// takes those of the other. Default: `None`, for a host that does not run out of them.
    pub descriptors: Option<usize>,
    /// Returns UNIX time in seconds. Used only for the expiry of room tokens and ephemeral TURN credentials. Default:
    /// the system's clock. A simulation provides its own.
    pub unix_time: fn() -> u64,
    /// Where ids, nonces and tokens come from. Default: the seed. On a real network, use the operating system.
    pub randomness: Randomness,
    /// The seed of all ids that the server issues, and of all its randomness, unless that comes from the operating
    /// system. The same seed and the same arrivals give the same ids.
    pub seed: u64,
}

/// Settings of the HTTP endpoints under `/api/`, and the CORS origin of the Socket.IO endpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// `Access-Control-Allow-Origin` of every response. Default: `*`; `None` turns CORS off.
    pub cors_origin: Option<String>,
    /// The origins (`https://host[:port]`) whose pages may send credentials, such as the cookie of a load balancer.
    /// Responses to them name the origin instead of `cors_origin`, and have `Access-Control-Allow-Credentials: true`.
    /// Default: none.
    pub credentials_origins: Vec<String>,
    /// The bearer token required for `POST /api/kick` and for `/metrics` at the same address, if any.
    pub admin_token: Option<String>,
    /// The URLs in `/api/config`. `None`: this server's own STUN service, if there is one, and its TURN service with an
    /// ephemeral credential, if it has a [shared secret](TurnSettings::secret), with the host name of the request.
    pub ice_urls: Option<Vec<String>>,
}

impl fmt::Debug for ApiSettings {
    /// Shows whether there is a token, not the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let admin_token = self.admin_token.as_ref().map(|_| "…");
        f.debug_struct("ApiSettings")
            .field("cors_origin", &self.cors_origin)
            .field("credentials_origins", &self.credentials_origins)
            .field("admin_token", &admin_token)
            .field("ice_urls", &self.ice_urls)
            .finish()
    }
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self { cors_origin: Some("*".to_owned()), credentials_origins: Vec::new(), admin_token: None, ice_urls: None }
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
            udp_readers: NonZeroUsize::MIN,
            stun_tls: None,
            turn: None,
            api: ApiSettings::default(),
            pages: PageSettings::default(),
            socketio: SocketIoSettings::default(),
            limits: Limits::default(),
            heartbeat: Heartbeat::default(),
            accept_subprotocol: false,
            deflate: None,
            descriptors: None,
            unix_time: system_time,
            randomness: Randomness::Seed,
            seed: 0,
        }
    }
}

impl Config {
    /// The names of the settings that differ although they cannot change while the server runs.
    pub(crate) fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        // Without what a reload takes over.
        let turn = |config: &Self| {
            let turn = config.turn.clone()?;
            Some(TurnSettings {
                users: Vec::new(),
                secret: None,
                allocations_max: 0,
                allocations_per_user_max: 0,
                allocations_per_address_max: 0,
                ..turn
            })
        };
        let differences = [
            ("addresses and dialects", self.listen != other.listen),
            (
                "the address of STUN",
                (self.stun, self.stun_alternate, self.stun_tls) != (other.stun, other.stun_alternate, other.stun_tls),
            ),
            ("settings of TURN other than users and numbers of allocations", turn(self) != turn(other)),
            ("the address of metrics", self.metrics != other.metrics),
            ("TLS", self.tls.is_some() != other.tls.is_some()),
            ("CORS or ICE servers", {
                let api = |config: &Self| ApiSettings { admin_token: None, ..config.api.clone() };
                api(self) != api(other)
            }),
            ("settings of Socket.IO", self.socketio != other.socketio),
            ("compression", self.deflate != other.deflate),
            ("pings", self.heartbeat != other.heartbeat),
        ];
        differences.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    pub(crate) fn entropy(&self) -> Entropy {
        match self.randomness {
            Randomness::Seed => Entropy::Seed(self.seed),
            Randomness::System => Entropy::System,
        }
    }
}

/// The time of day only decides whether a token has expired, and a simulation provides its own clock.
#[allow(clippy::disallowed_methods)]
fn system_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
