//! Builds scenarios in Rust, for tests and for generators.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::expand::{HEARTBEAT, LAN, LINK, ROOM};
use crate::ice::{IceServer, IceTransportPolicy, TurnCredential, TurnServer, all};
use crate::nat::NatBehavior;
use crate::role::Role;
use crate::scenario::{Action, Actor, Expect, Network, NetworkIndex, Scenario, ServerSetup, Stack, Step, Timing};
use crate::{address, shipped};

/// Names of the first actors.
const NAMES: [&str; 12] = ["ana", "ben", "cam", "dee", "eli", "fay", "gus", "hal", "ida", "jon", "kim", "lou"];

/// Builds a scenario part by part. All actors are in one room, and each joins 50 ms after the one before.
///
/// ```
/// use std::time::Duration;
///
/// use scenarios::{Action, ActorIndex, Builder, Command};
///
/// let nat = scenarios::profile("home-linux").and_then(|profile| profile.behavior).expect("a shipped profile");
/// let scenario = Builder::new("two", Duration::from_secs(20))
///     .home(nat)
///     .peer(0)
///     .peer(None)
///     .at(Duration::from_secs(10), Action::Actor(ActorIndex(0), Command::Say("hello".to_owned())))
///     .build();
/// assert_eq!(scenario.actors[1].name, "ben");
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    /// What has been built so far, for changes that have no method.
    pub scenario: Scenario,
}

impl Builder {
    /// A scenario with a server and no actors.
    pub fn new(name: &str, duration: Duration) -> Self {
        let server = ServerSetup {
            ipv6: false,
            address: address::SERVER,
            link: LINK,
            heartbeat: HEARTBEAT,
            turn: None,
            dialect: None,
            program: None,
        };
        Self {
            scenario: Scenario {
                name: name.to_owned(),
                about: String::new(),
                spec: Vec::new(),
                duration,
                idle_steps: true,
                timing: Timing::default(),
                server,
                ice_servers: Vec::new(),
                networks: Vec::new(),
                population: None,
                actors: Vec::new(),
                steps: Vec::new(),
                packets: Vec::new(),
                expect: Expect::default(),
            },
        }
    }

    /// Adds a home network behind a NAT on the internet. The hosts of the first network are in 192.168.1.0/24, those of
    /// the second in 192.168.2.0/24.
    #[must_use]
    pub fn home(self, nat: NatBehavior) -> Self {
        self.network(None, nat)
    }

    /// Adds a network behind a NAT. The outside of the NAT is in network `behind`, counted from 0, or on the internet.
    /// Networks on the internet must be added before those behind others, or the written file lists them in another
    /// order.
    #[must_use]
    pub fn network(mut self, behind: Option<usize>, nat: NatBehavior) -> Self {
        let number = self.scenario.networks.len() as u8 + 1;
        self.scenario.networks.push(Network {
            name: format!("net-{number}"),
            behind: behind.map(NetworkIndex),
            external: vec![match behind {
                None => Ipv4Addr::new(198, 51, 100, number),
                Some(outer) => Ipv4Addr::new(192, 168, outer as u8 + 1, 100 + number),
            }],
            gateway: Ipv4Addr::new(192, 168, number, 1),
            profile: shipped::profile_of(&nat).to_owned(),
            nat: Some(nat),
            ipv6: None,
            link: LINK,
        });
        self
    }

    /// Lets the server's machine relay too: it has a TURN server.
    #[must_use]
    pub fn turn(mut self, turn: TurnServer) -> Self {
        self.scenario.server.turn = Some(turn);
        self
    }

    /// Adds a machine with a STUN server, and a TURN server if given. All actors that are added later use it. The first
    /// has the address 203.0.113.2.
    #[must_use]
    pub fn ice_server(mut self, turn: Option<TurnServer>) -> Self {
        let number = self.scenario.ice_servers.len() as u8 + 1;
        let (name, address) = (format!("ice-{number}"), Ipv4Addr::new(203, 0, 113, 1 + number));
        self.scenario.ice_servers.push(IceServer { name, address, ipv6: false, link: LINK, turn, program: None });
        self
    }

    /// Adds an actor in network `network`, counted from 0, or on the internet.
    #[must_use]
    pub fn peer(mut self, network: impl Into<Option<usize>>) -> Self {
        let index = self.scenario.actors.len();
        let network = network.into();
        let last = 10 + index as u8;
        self.scenario.actors.push(Actor {
            name: NAMES.get(index).map_or_else(|| format!("actor-{}", index + 1), |name| (*name).to_owned()),
            network: network.map(NetworkIndex),
            address: match network {
                None => Ipv4Addr::new(203, 0, 113, last),
                Some(network) => Ipv4Addr::new(192, 168, network as u8 + 1, last),
            },
            ipv4: true,
            ipv6: false,
            link: if network.is_some() { LAN } else { LINK },
            plays: Role::Mesh,
            over: Role::Mesh.framing(),
            room: ROOM.to_owned(),
            joins: Some(Duration::from_millis(50 * index as u64)),
            webrtc: true,
            ice_servers: all(self.scenario.ice_servers.len()),
            ice_from_config: false,
            ice_transport_policy: IceTransportPolicy::All,
            turn_credential: TurnCredential::Valid,
            media: None,
            program: None,
            runs: None,
            stack: Stack::Rtc,
            line: 0,
        });
        self
    }

    /// Changes the actor that was added last.
    ///
    /// # Panics
    /// No actor has been added.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Actor)) -> Self {
        change(self.scenario.actors.last_mut().expect("an actor was added"));
        self
    }

    /// Adds a step. Steps may be added in any order. Steps at the same time happen in the order in which they were
    /// added.
    #[must_use]
    pub fn at(mut self, time: Duration, action: Action) -> Self {
        self.scenario.steps.push(Step { at: time, action, line: 0 });
        self
    }

    /// Returns the scenario, with its steps in order of time.
    #[must_use]
    pub fn build(mut self) -> Scenario {
        self.scenario.steps.sort_by_key(|step| step.at);
        self.scenario
    }
}
