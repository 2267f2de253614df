//! Judged at the end: if a call ends before it is accepted, it ends on both sides, whatever the cause.

use crate::event::NodeId;
use crate::oracle::call_states::CallState;
use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::oracle::history::Stay;
use crate::oracle::model::SLACK;

#[derive(Default)]
pub(crate) struct NobodyLeftRinging;

impl Oracle for NobodyLeftRinging {
    const SLUG: &'static str = "nobody-left-ringing";
    const PROMISE: &'static str = "Nobody rings without a caller, and nobody calls a user who is not ringing.";

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        for (nodes, message) in left(cx, |line| matches!(line, CallState::Calling(_) | CallState::Ringing(_))) {
            cx.violated(&nodes, message);
        }
    }
}

/// Users whose call state fulfils `is_judged`, while the state of the other side does not match it. Both must have had
/// time to be notified.
pub(crate) fn left(cx: &OracleCx<'_>, is_judged: fn(&CallState) -> bool) -> Vec<(Vec<NodeId>, String)> {
    let now = cx.now();
    let is_settled = |node| cx.model.call_states.state(node).1.is_none_or(|since| since.time + 2 * SLACK < now.time);
    let mut found = Vec::new();
    for stay in cx.stays() {
        let (line, since) = cx.model.call_states.state(stay.node);
        let (Some(since), Some(peer)) = (since, line.peer()) else { continue };
        if !is_judged(&line) || !is_settled(stay.node) || !cx.model.is_surely_there(stay, now) {
            continue;
        }
        let wrong = match cx.stay_of(peer) {
            Some(other) if cx.model.is_surely_there(other, now) => {
                let (theirs, _) = cx.model.call_states.state(other.node);
                if theirs == line.counterpart(&stay.id) || !is_settled(other.node) {
                    continue;
                }
                format!("{} {}", cx.name(other.node), doing(&theirs))
            }
            Some(other) if must_be_removed(other, cx) => format!("{} is gone", cx.name(other.node)),
            _ => continue,
        };
        let nodes = cx.with_owner(stay.node, peer);
        found.push((
            nodes,
            format!("{} {} (since {}), but {wrong}", cx.name(stay.node), doing(&line), seconds(since.time)),
        ));
    }
    found
}

/// Whether a server must have noticed by now that a client is gone.
fn must_be_removed(stay: &Stay, cx: &OracleCx<'_>) -> bool {
    cx.model.noticed_by(stay, cx.now()).is_some_and(|by| by + SLACK < cx.now().time)
}

fn doing(line: &CallState) -> String {
    match line {
        CallState::Idle => "is free".to_owned(),
        CallState::Calling(peer) => format!("calls {peer}"),
        CallState::Ringing(peer) => format!("rings for a call from {peer}"),
        CallState::InCall(peer) => format!("is in a call with {peer}"),
    }
}
