//! Writes a scenario as the text of a file. Parsing the text gives the same scenario, except for line numbers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use crate::draft::INTERNET;
use crate::expand::{LAN, LINK};
use crate::ice::{self, IceServer, IceTransportPolicy, TurnCredential, TurnServer};
use crate::ipv6;
use crate::link::{Link, differences};
use crate::packet::PacketFate;
use crate::profile::differing_keys;
use crate::role::{Framing, Role};
use crate::scenario::{
    Action, Actor, ActorIndex, Command, ExpectedConnection, Machine, MachineAction, Move, Network, NetworkAction,
    NetworkIndex, Scenario, Stack, Step, Timing, WorldAction,
};
use crate::shipped::{profile, profile_of};
use crate::value::{Subnet, show, word};

/// Writes a scenario as a file. If the scenario comes from a file, a [`Builder`](crate::Builder) or a generator,
/// [`parse`](crate::parse) returns an equal scenario, except for line numbers.
///
/// A network whose profile is not shipped is written with a shipped profile, and with overrides that give the same
/// behavior.
pub fn write(scenario: &Scenario) -> String {
    let mut file = Writer { scenario, text: String::new() };
    file.head();
    for server in &scenario.ice_servers {
        file.ice_server(server);
    }
    for network in &scenario.networks {
        file.network(network);
    }
    file.population();
    for actor in &scenario.actors {
        file.actor(actor);
    }
    for step in &scenario.steps {
        file.step(step);
    }
    for packet in &scenario.packets {
        file.packet(packet);
    }
    file.expect();
    file.text
}

struct Writer<'a> {
    scenario: &'a Scenario,
    text: String,
}

impl<'a> Writer<'a> {
    /// Begins an element of an array of tables.
    fn element(&mut self, name: &str) {
        write!(self.text, "\n[[{name}]]\n").expect("a string takes all");
    }

    /// Writes a key with a value that is already TOML.
    fn raw(&mut self, key: &str, value: &str) {
        writeln!(self.text, "{key} = {value}").expect("a string takes all");
    }

    fn key(&mut self, key: &str, value: &str) {
        self.raw(key, &quoted(value));
    }

    fn head(&mut self) {
        let scenario = self.scenario;
        self.key("name", &scenario.name);
        if !scenario.about.is_empty() {
            self.key("about", &scenario.about);
        }
        if !scenario.spec.is_empty() {
            self.raw("spec", &list(&scenario.spec));
        }
        self.key("duration", &show(scenario.duration));
        if scenario.idle_steps {
            self.raw("idle-steps", "true");
        }
        if scenario.timing != Timing::default() {
            self.key("timing", word(scenario.timing));
        }
        self.text.push_str("\n[server]\n");
        self.key("address", &scenario.server.address.to_string());
        if scenario.server.ipv6 != scenario.has_ipv6() {
            self.raw("ipv6", &scenario.server.ipv6.to_string());
        }
        self.key("heartbeat", &show(scenario.server.heartbeat));
        if let Some(dialect) = &scenario.server.dialect {
            self.key("dialect", dialect);
        }
        if let Some(turn) = scenario.server.turn {
            self.turn(turn);
        }
        self.link(scenario.server.link, LINK);
        if let Some(program) = &scenario.server.program {
            self.program(&program.run, &program.env, program.directory.as_deref());
            if let Some(port) = program.port {
                self.raw("port", &port.to_string());
            }
        }
    }

    /// Writes the key of a TURN server.
    fn turn(&mut self, turn: TurnServer) {
        let default = TurnServer::default();
        let allocation = (turn.allocation_lifetime != default.allocation_lifetime)
            .then(|| ("allocation-lifetime", quoted(&show(turn.allocation_lifetime))));
        let credential = turn.credential_lifetime.map(|lifetime| ("credential-lifetime", quoted(&show(lifetime))));
        let tcp = turn.tcp.then(|| ("tcp", "true".to_owned()));
        let tls = turn.tls.then(|| ("tls", "true".to_owned()));
        let keys: Vec<_> = allocation.into_iter().chain(credential).chain(tcp).chain(tls).collect();
        self.raw("turn", &if keys.is_empty() { "true".to_owned() } else { table(&keys) });
    }

    fn ice_server(&mut self, server: &IceServer) {
        self.element("ice-server");
        self.key("name", &server.name);
        self.key("address", &server.address.to_string());
        if server.ipv6 != self.scenario.has_ipv6() {
            self.raw("ipv6", &server.ipv6.to_string());
        }
        match server.turn {
            Some(turn) => self.turn(turn),
            None => self.raw("turn", "false"),
        }
        self.link(server.link, LINK);
        if let Some(program) = &server.program {
            self.program(&program.run, &program.env, program.directory.as_deref());
        }
    }

    fn program(&mut self, run: &[String], env: &BTreeMap<String, String>, directory: Option<&Path>) {
        self.raw("run", &list(run));
        if !env.is_empty() {
            let pairs = env.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)));
            self.raw("env", &format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", ")));
        }
        if let Some(directory) = directory {
            self.key("directory", &directory.to_string_lossy());
        }
    }

    /// Writes the keys of a link that differ from `base`, if there are any.
    fn link(&mut self, link: Link, base: Link) {
        if link != base {
            self.raw("link", &differences(link, base));
        }
    }

    fn network(&mut self, network: &Network) {
        self.element("network");
        self.key("name", &network.name);
        let known = profile(&network.profile).filter(|profile| profile.behavior.is_some() == network.nat.is_some());
        let name = match (&known, &network.nat) {
            (Some(known), _) => known.name.as_str(),
            (None, Some(nat)) => profile_of(nat),
            (None, None) => "open",
        };
        self.key("nat", name);
        let base = profile(name).and_then(|profile| profile.behavior);
        if let (Some(nat), Some(base)) = (&network.nat, &base)
            && nat != base
        {
            self.raw("override", &table(&differing_keys(nat, base)));
        }
        if let Some(outer) = network.behind {
            self.key("behind", &self.scenario.networks[outer].name);
        }
        self.key("subnet", &self.subnet(network).to_string());
        self.raw("external", &list(&network.external));
        if let Some(ipv6) = &network.ipv6 {
            self.raw("ipv6", &ipv6::written(ipv6, network.nat.as_ref()));
        }
        self.link(network.link, LINK);
    }

    /// The smallest subnet whose first host is the network's gateway, and which contains all other hosts in it.
    fn subnet(&self, network: &Network) -> Subnet {
        let Scenario { networks, actors, .. } = self.scenario;
        let inside = |index: &Option<NetworkIndex>| index.is_some_and(|index| networks[index].name == network.name);
        let hosts = actors.iter().filter(|actor| inside(&actor.network)).map(|actor| actor.address);
        let nats = networks.iter().filter(|inner| inside(&inner.behind)).flat_map(|inner| inner.external.clone());
        let moved = self.scenario.steps.iter().filter_map(|step| match &step.action {
            Action::Machine(_, MachineAction::Move(to)) if inside(&to.network) => Some(to.address),
            _ => None,
        });
        let all: Vec<Ipv4Addr> = hosts.chain(moved).chain(nats).chain([network.gateway]).collect();
        let base = Ipv4Addr::from_bits(network.gateway.to_bits().saturating_sub(1));
        let fits = |subnet: &Subnet| {
            let is_host = |number: u32| number > 0 && number < subnet.size() - 1;
            all.iter().all(|address| subnet.number(*address).is_some_and(is_host))
        };
        (8..=30).rev().map(|prefix| Subnet::new(base, prefix)).find(fits).unwrap_or(Subnet::new(base, 24))
    }

    fn population(&mut self) {
        let Some(population) = &self.scenario.population else { return };
        self.text.push_str("\n[population]\n");
        self.key("source", &population.source);
        let shares = population.shares.iter().map(|(profile, ppm)| (profile.as_str(), quoted(&format!("{ppm}ppm"))));
        self.raw("shares", &table(&shares.collect::<Vec<_>>()));
    }

    fn actor(&mut self, actor: &Actor) {
        self.element("actor");
        self.key("name", &actor.name);
        if let Some(network) = actor.network {
            self.key("network", &self.scenario.networks[network].name);
        }
        self.key("address", &actor.address.to_string());
        if !actor.ipv4 {
            self.raw("ipv4", "false");
        }
        let of_network = actor.network.is_some_and(|network| self.scenario.networks[network].ipv6.is_some());
        if actor.ipv6 != (of_network && actor.program.is_none()) {
            self.raw("ipv6", &actor.ipv6.to_string());
        }
        if actor.plays != Role::default() {
            self.key("plays", actor.plays.name());
        }
        if actor.over != actor.plays.framing() {
            let over = match actor.over {
                Framing::WebSocket => "websocket",
                Framing::SocketIo => "socket.io",
            };
            self.key("over", over);
        }
        if !matches!(actor.plays, Role::User | Role::Broadcast) {
            self.key("room", &actor.room);
        }
        self.key("joins", &actor.joins.map_or_else(|| "never".to_owned(), show));
        if !actor.webrtc {
            self.raw("webrtc", "false");
        }
        if actor.ice_from_config {
            self.key("ice-servers", ice::FROM_CONFIG);
        } else if actor.ice_servers != ice::all(self.scenario.ice_servers.len()) {
            let names: Vec<&str> = actor.ice_servers.iter().map(|machine| self.machine(*machine)).collect();
            self.raw("ice-servers", &list(&names));
        }
        if actor.ice_transport_policy != IceTransportPolicy::default() {
            self.key("ice-transport-policy", word(actor.ice_transport_policy));
        }
        if actor.turn_credential != TurnCredential::default() {
            self.key("turn-credential", word(actor.turn_credential));
        }
        if let Some(media) = &actor.media {
            self.raw("media", &media.written());
        }
        if let Some(program) = &actor.program {
            self.program(&program.run, &program.env, program.directory.as_deref());
        }
        if let Some(runs) = actor.runs {
            self.key("runs", word(runs));
        }
        if actor.stack != Stack::default() {
            self.key("stack", word(actor.stack));
        }
        self.link(actor.link, if actor.network.is_some() { LAN } else { LINK });
    }

    fn step(&mut self, step: &Step) {
        self.element("step");
        self.key("at", &show(step.at));
        match &step.action {
            Action::Join(actor) => self.verb("join", *actor),
            Action::Actor(actor, command) => self.command(*actor, command),
            Action::Machine(machine, action) => {
                let verb = match action {
                    MachineAction::PowerLoss => "power-loss",
                    MachineAction::Boot => "boot",
                    MachineAction::Link(_) => "link",
                    MachineAction::Stall(_) => "stall",
                    MachineAction::ClockJump { .. } => "clock-jump",
                    MachineAction::NewSecret => "new-secret",
                    MachineAction::Move(_) => "move",
                };
                self.key("do", verb);
                let key = if verb == "move" { "actor" } else { "machine" };
                self.key(key, self.machine(*machine));
                match action {
                    MachineAction::Stall(time) => self.key("time", &show(*time)),
                    MachineAction::Move(Move { network, address, link }) => {
                        self.key("network", network.map_or(INTERNET, |network| &self.scenario.networks[network].name));
                        self.key("address", &address.to_string());
                        self.link(*link, if network.is_some() { LAN } else { LINK });
                    }
                    MachineAction::ClockJump { ms } => {
                        let sign = if *ms < 0 { "-" } else { "" };
                        self.key("by", &format!("{sign}{}", show(Duration::from_millis(ms.unsigned_abs()))));
                    }
                    _ => {}
                }
                if let MachineAction::Link(link) = action {
                    self.raw("link", &differences(*link, self.scenario.link(*machine)));
                }
            }
            Action::Network(network, action) => {
                let network = &self.scenario.networks[*network];
                match action {
                    NetworkAction::Reboot(reboot) => {
                        self.key("do", "nat-reboot");
                        self.key("network", &network.name);
                        self.raw("resets-tcp", &reboot.resets_tcp.to_string());
                        if let Some(address) = reboot.new_address {
                            self.key("new-address", &address.to_string());
                        }
                    }
                    NetworkAction::Link(link) => {
                        self.key("do", "link");
                        self.key("network", &network.name);
                        self.raw("link", &differences(*link, network.link));
                    }
                }
            }
            Action::World(WorldAction::Shutdown) => self.key("do", "shutdown"),
            Action::World(WorldAction::Heal) => self.key("do", "heal"),
            Action::World(WorldAction::Partition { from, to, one_way }) => {
                self.key("do", "partition");
                for (key, side) in [("from", from), ("to", to)] {
                    let names: Vec<&str> = side.iter().map(|machine| self.machine(*machine)).collect();
                    self.raw(key, &list(&names));
                }
                self.raw("one-way", &one_way.to_string());
            }
        }
    }

    fn packet(&mut self, PacketFate { packet, fate, .. }: &PacketFate) {
        self.element("packet");
        self.key("from", self.machine(packet.from));
        self.key("to", self.machine(packet.to));
        self.key("kind", packet.kind.name());
        self.raw("number", &packet.number.to_string());
        for (key, value) in fate.keys() {
            self.key(key, &value);
        }
    }

    fn command(&mut self, actor: ActorIndex, command: &Command) {
        let (verb, with) = match command {
            Command::Leave => ("leave", None),
            Command::Drop => ("drop", None),
            Command::Say(_) => ("say", None),
            Command::Hangup(with) => ("hangup", Some(with)),
            Command::IceRestart(with) => ("ice-restart", Some(with)),
            Command::Offer(with) => ("offer", Some(with)),
            Command::Call(with) => ("call", Some(with)),
            Command::Accept => ("accept", None),
            Command::Reject => ("reject", None),
            Command::Media(..) => ("media", None),
            Command::AddTrack(_) => ("add-track", None),
            Command::Suspend => ("suspend", None),
            Command::Resume => ("resume", None),
        };
        self.verb(verb, actor);
        if let Some(with) = with {
            self.key("with", &self.scenario.actors[*with].name);
        }
        match command {
            Command::Say(text) => self.key("text", text),
            Command::Media(kind, enabled) => {
                self.key("kind", kind.name());
                self.raw("enabled", &enabled.to_string());
            }
            Command::AddTrack(kind) => self.key("kind", kind.name()),
            _ => {}
        }
    }

    fn verb(&mut self, verb: &str, actor: ActorIndex) {
        self.key("do", verb);
        self.key("actor", &self.scenario.actors[actor].name);
    }

    fn machine(&self, machine: Machine) -> &'a str {
        self.scenario.machine_name(machine)
    }

    fn expect(&mut self) {
        let scenario = self.scenario;
        let expect = &scenario.expect;
        let is_empty = expect.connected.is_empty() && expect.unconnected.is_empty() && expect.relayed.is_none();
        if is_empty && expect.probes.is_empty() {
            return;
        }
        self.text.push_str("\n[expect]\n");
        let name = |actor: ActorIndex| &scenario.actors[actor].name;
        if !expect.connected.is_empty() {
            let entry = |entry: &ExpectedConnection| {
                let (a, b) = entry.pair;
                let pair = list(&[name(a), name(b)]);
                let (from, until) = (quoted(&show(entry.from)), quoted(&show(entry.until)));
                table(&[("pair", pair), ("from", from), ("until", until)])
            };
            let entries: Vec<String> = expect.connected.iter().map(entry).collect();
            self.raw("connected", &format!("[{}]", entries.join(", ")));
        }
        let pairs = |pairs: &[(ActorIndex, ActorIndex)]| {
            let pairs: Vec<String> = pairs.iter().map(|(a, b)| list(&[name(*a), name(*b)])).collect();
            format!("[{}]", pairs.join(", "))
        };
        self.raw("unconnected", &pairs(&expect.unconnected));
        if let Some(relayed) = &expect.relayed {
            self.raw("relayed", &pairs(relayed));
        }
        self.raw("probes", &list(&scenario.expect.probes));
    }
}

/// A TOML table on one line. The values are already TOML.
pub(crate) fn table(keys: &[(&str, String)]) -> String {
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    if keys.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", keys.join(", ")) }
}

/// A TOML list of strings.
fn list(values: &[impl ToString]) -> String {
    let values: Vec<String> = values.iter().map(|value| quoted(&value.to_string())).collect();
    format!("[{}]", values.join(", "))
}

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
