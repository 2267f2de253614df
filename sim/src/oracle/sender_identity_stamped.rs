//! **A signal bears the id of whoever sent it, where the dialect names anybody, and somebody did send it.**

use crate::event::Event;
use crate::oracle::signals::Origin;
use crate::oracle::{Court, Oracle, called, seconds};

pub(crate) struct SenderIdentityStamped;

impl Oracle for SenderIdentityStamped {
    fn slug(&self) -> &'static str {
        "sender-identity-stamped"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let Some(arrival) = court.arrival(event) else { return };
        let is_named = court.stay_at(event.node).is_none_or(|stay| stay.dialect().names_others());
        let (name, what) = (court.name(event.node), called(arrival.kind));
        let stamped = arrival.from.map_or_else(|| "no sender".to_owned(), |from| court.who(from));
        let (nodes, message) = match arrival.origin {
            // Where nobody is named, it came from another room: that is another promise's.
            Origin::ByAnother(number) if is_named => {
                let sent = &court.model.signals.sent[number];
                let (who, at) = (court.who(&sent.from), seconds(sent.at.time));
                let message = format!("{name} got {what} that names {stamped}, but it was {who} who sent it at {at}");
                (vec![event.node, sent.node], message)
            }
            Origin::Nobody => (vec![event.node], format!("{name} got {what} that names {stamped}, but nobody sent it")),
            _ => return,
        };
        court.violated(&nodes, message);
    }
}
