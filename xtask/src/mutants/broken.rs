//! A reference server as a separate process. `build.rs` copies this file as `main.rs` into the server with the mutants.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use server::net::Tokio;
use server::socketio::SocketIoSettings;
use server::{ApiSettings, Config, DialectEntry, Heartbeat, Limits, Listen, Server, TurnSettings};

/// A short heartbeat, so that cases need not wait for a minute: silent clients are disconnected after 1.8 s.
const HEARTBEAT: Heartbeat = Heartbeat { interval: Duration::from_millis(600), missed_max: 2 };
/// The same for Socket.IO.
const PING_INTERVAL: Duration = Duration::from_millis(600);
const PING_TIMEOUT: Duration = Duration::from_millis(2400);
/// How long a client may be connected before it joins.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Members per room on the server with a limit.
pub(crate) const MEMBERS_MAX: usize = 4;
/// Allocations per user on the server with a low limit.
const ALLOCATIONS_MAX: usize = 8;
/// The admin token of the server that has one.
const ADMIN_TOKEN: &str = "admin";
/// The second argument for a server that runs in a simulation.
pub(crate) const SIMULATED: &str = "simulated";
/// The heartbeat of the server in generated stories.
pub(crate) const STORY_HEARTBEAT: Duration = Duration::from_secs(3);
/// TURN users and their passwords.
pub(crate) const USERS: [(&str, &str); 2] = [("u", "p"), ("v", "q")];

/// A dialect or service of the server that the suite has cases for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Surface {
    Mesh,
    SenderViewer,
    Relay,
    Call,
    CallSocketIo,
    Broadcast,
    Stun,
    Turn,
    /// Lifetimes of TURN: cases that wait for ten minutes and run only if this surface is named.
    TurnLifetimes,
}

impl Surface {
    /// All surfaces whose cases take seconds.
    pub(crate) const ALL: [Self; 8] = [
        Self::Mesh,
        Self::SenderViewer,
        Self::Relay,
        Self::Call,
        Self::CallSocketIo,
        Self::Broadcast,
        Self::Stun,
        Self::Turn,
    ];

    /// Every surface.
    pub(crate) fn every() -> impl Iterator<Item = Self> + Clone {
        Self::ALL.into_iter().chain([Self::TurnLifetimes])
    }

    /// The name of the dialect or service.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::SenderViewer => "sender-viewer",
            Self::Relay => "relay",
            Self::Call => "call",
            Self::CallSocketIo => "call-socketio",
            Self::Broadcast => "broadcast",
            Self::Stun => "stun",
            Self::Turn => "turn",
            Self::TurnLifetimes => "turn-lifetimes",
        }
    }

    /// The surface with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::every().find(|surface| surface.name() == name)
    }
}

/// A server that serves only what a surface needs.
pub(crate) struct Setup {
    config: Config,
    /// The cases that run on this server. `None`: all cases that need no other server of the surface.
    pub(crate) only: Option<&'static str>,
    /// The token that the suite sends.
    pub(crate) bearer: Option<&'static str>,
}

/// The servers of a surface, which are tested one after the other.
pub(crate) fn setups(surface: Surface) -> Vec<Setup> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let name = DialectEntry::named(surface.name()).map(|entry| entry.name);
    let socketio =
        SocketIoSettings { ping_interval: PING_INTERVAL, ping_timeout: PING_TIMEOUT, ..SocketIoSettings::default() };
    let config = Config {
        listen: Listen::each(name, |_| free),
        stun: None,
        heartbeat: HEARTBEAT,
        limits: Limits { join_timeout: JOIN_TIMEOUT, ..Limits::default() },
        socketio,
        seed: 1,
        ..Config::default()
    };
    let all = |config| Setup { config, only: None, bearer: None };
    let only = |config, only| Setup { config, only: Some(only), bearer: None };
    match surface {
        Surface::Mesh => {
            let limits = Limits { room_members_max: Some(MEMBERS_MAX), ..config.limits.clone() };
            let limited = Config { limits, ..config.clone() };
            vec![all(config), only(limited, "room/capacity-race")]
        }
        Surface::SenderViewer => {
            let turn = TurnSettings { secret: Some("secret".to_owned()), ..TurnSettings::default() };
            let api = ApiSettings { admin_token: Some(ADMIN_TOKEN.to_owned()), ..ApiSettings::default() };
            let guarded = Config { api, ..config.clone() };
            let guarded = Setup { config: guarded, only: Some("http/kick-auth"), bearer: Some(ADMIN_TOKEN) };
            vec![all(Config { stun: Some(free), turn: Some(turn), ..config }), guarded]
        }
        Surface::Stun => {
            let config = Config { stun: Some(free), ..config };
            let [v6, alternate] = [(Ipv6Addr::LOCALHOST, 0).into(), (Ipv4Addr::new(127, 0, 0, 2), 0).into()];
            let four = Config { stun_alternate: Some(alternate), ..config.clone() };
            let over_v6 = Config { stun: Some(v6), ..config.clone() };
            let mut setups = vec![all(config), only(four, "*/*")];
            // Not every machine has IPv6.
            if std::net::UdpSocket::bind(v6).is_ok() {
                setups.push(only(over_v6, "stun/xor-v6"));
            }
            setups
        }
        Surface::Turn | Surface::TurnLifetimes => {
            let users = USERS.map(|(user, password)| (user.to_owned(), password.to_owned())).to_vec();
            let turn = TurnSettings { users, allow_private_peers: true, ..TurnSettings::default() };
            let few = TurnSettings { allocations_per_user_max: ALLOCATIONS_MAX, ..turn.clone() };
            let public = TurnSettings { allow_private_peers: false, ..turn.clone() };
            let hashes = TurnSettings { sha256: true, userhash: true, ..turn.clone() };
            let with = |turn| Config { stun: Some(free), turn: Some(turn), ..config.clone() };
            if surface == Surface::TurnLifetimes {
                return vec![all(with(turn))];
            }
            vec![
                all(with(turn)),
                only(with(few), "turn/486"),
                only(with(public), "turn/peer-loopback"),
                only(with(hashes.clone()), "turn/sha256"),
                only(with(hashes), "turn/userhash"),
            ]
        }
        Surface::Relay | Surface::Call | Surface::CallSocketIo | Surface::Broadcast => vec![all(config)],
    }
}

/// Opens a server's sockets. Returns the server and its address for the suite.
async fn bind(surface: Surface, setup: Setup) -> io::Result<(Server<Tokio>, String)> {
    let server = Server::bind(Tokio, setup.config).await?;
    let stun = || server.address("stun").map(|address| address.to_string());
    let address = server.url(surface.name()).or_else(stun).expect("the setup serves it");
    Ok((server, address))
}

/// Called as `SURFACE NTH`: runs this server of the surface, prints its address, and exits when its standard input
/// closes. Called as `SURFACE simulated MILLISECONDS`: runs the server that a simulation has on a machine of its own, with
/// this heartbeat.
#[cfg_attr(not(test), allow(dead_code))] // the copy calls it
pub(crate) fn main() {
    // Standard error contains nothing but panics; `stage.rs` reads it.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let [surface, nth] = [1, 2].map(|nth| std::env::args().nth(nth).expect("SURFACE NTH"));
    let surface = Surface::named(&surface).expect("a surface");
    if nth == SIMULATED {
        let heartbeat = std::env::args().nth(3).and_then(|ms| ms.parse().ok()).expect("MILLISECONDS");
        return simulated(surface, Duration::from_millis(heartbeat));
    }
    let setup = setups(surface).swap_remove(nth.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (server, address) = bind(surface, setup).await.expect("the sockets are free");
        // The read blocks until the parent process exits. No simulation runs in this process.
        #[allow(clippy::disallowed_methods)]
        std::thread::spawn(|| {
            _ = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        println!("{address}");
        server.run().await;
    });
}

/// Runs a server as a simulation runs the reference server: on the dialect's usual port, with the heartbeat of the scenario.
fn simulated(surface: Surface, heartbeat: Duration) {
    let at = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let name = DialectEntry::named(surface.name()).map(|entry| entry.name);
    let config = Config {
        listen: Listen::each(name, |entry| at(entry.port)),
        stun: None,
        heartbeat: Heartbeat { interval: heartbeat, ..Heartbeat::default() },
        socketio: SocketIoSettings { ping_interval: heartbeat, ping_timeout: heartbeat, ..SocketIoSettings::default() },
        seed: 1,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { Server::bind(Tokio, config).await.expect("the port is free").run().await });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_setup_can_be_served_and_only_the_first_runs_all_cases() {
        for surface in Surface::every() {
            for (nth, setup) in setups(surface).into_iter().enumerate() {
                assert_eq!(setup.only.is_none(), nth == 0, "{}", surface.name());
                bind(surface, setup).await.unwrap_or_else(|error| panic!("{} {nth}: {error}", surface.name()));
            }
        }
        let _: fn() = main;
    }
}
