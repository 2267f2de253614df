//! Rules for what only some protocols have: several rooms at once, joins that carry an offer, notices for contacts only.

use super::DELIVERY;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::{Act, Event, Feature, Kind};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "room/several-rooms",
        Declared,
        "A client in two rooms receives the signals of both, its own signals reach only the room that they are for, and it can leave one of them and stay in the other.",
        run!(several_rooms),
    )
    .needs(DELIVERY)
    .requires(&[Feature::SeveralRooms]),
    &Case::new(
        "room/leave-notifies-contacts",
        Declared,
        "A client that disconnects is announced as left exactly once to each client that has exchanged a signal with it, and to nobody else.",
        run!(leave_told_to_contacts),
    )
    .needs(DELIVERY)
    .requires(&[Feature::ContactNotice, Feature::Targeted, Feature::Crowd]),
    &Case::new(
        "mesh/offer-in-join",
        Declared,
        "An offer that a client sends with its join reaches exactly one member of the room, once; the answer reaches the client that offered, and nobody else.",
        run!(offer_in_join),
    )
    .needs(DELIVERY)
    .requires(&[Feature::OfferInJoin, Feature::Targeted]),
];

/// Sends a word to another client, in this room.
fn send_word_in(cx: &Cx, from: &Peer, room: &str, to: &Peer, word: &str) -> Result<(), Stop> {
    let to = (cx.has(Feature::Targeted) && !to.id.is_empty()).then_some(&to.id);
    from.send(from.signal_message(from.plain_kind(), &quoted(word), to, room)?);
    Ok(())
}

async fn several_rooms(cx: &mut Cx) -> Result<(), Stop> {
    let (first, second) = (cx.room(), cx.room());
    let mut ana = cx.join("ana", &first).await?;
    let mut ben = cx.join("ben", &first).await?;
    cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
    ana.join(&second, None).await?;
    let mut cleo = cx.join("cleo", &second).await?;
    cx.settle(&mut ana, &mut cleo).await.map_err(Stop::into_setup)?;
    let (for_first, for_second) = (cx.word("for-the-first"), cx.word("for-the-second"));
    send_word_in(cx, &ana, &first, &ben, &for_first)?;
    send_word_in(cx, &ana, &second, &cleo, &for_second)?;
    for (room, other) in [(&first, &mut ben), (&second, &mut cleo)] {
        room.clone_into(&mut ana.room);
        cx.fence(&mut ana, &mut [&mut *other]).await?;
        cx.fence(other, &mut [&mut ana]).await?;
    }
    for (other, own, foreign) in [(&ben, &for_first, &for_second), (&cleo, &for_second, &for_first)] {
        other.received_once("ana's signal for the room", |event| event.has_word(own))?;
        other.never_received("received ana's signal for another room", |event| event.has_word(foreign))?;
    }
    if !cx.has(Feature::Leave) || !cx.has(Feature::LeaveOfRoom) {
        return Ok(());
    }
    first.clone_into(&mut ana.room);
    ana.leave();
    second.clone_into(&mut ana.room);
    let after = |stop: Stop| stop.reworded(|why| format!("after ana left the first of her two rooms: {why}"));
    cx.fence(&mut ana, &mut [&mut cleo]).await.map_err(after)?;
    let word = cx.word("without-ana");
    send_word_in(cx, &ben, &first, &ana, &word)?;
    let mut dora = cx.join("dora", &first).await?;
    cx.settle(&mut ben, &mut dora).await.map_err(Stop::into_setup)?;
    cx.fence(&mut ben, &mut [&mut dora]).await?;
    cx.fence(&mut cleo, &mut [&mut ana]).await.map_err(after)?;
    ana.never_received("received a signal of the room that she has left", |event| event.has_word(&word))
}

/// One client signals to another.
async fn become_contacts(cx: &Cx, from: &Peer, to: &mut Peer) -> Result<(), Stop> {
    let word = cx.word("contact");
    from.send_word(to, &word);
    to.until("the first signal of a new contact", |event| event.has_word(&word)).await.map(drop)
}

async fn leave_told_to_contacts(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let mut ana = cx.join("ana", &room).await?;
    let mut ben = cx.join("ben", &room).await?;
    let mut cleo = cx.join("cleo", &room).await?;
    let mut dora = cx.join("dora", &room).await?;
    // Ana and cleo are ben's contacts, whoever of the two signals. Dora is a contact of ana only.
    become_contacts(cx, &ben, &mut ana).await?;
    become_contacts(cx, &cleo, &mut ben).await?;
    become_contacts(cx, &ana, &mut dora).await?;
    let gone = ben.who();
    ben.close().await;
    for contact in [&mut ana, &mut cleo] {
        contact.until("the leave notice for ben", |event| event.is_left(&gone)).await?;
    }
    cx.fence(&mut ana, &mut [&mut cleo, &mut dora]).await?;
    cx.fence(&mut dora, &mut [&mut ana]).await?;
    for contact in [&ana, &cleo] {
        contact.received_once("the leave notice for ben", |event| event.is_left(&gone))?;
    }
    let why = "received a leave notice for ben, with whom it exchanged no signal";
    dora.never_received(why, |event| event.is_left(&gone))
}

async fn offer_in_join(cx: &mut Cx) -> Result<(), Stop> {
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut eve, mut fred] = cx.members(&elsewhere, ["eve", "fred"]).await?;
    let mut members = vec![cx.join("ana", &room).await?];
    if cx.has(Feature::Crowd) {
        members.push(cx.join("cleo", &room).await?);
    }
    let mut ben = cx.connect("ben", &room).await?;
    let word = cx.word("offer");
    let offer = quoted(&word);
    ben.join_with(&Act { room: &room, data: Some(&offer), ..Act::default() }).await?;
    for member in &mut members {
        cx.settle(&mut ben, member).await.map_err(Stop::into_setup)?;
        cx.fence(&mut ben, &mut [&mut *member]).await?;
    }
    let is_offer = |event: &Event| event.has_word(&word);
    let offered: usize = members.iter().map(|member| member.count(is_offer)).sum();
    if offered != 1 {
        let who = members.len();
        return Err(Stop::fail(format!(
            "ben's join carried one offer, and the {who} members received {offered} in all"
        )));
    }
    let at = members.iter().position(|member| member.count(is_offer) > 0).expect("one has received it");
    let other = members.swap_remove(at);
    let received = other.received.iter().find(|received| is_offer(&received.event)).expect("it was counted");
    if received.event.kind != Some(Kind::Offer) || received.event.from.as_ref().is_some_and(|from| *from != ben.id) {
        return Err(Stop::at("the offer does not arrive as an offer of the client that joined", received.line));
    }
    let mut chosen = other;
    let answer = cx.word("answer");
    let is_answer = |event: &Event| event.has_word(&answer);
    chosen.signal(Kind::Answer, &quoted(&answer), Some(&ben.id))?;
    ben.until("the answer to its offer", |event| is_answer(event) && event.kind == Some(Kind::Answer)).await?;
    cx.fence(&mut chosen, &mut [&mut ben]).await?;
    ben.received_once("the answer to its offer", is_answer)?;
    for member in &mut members {
        cx.fence(&mut chosen, &mut [&mut *member]).await?;
        member.never_received("received an answer that was not for it", is_answer)?;
    }
    cx.fence(&mut eve, &mut [&mut fred]).await?;
    cx.fence(&mut fred, &mut [&mut eve]).await?;
    for stranger in [&eve, &fred] {
        let foreign = |event: &Event| is_offer(event) || is_answer(event);
        stranger.never_received("received a signal of a room that it is not in", foreign)?;
    }
    ben.never_received("received its own offer", is_offer)
}
