//! Plays a scenario: sets up the world, gives every actor its client and the server its program, and carries out the steps.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use scenarios::{Action, ActorIndex, Link, Machine as Which, Scenario};
use server::net::Network;
use server::socketio::SocketIoSettings;
use server::{DIALECTS, DialectEntry, Heartbeat, Listen, STUN_PORT, Server};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::event::{Census, Fault, MachineEvent, NodeId, NodeKind, What};
use crate::host::Host;
use crate::orders::{Order, order, programme};
use crate::peer::client::{self, Command};
use crate::protocol;
use crate::world::{Machine, NetworkConfig, Realm, World};

/// How often the end of something is looked for.
const POLL: Duration = Duration::from_millis(250);
/// How long clients may take to leave, tasks to end and packets to arrive.
const TEAR_DOWN_PATIENCE: Duration = Duration::from_secs(30);
/// Virtual time beyond a scenario's end at which a run counts as hung.
pub(crate) const LIMIT_AFTER_END: Duration = Duration::from_secs(600);

/// How many times machines get power.
pub(crate) fn boots(scenario: &Scenario) -> usize {
    let again = scenario.steps.iter().filter(|step| matches!(step.action, Action::Boot(_) | Action::Join(_))).count();
    scenario.actors.len() + 1 + again
}

/// Plays a scenario to its end and takes everything down again.
pub(crate) async fn play(world: World, scenario: Arc<Scenario>, seed: u64) {
    let mut stage = Stage::set(world, scenario, seed);
    stage.start_server();
    for (at, action) in programme(&stage.scenario) {
        stage.world.until(at).await;
        stage.act(&action).await;
    }
    stage.world.until(stage.scenario.duration).await;
    stage.tear_down().await;
}

struct Stage {
    world: World,
    scenario: Arc<Scenario>,
    seed: u64,
    everything: NodeId,
    networks: Vec<Realm>,
    server: ServerSeat,
    actors: Vec<Seat>,
}

/// The server's machine and what runs on it.
struct ServerSeat {
    machine: Machine,
    host: Option<Host>,
    handle: Option<server::Handle>,
    starts: u64,
}

/// An actor's machine and what runs on it.
struct Seat {
    machine: Machine,
    host: Option<Host>,
    commands: Option<mpsc::UnboundedSender<Command>>,
}

impl Stage {
    fn set(world: World, scenario: Arc<Scenario>, seed: u64) -> Self {
        let everything = world.recorder().node("world", NodeKind::World);
        let mut networks: Vec<Realm> = Vec::new();
        for (index, network) in scenario.networks.iter().enumerate() {
            networks.push(world.add_network(NetworkConfig {
                name: &network.name,
                kind: NodeKind::Nat(index),
                behind: network.behind.map(|outer| networks[outer]),
                external: &network.external,
                nat: network.nat.clone(),
                link: network.link,
            }));
        }
        let setup = &scenario.server;
        let machine = world.add_machine("server", NodeKind::Machine(Which::Server), None, setup.address, setup.link);
        let server = ServerSeat { machine, host: None, handle: None, starts: 0 };
        let seat = |(index, actor): (usize, &scenarios::Actor)| {
            let (kind, network) =
                (NodeKind::Machine(Which::Actor(index)), actor.network.map(|network| networks[network]));
            let machine = world.add_machine(&actor.name, kind, network, actor.address, actor.link);
            Seat { machine, host: None, commands: None }
        };
        let actors = scenario.actors.iter().enumerate().map(seat).collect();
        Self { world: world.clone(), scenario: scenario.clone(), seed, everything, networks, server, actors }
    }

    async fn act(&mut self, action: &Action) {
        if let Some(Order { actor, command, what }) = order(&self.scenario, action) {
            self.fault(self.actors[actor].machine.node, Fault::Told { what: what.into() });
            return self.command(actor, command);
        }
        match action {
            Action::Join(actor) => self.start_client(*actor),
            Action::Drop(actor) => {
                self.fault(self.actors[*actor].machine.node, Fault::SignalingDropped);
                self.command(*actor, Command::Drop);
            }
            Action::PowerLoss(machine) => self.lose_power(*machine),
            Action::Boot(machine) => {
                self.fault(self.node(*machine), Fault::Boot);
                match machine {
                    Which::Server => self.start_server(),
                    Which::Actor(actor) => self.start_client(*actor),
                }
            }
            Action::Shutdown => {
                self.fault(self.server.machine.node, Fault::Shutdown);
                if let Some(handle) = self.server.handle.take() {
                    handle.shutdown();
                }
            }
            Action::NatReboot(network, reboot) => {
                let realm = self.networks[*network];
                self.fault(self.world.router_node(realm), Fault::NatReboot);
                self.world.reboot_nat(realm, *reboot);
            }
            Action::Partition { from, to, one_way } => {
                let (from, to) = (self.nodes(from), self.nodes(to));
                self.fault(self.everything, Fault::Partition { from: from.clone(), to: to.clone(), one_way: *one_way });
                if !one_way {
                    self.world.partition(to.clone(), from.clone());
                }
                self.world.partition(from, to);
            }
            Action::Heal => {
                self.fault(self.everything, Fault::Heal);
                self.world.heal();
            }
            Action::Link(machine, link) => self.set_link(*machine, *link),
            Action::NetworkLink(network, link) => {
                let realm = self.networks[*network];
                self.fault(self.world.router_node(realm), Fault::Link);
                self.world.set_network_link(realm, *link);
            }
            Action::Leave(_)
            | Action::Say(..)
            | Action::Hangup(..)
            | Action::IceRestart(..)
            | Action::Offer(..)
            | Action::Call(..)
            | Action::Accept(_)
            | Action::Reject(_)
            | Action::Media(..) => unreachable!("an order to an actor"),
        }
    }

    // ---- machines

    /// Boots the server's machine with its program; nothing happens if it runs already.
    fn start_server(&mut self) {
        let ServerSeat { machine, host, handle, starts } = &mut self.server;
        if handle.is_some() {
            return;
        }
        if let Some(before) = host.take() {
            // It was shut down: what it may still have to drain ends here.
            before.switch_off();
        }
        let host = host.insert(self.world.boot(*machine)).clone();
        let at = |port| SocketAddr::new(host.address().into(), port);
        let (actors, heartbeat) = (&self.scenario.actors, self.scenario.server.heartbeat);
        let is_spoken = |entry: &&DialectEntry| {
            let spoken = protocol::spoken(entry);
            actors.iter().any(|actor| spoken == Some((actor.plays.dialect(), actor.over)))
        };
        let names = DIALECTS.iter().filter(is_spoken).map(|entry| entry.name);
        let config = server::Config {
            listen: Listen::each(names, |entry| at(entry.port)),
            socketio: SocketIoSettings {
                ping_interval: heartbeat,
                ping_timeout: heartbeat,
                ..SocketIoSettings::default()
            },
            stun: Some(at(STUN_PORT)),
            heartbeat: Heartbeat { interval: heartbeat, ..Heartbeat::default() },
            // Each life draws other ids: a client must not mistake a new peer for one it knew before.
            seed: self.seed.wrapping_add(*starts),
            ..server::Config::default()
        };
        *starts += 1;
        // Binding never waits, so the server is there before the first client dials.
        let binding = pin!(Server::bind(host.clone(), config));
        let Poll::Ready(server) = binding.poll(&mut Context::from_waker(Waker::noop())) else {
            unreachable!("a simulated bind is immediate")
        };
        let server = server.expect("the server's machine has these ports to itself");
        *handle = Some(server.handle());
        let (recorder, node) = (self.world.recorder().clone(), machine.node);
        host.spawn(async move {
            server.run().await;
            recorder.write(node, What::Machine(MachineEvent::Ended));
        });
    }

    /// Runs an actor's client, on a fresh machine if there is no power; nothing happens if it runs already.
    fn start_client(&mut self, actor: ActorIndex) {
        let who = &self.scenario.actors[actor];
        let seat = &mut self.actors[actor];
        if seat.commands.as_ref().is_some_and(|commands| !commands.is_closed()) {
            return;
        }
        let host = seat.host.get_or_insert_with(|| self.world.boot(seat.machine)).clone();
        let server = self.scenario.server.address;
        let config = client::Config {
            name: who.name.as_str().into(),
            plays: who.plays,
            over: who.over,
            room: who.room.as_str().into(),
            server: SocketAddr::new(server.into(), protocol::entry(who.plays.dialect(), who.over).port),
            endpoint: None,
            stun: Some(SocketAddr::new(server.into(), STUN_PORT)),
            heartbeat: self.scenario.server.heartbeat,
            webrtc: who.webrtc,
            keys: self.world.key_log(),
            seed: self.seed.rotate_left(32) ^ actor as u64,
        };
        let (commands, orders) = mpsc::unbounded_channel();
        seat.commands = Some(commands);
        let (recorder, node, net) = (self.world.recorder().clone(), seat.machine.node, host.clone());
        host.spawn(async move {
            client::run(net, config, recorder.clone(), node, orders)
                .await
                .expect("a simulated machine has ports to spare");
            recorder.write(node, What::Machine(MachineEvent::Ended));
        });
    }

    fn lose_power(&mut self, machine: Which) {
        self.fault(self.node(machine), Fault::PowerLoss);
        let host = match machine {
            Which::Server => {
                self.server.handle = None;
                self.server.host.take()
            }
            Which::Actor(actor) => {
                self.actors[actor].commands = None;
                self.actors[actor].host.take()
            }
        };
        if let Some(host) = host {
            host.lose_power();
        }
    }

    fn set_link(&mut self, machine: Which, link: Link) {
        self.fault(self.node(machine), Fault::Link);
        let machine = match machine {
            Which::Server => self.server.machine,
            Which::Actor(actor) => self.actors[actor].machine,
        };
        self.world.set_machine_link(machine, link);
    }

    // ---- clients

    fn command(&self, actor: ActorIndex, command: Command) {
        if let Some(commands) = &self.actors[actor].commands {
            // Nobody hears it where the client has ended by itself.
            let _ = commands.send(command);
        }
    }

    // ---- the end

    /// Lets everybody leave and the server shut down, and counts what is left.
    async fn tear_down(&mut self) {
        self.world.recorder().write(self.everything, What::TearDown);
        self.world.heal();
        for actor in 0..self.actors.len() {
            self.command(actor, Command::Leave);
            self.actors[actor].commands = None;
        }
        let handle = self.server.handle.take();
        let census = || handle.as_ref().map(server::Handle::census).unwrap_or_default();
        // A connection whose client is gone without a word is noticed after some missed pongs.
        let patience = TEAR_DOWN_PATIENCE + self.scenario.server.heartbeat * 4;
        wait_for(patience, || census().connections == 0).await;
        let left = census();
        if let Some(handle) = &handle {
            handle.shutdown();
        }
        wait_for(TEAR_DOWN_PATIENCE, || self.world.tasks() == 0).await;
        let tasks = self.world.tasks();
        let sockets = self.world.sockets();
        wait_for(TEAR_DOWN_PATIENCE, || self.world.packets_in_flight() == 0).await;
        let census = Census {
            tasks,
            sockets,
            packets_in_flight: self.world.packets_in_flight(),
            connections: left.connections,
            rooms: left.rooms,
            queued_messages: left.queued_messages,
        };
        self.world.recorder().write(self.everything, What::Census(census));
    }

    // ---- helpers

    fn fault(&self, node: NodeId, fault: Fault) {
        self.world.recorder().write(node, What::Fault(fault));
    }

    fn node(&self, machine: Which) -> NodeId {
        match machine {
            Which::Server => self.server.machine.node,
            Which::Actor(actor) => self.actors[actor].machine.node,
        }
    }

    fn nodes(&self, machines: &[Which]) -> Vec<NodeId> {
        machines.iter().map(|machine| self.node(*machine)).collect()
    }
}

async fn wait_for(patience: Duration, done: impl Fn() -> bool) {
    let mut waited = Duration::ZERO;
    while !done() && waited < patience {
        sleep(POLL).await;
        waited += POLL;
    }
}
