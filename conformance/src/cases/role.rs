//! Exclusive roles: one holder each.

use futures_util::future::{join, join_all};

use super::DELIVERY;
use super::bystander::{Bystanders, signal_once};
use super::leave::Way;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::RoleRefusals;
use crate::dialect::{Act, Event, EventName, Feature, Kind, Operation};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new("role/exclusive", Declared, "When many clients request a role at once, exactly one gets it.", run!(exclusive))
        .needs(DELIVERY)
        .requires(&[Feature::Roles, Feature::JoinAnswer]),
    &Case::new(
        "role/refused-has-no-power",
        Declared,
        "A client that was refused a role can send nothing and receives nothing, and nobody is notified when it disconnects.",
        run!(refused_has_no_power),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::JoinAnswer]),
    &Case::new(
        "role/replace-dead",
        Declared,
        "A role whose holder has gone, in whatever way, is free again, and the other side is notified in the right order.",
        run!(replace_dead),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::JoinAnswer, Feature::LeaveNotice]),
    &Case::new(
        "role/takeover-live-refused",
        Declared,
        "A role is refused while its holder is connected, and the holder is not affected.",
        run!(takeover_live_refused),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::JoinAnswer]),
    &Case::new(
        "role/ready-either-order",
        Declared,
        "The offering side is notified that the other side is present, whichever joined first.",
        run!(ready_either_order),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::Ready]),
    &Case::new(
        "role/wrong-direction",
        Declared,
        "An offer from the answering side is refused, and so is an answer from the offering side.",
        run!(wrong_direction),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles]),
    &Case::new(
        "role/refusals",
        Declared,
        "What a role does not permit, or nobody can receive, is answered with the declared error, once, and is never delivered.",
        run!(refusals),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::JoinAnswer, Feature::LeaveNotice]),
    &Case::new(
        "role/moves",
        Declared,
        "A client that asks for another room or role gives up its old one: the other side is notified once, and the role is free.",
        run!(moves),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::Moving, Feature::LeaveNotice, Feature::LeaveByMessageNotice]),
    &Case::new(
        "role/refused-move",
        Declared,
        "A client that is refused another role has either kept its old one or given it up, and all others see the same.",
        run!(refused_move),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::Moving, Feature::LeaveNotice, Feature::LeaveByMessageNotice]),
    &Case::new(
        "role/opener-leaves",
        Declared,
        "When the client that opened the room leaves, in whatever way, the other side is notified once and can still signal to the next holder of the role.",
        run!(opener_leaves),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::JoinAnswer, Feature::LeaveNotice]),
    &Case::new(
        "role/both-leave",
        Declared,
        "When both sides leave at the same time, both roles are free again, and the next two clients find a new room.",
        run!(both_leave),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::JoinAnswer]),
    &Case::new(
        "role/refused-stays-outside",
        Declared,
        "A client that was refused a role does not get it when its holder leaves, and receives nothing.",
        run!(refused_stays_outside),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roles, Feature::JoinAnswer, Feature::LeaveNotice]),
];

/// The names of the two roles: the one that offers, and the one that answers.
fn roles(cx: &Cx) -> (String, String) {
    let roles = cx.file().roles.as_ref().expect("the case requires roles");
    (roles.offers.clone(), roles.answers.clone())
}

async fn exclusive(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    for role in [&offers, &answers] {
        let room = cx.room();
        let mut peers = Vec::new();
        for number in 1..=6 {
            peers.push(cx.connect_as(&format!("p{number}"), &room, Some(role)).await?);
        }
        let joined = join_all(peers.iter_mut().map(|peer| peer.join(&room, None))).await;
        let winners = joined.iter().filter(|joined| joined.is_ok()).count();
        if winners != 1 {
            return Err(Stop::fail(format!(
                "six clients requested the role {role} at once: expected one to get it, {winners} did"
            )));
        }
        let won = joined.iter().position(Result::is_ok).unwrap_or_default();
        let mut winner = peers.swap_remove(won);
        let mut other = cx.join_as("other", &room, Some(if *role == offers { &answers } else { &offers })).await?;
        cx.settle(&mut winner, &mut other).await.map_err(Stop::into_setup)?;
        let marks: Vec<_> = peers.iter_mut().map(mark).collect();
        signal_once(cx, &mut winner, &mut other).await?;
        for (refused, mark) in peers.iter_mut().zip(marks) {
            outside(refused, mark)?;
        }
    }
    Ok(())
}

/// How many messages a client has received so far.
fn mark(peer: &mut Peer) -> usize {
    peer.catch_up();
    peer.received.len()
}

/// Checks that a client whose join was refused has received nothing of the room since. Call it after a sentinel has
/// arrived in the room.
fn outside(refused: &mut Peer, mark: usize) -> Result<(), Stop> {
    refused.catch_up();
    let of_the_room = |event: &Event| {
        let kinds = [EventName::Joined, EventName::MemberJoined, EventName::MemberLeft, EventName::Ready];
        event.is_signal() || kinds.into_iter().any(|kind| event.is(kind))
    };
    refused.never_received_since(mark, "was refused a role, but received a message of the room", of_the_room)
}

/// Requests a role that is taken; being admitted is a failure.
async fn is_refused(cx: &Cx, name: &str, room: &str, role: &str) -> Result<Peer, Stop> {
    let mut peer = cx.connect_as(name, room, Some(role)).await?;
    match peer.join(room, None).await {
        Err(_) => Ok(peer),
        Ok(_) => Err(Stop::fail(format!("{name} got the role {role}, although its holder is connected"))),
    }
}

async fn refused_has_no_power(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    for (role, kind) in [(&offers, Kind::Offer), (&answers, Kind::Answer)] {
        let mut eve = is_refused(cx, "eve", &room, role).await?;
        let mark = (ana.received.len(), ben.received.len());
        let word = cx.word("powerless");
        for kind in [kind, Kind::Candidate] {
            eve.signal(kind, &quoted(&word), None)?;
        }
        let secret = cx.word("not-for-eve");
        ana.signal(Kind::Offer, &quoted(&secret), None)?;
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        cx.fence(&mut ben, &mut [&mut ana]).await?;
        eve.catch_up();
        eve.never_received("was refused, but received a signal of the room", |event| event.has_word(&secret))?;
        eve.close().await;
        // By the time fred is refused, the server has handled eve's close, and anything that the close made it send has
        // been sent.
        is_refused(cx, "fred", &room, role).await?.close().await;
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        cx.fence(&mut ben, &mut [&mut ana]).await?;
        let from_eve = |event: &Event| event.has_word(&word);
        ana.never_received("received a signal from a client that was refused", from_eve)?;
        ben.never_received("received a signal from a client that was refused", from_eve)?;
        let left = |event: &Event| event.is(EventName::MemberLeft);
        ana.never_received_since(mark.0, "received a leave notice for a client that was refused", left)?;
        ben.never_received_since(mark.1, "received a leave notice for a client that was refused", left)?;
    }
    Ok(())
}

async fn replace_dead(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    for (stays, goes) in [(&offers, &answers), (&answers, &offers)] {
        for abruptly in [false, true] {
            let room = cx.room();
            let mut ana = cx.join_as("ana", &room, Some(stays)).await?;
            let ben = cx.join_as("ben", &room, Some(goes)).await?;
            let gone = ben.who();
            if abruptly {
                ben.hang_up()
            } else {
                ben.close().await
            }
            let left = ana.until("the leave notice for ben", |event| event.is_left(&gone)).await?;
            let mark = ana.received.len();
            let mut cleo = cx.connect_as("cleo", &room, Some(goes)).await?;
            cleo.join(&room, None).await.map_err(|stop| {
                stop.reworded(|why| format!("ben, who had the role {goes}, left, and ana was notified; but {why}"))
            })?;
            if let Some(ready) = cx.file().roles.as_ref().and_then(|roles| roles.ready.as_ref()) {
                let notified = if stays == ready { &mut ana } else { &mut cleo };
                let what = format!("`ready` after a new {goes} joined");
                notified
                    .until_received(&what, |received| received.line > left.line && received.event.is(EventName::Ready))
                    .await?;
            }
            cx.settle(&mut ana, &mut cleo).await.map_err(Stop::into_setup)?;
            cx.fence(&mut cleo, &mut [&mut ana]).await?;
            cx.fence(&mut ana, &mut [&mut cleo]).await?;
            ana.received_once("the leave notice for ben", |event| event.is_left(&gone))?;
            let stale = |event: &Event| event.is_left(&gone);
            ana.never_received_since(mark, "received a leave notice for ben after cleo took his role", stale)?;
            cleo.never_received("received a leave notice for herself, although she has just joined", |event| {
                event.is_left(&cleo.who())
            })?;
        }
    }
    Ok(())
}

async fn takeover_live_refused(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let mark = (ana.received.len(), ben.received.len());
    let reasons = reasons(cx);
    for (role, reason) in [(&offers, reasons.offers_taken), (&answers, reasons.answers_taken)] {
        let mut eve = is_refused(cx, "eve", &room, role).await?;
        eve.catch_up();
        let what = format!("the request for the role {role}, whose holder is connected,");
        is_answered(cx, &mut eve, &what, reason).await?;
    }
    let word = cx.word("still-me");
    ana.send_word(&ben, &word);
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ben.received_once("ana's signal", |event| event.has_word(&word))?;
    let notices = |event: &Event| event.is(EventName::MemberLeft) || event.is_error();
    ana.never_received_since(mark.0, "received a notice about a client that was refused", notices)?;
    ben.never_received_since(mark.1, "received a notice about a client that was refused", notices)
}

async fn ready_either_order(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    let ready = cx.file().roles.as_ref().and_then(|roles| roles.ready.clone()).unwrap_or_default();
    for (first, second) in [(&offers, &answers), (&answers, &offers)] {
        let room = cx.room();
        let mut ana = cx.join_as("ana", &room, Some(first)).await?;
        let mut ben = cx.join_as("ben", &room, Some(second)).await?;
        let (notified, other) = if *first == ready { (&mut ana, &mut ben) } else { (&mut ben, &mut ana) };
        let what = format!("`ready` when the {first} joined first");
        notified.until(&what, |event| event.is(EventName::Ready)).await?;
        cx.fence(notified, &mut [other]).await?;
        cx.fence(other, &mut [notified]).await?;
        notified.received_once(&what, |event| event.is(EventName::Ready))?;
        other.never_received("received `ready`, which is for the other side", |event| event.is(EventName::Ready))?;
    }
    Ok(())
}

async fn wrong_direction(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let (answer, offer) = (cx.word("wrong-answer"), cx.word("wrong-offer"));
    ana.signal(Kind::Answer, &quoted(&answer), None)?;
    ben.signal(Kind::Offer, &quoted(&offer), None)?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ben.never_received("received an answer from the side that offers", |event| event.has_word(&answer))?;
    ana.never_received("received an offer from the side that answers", |event| event.has_word(&offer))?;
    for peer in [&mut ana, &mut ben] {
        let what = format!("{}'s signal in the wrong direction", peer.name);
        is_answered(cx, peer, &what, reasons(cx).wrong_direction).await?;
    }
    Ok(())
}

/// The errors that the dialect declares for its roles.
fn reasons(cx: &Cx) -> RoleRefusals {
    cx.file().roles.as_ref().map(|roles| roles.refusals.clone()).unwrap_or_default()
}

/// Checks that the only message of a client that is to be refused is answered with one error: with the declared one, if
/// the dialect declares one. Otherwise the server may also close the connection, or ignore the message.
async fn is_answered(cx: &Cx, peer: &mut Peer, what: &str, declared: Option<String>) -> Result<(), Stop> {
    let Some(declared) = declared else {
        if peer.count(Event::is_error) == 0 {
            let how = if peer.end.is_some() { "closes the connection" } else { "is ignored" };
            cx.acceptable(format!("{what} {how}, without an error that gives the reason"));
        }
        return Ok(());
    };
    if peer.count(Event::is_error) == 0 {
        let error = format!("the error `{declared}`, which the dialect declares for {what}");
        peer.until(&error, Event::is_error).await?;
    }
    let errors: Vec<_> = peer.received.iter().filter(|received| received.event.is_error()).collect();
    match errors[..] {
        _ if peer.end.is_some() => {
            Err(peer.stop(format!("{what} ends the connection; the dialect declares the error `{declared}`")))
        }
        [only] if only.event.reason.as_ref() != Some(&declared) => Err(Stop::at(
            format!("{what} is answered with another error than `{declared}`, which the dialect declares"),
            only.line,
        )),
        [_, second, ..] => Err(Stop::at(format!("{what} is answered with {} errors", errors.len()), second.line)),
        _ => Ok(()),
    }
}

/// Sends a message that must be refused, and checks the error.
async fn is_refused_with(peer: &mut Peer, message: String, what: &str, declared: &str) -> Result<(), Stop> {
    peer.send(message);
    let error = peer.until(&format!("an error for {what}"), Event::is_error).await?;
    if error.event.reason.as_deref() == Some(declared) {
        return Ok(());
    }
    Err(Stop::at(format!("{what} is answered with another error than `{declared}`"), error.line))
}

async fn refusals(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    let RoleRefusals {
        offers_taken: Some(offers_taken),
        answers_taken: Some(answers_taken),
        wrong_direction: Some(wrong_direction),
        no_peer: Some(no_peer),
    } = reasons(cx)
    else {
        return Err(Stop::Unsupported("the dialect does not declare the errors of its roles".to_owned()));
    };
    let room = cx.room();
    let mut ana = cx.join_as("ana", &room, Some(&offers)).await?;
    let (early, wrong) = (cx.word("early"), cx.word("wrong"));
    for kind in [Kind::Offer, Kind::Candidate] {
        let message = ana.signal_message(kind, &quoted(&early), None, &room)?;
        is_refused_with(&mut ana, message, "a signal to nobody", &no_peer).await?;
    }
    let mut ben = cx.join_as("ben", &room, Some(&answers)).await?;
    cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
    for (peer, kind) in [(&mut ana, Kind::Answer), (&mut ben, Kind::Offer)] {
        let what = format!("{}'s {kind}, which is for the other side to send,", peer.name);
        let message = peer.signal_message(kind, &quoted(&wrong), None, &room)?;
        is_refused_with(peer, message, &what, &wrong_direction).await?;
    }
    let mut eve = cx.connect("eve", &room).await?;
    for (role, reason) in [(&offers, &offers_taken), (&answers, &answers_taken)] {
        let act = Act { room: &room, role: Some(role), ..Act::default() };
        let message = eve.message(Operation::Join, &act)?;
        let what = format!("the request for the role {role}, whose holder is connected,");
        is_refused_with(&mut eve, message, &what, reason).await?;
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    let gone = ana.who();
    let refused = |event: &Event| event.has_word(&early) || event.has_word(&wrong);
    ben.never_received("received a signal that was refused", refused)?;
    ana.never_received("received a signal that was refused", refused)?;
    let errors = ana.count(Event::is_error);
    ana.close().await;
    ben.until("the leave notice for ana", |event| event.is_left(&gone)).await?;
    let message = ben.signal_message(Kind::Answer, &quoted(&wrong), None, &room)?;
    is_refused_with(&mut ben, message, "a signal to a client that has left", &no_peer).await?;
    eve.catch_up();
    for (name, errors, expected) in
        [("ana", errors, 3), ("ben", ben.count(Event::is_error), 2), ("eve", eve.count(Event::is_error), 2)]
    {
        if errors != expected {
            return Err(Stop::fail(format!(
                "{name} sent {expected} messages that are refused, and received {errors} errors"
            )));
        }
    }
    Ok(())
}

async fn moves(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    for (moving, staying) in [(&offers, &answers), (&answers, &offers)] {
        let (room, elsewhere) = (cx.room(), cx.room());
        let mut ana = cx.join_as("ana", &room, Some(moving)).await?;
        let mut ben = cx.join_as("ben", &room, Some(staying)).await?;
        cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
        let gone = ana.who();
        ana.join(&elsewhere, None).await?;
        ben.until("the leave notice for ana, who joined another room", |event| event.is_left(&gone)).await?;
        let mut cleo = cx.connect_as("cleo", &room, Some(moving)).await?;
        cleo.join(&room, None).await.map_err(|stop| {
            stop.reworded(|why| format!("ana, who had the role {moving}, joined another room; but {why}"))
        })?;
        cx.settle(&mut ben, &mut cleo).await.map_err(Stop::into_setup)?;
        // Nobody is in her new room yet, so whatever ana sends reaches nobody.
        let word = cx.word("elsewhere");
        ana.signal(Kind::Candidate, &quoted(&word), None)?;
        let mut dora = cx.join_as("dora", &elsewhere, Some(staying)).await?;
        cx.settle(&mut ana, &mut dora).await.map_err(Stop::into_setup)?;
        cx.fence(&mut ana, &mut [&mut dora]).await?;
        cx.fence(&mut dora, &mut [&mut ana]).await?;
        cx.fence(&mut ben, &mut [&mut cleo]).await?;
        cx.fence(&mut cleo, &mut [&mut ben]).await?;
        ben.received_once("the leave notice for ana", |event| event.is_left(&gone))?;
        for member in [&ben, &cleo] {
            member
                .never_received("received a signal from ana, who is in another room", |event| event.has_word(&word))?;
        }
        let left = |event: &Event| event.is(EventName::MemberLeft);
        dora.never_received("received a leave notice, although ana has only come from another room", left)?;
    }
    // In the same room: the role that was given up is free, and the new one is taken.
    let room = cx.room();
    let mut ana = cx.join_as("ana", &room, Some(&offers)).await?;
    ana.role = Some(answers.clone());
    ana.join(&room, None).await?;
    let mut ben = cx.connect_as("ben", &room, Some(&offers)).await?;
    ben.join(&room, None).await.map_err(|stop| {
        stop.reworded(|why| format!("ana gave up the role {offers} for the role {answers}; but {why}"))
    })?;
    cx.settle(&mut ben, &mut ana).await.map_err(Stop::into_setup)?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    is_refused(cx, "eve", &room, &answers).await?.close().await;
    Ok(())
}

async fn refused_move(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, _) = roles(cx);
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let [mut cleo, mut dora] = cx.members(&elsewhere, ["cleo", "dora"]).await?;
    let gone = ana.who();
    if ana.join(&elsewhere, None).await.is_ok() {
        return Err(Stop::Setup(format!("ana got the role {offers}, although its holder is connected")));
    }
    room.clone_into(&mut ana.room);
    let is_left = |event: &Event| event.is_left(&gone);
    let word = cx.word("after-refusal");
    // Who gets her old role shows which of the two the server has chosen.
    let mut fred = cx.connect_as("fred", &room, Some(&offers)).await?;
    if fred.join(&room, None).await.is_ok() {
        ben.until("the leave notice for ana, whose role in the room is free,", is_left).await?;
        if ana.end.is_none() {
            ana.signal(Kind::Candidate, &quoted(&word), None)?;
            // The answer to this request shows that her signal was handled.
            ana.join(&elsewhere, None).await.err();
        }
        cx.settle(&mut fred, &mut ben).await.map_err(Stop::into_setup)?;
        cx.fence(&mut fred, &mut [&mut ben]).await?;
        cx.fence(&mut ben, &mut [&mut fred]).await?;
        ben.received_once("the leave notice for ana", is_left)?;
        for member in [&ben, &fred] {
            member.never_received("received a signal from ana, who has given up her role", |event| {
                event.has_word(&word)
            })?;
        }
    } else {
        cx.fence(&mut ana, &mut [&mut ben]).await.map_err(|stop| {
            stop.reworded(|why| format!("ana was refused another role, and her old one is not free; but {why}"))
        })?;
        cx.fence(&mut ben, &mut [&mut ana]).await?;
        ben.never_received("received a leave notice for ana, whose role in the room is not free", is_left)?;
    }
    cx.fence(&mut cleo, &mut [&mut dora]).await?;
    cx.fence(&mut dora, &mut [&mut cleo]).await?;
    for member in [&cleo, &dora] {
        member.never_received("received a notice about a client that was refused", |event| {
            event.is(EventName::MemberLeft) || event.is_error()
        })?;
    }
    Ok(())
}

async fn opener_leaves(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    let bystanders = Bystanders::gather(cx).await?;
    for (opens, follows) in [(&offers, &answers), (&answers, &offers)] {
        for way in Way::all(cx).into_iter().filter(|way| way.is_announced(cx)) {
            let room = cx.room();
            let mut ana = cx.join_as("ana", &room, Some(opens)).await?;
            let mut ben = cx.join_as("ben", &room, Some(follows)).await?;
            cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
            cx.fence(&mut ana, &mut [&mut ben]).await.map_err(Stop::into_setup)?;
            let gone = ana.who();
            let what = format!("the leave notice for ana, who opened the room as {opens} and {},", way.words());
            way.go(cx, ana).await.map_err(Stop::into_setup)?;
            let left = ben.until(&what, |event| event.is_left(&gone)).await?;
            let mut cleo = cx.connect_as("cleo", &room, Some(opens)).await?;
            let after = |stop: Stop| stop.reworded(|why| format!("ana opened the room as {opens} and left: {why}"));
            cleo.join(&room, None).await.map_err(after)?;
            if let Some(ready) = cx.file().roles.as_ref().and_then(|roles| roles.ready.as_ref()) {
                let notified = if follows == ready { &mut ben } else { &mut cleo };
                let since = if follows == ready { left.line } else { 0 };
                let what = format!("`ready` after a new {opens} joined");
                let is_ready = |event: &Event| event.is(EventName::Ready);
                notified.until_received(&what, |seen| seen.line > since && is_ready(&seen.event)).await?;
            }
            cx.settle(&mut cleo, &mut ben).await.map_err(after)?;
            signal_once(cx, &mut cleo, &mut ben).await.map_err(after)?;
            ben.received_once(&what, |event| event.is_left(&gone))?;
            cleo.never_received("received a leave notice, although nobody left after she joined", |event| {
                event.is(EventName::MemberLeft)
            })?;
        }
    }
    bystanders.received_nothing(cx).await
}

async fn both_leave(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    for (first, second) in [(&offers, &answers), (&answers, &offers)] {
        let room = cx.room();
        let mut ana = cx.join_as("ana", &room, Some(first)).await?;
        let mut ben = cx.join_as("ben", &room, Some(second)).await?;
        cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
        let word = cx.word("of-old");
        ana.send_word(&ben, &word);
        cx.fence(&mut ana, &mut [&mut ben]).await.map_err(Stop::into_setup)?;
        join(ana.close(), async { ben.hang_up() }).await;
        let mut cleo = takes_free_role(cx, "cleo", &room, first).await?;
        let mut dora = takes_free_role(cx, "dora", &room, second).await?;
        cx.settle(&mut cleo, &mut dora).await.map_err(Stop::into_setup)?;
        signal_once(cx, &mut cleo, &mut dora).await?;
        for member in [&cleo, &dora] {
            member.never_received("received a signal from before she joined", |event| event.has_word(&word))?;
        }
        dora.never_received("received a leave notice, although nobody left after she joined", |event| {
            event.is(EventName::MemberLeft)
        })?;
    }
    Ok(())
}

/// Takes a role whose holder has left. The server may need a moment to notice that, and nobody is left to be notified.
async fn takes_free_role(cx: &Cx, name: &str, room: &str, role: &str) -> Result<Peer, Stop> {
    let mut attempts = cx.attempts();
    loop {
        let mut peer = cx.connect_as(name, room, Some(role)).await?;
        match peer.join(room, None).await {
            Ok(_) => return Ok(peer),
            Err(stop) if attempts.are_over() => {
                return Err(stop.reworded(|why| format!("both sides left the room, but {why}")));
            }
            Err(_) => peer.close().await,
        }
        attempts.pause().await;
    }
}

async fn refused_stays_outside(cx: &mut Cx) -> Result<(), Stop> {
    let (offers, answers) = roles(cx);
    for (stays, goes) in [(&offers, &answers), (&answers, &offers)] {
        let room = cx.room();
        let mut ana = cx.join_as("ana", &room, Some(stays)).await?;
        let mut ben = cx.join_as("ben", &room, Some(goes)).await?;
        cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
        cx.fence(&mut ben, &mut [&mut ana]).await.map_err(Stop::into_setup)?;
        let before = ana.received.len();
        let mut eve = is_refused(cx, "eve", &room, goes).await?;
        let refused = mark(&mut eve);
        cx.fence(&mut ben, &mut [&mut ana]).await?;
        ana.never_received_since(before, "received a notice about a client that was refused", |event| {
            event.is(EventName::Ready) || event.is(EventName::MemberLeft) || event.is(EventName::MemberJoined)
        })?;
        let gone = ben.who();
        ben.close().await;
        ana.until("the leave notice for ben", |event| event.is_left(&gone)).await?;
        let word = cx.word("not-for-eve");
        ana.send_word(&eve, &word);
        let mut cleo = cx.connect_as("cleo", &room, Some(goes)).await?;
        let free = |stop: Stop| stop.reworded(|why| format!("ben, who was {goes}, left: {why}"));
        cleo.join(&room, None).await.map_err(free)?;
        cx.settle(&mut ana, &mut cleo).await.map_err(free)?;
        signal_once(cx, &mut ana, &mut cleo).await.map_err(free)?;
        outside(&mut eve, refused)?;
        ana.received_once("the leave notice for ben", |event| event.is_left(&gone))?;
        eve.close().await;
        signal_once(cx, &mut ana, &mut cleo).await.map_err(free)?;
        ana.received_once("the leave notice for ben", |event| event.is_left(&gone))?;
    }
    Ok(())
}
