//! A scenario on the network stack of this machine's kernel, in real time: each machine and each router is a network
//! namespace, and nftables translates where the scenario has a NAT.
//!
//! This is what the simulated network is compared with. The peers, the reference server and all addresses are those of
//! the simulation. **Links have no latency and lose nothing**, whatever the scenario says. The kernel translates, so only
//! NATs that Linux has can be built, and only joins and commands to actors can be steps.
//!
//! It needs Linux, the capability CAP_SYS_ADMIN, `ip` of iproute2 and `nft` of nftables; [`missing`] says what is not
//! there.

mod ground;
mod namespace;
mod rules;
mod topology;

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io};

use scenarios::{Action, Machine, NetworkIndex, Scenario, Step};

use crate::dialects::Dialects;
use crate::event::Record;
use crate::live::network::Place;
use crate::run::{Cause, Crash};
use crate::stage::{self, Ground, StageError};
use ground::Namespaces;
pub use namespace::Namespace;
use rules::Rules;
pub use rules::Unmakeable;
use topology::{MACHINE, OUTSIDE, Topology};

/// What this machine lacks to run scenarios in namespaces; `None` if they can run.
pub fn missing() -> Option<String> {
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(error) => return Some(format!("network namespaces cannot be made ({error}); root can")),
    };
    let starts = |program: &str| {
        let mut version = namespace::administrative(program);
        version.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    };
    let absent = [("ip", "iproute2"), ("nft", "nftables")].into_iter().find(|(program, _)| !starts(program));
    if let Some((program, package)) = absent {
        return Some(format!("`{program}` is not installed (Debian package {package})"));
    }
    // A kernel may lack the modules, or forbid some of this inside a container.
    let tried = namespace
        .ip(&["link add name lan type bridge".to_owned(), "link add name a type veth peer name b".to_owned()])
        .and_then(|()| namespace.nft(PROBE))
        .and_then(|()| namespace.set("net/netfilter/nf_conntrack_udp_timeout", 30));
    tried.err().map(|error| {
        let first = error.to_string();
        format!(
            "this kernel has no bridges, or no translation with nftables: {}",
            first.lines().next().unwrap_or_default()
        )
    })
}

/// What a router's interface has while its address changes: one for documentation (RFC 5737) that no scenario assigns.
const PLACEHOLDER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);

/// Rules with everything that those of NATs use.
const PROBE: &str = "table ip probe {
    map owner { typeof udp sport : ip saddr; flags dynamic,timeout; timeout 1s; }
    chain remember { type filter hook prerouting priority mangle; update @owner { udp sport : ip saddr }; }
    chain source { type nat hook postrouting priority srcnat; masquerade fully-random; }
    chain input { type filter hook input priority filter; ct state established accept; reject; }
}";

/// Why a scenario cannot run in namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplayable {
    /// A NAT cannot be made.
    Nat(Unmakeable),
    /// The step on this line of the scenario's file, at this time, is neither a join nor a command to an actor.
    Step(usize, Duration),
    /// A server or an actor is a program.
    Program,
    /// An actor is a browser.
    Browser,
    /// STUN and TURN servers have machines of their own.
    IceServers,
    /// An actor has IPv6.
    Ipv6,
}

impl fmt::Display for Unplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nat(unmakeable) => unmakeable.fmt(f),
            Self::Step(line, at) => write!(
                f,
                "line {line}, the step at {} s: in network namespaces, only joins and commands to actors are possible",
                at.as_secs_f64()
            ),
            Self::Program => f.write_str("`run`: programs take part only in simulations"),
            Self::Ipv6 => f.write_str("`ipv6`: the machines made here have IPv4 only"),
            Self::Browser => f.write_str("`runs`: a browser has no network namespace of its own here"),
            Self::IceServers => {
                f.write_str("`[[ice-server]]`: STUN and TURN are on the signaling server's machine here")
            }
        }
    }
}

impl std::error::Error for Unplayable {}

/// The machines of a scenario, each in a namespace. They exist until this value is dropped.
pub struct Machines {
    topology: Topology,
    scenario: Arc<Scenario>,
}

impl Machines {
    /// The network as a machine sees it.
    pub fn place(&self, machine: Machine) -> Place {
        match machine {
            Machine::Server => Place::within(self.topology.server.clone(), self.scenario.server.address),
            Machine::IceServer(_) => unreachable!("a script has no such machines"),
            Machine::Actor(actor) => {
                Place::within(self.topology.actors[actor.0].clone(), self.scenario.actors[actor].address)
            }
        }
    }

    /// Makes a router on the internet forget all connections, as if it had rebooted. If an address is given, it has that one
    /// afterwards, in place of its own.
    ///
    /// # Errors
    /// As `ip` reports them.
    pub fn reboot(&self, network: NetworkIndex, address: Option<Ipv4Addr>) -> io::Result<()> {
        let old = self.scenario.networks[network].external[0];
        // Masquerading forgets the connections of an address that is removed. With no address at all, the interface would lose its
        // routes.
        let mut commands = vec![format!("addr add {PLACEHOLDER}/32 dev {OUTSIDE}")];
        commands.push(format!("addr del {old}/32 dev {OUTSIDE}"));
        commands.push(format!("addr add {}/32 dev {OUTSIDE}", address.unwrap_or(old)));
        commands.push(format!("addr del {PLACEHOLDER}/32 dev {OUTSIDE}"));
        self.topology.routers[network.0].ip(&commands)?;
        let Some(address) = address else { return Ok(()) };
        let actors = self.scenario.actors.iter().zip(&self.topology.actors);
        let outside = actors.filter(|(actor, _)| actor.network.is_none()).map(|(_, machine)| machine);
        for machine in outside.chain([&self.topology.server]) {
            machine.ip(&[format!("route add {address}/32 dev {MACHINE}")])?;
        }
        Ok(())
    }

    /// The number of TCP connections that a router knows.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn tcp_connections(&self, network: NetworkIndex) -> io::Result<usize> {
        let read = || fs::read_to_string("/proc/thread-self/net/nf_conntrack");
        let listed = self.topology.routers[network.0].enter(read)??;
        Ok(listed.lines().filter(|line| line.split_whitespace().nth(2) == Some("tcp")).count())
    }
}

/// A scenario that can run in namespaces.
#[derive(Clone, Debug)]
pub struct Script {
    scenario: Arc<Scenario>,
    rules: Vec<Rules>,
}

impl Script {
    /// Checks a scenario.
    ///
    /// # Errors
    /// The reason why it cannot run.
    pub fn of(scenario: &Arc<Scenario>) -> Result<Self, Unplayable> {
        let rules = scenario.networks.iter().map(Rules::of).collect::<Result<_, _>>().map_err(Unplayable::Nat)?;
        let possible = |step: &&Step| matches!(step.action, Action::Join(_) | Action::Actor(..));
        if let Some(step) = scenario.steps.iter().find(|step| !possible(step)) {
            return Err(Unplayable::Step(step.line, step.at));
        }
        if scenario.server.program.is_some() || scenario.actors.iter().any(|actor| actor.program.is_some()) {
            return Err(Unplayable::Program);
        }
        if scenario.actors.iter().any(|actor| actor.runs.is_some()) {
            return Err(Unplayable::Browser);
        }
        if !scenario.ice_servers.is_empty() {
            return Err(Unplayable::IceServers);
        }
        if scenario.has_ipv6() {
            return Err(Unplayable::Ipv6);
        }
        Ok(Self { scenario: scenario.clone(), rules })
    }

    /// Makes its machines and NATs, for other programs than the peers.
    ///
    /// # Errors
    /// The namespaces cannot be made.
    pub fn machines(&self) -> io::Result<Machines> {
        Ok(Machines { topology: Topology::new(&self.scenario, &self.rules)?, scenario: self.scenario.clone() })
    }

    /// Runs it to its end, in real time, and returns what happened. Packets are not recorded.
    ///
    /// # Errors
    /// The namespaces cannot be made, or a client failed.
    pub fn record(&self, seed: u64) -> Result<Record, Crash> {
        let crash = |error: &StageError| Crash { seed, message: error.to_string(), cause: error.cause() };
        let dialects = Dialects::of(&self.scenario).map_err(|error| Crash {
            seed,
            message: error.to_string(),
            cause: Cause::Server,
        })?;
        let runtime = super::runtime().map_err(|error| crash(&error.into()))?;
        let played = runtime.block_on(async {
            let ground = Namespaces::new(self, seed)?;
            let recorder = ground.recorder().clone();
            stage::play(ground, self.scenario.clone(), dialects, seed).await?;
            Ok(recorder.take())
        });
        played.map_err(|error: StageError| crash(&error))
    }
}
