//! What every run must keep to. One promise a file.
//!
//! An oracle sees what crosses the wire and what clients experience, never a server's insides, so that it can judge any server.

mod calls;
mod model;
mod probes;
mod promise;
mod signals;
mod telephones;
mod wire;

mod answer_matches_offer;
mod at_most_once;
mod backoff_as_specified;
mod best_path_chosen;
mod call_end_agreed;
mod everyone_connected;
mod ghosts_purged;
mod legal_signaling_state;
mod mapped_address_true;
mod no_cross_room_leak;
mod no_delivery_after_leave;
mod no_echo_to_sender;
mod no_stale_generation;
mod nobody_left_ringing;
mod nothing_leaked;
mod one_leave_notice;
mod packet_conservation;
mod payload_byte_exact;
mod per_pair_fifo;
mod role_exclusive;
mod roster_matches_model;
mod rosters_converge;
mod sender_identity_stamped;
mod signaling_kept;
mod single_glare_winner;
mod states_as_specified;
mod unique_live_peer_id;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Machine, Scenario};
use serde::Serialize;

use crate::event::{Event, Message, NodeId, NodeKind, Record, SignalKind, Signaling, What};
use model::{At, Model, Stay};
pub use promise::promise;
use signals::Origin;

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

/// Violations of one promise that are listed: a server that breaks it at every message would fill the memory.
const LISTED_MAX: usize = 100;

/// How often each rare situation came about.
pub type Probes = BTreeMap<&'static str, usize>;

/// A promise: it watches a record and says where it is broken.
pub(crate) trait Oracle {
    /// Its slug, which never changes meaning.
    fn slug(&self) -> &'static str;

    /// Whether it sees packets and NATs too: they are most of a record, and few oracles look at them.
    fn watches_the_network(&self) -> bool {
        false
    }

    /// Whether it needs what only the server or a simulated network knows, or judges our own clients by the millisecond: then it judges
    /// simulations alone.
    fn needs_a_simulation(&self) -> bool {
        false
    }

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
    /// What holds just before the event that is seen.
    pub(crate) model: Model,
    oracle: &'static str,
    event: Option<usize>,
    now: At,
    violations: Vec<Violation>,
    probes: Probes,
}

/// A signal that came.
pub(crate) struct Arrival<'e> {
    /// Whom the server says it is from.
    pub(crate) from: Option<&'e Arc<str>>,
    pub(crate) kind: SignalKind,
    pub(crate) payload: &'e Arc<str>,
    /// Whom it is from by what clients have sent.
    pub(crate) origin: Origin,
}

impl Court<'_> {
    /// Says that the promise is broken here.
    pub(crate) fn violated(&mut self, nodes: &[NodeId], message: impl Into<String>) {
        let (oracle, event, at) = (self.oracle, self.event, self.now.time);
        let before = self.violations.iter().rev().filter(|violation| violation.oracle == oracle).take(LISTED_MAX + 1);
        let message = match before.count() {
            0..LISTED_MAX => message.into(),
            LISTED_MAX => "and more, which are not listed".to_owned(),
            _ => return,
        };
        self.violations.push(Violation { oracle, message, event, at, nodes: nodes.to_vec() });
    }

    /// Whether an oracle has said that a promise to these two is broken.
    pub(crate) fn has_blamed(&self, oracle: &str, nodes: &[NodeId]) -> bool {
        self.violations.iter().any(|violation| violation.oracle == oracle && violation.nodes == nodes)
    }

    /// Says that a rare situation came about.
    pub(crate) fn probe(&mut self, probe: &'static str) {
        debug_assert!(
            scenarios::PROBES.iter().any(|(name, _)| *name == probe),
            "`{probe}` has no place in the vocabulary"
        );
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

    /// The place of the event that is seen; in the end, of the scenario's end.
    pub(crate) fn now(&self) -> At {
        self.now
    }

    /// The signal that came, if the event is one.
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

    /// The owner of an id for people: `ben (id bch7wvzc69)`.
    pub(crate) fn who(&self, id: &str) -> String {
        match self.stay_of(id).or_else(|| self.model.history.stays_under(id).next()) {
            Some(stay) => format!("{} (id {id})", self.name(stay.node)),
            None => format!("somebody unknown (id {id})"),
        }
    }

    /// Those of nodes that have an id, for a violation.
    pub(crate) fn with_owner(&self, node: NodeId, id: &str) -> Vec<NodeId> {
        let owner = self.stay_of(id).map(|stay| stay.node).filter(|owner| *owner != node);
        [node].into_iter().chain(owner).collect()
    }
}

/// A time for people: `12.056 s`.
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

/// All oracles, in the order of the catalogue.
fn bench() -> Vec<Box<dyn Oracle>> {
    vec![
        Box::new(no_cross_room_leak::NoCrossRoomLeak),
        Box::new(no_delivery_after_leave::NoDeliveryAfterLeave),
        Box::new(per_pair_fifo::PerPairFifo::default()),
        Box::new(at_most_once::AtMostOnce),
        Box::new(no_echo_to_sender::NoEchoToSender),
        Box::new(sender_identity_stamped::SenderIdentityStamped),
        Box::new(unique_live_peer_id::UniqueLivePeerId),
        Box::new(roster_matches_model::RosterMatchesModel),
        Box::new(one_leave_notice::OneLeaveNotice::default()),
        Box::new(role_exclusive::RoleExclusive),
        Box::new(states_as_specified::StatesAsSpecified::default()),
        Box::new(legal_signaling_state::LegalSignalingState::default()),
        Box::new(single_glare_winner::SingleGlareWinner::default()),
        Box::new(answer_matches_offer::AnswerMatchesOffer::default()),
        Box::new(no_stale_generation::NoStaleGeneration::default()),
        Box::new(payload_byte_exact::PayloadByteExact),
        Box::new(mapped_address_true::MappedAddressTrue::default()),
        Box::new(packet_conservation::PacketConservation::default()),
        Box::new(everyone_connected::EveryoneConnected),
        Box::new(best_path_chosen::BestPathChosen::default()),
        Box::new(ghosts_purged::GhostsPurged),
        Box::new(backoff_as_specified::BackoffAsSpecified::default()),
        Box::new(rosters_converge::RostersConverge),
        Box::new(nobody_left_ringing::NobodyLeftRinging),
        Box::new(call_end_agreed::CallEndAgreed),
        Box::new(nothing_leaked::NothingLeaked::default()),
        Box::new(probes::ProbeWatch::default()),
    ]
}

/// Has all oracles judge the record of a simulation.
pub fn judge(scenario: &Scenario, record: &Record) -> (Vec<Violation>, Probes) {
    judge_by(bench(), scenario, record)
}

/// Has those oracles judge a record of real sockets that can, and one that only they need.
pub fn judge_live(scenario: &Scenario, record: &Record) -> (Vec<Violation>, Probes) {
    let mut bench = bench();
    bench.retain(|oracle| !oracle.needs_a_simulation());
    bench.insert(0, Box::new(signaling_kept::SignalingKept::default()));
    judge_by(bench, scenario, record)
}

fn judge_by(mut bench: Vec<Box<dyn Oracle>>, scenario: &Scenario, record: &Record) -> (Vec<Violation>, Probes) {
    // Those who watch the network sit in front.
    bench.sort_by_key(|oracle| !oracle.watches_the_network());
    let in_front = bench.partition_point(|oracle| oracle.watches_the_network());
    let mut court = Court {
        scenario,
        record,
        model: Model::of(scenario, record),
        oracle: "",
        event: None,
        now: At { index: 0, time: Duration::ZERO },
        violations: Vec::new(),
        probes: Probes::new(),
    };
    for (index, event) in record.events.iter().enumerate() {
        (court.event, court.now) = (Some(index), At { index, time: event.at });
        let settles = event.what == What::TearDown;
        let network = matches!(event.what, What::Packet(_) | What::Nat(_));
        let seated = if network { in_front } else { bench.len() };
        for oracle in &mut bench[..seated] {
            court.oracle = oracle.slug();
            if settles {
                court.event = None;
                oracle.settle(&mut court);
                court.event = Some(index);
            }
            oracle.observe(event, &mut court);
        }
        court.model.advance(index, event);
    }
    court.event = None;
    for oracle in &mut bench {
        court.oracle = oracle.slug();
        oracle.finish(&mut court);
    }
    (court.violations, court.probes)
}
