//! Runs scenarios that tests build, and reads from the record what happened to each pair.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Builder, Link, Machine, OneWay, Scenario};
use sim::event::{
    CandidateKind, ClientId, Event, IceState, Message, NodeKind, PacketEvent, PacketView, PeerChange, PeerEvent,
    Record, Signaling, TurnChange, What,
};

/// The server's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// A link with a latency of 10 ms and no faults.
pub(crate) const LINK: Link = link(10);

/// A link with this latency and no faults.
pub(crate) const fn link(latency_ms: u64) -> Link {
    Link::both(way(latency_ms))
}

/// A direction of a link with this latency and no faults.
pub(crate) const fn way(latency_ms: u64) -> OneWay {
    OneWay::with_latency(Duration::from_millis(latency_ms))
}

/// Starts a scenario of the given length.
pub(crate) fn scenario(seconds: u64) -> Builder {
    Builder::new("built", Duration::from_secs(seconds))
}

/// A packet, as seen where it was sent or where it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) sent: bool,
    pub(crate) view: PacketView,
}

/// The state of a connection at the end of the scenario, as one side sees it.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    open: bool,
    ice: Option<IceState>,
    /// When ICE was first connected, in any attempt.
    connected_at: Option<Duration>,
    /// The remote candidate of the selected pair.
    selected: Option<SocketAddrV4>,
}

/// A scenario and the outcome of its run.
pub(crate) struct Played {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) record: Record,
    /// The state of each connection, by this side and the other side.
    views: BTreeMap<(ActorIndex, ActorIndex), View>,
    bases: Vec<BTreeSet<SocketAddrV4>>,
    mapped: Vec<BTreeSet<SocketAddrV4>>,
    relayed: Vec<BTreeSet<SocketAddrV4>>,
}

impl Played {
    /// Runs a scenario.
    pub(crate) fn of(built: Builder, seed: u64) -> Self {
        let scenario = Arc::new(built.build());
        let record = sim::run::record(&scenario, seed).unwrap_or_else(|crash| panic!("{crash:?}\n{scenario:#?}"));
        Self::read(scenario, record)
    }

    /// Reads the record of a run.
    pub(crate) fn read(scenario: Arc<Scenario>, record: Record) -> Self {
        let none = vec![BTreeSet::new(); scenario.actors.len()];
        let mut this =
            Self { views: BTreeMap::new(), bases: none.clone(), mapped: none.clone(), relayed: none, scenario, record };
        let mut owners: BTreeMap<ClientId, ActorIndex> = BTreeMap::new();
        for event in this.record.events.iter().take_while(|event| event.what != What::TearDown) {
            let Some(actor) = this.actor(event) else { continue };
            match &event.what {
                What::Signaling(Signaling::Received(Message::Joined { id, .. })) => {
                    owners.insert(id.clone(), actor);
                }
                What::Peer(PeerEvent { change: PeerChange::Mapped { base, mapped }, .. }) => {
                    this.bases[actor].insert(*base);
                    this.mapped[actor].insert(*mapped);
                }
                What::Peer(PeerEvent {
                    change: PeerChange::Turn { change: TurnChange::Allocated { relayed }, .. },
                    ..
                }) => {
                    this.relayed[actor].insert(*relayed);
                }
                What::Peer(PeerEvent { change: PeerChange::Candidate { local: true, candidate, .. }, .. })
                    if candidate.kind == CandidateKind::Host =>
                {
                    this.bases[actor].insert(candidate.address);
                }
                What::Peer(PeerEvent { peer, change, .. }) => {
                    let Some(&other) = owners.get(&**peer) else { continue };
                    let view = this.views.entry((actor, other)).or_default();
                    match change {
                        PeerChange::Opened { .. } | PeerChange::Closed { .. } => {
                            *view = View { connected_at: view.connected_at, ..View::default() };
                        }
                        PeerChange::ChannelOpen => view.open = true,
                        PeerChange::Ice { state } => {
                            view.ice = Some(*state);
                            if *state == IceState::Connected {
                                view.connected_at.get_or_insert(event.at);
                            }
                        }
                        PeerChange::Selected { remote, .. } => view.selected = Some(remote.address),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        this
    }

    /// The actor on whose machine an event happened.
    pub(crate) fn actor(&self, event: &Event) -> Option<ActorIndex> {
        match self.record.nodes[usize::from(event.node.0)].kind {
            NodeKind::Machine(Machine::Actor(actor)) => Some(actor),
            _ => None,
        }
    }

    /// Whether both sides of a pair have an open data channel at the end.
    pub(crate) fn connected(&self, a: usize, b: usize) -> bool {
        let (a, b) = (ActorIndex(a), ActorIndex(b));
        [(a, b), (b, a)].iter().all(|pair| {
            self.views
                .get(pair)
                .is_some_and(|view| view.open && matches!(view.ice, Some(IceState::Connected | IceState::Completed)))
        })
    }

    /// The type of the address under which `other` sees `actor`, by its source: the TURN server, the interface, the
    /// STUN server, or a check.
    pub(crate) fn seen_as(&self, actor: usize, other: usize) -> Option<sim::reachability::CandidateKind> {
        let (actor, other) = (ActorIndex(actor), ActorIndex(other));
        use sim::reachability::CandidateKind::{Host, PeerReflexive, Relayed, ServerReflexive};
        let address = self.views.get(&(other, actor))?.selected?;
        Some(match () {
            () if self.relayed[actor].contains(&address) => Relayed,
            () if self.bases[actor].contains(&address) => Host,
            () if self.mapped[actor].contains(&address) => ServerReflexive,
            () => PeerReflexive,
        })
    }

    /// When `a` first saw ICE connected to `b`.
    pub(crate) fn ice_connected(&self, a: usize, b: usize) -> Option<Duration> {
        self.views.get(&(ActorIndex(a), ActorIndex(b)))?.connected_at
    }

    /// All packets that machines sent, and all that they received.
    pub(crate) fn packets(&self) -> impl Iterator<Item = Seen> {
        self.record.events.iter().filter_map(|event| match event.what {
            What::Packet(PacketEvent::Sent(view)) => Some(Seen { sent: true, view }),
            What::Packet(PacketEvent::Delivered(view)) => Some(Seen { sent: false, view }),
            _ => None,
        })
    }

    /// The events to read when a run surprises: all except packets and mappings.
    pub(crate) fn story(&self) -> String {
        let is_shown = |event: &&Event| !matches!(event.what, What::Packet(_) | What::Nat(_) | What::Signaling(_));
        let line = |event| self.record.json_line(event).chars().take(240).collect::<String>();
        self.record.events.iter().filter(is_shown).map(line).collect::<Vec<_>>().join("\n")
    }
}
