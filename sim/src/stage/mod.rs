//! Runs a scenario on any ground: joins and steps in order of time, the record of what is done, and the end, when all
//! actors leave.
//!
//! A [`Ground`] is where the scenario runs: the [simulated world](simulated), or the real sockets of this machine
//! (`crate::live`). A [`Program`] is what an actor runs.

mod command;
mod error;
mod program;
pub(crate) mod simulated;

use std::sync::Arc;
use std::time::Duration;

use scenarios::{
    Action, ActorIndex, Link, Machine, MachineAction, NatReboot, NetworkAction, NetworkIndex, Scenario, WorldAction,
};

use crate::event::{Fault, NodeId, Recorder, What};
use crate::peer::client::Command;
pub(crate) use error::StageError;
pub(crate) use program::{InProcess, Program, ProgramConfig, Servers};

/// Where a scenario runs.
///
/// If a ground lacks something, such as NATs on real sockets, the method returns an error. Such scenarios
/// should have been refused before the run.
pub(crate) trait Ground {
    /// The recorder of the run.
    fn recorder(&self) -> &Recorder;

    /// The node of the world as a whole.
    fn everything(&self) -> NodeId;

    fn machine(&self, machine: Machine) -> NodeId;

    fn router(&self, network: NetworkIndex) -> NodeId;

    /// Waits until the time `at`, counted from the start.
    async fn until(&self, at: Duration);

    /// Boots the server's machine and starts its program. Does nothing if the program is already running.
    fn start_server(&mut self) -> Result<(), StageError>;

    /// Orders the server's program to shut down.
    fn shut_server_down(&mut self) -> Result<(), StageError>;

    /// How the program of an actor reaches the servers.
    fn servers(&self, actor: ActorIndex) -> Servers;

    /// Starts the program of an actor on its machine, which is booted if it has no power.
    fn start(&mut self, actor: ActorIndex, config: ProgramConfig) -> Box<dyn Program>;

    /// Cuts the power of a machine: its programs end at once, and it sends nothing more.
    async fn lose_power(&mut self, machine: Machine) -> Result<(), StageError>;

    fn set_link(&mut self, machine: Machine, link: Link) -> Result<(), StageError>;

    fn reboot_nat(&mut self, network: NetworkIndex, reboot: NatReboot) -> Result<(), StageError>;

    fn set_network_link(&mut self, network: NetworkIndex, link: Link) -> Result<(), StageError>;

    /// Blocks all packets from one set of machines to another.
    fn partition(&mut self, from: &[Machine], to: &[Machine]);

    /// Ends all partitions.
    fn heal(&mut self);

    /// Waits until the programs, which have been ordered to leave, have ended. Then ends the server if it belongs to
    /// this ground, and records what is left.
    async fn tear_down(&mut self, programs: Vec<Option<Box<dyn Program>>>) -> Result<(), StageError>;
}

/// Runs a scenario to its end and then takes everything down.
///
/// # Errors
/// The ground lacks something that the scenario needs, or a program failed.
pub(crate) async fn play(mut ground: impl Ground, scenario: Arc<Scenario>, seed: u64) -> Result<(), StageError> {
    ground.start_server()?;
    let programs = scenario.actors.iter().map(|_| None).collect();
    let mut stage = Stage { ground, scenario, seed, programs };
    for (at, action) in timetable(&stage.scenario) {
        stage.ground.until(at).await;
        stage.act(&action).await?;
    }
    stage.ground.until(stage.scenario.duration).await;
    stage.tear_down().await
}

/// All joins and steps in order of time. At the same time, joins come first.
fn timetable(scenario: &Scenario) -> Vec<(Duration, Action)> {
    let joins = scenario.actors.iter().enumerate();
    let joins = joins.filter_map(|(index, actor)| Some((actor.joins?, Action::Join(ActorIndex(index)))));
    let mut all: Vec<_> = joins.chain(scenario.steps.iter().map(|step| (step.at, step.action.clone()))).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

struct Stage<G> {
    ground: G,
    scenario: Arc<Scenario>,
    seed: u64,
    /// The program of each actor, once it has been started.
    programs: Vec<Option<Box<dyn Program>>>,
}

impl<G: Ground> Stage<G> {
    async fn act(&mut self, action: &Action) -> Result<(), StageError> {
        match action {
            Action::Join(actor) => self.start(*actor).await,
            Action::Actor(actor, command) => {
                let (command, fault) = command::of(&self.scenario, command);
                self.record(self.ground.machine(Machine::Actor(*actor)), fault);
                self.command(*actor, command);
                Ok(())
            }
            Action::Machine(machine, action) => self.act_on_machine(*machine, *action).await,
            Action::Network(network, NetworkAction::Reboot(reboot)) => {
                self.record(self.ground.router(*network), Fault::NatReboot);
                self.ground.reboot_nat(*network, *reboot)
            }
            Action::Network(network, NetworkAction::Link(link)) => {
                self.record(self.ground.router(*network), Fault::Link);
                self.ground.set_network_link(*network, *link)
            }
            Action::World(action) => self.act_on_world(action),
        }
    }

    async fn act_on_machine(&mut self, machine: Machine, action: MachineAction) -> Result<(), StageError> {
        let node = self.ground.machine(machine);
        match action {
            MachineAction::PowerLoss => {
                self.record(node, Fault::PowerLoss);
                self.ground.lose_power(machine).await?;
                if let Machine::Actor(actor) = machine {
                    self.programs[actor] = None;
                }
                Ok(())
            }
            MachineAction::Boot => {
                self.record(node, Fault::Boot);
                match machine {
                    Machine::Server => self.ground.start_server(),
                    Machine::Actor(actor) => self.start(actor).await,
                }
            }
            MachineAction::Link(link) => {
                self.record(node, Fault::Link);
                self.ground.set_link(machine, link)
            }
        }
    }

    fn act_on_world(&mut self, action: &WorldAction) -> Result<(), StageError> {
        match action {
            WorldAction::Shutdown => {
                self.record(self.ground.machine(Machine::Server), Fault::Shutdown);
                self.ground.shut_server_down()?;
            }
            WorldAction::Partition { from, to, one_way } => {
                let nodes = |side: &[Machine]| side.iter().map(|machine| self.ground.machine(*machine)).collect();
                let fault = Fault::Partition { from: nodes(from), to: nodes(to), one_way: *one_way };
                self.record(self.ground.everything(), fault);
                if !one_way {
                    self.ground.partition(to, from);
                }
                self.ground.partition(from, to);
            }
            WorldAction::Heal => {
                self.record(self.ground.everything(), Fault::Heal);
                self.ground.heal();
            }
        }
        Ok(())
    }

    /// Starts the program of an actor. Does nothing if it is already running.
    async fn start(&mut self, actor: ActorIndex) -> Result<(), StageError> {
        if let Some(program) = &mut self.programs[actor] {
            if !program.has_ended() {
                return Ok(());
            }
            program.ended().await?;
        }
        let config = ProgramConfig {
            actor: self.scenario.actors[actor].clone(),
            servers: self.ground.servers(actor),
            recorder: self.ground.recorder().clone(),
            node: self.ground.machine(Machine::Actor(actor)),
            seed: self.seed.rotate_left(32) ^ actor.0 as u64,
        };
        self.programs[actor] = Some(self.ground.start(actor, config));
        Ok(())
    }

    fn command(&mut self, actor: ActorIndex, command: Command) {
        if let Some(program) = &mut self.programs[actor] {
            program.command(command);
        }
    }

    /// Makes all actors leave and takes everything down.
    async fn tear_down(&mut self) -> Result<(), StageError> {
        self.ground.recorder().write(self.ground.everything(), What::TearDown);
        self.ground.heal();
        for program in self.programs.iter_mut().flatten() {
            program.command(Command::Leave);
        }
        self.ground.tear_down(std::mem::take(&mut self.programs)).await
    }

    fn record(&self, node: NodeId, fault: Fault) {
        self.ground.recorder().write(node, What::Fault(fault));
    }
}
