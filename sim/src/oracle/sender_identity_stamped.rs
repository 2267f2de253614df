use crate::event::Event;
use crate::oracle::cx::{Oracle, OracleCx, called, seconds};
use crate::oracle::signals::Origin;

#[derive(Default)]
pub(crate) struct SenderIdentityStamped;

impl Oracle for SenderIdentityStamped {
    const SLUG: &'static str = "sender-identity-stamped";
    const PROMISE: &'static str =
        "Every signal was sent by a client, and carries the id of that client if the dialect names senders.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let Some(arrival) = cx.arrival(event) else { return };
        let is_named = cx.stay_at(event.node).is_none_or(|stay| stay.dialect().names_others);
        let (name, what) = (cx.name(event.node), called(arrival.kind));
        let stamped = arrival.from.map_or_else(|| "no sender".to_owned(), |from| cx.who(from));
        let (nodes, message) = match arrival.origin {
            // In a dialect without ids, such a signal came from another room, which another oracle judges.
            Origin::ByAnother(number) if is_named => {
                let sent = &cx.model.signals.sent[number];
                let (who, at) = (cx.who(&sent.from), seconds(sent.at.time));
                let message = format!("{name} received {what} that names {stamped}, but {who} sent it, at {at}");
                (vec![event.node, sent.node], message)
            }
            Origin::Nobody => {
                let message = format!("{name} received {what} that names {stamped}, but no client sent it");
                (vec![event.node], message)
            }
            _ => return,
        };
        cx.violated(&nodes, message);
    }
}
