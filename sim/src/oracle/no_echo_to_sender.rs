//! **Nobody is told what they themselves said or did, but where the dialect echoes.**
//!
//! A signal does not come back to its sender, and nobody is told of their own coming or leaving. Whether a roster lists its reader is judged
//! by `roster-matches-model`.

use crate::event::{Event, Message, Signaling, What};
use crate::oracle::signals::Origin;
use crate::oracle::{Court, Oracle, called};

pub(crate) struct NoEchoToSender;

impl Oracle for NoEchoToSender {
    fn slug(&self) -> &'static str {
        "no-echo-to-sender"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let What::Signaling(Signaling::Received(message)) = &event.what else { return };
        if let Some(arrival) = court.arrival(event)
            && let (None, Origin::ForAnother(number)) = (arrival.from, arrival.origin)
            && court.model.signals.sent[number].node == event.node
        {
            let message = format!("{} got {} that it had sent itself", court.name(event.node), called(arrival.kind));
            court.violated(&[event.node], message);
        }
        let (id, what) = match message {
            Message::PeerJoined { member, .. } => (&member.id, "word of its own coming"),
            Message::PeerLeft { id, .. } => (id, "word of its own leaving"),
            Message::Signal { peer: Some(id), kind, .. } => (id, called(*kind)),
            _ => return,
        };
        let is_own = court.stay_at(event.node).is_some_and(|stay| stay.id == *id);
        if is_own {
            let name = court.name(event.node);
            let from = if matches!(message, Message::Signal { .. }) { " from itself" } else { "" };
            let message = format!("{name} (id {id}) got {what}{from}");
            court.violated(&[event.node], message);
        }
    }
}
