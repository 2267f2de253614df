//! The settings of `glare serve`: one definition for flags, environment, file and `server/README.md`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::builder::PossibleValuesParser;
use server::socketio::SocketIoSettings;
use server::{
    Access, ApiSettings, Config, DIALECTS, DialectEntry, HTTP_PORT, Heartbeat, Limits, Listen, Rate, RelayAddress,
    STUN_PORT, Tls, TurnSettings,
};

/// More of anything is a slip: the sums stay far from any overflow.
const COUNT_MAX: usize = 1_000_000_000;

/// The reference signaling and STUN server. Each setting is a flag, an environment variable, or a key of the file that `--config`
/// names (the flag without its dashes); the first of these that is there counts.
#[derive(clap::Args)]
pub(crate) struct Settings {
    /// TOML file with settings, such as `http-port = 8080`
    #[arg(long, env = "GLARE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Dialects to serve; `echo` sends every message back, to try a WebSocket client out
    #[arg(long, env = "GLARE_DIALECTS", value_name = "NAME,…", value_parser = PossibleValuesParser::new(dialects()), value_delimiter = ',', default_values = dialects().filter(|name| *name != ECHO))]
    dialects: Vec<String>,

    /// Address to listen on
    #[arg(long, env = "HOST", value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Address for `http-port`, if another than `host`
    #[arg(long, env = "HTTP_HOST", value_name = "ADDRESS")]
    http_host: Option<IpAddr>,
    /// TCP port of sender-viewer at `/ws`, relay at `/relay`, the API at `/api` and `/metrics`; 0 takes a free one, here and below
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
    /// UDP and TCP port of STUN, and UDP port of TURN
    #[arg(long, env = "STUN_PORT", value_name = "PORT", default_value_t = STUN_PORT)]
    stun_port: u16,
    /// Serves no STUN
    #[arg(long, env = "GLARE_NO_STUN")]
    no_stun: bool,
    /// A second address of this host, with another IP and another port, for NAT discovery (RFC 5780); none: 420
    #[arg(long, env = "GLARE_STUN_ALTERNATE", value_name = "IP:PORT")]
    stun_alternate: Option<SocketAddr>,
    /// TURN users; none, and no `turn-secret`: no TURN
    #[arg(long, env = "GLARE_TURN_USERS", value_name = "USER:PASSWORD,…", value_delimiter = ',', value_parser = user, hide_env_values = true)]
    turn_users: Vec<(String, String)>,
    /// Secret of ephemeral TURN credentials, which `/api/config` then hands out
    #[arg(long, env = "GLARE_TURN_SECRET", value_name = "SECRET", hide_env_values = true)]
    turn_secret: Option<String>,
    /// TURN's realm, best a domain
    #[arg(long, env = "GLARE_TURN_REALM", value_name = "REALM", default_value = "glare")]
    turn_realm: String,
    /// Address for relaying; none: STUN's, which must then not be a wildcard
    #[arg(long, env = "GLARE_TURN_RELAY_HOST", value_name = "IP")]
    turn_relay_host: Option<IpAddr>,
    /// What clients are told instead of it, where a 1:1 NAT lies before this host
    #[arg(long, env = "GLARE_TURN_EXTERNAL_IP", value_name = "IP")]
    turn_external_ip: Option<IpAddr>,
    /// Lets TURN clients reach loopback and private addresses: what this host reaches, they reach
    #[arg(long, env = "GLARE_TURN_ALLOW_PRIVATE_PEERS")]
    turn_allow_private_peers: bool,
    /// Accepts TURN channel numbers beyond 0x4fff, as RFC 5766 did
    #[arg(long, env = "GLARE_TURN_ALLOW_RFC5766_CHANNELS")]
    turn_allow_rfc5766_channels: bool,
    /// TCP port of `/metrics` alone, without TLS and token; none: only on `http-port`
    #[arg(long, env = "METRICS_PORT", value_name = "PORT")]
    metrics_port: Option<u16>,
    /// Address for `metrics-port`
    #[arg(long, env = "METRICS_HOST", value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    metrics_host: IpAddr,

    /// PEM file with the certificate chain: TLS on every TCP port but `metrics-port`; none: plain HTTP and WebSocket
    #[arg(long, env = "GLARE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the key of the certificate
    #[arg(long, env = "GLARE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Bearer tokens that open every WebSocket; none, and no `room-secret`: everybody may connect
    #[arg(long, env = "GLARE_TOKENS", value_name = "TOKEN,…", value_delimiter = ',', hide_env_values = true)]
    tokens: Vec<String>,
    /// Secret of at least 16 bytes that signs room tokens
    #[arg(long, env = "GLARE_ROOM_SECRET", value_name = "SECRET", hide_env_values = true)]
    room_secret: Option<String>,
    /// Bearer token for `/api/kick` and for `/metrics` on `http-port`; none: they are open
    #[arg(long, env = "GLARE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// Origins whose pages may connect; none: any; others get 403
    #[arg(long, env = "GLARE_ORIGINS", value_name = "ORIGIN,…", value_delimiter = ',')]
    origins: Vec<String>,
    /// `Access-Control-Allow-Origin` of the API, or `none`
    #[arg(long, env = "GLARE_CORS_ORIGIN", value_name = "ORIGIN", default_value = "*")]
    cors_origin: String,
    /// URLs that `/api/config` hands out; none: this server's STUN and TURN
    #[arg(long, env = "GLARE_ICE_URLS", value_name = "URL,…", value_delimiter = ',')]
    ice_urls: Vec<String>,

    /// Bytes of a text message; beyond them 1009, in mesh an error
    #[arg(long, env = "GLARE_MESSAGE_BYTES_MAX", value_name = "BYTES", value_parser = count, default_value_t = Limits::default().message_bytes_max)]
    message_bytes_max: usize,
    /// Bytes of a frame or reassembled message; beyond them 1009
    #[arg(long, env = "GLARE_FRAME_BYTES_MAX", value_name = "BYTES", value_parser = count, default_value_t = Limits::default().frame_bytes_max)]
    frame_bytes_max: usize,
    /// Messages that may wait for one client; one more: 1008
    #[arg(long, env = "GLARE_QUEUE_MESSAGES_MAX", value_name = "N", value_parser = count, default_value_t = Limits::default().queue_messages_max)]
    queue_messages_max: usize,
    /// Bytes of text that may wait for one client; beyond them 1008
    #[arg(long, env = "GLARE_QUEUE_BYTES_MAX", value_name = "BYTES", value_parser = count, default_value_t = Limits::default().queue_bytes_max)]
    queue_bytes_max: usize,
    /// Open connections; a WebSocket beyond them is closed with 1013
    #[arg(long, env = "GLARE_CONNECTIONS_MAX", value_name = "N", value_parser = count, default_value_t = Limits::default().connections_max)]
    connections_max: usize,
    /// Open connections of one address (IPv6: one /64); a request on one more gets 429
    #[arg(long, env = "GLARE_CONNECTIONS_PER_ADDRESS_MAX", value_name = "N", value_parser = count)]
    connections_per_address_max: Option<usize>,
    /// Rooms of one dialect; who would open one more is closed with 1013
    #[arg(long, env = "GLARE_ROOMS_MAX", value_name = "N", value_parser = count)]
    rooms_max: Option<usize>,
    /// Members of one room; one more is closed with 1013
    #[arg(long, env = "GLARE_ROOM_MEMBERS_MAX", value_name = "N", value_parser = count)]
    room_members_max: Option<usize>,
    /// Messages and pings a second of one connection; more: 1008
    #[arg(long, env = "GLARE_MESSAGE_RATE", value_name = "N")]
    message_rate: Option<NonZeroU32>,
    /// How many of them may come at once; none: as many as a second allows
    #[arg(long, env = "GLARE_MESSAGE_BURST", value_name = "N")]
    message_burst: Option<NonZeroU32>,
    /// HTTP requests a second of one address, upgrades among them; more get 429
    #[arg(long, env = "GLARE_REQUEST_RATE", value_name = "N")]
    request_rate: Option<NonZeroU32>,
    /// How many of them may come at once; none: as many as a second allows
    #[arg(long, env = "GLARE_REQUEST_BURST", value_name = "N")]
    request_burst: Option<NonZeroU32>,

    /// Time for the TLS handshake, for a request head and for its body, and the longest pause before a request; then the connection ends
    #[arg(long, env = "GLARE_REQUEST_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "10s")]
    request_timeout: Duration,
    /// Time to the first join; then 1008
    #[arg(long, env = "GLARE_JOIN_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "30s")]
    join_timeout: Duration,
    /// Time between two pings
    #[arg(long, env = "GLARE_PING_INTERVAL", value_name = "TIME", value_parser = time, default_value = "20s")]
    ping_interval: Duration,
    /// Pings in a row that may stay unanswered; one more: 1008
    #[arg(long, env = "GLARE_MISSED_PONGS_MAX", value_name = "N", default_value_t = Heartbeat::default().missed_max)]
    missed_pongs_max: u32,
    /// Engine.IO: time from the handshake or a pong to the next ping
    #[arg(long, env = "GLARE_SOCKETIO_PING_INTERVAL", value_name = "TIME", value_parser = time, default_value = "25s")]
    socketio_ping_interval: Duration,
    /// Engine.IO: time for a pong; then 1008
    #[arg(long, env = "GLARE_SOCKETIO_PING_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "20s")]
    socketio_ping_timeout: Duration,
    /// Engine.IO: time for the change from polling to a WebSocket
    #[arg(long, env = "GLARE_SOCKETIO_UPGRADE_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "10s")]
    socketio_upgrade_timeout: Duration,
    /// Engine.IO: bytes of a payload, message, or event with its attachments; beyond them 413 or 1009
    #[arg(long, env = "GLARE_SOCKETIO_PAYLOAD_BYTES_MAX", value_name = "BYTES", value_parser = count, default_value_t = SocketIoSettings::default().payload_bytes_max)]
    socketio_payload_bytes_max: usize,
    /// Time a write may make no progress; then the connection is dropped
    #[arg(long, env = "GLARE_WRITE_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "30s")]
    write_timeout: Duration,
    /// Time to write what waits and to close, for one connection and, with a second more, for all at the server's end
    #[arg(long, env = "GLARE_CLOSE_TIMEOUT", value_name = "TIME", value_parser = time, default_value = "5s")]
    close_timeout: Duration,

    /// Form of the log on standard error
    #[arg(long, env = "GLARE_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// What is logged, such as `info,server=debug`
    #[arg(long, env = "RUST_LOG", value_name = "LEVELS", default_value = "info")]
    pub(crate) log: String,
}

/// The lines of the table whose ports have flags of their own.
const MESH: &str = "mesh";
const CALL: &str = "call";
const CALL_SOCKETIO: &str = "call-socketio";
const BROADCAST: &str = "broadcast";
/// Served when it is named.
const ECHO: &str = "echo";

/// Every dialect once, whatever its framings.
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

impl Settings {
    /// What they mean for the server; the seed is left as it is.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let is_served = |entry: &&DialectEntry| self.dialects.iter().any(|dialect| dialect == entry.dialect);
        let names = DIALECTS.iter().filter(is_served).map(|entry| entry.name);
        let listen = Listen::each(names, |entry| match entry.name {
            MESH => SocketAddr::new(self.host, self.port),
            CALL => SocketAddr::new(self.host, self.call_port),
            CALL_SOCKETIO => SocketAddr::new(self.host, self.call_socketio_port),
            BROADCAST => SocketAddr::new(self.host, self.broadcast_port),
            _ => SocketAddr::new(self.http_host.unwrap_or(self.host), self.http_port),
        });
        let tls = match (&self.tls_cert, &self.tls_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Tls::load(certificate, key).map_err(|why| anyhow!(why))?),
            (Some(_), None) => bail!("--tls-cert needs --tls-key: name the PEM file of its key"),
            (None, Some(_)) => bail!("--tls-key needs --tls-cert: name the PEM file of its certificate"),
        };
        Ok(Config {
            listen,
            stun: (!self.no_stun).then_some(SocketAddr::new(self.host, self.stun_port)),
            stun_alternate: self.stun_alternate,
            turn: self.turn()?,
            metrics: self.metrics_port.map(|port| SocketAddr::new(self.metrics_host, port)),
            tls,
            access: Access {
                tokens: self.tokens.clone(),
                room_secret: self.room_secret.clone(),
                origins: self.origins.clone(),
            },
            api: ApiSettings {
                cors_origin: Some(self.cors_origin.clone()).filter(|origin| origin != "none"),
                admin_token: self.admin_token.clone(),
                ice_urls: Some(self.ice_urls.clone()).filter(|urls| !urls.is_empty()),
            },
            socketio: SocketIoSettings {
                ping_interval: self.socketio_ping_interval,
                ping_timeout: self.socketio_ping_timeout,
                payload_bytes_max: self.socketio_payload_bytes_max,
                upgrade_timeout: self.socketio_upgrade_timeout,
            },
            limits: self.limits()?,
            heartbeat: Heartbeat { interval: self.ping_interval, missed_max: self.missed_pongs_max },
            ..Config::default()
        })
    }

    /// TURN, if anybody could use it.
    fn turn(&self) -> anyhow::Result<Option<TurnSettings>> {
        if self.turn_users.is_empty() && self.turn_secret.is_none() {
            return Ok(None);
        }
        let bind = self.turn_relay_host.unwrap_or(self.host);
        let advertised = self.turn_external_ip.unwrap_or(bind);
        if self.no_stun {
            bail!("--no-stun leaves no port for TURN: leave out --turn-users and --turn-secret too");
        }
        Ok(Some(TurnSettings {
            realm: self.turn_realm.clone(),
            users: self.turn_users.clone(),
            secret: self.turn_secret.clone(),
            relay_addresses: vec![RelayAddress { bind, advertised }],
            allow_private_peers: self.turn_allow_private_peers,
            allow_rfc5766_channels: self.turn_allow_rfc5766_channels,
            ..TurnSettings::default()
        }))
    }

    fn limits(&self) -> anyhow::Result<Limits> {
        let rate = |what: &str, per_second: Option<NonZeroU32>, burst: Option<NonZeroU32>| match (per_second, burst) {
            (None, Some(_)) => bail!("--{what}-burst needs --{what}-rate: say how many a second"),
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
            rooms_max: self.rooms_max,
            room_members_max: self.room_members_max,
            join_timeout: self.join_timeout,
            request_timeout: self.request_timeout,
            write_timeout: self.write_timeout,
            close_timeout: self.close_timeout,
        })
    }
}

fn user(text: &str) -> Result<(String, String), &'static str> {
    let (name, password) = text.split_once(':').ok_or("write it as USER:PASSWORD")?;
    Ok((name.to_owned(), password.to_owned()))
}

fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=COUNT_MAX).contains(number));
    number.ok_or_else(|| format!("not a whole number from 1 to {COUNT_MAX}"))
}

fn time(text: &str) -> Result<Duration, String> {
    match scenarios::time(text)? {
        Duration::ZERO => Err("too short: write at least 1ms".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
