//! **Both sides agree on whether they are in a call, and each is told of its end once.**
//!
//! Who ends a call may still be told that the other did, when both do at once.

use crate::event::{CallStep, Event, Message, Signaling, What};
use crate::oracle::nobody_left_ringing::left;
use crate::oracle::telephones::Line;
use crate::oracle::{Court, Oracle};

pub(crate) struct CallEndAgreed;

impl Oracle for CallEndAgreed {
    fn slug(&self) -> &'static str {
        "call-end-agreed"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let What::Signaling(Signaling::Received(Message::Call { peer, step: CallStep::End })) = &event.what else {
            return;
        };
        if !court.model.telephones.may_end(event.node, peer) {
            let (name, who) = (court.name(event.node), court.who(peer));
            let message = format!("{name} was told of the end of a call with {who}, with whom it has none");
            court.violated(&court.with_owner(event.node, peer), message);
        }
    }

    fn settle(&mut self, court: &mut Court<'_>) {
        for (nodes, message) in left(court, |line| matches!(line, Line::InCall(_))) {
            court.violated(&nodes, message);
        }
    }
}
