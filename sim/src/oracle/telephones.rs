//! What each user's telephone does, by what it has said and was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{CallStep, Message, NodeId, Signaling};
use crate::oracle::model::At;

/// What a telephone does, and with whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Line {
    #[default]
    Idle,
    Calling(Arc<str>),
    Ringing(Arc<str>),
    InCall(Arc<str>),
}

impl Line {
    pub(crate) fn peer(&self) -> Option<&Arc<str>> {
        match self {
            Self::Idle => None,
            Self::Calling(peer) | Self::Ringing(peer) | Self::InCall(peer) => Some(peer),
        }
    }

    /// What the other side's must be, for a user of that name.
    pub(crate) fn counterpart(&self, name: &Arc<str>) -> Self {
        let name = name.clone();
        match self {
            Self::Idle => Self::Idle,
            Self::Calling(_) => Self::Ringing(name),
            Self::Ringing(_) => Self::Calling(name),
            Self::InCall(_) => Self::InCall(name),
        }
    }
}

/// A user's telephone.
#[derive(Clone, Debug, Default)]
struct Telephone {
    line: Line,
    since: Option<At>,
    /// Calls that this side has ended, by the other side: word of their end may have crossed its own.
    ended: BTreeMap<Arc<str>, usize>,
}

/// All telephones, by their users.
#[derive(Debug, Default)]
pub(crate) struct Telephones(BTreeMap<NodeId, Telephone>);

impl Telephones {
    pub(crate) fn advance(&mut self, node: NodeId, event: &Signaling, at: At) {
        let telephone = self.0.entry(node).or_default();
        let line = match event {
            Signaling::Closed { .. } => {
                telephone.ended.clear();
                Line::Idle
            }
            Signaling::Sent(Message::Call { peer, step }) => {
                if matches!(step, CallStep::End | CallStep::Reject) {
                    *telephone.ended.entry(peer.clone()).or_default() += 1;
                }
                telephone.says(peer, *step)
            }
            Signaling::Received(Message::Call { peer, step }) => {
                if *step == CallStep::End && telephone.line.peer() != Some(peer) {
                    telephone.ended.entry(peer.clone()).and_modify(|ended| *ended = ended.saturating_sub(1));
                }
                telephone.hears(peer, *step)
            }
            Signaling::Received(Message::Error { text }) if &**text == "user-not-found" => match &telephone.line {
                Line::Calling(_) => Line::Idle,
                line => line.clone(),
            },
            _ => return,
        };
        if line != telephone.line {
            (telephone.line, telephone.since) = (line, Some(at));
        }
    }

    /// A user's program has ended.
    pub(crate) fn end(&mut self, node: NodeId) {
        self.0.remove(&node);
    }

    /// What a user's telephone does, and since when.
    pub(crate) fn line(&self, node: NodeId) -> (Line, Option<At>) {
        self.0.get(&node).map(|telephone| (telephone.line.clone(), telephone.since)).unwrap_or_default()
    }

    /// Whether a user may be told of the end of a call with another: it has one, or word has crossed its own.
    pub(crate) fn may_end(&self, node: NodeId, peer: &Arc<str>) -> bool {
        let Some(telephone) = self.0.get(&node) else { return false };
        telephone.line.peer() == Some(peer) || telephone.ended.get(peer).is_some_and(|ended| *ended > 0)
    }
}

impl Telephone {
    fn says(&self, peer: &Arc<str>, step: CallStep) -> Line {
        match (step, &self.line) {
            (CallStep::Ring, Line::Idle) => Line::Calling(peer.clone()),
            (CallStep::Accept, Line::Ringing(caller)) if caller == peer => Line::InCall(peer.clone()),
            (CallStep::Reject | CallStep::End, line) if line.peer() == Some(peer) => Line::Idle,
            (_, line) => line.clone(),
        }
    }

    fn hears(&self, peer: &Arc<str>, step: CallStep) -> Line {
        match (step, &self.line) {
            (CallStep::Ring, Line::Idle) => Line::Ringing(peer.clone()),
            // Both called: the later call takes the earlier.
            (CallStep::Ring | CallStep::Accept, Line::Calling(called)) if called == peer => Line::InCall(peer.clone()),
            (CallStep::Reject | CallStep::Busy | CallStep::End, line) if line.peer() == Some(peer) => Line::Idle,
            (_, line) => line.clone(),
        }
    }
}
