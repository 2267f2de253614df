//! How calls end.

use super::{DELIVERY, act, are_free, is_of_a_call, of, refused_or_ignored, settled, settled_in_call, users};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::{Event, EventName, Feature, Operation};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "call/end",
        Declared,
        "Either side can end a call: the other one is notified once, nobody else is, and both are free; to end it again has no effect.",
        run!(end),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/foreign-end",
        Declared,
        "A user cannot end a call between others, and a user in a call ends only that one.",
        run!(foreign_end),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/callee-dies-ringing",
        Declared,
        "A caller is notified when the called user disconnects while it rings, and is free again.",
        run!(callee_dies_ringing),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/caller-dies-ringing",
        Declared,
        "A called user is notified when the caller disconnects while it rings, and is free again.",
        run!(caller_dies_ringing),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/partner-dies",
        Declared,
        "A user in a call is notified when the other one disconnects, and is free again; nobody else is notified.",
        run!(partner_dies),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/two-calls",
        Declared,
        "Calls between different users do not disturb each other: no message crosses, and one goes on when the other ends.",
        run!(two_calls),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
];

async fn end(cx: &mut Cx) -> Result<(), Stop> {
    for caller_ends in [true, false] {
        let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
        if caller_ends {
            ana.calls(&mut ben).await?;
        } else {
            ben.calls(&mut ana).await?;
        }
        act(&ana, Operation::End, &ben)?;
        ben.until("the notice that ana ended the call", |event| of(event, EventName::Ended, &ana.id)).await?;
        let mark = ana.received.len();
        act(&ana, Operation::End, &ben)?;
        settled(cx, &mut ana).await?;
        settled(cx, &mut ben).await?;
        settled(cx, &mut cleo).await?;
        ben.received_once("the notice that ana ended the call", |event| event.is(EventName::Ended))?;
        ana.never_received("received the notice that the call ended that she ended herself", |event| {
            event.is(EventName::Ended)
        })?;
        cleo.never_received("received a message about a call between others", is_of_a_call)?;
        let no_call = cx.file().refusals.no_call.as_ref();
        refused_or_ignored(cx, &ana, mark, 1, "ended a call that has ended already", no_call)?;
        are_free(cx, &mut ben, &mut ana, "the call has ended").await?;
    }
    Ok(())
}

async fn foreign_end(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut eve, mut cleo] = users(cx, ["ana", "ben", "eve", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    let mark = ana.received.len();
    act(&eve, Operation::End, &ana)?;
    act(&eve, Operation::End, &ben)?;
    act(&ana, Operation::End, &cleo)?;
    settled(cx, &mut eve).await?;
    let ended = |event: &Event| event.is(EventName::Ended);
    let unharmed = |ana: &Peer, ben: &Peer| {
        ana.never_received("received the notice that her call with ben ended, after others tried to end it", ended)?;
        ben.never_received("received the notice that his call with ana ended, after others tried to end it", ended)
    };
    ana.catch_up();
    ben.catch_up();
    unharmed(&ana, &ben)?;
    settled_in_call(cx, &mut ana, &mut ben).await?;
    unharmed(&ana, &ben)?;
    settled(cx, &mut cleo).await?;
    cleo.never_received("received the notice that a call ended, although she had none", ended)?;
    let no_call = cx.file().refusals.no_call.as_ref();
    refused_or_ignored(cx, &eve, 0, 2, "ended a call between others", no_call)?;
    refused_or_ignored(cx, &ana, mark, 1, "ended a call with a user with whom she has none", no_call)
}

async fn two_calls(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut cleo, mut dora] = users(cx, ["ana", "ben", "cleo", "dora"]).await?;
    ana.calls(&mut ben).await?;
    cleo.calls(&mut dora).await?;
    settled_in_call(cx, &mut ana, &mut ben).await?;
    settled_in_call(cx, &mut cleo, &mut dora).await?;
    for (one, other) in [(&ana, &ben), (&cleo, &dora)] {
        other.received_once("one call", |event| event.is(EventName::Ringing))?;
        one.received_once("one answer", |event| event.is(EventName::Answered))?;
    }
    act(&ben, Operation::End, &ana)?;
    ana.until("the notice that ben ended their call", |event| of(event, EventName::Ended, &ben.id)).await?;
    let goes_on = settled_in_call(cx, &mut cleo, &mut dora).await;
    goes_on.map_err(|stop| stop.reworded(|why| format!("a call between others ended, and {why}")))?;
    are_free(cx, &mut ben, &mut ana, "their call has ended").await?;
    dora.close().await;
    cleo.until("the notice that dora disconnected", |event| event.is(EventName::Ended)).await?;
    let goes_on = settled_in_call(cx, &mut ben, &mut ana).await;
    goes_on.map_err(|stop| stop.reworded(|why| format!("a user in a call between others disconnected, and {why}")))?;
    settled(cx, &mut cleo).await?;
    let ended = |event: &Event| event.is(EventName::Ended);
    ben.never_received("received the notice that a call between others ended", ended)?;
    ana.received_once("the notice that her call ended", ended)?;
    cleo.received_once("the notice that her call ended", ended)
}

async fn callee_dies_ringing(cx: &mut Cx) -> Result<(), Stop> {
    for abruptly in [false, true] {
        let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
        act(&ana, Operation::Call, &ben)?;
        ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
        disconnects(ben, abruptly).await;
        let over = |event: &Event| {
            event.is(EventName::Ended) || (event.is(EventName::Answered) && event.accepted == Some(false))
        };
        let notice = ana.until("the notice that ben disconnected while it rang", over).await?;
        if cx.file().calls.disconnect_ends && !notice.event.is(EventName::Ended) {
            let why = "ben disconnected while ana's call rang: expected the notice that it ended, received an answer";
            return Err(Stop::at(why, notice.line));
        }
        are_free(cx, &mut cleo, &mut ana, "the callee disconnected").await?;
        ana.received_once("the notice that ben disconnected", over)?;
        cleo.never_received("received the notice that a call between others ended", |event| {
            event.is(EventName::Ended)
        })?;
    }
    Ok(())
}

async fn caller_dies_ringing(cx: &mut Cx) -> Result<(), Stop> {
    for abruptly in [false, true] {
        let [mut ana, ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
        act(&ben, Operation::Call, &ana)?;
        ana.until("ben's call", |event| of(event, EventName::Ringing, &ben.id)).await?;
        disconnects(ben, abruptly).await;
        let ended = |event: &Event| event.is(EventName::Ended);
        ana.until("the notice that ben disconnected while he called", ended).await?;
        are_free(cx, &mut cleo, &mut ana, "the caller disconnected").await?;
        ana.received_once("the notice that ben disconnected", ended)?;
        cleo.never_received("received the notice that a call between others ended", ended)?;
    }
    Ok(())
}

async fn partner_dies(cx: &mut Cx) -> Result<(), Stop> {
    for (caller, abruptly) in [(true, false), (false, true)] {
        let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
        if caller {
            ben.calls(&mut ana).await?;
        } else {
            ana.calls(&mut ben).await?;
        }
        disconnects(ben, abruptly).await;
        let ended = |event: &Event| event.is(EventName::Ended);
        ana.until("the notice that ben disconnected during the call", ended).await?;
        are_free(cx, &mut cleo, &mut ana, "the other user disconnected").await?;
        ana.received_once("the notice that ben disconnected", ended)?;
        cleo.never_received("received the notice that a call between others ended", ended)?;
    }
    Ok(())
}

async fn disconnects(peer: Peer, abruptly: bool) {
    if abruptly { peer.hang_up() } else { peer.close().await }
}
