//! The settings of `glare serve`: one definition for flags, environment, file and `server/README.md`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::builder::PossibleValuesParser;
use server::socketio::SocketIoSettings;
use server::{
    Access, ApiSettings, Cidr, Config, DIALECTS, Deflate, DialectEntry, HTTP_PORT, Heartbeat, Limits, Listen,
    PageSettings, Rate, RelayAddress, STUN_PORT, SocketIoClient, Tls, TurnSettings, is_origin,
};

/// Maximum of every count: more is surely a mistake, and sums of counts cannot overflow.
const COUNT_MAX: usize = 1_000_000_000;
/// The default port of the faults.
const FAULTS_PORT: u16 = 8079;
/// Maximum of bytes for all clients: a tebibyte.
const BYTES_MAX: usize = 1 << 40;

/// Run the reference signaling, STUN and TURN server on real sockets. Each setting is a flag, an environment variable, or a key of
/// the `--config` file (the flag without its dashes); the first of these that is set wins.
#[derive(clap::Args)]
pub(crate) struct Settings {
    /// TOML file with settings, such as `http-port = 8080`
    #[arg(long, env = "GLARE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Dialects to serve; `echo` sends every message back, to try out a WebSocket client
    #[arg(long, env = "GLARE_DIALECTS", value_name = "NAME,…", value_parser = PossibleValuesParser::new(dialects()), value_delimiter = ',', default_values = dialects().filter(|name| *name != ECHO))]
    dialects: Vec<String>,

    /// Address to listen on, or a name such as `localhost`: all its addresses for TCP, the first one for STUN and TURN
    #[arg(long, env = "HOST", value_name = "ADDRESS", value_parser = host, default_value = "127.0.0.1")]
    host: Host,
    /// Address or name for `http-port`, if it differs from `host`
    #[arg(long, env = "HTTP_HOST", value_name = "ADDRESS", value_parser = host)]
    http_host: Option<Host>,
    /// TCP port of sender-viewer at `/ws`, relay at `/relay`, the API at `/api`, `/metrics` and the pages for browsers; 0 picks a free port, here and below
    #[arg(long, env = "HTTP_PORT", value_name = "PORT", default_value_t = HTTP_PORT)]
    http_port: u16,
    /// TCP port of mesh
    #[arg(long, env = "PORT", default_value_t = port_of(MESH))]
    port: u16,
    /// TCP port of call over WebSocket
    #[arg(long, env = "CALL_PORT", value_name = "PORT", default_value_t = port_of(CALL))]
    call_port: u16,
    /// TCP port of call over Socket.IO
    #[arg(long, env = "CALL_SOCKETIO_PORT", value_name = "PORT", default_value_t = port_of(CALL_SOCKETIO))]
    call_socketio_port: u16,
    /// TCP port of broadcast
    #[arg(long, env = "BROADCAST_PORT", value_name = "PORT", default_value_t = port_of(BROADCAST))]
    broadcast_port: u16,
    /// Do not serve the pages for browsers, which are at `http-port`
    #[arg(long, env = "GLARE_NO_PAGES")]
    no_pages: bool,
    /// Socket.IO's client for browsers, to serve at `/socket.io/socket.io.js`: `dist/socket.io.min.js` of npm's `socket.io-client`
    #[arg(long, env = "GLARE_SOCKETIO_CLIENT", value_name = "FILE")]
    socketio_client: Option<PathBuf>,
    /// UDP and TCP port of STUN, and UDP port of TURN
    #[arg(long, env = "STUN_PORT", value_name = "PORT", default_value_t = STUN_PORT)]
    stun_port: u16,
    /// Threads of the server, each of which also reads the UDP port of STUN and TURN [default: one per core, of which one
    /// reads that port]
    #[arg(long, env = "GLARE_THREADS", value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) threads: Option<u8>,
    /// TCP port of STUN and TURN over TLS, usually 5349; needs `tls-cert` [default: off]
    #[arg(long, env = "GLARE_STUN_TLS_PORT", value_name = "PORT")]
    stun_tls_port: Option<u16>,
    /// Turn STUN off
    #[arg(long, env = "GLARE_NO_STUN")]
    no_stun: bool,
    /// A second address of this host, with another IP and another port, for NAT discovery (RFC 5780); without it such requests get 420
    #[arg(long, env = "GLARE_STUN_ALTERNATE", value_name = "IP:PORT")]
    stun_alternate: Option<SocketAddr>,
    /// TURN users; TURN is off if neither this nor `turn-secret` is set; a password with a comma must be in the file
    #[arg(long, env = "GLARE_TURN_USERS", value_name = "USER:PASSWORD,…", value_delimiter = ',', value_parser = user, hide_env_values = true)]
    turn_users: Vec<(String, String)>,
    /// Secret for ephemeral TURN credentials, which `/api/config` then issues
    #[arg(long, env = "GLARE_TURN_SECRET", value_name = "SECRET", hide_env_values = true)]
    turn_secret: Option<String>,
    /// Refuse an ephemeral TURN credential after its expiry even for an allocation created with it, which ends calls in progress
    #[arg(long, env = "GLARE_TURN_STRICT_EXPIRY")]
    turn_strict_expiry: bool,
    /// Let TURN clients use SHA-256 in place of MD5 and SHA-1 (RFC 8489), which makes the first answer longer
    #[arg(long, env = "GLARE_TURN_SHA256")]
    turn_sha256: bool,
    /// Let TURN clients send a hash of their username in its place (USERHASH, RFC 8489); not together with `turn-secret`
    #[arg(long, env = "GLARE_TURN_USERHASH")]
    turn_userhash: bool,
    /// TURN realm, preferably a domain
    #[arg(long, env = "GLARE_TURN_REALM", value_name = "REALM", default_value = "glare")]
    turn_realm: String,
    /// Maximum number of answers per second to TURN requests of one address without a valid credential; further ones get no answer
    #[arg(long, env = "GLARE_TURN_UNAUTHENTICATED_RATE", value_name = "N")]
    turn_unauthenticated_rate: Option<NonZeroU32>,
    /// Relay address, or one of each family [default: that of STUN, which must then not be a wildcard]
    #[arg(long, env = "GLARE_TURN_RELAY_HOST", value_name = "IP,…", value_delimiter = ',')]
    turn_relay_host: Vec<IpAddr>,
    /// Relay address to advertise if this host is behind a 1:1 NAT, for the relay address of its family
    #[arg(long, env = "GLARE_TURN_EXTERNAL_IP", value_name = "IP")]
    turn_external_ip: Option<IpAddr>,
    /// Let TURN clients reach loopback and private addresses
    #[arg(long, env = "GLARE_TURN_ALLOW_PRIVATE_PEERS")]
    turn_allow_private_peers: bool,
    /// Accept TURN channel numbers above 0x4fff, as RFC 5766 did
    #[arg(long, env = "GLARE_TURN_ALLOW_RFC5766_CHANNELS")]
    turn_allow_rfc5766_channels: bool,
    /// Maximum number of TURN allocations, including reserved ports; one more gets 508
    #[arg(long, env = "GLARE_TURN_ALLOCATIONS_MAX", value_name = "N", value_parser = count, default_value_t = TurnSettings::default().allocations_max)]
    turn_allocations_max: usize,
    /// Maximum number of TURN allocations and reserved ports of a username; one more gets 486
    #[arg(long, env = "GLARE_TURN_ALLOCATIONS_PER_USER_MAX", value_name = "N", value_parser = count, default_value_t = TurnSettings::default().allocations_per_user_max)]
    turn_allocations_per_user_max: usize,
    /// Maximum number of TURN allocations and reserved ports of an address (IPv6: a /64); one more gets 486
    #[arg(long, env = "GLARE_TURN_ALLOCATIONS_PER_ADDRESS_MAX", value_name = "N", value_parser = count, default_value_t = TurnSettings::default().allocations_per_address_max)]
    turn_allocations_per_address_max: usize,
    /// Maximum number of permissions of a TURN allocation; one more gets 508
    #[arg(long, env = "GLARE_TURN_PERMISSIONS_MAX", value_name = "N", value_parser = count, default_value_t = TurnSettings::default().permissions_max)]
    turn_permissions_max: usize,
    /// Maximum number of channels of a TURN allocation; one more gets 508
    #[arg(long, env = "GLARE_TURN_CHANNELS_MAX", value_name = "N", value_parser = count, default_value_t = TurnSettings::default().channels_max)]
    turn_channels_max: usize,
    /// Maximum bytes per second that TURN relays for a username, in both directions together; more is dropped
    #[arg(long, env = "GLARE_TURN_USER_BANDWIDTH_MAX", value_name = "BYTES", value_parser = bytes)]
    turn_user_bandwidth_max: Option<usize>,
    /// Maximum bytes per second that TURN relays for all together; more is dropped
    #[arg(long, env = "GLARE_TURN_BANDWIDTH_MAX", value_name = "BYTES", value_parser = bytes)]
    turn_bandwidth_max: Option<usize>,
    /// Networks of peers that TURN clients must not reach, in addition to those that are refused by default
    #[arg(long, env = "GLARE_TURN_DENIED_PEERS", value_name = "CIDR,…", value_delimiter = ',')]
    turn_denied_peers: Vec<Cidr>,
    /// Networks of peers that TURN clients may reach although they are refused by default
    #[arg(long, env = "GLARE_TURN_ALLOWED_PEERS", value_name = "CIDR,…", value_delimiter = ',')]
    turn_allowed_peers: Vec<Cidr>,
    /// Lifetime of a TURN nonce; then clients get 438 and a new one
    #[arg(long, env = "GLARE_TURN_NONCE_LIFETIME", value_name = "TIME", value_parser = time, default_value = "1h")]
    turn_nonce_lifetime: Duration,
    /// Lifetime of a TURN credential from `/api/config`
    #[arg(long, env = "GLARE_TURN_CREDENTIAL_LIFETIME", value_name = "TIME", value_parser = time, default_value = "24h")]
    turn_credential_lifetime: Duration,
    /// UDP ports of relayed transport addresses
    #[arg(long, env = "GLARE_TURN_RELAY_PORTS", value_name = "FIRST-LAST", value_parser = ports, default_value = "49152-65535")]
    turn_relay_ports: Ports,
    /// TCP port for `/metrics` alone, without TLS and token [default: only on `http-port`]
    #[arg(long, env = "METRICS_PORT", value_name = "PORT")]
    metrics_port: Option<u16>,
    /// Address for `metrics-port`, or a name, of which the first address counts
    #[arg(long, env = "METRICS_HOST", value_name = "ADDRESS", value_parser = host, default_value = "127.0.0.1")]
    metrics_host: Host,

    /// Take orders to cut, delay, lose or throttle what clients exchange with signaling and TURN, at `/faults` on 127.0.0.1; for tests
    #[arg(long, env = "GLARE_FAULTS")]
    faults: bool,
    /// TCP port of `/faults`
    #[arg(long, env = "GLARE_FAULTS_PORT", value_name = "PORT", default_value_t = FAULTS_PORT)]
    faults_port: u16,
    /// Bearer token for `/faults` [default: a random one, which is printed]
    #[arg(long, env = "GLARE_FAULTS_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    faults_token: Option<String>,

    /// PEM file with the certificate chain; enables TLS on every TCP port except `metrics-port`
    #[arg(long, env = "GLARE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the private key of the certificate
    #[arg(long, env = "GLARE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Bearer tokens, any of which opens a WebSocket; anyone may connect if neither this nor `room-secret` is set
    #[arg(long, env = "GLARE_TOKENS", value_name = "TOKEN,…", value_delimiter = ',', hide_env_values = true)]
    tokens: Vec<String>,
    /// Secret that signs room tokens, at least 16 bytes
    #[arg(long, env = "GLARE_ROOM_SECRET", value_name = "SECRET", hide_env_values = true)]
    room_secret: Option<String>,
    /// Bearer token for `/api/kick` and for `/metrics` on `http-port`; without it they are open, but closed if clients need tokens
    #[arg(long, env = "GLARE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// Origins whose pages may connect and use the API; others get 403 [default: any]
    #[arg(long, env = "GLARE_ORIGINS", value_name = "ORIGIN,…", value_delimiter = ',', value_parser = origin)]
    origins: Vec<String>,
    /// `Access-Control-Allow-Origin` of the API and of Socket.IO, or `none`
    #[arg(long, env = "GLARE_CORS_ORIGIN", value_name = "ORIGIN", value_parser = cors_origin, default_value = "*")]
    cors_origin: String,
    /// Origins whose pages may send credentials, such as a load balancer's cookie; answers name them instead of
    /// `cors-origin`
    #[arg(long, env = "GLARE_CORS_CREDENTIALS_ORIGINS", value_name = "ORIGIN,…", value_delimiter = ',', value_parser = origin)]
    cors_credentials_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` or `Forwarded` names the client, for limits by address and for the log
    #[arg(long, env = "GLARE_TRUSTED_PROXIES", value_name = "CIDR,…", value_delimiter = ',')]
    trusted_proxies: Vec<Cidr>,
    /// Proxies whose TCP connections begin with a PROXY header (version 1 or 2), which names the client; without one, such a
    /// connection ends
    #[arg(long, env = "GLARE_PROXY_PROTOCOL", value_name = "CIDR,…", value_delimiter = ',')]
    proxy_protocol: Vec<Cidr>,
    /// Accept the first WebSocket subprotocol that a client offers; otherwise none is chosen, and a browser that offers
    /// one fails
    #[arg(long, env = "GLARE_ACCEPT_SUBPROTOCOL")]
    accept_subprotocol: bool,
    /// Compress messages on WebSockets for clients that offer permessage-deflate (RFC 7692): with `no-takeover` each by
    /// itself, with `takeover` by what the connection sent before, for up to 8 KiB of memory each [default: off]
    #[arg(long, env = "GLARE_DEFLATE", value_name = "HOW")]
    deflate: Option<Compression>,
    /// ICE server URLs in `/api/config` [default: this server's STUN and TURN]
    #[arg(long, env = "GLARE_ICE_URLS", value_name = "URL,…", value_delimiter = ',')]
    ice_urls: Vec<String>,

    /// Maximum size of a text message; a larger one closes with 1009, in mesh it gets an error
    #[arg(long, env = "GLARE_MESSAGE_BYTES_MAX", value_name = "BYTES", value_parser = count, default_value_t = Limits::default().message_bytes_max)]
    message_bytes_max: usize,
    /// Maximum size of a frame or reassembled message; a larger one closes with 1009
    #[arg(long, env = "GLARE_FRAME_BYTES_MAX", value_name = "BYTES", value_parser = count, default_value_t = Limits::default().frame_bytes_max)]
    frame_bytes_max: usize,
    /// Maximum number of messages queued for a client; one more closes with 1008
    #[arg(long, env = "GLARE_QUEUE_MESSAGES_MAX", value_name = "N", value_parser = count, default_value_t = Limits::default().queue_messages_max)]
    queue_messages_max: usize,
    /// Maximum bytes of text queued for a client; more close with 1008
    #[arg(long, env = "GLARE_QUEUE_BYTES_MAX", value_name = "BYTES", value_parser = count, default_value_t = Limits::default().queue_bytes_max)]
    queue_bytes_max: usize,
    /// Maximum number of open connections, and of Engine.IO sessions; one more ends the oldest that has not joined, or is closed with 1013 if all have joined
    #[arg(long, env = "GLARE_CONNECTIONS_MAX", value_name = "N", value_parser = count, default_value_t = Limits::default().connections_max)]
    connections_max: usize,
    /// Maximum number of open connections per address (IPv6: per /64), and of Engine.IO sessions; a request on another one gets 429
    #[arg(long, env = "GLARE_CONNECTIONS_PER_ADDRESS_MAX", value_name = "N", value_parser = count)]
    connections_per_address_max: Option<usize>,
    /// Maximum bytes of all queues, unfinished messages and request bodies together; beyond half of it, a client that holds more than an equal share of the rest is closed
    #[arg(long, env = "GLARE_BUFFERED_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value_t = Limits::default().buffered_bytes_max)]
    buffered_bytes_max: usize,
    /// Maximum number of rooms per dialect; a client that would open another one is closed with 1013
    #[arg(long, env = "GLARE_ROOMS_MAX", value_name = "N", value_parser = count)]
    rooms_max: Option<usize>,
    /// Maximum number of members per room; another one is closed with 1013
    #[arg(long, env = "GLARE_ROOM_MEMBERS_MAX", value_name = "N", value_parser = count)]
    room_members_max: Option<usize>,
    /// Messages, pings, pongs that nobody asked for and empty fragments per second of a connection; more close with 1008
    #[arg(long, env = "GLARE_MESSAGE_RATE", value_name = "N")]
    message_rate: Option<NonZeroU32>,
    /// Number of messages and pings that may arrive in a burst [default: the number per second]
    #[arg(long, env = "GLARE_MESSAGE_BURST", value_name = "N")]
    message_burst: Option<NonZeroU32>,
    /// HTTP requests per second of an address, including upgrades; more get 429
    #[arg(long, env = "GLARE_REQUEST_RATE", value_name = "N")]
    request_rate: Option<NonZeroU32>,
    /// Number of HTTP requests that may arrive in a burst [default: the number per second]
    #[arg(long, env = "GLARE_REQUEST_BURST", value_name = "N")]
    request_burst: Option<NonZeroU32>,

    /// Time limit for the TLS handshake; then the connection ends
    #[arg(long, env = "GLARE_HANDSHAKE_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "10s")]
    handshake_timeout: Duration,
    /// Time limit for a request's head, from its first byte, or from the start of the connection; then the connection
    /// ends
    #[arg(long, env = "GLARE_HEAD_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "10s")]
    head_timeout: Duration,
    /// Longest pause in a request's body, which must also come at 500 bytes per second on average; then 408
    #[arg(long, env = "GLARE_BODY_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "10s")]
    body_timeout: Duration,
    /// Longest idle time of a connection between an answer and the next request; then it ends
    #[arg(long, env = "GLARE_KEEP_ALIVE_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "75s")]
    keep_alive_timeout: Duration,
    /// Time limit for the first join; then closes with 1008
    #[arg(long, env = "GLARE_JOIN_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "30s")]
    join_timeout: Duration,
    /// Interval between pings
    #[arg(long, env = "GLARE_PING_INTERVAL", value_name = "TIME", value_parser = time, default_value = "20s")]
    ping_interval: Duration,
    /// How many consecutive pings may go unanswered, at least 1; an interval later closes with 1008
    #[arg(long, env = "GLARE_MISSED_PONGS_MAX", value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = Heartbeat::default().missed_max)]
    missed_pongs_max: u32,
    /// Engine.IO: time from the handshake or a pong to the next ping
    #[arg(long, env = "GLARE_SOCKETIO_PING_INTERVAL", value_name = "TIME", value_parser = time, default_value = "25s")]
    socketio_ping_interval: Duration,
    /// Engine.IO: time limit for a pong; then closes with 1008
    #[arg(long, env = "GLARE_SOCKETIO_PING_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "20s")]
    socketio_ping_timeout: Duration,
    /// Engine.IO: time limit for the upgrade from polling to a WebSocket
    #[arg(long, env = "GLARE_SOCKETIO_UPGRADE_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "10s")]
    socketio_upgrade_timeout: Duration,
    /// Engine.IO: maximum size of a payload, a message, or an event with its attachments; a larger one gets 413 or closes with 1009
    #[arg(long, env = "GLARE_SOCKETIO_PAYLOAD_BYTES_MAX", value_name = "BYTES", value_parser = count, default_value_t = SocketIoSettings::default().payload_bytes_max)]
    socketio_payload_bytes_max: usize,
    /// Time limit for a message from its first byte to its last; then closes with 1008
    #[arg(long, env = "GLARE_MESSAGE_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "30s")]
    message_timeout: Duration,
    /// Time a write may stall, of a message or of a response; then the connection is dropped
    #[arg(long, env = "GLARE_WRITE_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "30s")]
    write_timeout: Duration,
    /// Time limit to write what is queued and to close a connection; a shutdown has one second more for all
    #[arg(long, env = "GLARE_CLOSE_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "5s")]
    close_timeout: Duration,

    /// Time that clients may stay after SIGTERM or Ctrl-C while no new ones are let in; a second signal ends it [default: none]
    #[arg(long, env = "GLARE_DRAIN", value_name = "TIME", value_parser = time)]
    pub(crate) drain: Option<Duration>,

    /// Format of the log on standard error
    #[arg(long, env = "GLARE_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Log levels, such as `info,server=debug`
    #[arg(long, env = "RUST_LOG", value_name = "LEVELS", default_value = "info")]
    pub(crate) log: String,
}

/// The entries of `DIALECTS` whose ports have their own flags.
const MESH: &str = "mesh";
const CALL: &str = "call";
const CALL_SOCKETIO: &str = "call-socketio";
const BROADCAST: &str = "broadcast";
/// Served only if it is named.
const ECHO: &str = "echo";

/// Every dialect once, even if it has several framings.
fn dialects() -> impl Iterator<Item = &'static str> {
    let is_first = |entry: &&DialectEntry| {
        DIALECTS.iter().find(|other| other.dialect == entry.dialect).is_some_and(|first| first.name == entry.name)
    };
    DIALECTS.iter().filter(is_first).map(|entry| entry.dialect)
}

fn port_of(name: &str) -> u16 {
    DialectEntry::named(name).expect("it is in the table").port
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Compression {
    NoTakeover,
    Takeover,
}

impl From<Compression> for Deflate {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::NoTakeover => Self::NoTakeover,
            Compression::Takeover => Self::Takeover,
        }
    }
}

/// Where the server takes orders for faults.
pub(crate) struct FaultSettings {
    pub(crate) port: u16,
    /// `None`: a random one.
    pub(crate) token: Option<String>,
}

impl Settings {
    /// Where it takes orders for faults, if it does.
    pub(crate) fn faults(&self) -> anyhow::Result<Option<FaultSettings>> {
        if !self.faults {
            if self.faults_token.is_some() {
                bail!("--faults-token needs --faults");
            }
            return Ok(None);
        }
        if self.faults_token.as_deref().is_some_and(|token| !(1..=256).contains(&token.len())) {
            bail!("--faults-token: write 1 to 256 characters");
        }
        Ok(Some(FaultSettings { port: self.faults_port, token: self.faults_token.clone() }))
    }

    /// The server's configuration, without the seed.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let is_served = |entry: &&DialectEntry| self.dialects.iter().any(|dialect| dialect == entry.dialect);
        let names = DIALECTS.iter().filter(is_served).map(|entry| entry.name);
        let http_host = self.http_host.as_ref().unwrap_or(&self.host);
        let mut listen = Listen::each(names, |entry| match entry.name {
            MESH => self.host.at(self.port),
            CALL => self.host.at(self.call_port),
            CALL_SOCKETIO => self.host.at(self.call_socketio_port),
            BROADCAST => self.host.at(self.broadcast_port),
            _ => http_host.at(self.http_port),
        });
        for listen in &mut listen {
            let host = if listen.pages { http_host } else { &self.host };
            listen.also_at = host.others_at(listen.at.port());
        }
        let tls = match (&self.tls_cert, &self.tls_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Tls::load(certificate, key)?),
            (Some(_), None) => bail!("--tls-cert needs --tls-key: give the PEM file with its private key"),
            (None, Some(_)) => bail!("--tls-key needs --tls-cert: give the PEM file with its certificate chain"),
        };
        let stun_tls = match self.stun_tls_port {
            Some(_) if tls.is_none() => bail!("--stun-tls-port needs --tls-cert and --tls-key: give the PEM files"),
            Some(_) if self.no_stun => bail!("--stun-tls-port is a port of STUN: leave it out, or --no-stun"),
            port => port.map(|port| self.host.at(port)),
        };
        Ok(Config {
            listen,
            stun_tls,
            stun: (!self.no_stun).then_some(self.host.at(self.stun_port)),
            stun_alternate: self.stun_alternate,
            udp_readers: self
                .threads
                .and_then(|threads| NonZeroUsize::new(threads.into()))
                .unwrap_or(NonZeroUsize::MIN),
            turn: self.turn()?,
            metrics: self.metrics_port.map(|port| self.metrics_host.at(port)),
            tls,
            access: Access {
                tokens: self.tokens.clone(),
                room_secret: self.room_secret.clone(),
                origins: self.origins.clone(),
                proxies: self.trusted_proxies.clone(),
                proxy_protocol: self.proxy_protocol.clone(),
            },
            api: ApiSettings {
                cors_origin: Some(self.cors_origin.clone()).filter(|origin| origin != "none"),
                credentials_origins: self.cors_credentials_origins.clone(),
                admin_token: self.admin_token.clone(),
                ice_urls: Some(self.ice_urls.clone()).filter(|urls| !urls.is_empty()),
            },
            pages: PageSettings {
                served: !self.no_pages,
                socketio_client: self.socketio_client.as_deref().map(SocketIoClient::load).transpose()?,
            },
            socketio: SocketIoSettings {
                ping_interval: self.socketio_ping_interval,
                ping_timeout: self.socketio_ping_timeout,
                payload_bytes_max: self.socketio_payload_bytes_max,
                upgrade_timeout: self.socketio_upgrade_timeout,
            },
            limits: self.limits()?,
            heartbeat: Heartbeat { interval: self.ping_interval, missed_max: self.missed_pongs_max },
            accept_subprotocol: self.accept_subprotocol,
            deflate: self.deflate.map(Deflate::from),
            ..Config::default()
        })
    }

    /// The TURN settings, if there are users or a secret.
    fn turn(&self) -> anyhow::Result<Option<TurnSettings>> {
        if self.turn_users.is_empty() && self.turn_secret.is_none() {
            return Ok(None);
        }
        let hosts =
            if self.turn_relay_host.is_empty() { vec![self.host.at(0).ip()] } else { self.turn_relay_host.clone() };
        // Of several, the one of its family; alone, it must fit, and the server says so.
        let relay_addresses = hosts.iter().map(|&bind| {
            let fits = |external: &IpAddr| hosts.len() == 1 || external.is_ipv4() == bind.is_ipv4();
            RelayAddress { bind, advertised: self.turn_external_ip.filter(fits).unwrap_or(bind) }
        });
        let relay_addresses = relay_addresses.collect();
        if self.no_stun {
            bail!("TURN shares the port of STUN: with --no-stun, leave out --turn-users and --turn-secret too");
        }
        Ok(Some(TurnSettings {
            realm: self.turn_realm.clone(),
            users: self.turn_users.clone(),
            secret: self.turn_secret.clone(),
            strict_expiry: self.turn_strict_expiry,
            sha256: self.turn_sha256,
            userhash: self.turn_userhash,
            credential_lifetime: self.turn_credential_lifetime,
            nonce_lifetime: self.turn_nonce_lifetime,
            allocations_max: self.turn_allocations_max,
            allocations_per_user_max: self.turn_allocations_per_user_max,
            allocations_per_address_max: self.turn_allocations_per_address_max,
            permissions_max: self.turn_permissions_max,
            channels_max: self.turn_channels_max,
            user_bandwidth_max: self.turn_user_bandwidth_max.map(|bytes| bytes as u64),
            bandwidth_max: self.turn_bandwidth_max.map(|bytes| bytes as u64),
            denied_peers: self.turn_denied_peers.clone(),
            allowed_peers: self.turn_allowed_peers.clone(),
            host_addresses: server::host_addresses(),
            relay_ports: self.turn_relay_ports.clone(),
            unauthenticated_rate: self.turn_unauthenticated_rate.map(|rate| Rate { per_second: rate, burst: rate }),
            relay_addresses,
            allow_private_peers: self.turn_allow_private_peers,
            allow_rfc5766_channels: self.turn_allow_rfc5766_channels,
            ..TurnSettings::default()
        }))
    }

    fn limits(&self) -> anyhow::Result<Limits> {
        let rate = |what: &str, per_second: Option<NonZeroU32>, burst: Option<NonZeroU32>| match (per_second, burst) {
            (None, Some(_)) => bail!("--{what}-burst needs --{what}-rate: give the number per second"),
            (per_second, burst) => Ok(per_second.map(|rate| Rate { per_second: rate, burst: burst.unwrap_or(rate) })),
        };
        Ok(Limits {
            message_bytes_max: self.message_bytes_max,
            frame_bytes_max: self.frame_bytes_max,
            queue_messages_max: self.queue_messages_max,
            queue_bytes_max: self.queue_bytes_max,
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            request_rate: rate("request", self.request_rate, self.request_burst)?,
            message_rate: rate("message", self.message_rate, self.message_burst)?,
            buffered_bytes_max: self.buffered_bytes_max,
            rooms_max: self.rooms_max,
            room_members_max: self.room_members_max,
            join_timeout: self.join_timeout,
            handshake_timeout: self.handshake_timeout,
            head_timeout: self.head_timeout,
            body_timeout: self.body_timeout,
            keep_alive_timeout: self.keep_alive_timeout,
            message_timeout: self.message_timeout,
            write_timeout: self.write_timeout,
            close_timeout: self.close_timeout,
        })
    }
}

/// The addresses that a setting names: at least one, those of IPv4 first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    first: IpAddr,
    others: Vec<IpAddr>,
}

impl Host {
    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.first, port)
    }

    fn others_at(&self, port: u16) -> Vec<SocketAddr> {
        self.others.iter().map(|address| SocketAddr::new(*address, port)).collect()
    }
}

fn host(text: &str) -> anyhow::Result<Host> {
    if let Ok(first) = text.parse() {
        return Ok(Host { first, others: Vec::new() });
    }
    let right = "write an IP address such as `0.0.0.0`, or a name that has one";
    let found = (text, 0).to_socket_addrs().map_err(|why| anyhow!("no address is known for it ({why}): {right}"))?;
    let found: BTreeSet<_> = found.map(|address| address.ip()).collect();
    let mut found = found.into_iter();
    let first = found.next().ok_or_else(|| anyhow!("it has no address: {right}"))?;
    Ok(Host { first, others: found.collect() })
}

fn origin(text: &str) -> Result<String, &'static str> {
    let right = "not an origin: write it like `https://example.org` or `http://localhost:5173`";
    if is_origin(text) { Ok(text.to_owned()) } else { Err(right) }
}

fn cors_origin(text: &str) -> Result<String, &'static str> {
    let right = "write `*`, `none`, or an origin such as `https://example.org`";
    if matches!(text, "*" | "none") || is_origin(text) { Ok(text.to_owned()) } else { Err(right) }
}

fn user(text: &str) -> Result<(String, String), &'static str> {
    let (name, password) = text.split_once(':').ok_or("write it as USER:PASSWORD")?;
    Ok((name.to_owned(), password.to_owned()))
}

fn count(text: &str) -> anyhow::Result<usize> {
    let number = text.parse().ok().filter(|number| (1..=COUNT_MAX).contains(number));
    number.with_context(|| format!("not a whole number from 1 to {COUNT_MAX}"))
}

fn bytes(text: &str) -> anyhow::Result<usize> {
    let number = text.parse().ok().filter(|number| (1..=BYTES_MAX).contains(number));
    number.with_context(|| format!("not a whole number from 1 to {BYTES_MAX}"))
}

type Ports = RangeInclusive<u16>;

fn ports(text: &str) -> Result<Ports, &'static str> {
    let right = "write two port numbers, the lower one first, such as `49152-65535`";
    let (first, last) = text.split_once('-').ok_or(right)?;
    match (first.parse(), last.parse()) {
        (Ok(first @ 1..), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(right),
    }
}

fn time(text: &str) -> anyhow::Result<Duration> {
    match scenarios::time(text)? {
        Duration::ZERO => bail!("too short: write at least 1ms"),
        time => Ok(time),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
