//! Scenarios in a line or two, and what came of their pairs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use scenarios::{
    Action, Actor, ActorIndex, Expect, Link, Machine, NatBehavior, Network, NetworkIndex, Scenario, ServerSetup, Step,
};
use sim::event::{
    CandidateKind, Event, IceState, Message, NodeKind, PacketEvent, PacketView, PeerChange, PeerEvent, Record,
    Signaling, What,
};

/// The server's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// 10 ms, and nothing else.
pub(crate) const LINK: Link = link(10);

const NAMES: [&str; 12] = ["ana", "ben", "cam", "dee", "eli", "fay", "gus", "hal", "ida", "jon", "kim", "lou"];

/// A link that only takes time.
pub(crate) const fn link(latency_ms: u64) -> Link {
    Link {
        latency: Duration::from_millis(latency_ms),
        jitter: Duration::ZERO,
        loss_ppm: 0,
        duplicate_ppm: 0,
        reorder_ppm: 0,
        bandwidth_bps: None,
    }
}

/// Makes a scenario of the given length; everybody is in one room, and joins 50 ms after the one before.
pub(crate) fn scenario(seconds: u64) -> Build {
    Build(Scenario {
        name: "built".to_owned(),
        about: "built by a test".to_owned(),
        spec: Vec::new(),
        duration: Duration::from_secs(seconds),
        server: ServerSetup { address: SERVER, link: LINK, heartbeat: Duration::from_secs(20) },
        networks: Vec::new(),
        actors: Vec::new(),
        steps: Vec::new(),
        expect: Expect::default(),
    })
}

/// A scenario that grows.
pub(crate) struct Build(pub(crate) Scenario);

impl Build {
    /// A home behind a NAT on the internet. Its hosts are in 192.168.N.0/24, N being its index from 1.
    pub(crate) fn home(self, nat: NatBehavior) -> Self {
        self.network(None, nat)
    }

    /// A network behind a NAT whose outside is in the network `behind`.
    pub(crate) fn network(mut self, behind: Option<usize>, nat: NatBehavior) -> Self {
        let number = self.0.networks.len() as u8 + 1;
        self.0.networks.push(Network {
            name: format!("net-{number}"),
            behind: behind.map(NetworkIndex),
            external: vec![match behind {
                None => Ipv4Addr::new(198, 51, 100, number),
                Some(outer) => Ipv4Addr::new(192, 168, outer as u8 + 1, 100 + number),
            }],
            gateway: Ipv4Addr::new(192, 168, number, 1),
            profile: "built".to_owned(),
            nat: Some(nat),
            link: LINK,
        });
        self
    }

    /// Somebody in a network, or on the internet.
    pub(crate) fn peer(mut self, network: impl Into<Option<usize>>) -> Self {
        let (index, network) = (self.0.actors.len(), network.into());
        let last = 10 + index as u8;
        self.0.actors.push(Actor {
            name: NAMES[index].to_owned(),
            network: network.map(NetworkIndex),
            address: network
                .map_or(Ipv4Addr::new(203, 0, 113, last), |network| Ipv4Addr::new(192, 168, network as u8 + 1, last)),
            link: network.map_or(LINK, |_| link(1)),
            plays: scenarios::Role::Mesh,
            over: scenarios::Framing::WebSocket,
            room: "room".to_owned(),
            joins: Some(Duration::from_millis(50 * index as u64)),
            webrtc: true,
            line: 1,
        });
        self
    }

    /// Gives the last peer another address.
    pub(crate) fn with_address(mut self, address: [u8; 4]) -> Self {
        self.0.actors.last_mut().expect("a peer was added").address = address.into();
        self
    }

    /// Something happens, at the given second.
    pub(crate) fn at(mut self, second: u64, action: Action) -> Self {
        self.0.steps.push(Step { at: Duration::from_secs(second), action, line: self.0.steps.len() + 1 });
        self
    }

    pub(crate) fn done(self) -> Arc<Scenario> {
        Arc::new(self.0)
    }

    /// Plays it.
    pub(crate) fn play(self, seed: u64) -> Played {
        let scenario = self.done();
        match sim::run::record(&scenario, seed) {
            Ok(record) => Played::new(scenario, record),
            Err(crash) => panic!("{crash:?}\n{scenario:#?}"),
        }
    }
}

/// A packet at the place where it was sent, or where it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) sent: bool,
    pub(crate) view: PacketView,
}

/// What somebody thinks of a pair when the scenario is over.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    open: bool,
    ice: Option<IceState>,
    /// When ICE was connected for the first time, in any attempt.
    connected_at: Option<Duration>,
    /// The other's end of the selected pair.
    selected: Option<SocketAddrV4>,
}

/// A scenario and what came of it.
pub(crate) struct Played {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) record: Record,
    /// What each actor thinks of each other one.
    views: BTreeMap<(ActorIndex, ActorIndex), View>,
    bases: Vec<BTreeSet<SocketAddrV4>>,
    mapped: Vec<BTreeSet<SocketAddrV4>>,
}

impl Played {
    fn new(scenario: Arc<Scenario>, record: Record) -> Self {
        let none = vec![BTreeSet::new(); scenario.actors.len()];
        let mut this = Self { views: BTreeMap::new(), bases: none.clone(), mapped: none, scenario, record };
        let mut owners: BTreeMap<Arc<str>, ActorIndex> = BTreeMap::new();
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
                What::Peer(PeerEvent { change: PeerChange::Candidate { local: true, candidate, .. }, .. })
                    if candidate.kind == CandidateKind::Host =>
                {
                    this.bases[actor].insert(candidate.address);
                }
                What::Peer(PeerEvent { peer, change, .. }) => {
                    let Some(&other) = owners.get(peer) else { continue };
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

    /// The actor whose machine an event is about.
    pub(crate) fn actor(&self, event: &Event) -> Option<ActorIndex> {
        match self.record.nodes[usize::from(event.node.0)].kind {
            NodeKind::Machine(Machine::Actor(actor)) => Some(actor),
            _ => None,
        }
    }

    /// Whether both ends of a pair have an open channel at the end.
    pub(crate) fn connected(&self, a: usize, b: usize) -> bool {
        let (a, b) = (ActorIndex(a), ActorIndex(b));
        [(a, b), (b, a)].iter().all(|pair| {
            self.views
                .get(pair)
                .is_some_and(|view| view.open && matches!(view.ice, Some(IceState::Connected | IceState::Completed)))
        })
    }

    /// As what kind of address `other` sees `actor`, by who told the address: the interface, the STUN server, or a check.
    pub(crate) fn seen_as(&self, actor: usize, other: usize) -> Option<sim::reachability::CandidateKind> {
        let (actor, other) = (ActorIndex(actor), ActorIndex(other));
        use sim::reachability::CandidateKind::{Host, PeerReflexive, ServerReflexive};
        let address = self.views.get(&(other, actor))?.selected?;
        Some(match () {
            () if self.bases[actor].contains(&address) => Host,
            () if self.mapped[actor].contains(&address) => ServerReflexive,
            () => PeerReflexive,
        })
    }

    /// When `a` first saw ICE connected with `b`.
    pub(crate) fn ice_connected(&self, a: usize, b: usize) -> Option<Duration> {
        self.views.get(&(ActorIndex(a), ActorIndex(b)))?.connected_at
    }

    /// All packets that machines sent and that machines received.
    pub(crate) fn packets(&self) -> impl Iterator<Item = Seen> {
        self.record.events.iter().filter_map(|event| match event.what {
            What::Packet(PacketEvent::Sent(view)) => Some(Seen { sent: true, view }),
            What::Packet(PacketEvent::Delivered(view)) => Some(Seen { sent: false, view }),
            _ => None,
        })
    }

    /// The events that a person reads when a run surprises: all but packets and mappings.
    pub(crate) fn story(&self) -> String {
        let told = |event: &&Event| !matches!(event.what, What::Packet(_) | What::Nat(_) | What::Signaling(_));
        let line = |event| self.record.json_line(event).chars().take(240).collect::<String>();
        self.record.events.iter().filter(told).map(line).collect::<Vec<_>>().join("\n")
    }
}
