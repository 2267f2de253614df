//! **A signal arrives at most once, and at nobody but those to whom it was sent.**
//!
//! It may be lost: when a connection breaks, what is under way goes with it.

use crate::event::Event;
use crate::oracle::signals::Origin;
use crate::oracle::{Court, Oracle, called, seconds};

pub(crate) struct AtMostOnce;

impl Oracle for AtMostOnce {
    fn slug(&self) -> &'static str {
        "at-most-once"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let Some(arrival) = court.arrival(event) else { return };
        let (name, what) = (court.name(event.node), called(arrival.kind));
        let (sent, message) = match arrival.origin {
            Origin::Again(number) => {
                let sent = &court.model.signals.sent[number];
                let (who, at) = (court.who(&sent.from), seconds(sent.at.time));
                let first = sent.arrived.map_or_else(String::new, |at| format!(", first at {}", seconds(at.time)));
                (sent, format!("{name} got {what} twice that {who} sent once, at {at}{first}"))
            }
            Origin::ForAnother(number) => {
                let sent = &court.model.signals.sent[number];
                let is_here = court
                    .stay_at(event.node)
                    .is_some_and(|stay| (stay.dialect(), &stay.room) == (sent.dialect, &sent.room));
                // An echo is another promise's, and so is what comes from another room.
                if sent.node == event.node || !is_here {
                    return;
                }
                let (who, at) = (court.who(&sent.from), seconds(sent.at.time));
                let to = sent.to.as_ref().map_or_else(|| "everybody else".to_owned(), |to| court.who(to));
                (sent, format!("{name} got {what} that {who} sent at {at} to {to}"))
            }
            _ => return,
        };
        let nodes = [event.node, sent.node];
        court.violated(&nodes, message);
    }
}
