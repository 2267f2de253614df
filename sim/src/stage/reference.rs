//! The reference server as a scenario needs it.

use std::net::SocketAddr;

use scenarios::{Actor, Addresses, Scenario};
use server::socketio::SocketIoSettings;
use server::{Config, DIALECTS, DialectEntry, Heartbeat, Listen, STUN_PORT, TurnSettings};

use super::turn;
use crate::protocol;

/// The dialect at whose address the HTTP endpoints are.
const SENDER_VIEWER: &str = "sender-viewer";

/// The server's dialect for an actor; `None` if it does not speak what the scenario names.
pub(crate) fn entry(scenario: &Scenario, actor: &Actor) -> Option<&'static DialectEntry> {
    match &scenario.server.dialect {
        Some(name) => DIALECTS.iter().find(|entry| entry.name == *name),
        None => Some(protocol::entry(actor.plays.dialect(), actor.over)),
    }
}

/// The server's configuration on a machine with these addresses and the secret of its TURN server: it serves STUN at the first, and at all of them every
/// dialect that at least one actor speaks.
pub(crate) fn config(scenario: &Scenario, addresses: Addresses, secret: &str, seed: u64) -> Config {
    let [first, others @ ..] = &addresses.all().collect::<Vec<_>>()[..] else {
        unreachable!("a machine has an address")
    };
    let at = |port| SocketAddr::new(*first, port);
    let heartbeat = scenario.server.heartbeat;
    let is_spoken = |of: &&DialectEntry| {
        scenario.actors.iter().any(|actor| entry(scenario, actor).is_some_and(|entry| entry.name == of.name))
    };
    // `/api/config` is beside this dialect.
    let is_asked =
        |of: &DialectEntry| of.name == SENDER_VIEWER && scenario.actors.iter().any(|actor| actor.ice_from_config);
    let names = DIALECTS.iter().filter(|of| is_spoken(of) || is_asked(of)).map(|entry| entry.name);
    let mut listen = Listen::each(names, |entry| at(entry.port));
    for listen in &mut listen {
        listen.also_at = others.iter().map(|other| SocketAddr::new(*other, listen.at.port())).collect();
    }
    let turn = scenario.server.turn.map(|turn| turn::settings(turn, secret.to_owned()));
    Config {
        listen,
        socketio: SocketIoSettings { ping_interval: heartbeat, ping_timeout: heartbeat, ..SocketIoSettings::default() },
        stun: Some(at(STUN_PORT)),
        turn: turn.map(|turn| TurnSettings { relay_addresses: turn::relay_addresses(addresses), ..turn }),
        heartbeat: Heartbeat { interval: heartbeat, ..Heartbeat::default() },
        seed,
        ..Config::default()
    }
}
