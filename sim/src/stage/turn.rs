//! STUN and TURN servers of a scenario: their settings, and what an actor knows about them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use scenarios::{
    Action, Actor, Addresses, Machine, MachineAction, Scenario, Step, TURN_TLS_PORT, TurnCredential, TurnServer,
};
use server::{Config, RelayAddress, STUN_PORT, TurnSettings, ephemeral_password};

use crate::entropy::EPOCH;
use crate::host::Host;
use crate::peer::gather::IceServer;
use crate::peer::tls;
use crate::peer::turn::Credential;

/// The secret from which the passwords of all actors follow.
pub(super) const SECRET: &str = "known to the servers of the scenario";
/// How long a credential is valid that does not expire: longer than any scenario.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The secret of a machine's TURN server at a time.
pub(crate) fn secret(scenario: &Scenario, machine: Machine, now: Duration) -> String {
    let renews = |step: &&Step| step.action == Action::Machine(machine, MachineAction::NewSecret);
    match scenario.steps.iter().take_while(|step| step.at <= now).filter(renews).count() {
        0 => SECRET.to_owned(),
        number => format!("{SECRET}, number {number}"),
    }
}

/// The settings of a TURN server with this secret.
pub(crate) fn settings(turn: TurnServer, secret: String) -> TurnSettings {
    let default = TurnSettings::default();
    TurnSettings {
        secret: Some(secret),
        // Otherwise a credential that has expired would go on to serve an allocation.
        strict_expiry: true,
        credential_lifetime: turn.credential_lifetime.unwrap_or(FOR_EVER),
        allocation_lifetime: turn.allocation_lifetime,
        allocation_lifetime_max: turn.allocation_lifetime.max(default.allocation_lifetime_max),
        ..default
    }
}

/// A server with STUN, and TURN if given, but without signaling, at one address of a machine.
pub(crate) fn ice_only(host: &Host, at: IpAddr, turn: Option<TurnServer>, secret: &str, seed: u64) -> Config {
    let stun = SocketAddr::new(at, STUN_PORT);
    let is_over_tls = turn.is_some_and(|turn| turn.tls);
    let stun_tls = is_over_tls.then(|| SocketAddr::new(at, TURN_TLS_PORT));
    let tls = is_over_tls.then(tls::of_server);
    let turn = turn.map(|turn| TurnSettings {
        relay_addresses: relay_addresses(host.addresses()),
        ..settings(turn, secret.to_owned())
    });
    Config { listen: Vec::new(), stun: Some(stun), stun_tls, tls, turn, seed, ..Config::default() }
}

/// The addresses from which a machine relays: of both families, if it has both, for clients of either.
pub(crate) fn relay_addresses(addresses: Addresses) -> Vec<RelayAddress> {
    addresses.all().map(RelayAddress::from).collect()
}

/// The servers that an actor with these addresses uses from `now` on, with its credentials.
pub(crate) fn servers_of(scenario: &Scenario, actor: &Actor, own: Addresses, now: Duration) -> Vec<IceServer> {
    let servers = |machine: &Machine| {
        let turn = scenario.turn_server(*machine).filter(|_| actor.program.is_none());
        let credential = turn.map(|turn| credential(actor, turn, &secret(scenario, *machine, now), now));
        let (tcp, tls) = turn.map(|turn| (turn.tcp, turn.tls)).unwrap_or_default();
        let servers = move |ip| {
            let turn = credential.clone();
            let server = IceServer { address: SocketAddr::new(ip, STUN_PORT), turn: turn.clone(), tcp, tls: false };
            let over_tls = IceServer { address: SocketAddr::new(ip, TURN_TLS_PORT), turn, tcp: false, tls: true };
            [Some(server), tls.then_some(over_tls)].into_iter().flatten()
        };
        scenario.addresses(*machine).all().filter(|ip| own.to_reach(*ip).is_some()).flat_map(servers)
    };
    actor.ice_servers.iter().flat_map(servers).collect()
}

/// The credential with which an actor starts: `expiry:name`, as `/api/config` of the reference server gives it.
fn credential(actor: &Actor, turn: TurnServer, secret: &str, now: Duration) -> Credential {
    let expiry = EPOCH + now + turn.credential_lifetime.unwrap_or(FOR_EVER);
    let username = format!("{}:{}", expiry.as_secs(), actor.name);
    let password = match actor.turn_credential {
        TurnCredential::Valid => ephemeral_password(secret, &username),
        TurnCredential::Wrong => "wrong".to_owned(),
    };
    Credential { username, password }
}
