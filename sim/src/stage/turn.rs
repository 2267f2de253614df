//! STUN and TURN servers of a scenario: their settings, and what an actor knows about them.

use std::net::SocketAddr;
use std::time::Duration;

use scenarios::{Actor, Machine, Scenario, TurnCredential, TurnServer};
use server::{Config, STUN_PORT, TurnSettings, ephemeral_password};

use crate::entropy::EPOCH;
use crate::host::Host;
use crate::peer::gather::IceServer;
use crate::peer::turn::Credential;

/// The secret from which the passwords of all actors follow.
const SECRET: &str = "known to the servers of the scenario";
/// How long a credential is valid that does not expire: longer than any scenario.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The settings of a TURN server.
pub(crate) fn settings(turn: TurnServer) -> TurnSettings {
    let default = TurnSettings::default();
    TurnSettings {
        secret: Some(SECRET.to_owned()),
        // Otherwise a credential that has expired would go on to serve an allocation.
        strict_expiry: true,
        allocation_lifetime: turn.allocation_lifetime,
        allocation_lifetime_max: turn.allocation_lifetime.max(default.allocation_lifetime_max),
        ..default
    }
}

/// A server with STUN, and TURN if given, but without signaling.
pub(crate) fn ice_only(host: &Host, turn: Option<TurnServer>, seed: u64) -> Config {
    let stun = SocketAddr::new(host.address().into(), STUN_PORT);
    Config { listen: Vec::new(), stun: Some(stun), turn: turn.map(settings), seed, ..Config::default() }
}

/// The servers that an actor uses when it starts at `now`, with its credentials.
pub(crate) fn servers_of(scenario: &Scenario, actor: &Actor, now: Duration) -> Vec<IceServer> {
    let server = |machine: &Machine| {
        let turn = scenario.turn_server(*machine).filter(|_| actor.program.is_none());
        let address = SocketAddr::new(scenario.address(*machine).into(), STUN_PORT);
        let tcp = turn.is_some_and(|turn| turn.tcp);
        IceServer { address, turn: turn.map(|turn| credential(actor, turn, now)), tcp }
    };
    actor.ice_servers.iter().map(server).collect()
}

/// The credential with which an actor starts: `expiry:name`, as `/api/config` of the reference server gives it.
fn credential(actor: &Actor, turn: TurnServer, now: Duration) -> Credential {
    let expiry = EPOCH + now + turn.credential_lifetime.unwrap_or(FOR_EVER);
    let username = format!("{}:{}", expiry.as_secs(), actor.name);
    let password = match actor.turn_credential {
        TurnCredential::Valid => ephemeral_password(SECRET, &username),
        TurnCredential::Wrong => "wrong".to_owned(),
    };
    Credential { username, password }
}
