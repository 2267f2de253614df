//! If both hang up at the same time, each may still be notified that the other did.

use crate::event::{CallStep, Event, Message, Signaling, What};
use crate::oracle::call_states::CallState;
use crate::oracle::cx::{Oracle, OracleCx};
use crate::oracle::nobody_left_ringing::left;

#[derive(Default)]
pub(crate) struct CallEndAgreed;

impl Oracle for CallEndAgreed {
    const SLUG: &'static str = "call-end-agreed";
    const PROMISE: &'static str =
        "Both sides agree on whether they are in a call, and each is notified of its end once.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let What::Signaling(Signaling::Received(Message::Call { peer, step: CallStep::End })) = &event.what else {
            return;
        };
        if !cx.model.call_states.may_end(event.node, peer) {
            let (name, who) = (cx.name(event.node), cx.who(peer));
            let message = format!("{name} was notified of the end of a call with {who}, but has no such call");
            cx.violated(&cx.with_owner(event.node, peer), message);
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        for (nodes, message) in left(cx, |line| matches!(line, CallState::InCall(_))) {
            cx.violated(&nodes, message);
        }
    }
}
