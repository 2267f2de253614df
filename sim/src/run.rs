//! Runs a scenario with a seed and returns the outcome.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use scenarios::{Actor, Fate, PacketName, Scenario};

use crate::capture::Capture;
use crate::dialects::{Dialects, Pairing};
use crate::event::{NodeId, NodeKind, Record};
use crate::fabric::fates::Sent;
use crate::hash::{EventHash, event_hash};
use crate::oracle::{self, Probes, Situation, Violation};
use crate::peer::stack;
use crate::protocol;
use crate::shared::panic_message;
use crate::stage;
use crate::stage::simulated::{self, Simulated};
use crate::world::World;

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario that was run.
    pub scenario: Arc<Scenario>,
    /// The seed of the run.
    pub seed: u64,
    /// Everything that happened.
    pub record: Record,
    /// The hash of all events.
    pub hash: EventHash,
    /// The promises that were broken.
    pub violations: Vec<Violation>,
    /// How often each rare situation occurred, by the probe's name.
    pub probes: Probes,
}

impl Outcome {
    /// Whether no oracle found a violation.
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

/// A run that did not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The seed of the run.
    pub seed: u64,
    /// What went wrong, such as the message of a panic.
    pub message: String,
    /// Whose fault it is.
    pub cause: Cause,
}

/// Why a run did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A panic or a hang: the defect is in Glare or in a library that it uses.
    Glare,
    /// The scenario's server program could not be started or reached, or cannot be simulated.
    Server,
}

/// Checks that the server program of a scenario exists and can be simulated, and that all actors speak one protocol. A
/// scenario without a program passes.
///
/// # Errors
/// What is wrong with the program, and what to do instead.
pub fn check_program(scenario: &Scenario) -> Result<(), String> {
    check_browsers(scenario)?;
    if let Some(lacking) = stack::lacking(scenario) {
        return Err(lacking);
    }
    check_families(scenario)?;
    for actor in &scenario.actors {
        check_actor(scenario, actor)?;
    }
    for server in &scenario.ice_servers {
        let checked =
            server.program.as_ref().map_or(Ok(()), |program| stage::client_command_of(program).check().map(drop));
        checked.map_err(|trouble| format!("`{}`: {trouble}", server.name))?;
    }
    let Some(program) = &scenario.server.program else { return Ok(()) };
    let spoken = spoken(scenario);
    if spoken.len() > 1 {
        let spoken: Vec<_> = spoken.into_iter().map(|name| format!("`{name}`")).collect();
        return Err(format!(
            "the actors of `{}` speak {}: a server program can take part in scenarios of one protocol",
            scenario.name,
            spoken.join(" and ")
        ));
    }
    stage::command_of(program).check().map(drop).map_err(|trouble| trouble.to_string())
}

/// The protocols that the actors of a scenario speak: one, if it names a dialect, otherwise those of their roles.
pub fn spoken(scenario: &Scenario) -> BTreeSet<&str> {
    let of_role = |actor: &scenarios::Actor| protocol::entry(actor.plays.dialect(), actor.over).name;
    match &scenario.server.dialect {
        Some(dialect) => BTreeSet::from([dialect.as_str()]),
        None => scenario.actors.iter().map(of_role).collect(),
    }
}

/// Checks that no machine with a program of others would need IPv6: its simulated sockets have IPv4 only, so clients
/// would dial it in vain.
fn check_families(scenario: &Scenario) -> Result<(), String> {
    let of_actor = |actor: &scenarios::Actor| actor.program.is_some();
    let has_program = scenario.server.program.is_some()
        || scenario.ice_servers.iter().any(|server| server.program.is_some())
        || scenario.actors.iter().any(of_actor);
    let Some(actor) = scenario.actors.iter().find(|actor| has_program && actor.ipv6) else { return Ok(()) };
    Err(format!(
        "`{}` has IPv6, but programs of others have IPv4 only in simulations: play a scenario without `ipv6`",
        actor.name
    ))
}

/// Checks that no actor is a browser: its threads and timers know only real time.
fn check_browsers(scenario: &Scenario) -> Result<(), String> {
    let Some(actor) = scenario.actors.iter().find(|actor| actor.runs.is_some()) else { return Ok(()) };
    Err(format!(
        "`{}` has `runs`, but a browser cannot be simulated: play the scenario on the wire, with `conformance --url … --scenario {}`",
        actor.name, scenario.name
    ))
}

/// Checks that an actor's program exists and can be simulated, and that what it says can be read.
fn check_actor(scenario: &Scenario, actor: &Actor) -> Result<(), String> {
    let Some(program) = &actor.program else { return Ok(()) };
    let dialects = Dialects::of(scenario).map_err(|error| error.to_string())?;
    let spoken = dialects.spoken(actor.plays, actor.over);
    if spoken.descriptor.pairing != Pairing::Everybody || spoken.descriptor.chooses_ids {
        return Err(format!(
            "`{}` has `run`, but speaks `{}`: so far a program can be an actor only in protocols whose server gives the members of a room their ids, such as `mesh`",
            actor.name,
            spoken.file.name()
        ));
    }
    let checked = stage::client_command_of(program).check();
    checked.map(drop).map_err(|trouble| format!("`{}`: {trouble}", actor.name))
}

/// Runs a scenario and judges it.
///
/// # Errors
/// The run panicked or hung.
pub fn run(scenario: &Arc<Scenario>, seed: u64) -> Result<Outcome, Crash> {
    Ok(judge(scenario, seed, record(scenario, seed)?))
}

/// Runs a scenario, judges it, and keeps all its packets. Capturing does not change the events.
///
/// # Errors
/// The run panicked or hung.
pub fn run_captured(scenario: &Arc<Scenario>, seed: u64) -> Result<(Outcome, Capture), Crash> {
    let (record, capture) = play(scenario, seed, World::capture, |world| (world.recorder().take(), world.captured()))?;
    let networks = scenario.networks.iter().map(|network| network.name.clone());
    let realms = std::iter::once("internet".to_owned()).chain(networks).collect();
    Ok((judge(scenario, seed, record), Capture { realms, ..capture }))
}

fn judge(scenario: &Arc<Scenario>, seed: u64, record: Record) -> Outcome {
    let hash = event_hash(&record);
    let (violations, probes) = oracle::judge(scenario, &record);
    Outcome { scenario: scenario.clone(), seed, record, hash, violations, probes }
}

/// A packet that a run sent, and what chance did to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentPacket {
    /// Its name.
    pub name: PacketName,
    /// When it was sent, in virtual time.
    pub at: Duration,
    /// The fates that do without chance what chance did to it: none if it arrived in time and once.
    pub chance: Vec<Fate>,
}

/// Runs a scenario, judges it, and names all packets that machines sent to each other before its end, in the order in which
/// they were sent. Naming does not change the events.
///
/// # Errors
/// The run panicked or hung.
pub fn run_with_packets(scenario: &Arc<Scenario>, seed: u64) -> Result<(Outcome, Vec<SentPacket>), Crash> {
    let (record, sent) =
        play(scenario, seed, World::keep_packets, |world| (world.recorder().take(), world.kept_packets()))?;
    let machine = |node: NodeId| match record.nodes[usize::from(node.0)].kind {
        NodeKind::Machine(machine) => Some(machine),
        _ => None,
    };
    let packet = |Sent { name, at, chance }: Sent| {
        let (from, to) = (machine(name.from)?, machine(name.to)?);
        let name = PacketName { from, to, kind: name.kind, number: name.number };
        Some(SentPacket { name, at, chance: chance.fates() })
    };
    let before_end = sent.into_iter().take_while(|sent| sent.at < scenario.duration);
    let packets = before_end.filter_map(packet).collect();
    Ok((judge(scenario, seed, record), packets))
}

/// Runs a scenario and judges it. Returns also the situations that the oracles' model met.
pub(crate) fn run_noting(scenario: &Arc<Scenario>, seed: u64) -> Result<(Outcome, BTreeSet<Situation>), Crash> {
    let record = record(scenario, seed)?;
    let hash = event_hash(&record);
    let (violations, probes, situations) = oracle::judge_noting(scenario, &record);
    Ok((Outcome { scenario: scenario.clone(), seed, record, hash, violations, probes }, situations))
}

/// Runs a scenario and returns its record without judging it.
///
/// # Errors
/// The run panicked or hung.
pub fn record(scenario: &Arc<Scenario>, seed: u64) -> Result<Record, Crash> {
    play(scenario, seed, |_| {}, |world| world.recorder().take())
}

/// A number that depends on how many hash maps a run has made. Equal runs give equal numbers, also the first run in a
/// process: else it would visit its maps in another order than later ones.
///
/// # Errors
/// The run panicked or hung.
pub fn hash_map_keys(scenario: &Arc<Scenario>, seed: u64) -> Result<u64, Crash> {
    play(scenario, seed, |_| {}, |_| RandomState::new().hash_one(0))
}

/// Runs a scenario. `before` sees the world before the first event, `after` when the run is over.
fn play<T: Send + 'static>(
    scenario: &Arc<Scenario>,
    seed: u64,
    before: fn(&World),
    after: fn(&World) -> T,
) -> Result<T, Crash> {
    let limit: Duration = scenario.duration + simulated::LIMIT_AFTER_END;
    let played = scenario.clone();
    check_browsers(scenario).map_err(|message| Crash { seed, message, cause: Cause::Server })?;
    let dialects =
        Dialects::of(scenario).map_err(|error| Crash { seed, message: error.to_string(), cause: Cause::Server })?;
    let ended = World::run(seed, limit, move |world| async move {
        before(&world);
        let ground = Simulated::new(world.clone(), played.clone(), seed);
        stage::play(ground, played, dialects, seed).await.map(|()| after(&world))
    });
    let crash = |message, cause| Crash { seed, message, cause };
    let played = ended.map_err(|panic| crash(panic_message(&*panic), Cause::Glare))?;
    played.map_err(|error| crash(error.to_string(), error.cause()))
}
