//! A signal does not come back to its sender, and a client is not notified of its own joining or leaving. Whether a
//! roster lists the client that receives it is judged by `roster-matches-model`.

use crate::event::{Event, Message, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, called};
use crate::oracle::signals::Origin;

#[derive(Default)]
pub(crate) struct NoEchoToSender;

impl Oracle for NoEchoToSender {
    const SLUG: &'static str = "no-echo-to-sender";
    const PROMISE: &'static str =
        "No client receives its own signals or a notice about itself, unless the dialect echoes.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let What::Signaling(Signaling::Received(message)) = &event.what else { return };
        if let Some(arrival) = cx.arrival(event)
            && let (None, Origin::ForAnother(number)) = (arrival.from, arrival.origin)
            && cx.model.signals.sent[number].node == event.node
        {
            let message = format!("{} received {} that it had sent itself", cx.name(event.node), called(arrival.kind));
            cx.violated(&[event.node], message);
        }
        let (id, what) = match message {
            Message::PeerJoined { member, .. } => (&member.id, "a notice of its own joining"),
            Message::PeerLeft { id, .. } => (id, "a notice of its own leaving"),
            Message::Signal { peer: Some(id), kind, .. } => (id, called(*kind)),
            _ => return,
        };
        let is_own = cx.stay_at(event.node).is_some_and(|stay| stay.id == *id);
        if is_own {
            let name = cx.name(event.node);
            let from = if matches!(message, Message::Signal { .. }) { " from itself" } else { "" };
            let message = format!("{name} (id {id}) received {what}{from}");
            cx.violated(&[event.node], message);
        }
    }
}
