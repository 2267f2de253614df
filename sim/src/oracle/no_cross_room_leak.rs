//! **What happens in a room reaches only those who are in it.**
//!
//! A client is told nothing of a room it has not asked for, and nothing of somebody who is in another room. Who a roster lists is judged
//! by `roster-matches-model`.

use crate::event::{Event, Message, Signaling, What};
use crate::oracle::signals::Origin;
use crate::oracle::{Court, Oracle, called};

pub(crate) struct NoCrossRoomLeak;

impl Oracle for NoCrossRoomLeak {
    fn slug(&self) -> &'static str {
        "no-cross-room-leak"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let What::Signaling(Signaling::Received(message)) = &event.what else { return };
        let (room, subject, what) = match message {
            Message::PeerJoined { room, member } => (room, Some(&member.id), "word of the coming"),
            Message::PeerLeft { room, id } => (room, Some(id), "word of the leaving"),
            Message::Signal { room, peer, kind, .. } => (room, peer.as_ref(), called(*kind)),
            _ => return,
        };
        let (node, history) = (event.node, &court.model.history);
        let connection = history.connection_at(node, court.now().index);
        let asked = connection.map(|connection| &history.connections[connection].asked);
        let has_asked = asked.is_some_and(|asked| asked.iter().any(|(at, asked)| asked == room && *at < court.now()));
        let subject = subject.map(|id| (id, court.stay_of(id)));
        let of = subject.map_or_else(|| "somebody unnamed".to_owned(), |(id, _)| court.who(id));
        let name = court.name(node);
        let unnamed =
            court.arrival(event).filter(|_| court.stay_at(node).is_some_and(|stay| !stay.dialect().names_others()));
        let message = if let Some(Origin::ByAnother(number)) = unnamed.map(|arrival| arrival.origin) {
            let sent = &court.model.signals.sent[number];
            format!("{name}, in room `{room}`, got {what} of {}, who is in room `{}`", court.who(&sent.from), sent.room)
        } else if !has_asked {
            format!("{name} got {what} of {of} from room `{room}`, which {name} never asked to join")
        } else if let Some((id, Some(_))) = subject
            && !history.stays_under(id).any(|stay| stay.room == *room && stay.asked() < court.now())
        {
            let theirs = &court.stay_of(id).expect("the subject has a stay").room;
            format!("{name}, in room `{room}`, got {what} of {of}, who is in room `{theirs}`")
        } else {
            return;
        };
        let nodes = subject.map_or(vec![node], |(id, _)| court.with_owner(node, id));
        court.violated(&nodes, message);
    }
}
