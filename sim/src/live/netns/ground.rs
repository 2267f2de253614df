//! The network namespaces of a scenario as the place where it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, IceServerIndex, Link, Machine, Move, NatReboot, NetworkIndex, Scenario};
use server::Server;
use server::net::Network;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Machines, Script};
use crate::event::{MachineEvent, NodeId, NodeKind, Recorder, What};
use crate::live::network::Place;
use crate::peer::client::Families;
use crate::stage::{Ground, InProcess, Program, ProgramConfig, Servers, StageError, reference, turn};

/// How long clients may take to leave.
const TEAR_DOWN_PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct Namespaces {
    scenario: Arc<Scenario>,
    seed: u64,
    start: Instant,
    recorder: Recorder,
    everything: NodeId,
    networks: Vec<NodeId>,
    server: MachineInNamespace,
    handle: Option<server::Handle>,
    actors: Vec<MachineInNamespace>,
    /// Keeps the namespaces.
    _machines: Machines,
}

struct MachineInNamespace {
    node: NodeId,
    place: Place,
    booted: bool,
}

impl Namespaces {
    /// Makes the namespaces. All times count from the end of that.
    pub(super) fn new(script: &Script, seed: u64) -> Result<Self, StageError> {
        let machines = script.machines()?;
        let scenario = script.scenario.clone();
        let start = Instant::now();
        let recorder = Recorder::new(start);
        let everything = recorder.node("world", NodeKind::World);
        let networks = scenario.networks.iter().enumerate();
        let networks =
            networks.map(|(index, network)| recorder.node(&network.name, NodeKind::Nat(NetworkIndex(index)))).collect();
        let machine = |name: &str, kind| {
            let node = recorder.node(name, NodeKind::Machine(kind));
            MachineInNamespace { node, place: machines.place(kind), booted: false }
        };
        let server = machine("server", Machine::Server);
        let actors = scenario.actors.iter().enumerate();
        let actors = actors.map(|(index, actor)| machine(&actor.name, Machine::Actor(ActorIndex(index))));
        let actors = actors.collect();
        Ok(Self {
            seed,
            start,
            everything,
            networks,
            server,
            handle: None,
            actors,
            recorder,
            scenario,
            _machines: machines,
        })
    }

    fn boot(recorder: &Recorder, machine: &mut MachineInNamespace) {
        if !machine.booted {
            machine.booted = true;
            recorder.write(machine.node, What::Machine(MachineEvent::Booted));
        }
    }
}

impl Ground for Namespaces {
    fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn everything(&self) -> NodeId {
        self.everything
    }

    fn machine(&self, machine: Machine) -> NodeId {
        match machine {
            Machine::Server => self.server.node,
            Machine::IceServer(_) => unreachable!("a script has no such machines"),
            Machine::Actor(actor) => self.actors[actor].node,
        }
    }

    fn router(&self, network: NetworkIndex) -> NodeId {
        self.networks[network]
    }

    async fn until(&self, at: Duration) {
        sleep_until(self.start + at).await;
    }

    async fn start_server(&mut self) -> Result<bool, StageError> {
        if self.handle.is_some() {
            return Ok(false);
        }
        Self::boot(&self.recorder, &mut self.server);
        let secret = turn::secret(&self.scenario, Machine::Server, Duration::ZERO);
        let config = reference::config(&self.scenario, self.scenario.server.address.into(), &secret, self.seed);
        let server = Server::bind(self.server.place.clone(), config).await?;
        self.handle = Some(server.handle());
        self.server.place.spawn(server.run());
        Ok(true)
    }

    fn start_ice_server(&mut self, _: IceServerIndex) -> Result<bool, StageError> {
        Err(StageError::NotInNamespaces)
    }

    fn shut_server_down(&mut self) -> Result<bool, StageError> {
        Err(StageError::NotInNamespaces)
    }

    fn stall(&mut self, _: Machine, _: Duration) -> Result<bool, StageError> {
        Err(StageError::NotInNamespaces)
    }

    fn jump_clock(&mut self, _: Machine, _: i64) -> Result<bool, StageError> {
        Err(StageError::NotInNamespaces)
    }

    fn move_machine(&mut self, _: ActorIndex, _: &Move) -> Result<Families, StageError> {
        Err(StageError::NotInNamespaces)
    }

    fn servers(&self, actor: ActorIndex) -> Servers {
        let setup = &self.scenario.server;
        let at = |port| SocketAddr::new(setup.address.into(), port);
        let actor = &self.scenario.actors[actor];
        let entry = reference::entry(&self.scenario, actor);
        Servers {
            signaling: at(entry.map_or(0, |entry| entry.port)),
            endpoint: None,
            config: None,
            ice: turn::servers_of(&self.scenario, actor, actor.address.into(), self.recorder.now()),
            heartbeat: setup.heartbeat,
            keys: None,
        }
    }

    fn start(&mut self, actor: ActorIndex, config: ProgramConfig) -> Result<Box<dyn Program>, StageError> {
        let machine = &mut self.actors[actor];
        Self::boot(&self.recorder, machine);
        Ok(Box::new(InProcess::start(&machine.place, config, None)))
    }

    async fn lose_power(&mut self, _: Machine) -> Result<bool, StageError> {
        Err(StageError::NotInNamespaces)
    }

    fn set_link(&mut self, _: Machine, _: Link) -> Result<(), StageError> {
        Err(StageError::NotInNamespaces)
    }

    fn reboot_nat(&mut self, _: NetworkIndex, _: NatReboot) -> Result<usize, StageError> {
        Err(StageError::NotInNamespaces)
    }

    fn set_network_link(&mut self, _: NetworkIndex, _: Link) -> Result<(), StageError> {
        Err(StageError::NotInNamespaces)
    }

    fn partition(&mut self, _: &[Machine], _: &[Machine]) {
        unreachable!("a script has no such step")
    }

    // The end of every run heals what is parted, which is nothing here.
    fn heal(&mut self) {}

    async fn tear_down(&mut self, programs: Vec<(ActorIndex, Box<dyn Program>)>) -> Result<(), StageError> {
        let deadline = Instant::now() + TEAR_DOWN_PATIENCE;
        for (_, mut program) in programs {
            if let Ok(ended) = timeout_at(deadline, program.ended()).await {
                ended?;
            }
        }
        if let Some(handle) = self.handle.take() {
            handle.shutdown();
        }
        for machine in self.actors.iter().chain([&self.server]) {
            machine.place.abort().await;
        }
        Ok(())
    }
}
