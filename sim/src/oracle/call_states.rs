//! The state of each user of the `call` dialect, according to what it has sent and received.

use std::collections::BTreeMap;

use crate::event::{CallStep, ClientId, Message, NodeId, Refused, Signaling};
use crate::oracle::history::At;

/// The state of a user, with the other user's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CallState {
    #[default]
    Idle,
    Calling(ClientId),
    Ringing(ClientId),
    InCall(ClientId),
}

impl CallState {
    pub(crate) fn peer(&self) -> Option<&ClientId> {
        match self {
            Self::Idle => None,
            Self::Calling(peer) | Self::Ringing(peer) | Self::InCall(peer) => Some(peer),
        }
    }

    /// The state in which the other side must be, if this state belongs to the user `name`.
    pub(crate) fn counterpart(&self, name: &ClientId) -> Self {
        let name = name.clone();
        match self {
            Self::Idle => Self::Idle,
            Self::Calling(_) => Self::Ringing(name),
            Self::Ringing(_) => Self::Calling(name),
            Self::InCall(_) => Self::InCall(name),
        }
    }
}

/// The call of one user.
#[derive(Clone, Debug, Default)]
struct UserCall {
    state: CallState,
    since: Option<At>,
    /// Calls that this side has ended, counted by the other side's name: the two messages that end a call may cross.
    ended: BTreeMap<ClientId, usize>,
}

/// The calls of all users, by their machines.
#[derive(Debug, Default)]
pub(crate) struct CallStates(BTreeMap<NodeId, UserCall>);

impl CallStates {
    pub(crate) fn advance(&mut self, node: NodeId, event: &Signaling, at: At) {
        let user = self.0.entry(node).or_default();
        let state = match event {
            Signaling::Closed { .. } => {
                user.ended.clear();
                CallState::Idle
            }
            Signaling::Sent(Message::Call { peer, step }) => {
                if matches!(step, CallStep::End | CallStep::Reject) {
                    *user.ended.entry(peer.clone()).or_default() += 1;
                }
                user.after_sent(peer, *step)
            }
            Signaling::Received(Message::Call { peer, step }) => {
                if *step == CallStep::End && user.state.peer() != Some(peer) {
                    user.ended.entry(peer.clone()).and_modify(|ended| *ended = ended.saturating_sub(1));
                }
                user.after_received(peer, *step)
            }
            Signaling::Received(Message::Refused { why: Refused::NoSuchUser | Refused::Busy, .. }) => match &user.state
            {
                CallState::Calling(_) => CallState::Idle,
                state => state.clone(),
            },
            _ => return,
        };
        if state != user.state {
            (user.state, user.since) = (state, Some(at));
        }
    }

    /// Ends the call of a user whose program has ended.
    pub(crate) fn end(&mut self, node: NodeId) {
        self.0.remove(&node);
    }

    /// The state of a user, and when it entered that state.
    pub(crate) fn state(&self, node: NodeId) -> (CallState, Option<At>) {
        self.0.get(&node).map(|user| (user.state.clone(), user.since)).unwrap_or_default()
    }

    /// Whether a user may be notified of the end of a call with another: it has one, or the two messages that end it
    /// crossed.
    pub(crate) fn may_end(&self, node: NodeId, peer: &ClientId) -> bool {
        let Some(user) = self.0.get(&node) else { return false };
        user.state.peer() == Some(peer) || user.ended.get(peer).is_some_and(|ended| *ended > 0)
    }
}

impl UserCall {
    fn after_sent(&self, peer: &ClientId, step: CallStep) -> CallState {
        match (step, &self.state) {
            (CallStep::Ring, CallState::Idle) => CallState::Calling(peer.clone()),
            (CallStep::Accept, CallState::Ringing(caller)) if caller == peer => CallState::InCall(peer.clone()),
            (CallStep::Reject | CallStep::End, state) if state.peer() == Some(peer) => CallState::Idle,
            (_, state) => state.clone(),
        }
    }

    fn after_received(&self, peer: &ClientId, step: CallStep) -> CallState {
        match (step, &self.state) {
            (CallStep::Ring, CallState::Idle) => CallState::Ringing(peer.clone()),
            // Each user has called the other: the second call accepts the first.
            (CallStep::Ring | CallStep::Accept, CallState::Calling(called)) if called == peer => {
                CallState::InCall(peer.clone())
            }
            (CallStep::Reject | CallStep::Busy | CallStep::End, state) if state.peer() == Some(peer) => CallState::Idle,
            (_, state) => state.clone(),
        }
    }
}
