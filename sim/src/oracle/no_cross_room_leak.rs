//! A client receives no notice about a room that it has not asked to join, nor about a client in another room. The
//! members of a roster are judged by `roster-matches-model`.

use crate::event::{Event, Message, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, called};
use crate::oracle::signals::Origin;

#[derive(Default)]
pub(crate) struct NoCrossRoomLeak;

impl Oracle for NoCrossRoomLeak {
    const SLUG: &'static str = "no-cross-room-leak";
    const PROMISE: &'static str = "What happens in a room reaches only the clients in it.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let What::Signaling(Signaling::Received(message)) = &event.what else { return };
        let (room, subject, what) = match message {
            Message::PeerJoined { room, member } => (room, Some(&member.id), "a join notice about".to_owned()),
            Message::PeerLeft { room, id } => (room, Some(id), "a leave notice about".to_owned()),
            Message::Signal { room, peer, kind, .. } => (room, peer.as_ref(), format!("{} from", called(*kind))),
            _ => return,
        };
        let (node, history) = (event.node, &cx.model.history);
        let connection = history.connection_at(node, cx.now().index);
        let asked = connection.map(|connection| &history.connections[connection].asked);
        let has_asked = asked.is_some_and(|asked| asked.iter().any(|(at, asked)| asked == room && *at < cx.now()));
        let subject = subject.map(|id| (id, cx.stay_of(id)));
        let of = subject.map_or_else(|| "an unnamed client".to_owned(), |(id, _)| cx.who(id));
        let name = cx.name(node);
        let unnamed = cx.arrival(event).filter(|_| cx.stay_at(node).is_some_and(|stay| !stay.dialect().names_others));
        let message = if let Some(Origin::ByAnother(number)) = unnamed.map(|arrival| arrival.origin) {
            let sent = &cx.model.signals.sent[number];
            format!("{name}, in room `{room}`, received {what} {}, who is in room `{}`", cx.who(&sent.from), sent.room)
        } else if !has_asked {
            format!("{name} received {what} {of} in room `{room}`, which {name} never requested to join")
        } else if let Some((id, Some(_))) = subject
            && !history.stays_under(id).any(|stay| stay.room == *room && stay.asked() < cx.now())
        {
            let theirs = &cx.stay_of(id).expect("the subject has a stay").room;
            format!("{name}, in room `{room}`, received {what} {of}, who is in room `{theirs}`")
        } else {
            return;
        };
        let nodes = subject.map_or(vec![node], |(id, _)| cx.with_owner(node, id));
        cx.violated(&nodes, message);
    }
}
