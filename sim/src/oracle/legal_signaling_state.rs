//! RFC 9429 §4.1.10 and the figure in §3.2. An answer requires a pending offer from the other side. An offer requires
//! that no offer is pending: a client that has sent an offer must roll it back before it accepts another.

use std::collections::BTreeMap;

use crate::event::{Event, MachineEvent, NodeId, PeerChange, PeerEvent, PeerName, SignalKind, What};
use crate::oracle::cx::{Oracle, OracleCx};

/// The states of RFC 9429 §3.2, without those for provisional answers, which Glare's clients never send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Stable,
    HaveLocalOffer,
    HaveRemoteOffer,
}

#[derive(Default)]
pub(crate) struct LegalSignalingState(BTreeMap<(NodeId, PeerName), State>);

impl Oracle for LegalSignalingState {
    const SLUG: &'static str = "legal-signaling-state";
    const PROMISE: &'static str = "Every description is set in a signaling state that allows it.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let (peer, attempt, change) = match &event.what {
            // Of a program only the signals are known, not when it sets what they carry.
            What::Peer(_) if cx.is_program(event.node) => return,
            What::Peer(PeerEvent { peer, attempt, change }) => (peer, *attempt, change),
            What::Machine(MachineEvent::PowerLost | MachineEvent::Ended) => {
                return self.0.retain(|(node, _), _| *node != event.node);
            }
            _ => return,
        };
        let key = (event.node, peer.clone());
        let state = self.0.get(&key).copied().unwrap_or_default();
        let (next, what) = match change {
            PeerChange::Opened { .. } | PeerChange::Closed { .. } => (Some(State::Stable), ""),
            PeerChange::Described { local, kind, .. } => match (local, kind, state) {
                (true, SignalKind::Offer, State::Stable | State::HaveLocalOffer) => (Some(State::HaveLocalOffer), ""),
                (false, SignalKind::Offer, State::Stable | State::HaveRemoteOffer) => {
                    (Some(State::HaveRemoteOffer), "")
                }
                (true, SignalKind::Answer, State::HaveRemoteOffer)
                | (false, SignalKind::Answer, State::HaveLocalOffer) => (Some(State::Stable), ""),
                (true, SignalKind::Offer, _) => (None, "offered"),
                (true, ..) => (None, "answered"),
                (false, SignalKind::Offer, _) => (None, "accepted an offer"),
                (false, ..) => (None, "accepted an answer"),
            },
            PeerChange::RolledBack if state == State::HaveLocalOffer => (Some(State::Stable), ""),
            PeerChange::RolledBack => (None, "rolled back an offer"),
            _ => return,
        };
        match next {
            Some(next) => {
                self.0.insert(key, next);
            }
            None => {
                let (name, who) = (cx.name(event.node), cx.who(peer));
                let message = format!("{name} {what} in state {state:?} (connection {attempt} with {who})");
                cx.violated(&cx.with_owner(event.node, peer), message);
            }
        }
    }
}
