//! What an oracle is, and what it can ask while it watches a record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Machine, Scenario};
use serde::Serialize;

use crate::event::{Event, Message, NodeId, NodeKind, Record, SignalKind, Signaling, What};
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
    /// The event at which it was seen, an index into [`Record::events`]; `None` for what is missing at the end.
    pub event: Option<usize>,
    /// Time since the start of the run at which it was seen.
    pub at: Duration,
    /// Whom it concerns.
    pub nodes: Vec<NodeId>,
}

/// Violations of one oracle that are listed: a server that breaks a promise with every message would fill the memory.
const LISTED_MAX: usize = 100;

/// How often each rare situation came about.
pub type Probes = BTreeMap<&'static str, usize>;

/// One promise that every run must keep: an oracle watches a record and reports where the promise is broken.
pub trait Oracle {
    /// Its name: lowercase words joined by hyphens. Once released it never changes meaning.
    const SLUG: &'static str;
    /// What it promises, in one sentence.
    const PROMISE: &'static str;
    /// Which records it can judge.
    const JUDGES: Judges = Judges::Both;
    /// Whether it needs to see packets and NATs. Most of a record is that, so an oracle that does not need it is not asked.
    const SEES_PACKETS: bool = false;

    /// Sees an event, in the order of the record.
    fn observe(&mut self, _event: &Event, _cx: &mut OracleCx<'_>) {}

    /// Sees the end of the scenario, before clients leave and the server shuts down: judge here what must hold at the end.
    fn settle(&mut self, _cx: &mut OracleCx<'_>) {}

    /// Sees the end of the record.
    fn finish(&mut self, _cx: &mut OracleCx<'_>) {}
}

/// Which records an oracle can judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judges {
    /// Records of simulations and of real sockets.
    Both,
    /// Simulations only: it needs what only the server or a simulated network knows, or it judges our own clients to the millisecond.
    Simulations,
    /// Real sockets only: simulations do on purpose what it forbids.
    RealSockets,
}

/// An oracle of any type, so that different ones fit in one list.
pub struct AnyOracle {
    pub(crate) slug: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) judges: Judges,
    pub(crate) sees_packets: bool,
    oracle: Box<dyn Watch>,
}

/// [`Oracle`] without its constants, which a `dyn` type cannot have.
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
    /// An oracle that has seen nothing yet.
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

/// What an oracle can ask about the run, and where it reports what is wrong.
pub struct OracleCx<'a> {
    /// What was played.
    pub scenario: &'a Scenario,
    /// All that happened, also after the event that is judged.
    pub record: &'a Record,
    /// What holds just before the event that is judged.
    pub(crate) model: Model,
    oracle: &'static str,
    event: Option<usize>,
    now: At,
    violations: Vec<Violation>,
    pub(crate) probes: Probes,
}

/// A signal that arrived.
pub(crate) struct Arrival<'e> {
    /// Whom the server names as its sender.
    pub(crate) from: Option<&'e Arc<str>>,
    pub(crate) kind: SignalKind,
    pub(crate) payload: &'e Arc<str>,
    /// Who sent it, according to what clients have sent.
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

    /// Sets which oracle is asked, and where in the record. Violations point to `event`.
    pub(crate) fn set_place(&mut self, oracle: &'static str, event: Option<usize>, index: usize, time: Duration) {
        (self.oracle, self.event, self.now) = (oracle, event, At { index, time });
    }

    pub(crate) fn into_findings(self) -> (Vec<Violation>, Probes) {
        (self.violations, self.probes)
    }

    /// Time since the start of the run of the event that is judged; at the end, of the end.
    pub fn time(&self) -> Duration {
        self.now.time
    }

    /// Reports that the promise is broken at the event that is judged. `nodes` are whom it concerns, `message` is a sentence.
    pub fn violated(&mut self, nodes: &[NodeId], message: impl Into<String>) {
        let (oracle, event, at) = (self.oracle, self.event, self.now.time);
        let before = self.violations.iter().rev().filter(|violation| violation.oracle == oracle).take(LISTED_MAX + 1);
        let message = match before.count() {
            0..LISTED_MAX => message.into(),
            LISTED_MAX => "and more, which are not listed".to_owned(),
            _ => return,
        };
        self.violations.push(Violation { oracle, message, event, at, nodes: nodes.to_vec() });
    }

    /// Whether an oracle has reported a violation that concerns just these nodes.
    pub(crate) fn has_reported(&self, oracle: &str, nodes: &[NodeId]) -> bool {
        self.violations.iter().any(|violation| violation.oracle == oracle && violation.nodes == nodes)
    }

    /// Counts a rare situation that came about.
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

    /// The place of the event that is judged; at the end, of the end.
    pub(crate) fn now(&self) -> At {
        self.now
    }

    /// The signal that arrived, if the event is one.
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

    /// The stay that a client is in, by its own knowledge.
    pub(crate) fn stay_at(&self, node: NodeId) -> Option<&Stay> {
        self.model.history.stay_at(node, self.now.index)
    }

    /// The stays of all actors that are in a room, by their own knowledge.
    pub(crate) fn stays(&self) -> Vec<&Stay> {
        self.nodes_of_actors().filter_map(|node| self.stay_at(node)).collect()
    }

    /// The nodes of the actors' machines.
    pub(crate) fn nodes_of_actors(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.record.nodes.len()).map(|node| NodeId(node as u16)).filter(|node| self.actor(*node).is_some())
    }

    /// The owner of an id as people read it: `ben (id bch7wvzc69)`.
    pub(crate) fn who(&self, id: &str) -> String {
        match self.stay_of(id).or_else(|| self.model.history.stays_under(id).next()) {
            Some(stay) => format!("{} (id {id})", self.name(stay.node)),
            None => format!("somebody unknown (id {id})"),
        }
    }

    /// A node, and the owner of an id if that is another: whom a violation concerns.
    pub(crate) fn with_owner(&self, node: NodeId, id: &str) -> Vec<NodeId> {
        let owner = self.stay_of(id).map(|stay| stay.node).filter(|owner| *owner != node);
        [node].into_iter().chain(owner).collect()
    }
}

/// A time as people read it: `12.056 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// What a signal is called.
pub(crate) fn called(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Offer => "an offer",
        SignalKind::Answer => "an answer",
        SignalKind::IceCandidate => "a candidate",
        SignalKind::Hangup => "a hangup",
    }
}
