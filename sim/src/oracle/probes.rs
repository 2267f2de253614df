//! Rare situations that scenarios aim at: a sweep in which a probe is never hit has not tested what it says.
//!
//! No promise but one: what a scenario expects to be hit is hit. Only what happens before the end of the scenario counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use scenarios::{Machine, PortAllocation, Role};

use crate::event::{
    CallStep, CandidateKind, ClientState, Closed, Drop, Event, Fault, IceState, MachineEvent, Message, NatEvent,
    NodeId, NodeKind, PacketEvent, PeerChange, PeerEvent, Protocol, Refusal, SignalKind, Signaling, What,
};
use crate::oracle::model::Stay;
use crate::oracle::role_exclusive::holders;
use crate::oracle::signals::Origin;
use crate::oracle::telephones::Line;
use crate::oracle::{Court, Oracle};

#[derive(Default)]
pub(crate) struct ProbeWatch {
    is_over: bool,
    /// Clients that have lost their signaling.
    lost: BTreeSet<NodeId>,
    server_boots: usize,
    /// Senders and viewers whose partner has left.
    left: BTreeSet<NodeId>,
}

impl Oracle for ProbeWatch {
    fn slug(&self) -> &'static str {
        "expected-probes"
    }

    fn watches_the_network(&self) -> bool {
        true
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        self.is_over |= event.what == What::TearDown;
        if self.is_over {
            return;
        }
        match &event.what {
            What::Peer(peer) => of_peer(event.node, peer, court),
            What::Nat(nat) => of_nat(event.node, nat, court),
            What::Packet(packet) => of_packet(event.node, packet, court),
            What::Signaling(signaling) => self.of_signaling(event, signaling, court),
            What::Machine(machine) => self.of_machine(event.node, *machine, court),
            What::Fault(Fault::PowerLoss) if court.actor(event.node).is_some() => court.probe("power-lost"),
            What::Fault(Fault::PowerLoss) => court.probe("server-crashed"),
            _ => {}
        }
    }

    fn finish(&mut self, court: &mut Court<'_>) {
        for probe in &court.scenario.expect.probes {
            if !court.probes.contains_key(probe.as_str()) {
                court.violated(&[], format!("the scenario expects `{probe}`, which never came about"));
            }
        }
    }
}

impl ProbeWatch {
    fn of_machine(&mut self, node: NodeId, event: MachineEvent, court: &mut Court<'_>) {
        let is_server = court.record.nodes[usize::from(node.0)].kind == NodeKind::Machine(Machine::Server);
        match event {
            MachineEvent::Booted if is_server => {
                self.server_boots += 1;
                if self.server_boots > 1 {
                    court.probe("server-restarted");
                }
            }
            _ => {}
        }
        self.lost.remove(&node);
    }

    fn of_signaling(&mut self, event: &Event, signaling: &Signaling, court: &mut Court<'_>) {
        match signaling {
            Signaling::Connected if self.lost.remove(&event.node) => court.probe("reconnected"),
            Signaling::Closed { reason, .. } => {
                let was_open = court.model.history.connection_at(event.node, court.now().index - 1).is_some();
                if was_open && &**reason != "left" {
                    self.lost.insert(event.node);
                    court.probe("signaling-lost");
                }
                if &**reason == "no pong" {
                    court.probe("missed-pong");
                }
            }
            Signaling::GaveUp { .. } => court.probe("gave-up"),
            Signaling::Received(Message::Error { text }) => {
                court.probe("signal-refused");
                if text.ends_with("-already-exists") {
                    of_refusal(event.node, court);
                }
            }
            Signaling::Received(Message::Admitted { room, .. }) => of_admission(event.node, room, court),
            Signaling::Received(Message::PartnerLeft { .. }) => {
                self.left.insert(event.node);
            }
            Signaling::State { state: ClientState::Active } if self.left.remove(&event.node) => {
                court.probe("partner-replaced");
            }
            Signaling::Received(Message::Call { peer, step }) => of_call(event.node, peer, *step, court),
            Signaling::Received(Message::Joined { roster, .. }) => {
                let is_gone =
                    |id: &str| court.stay_of(id).is_some_and(|stay| stay.ended.is_some_and(|at| at < court.now()));
                if roster.iter().any(|member| is_gone(&member.id)) {
                    court.probe("ghost-listed");
                }
            }
            Signaling::Received(Message::Signal { kind: SignalKind::Offer, .. }) => {
                let Origin::Sent(offer) = court.model.signals.origin(court.now().index) else { return };
                if court.model.signals.sent[offer].node == event.node {
                    // Who broadcasts hears itself.
                    return;
                }
                // It is seen when the second of the two comes.
                let has_come =
                    |other: usize| court.model.signals.sent[other].arrived.is_some_and(|at| at < court.now());
                if court.model.signals.crossing(offer).any(has_come) {
                    court.probe("glare");
                }
            }
            _ => {}
        }
    }
}

fn of_refusal(node: NodeId, court: &mut Court<'_>) {
    court.probe("role-refused");
    let Some(role) = court.actor(node).map(|actor| court.scenario.actors[actor].plays) else { return };
    let Some(connection) = court.model.history.connection_at(node, court.now().index) else { return };
    let Some((asked, room)) = court.model.history.connections[connection].asked_before(court.now()) else { return };
    let is_gone = |stay: &Stay| stay.ended.is_some_and(|ended| ended < asked);
    if holders(court, role, &room, connection).all(is_gone) {
        court.probe("ghost-holds-role");
    }
}

fn of_admission(node: NodeId, room: &Arc<str>, court: &mut Court<'_>) {
    let Some(stay) = court.stay_at(node) else { return };
    let is_viewer = stay.role == Role::Viewer;
    if is_viewer && holders(court, Role::Sender, room, stay.connection).next().is_none() {
        court.probe("viewer-first");
    }
}

fn of_call(node: NodeId, peer: &Arc<str>, step: CallStep, court: &mut Court<'_>) {
    let line = court.model.telephones.line(node).0;
    if line.peer().is_some_and(|with| with != peer) {
        return;
    }
    match (step, line) {
        (CallStep::Ring, Line::Calling(_)) => court.probe("call-glare"),
        (CallStep::Accept, Line::Calling(_)) => court.probe("call-taken"),
        (CallStep::Reject, Line::Calling(_)) => court.probe("call-rejected"),
        (CallStep::Busy, Line::Calling(_)) => court.probe("call-busy"),
        (CallStep::End, Line::Ringing(_) | Line::Calling(_)) => court.probe("call-ended-ringing"),
        (CallStep::Media { .. }, _) => court.probe("media-toggled"),
        _ => {}
    }
}

fn of_peer(node: NodeId, PeerEvent { peer, attempt, change }: &PeerEvent, court: &mut Court<'_>) {
    match change {
        PeerChange::Opened { offerer: true } if *attempt > 1 => court.probe("offered-again"),
        PeerChange::CandidateQueued => court.probe("early-candidate"),
        PeerChange::Stale { .. } => court.probe("stale-signal"),
        PeerChange::Ice { state: IceState::Disconnected } => court.probe("ice-disconnected"),
        PeerChange::Ice { state: IceState::Failed } => court.probe("ice-failed"),
        PeerChange::RolledBack => court.probe("rolled-back"),
        PeerChange::IceRestart => court.probe("ice-restarted"),
        PeerChange::Selected { remote, .. } if remote.kind == CandidateKind::Prflx => court.probe("peer-reflexive"),
        PeerChange::Closed { why: Closed::Timeout }
            if court.model.calls.get(node, peer).is_some_and(|call| call.is_ice_up() && !call.has_channel) =>
        {
            court.probe("dtls-hung");
        }
        PeerChange::Closed { why: Closed::Hangup | Closed::RemoteHangup } => court.probe("hung-up"),
        _ => {}
    }
}

fn of_nat(node: NodeId, event: &NatEvent, court: &mut Court<'_>) {
    match event {
        NatEvent::Created(mapping) if mapping.external.port() != mapping.internal.port() => {
            let NodeKind::Nat(network) = court.record.nodes[usize::from(node.0)].kind else { return };
            let nat = &court.scenario.networks[network].nat;
            if nat.as_ref().is_some_and(|nat| nat.port_allocation == PortAllocation::Preserve) {
                court.probe("port-collision");
            }
        }
        NatEvent::Expired(mapping) if mapping.protocol == Protocol::Udp => court.probe("mapping-expired"),
        NatEvent::Rebooted { .. } => court.probe("nat-rebooted"),
        NatEvent::Refused { why, .. } => {
            court.probe("nat-refused");
            match why {
                Refusal::HairpinOff => court.probe("hairpin-refused"),
                Refusal::PortsExhausted => court.probe("ports-exhausted"),
                Refusal::TableFull => court.probe("table-full"),
                Refusal::TcpMidStream => court.probe("tcp-mapping-lost"),
                Refusal::UdpBlocked => court.probe("udp-blocked"),
                Refusal::NoMapping | Refusal::Filtered => {}
            }
        }
        _ => {}
    }
}

fn of_packet(node: NodeId, event: &PacketEvent, court: &mut Court<'_>) {
    match event {
        PacketEvent::Duplicated { .. } => court.probe("packet-duplicated"),
        PacketEvent::Reordered { .. } => court.probe("packet-reordered"),
        PacketEvent::Dropped { why, .. } => match why {
            Drop::Loss => court.probe("packet-lost"),
            Drop::Congestion => court.probe("packet-congested"),
            Drop::Partition => court.probe("partitioned"),
            Drop::ReceiveBufferFull => court.probe("receive-buffer-full"),
            _ => {}
        },
        PacketEvent::Delivered(view) if view.protocol == Protocol::Udp => {
            let Some(actor) = court.actor(node) else { return };
            let networks = &court.scenario.networks;
            let mut at = court.scenario.actors[actor].network;
            while let Some(network) = at {
                if networks[network].external.contains(view.src.ip()) {
                    return court.probe("hairpinned");
                }
                at = networks[network].behind;
            }
        }
        _ => {}
    }
}
