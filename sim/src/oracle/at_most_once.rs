//! A signal may be lost: when a connection breaks, whatever is in flight on it is lost.

use crate::event::Event;
use crate::oracle::cx::{Oracle, OracleCx, called, seconds};
use crate::oracle::history::At;
use crate::oracle::signals::Origin;

#[derive(Default)]
pub(crate) struct AtMostOnce;

impl Oracle for AtMostOnce {
    const SLUG: &'static str = "at-most-once";
    const PROMISE: &'static str = "A signal arrives at most once, and only at the clients that it was sent to.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let Some(arrival) = cx.arrival(event) else { return };
        let (name, what) = (cx.name(event.node), called(arrival.kind));
        let (sent, message) = match arrival.origin {
            Origin::Again(number) => {
                let sent = &cx.model.signals.sent[number];
                let (who, at) = (cx.who(&sent.from), seconds(sent.at.time));
                let first = |at: At| format!("; it first arrived at {}", seconds(at.time));
                let first = sent.arrived.map_or_else(String::new, first);
                (sent, format!("{name} received {what} twice, but {who} sent it once, at {at}{first}"))
            }
            Origin::ForAnother(number) => {
                let sent = &cx.model.signals.sent[number];
                let is_here = cx
                    .stay_at(event.node)
                    .is_some_and(|stay| stay.role.dialect() == sent.role.dialect() && stay.room == sent.room);
                // Other oracles judge echoes and signals from another room.
                if sent.node == event.node || !is_here {
                    return;
                }
                let (who, at) = (cx.who(&sent.from), seconds(sent.at.time));
                let to = sent.to.as_ref().map_or_else(|| "everybody else".to_owned(), |to| cx.who(to));
                (sent, format!("{name} received {what} that {who} sent to {to} at {at}"))
            }
            _ => return,
        };
        let nodes = [event.node, sent.node];
        cx.violated(&nodes, message);
    }
}
