//! What was in flight when a client left may still arrive. In three cases a message cannot have been in flight: the
//! receiver had already been notified that the sender left; another client had been notified that the receiver left
//! before the signal was sent; or the receiver is in another room, so the server has processed its leaving.

use crate::event::{Event, Message, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, called, seconds};
use crate::oracle::signals::Origin;

#[derive(Default)]
pub(crate) struct NoDeliveryAfterLeave;

impl Oracle for NoDeliveryAfterLeave {
    const SLUG: &'static str = "no-delivery-after-leave";
    const PROMISE: &'static str = "A client that has left a room receives nothing more from it, and no client receives anything more from that client.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let What::Signaling(Signaling::Received(message)) = &event.what else { return };
        let found = from_who_left(event, cx).or_else(|| to_who_left(event, cx));
        if let Some((nodes, message)) = found.or_else(|| of_a_room_left(event, message, cx)) {
            cx.violated(&nodes, message);
        }
    }
}

type Found = Option<(Vec<crate::event::NodeId>, String)>;

/// A message from a sender whose leaving the receiver had been notified of.
fn from_who_left(event: &Event, cx: &OracleCx<'_>) -> Found {
    let arrival = cx.arrival(event)?;
    let from = arrival.from?;
    let gone = cx.model.views.get(&event.node)?.get(from)?.gone?;
    let (name, what, who) = (cx.name(event.node), called(arrival.kind), cx.who(from));
    let at = seconds(gone.time);
    let message = format!("{name} received {what} from {who}, but had been notified at {at} that this client left");
    Some((cx.with_owner(event.node, from), message))
}

/// A message that was sent after some client had been notified that the receiver left.
fn to_who_left(event: &Event, cx: &OracleCx<'_>) -> Found {
    let Origin::Sent(number) = cx.arrival(event)?.origin else { return None };
    let (stay, sent) = (cx.stay_at(event.node)?, &cx.model.signals.sent[number]);
    let (notified, witness) = cx.model.certain_leave_notice(stay).filter(|(notified, _)| *notified < sent.at)?;
    let (name, what, sender) = (cx.name(event.node), called(sent.kind), cx.name(sent.node));
    let (witness, notified, at) = (cx.name(witness), seconds(notified.time), seconds(sent.at.time));
    let id = &stay.id;
    let message = format!(
        "{name} (id {id}) received {what} that {sender} sent at {at}, although {witness} had been notified at {notified} that {name} left"
    );
    Some((vec![event.node, sent.node], message))
}

/// A message of a room that the receiver has left for another.
fn of_a_room_left(event: &Event, message: &Message, cx: &OracleCx<'_>) -> Found {
    let (Message::PeerJoined { room, .. } | Message::PeerLeft { room, .. } | Message::Signal { room, .. }) = message
    else {
        return None;
    };
    let stay = cx.stay_at(event.node).filter(|stay| stay.room != *room)?;
    let asked = &cx.model.history.connections[stay.connection].asked;
    let newest = asked.iter().rfind(|(at, asked)| asked == room && *at < cx.now())?;
    if newest.0 > stay.asked() {
        return None;
    }
    let (name, there) = (cx.name(event.node), &stay.room);
    let message = format!("{name} received a message of room `{room}`, but has left that room for room `{there}`");
    Some((vec![event.node], message))
}
