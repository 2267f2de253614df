//! Which actors are connected at the end of a scenario, and over which candidates, read from a record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scenarios::{ActorIndex, Machine, Scenario};

use crate::event::TransportAddress;
use crate::event::{
    CandidateKind as Gathered, ClientId, Event, IceState, Message, NodeKind, PeerChange, PeerEvent, Record, Signaling,
    TurnChange, What,
};
use crate::reachability::{CandidateKind, Path};

/// The state of a connection at the end of the scenario, as one side sees it.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    open: bool,
    ice: Option<IceState>,
    /// When ICE was first connected, in any attempt.
    connected_at: Option<Duration>,
    /// The local and the remote candidate of the selected pair.
    selected: Option<[TransportAddress; 2]>,
}

/// The connections between the actors of a scenario at its end.
///
/// The type of a candidate follows from where its address comes from, not from what an agent calls it: agents differ in
/// what they call an address that they first saw as the source of a check.
#[derive(Clone, Debug)]
pub struct Paths {
    /// By this side and the other side.
    views: BTreeMap<(ActorIndex, ActorIndex), View>,
    bases: Vec<BTreeSet<TransportAddress>>,
    mapped: Vec<BTreeSet<TransportAddress>>,
    relayed: Vec<BTreeSet<TransportAddress>>,
}

impl Paths {
    /// Reads the record of a run of a scenario, in which the server tells clients their ids.
    pub fn of(scenario: &Scenario, record: &Record) -> Self {
        let none = vec![BTreeSet::new(); scenario.actors.len()];
        let mut this = Self { views: BTreeMap::new(), bases: none.clone(), mapped: none.clone(), relayed: none };
        let mut owners: BTreeMap<ClientId, ActorIndex> = BTreeMap::new();
        for event in record.events.iter().take_while(|event| event.what != What::TearDown) {
            let Some(actor) = actor(record, event) else { continue };
            match &event.what {
                What::Signaling(Signaling::Received(Message::Joined { id, .. })) => {
                    owners.insert(id.clone(), actor);
                }
                What::Peer(event_of_peer) => this.read(actor, event.at, event_of_peer, &owners),
                _ => {}
            }
        }
        this
    }

    fn read(&mut self, actor: ActorIndex, at: Duration, event: &PeerEvent, owners: &BTreeMap<ClientId, ActorIndex>) {
        match &event.change {
            PeerChange::Mapped { base, mapped } => {
                self.bases[actor].insert(*base);
                self.mapped[actor].insert(*mapped);
                return;
            }
            PeerChange::Turn { change: TurnChange::Allocated { relayed }, .. } => {
                self.relayed[actor].insert(*relayed);
                return;
            }
            PeerChange::Candidate { local: true, candidate, .. } if candidate.kind == Gathered::Host => {
                self.bases[actor].insert(candidate.address);
                return;
            }
            _ => {}
        }
        let Some(&other) = owners.get(&*event.peer) else { return };
        let view = self.views.entry((actor, other)).or_default();
        match &event.change {
            PeerChange::Opened { .. } | PeerChange::Closed { .. } => {
                *view = View { connected_at: view.connected_at, ..View::default() };
            }
            PeerChange::ChannelOpen => view.open = true,
            PeerChange::Ice { state } => {
                view.ice = Some(*state);
                if *state == IceState::Connected {
                    view.connected_at.get_or_insert(at);
                }
            }
            PeerChange::Selected { local, remote } => view.selected = Some([local.address, remote.address]),
            _ => {}
        }
    }

    /// Whether both sides of a pair have an open data channel, and ICE reaches the other side.
    pub fn connected(&self, a: ActorIndex, b: ActorIndex) -> bool {
        let is_open = |view: &View| view.open && matches!(view.ice, Some(IceState::Connected | IceState::Completed));
        [(a, b), (b, a)].iter().all(|pair| self.views.get(pair).is_some_and(is_open))
    }

    /// The type of the address under which `other` sees `actor`, by its source: the TURN server, the interface, the STUN
    /// server, or a check. `None` if `other` has selected no pair.
    pub fn seen_as(&self, actor: ActorIndex, other: ActorIndex) -> Option<CandidateKind> {
        let [_, address] = self.views.get(&(other, actor))?.selected?;
        Some(match () {
            () if self.relayed[actor].contains(&address) => CandidateKind::Relayed,
            () if self.bases[actor].contains(&address) => CandidateKind::Host,
            () if self.mapped[actor].contains(&address) => CandidateKind::ServerReflexive,
            () => CandidateKind::PeerReflexive,
        })
    }

    /// The path between two actors, as each side sees the other, if they are connected.
    pub fn between(&self, a: ActorIndex, b: ActorIndex) -> Option<Path> {
        let end = |one, other| self.seen_as(one, other).expect("who is connected has selected a pair");
        self.connected(a, b).then(|| Path { a: end(a, b), b: end(b, a) })
    }

    /// Whether two actors that are connected have selected different pairs, because one sends through a relay of its own
    /// and the other receives from elsewhere.
    pub fn are_split(&self, a: ActorIndex, b: ActorIndex) -> bool {
        let differs = |one, other| {
            let selected = self.views.get(&(one, other)).and_then(|view| view.selected);
            let sends_from_relay = selected.map(|[local, _]| self.relayed[one].contains(&local));
            sends_from_relay != self.seen_as(one, other).map(|kind| kind == CandidateKind::Relayed)
        };
        self.connected(a, b) && (differs(a, b) || differs(b, a))
    }

    /// When `a` first saw ICE connected to `b`, in any attempt.
    pub fn ice_connected(&self, a: ActorIndex, b: ActorIndex) -> Option<Duration> {
        self.views.get(&(a, b))?.connected_at
    }
}

/// The actor on whose machine an event happened.
fn actor(record: &Record, event: &Event) -> Option<ActorIndex> {
    match record.nodes[usize::from(event.node.0)].kind {
        NodeKind::Machine(Machine::Actor(actor)) => Some(actor),
        _ => None,
    }
}
