//! **Who has left a room hears no more of it, and nobody hears from them.**
//!
//! What was under way when somebody left may still come. Three things show that it was not: the receiver has been told that the sender left
//! before; a signal was sent after somebody had been told that its receiver left; a client is in another room, and so has been heard to
//! leave this one.

use crate::event::{Event, Message, Signaling, What};
use crate::oracle::signals::Origin;
use crate::oracle::{Court, Oracle, called, seconds};

pub(crate) struct NoDeliveryAfterLeave;

impl Oracle for NoDeliveryAfterLeave {
    fn slug(&self) -> &'static str {
        "no-delivery-after-leave"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let What::Signaling(Signaling::Received(message)) = &event.what else { return };
        let found = from_who_left(event, court).or_else(|| to_who_left(event, court));
        if let Some((nodes, message)) = found.or_else(|| of_a_room_left(event, message, court)) {
            court.violated(&nodes, message);
        }
    }
}

type Found = Option<(Vec<crate::event::NodeId>, String)>;

/// The receiver was told that the sender left.
fn from_who_left(event: &Event, court: &Court<'_>) -> Found {
    let arrival = court.arrival(event)?;
    let from = arrival.from?;
    let gone = court.model.views.get(&event.node)?.get(from)?.gone?;
    let (name, what, who) = (court.name(event.node), called(arrival.kind), court.who(from));
    let message = format!("{name} got {what} from {who}, of whom it was told at {} that they left", seconds(gone.time));
    Some((court.with_owner(event.node, from), message))
}

/// Somebody was told that the receiver left, and then this was sent.
fn to_who_left(event: &Event, court: &Court<'_>) -> Found {
    let Origin::Sent(number) = court.arrival(event)?.origin else { return None };
    let (stay, sent) = (court.stay_at(event.node)?, &court.model.signals.sent[number]);
    let (told, witness) = court.model.told_over(stay).filter(|(told, _)| *told < sent.at)?;
    let (name, what, sender) = (court.name(event.node), called(sent.kind), court.name(sent.node));
    let (witness, told, at) = (court.name(witness), seconds(told.time), seconds(sent.at.time));
    let id = &stay.id;
    let message = format!(
        "{name} (id {id}) got {what} that {sender} sent at {at}, although {witness} had been told at {told} that {name} left"
    );
    Some((vec![event.node, sent.node], message))
}

/// The receiver has left this room and joined another.
fn of_a_room_left(event: &Event, message: &Message, court: &Court<'_>) -> Found {
    let (Message::PeerJoined { room, .. } | Message::PeerLeft { room, .. } | Message::Signal { room, .. }) = message
    else {
        return None;
    };
    let stay = court.stay_at(event.node).filter(|stay| stay.room != *room)?;
    let asked = &court.model.history.connections[stay.connection].asked;
    let newest = asked.iter().rfind(|(at, asked)| asked == room && *at < court.now())?;
    if newest.0 > stay.asked() {
        return None;
    }
    let (name, there) = (court.name(event.node), &stay.room);
    Some((vec![event.node], format!("{name} got news of room `{room}` although it has left it for room `{there}`")))
}
