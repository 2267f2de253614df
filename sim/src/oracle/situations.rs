//! The situations that the oracles' model meets: a rough picture of what one client just experienced, and of the state
//! in which it was. Campaigns keep stories that meet a new one, as a fuzzer keeps inputs that reach new code.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{
    CallStep, ClientState, Closed, DtlsState, Event, IceState, Message, NodeId, PeerChange, SignalKind, Signaling, What,
};
use crate::oracle::call_states::CallState;
use crate::oracle::cx::OracleCx;

/// A situation, as a number: equal situations have equal numbers in every run of the same version.
pub type Situation = u64;

/// Collects situations.
#[derive(Default)]
pub(crate) struct Situations {
    /// What each client experienced last.
    last: BTreeMap<NodeId, u8>,
    met: BTreeSet<Situation>,
}

impl Situations {
    /// Looks at an event before the model does.
    pub(crate) fn observe(&mut self, event: &Event, cx: &OracleCx<'_>) {
        let node = event.node;
        let (Some(kind), Some(actor)) = (kind(&event.what), cx.actor(node)) else { return };
        let few = |count: usize| count.min(3) as u64;
        let view = cx.model.views.get(&node);
        let gone = view.map_or(0, |view| view.values().filter(|notices| notices.gone.is_some()).count());
        let call = match cx.model.call_states.state(node).0 {
            CallState::Idle => 0,
            CallState::Calling(_) => 1,
            CallState::Ringing(_) => 2,
            CallState::InCall(_) => 3,
        };
        let connection = match &event.what {
            What::Peer(peer) => cx
                .model
                .peer_connections
                .get(node, &peer.peer)
                .map_or(0, |connection| 1 + u64::from(connection.is_ice_up()) + u64::from(connection.is_open())),
            _ => 0,
        };
        let last = self.last.insert(node, kind).unwrap_or_default();
        // Each part has its own bits.
        let parts = [
            (u64::from(kind), 8),
            (u64::from(last), 8),
            (cx.scenario.actors[actor].plays as u64, 4),
            (u64::from(cx.model.history.connection_at(node, cx.now().index).is_some()), 1),
            (u64::from(cx.stay_at(node).is_some()), 1),
            (view.map_or(0, |view| few(view.len())), 2),
            (few(gone), 2),
            (call, 2),
            (connection, 2),
            (u64::from(cx.model.serves()), 1),
        ];
        self.met.insert(parts.iter().fold(0, |number, (part, bits)| number << bits | part));
    }

    pub(crate) fn into_met(self) -> BTreeSet<Situation> {
        self.met
    }
}

/// What a client experienced, as a number from 1. `None` for what is no change of its signaling or its connections.
fn kind(what: &What) -> Option<u8> {
    Some(match what {
        What::Signaling(signaling) => match signaling {
            Signaling::Connecting { attempt } => 1 + (*attempt).min(3) as u8,
            Signaling::Connected => 5,
            Signaling::Closed { code, .. } => 6 + u8::from(code.is_some()),
            Signaling::GaveUp { .. } => 8,
            Signaling::FrameSent(_) | Signaling::FrameReceived(_) => return None,
            Signaling::Sent(message) => 10 + message_kind(message),
            Signaling::Received(message) => 40 + message_kind(message),
            Signaling::State { state } => 70 + state_kind(*state),
        },
        What::Peer(peer) => match &peer.change {
            PeerChange::Opened { offerer } => 80 + u8::from(*offerer),
            PeerChange::Described { local, kind, .. } => 82 + u8::from(*local) + 2 * signal_kind(*kind),
            PeerChange::CandidateQueued => 90,
            PeerChange::Stale { kind } => 91 + signal_kind(*kind),
            PeerChange::Ice { state } => {
                96 + match state {
                    IceState::Disconnected => 1,
                    IceState::Failed => 2,
                    IceState::Connected | IceState::Completed => 3,
                    _ => 0,
                }
            }
            PeerChange::IceRestart => 100,
            PeerChange::ConsentExpired => 101,
            PeerChange::Dtls { state } => 101 + u8::from(*state == DtlsState::Connected),
            PeerChange::ChannelOpen => 103,
            PeerChange::RolledBack => 104,
            PeerChange::Closed { why } => 105 + u8::from(*why == Closed::Timeout),
            _ => return None,
        },
        _ => return None,
    })
}

fn message_kind(message: &Message) -> u8 {
    match message {
        Message::Join { .. } => 0,
        Message::Joined { .. } => 1,
        Message::PeerJoined { .. } => 2,
        Message::Leave { .. } => 3,
        Message::PeerLeft { .. } => 4,
        Message::Signal { kind, .. } => 5 + signal_kind(*kind),
        Message::Error { .. } => 9,
        Message::Unknown => 10,
        Message::Admitted { .. } => 11,
        Message::PartnerReady { .. } => 12,
        Message::PartnerLeft { .. } => 13,
        Message::Refused { .. } => 14,
        Message::Call { step, .. } => {
            15 + match step {
                CallStep::Ring => 0,
                CallStep::Accept => 1,
                CallStep::Reject => 2,
                CallStep::Busy => 3,
                CallStep::End => 4,
                CallStep::Media { .. } => 5,
            }
        }
    }
}

fn signal_kind(kind: SignalKind) -> u8 {
    match kind {
        SignalKind::Offer => 0,
        SignalKind::Answer => 1,
        SignalKind::IceCandidate => 2,
        SignalKind::Hangup => 3,
    }
}

fn state_kind(state: ClientState) -> u8 {
    match state {
        ClientState::Init => 0,
        ClientState::Waiting => 1,
        ClientState::Active => 2,
        ClientState::Error => 3,
        ClientState::Idle => 4,
        ClientState::Calling => 5,
        ClientState::Ringing => 6,
        ClientState::InCall => 7,
    }
}
