//! Runs a scenario on any ground: joins and steps in order of time, the record of what is done, and the end, when all
//! actors leave.
//!
//! A step that has no effect when its time comes, such as a call by a user who is already in one, is recorded as
//! [`Fault::NoEffect`].
//!
//! A [`Ground`] is where the scenario runs: the [simulated world](simulated), or the real sockets of this machine
//! (`crate::live`). A [`Program`] is what an actor runs.

mod client_program;
mod command;
mod error;
mod in_force;
pub(crate) mod outsider;
mod program;
pub(crate) mod reference;
pub(crate) mod simulated;
pub(crate) mod turn;

use std::sync::Arc;
use std::time::Duration;

use scenarios::{
    Action, ActorIndex, IceServerIndex, Link, Machine, MachineAction, MediaKind, Move, NatReboot, NetworkAction,
    NetworkIndex, PacketFate, Scenario, Step, WorldAction,
};

use crate::dialects::Dialects;
use crate::event::{Fault, Line, NodeId, Recorder, What};
use crate::peer::client::{Command, Directory, Families, Moved, StepCommand};
use crate::peer::stack::MediaSections;
pub(crate) use client_program::command_of as client_command_of;
pub(crate) use error::StageError;
use in_force::InForce;
pub(crate) use outsider::command_of;
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

    /// Boots the server's machine and starts its program. Does nothing and returns false if the program is already
    /// running.
    async fn start_server(&mut self) -> Result<bool, StageError>;

    /// Boots a machine with a STUN or TURN server. Does nothing and returns false if it has power.
    fn start_ice_server(&mut self, server: IceServerIndex) -> Result<bool, StageError>;

    /// Waits until that server receives what is sent to it. Only a program of others needs time for that.
    async fn ice_server_ready(&mut self, _: IceServerIndex) -> Result<(), StageError> {
        Ok(())
    }

    /// Orders the server's program to shut down. Returns false if it is not running.
    fn shut_server_down(&mut self) -> Result<bool, StageError>;

    /// Makes the program of a machine stand still for a time. Returns false if no program of others is running.
    fn stall(&mut self, machine: Machine, time: Duration) -> Result<bool, StageError>;

    /// Gives a TURN server the secret that it has from now on. Returns false if it is not running.
    fn renew_secret(&mut self, _machine: Machine) -> Result<bool, StageError> {
        Ok(false)
    }

    /// Moves the wall clock of a machine's program by some milliseconds. Returns false if no program of others is
    /// running.
    fn jump_clock(&mut self, machine: Machine, ms: i64) -> Result<bool, StageError>;

    /// Moves the machine of an actor to another network. Returns which families of addresses it has there.
    fn move_machine(&mut self, actor: ActorIndex, to: &Move) -> Result<Families, StageError>;

    /// How the program of an actor reaches the servers.
    fn servers(&self, actor: ActorIndex) -> Servers;

    /// Starts the program of an actor on its machine, which is booted if it has no power.
    fn start(&mut self, actor: ActorIndex, config: ProgramConfig) -> Result<Box<dyn Program>, StageError>;

    /// Cuts the power of a machine: its programs end at once, and it sends nothing more. Returns false if it has no
    /// power.
    async fn lose_power(&mut self, machine: Machine) -> Result<bool, StageError>;

    fn set_link(&mut self, machine: Machine, link: Link) -> Result<(), StageError>;

    /// Reboots a NAT. Returns the number of mappings that it loses.
    fn reboot_nat(&mut self, network: NetworkIndex, reboot: NatReboot) -> Result<usize, StageError>;

    fn set_network_link(&mut self, network: NetworkIndex, link: Link) -> Result<(), StageError>;

    /// Blocks all packets from one set of machines to another.
    fn partition(&mut self, from: &[Machine], to: &[Machine]);

    /// Ends all partitions.
    fn heal(&mut self);

    /// The fates of packets, as indices into [`Scenario::packets`], whose packet was not sent so far, and how many of that
    /// kind were. A ground that decides no fates has none.
    fn missing_packets(&self) -> Vec<(usize, u32)> {
        Vec::new()
    }

    /// Waits until the programs, which have been ordered to leave, have ended. Then ends the server if it belongs to
    /// this ground, and records what is left.
    async fn tear_down(&mut self, programs: Vec<(ActorIndex, Box<dyn Program>)>) -> Result<(), StageError>;
}

/// Runs a scenario to its end and then takes everything down.
///
/// # Errors
/// The ground lacks something that the scenario needs, or a program failed.
pub(crate) async fn play(
    mut ground: impl Ground,
    scenario: Arc<Scenario>,
    dialects: Dialects,
    seed: u64,
) -> Result<(), StageError> {
    ground.start_server().await?;
    for index in 0..scenario.ice_servers.len() {
        ground.start_ice_server(IceServerIndex(index))?;
        ground.ice_server_ready(IceServerIndex(index)).await?;
    }
    let programs = scenario.actors.iter().map(|_| None).collect();
    let in_force = InForce::new(&scenario, &ground);
    let directory = Directory::default();
    let mut stage = Stage { ground, scenario, dialects, seed, directory, programs, closing: Vec::new(), in_force };
    for step in timetable(&stage.scenario) {
        stage.ground.until(step.at).await;
        stage.act(&step).await?;
    }
    stage.ground.until(stage.scenario.duration).await;
    stage.tear_down().await
}

/// All joins and steps in order of time. At the same time, joins come first.
fn timetable(scenario: &Scenario) -> Vec<Step> {
    let joins = scenario.actors.iter().enumerate();
    let join = |(index, actor): (usize, &scenarios::Actor)| {
        Some(Step { at: actor.joins?, action: Action::Join(ActorIndex(index)), line: actor.line })
    };
    let mut all: Vec<_> = joins.filter_map(join).chain(scenario.steps.iter().cloned()).collect();
    all.sort_by_key(|step| step.at);
    all
}

struct Stage<G> {
    ground: G,
    scenario: Arc<Scenario>,
    dialects: Dialects,
    seed: u64,
    directory: Directory,
    /// The program of each actor, once it has been started.
    programs: Vec<Option<Running>>,
    /// Programs that are leaving while another program of the same actor runs.
    closing: Vec<(ActorIndex, Box<dyn Program>)>,
    in_force: InForce,
}

/// The program of an actor.
struct Running {
    program: Box<dyn Program>,
    /// Whether it has been ordered to leave.
    leaves: bool,
}

impl<G: Ground> Stage<G> {
    async fn act(&mut self, step: &Step) -> Result<(), StageError> {
        match &step.action {
            Action::Join(actor) => {
                if !self.start(*actor).await? {
                    let node = self.ground.machine(Machine::Actor(*actor));
                    self.no_effect(node, step, "cannot join: it is already there");
                }
                Ok(())
            }
            Action::Actor(actor, command) => {
                self.command(*actor, command, step);
                Ok(())
            }
            Action::Machine(machine, action) => self.act_on_machine(*machine, *action, step).await,
            Action::Network(network, NetworkAction::Reboot(reboot)) => {
                let node = self.ground.router(*network);
                self.record(node, Fault::NatReboot);
                let lost = self.ground.reboot_nat(*network, *reboot)?;
                if lost == 0 && !reboot.resets_tcp && reboot.new_address.is_none() {
                    self.no_effect(node, step, "cannot lose its mappings: it has none");
                }
                Ok(())
            }
            Action::Network(network, NetworkAction::Link(link)) => {
                let node = self.ground.router(*network);
                self.set_link(node, *link, step);
                self.ground.set_network_link(*network, *link)
            }
            Action::World(action) => self.act_on_world(action, step),
        }
    }

    async fn act_on_machine(&mut self, machine: Machine, action: MachineAction, step: &Step) -> Result<(), StageError> {
        let node = self.ground.machine(machine);
        match action {
            MachineAction::PowerLoss => {
                self.record(node, Fault::PowerLoss);
                if !self.ground.lose_power(machine).await? {
                    self.no_effect(node, step, "cannot lose power: it has none");
                }
                if let Machine::Actor(actor) = machine {
                    self.programs[actor] = None;
                    self.closing.retain(|(other, _)| *other != actor);
                }
                Ok(())
            }
            MachineAction::Boot => {
                self.record(node, Fault::Boot);
                let boots = match machine {
                    Machine::Server => self.ground.start_server().await?,
                    Machine::Actor(actor) => self.start(actor).await?,
                    // Clients repeat what a server does not receive yet.
                    Machine::IceServer(server) => self.ground.start_ice_server(server)?,
                };
                if !boots {
                    self.no_effect(node, step, "cannot boot: it is already running");
                }
                Ok(())
            }
            MachineAction::Link(link) => {
                self.set_link(node, link, step);
                self.ground.set_link(machine, link)
            }
            MachineAction::Stall(time) => {
                self.record(node, Fault::Stall { ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) });
                if !self.ground.stall(machine, time)? {
                    self.no_effect(node, step, "cannot stand still: it runs no program given by `run` or --server");
                }
                Ok(())
            }
            MachineAction::Move(to) => {
                let Machine::Actor(actor) = machine else { unreachable!("only actors move") };
                let name = to.network.map_or("internet", |network| self.scenario.networks[network].name.as_str());
                self.record(node, Fault::Move { to: name.into() });
                self.in_force.set_link(node, to.link);
                let families = self.ground.move_machine(actor, &to)?;
                let Servers { signaling, ice, .. } = self.ground.servers(actor);
                if let Some(running) = &mut self.programs[actor] {
                    running.program.command(StepCommand::moved(Moved { families, signaling, ice }));
                }
                Ok(())
            }
            MachineAction::NewSecret => {
                self.record(node, Fault::NewSecret);
                if !self.ground.renew_secret(machine)? {
                    self.no_effect(node, step, "cannot take another secret: it is not running");
                }
                Ok(())
            }
            MachineAction::ClockJump { ms } => {
                self.record(node, Fault::ClockJump { ms });
                if !self.ground.jump_clock(machine, ms)? {
                    let why = "cannot have its clock moved: it runs no program given by `run` or --server";
                    self.no_effect(node, step, why);
                }
                Ok(())
            }
        }
    }

    fn act_on_world(&mut self, action: &WorldAction, step: &Step) -> Result<(), StageError> {
        let everything = self.ground.everything();
        match action {
            WorldAction::Shutdown => {
                let server = self.ground.machine(Machine::Server);
                self.record(server, Fault::Shutdown);
                if !self.ground.shut_server_down()? {
                    self.no_effect(server, step, "cannot shut down: it is not running");
                }
            }
            WorldAction::Partition { from, to, one_way } => {
                let nodes = |side: &[Machine]| side.iter().map(|machine| self.ground.machine(*machine)).collect();
                let (from_nodes, to_nodes): (Vec<_>, Vec<_>) = (nodes(from), nodes(to));
                let changes = self.in_force.partition(&from_nodes, &to_nodes, *one_way);
                self.record(everything, Fault::Partition { from: from_nodes, to: to_nodes, one_way: *one_way });
                if !changes {
                    self.no_effect(everything, step, "these machines are already partitioned");
                }
                if !one_way {
                    self.ground.partition(to, from);
                }
                self.ground.partition(from, to);
            }
            WorldAction::Heal => {
                self.record(everything, Fault::Heal);
                if !self.in_force.heal() {
                    self.no_effect(everything, step, "there is no partition to heal");
                }
                self.ground.heal();
            }
        }
        Ok(())
    }

    /// Starts the program of an actor. Does nothing and returns false if it is already running.
    ///
    /// If it is leaving, a new program starts beside it, as when a page is loaded again.
    async fn start(&mut self, actor: ActorIndex) -> Result<bool, StageError> {
        if let Some(running) = &mut self.programs[actor] {
            if !running.leaves && !running.program.has_ended() {
                return Ok(false);
            }
            running.program.left().await;
        }
        if let Some(Running { mut program, .. }) = self.programs[actor].take() {
            if program.has_ended() {
                program.ended().await?;
            } else {
                program.detach();
                self.closing.push((actor, program));
            }
        }
        let played = &self.scenario.actors[actor];
        let is_contact =
            |(other, them): &(usize, &scenarios::Actor)| ActorIndex(*other) != actor && them.room == played.room;
        let contacts = self.scenario.actors.iter().enumerate().filter(is_contact);
        let config = ProgramConfig {
            actor: played.clone(),
            spoken: self.dialects.spoken(played.plays, played.over),
            contacts: contacts.map(|(_, them)| them.name.as_str().into()).collect(),
            directory: self.directory.clone(),
            servers: self.ground.servers(actor),
            recorder: self.ground.recorder().clone(),
            node: self.ground.machine(Machine::Actor(actor)),
            beside_programs: self.scenario.actors.iter().any(|actor| actor.program.is_some() || actor.runs.is_some()),
            sections: sections(&self.scenario),
            timing: self.scenario.timing,
            seed: self.seed.rotate_left(32) ^ actor.0 as u64,
        };
        self.programs[actor] = Some(Running { program: self.ground.start(actor, config)?, leaves: false });
        Ok(true)
    }

    fn command(&mut self, actor: ActorIndex, command: &scenarios::Command, step: &Step) {
        let node = self.ground.machine(Machine::Actor(actor));
        let (command, what, fault) = command::of(&self.scenario, command);
        self.record(node, fault);
        match &mut self.programs[actor] {
            Some(running) => {
                running.leaves |= command == Command::Leave;
                let recorder = self.ground.recorder().clone();
                running.program.command(StepCommand::new(command, step.line, what, recorder, node));
            }
            None => self.no_effect(node, step, &format!("cannot {what}: it is not there")),
        }
    }

    fn set_link(&mut self, node: NodeId, link: Link, step: &Step) {
        self.record(node, Fault::Link);
        if !self.in_force.set_link(node, link) {
            self.no_effect(node, step, "cannot change its link: the link already has these settings");
        }
    }

    /// Makes all actors leave and takes everything down.
    async fn tear_down(&mut self) -> Result<(), StageError> {
        self.record_missing_packets();
        self.ground.recorder().write(self.ground.everything(), What::TearDown);
        self.ground.heal();
        let mut programs = std::mem::take(&mut self.closing);
        for (index, running) in std::mem::take(&mut self.programs).into_iter().enumerate() {
            let Some(mut running) = running else { continue };
            running.program.command(StepCommand::leave());
            programs.push((ActorIndex(index), running.program));
        }
        self.ground.tear_down(programs).await
    }

    /// Records the packets whose fate is decided, but that were not sent.
    fn record_missing_packets(&self) {
        for (index, sent) in self.ground.missing_packets() {
            let PacketFate { packet, line, .. } = self.scenario.packets[index];
            let (kind, to) = (packet.kind.name(), self.scenario.machine_name(packet.to));
            let why = match sent {
                0 => format!("sent no packet of the kind `{kind}` to {to}"),
                1 => format!("sent only one packet of the kind `{kind}` to {to}"),
                _ => format!("sent only {sent} packets of the kind `{kind}` to {to}"),
            };
            self.record(self.ground.machine(packet.from), Fault::NoPacket { line: Line(line), why: why.into() });
        }
    }

    fn record(&self, node: NodeId, fault: Fault) {
        self.ground.recorder().write(node, What::Fault(fault));
    }

    /// Records that a step has no effect on a node.
    fn no_effect(&self, node: NodeId, step: &Step, why: &str) {
        self.record(node, Fault::NoEffect { line: Line(step.line), why: why.into() });
    }
}

/// The media sections of every connection: of what anybody sends. Who sends nothing receives what others send.
fn sections(scenario: &Scenario) -> MediaSections {
    let at_first =
        |kind: &MediaKind| scenario.actors.iter().flat_map(|actor| &actor.media).any(|media| media.has(*kind));
    let known = scenario.media();
    let offered = known.iter().filter(|kind| at_first(kind)).map(|kind| (*kind).into()).collect();
    MediaSections { known: known.into_iter().map(Into::into).collect(), offered }
}
