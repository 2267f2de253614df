//! What every run must keep to. One promise a file.
//!
//! An oracle sees what crosses the wire and what clients experience, never a server's insides, so that it can judge any server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Machine, Scenario};
use serde::Serialize;

use crate::event::{Event, Message, NodeId, NodeKind, Record, Signaling, What};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The oracle's slug.
    pub oracle: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The event at which it was seen, an index into [`Record::events`]; `None` for what is missing in the end.
    pub event: Option<usize>,
    /// Virtual time at which it was seen.
    pub at: Duration,
    /// Whom it concerns.
    pub nodes: Vec<NodeId>,
}

/// How often each rare situation came about.
pub type Probes = BTreeMap<&'static str, usize>;

/// A promise: it watches a record and says where it is broken.
pub(crate) trait Oracle {
    /// Its slug, which never changes meaning.
    fn slug(&self) -> &'static str;

    /// Sees an event.
    fn observe(&mut self, event: &Event, court: &mut Court<'_>);

    /// Sees the end of the scenario, before everything is taken down: what must hold in the end is judged here.
    fn settle(&mut self, _court: &mut Court<'_>) {}

    /// Sees the end of the record.
    fn finish(&mut self, _court: &mut Court<'_>) {}
}

/// What oracles may ask, and where they say what is wrong.
pub(crate) struct Court<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) record: &'a Record,
    /// Which client an id was given to, of all ids ever given. Filled as `joined` messages come.
    pub(crate) owners: BTreeMap<Arc<str>, NodeId>,
    oracle: &'static str,
    event: Option<usize>,
    now: Duration,
    violations: Vec<Violation>,
    probes: Probes,
}

impl Court<'_> {
    /// Says that the promise is broken here.
    pub(crate) fn violated(&mut self, nodes: &[NodeId], message: impl Into<String>) {
        let (oracle, event, at) = (self.oracle, self.event, self.now);
        self.violations.push(Violation { oracle, message: message.into(), event, at, nodes: nodes.to_vec() });
    }

    /// Says that a rare situation came about.
    pub(crate) fn probe(&mut self, probe: &'static str) {
        *self.probes.entry(probe).or_default() += 1;
    }

    /// A node's name.
    pub(crate) fn name(&self, node: NodeId) -> &str {
        self.record.name(node)
    }

    /// The actor that a node is the machine of.
    pub(crate) fn actor(&self, node: NodeId) -> Option<ActorIndex> {
        match self.record.nodes[usize::from(node.0)].kind {
            NodeKind::Machine(Machine::Actor(actor)) => Some(actor),
            _ => None,
        }
    }

    /// Virtual time of the event that is seen.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }
}

/// All oracles, in the order of the catalogue.
fn bench() -> Vec<Box<dyn Oracle>> {
    vec![]
}

/// Has all oracles judge a record.
pub(crate) fn judge(scenario: &Scenario, record: &Record) -> (Vec<Violation>, Probes) {
    judge_by(bench(), scenario, record)
}

fn judge_by(mut bench: Vec<Box<dyn Oracle>>, scenario: &Scenario, record: &Record) -> (Vec<Violation>, Probes) {
    let mut court = Court {
        scenario,
        record,
        owners: BTreeMap::new(),
        oracle: "",
        event: None,
        now: Duration::ZERO,
        violations: Vec::new(),
        probes: Probes::new(),
    };
    for (index, event) in record.events.iter().enumerate() {
        (court.event, court.now) = (Some(index), event.at);
        if let What::Signaling(Signaling::Received(Message::Joined { id, .. })) = &event.what {
            court.owners.entry(id.clone()).or_insert(event.node);
        }
        let settles = event.what == What::TearDown;
        for oracle in &mut bench {
            court.oracle = oracle.slug();
            if settles {
                court.event = None;
                oracle.settle(&mut court);
                court.event = Some(index);
            }
            oracle.observe(event, &mut court);
        }
    }
    court.event = None;
    for oracle in &mut bench {
        court.oracle = oracle.slug();
        oracle.finish(&mut court);
    }
    (court.violations, court.probes)
}
