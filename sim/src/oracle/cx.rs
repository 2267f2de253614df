//! The interface of an oracle, and the context that it can query while it watches a record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Machine, Scenario};
use serde::Serialize;

use crate::event::{ClientId, Event, Message, NodeId, NodeKind, Record, SignalKind, Signaling, What};
use crate::oracle::history::{At, Stay};
use crate::oracle::model::Model;
use crate::oracle::signals::Origin;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The oracle's slug.
    pub oracle: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The event at which it was found, an index into [`Record::events`]; `None` for something that is missing at the
    /// end.
    pub event: Option<usize>,
    /// Time of that event since the start of the run.
    pub at: Duration,
    /// The nodes that it concerns.
    pub nodes: Vec<NodeId>,
}

/// Violations listed per oracle at most. Without a limit, a server that breaks a promise with every message would fill
/// the memory.
const LISTED_MAX: usize = 100;

/// How often each rare situation occurred, by the probe's name.
pub type Probes = BTreeMap<&'static str, usize>;

/// One promise that every run must keep: an oracle watches a record and reports where the promise is broken.
pub trait Oracle {
    /// Its slug: lowercase words joined by hyphens. Once released it never changes meaning.
    const SLUG: &'static str;
    /// Its promise, in one sentence.
    const PROMISE: &'static str;
    /// Which records it can judge.
    const JUDGES: Judges = Judges::Both;
    /// Whether it needs the events of packets and NATs. They are most of a record, so an oracle that does not need them
    /// skips them.
    const SEES_PACKETS: bool = false;

    /// Receives each event, in the order of the record.
    fn observe(&mut self, _event: &Event, _cx: &mut OracleCx<'_>) {}

    /// Called at the end of the scenario, before clients leave and the server shuts down. Judge here what must hold at
    /// the end.
    fn settle(&mut self, _cx: &mut OracleCx<'_>) {}

    /// Called at the end of the record.
    fn finish(&mut self, _cx: &mut OracleCx<'_>) {}
}

/// Which records an oracle can judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judges {
    /// Records of simulations and of real sockets.
    Both,
    /// Simulations only: it needs facts that only the server or a simulated network knows, or it judges Glare's own
    /// clients to the millisecond.
    Simulations,
    /// Real sockets only: simulations deliberately do what it forbids.
    RealSockets,
}

/// An oracle with its type erased, so that different oracles fit in one list.
pub struct AnyOracle {
    pub(crate) slug: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) judges: Judges,
    pub(crate) sees_packets: bool,
    oracle: Box<dyn Watch>,
}

/// [`Oracle`] without its constants, which would prevent it from being a `dyn` type.
trait Watch {
    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>);
    fn settle(&mut self, cx: &mut OracleCx<'_>);
    fn finish(&mut self, cx: &mut OracleCx<'_>);
}

impl<O: Oracle> Watch for O {
    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        Oracle::observe(self, event, cx);
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        Oracle::settle(self, cx);
    }

    fn finish(&mut self, cx: &mut OracleCx<'_>) {
        Oracle::finish(self, cx);
    }
}

impl AnyOracle {
    /// Wraps an oracle that has not seen any event yet.
    pub fn new<O: Oracle + 'static>(oracle: O) -> Self {
        Self {
            slug: O::SLUG,
            promise: O::PROMISE,
            judges: O::JUDGES,
            sees_packets: O::SEES_PACKETS,
            oracle: Box::new(oracle),
        }
    }

    pub(crate) fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        self.oracle.observe(event, cx);
    }

    pub(crate) fn settle(&mut self, cx: &mut OracleCx<'_>) {
        self.oracle.settle(cx);
    }

    pub(crate) fn finish(&mut self, cx: &mut OracleCx<'_>) {
        self.oracle.finish(cx);
    }
}

/// What an oracle can query about the run, and where it reports violations.
pub struct OracleCx<'a> {
    /// The scenario that was run.
    pub scenario: &'a Scenario,
    /// The whole record, including what follows the event that is judged.
    pub record: &'a Record,
    /// The state just before the event that is judged.
    pub(crate) model: Model,
    oracle: &'static str,
    event: Option<usize>,
    now: At,
    violations: Vec<Violation>,
    pub(crate) probes: Probes,
}

/// A signal that arrived.
pub(crate) struct Arrival<'e> {
    /// The id that the server names as its sender.
    pub(crate) from: Option<&'e ClientId>,
    pub(crate) kind: SignalKind,
    pub(crate) payload: &'e Arc<str>,
    /// The true origin, according to what clients have sent.
    pub(crate) origin: Origin,
}

impl<'a> OracleCx<'a> {
    pub(crate) fn new(scenario: &'a Scenario, record: &'a Record) -> Self {
        Self {
            scenario,
            record,
            model: Model::of(scenario, record),
            oracle: "",
            event: None,
            now: At { index: 0, time: Duration::ZERO },
            violations: Vec::new(),
            probes: Probes::new(),
        }
    }

    /// Sets the current oracle and its position in the record. Violations point to `event`.
    pub(crate) fn set_place(&mut self, oracle: &'static str, event: Option<usize>, index: usize, time: Duration) {
        (self.oracle, self.event, self.now) = (oracle, event, At { index, time });
    }

    pub(crate) fn into_findings(self) -> (Vec<Violation>, Probes) {
        (self.violations, self.probes)
    }

    /// Time of the event that is judged, since the start of the run; after the last event, the time of the end.
    pub fn time(&self) -> Duration {
        self.now.time
    }

    /// Reports that the event breaks the promise. `nodes` are the nodes concerned, `message` is a sentence.
    pub fn violated(&mut self, nodes: &[NodeId], message: impl Into<String>) {
        let (oracle, event, at) = (self.oracle, self.event, self.now.time);
        let before = self.violations.iter().rev().filter(|violation| violation.oracle == oracle).take(LISTED_MAX + 1);
        let message = match before.count() {
            0..LISTED_MAX => message.into(),
            LISTED_MAX => "further violations are not listed".to_owned(),
            _ => return,
        };
        self.violations.push(Violation { oracle, message, event, at, nodes: nodes.to_vec() });
    }

    /// Whether an oracle has reported a violation that concerns exactly these nodes.
    pub(crate) fn has_reported(&self, oracle: &str, nodes: &[NodeId]) -> bool {
        self.violations.iter().any(|violation| violation.oracle == oracle && violation.nodes == nodes)
    }

    /// Whether an oracle has reported a violation that concerns this node.
    pub(crate) fn has_reported_about(&self, oracle: &str, node: NodeId) -> bool {
        self.violations.iter().any(|violation| violation.oracle == oracle && violation.nodes.contains(&node))
    }

    /// Counts one occurrence of a rare situation.
    pub(crate) fn probe(&mut self, probe: &'static str) {
        debug_assert!(
            scenarios::PROBES.iter().any(|(name, _)| *name == probe),
            "`{probe}` is not in `scenarios::PROBES`"
        );
        *self.probes.entry(probe).or_default() += 1;
    }

    /// The name of a node.
    pub fn name(&self, node: NodeId) -> &str {
        self.record.name(node)
    }

    /// The actor whose machine a node is; `None` for the server, a NAT and the world.
    pub fn actor(&self, node: NodeId) -> Option<ActorIndex> {
        match self.record.nodes[usize::from(node.0)].kind {
            NodeKind::Machine(Machine::Actor(actor)) => Some(actor),
            _ => None,
        }
    }

    /// Whether a node is the machine of an actor that is a program of others.
    pub(crate) fn is_program(&self, node: NodeId) -> bool {
        self.actor(node).is_some_and(|actor| self.scenario.actors[actor].program.is_some())
    }

    /// The position of the event that is judged; after the last event, the end of the record.
    pub(crate) fn now(&self) -> At {
        self.now
    }

    /// The signal that arrived, if the event is the arrival of one.
    pub(crate) fn arrival<'e>(&self, event: &'e Event) -> Option<Arrival<'e>> {
        let What::Signaling(Signaling::Received(Message::Signal { peer, kind, payload, .. })) = &event.what else {
            return None;
        };
        let origin = self.model.signals.origin(self.now.index);
        Some(Arrival { from: peer.as_ref(), kind: *kind, payload, origin })
    }

    /// The newest stay under an id.
    pub(crate) fn stay_of(&self, id: &str) -> Option<&Stay> {
        self.model.history.stay_of(id, self.now.index)
    }

    /// The stay that a client is in, as far as the client knows.
    pub(crate) fn stay_at(&self, node: NodeId) -> Option<&Stay> {
        self.model.history.stay_at(node, self.now.index)
    }

    /// The stays of all actors that are in a room, as far as they know.
    pub(crate) fn stays(&self) -> Vec<&Stay> {
        self.nodes_of_actors().filter_map(|node| self.stay_at(node)).collect()
    }

    /// The nodes of the actors' machines.
    pub(crate) fn nodes_of_actors(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.record.nodes.len()).map(|node| NodeId(node as u16)).filter(|node| self.actor(*node).is_some())
    }

    /// The owner of an id in readable form: `ben (id bch7wvzc69)`.
    pub(crate) fn who(&self, id: &str) -> String {
        match self.stay_of(id).or_else(|| self.model.history.stays_under(id).next()) {
            Some(stay) => format!("{} (id {id})", self.name(stay.node)),
            None => format!("an unknown client (id {id})"),
        }
    }

    /// A node, plus the owner of an id if that is another node: the nodes that a violation concerns.
    pub(crate) fn with_owner(&self, node: NodeId, id: &str) -> Vec<NodeId> {
        let owner = self.stay_of(id).map(|stay| stay.node).filter(|owner| *owner != node);
        [node].into_iter().chain(owner).collect()
    }
}

/// A time in readable form: `12.056 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// The name of a kind of signal, for messages.
pub(crate) fn called(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Offer => "an offer",
        SignalKind::Answer => "an answer",
        SignalKind::IceCandidate => "a candidate",
        SignalKind::Hangup => "a hangup",
    }
}
