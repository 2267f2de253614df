//! Runs scenarios that tests build, and reads from the record what happened to each pair.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Builder, Link, Machine, OneWay, Scenario};
use sim::event::{Event, NodeKind, PacketEvent, PacketView, Record, What};
use sim::nat_matrix::Paths;
use sim::reachability::CandidateKind;

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

/// A scenario and the outcome of its run.
pub(crate) struct Played {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) record: Record,
    paths: Paths,
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
        Self { paths: Paths::of(&scenario, &record), scenario, record }
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
        self.paths.connected(ActorIndex(a), ActorIndex(b))
    }

    /// The type of the address under which `other` sees `actor`.
    pub(crate) fn seen_as(&self, actor: usize, other: usize) -> Option<CandidateKind> {
        self.paths.seen_as(ActorIndex(actor), ActorIndex(other))
    }

    /// When `a` first saw ICE connected to `b`.
    pub(crate) fn ice_connected(&self, a: usize, b: usize) -> Option<Duration> {
        self.paths.ice_connected(ActorIndex(a), ActorIndex(b))
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
