//! A scenario in the simulated world: its machines, its networks, and the reference server.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use scenarios::{
    ActorIndex, IceServerIndex, Link, Machine as Which, Move, NatReboot, NetworkIndex, PacketFate, PacketName, Scenario,
};
use server::Server;
use server::net::Network;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::client_program::OwnProgram;
use super::{Ground, InProcess, Program, ProgramConfig, Servers, StageError, outsider, reference, turn};
use crate::event::{Census, MachineEvent, NodeId, NodeKind, Recorder, What};
use crate::fabric::fates::Name;
use crate::foreign::{Foreign, Order};
use crate::host::Host;
use crate::peer::client::Families;
use crate::world::{Machine, NetworkConfig, Realm, World};

/// Interval at which the end of something is polled.
const POLL: Duration = Duration::from_millis(250);
/// How long clients may take to leave, tasks to end and packets to arrive.
const TEAR_DOWN_PATIENCE: Duration = Duration::from_secs(30);
/// What tells the random numbers of a server's address of IPv6 from those of its address of IPv4.
const SEED_IPV6: u64 = 1 << 40;
/// Virtual time beyond a scenario's end at which a run counts as hung.
pub(crate) const LIMIT_AFTER_END: Duration = Duration::from_secs(600);

/// The world of a scenario.
pub(crate) struct Simulated {
    world: World,
    scenario: Arc<Scenario>,
    seed: u64,
    everything: NodeId,
    networks: Vec<Realm>,
    server: ServerMachine,
    ice_servers: Vec<IceMachine>,
    actors: Vec<ActorMachine>,
}

struct ServerMachine {
    machine: Machine,
    host: Option<Host>,
    handle: Option<server::Handle>,
    /// STUN and TURN at its address of IPv6.
    ipv6: Option<server::Handle>,
    /// The program that runs in place of the reference server, unless it was ordered to shut down.
    foreign: Option<Foreign>,
    /// The port on which that program listens.
    port: Option<u16>,
    starts: u64,
}

/// A machine with a STUN server, and perhaps a TURN server.
struct IceMachine {
    machine: Machine,
    host: Option<Host>,
    /// One server for each family.
    handles: Vec<server::Handle>,
    /// The program that runs in place of the reference server.
    foreign: Option<Foreign>,
    starts: u64,
}

struct ActorMachine {
    machine: Machine,
    /// The machine during its current life; `None` while it has no power.
    host: Option<Host>,
    /// Where the program of others that it runs takes orders.
    orders: Option<mpsc::UnboundedSender<Order>>,
}

impl ServerMachine {
    /// Whether its program runs, and was not ordered to shut down.
    fn runs(&self) -> bool {
        match &self.foreign {
            Some(foreign) => foreign.status.seen().ended.is_none(),
            // While a foreign program shuts down, or after it did, the handle is only that of STUN.
            None => self.handle.is_some() && self.port.is_none(),
        }
    }
}

/// Gives an order to a program of others. Returns false if it has ended, or if there is none.
fn give(program: Option<&Foreign>, order: Order) -> bool {
    let running = program.filter(|foreign| foreign.status.seen().ended.is_none());
    if let Some(foreign) = running {
        foreign.order(order);
    }
    running.is_some()
}

impl Simulated {
    /// Adds the networks and machines of a scenario to an empty world. No machine has power yet.
    pub(crate) fn new(world: World, scenario: Arc<Scenario>, seed: u64) -> Self {
        let everything = world.recorder().node("world", NodeKind::World);
        let mut networks: Vec<Realm> = Vec::new();
        for (index, network) in scenario.networks.iter().enumerate() {
            let behind = network.behind.map(|outer| networks[outer]);
            let realm = world.add_network(NetworkConfig::of(network, index, behind));
            if let Some(ipv6) = &network.ipv6 {
                world.set_firewall(realm, ipv6.firewall.clone());
            }
            networks.push(realm);
        }
        let setup = &scenario.server;
        let addresses = |machine| scenario.addresses(machine);
        let kind = NodeKind::Machine(Which::Server);
        let machine = world.add_machine("server", kind, None, addresses(Which::Server), setup.link);
        let server =
            ServerMachine { machine, host: None, handle: None, ipv6: None, foreign: None, port: None, starts: 0 };
        let add = |(index, server): (usize, &scenarios::IceServer)| {
            let which = Which::IceServer(IceServerIndex(index));
            let kind = NodeKind::Machine(which);
            let machine = world.add_machine(&server.name, kind, None, addresses(which), server.link);
            IceMachine { machine, host: None, handles: Vec::new(), foreign: None, starts: 0 }
        };
        let ice_servers = scenario.ice_servers.iter().enumerate().map(add).collect();
        let add = |(index, actor): (usize, &scenarios::Actor)| {
            let which = Which::Actor(ActorIndex(index));
            let network = actor.network.map(|network| networks[network]);
            let machine =
                world.add_machine(&actor.name, NodeKind::Machine(which), network, addresses(which), actor.link);
            ActorMachine { machine, host: None, orders: None }
        };
        let actors = scenario.actors.iter().enumerate().map(add).collect();
        let simulated = Self {
            world: world.clone(),
            scenario: scenario.clone(),
            seed,
            everything,
            networks,
            server,
            ice_servers,
            actors,
        };
        for fate in &scenario.packets {
            world.decide(simulated.name_of(fate.packet), fate.fate);
        }
        simulated
    }

    /// The name of a packet, with nodes in place of machines.
    fn name_of(&self, PacketName { from, to, kind, number }: PacketName) -> Name {
        Name { from: self.machine(from), to: self.machine(to), kind, number }
    }

    /// The secret of a machine's TURN server at this time.
    fn secret(&self, machine: Which) -> String {
        turn::secret(&self.scenario, machine, self.world.recorder().now())
    }

    /// Gives an order to the program of others on a machine. Returns false if none runs.
    fn order(&self, machine: Which, order: Order) -> bool {
        match machine {
            Which::Server => give(self.server.foreign.as_ref(), order),
            Which::IceServer(index) => give(self.ice_servers[index].foreign.as_ref(), order),
            Which::Actor(actor) => {
                let ActorMachine { host, orders, .. } = &self.actors[actor];
                // A program that has ended takes no orders.
                host.is_some() && orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
            }
        }
    }
}

impl Ground for Simulated {
    fn recorder(&self) -> &Recorder {
        self.world.recorder()
    }

    fn everything(&self) -> NodeId {
        self.everything
    }

    fn machine(&self, machine: Which) -> NodeId {
        match machine {
            Which::Server => self.server.machine.node,
            Which::IceServer(index) => self.ice_servers[index].machine.node,
            Which::Actor(actor) => self.actors[actor].machine.node,
        }
    }

    fn router(&self, network: NetworkIndex) -> NodeId {
        self.world.router_node(self.networks[network])
    }

    async fn until(&self, at: Duration) {
        self.world.until(at).await;
    }

    async fn start_server(&mut self) -> Result<bool, StageError> {
        if self.server.runs() {
            return Ok(false);
        }
        if let Some(before) = self.server.host.take() {
            // The server was shut down before. What it may still have to send ends here.
            before.switch_off();
        }
        let host = self.world.boot(self.server.machine);
        let program = self.scenario.server.program.as_ref();
        // Each life of the server draws different ids, so that a client cannot mistake a new peer for one that it knew
        // before.
        let seed = self.seed.wrapping_add(self.server.starts);
        let secret = self.secret(Which::Server);
        let config = match program {
            None => reference::config(&self.scenario, host.addresses(), &secret, seed),
            Some(_) => turn::ice_only(&host, host.address(), self.scenario.server.turn, &secret, seed),
        };
        self.server.starts += 1;
        let server = bind(&host, config);
        self.server.handle = Some(server.handle());
        self.server.ipv6 = host.addresses().ipv6.map(|ip| {
            let config = turn::ice_only(&host, ip.into(), self.scenario.server.turn, &secret, seed ^ SEED_IPV6);
            serve(&host, config)
        });
        let (recorder, node, is_server) = (self.world.recorder().clone(), self.server.machine.node, program.is_none());
        host.spawn(async move {
            server.run().await;
            if is_server {
                recorder.write(node, What::Machine(MachineEvent::Ended));
            }
        });
        if let Some(program) = program {
            let foreign = outsider::start(&host, program, seed)?;
            if self.server.port.is_none() {
                self.server.port = Some(outsider::listening(&foreign, program).await?);
            }
            self.server.foreign = Some(foreign);
        }
        self.server.host = Some(host);
        Ok(true)
    }

    fn start_ice_server(&mut self, index: IceServerIndex) -> Result<bool, StageError> {
        let secret = self.secret(Which::IceServer(index));
        let IceMachine { machine, host, handles, foreign, starts } = &mut self.ice_servers[index];
        if host.is_some() {
            return Ok(false);
        }
        let booted = self.world.boot(*machine);
        // Each server, and each life of it, draws other numbers.
        let seed = self.seed.wrapping_add(*starts) ^ (1 + index.0 as u64) << 48;
        *starts += 1;
        let setup = &self.scenario.ice_servers[index];
        if let Some(program) = &setup.program {
            *foreign = Some(outsider::start_ice(&booted, setup, program, seed)?);
        } else {
            let turn = setup.turn;
            let config = |ip: IpAddr| {
                turn::ice_only(&booted, ip, turn, &secret, if ip.is_ipv6() { seed ^ SEED_IPV6 } else { seed })
            };
            *handles = booted.addresses().all().map(|ip| serve(&booted, config(ip))).collect();
        }
        *host = Some(booted);
        Ok(true)
    }

    async fn ice_server_ready(&mut self, index: IceServerIndex) -> Result<(), StageError> {
        match &self.ice_servers[index].foreign {
            Some(foreign) => outsider::receiving(foreign, &self.scenario.ice_servers[index].name).await,
            None => Ok(()),
        }
    }

    fn shut_server_down(&mut self) -> Result<bool, StageError> {
        if self.scenario.server.program.is_some() {
            let runs = self.server.runs();
            if let Some(foreign) = self.server.foreign.take() {
                outsider::shut_down(&foreign);
            }
            return Ok(runs);
        }
        let handle = self.server.handle.take();
        for handle in handle.iter().chain(&self.server.ipv6.take()) {
            handle.shutdown();
        }
        Ok(handle.is_some())
    }

    fn stall(&mut self, machine: Which, time: Duration) -> Result<bool, StageError> {
        Ok(self.order(machine, Order::Stall(time)))
    }

    fn renew_secret(&mut self, machine: Which) -> Result<bool, StageError> {
        let (secret, seed) = (self.secret(machine), self.seed);
        let reload = |handle: &server::Handle, config| {
            handle.reload(config).expect("these settings were right when it was started");
        };
        match machine {
            Which::Server => {
                let ServerMachine { host: Some(host), handle: Some(handle), ipv6, .. } = &self.server else {
                    return Ok(false);
                };
                let turn = self.scenario.server.turn;
                reload(
                    handle,
                    match self.scenario.server.program {
                        None => reference::config(&self.scenario, host.addresses(), &secret, seed),
                        Some(_) => turn::ice_only(host, host.address(), turn, &secret, seed),
                    },
                );
                for (handle, ip) in ipv6.iter().zip(host.addresses().ipv6) {
                    reload(handle, turn::ice_only(host, ip.into(), turn, &secret, seed));
                }
                Ok(true)
            }
            Which::IceServer(index) => {
                let IceMachine { host: Some(host), handles, .. } = &self.ice_servers[index] else { return Ok(false) };
                let turn = self.scenario.ice_servers[index].turn;
                for (handle, ip) in handles.iter().zip(host.addresses().all()) {
                    reload(handle, turn::ice_only(host, ip, turn, &secret, seed));
                }
                Ok(!handles.is_empty())
            }
            Which::Actor(_) => Ok(false),
        }
    }

    fn jump_clock(&mut self, machine: Which, ms: i64) -> Result<bool, StageError> {
        Ok(self.order(machine, Order::Jump(ms.saturating_mul(1_000_000))))
    }

    fn move_machine(&mut self, actor: ActorIndex, to: &Move) -> Result<Families, StageError> {
        let network = to.network.map(|network| self.networks[network]);
        let addresses = self.scenario.addresses_after(actor, to);
        self.world.move_machine(self.actors[actor].machine, network, addresses, to.link);
        Ok(Families { ipv4: addresses.ipv4.is_some(), ipv6: addresses.ipv6.is_some() })
    }

    fn servers(&self, index: ActorIndex) -> Servers {
        let actor = &self.scenario.actors[index];
        let own = self.world.addresses(self.actors[index].machine);
        let setup = &self.scenario.server;
        let addresses = self.scenario.addresses(Which::Server);
        // IPv6 comes first, if both have it (RFC 6724 §2.1).
        let mut shared: Vec<IpAddr> = addresses.all().filter(|ip| own.to_reach(*ip).is_some()).collect();
        // A host that has moved away from all of its families still dials, in vain.
        let address = shared.pop().unwrap_or(setup.address.into());
        let at = |port| SocketAddr::new(address, port);
        Servers {
            signaling: at(self
                .server
                .port
                .or(reference::entry(&self.scenario, actor).map(|entry| entry.port))
                .unwrap_or_default()),
            endpoint: None,
            ice: if actor.ice_from_config {
                Vec::new()
            } else {
                turn::servers_of(&self.scenario, actor, own, self.world.recorder().now())
            },
            config: actor.ice_from_config.then(|| at(server::HTTP_PORT)),
            heartbeat: setup.heartbeat,
            keys: self.world.key_log(),
        }
    }

    fn start(&mut self, actor: ActorIndex, config: ProgramConfig) -> Result<Box<dyn Program>, StageError> {
        let ActorMachine { machine, host, orders } = &mut self.actors[actor];
        let host = host.get_or_insert_with(|| self.world.boot(*machine));
        let Some(program) = config.actor.program.clone() else {
            return Ok(Box::new(InProcess::start(host, config, None)));
        };
        let program = OwnProgram::start(host, &program, config)?;
        *orders = Some(program.orders());
        Ok(Box::new(program))
    }

    async fn lose_power(&mut self, machine: Which) -> Result<bool, StageError> {
        let host = match machine {
            Which::Server => {
                (self.server.handle, self.server.ipv6, self.server.foreign) = (None, None, None);
                self.server.host.take()
            }
            Which::IceServer(index) => {
                self.ice_servers[index].handles.clear();
                self.ice_servers[index].foreign = None;
                self.ice_servers[index].host.take()
            }
            Which::Actor(actor) => {
                self.actors[actor].orders = None;
                self.actors[actor].host.take()
            }
        };
        let had_power = host.is_some();
        if let Some(host) = host {
            host.lose_power();
        }
        Ok(had_power)
    }

    fn set_link(&mut self, machine: Which, link: Link) -> Result<(), StageError> {
        let machine = match machine {
            Which::Server => self.server.machine,
            Which::IceServer(index) => self.ice_servers[index].machine,
            Which::Actor(actor) => self.actors[actor].machine,
        };
        self.world.set_machine_link(machine, link);
        Ok(())
    }

    fn reboot_nat(&mut self, network: NetworkIndex, reboot: NatReboot) -> Result<usize, StageError> {
        Ok(self.world.reboot_nat(self.networks[network], reboot))
    }

    fn set_network_link(&mut self, network: NetworkIndex, link: Link) -> Result<(), StageError> {
        self.world.set_network_link(self.networks[network], link);
        Ok(())
    }

    fn missing_packets(&self) -> Vec<(usize, u32)> {
        let sent = |fate: &PacketFate| {
            let Name { from, to, kind, number } = self.name_of(fate.packet);
            let sent = self.world.packets_sent(from, to, kind);
            (sent < number).then_some(sent)
        };
        self.scenario.packets.iter().enumerate().filter_map(|(index, fate)| Some((index, sent(fate)?))).collect()
    }

    fn partition(&mut self, from: &[Which], to: &[Which]) {
        let nodes = |side: &[Which]| side.iter().map(|machine| self.machine(*machine)).collect();
        self.world.partition(nodes(from), nodes(to));
    }

    fn heal(&mut self) {
        self.world.heal();
    }

    async fn tear_down(&mut self, programs: Vec<(ActorIndex, Box<dyn Program>)>) -> Result<(), StageError> {
        // Programs end only when their last segments have arrived; how long senders back off is no longer judged.
        self.world.retransmit_now();
        let handle = self.server.handle.take();
        let census = || handle.as_ref().map(server::Handle::census).unwrap_or_default();
        // The server notices a client that vanished only after some missed pongs.
        let patience = TEAR_DOWN_PATIENCE + self.scenario.server.heartbeat * 4;
        let of_program = || self.server.foreign.as_ref().map_or(0, |foreign| foreign.status.seen().connections);
        wait_for(patience, || census().connections == 0 && of_program() == 0).await;
        let left = census();
        // A handle of a server with TURN keeps its socket open.
        let of_ice_servers = self.ice_servers.iter_mut().flat_map(|server| server.handles.drain(..));
        for handle in handle.into_iter().chain(self.server.ipv6.take()).chain(of_ice_servers) {
            handle.shutdown();
        }
        let of_ice_servers = self.ice_servers.iter_mut().filter_map(|server| server.foreign.take());
        let programs_of_others: Vec<_> = self.server.foreign.take().into_iter().chain(of_ice_servers).collect();
        programs_of_others.iter().for_each(outsider::shut_down);
        wait_for(TEAR_DOWN_PATIENCE, || self.world.tasks() == 0).await;
        // A program may wait longer for a client that has vanished. How it ends is judged where a scenario shuts it down.
        if !programs_of_others.is_empty() && self.world.tasks() > 0 {
            let server = self.server.host.take_if(|_| self.scenario.server.program.is_some());
            let of_program = self.ice_servers.iter_mut().zip(&self.scenario.ice_servers);
            let of_program = of_program.filter(|(_, setup)| setup.program.is_some());
            let hosts = server.into_iter().chain(of_program.filter_map(|(server, _)| server.host.take()));
            hosts.for_each(|host| host.switch_off());
            wait_for(TEAR_DOWN_PATIENCE, || self.world.tasks() == 0).await;
        }
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
        for (_, mut program) in programs {
            if program.has_ended() {
                program.ended().await?;
            }
        }
        Ok(())
    }
}

/// Starts a server on a machine.
fn serve(host: &Host, config: server::Config) -> server::Handle {
    let server = bind(host, config);
    let handle = server.handle();
    host.spawn(async move { _ = server.run().await });
    handle
}

/// Binds a server. Binding never waits, so it listens before the first client sends to it.
fn bind(host: &Host, config: server::Config) -> Server<Host> {
    let binding = pin!(Server::bind(host.clone(), config));
    let Poll::Ready(server) = binding.poll(&mut Context::from_waker(Waker::noop())) else {
        unreachable!("a simulated bind is immediate")
    };
    server.expect("the machine has these ports to itself")
}

async fn wait_for(patience: Duration, done: impl Fn() -> bool) {
    let mut waited = Duration::ZERO;
    while !done() && waited < patience {
        sleep(POLL).await;
        waited += POLL;
    }
}
