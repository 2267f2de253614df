//! Small worlds: what can happen to the packets and the server of a short scenario, enumerated and not drawn.
//!
//! A *world* is the scenario with one change: a packet or two are lost, a packet arrives twice, a packet is overtaken by the
//! next one, or the server loses power between two messages. Worlds that begin alike are one *unit* of work: which second
//! packets there are depends on what the loss of the first one has led to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{Action, Fate, Machine, MachineAction, PacketFate, PacketKind, PacketName, Scenario, Step, show_time};

use super::shrink::edit;
use crate::event::{NodeKind, PacketEvent, Protocol, Record, What};
use crate::oracle::Violation;
use crate::run::{Outcome, SentPacket, run, run_with_packets};

/// Most time between two neighbours that are swapped. Networks do not hold a packet back for longer.
const SWAPPED_WITHIN: Duration = Duration::from_secs(1);
/// How long a crashed server is down.
const DOWN: Duration = Duration::from_secs(2);
/// By how much a scenario in which the server crashes is longer, at least. A client may take some of the server's pings to
/// notice it.
const RECOVERY: Duration = Duration::from_secs(60);

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One packet is lost. A TCP segment arrives 200 ms later instead.
    Loss,
    /// Two packets are lost.
    TwoLosses,
    /// One datagram arrives twice.
    Twice,
    /// A datagram is overtaken by the next one from the same machine to the same machine.
    Swap,
    /// The server loses power between two messages, and boots again.
    Crash,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Loss, Self::TwoLosses, Self::Twice, Self::Swap, Self::Crash];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::TwoLosses => "two-losses",
            Self::Twice => "twice",
            Self::Swap => "swap",
            Self::Crash => "crash",
        }
    }

    /// What happens in its worlds.
    pub fn about(self) -> &'static str {
        match self {
            Self::Loss => "one packet is lost",
            Self::TwoLosses => "two packets are lost",
            Self::Twice => "one datagram arrives twice",
            Self::Swap => "a datagram is overtaken by the next one",
            Self::Crash => "the server crashes between two messages",
        }
    }
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Packet(PacketName, Fate),
    Crash(Duration),
}

/// Worlds that begin with the same change.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The kind of its worlds.
    pub kind: Kind,
    first: Change,
    /// Its name, which is the same whenever the same scenario is explored: `loss: stun-request 2 from ana to ben lost`.
    pub name: String,
}

/// What the worlds of a unit showed.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// How many worlds there are.
    pub worlds: usize,
    /// Those that break a promise.
    pub failed: Vec<FailedWorld>,
}

/// A world that breaks a promise.
#[derive(Clone, Debug)]
pub struct FailedWorld {
    /// What was changed.
    pub what: String,
    /// The scenario with the change.
    pub scenario: Scenario,
    /// The oracle's slug; `no-crash` if the run panicked or hung.
    pub oracle: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
}

/// Why a scenario cannot be explored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotExplored {
    /// It breaks a promise without any change: the oracle and the sentence.
    Fails(&'static str, String),
    /// It did not finish: the message.
    Crashed(String),
}

impl fmt::Display for NotExplored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fails(oracle, message) => write!(f, "it breaks `{oracle}` without any change: {message}"),
            Self::Crashed(message) => write!(f, "it does not finish: {message}"),
        }
    }
}

/// A scenario whose worlds are explored.
#[derive(Clone, Debug)]
pub struct Plan {
    scenario: Arc<Scenario>,
    seed: u64,
    /// All units, in the order in which their changes happen.
    pub units: Vec<Unit>,
}

/// Lists the units of these kinds of a scenario. On its links, chance decides nothing: worlds are enumerated, not drawn.
///
/// # Errors
/// The scenario fails without any change.
pub fn plan(scenario: &Scenario, seed: u64, kinds: &[Kind]) -> Result<Plan, NotExplored> {
    let mut certain = scenario.clone();
    for link in edit::links(&mut certain) {
        *link = edit::without_chance(*link);
    }
    let scenario = Arc::new(certain);
    let (outcome, sent) = run_with_packets(&scenario, seed).map_err(|crash| NotExplored::Crashed(crash.message))?;
    if let Some(Violation { oracle, message, .. }) = outcome.violations.first() {
        return Err(NotExplored::Fails(oracle, message.clone()));
    }
    let mut units = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        let unit = |first| Unit { kind, first, name: format!("{}: {}", kind.name(), called(&scenario, first)) };
        match kind {
            Kind::Loss | Kind::TwoLosses => {
                units.extend(sent.iter().map(|packet| unit(Change::Packet(packet.name, Fate::Lost))));
            }
            Kind::Twice => {
                let datagrams = sent.iter().filter(|packet| is_datagram(packet.name));
                units.extend(datagrams.map(|packet| unit(Change::Packet(packet.name, Fate::Twice))));
            }
            Kind::Swap => units.extend(swaps(&sent).map(|(name, by)| unit(Change::Packet(name, Fate::Late(by))))),
            Kind::Crash => {
                units.extend(
                    crash_points(&outcome.record, scenario.duration).into_iter().map(|at| unit(Change::Crash(at))),
                );
            }
        }
    }
    Ok(Plan { scenario, seed, units })
}

fn is_datagram(name: PacketName) -> bool {
    name.kind != PacketKind::TcpSegment
}

/// The datagrams that the next one on the same path can overtake, and by how much they must be late.
fn swaps(sent: &[SentPacket]) -> impl Iterator<Item = (PacketName, Duration)> + '_ {
    sent.iter().enumerate().filter(|(_, packet)| is_datagram(packet.name)).filter_map(|(index, packet)| {
        let path = (packet.name.from, packet.name.to);
        let is_next = |next: &&SentPacket| (next.name.from, next.name.to) == path && is_datagram(next.name);
        let next = sent[index + 1..].iter().find(is_next)?;
        let apart = next.at - packet.at;
        let by = Duration::from_millis(u64::try_from(apart.as_millis()).unwrap_or(u64::MAX)) + Duration::from_millis(1);
        (apart <= SWAPPED_WITHIN).then_some((packet.name, by))
    })
}

/// The times at which the server can lose power before and after it handles a message, and before and after it sends one.
fn crash_points(record: &Record, duration: Duration) -> BTreeSet<Duration> {
    let is_server = |node: usize| record.nodes[node].kind == NodeKind::Machine(Machine::Server);
    let has_data = |what: &What| {
        let What::Packet(PacketEvent::Sent(view) | PacketEvent::Delivered(view)) = what else { return false };
        view.protocol == Protocol::Tcp && view.bytes > 0
    };
    let messages = record.events.iter().take_while(|event| event.what != What::TearDown);
    let times = messages.filter(|event| is_server(usize::from(event.node.0)) && has_data(&event.what));
    // What arrives at an instant is handled after the steps of that instant, and answered within it.
    let around = times.flat_map(|event| [event.at, event.at + Duration::from_millis(1)]);
    let whole = |at: Duration| Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
    around.map(whole).filter(|at| *at + DOWN < duration).collect()
}

impl Plan {
    /// Plays all worlds of a unit. `is_over` is asked before each; then there is no result.
    pub fn explore(&self, unit: &Unit, is_over: &dyn Fn() -> bool) -> Option<Explored> {
        let mut explored = Explored::default();
        let changed = changed(&self.scenario, unit.first);
        if unit.kind != Kind::TwoLosses {
            explored.take(what(&[called(&self.scenario, unit.first)]), &changed, self.seed);
            return Some(explored);
        }
        let Change::Packet(first, _) = unit.first else { return Some(explored) };
        // Without the first packet, others are sent.
        let Ok((_, sent)) = run_with_packets(&Arc::new(changed.clone()), self.seed) else { return Some(explored) };
        let later = sent.iter().skip_while(|packet| packet.name != first).skip(1);
        for packet in later {
            if is_over() {
                return None;
            }
            let second = Change::Packet(packet.name, Fate::Lost);
            let what = what(&[called(&self.scenario, unit.first), called(&self.scenario, second)]);
            explored.take(what, &self::changed(&changed, second), self.seed);
        }
        Some(explored)
    }
}

impl Explored {
    /// Plays a world.
    fn take(&mut self, what: String, world: &Scenario, seed: u64) {
        self.worlds += 1;
        let broken = match run(&Arc::new(world.clone()), seed) {
            Ok(Outcome { violations, .. }) => violations.into_iter().next().map(|first| (first.oracle, first.message)),
            Err(crash) => Some((super::shrink::CRASH, crash.message)),
        };
        if let Some((oracle, message)) = broken {
            self.failed.push(FailedWorld { what, scenario: world.clone(), oracle, message });
        }
    }
}

fn what(changes: &[String]) -> String {
    changes.join(", and ")
}

/// A change in words.
fn called(scenario: &Scenario, change: Change) -> String {
    match change {
        Change::Crash(at) => format!("the server crashes at {}", show_time(at)),
        Change::Packet(PacketName { from, to, kind, number }, fate) => {
            let (from, to, kind) = (scenario.machine_name(from), scenario.machine_name(to), kind.name());
            let fate = match fate {
                Fate::Lost | Fate::LostAtSender => "lost".to_owned(),
                Fate::Twice => "twice".to_owned(),
                Fate::Late(by) => format!("{} late", show_time(by)),
            };
            format!("{kind} {number} from {from} to {to} {fate}")
        }
    }
}

/// The scenario with a change.
fn changed(scenario: &Scenario, change: Change) -> Scenario {
    let mut changed = scenario.clone();
    match change {
        Change::Packet(packet, fate) => changed.packets.push(PacketFate { packet, fate, line: 0 }),
        Change::Crash(at) => {
            // Commands that need the server may come while it is down, and connections while it starts again.
            changed.idle_steps = true;
            changed.expect.connected.clear();
            changed.expect.probes.clear();
            changed.duration += RECOVERY.max(4 * scenario.server.heartbeat);
            for (at, action) in [(at, MachineAction::PowerLoss), (at + DOWN, MachineAction::Boot)] {
                changed.steps.push(Step { at, action: Action::Machine(Machine::Server, action), line: 0 });
            }
            changed.steps.sort_by_key(|step| step.at);
        }
    }
    changed
}
