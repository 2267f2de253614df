//! Exclusive roles: one holder each.

use futures_util::future::join_all;

use super::DELIVERY;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::{Event, EventName, Feature, Kind};
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
    .requires(&[Feature::Roles, Feature::JoinAnswer]),
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
    }
    Ok(())
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
    for role in [&offers, &answers] {
        let mut eve = is_refused(cx, "eve", &room, role).await?;
        eve.catch_up();
        if eve.count(Event::is_error) == 0 {
            cx.acceptable(format!(
                "eve is refused the role {role} with a close, without an error that gives the reason"
            ));
        }
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
    for peer in [&ana, &ben] {
        if peer.count(Event::is_error) == 0 {
            cx.acceptable(format!("{}'s signal in the wrong direction is dropped without an error", peer.name));
        }
    }
    Ok(())
}
