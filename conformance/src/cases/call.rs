//! Calls between named users.

use super::DELIVERY;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::{Act, Event, EventName, Feature, Id, Operation};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "call/accept",
        Declared,
        "A call rings at its target only, and only the caller is notified that it was accepted.",
        run!(accept),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/reject",
        Declared,
        "The caller is notified that its call was rejected; nobody is connected, and both users are free again.",
        run!(reject),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/busy",
        Declared,
        "Calling a user who is in a call is answered with busy, and the two users in the call are not affected.",
        run!(busy),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::Busy]),
    &Case::new("call/needed", Declared, "If signals need a call, no signal is delivered without one.", run!(needed))
        .needs(DELIVERY)
        .requires(&[Feature::Calls]),
    &Case::new(
        "call/foreign-answer",
        Declared,
        "A user cannot accept or reject a call that rings at another user.",
        run!(foreign_answer),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new("call/foreign-end", Declared, "A user cannot end a call between others.", run!(foreign_end))
        .needs(DELIVERY)
        .requires(&[Feature::Calls]),
    &Case::new(
        "call/glare",
        Declared,
        "Two users who call each other at once end up in one call, and neither keeps ringing.",
        run!(glare),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/cancel-accept-race",
        Declared,
        "A call that is cancelled while it is being accepted ends the same way for both users, and both are free again.",
        run!(cancel_accept_race),
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
        "A user in a call is notified when the other one disconnects, and is free again.",
        run!(partner_dies),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/media-state",
        Declared,
        "A change of the audio or video state reaches the other side of the call unchanged.",
        run!(media_state),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::Media]),
];

fn act(peer: &Peer, operation: Operation, to: &Peer) -> Result<(), Stop> {
    peer.act(operation, &Act { to: Some(&to.id), ..Act::default() })
}

/// Whether the event has this name and, if it names a user, comes from this one.
fn of(event: &Event, name: EventName, from: &Id) -> bool {
    event.is(name) && event.from.as_ref().is_none_or(|other| other == from)
}

async fn users<const N: usize>(cx: &Cx, names: [&str; N]) -> Result<[Peer; N], Stop> {
    let mut peers = Vec::new();
    for name in names {
        peers.push(cx.join(name, &cx.room()).await?);
    }
    let Ok(peers) = <[Peer; N]>::try_from(peers) else { unreachable!("there is one for each name") };
    Ok(peers)
}

/// Checks that ana and ben are free: they can start a new call, and signal in it.
async fn are_free(cx: &Cx, ana: &mut Peer, ben: &mut Peer, after: &str) -> Result<(), Stop> {
    ana.calls(ben).await.map_err(|stop| stop.reworded(|why| format!("{after}; in a new call, {why}")))?;
    cx.fence(ana, &mut [ben]).await?;
    cx.fence(ben, &mut [ana]).await
}

async fn accept(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ben.received_once("ana's call", |event| of(event, EventName::Ringing, &ana.id))?;
    ana.received_once("ben's acceptance", |event| event.is(EventName::Answered))?;
    ben.never_received("received the notice that the call was answered, although he answered it himself", |event| {
        event.is(EventName::Answered)
    })?;
    // Cleo receives something of her own last, so anything about the others' call would have arrived before it.
    cx.fence_alone(&mut cleo).await?;
    let theirs = |event: &Event| {
        [EventName::Ringing, EventName::Answered, EventName::Signal].into_iter().any(|name| event.is(name))
    };
    cleo.never_received("received a message about a call between others", theirs)?;
    act(&ana, Operation::End, &ben)?;
    ben.until("the notice that ana ended the call", |event| of(event, EventName::Ended, &ana.id)).await?;
    are_free(cx, &mut ben, &mut ana, "the call has ended").await?;
    ben.received_once("the notice that ana ended the call", |event| event.is(EventName::Ended))
}

async fn reject(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = users(cx, ["ana", "ben"]).await?;
    act(&ana, Operation::Call, &ben)?;
    ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
    act(&ben, Operation::Reject, &ana)?;
    let answered = ana.until("ben's rejection", |event| event.is(EventName::Answered)).await?;
    if answered.event.accepted != Some(false) {
        return Err(Stop::at("ben rejected the call, but ana received an acceptance", answered.line));
    }
    are_free(cx, &mut ana, &mut ben, "the call was rejected").await
}

async fn needed(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.file().calls.needed {
        return Err(Stop::Unsupported("the dialect allows signals without a call".to_owned()));
    }
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    let (before, after) = (cx.word("before-the-call"), cx.word("after-the-call"));
    let besides = cx.word("besides-the-call");
    ana.send_word(&ben, &before);
    // When the server handles ana's next message, it has handled this one.
    ana.calls(&mut ben).await?;
    ana.send_word(&cleo, &besides);
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence_alone(&mut cleo).await?;
    cleo.never_received("received a signal from a user who is in a call with another one", |event| {
        event.has_word(&besides)
    })?;
    act(&ana, Operation::End, &ben)?;
    ana.send_word(&ben, &after);
    ben.until("the notice that ana ended the call", |event| of(event, EventName::Ended, &ana.id)).await?;
    are_free(cx, &mut ana, &mut ben, "the call has ended").await?;
    ben.never_received("received a signal from a user with whom he is not in a call", |event| {
        event.has_word(&before) || event.has_word(&after)
    })
}

async fn foreign_answer(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut eve] = users(cx, ["ana", "ben", "eve"]).await?;
    act(&ana, Operation::Call, &ben)?;
    ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
    for answer in [Operation::Accept, Operation::Reject] {
        act(&eve, answer, &ana)?;
        act(&eve, answer, &ben)?;
    }
    cx.fence_alone(&mut eve).await?;
    act(&ben, Operation::Accept, &ana)?;
    let answered = |event: &Event| event.is(EventName::Answered);
    ana.until("ben's acceptance", answered).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ana.received_once("the answer to her call to ben, which eve also tried to answer", answered)?;
    ben.never_received("received an answer to a call, although he made none", answered)
}

async fn foreign_end(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut eve] = users(cx, ["ana", "ben", "eve"]).await?;
    ana.calls(&mut ben).await?;
    act(&eve, Operation::End, &ana)?;
    act(&eve, Operation::End, &ben)?;
    cx.fence_alone(&mut eve).await?;
    let ended = |event: &Event| event.is(EventName::Ended);
    ana.catch_up();
    ben.catch_up();
    ana.never_received("received the notice that her call with ben ended, after eve tried to end it", ended)?;
    ben.never_received("received the notice that his call with ana ended, after eve tried to end it", ended)?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ana.never_received("received the notice that her call with ben ended, after eve tried to end it", ended)?;
    ben.never_received("received the notice that his call with ana ended, after eve tried to end it", ended)
}

async fn busy(cx: &mut Cx) -> Result<(), Stop> {
    let reason = cx.file().calls.busy.clone();
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    let mark = (ana.received.len(), ben.received.len());
    for target in [&ben, &ana] {
        act(&cleo, Operation::Call, target)?;
        let reply = cleo.until("a busy answer", |event| event.is(EventName::Answered) || event.is_error()).await?;
        if reply.event.is_error() {
            cx.acceptable("a call to a user who is in a call is answered with an error, not with `busy`");
        } else if reply.event.accepted != Some(false) {
            return Err(Stop::at(
                "cleo called a user who is in a call: expected a rejection, received an acceptance",
                reply.line,
            ));
        } else if reply.event.reason != reason {
            cx.acceptable("a call to a user who is in a call is rejected without the declared reason");
        }
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    let notices = |event: &Event| {
        [EventName::Ringing, EventName::Answered, EventName::Ended].into_iter().any(|name| event.is(name))
    };
    ana.never_received_since(mark.0, "received a notice about another user's call while she was in a call", notices)?;
    ben.never_received_since(mark.1, "received a notice about another user's call while he was in a call", notices)
}

async fn glare(cx: &mut Cx) -> Result<(), Stop> {
    for _ in 0..4 {
        let [mut ana, mut ben] = users(cx, ["ana", "ben"]).await?;
        act(&ana, Operation::Call, &ben)?;
        act(&ben, Operation::Call, &ana)?;
        // A client that is called before its own call is answered accepts, as a user would.
        let settled = |event: &Event| event.is(EventName::Ringing) || event.is(EventName::Answered);
        let of_ana = ana.until("the outcome of the two calls", settled).await?;
        let of_ben = ben.until("the outcome of the two calls", settled).await?;
        match (of_ana.event.is(EventName::Answered), of_ben.event.is(EventName::Answered)) {
            // The server took the second call as an answer to the first.
            (true, _) | (_, true) => {}
            (false, false) => {
                let both =
                    ana.count(|event| event.is(EventName::Ringing)) + ben.count(|event| event.is(EventName::Ringing));
                let answered = ana.until("an answer", |event| event.is(EventName::Answered)).await.is_ok()
                    || ben.count(|event| event.is(EventName::Answered)) > 0;
                if !answered {
                    return Err(Stop::fail(format!(
                        "ana and ben called each other: expected one call, received {both} ringing notices and no answer"
                    )));
                }
            }
        }
        let accepted = |peer: &Peer| peer.count(|event| event.is(EventName::Answered) && event.accepted == Some(true));
        cx.fence(&mut ana, &mut [&mut ben]).await.map_err(no_call)?;
        cx.fence(&mut ben, &mut [&mut ana]).await.map_err(no_call)?;
        let winners = accepted(&ana) + accepted(&ben);
        if winners != 1 {
            return Err(Stop::fail(format!(
                "ana and ben called each other: expected one accepted call, received {winners} acceptances"
            )));
        }
        act(&ana, Operation::End, &ben)?;
        ben.until("the notice that ana ended their one call", |event| event.is(EventName::Ended)).await?;
        are_free(cx, &mut ben, &mut ana, "their one call has ended").await?;
    }
    Ok(())
}

fn no_call(stop: Stop) -> Stop {
    stop.reworded(|why| format!("ana and ben called each other, but are not in a call: {why}"))
}

async fn cancel_accept_race(cx: &mut Cx) -> Result<(), Stop> {
    for _ in 0..4 {
        let [mut ana, mut ben] = users(cx, ["ana", "ben"]).await?;
        act(&ana, Operation::Call, &ben)?;
        ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
        act(&ana, Operation::End, &ben)?;
        act(&ben, Operation::Accept, &ana)?;
        ben.until("the notice that the call ended", |event| event.is(EventName::Ended)).await?;
        are_free(cx, &mut ben, &mut ana, "the call was cancelled while it was being accepted").await?;
        ben.received_once("the notice that the first call ended", |event| event.is(EventName::Ended))?;
    }
    Ok(())
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
        ana.until("the notice that ben disconnected while it rang", over).await?;
        are_free(cx, &mut cleo, &mut ana, "the callee disconnected").await?;
        ana.received_once("the notice that ben disconnected", over)?;
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
    }
    Ok(())
}

async fn disconnects(peer: Peer, abruptly: bool) {
    if abruptly { peer.hang_up() } else { peer.close().await }
}

async fn media_state(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = users(cx, ["ana", "ben"]).await?;
    ana.calls(&mut ben).await?;
    for (media, enabled) in [("video", false), ("audio", false), ("audio", true), ("video", true)] {
        ana.act(Operation::Media, &Act { to: Some(&ben.id), media: Some((media, enabled)), ..Act::default() })?;
        let what = format!("the notice that ana's {media} is {}", if enabled { "on" } else { "off" });
        let received = ben.until(&what, |event| event.is(EventName::Media)).await?;
        let event = &received.event;
        if event.media.as_deref() != Some(media) || event.enabled != Some(enabled) {
            return Err(Stop::at(format!("expected {what}, but ben received another media state"), received.line));
        }
        if event.from.as_ref().is_some_and(|from| *from != ana.id) {
            return Err(Stop::at(format!("ben received {what}, but from another sender"), received.line));
        }
    }
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ana.never_received("received the notice about her own media state", |event| event.is(EventName::Media))?;
    Ok(())
}
