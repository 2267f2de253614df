//! **Every description is set in a signaling state that allows it.** RFC 9429 §4.1.10 and the figure of §3.2.
//!
//! An answer needs an offer of the other side, an offer none that waits: who has offered must take that back before it takes another's.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Event, MachineEvent, NodeId, PeerChange, PeerEvent, SignalKind, What};
use crate::oracle::{Court, Oracle};

/// The states of RFC 9429 §3.2 without provisional answers, which nobody sends here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Stable,
    HaveLocalOffer,
    HaveRemoteOffer,
}

#[derive(Default)]
pub(crate) struct LegalSignalingState(BTreeMap<(NodeId, Arc<str>), State>);

impl Oracle for LegalSignalingState {
    fn slug(&self) -> &'static str {
        "legal-signaling-state"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let (peer, attempt, change) = match &event.what {
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
                (false, SignalKind::Offer, _) => (None, "took an offer"),
                (false, ..) => (None, "took an answer"),
            },
            PeerChange::RolledBack if state == State::HaveLocalOffer => (Some(State::Stable), ""),
            PeerChange::RolledBack => (None, "took an offer back"),
            _ => return,
        };
        match next {
            Some(next) => {
                self.0.insert(key, next);
            }
            None => {
                let (name, who) = (court.name(event.node), court.who(peer));
                let message = format!("{name} {what} in state {state:?} (connection {attempt} with {who})");
                court.violated(&court.with_owner(event.node, peer), message);
            }
        }
    }
}
