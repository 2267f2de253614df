//! Each rare situation that scenarios aim at is a named probe. If no run of a sweep hits a probe, the sweep has not
//! tested what it claims to test. Only events before the end of the scenario count.

use std::collections::BTreeSet;

use scenarios::{Machine, PortAllocation, Role, Scenario};

use crate::event::{
    CallStep, CandidateKind, ClientId, ClientState, Closed, Drop, Event, Fault, IceState, MachineEvent, Message,
    NatEvent, NodeId, NodeKind, PacketEvent, PeerChange, PeerEvent, Protocol, Refusal, Refused, RoomName, SignalKind,
    Signaling, TurnChange, What,
};
use crate::oracle::Probes;
use crate::oracle::call_states::CallState;
use crate::oracle::cx::{Oracle, OracleCx};
use crate::oracle::history::Stay;
use crate::oracle::role_exclusive::holders;
use crate::oracle::signals::Origin;

/// Situations that a server may bring about or not, as it likes: it decides when it takes a silent client for gone, and what it
/// refuses.
const OF_SERVER: &[&str] = &[
    "gave-up",
    "ghost-holds-role",
    "ghost-listed",
    "missed-pong",
    "partner-replaced",
    "reconnected",
    "role-refused",
    "signal-refused",
    "signaling-lost",
];

/// The situations that a scenario expects and that did not occur, but not for want of trying: a server program need not
/// bring them about as the reference server does. What they were to test is not tested.
pub fn left_to_the_server<'a>(scenario: &'a Scenario, probes: &Probes) -> Vec<&'a str> {
    let expected = scenario.expect.probes.iter().map(String::as_str);
    expected.filter(|probe| is_left_to_the_server(scenario, probe) && !probes.contains_key(probe)).collect()
}

fn is_left_to_the_server(scenario: &Scenario, probe: &str) -> bool {
    scenario.server.program.is_some() && OF_SERVER.contains(&probe)
}

#[derive(Default)]
pub(crate) struct ExpectedProbes {
    is_over: bool,
    /// Clients that have lost their signaling connection.
    lost: BTreeSet<NodeId>,
    server_boots: usize,
    /// Senders and viewers whose partner has left.
    left: BTreeSet<NodeId>,
}

impl Oracle for ExpectedProbes {
    const SLUG: &'static str = "expected-probes";
    const PROMISE: &'static str =
        "Every rare situation that the scenario expects occurs, but for those that a server program may avoid.";
    const SEES_PACKETS: bool = true;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        self.is_over |= event.what == What::TearDown;
        if self.is_over {
            return;
        }
        match &event.what {
            What::Peer(peer) => of_peer(event.node, peer, cx),
            What::Nat(nat) => of_nat(event.node, nat, cx),
            What::Packet(packet) => of_packet(event.node, packet, cx),
            What::Signaling(signaling) => self.of_signaling(event, signaling, cx),
            What::Machine(machine) => self.of_machine(event.node, *machine, cx),
            What::Fault(Fault::PowerLoss) if cx.actor(event.node).is_some() => cx.probe("power-lost"),
            What::Fault(Fault::PowerLoss) if is_server(event.node, cx) => cx.probe("server-crashed"),
            _ => {}
        }
    }

    fn finish(&mut self, cx: &mut OracleCx<'_>) {
        for probe in &cx.scenario.expect.probes {
            if !cx.probes.contains_key(probe.as_str()) && !is_left_to_the_server(cx.scenario, probe) {
                cx.violated(&[], format!("the scenario expects `{probe}`, which never occurred"));
            }
        }
    }
}

impl ExpectedProbes {
    fn of_machine(&mut self, node: NodeId, event: MachineEvent, cx: &mut OracleCx<'_>) {
        match event {
            MachineEvent::Booted if is_server(node, cx) => {
                self.server_boots += 1;
                if self.server_boots > 1 {
                    cx.probe("server-restarted");
                }
            }
            _ => {}
        }
        self.lost.remove(&node);
    }

    fn of_signaling(&mut self, event: &Event, signaling: &Signaling, cx: &mut OracleCx<'_>) {
        match signaling {
            Signaling::Connected if self.lost.remove(&event.node) => cx.probe("reconnected"),
            Signaling::Closed { reason, .. } => {
                let was_open = cx.model.history.connection_at(event.node, cx.now().index - 1).is_some();
                if was_open && &**reason != "left" {
                    self.lost.insert(event.node);
                    cx.probe("signaling-lost");
                }
                if &**reason == "no pong" {
                    cx.probe("missed-pong");
                }
            }
            Signaling::GaveUp { .. } => cx.probe("gave-up"),
            Signaling::Received(Message::Error { .. }) => cx.probe("signal-refused"),
            Signaling::Received(Message::Refused { why, .. }) => {
                cx.probe("signal-refused");
                if *why == Refused::RoleTaken {
                    of_refused_role(event.node, cx);
                }
            }
            Signaling::Received(Message::Admitted { room, .. }) => of_admission(event.node, room, cx),
            Signaling::Received(Message::PartnerLeft { .. }) => {
                self.left.insert(event.node);
            }
            Signaling::State { state: ClientState::Active } if self.left.remove(&event.node) => {
                cx.probe("partner-replaced");
            }
            Signaling::Received(Message::Call { peer, step }) => of_call(event.node, peer, *step, cx),
            Signaling::Received(Message::Joined { roster, .. }) => {
                let is_gone = |id: &str| cx.stay_of(id).is_some_and(|stay| stay.ended.is_some_and(|at| at < cx.now()));
                if roster.iter().any(|member| is_gone(&member.id)) {
                    cx.probe("ghost-listed");
                }
            }
            Signaling::Received(Message::Signal { kind: SignalKind::Offer, .. }) => {
                let Origin::Sent(offer) = cx.model.signals.origin(cx.now().index) else { return };
                if cx.model.signals.sent[offer].node == event.node {
                    // In a dialect with broadcasts, a client receives its own signals.
                    return;
                }
                // A crossing is counted when the second of the two signals arrives.
                let has_come = |other: usize| cx.model.signals.sent[other].arrived.is_some_and(|at| at < cx.now());
                if cx.model.signals.crossing(offer).any(has_come) {
                    cx.probe("glare");
                }
            }
            _ => {}
        }
    }
}

fn is_server(node: NodeId, cx: &OracleCx<'_>) -> bool {
    cx.record.nodes[usize::from(node.0)].kind == NodeKind::Machine(Machine::Server)
}

fn of_refused_role(node: NodeId, cx: &mut OracleCx<'_>) {
    cx.probe("role-refused");
    let Some(role) = cx.actor(node).map(|actor| cx.scenario.actors[actor].plays) else { return };
    let Some(connection) = cx.model.history.connection_at(node, cx.now().index) else { return };
    let Some((asked, room)) = cx.model.history.connections[connection].asked_before(cx.now()) else { return };
    let is_gone = |stay: &Stay| stay.ended.is_some_and(|ended| ended < asked);
    if holders(cx, role, &room, connection).all(is_gone) {
        cx.probe("ghost-holds-role");
    }
}

fn of_admission(node: NodeId, room: &RoomName, cx: &mut OracleCx<'_>) {
    let Some(stay) = cx.stay_at(node) else { return };
    let is_viewer = stay.role == Role::Viewer;
    if is_viewer && holders(cx, Role::Sender, room, stay.connection).next().is_none() {
        cx.probe("viewer-first");
    }
}

fn of_call(node: NodeId, peer: &ClientId, step: CallStep, cx: &mut OracleCx<'_>) {
    let line = cx.model.call_states.state(node).0;
    if line.peer().is_some_and(|with| with != peer) {
        return;
    }
    match (step, line) {
        (CallStep::Ring, CallState::Calling(_)) => cx.probe("call-glare"),
        (CallStep::Accept, CallState::Calling(_)) => cx.probe("call-taken"),
        (CallStep::Reject, CallState::Calling(_)) => cx.probe("call-rejected"),
        (CallStep::Busy, CallState::Calling(_)) => cx.probe("call-busy"),
        (CallStep::End, CallState::Ringing(_) | CallState::Calling(_)) => cx.probe("call-ended-ringing"),
        (CallStep::Media { .. }, _) => cx.probe("media-toggled"),
        _ => {}
    }
}

fn of_peer(node: NodeId, PeerEvent { peer, attempt, change }: &PeerEvent, cx: &mut OracleCx<'_>) {
    match change {
        PeerChange::Opened { offerer: true } if *attempt > 1 => cx.probe("offered-again"),
        PeerChange::CandidateQueued => cx.probe("early-candidate"),
        PeerChange::Stale { .. } => cx.probe("stale-signal"),
        PeerChange::Ice { state: IceState::Disconnected } => cx.probe("ice-disconnected"),
        PeerChange::Ice { state: IceState::Failed } => cx.probe("ice-failed"),
        PeerChange::RolledBack => cx.probe("rolled-back"),
        PeerChange::IceRestart => cx.probe("ice-restarted"),
        PeerChange::Silent { .. } => cx.probe("media-silent"),
        PeerChange::Selected { local, remote } => {
            if remote.kind == CandidateKind::Prflx {
                cx.probe("peer-reflexive");
            }
            if [local, remote].iter().any(|candidate| candidate.kind == CandidateKind::Relay) {
                cx.probe("relayed");
            }
        }
        PeerChange::Turn { change, .. } => match change {
            TurnChange::Refused { .. } => cx.probe("turn-refused"),
            TurnChange::Unanswered => cx.probe("turn-unanswered"),
            TurnChange::Lost => cx.probe("allocation-lost"),
            TurnChange::Allocated { .. } | TurnChange::Released => {}
        },
        PeerChange::Closed { why: Closed::Timeout }
            if cx.model.peer_connections.get(node, peer).is_some_and(|call| call.is_ice_up() && !call.has_channel) =>
        {
            cx.probe("dtls-hung");
        }
        PeerChange::Closed { why: Closed::Hangup | Closed::RemoteHangup } => cx.probe("hung-up"),
        _ => {}
    }
}

fn of_nat(node: NodeId, event: &NatEvent, cx: &mut OracleCx<'_>) {
    match event {
        NatEvent::Created(mapping) if mapping.external.port() != mapping.internal.port() => {
            let NodeKind::Nat(network) = cx.record.nodes[usize::from(node.0)].kind else { return };
            let nat = &cx.scenario.networks[network].nat;
            let preserves = [PortAllocation::Preserve, PortAllocation::PreserveOverloading];
            if nat.as_ref().is_some_and(|nat| preserves.contains(&nat.port_allocation)) {
                cx.probe("port-collision");
            }
        }
        NatEvent::Expired(mapping) if mapping.protocol == Protocol::Udp => cx.probe("mapping-expired"),
        NatEvent::Rebooted { .. } => cx.probe("nat-rebooted"),
        NatEvent::Refused { why, .. } => {
            cx.probe("nat-refused");
            match why {
                Refusal::HairpinOff => cx.probe("hairpin-refused"),
                Refusal::PortsExhausted => cx.probe("ports-exhausted"),
                Refusal::TableFull => cx.probe("table-full"),
                Refusal::TcpMidStream => cx.probe("tcp-mapping-lost"),
                Refusal::UdpBlocked => cx.probe("udp-blocked"),
                Refusal::TcpPortBlocked => cx.probe("tcp-port-blocked"),
                Refusal::NoMapping | Refusal::Filtered => {}
            }
        }
        _ => {}
    }
}

fn of_packet(node: NodeId, event: &PacketEvent, cx: &mut OracleCx<'_>) {
    match event {
        PacketEvent::Duplicated { .. } => cx.probe("packet-duplicated"),
        PacketEvent::Reordered { .. } => cx.probe("packet-reordered"),
        PacketEvent::Fragmented { .. } => cx.probe("packet-fragmented"),
        PacketEvent::Corrupted { .. } => cx.probe("packet-corrupted"),
        PacketEvent::Dropped { why, .. } => match why {
            Drop::FragmentationNeeded { .. } | Drop::Oversized => cx.probe("packet-oversized"),
            Drop::Loss => cx.probe("packet-lost"),
            Drop::Congestion => cx.probe("packet-congested"),
            Drop::Partition => cx.probe("partitioned"),
            Drop::ReceiveBufferFull => cx.probe("receive-buffer-full"),
            _ => {}
        },
        PacketEvent::Delivered(view) if view.protocol == Protocol::Udp => {
            let Some(actor) = cx.actor(node) else { return };
            let networks = &cx.scenario.networks;
            let (mut at, _) = cx.scenario.place_at(actor, cx.time());
            while let Some(network) = at {
                if networks[network].external.iter().any(|external| view.src.ip() == *external) {
                    return cx.probe("hairpinned");
                }
                at = networks[network].behind;
            }
        }
        _ => {}
    }
}
