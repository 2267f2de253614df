//! Calls until they are answered.

use super::names::renames;
use super::{DELIVERY, act, are_free, is_of_a_call, of, refused, refused_as, settled, settled_in_call, users};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::{Act, Event, EventName, Feature, Operation};
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
        "Only the caller is notified that its call was rejected, once; nobody is connected, and both users are free again.",
        run!(reject),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/busy",
        Declared,
        "A call to a user who is in a call is answered with busy, once; the two users in the call receive nothing, and the caller stays free.",
        run!(busy),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::Busy]),
    &Case::new(
        "call/caller-busy",
        Declared,
        "A user in a call cannot call another user: the call rings at nobody, and the first call goes on.",
        run!(caller_busy),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/self-call",
        Declared,
        "A call to oneself is refused: it does not ring, and the user stays free.",
        run!(self_call),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/absent",
        Declared,
        "A call to a user who does not exist is refused, and the caller stays free.",
        run!(absent),
    )
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
    &Case::new(
        "call/wrong-answer",
        Declared,
        "An answer to a call that was never made has no effect, and neither has an answer of the caller, or one that names another caller.",
        run!(wrong_answer),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/second-answer",
        Declared,
        "A call is answered once: another answer has no effect and does not end the call.",
        run!(second_answer),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/late-answer",
        Declared,
        "A call that was cancelled or rejected can no longer be answered.",
        run!(late_answer),
    )
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
        "call/call-back",
        Declared,
        "A user who calls the user whose call rings at it accepts that call: only the first caller is notified, and both are in one call.",
        run!(call_back),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::CallBack]),
    &Case::new(
        "call/caller-id",
        Declared,
        "A call that rings shows the id of the caller's connection: the same for all its calls, also under another name, and no other connection's.",
        run!(caller_id),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls, Feature::CallerIds]),
    &Case::new(
        "call/ringing-undisturbed",
        Declared,
        "A call that rings can still be accepted after a third user calls the called user, or one of the two calls a third user.",
        run!(ringing_undisturbed),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Calls]),
    &Case::new(
        "call/cancel",
        Declared,
        "The called user is notified once that the caller cancelled, nobody else is notified, and both are free again.",
        run!(cancel),
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
];

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
    settled(cx, &mut cleo).await?;
    cleo.never_received("received a message about a call between others", is_of_a_call)?;
    act(&ana, Operation::End, &ben)?;
    ben.until("the notice that ana ended the call", |event| of(event, EventName::Ended, &ana.id)).await?;
    are_free(cx, &mut ben, &mut ana, "the call has ended").await?;
    ben.received_once("the notice that ana ended the call", |event| event.is(EventName::Ended))
}

async fn reject(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    act(&ana, Operation::Call, &ben)?;
    ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
    act(&ben, Operation::Reject, &ana)?;
    let answered = ana.until("ben's rejection", |event| event.is(EventName::Answered)).await?;
    if answered.event.accepted != Some(false) {
        return Err(Stop::at("ben rejected the call, but ana received an acceptance", answered.line));
    }
    are_free(cx, &mut ana, &mut ben, "the call was rejected").await?;
    settled(cx, &mut cleo).await?;
    ana.received_once("ben's rejection", |event| event.is(EventName::Answered) && event.accepted == Some(false))?;
    ben.never_received("received a notice that the call was answered, although he answered it himself", |event| {
        event.is(EventName::Answered)
    })?;
    cleo.never_received("received a message about a call between others", is_of_a_call)
}

async fn busy(cx: &mut Cx) -> Result<(), Stop> {
    let reason = cx.file().calls.busy.clone();
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    let mark = (ana.received.len(), ben.received.len());
    for target in [&ben, &ana] {
        let mark = cleo.received.len();
        act(&cleo, Operation::Call, target)?;
        let reply = cleo.until("a busy answer", |event| event.is(EventName::Answered) || event.is_error()).await?;
        let why = match &reply.event {
            event if event.is_error() => Some("an error".to_owned()),
            event if event.accepted != Some(false) => Some("an acceptance".to_owned()),
            event if event.reason != reason => Some("a rejection without this reason".to_owned()),
            event => event.from.as_ref().filter(|from| **from != target.id).map(|from| format!("an answer of {from}")),
        };
        if let Some(received) = why {
            let expected = reason.as_deref().unwrap_or_default();
            let why =
                format!("cleo called a user who is in a call: expected the answer `{expected}`, received {received}");
            return Err(Stop::at(why, reply.line));
        }
        settled(cx, &mut cleo).await?;
        let answers = cleo.received[mark..].iter().filter(|received| is_of_a_call(&received.event)).count();
        if answers != 1 {
            let why = format!("cleo called a user who is in a call: expected one answer, received {answers}");
            return Err(Stop::at(why, reply.line));
        }
    }
    settled_in_call(cx, &mut ana, &mut ben).await?;
    let notices = |event: &Event| {
        [EventName::Ringing, EventName::Answered, EventName::Ended].into_iter().any(|name| event.is(name))
    };
    ana.never_received_since(mark.0, "received a notice about another user's call while she was in a call", notices)?;
    ben.never_received_since(mark.1, "received a notice about another user's call while he was in a call", notices)
}

async fn caller_busy(cx: &mut Cx) -> Result<(), Stop> {
    let Some(busy) = &cx.file().refusals.busy else {
        return Err(Stop::Unsupported("the dialect does not define that a user has one call at a time".to_owned()));
    };
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    let mark = (ana.received.len(), ben.received.len());
    for caller in [&ana, &ben] {
        act(caller, Operation::Call, &cleo)?;
    }
    let goes_on = settled_in_call(cx, &mut ana, &mut ben).await;
    goes_on.map_err(|stop| stop.reworded(|why| format!("after a user in a call called another one, {why}")))?;
    cleo.catch_up();
    cleo.never_received("was called by a user who is in a call with another one", |event| {
        event.is(EventName::Ringing)
    })?;
    settled(cx, &mut cleo).await?;
    cleo.never_received("received a message of a user who is in a call with another one", is_of_a_call)?;
    for (user, mark) in [(&ana, mark.0), (&ben, mark.1)] {
        refused(user, mark, 1, "called another user during a call", Some(busy))?;
        let notices = |event: &Event| is_of_a_call(event) && !event.is_signal();
        user.never_received_since(mark, "received a notice about a call that a user in a call tried to make", notices)?;
    }
    Ok(())
}

async fn self_call(cx: &mut Cx) -> Result<(), Stop> {
    let Some(malformed) = &cx.file().refusals.malformed else {
        return Err(Stop::Unsupported("the dialect does not define that a call to oneself is refused".to_owned()));
    };
    let [mut ana, mut cleo] = users(cx, ["ana", "cleo"]).await?;
    act(&ana, Operation::Call, &ana)?;
    settled(cx, &mut ana).await?;
    ana.never_received("was called by herself", |event| event.is(EventName::Ringing))?;
    ana.never_received("received the notice that she accepted her own call", |event| event.accepted == Some(true))?;
    refused(&ana, 0, 1, "called herself", Some(malformed))?;
    are_free(cx, &mut cleo, &mut ana, "ana called herself").await
}

async fn absent(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut cleo] = users(cx, ["ana", "cleo"]).await?;
    let nobody = cx.nobody("nobody");
    ana.act(Operation::Call, &Act { to: Some(&nobody), ..Act::default() })?;
    settled(cx, &mut ana).await?;
    ana.never_received("received the notice that nobody accepted her call", |event| event.accepted == Some(true))?;
    let absent = cx.file().refusals.absent_target(&nobody.to_string());
    refused(&ana, 0, 1, "called a user who does not exist", absent.as_ref())?;
    are_free(cx, &mut ana, &mut cleo, "ana called a user who does not exist").await?;
    cleo.received_once("ana's call to her", |event| event.is(EventName::Ringing))
}

/// The errors for an answer to a call that does not ring. A client that was not called cannot name the session that a
/// ringing call has, so its answer may count as malformed.
fn of_no_call(cx: &Cx) -> Vec<&String> {
    let refusals = &cx.file().refusals;
    refusals.no_call.iter().chain(refusals.no_call.as_ref().and(refusals.malformed.as_ref())).collect()
}

async fn wrong_answer(cx: &mut Cx) -> Result<(), Stop> {
    let no_call = of_no_call(cx);
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    let answered = |event: &Event| event.is(EventName::Answered);
    // Nobody has called yet.
    for answer in [Operation::Accept, Operation::Reject] {
        act(&cleo, answer, &ana)?;
    }
    settled(cx, &mut cleo).await?;
    settled(cx, &mut ana).await?;
    ana.never_received("received an answer to a call that she never made", answered)?;
    refused_as(&cleo, 0, 2, "answered a call that was never made", &no_call)?;
    let mark = (ana.received.len(), ben.received.len());
    act(&ana, Operation::Call, &ben)?;
    ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
    for answer in [Operation::Accept, Operation::Reject] {
        act(&ana, answer, &ben)?;
        act(&ben, answer, &cleo)?;
    }
    settled(cx, &mut cleo).await?;
    cleo.never_received("received an answer to a call that she never made", answered)?;
    act(&ben, Operation::Accept, &ana)?;
    let accepted = |event: &Event| answered(event) && event.accepted == Some(true);
    let acceptance = ana.until("ben's acceptance", accepted).await;
    acceptance.map_err(|stop| stop.reworded(|why| format!("after wrong answers to ana's call, {why}")))?;
    settled_in_call(cx, &mut ana, &mut ben).await?;
    ana.received_once("ben's answer, after wrong ones", answered)?;
    ben.never_received("received an answer to a call, although he made none", answered)?;
    refused_as(&ana, mark.0, 2, "answered her own call", &no_call)?;
    refused_as(&ben, mark.1, 2, "answered a call of a user who did not call", &no_call)
}

async fn second_answer(cx: &mut Cx) -> Result<(), Stop> {
    let no_call = cx.file().refusals.no_call.as_ref();
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    ana.calls(&mut ben).await?;
    let mark = ben.received.len();
    for answer in [Operation::Accept, Operation::Reject, Operation::Accept] {
        act(&ben, answer, &ana)?;
    }
    let goes_on = settled_in_call(cx, &mut ana, &mut ben).await;
    goes_on.map_err(|stop| stop.reworded(|why| format!("after ben answered the same call again, {why}")))?;
    settled(cx, &mut cleo).await?;
    ana.received_once("ben's answer", |event| event.is(EventName::Answered))?;
    refused(&ben, mark, 3, "answered a call again", no_call)?;
    cleo.never_received("received a message about a call between others", is_of_a_call)
}

async fn late_answer(cx: &mut Cx) -> Result<(), Stop> {
    let no_call = cx.file().refusals.no_call.as_ref();
    for (end, word) in [(Operation::End, "cancelled"), (Operation::Reject, "rejected")] {
        let [mut ana, mut ben] = users(cx, ["ana", "ben"]).await?;
        act(&ana, Operation::Call, &ben)?;
        ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
        if end == Operation::End {
            act(&ana, end, &ben)?;
            ben.until("the notice that ana cancelled", |event| of(event, EventName::Ended, &ana.id)).await?;
        } else {
            act(&ben, end, &ana)?;
            ana.until("ben's rejection", |event| event.is(EventName::Answered)).await?;
        }
        let mark = (ana.received.len(), ben.received.len());
        for answer in [Operation::Accept, Operation::Reject] {
            act(&ben, answer, &ana)?;
        }
        let free = |stop: Stop| stop.reworded(|why| format!("ben answered a call that was {word}; {why}"));
        settled(cx, &mut ben).await.map_err(free)?;
        settled(cx, &mut ana).await.map_err(free)?;
        let why = format!("received an answer to a call that was {word}");
        ana.never_received_since(mark.0, &why, |event| event.is(EventName::Answered))?;
        refused(&ben, mark.1, 2, &format!("answered a call that was {word}"), no_call)?;
    }
    Ok(())
}

async fn call_back(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    act(&ana, Operation::Call, &ben)?;
    ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
    act(&ben, Operation::Call, &ana)?;
    let accepted = |event: &Event| of(event, EventName::Answered, &ben.id) && event.accepted == Some(true);
    let acceptance = ana.until("the notice that ben accepted her call by calling her", accepted).await;
    acceptance.map(drop)?;
    settled_in_call(cx, &mut ana, &mut ben).await.map_err(no_call)?;
    settled(cx, &mut cleo).await?;
    ana.received_once("the notice that ben accepted", |event| event.is(EventName::Answered))?;
    ben.received_once("ana's call", |event| event.is(EventName::Ringing))?;
    ana.never_received("was called by ben, whom she called", |event| event.is(EventName::Ringing))?;
    ben.never_received("received a notice that his call was answered, although it was the answer", |event| {
        event.is(EventName::Answered)
    })?;
    cleo.never_received("received a message about a call between others", is_of_a_call)?;
    act(&ben, Operation::End, &ana)?;
    ana.until("the notice that ben ended their one call", |event| of(event, EventName::Ended, &ben.id)).await?;
    are_free(cx, &mut ana, &mut ben, "their one call has ended").await
}

/// Calls a user, who rejects. Returns the caller's id as the call showed it, and the transcript line.
async fn shown_id(caller: &mut Peer, called: &mut Peer) -> Result<(String, usize), Stop> {
    act(caller, Operation::Call, called)?;
    let what = format!("{}'s call", caller.name);
    let call = called.until(&what, |event| of(event, EventName::Ringing, &caller.id)).await?;
    act(called, Operation::Reject, caller)?;
    let rejected = |event: &Event| of(event, EventName::Answered, &called.id) && event.accepted == Some(false);
    caller.until(&format!("{}'s rejection", called.name), rejected).await?;
    let id = call.event.session.unwrap_or_default();
    if ["", "null", "\"\""].contains(&id.as_str()) {
        return Err(Stop::at(format!("{} received {what} without the caller's id", called.name), call.line));
    }
    Ok((id, call.line))
}

async fn caller_id(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    let (of_ana, _) = shown_id(&mut ana, &mut ben).await?;
    let (of_cleo, line) = shown_id(&mut cleo, &mut ben).await?;
    if of_ana == of_cleo {
        return Err(Stop::at(format!("ana's call and cleo's show the same caller's id, {of_ana}"), line));
    }
    let other = |of: &str, (id, line): (String, usize)| {
        let why = format!("two calls of the same connection show {of_ana} and {id} as the caller's id{of}");
        if id == of_ana { Ok(()) } else { Err(Stop::at(why, line)) }
    };
    other("", shown_id(&mut ana, &mut cleo).await?)?;
    other("", shown_id(&mut ana, &mut ben).await?)?;
    if cx.has(Feature::Renames) && cx.has(Feature::Roster) {
        renames(cx, &mut ana).await?;
        other(", the second one under another name", shown_id(&mut ana, &mut ben).await?)?;
    }
    Ok(())
}

/// What came of a call: it rang at the called user.
async fn rings(caller: &mut Peer, called: &mut Peer) -> Result<bool, Stop> {
    act(caller, Operation::Call, called)?;
    let id = caller.id.clone();
    let what = format!("the outcome of a call to {}", called.name);
    tokio::select! { biased;
        received = called.until("a call", |event| event.is(EventName::Ringing) && event.from.as_ref() == Some(&id)) =>
            received.map(|_| true),
        received = caller.until(&what, |event| event.is(EventName::Answered) || event.is_error()) =>
            received.map(|_| false),
    }
}

async fn ringing_undisturbed(cx: &mut Cx) -> Result<(), Stop> {
    for what in ["a third user called ben", "ana called a third user", "ben called a third user"] {
        let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
        act(&ana, Operation::Call, &ben)?;
        ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
        let rang = match what {
            "a third user called ben" => rings(&mut cleo, &mut ben).await,
            "ana called a third user" => rings(&mut ana, &mut cleo).await,
            _ => rings(&mut ben, &mut cleo).await,
        };
        let after = |stop: Stop| stop.reworded(|why| format!("while ana's call to ben rang, {what}: {why}"));
        if rang.map_err(after)? {
            cx.acceptable(format!("while a call rang, {what}, and that call rings too"));
            // Which of the two calls then counts is up to the server.
            continue;
        }
        act(&ben, Operation::Accept, &ana)?;
        let accepted = |event: &Event| of(event, EventName::Answered, &ben.id) && event.accepted == Some(true);
        ana.until("ben's acceptance", accepted).await.map_err(after)?;
        settled_in_call(cx, &mut ana, &mut ben).await.map_err(after)?;
        ana.received_once("ben's acceptance", |event| event.accepted == Some(true)).map_err(after)?;
        for user in [&ben, &cleo] {
            let why = "received the notice that a call was accepted, which was not its own";
            user.never_received(why, |event| event.accepted == Some(true)).map_err(after)?;
        }
        for user in [&ana, &ben] {
            user.never_received("received the notice that the call ended", |event| event.is(EventName::Ended))
                .map_err(after)?;
        }
    }
    Ok(())
}

async fn cancel(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut cleo] = users(cx, ["ana", "ben", "cleo"]).await?;
    act(&ana, Operation::Call, &ben)?;
    ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
    act(&ana, Operation::End, &ben)?;
    ben.until("the notice that ana cancelled her call", |event| of(event, EventName::Ended, &ana.id)).await?;
    are_free(cx, &mut ana, &mut ben, "the call was cancelled").await?;
    settled(cx, &mut cleo).await?;
    ben.received_once("the notice that ana cancelled her call", |event| event.is(EventName::Ended))?;
    ana.never_received("received the notice that the call ended that she cancelled herself", |event| {
        event.is(EventName::Ended)
    })?;
    cleo.never_received("received a message about a call between others", is_of_a_call)
}

async fn foreign_answer(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben, mut eve] = users(cx, ["ana", "ben", "eve"]).await?;
    act(&ana, Operation::Call, &ben)?;
    ben.until("ana's call", |event| of(event, EventName::Ringing, &ana.id)).await?;
    // Her answers are complete, so nothing but their sender is wrong with them.
    eve.learn_session(&ana.id, &ben);
    for answer in [Operation::Accept, Operation::Reject] {
        act(&eve, answer, &ana)?;
        act(&eve, answer, &ben)?;
    }
    settled(cx, &mut eve).await?;
    refused_as(&eve, 0, 4, "answered a call that rings at another user", &of_no_call(cx))?;
    act(&ben, Operation::Accept, &ana)?;
    let answered = |event: &Event| event.is(EventName::Answered);
    ana.until("ben's acceptance", answered).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ana.received_once("the answer to her call to ben, which eve also tried to answer", answered)?;
    ben.never_received("received an answer to a call, although he made none", answered)
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
