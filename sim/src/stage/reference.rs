//! The reference server as a scenario needs it.

use std::net::{Ipv4Addr, SocketAddr};

use scenarios::{Actor, Scenario};
use server::socketio::SocketIoSettings;
use server::{Config, DIALECTS, DialectEntry, Heartbeat, Listen, STUN_PORT};

use super::turn;
use crate::protocol;

/// The server's dialect for an actor; `None` if it does not speak what the scenario names.
pub(crate) fn entry(scenario: &Scenario, actor: &Actor) -> Option<&'static DialectEntry> {
    match &scenario.server.dialect {
        Some(name) => DIALECTS.iter().find(|entry| entry.name == *name),
        None => Some(protocol::entry(actor.plays.dialect(), actor.over)),
    }
}

/// The server's configuration on a machine with this address: it serves STUN, and every dialect that at least one actor
/// speaks.
pub(crate) fn config(scenario: &Scenario, address: Ipv4Addr, seed: u64) -> Config {
    let at = |port| SocketAddr::new(address.into(), port);
    let heartbeat = scenario.server.heartbeat;
    let is_spoken = |of: &&DialectEntry| {
        scenario.actors.iter().any(|actor| entry(scenario, actor).is_some_and(|entry| entry.name == of.name))
    };
    let names = DIALECTS.iter().filter(is_spoken).map(|entry| entry.name);
    Config {
        listen: Listen::each(names, |entry| at(entry.port)),
        socketio: SocketIoSettings { ping_interval: heartbeat, ping_timeout: heartbeat, ..SocketIoSettings::default() },
        stun: Some(at(STUN_PORT)),
        turn: scenario.server.turn.map(turn::settings),
        heartbeat: Heartbeat { interval: heartbeat, ..Heartbeat::default() },
        seed,
        ..Config::default()
    }
}
