//! Names that mean something to a programming language.

use super::DELIVERY;
use super::bystander::{Bystanders, signal_once};
use super::leave::Way;
use super::room::as_failure;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Addressing, JoinBy, Reaction, Sender, Situation};
use crate::dialect::{Act, Event, EventName, Feature, Id, Operation};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "sec/proto-key",
        Declared,
        "`__proto__` and similar words are ordinary names of rooms and users, and not types or clients.",
        run!(proto_key),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages, Feature::Names])
    .alone(),
    &Case::new(
        "sec/proto-used",
        Declared,
        "A room or a client named `__proto__` or similar can be used like any other: joined, called, signalled to and left. Nobody else is affected.",
        run!(proto_used),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages, Feature::Names])
    .alone(),
];

const NAMES: [&str; 5] = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"];

async fn proto_key(cx: &mut Cx) -> Result<(), Stop> {
    if cx.has(Feature::RoomNames) {
        for room in NAMES {
            // The room name is not unique, so other clients may be there; they do no harm.
            let named = cx.names().then_some(room);
            let roles = cx.file().roles.as_ref().map(|roles| (roles.offers.clone(), roles.answers.clone()));
            let (offers, answers) = roles.unzip();
            let mut ana = cx.connect_as("ana", room, offers.as_deref()).await?;
            ana.join(room, named).await?;
            let mut ben = cx.connect_as("ben", room, answers.as_deref()).await?;
            let peers = ben.join(room, None).await?;
            let seen =
                |id: &Id| peers.iter().any(|peer| peer.id == *id && (named.is_none() || peer.name.as_deref() == named));
            if cx.has(Feature::Roster) && !seen(&ana.id) {
                return Err(Stop::fail(format!(
                    "ana is in the room {room} under the same name, but the list that ben received lacks her"
                )));
            }
            cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
            cx.fence(&mut ana, &mut [&mut ben]).await?;
            cx.fence(&mut ben, &mut [&mut ana]).await?;
        }
    }
    if cx.has(Feature::IdNames) {
        for name in NAMES {
            let ana = cx.join("ana", &cx.room()).await?;
            let mut values = ana.values().clone();
            values.insert("self".to_owned(), quoted(name));
            let odd = Peer::connect_with(&cx.env, &cx.log, name, &ana.room, None, values).await;
            let Ok(mut odd) = odd else { continue };
            match odd.join(&ana.room, None).await {
                Ok(_) => {}
                Err(_) => cx.remark(format!("the server does not accept the id {name}")),
            }
        }
    }
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let word = cx.word("to-proto");
    for name in NAMES {
        for (index, (situation, message)) in odd_messages(cx, &ana, name, &word).into_iter().enumerate() {
            if cx.file().declares.reaction(situation) != Reaction::Closed {
                ana.send(message);
                continue;
            }
            // Another client, because it may be disconnected for that.
            let mut cleo = cx.join("cleo", &cx.room()).await?;
            let (_, message) = odd_messages(cx, &cleo, name, &word).swap_remove(index);
            cleo.send(message);
            cleo.ended_soon().await;
        }
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    if cx.file().signals.addressing != Addressing::FilteredByReceiver {
        ben.never_received("received a signal to a client that does not exist", |event| event.has_word(&word))?;
    }
    let gone = ana.who();
    ben.never_received("received a leave notice for ana, who has not left", |event| event.is_left(&gone))
}

/// Messages in which this name stands for a client or a type, and for which situation the dialect declares what happens.
fn odd_messages(cx: &Cx, from: &Peer, name: &str, word: &str) -> Vec<(Situation, String)> {
    let (data, to) = (quoted(word), Id::of(name));
    let to = cx.has(Feature::Targeted).then_some(&to);
    let mut messages = Vec::new();
    if to.is_some() {
        let extra = [("__proto__", r#"{"action":"leave","type":"leave"}"#.to_owned())];
        for extra in [&[][..], &extra] {
            let act = Act { room: &from.room, to, data: Some(&data), extra, ..Act::default() };
            let signal = from.signal_with(from.plain_kind(), &act).ok();
            messages.extend(signal.map(|signal| (Situation::AbsentTarget, signal)));
        }
    }
    if cx.file().join.by == JoinBy::Message && cx.has(Feature::WebSocket) {
        messages.push((Situation::UnknownType, format!(r#"{{"action":{0},"type":{0}}}"#, quoted(name))));
    }
    messages
}

async fn proto_used(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    for name in NAMES {
        let after = |stop: Stop| stop.reworded(|why| format!("the name {name}: {why}"));
        if cx.has(Feature::RoomNames) {
            room_named(cx, name).await.map_err(after)?;
        }
        if cx.has(Feature::IdNames) {
            client_named(cx, name).await.map_err(after)?;
        }
    }
    bystanders.received_nothing(cx).await
}

/// Two clients use a room of this name. The name is not unique, so other clients may be there; they do no harm.
async fn room_named(cx: &Cx, room: &str) -> Result<(), Stop> {
    let role = cx.answers();
    let [mut ana, mut ben] = cx.members(room, ["ana", "ben"]).await.map_err(as_failure)?;
    signal_once(cx, &mut ana, &mut ben).await?;
    let gone = ben.who();
    let way = if Way::Leaves.is_announced(cx) && cx.has(Feature::Leave) { Way::Leaves } else { Way::Closes };
    way.go(cx, ben).await?;
    if way.is_announced(cx) {
        ana.until("the leave notice for ben", |event| event.is_left(&gone)).await?;
    }
    let mut cleo = cx.connect_as("cleo", room, role.as_deref()).await?;
    let members = cleo.join(room, None).await?;
    if cx.has(Feature::Roster) && way.is_announced(cx) {
        let listed = |id: &Id| members.iter().any(|member| member.id == *id);
        if listed(&gone.id) {
            return Err(Stop::fail("ben has left the room, but cleo received a list of members with him"));
        }
        if !listed(&ana.id) {
            return Err(Stop::fail("ana is in the room, but cleo received a list of members without her"));
        }
    }
    cx.settle(&mut ana, &mut cleo).await?;
    signal_once(cx, &mut ana, &mut cleo).await?;
    if way.is_announced(cx) && cx.leave_notices_have_ids() {
        ana.received_once("the leave notice for ben", |event| event.is_left(&gone))?;
    }
    // The room must be empty for the next run.
    let gone = cleo.who();
    cleo.close().await;
    if cx.has(Feature::LeaveNotice) {
        let since = ana.received.len();
        ana.until("the leave notice for cleo", |event| event.is_left(&gone)).await?;
        ana.never_received_since(since, "received an error, although others left", Event::is_error)?;
    }
    ana.close().await;
    Ok(())
}

/// A client uses this name as its id, and afterwards the name is nobody's.
async fn client_named(cx: &Cx, name: &str) -> Result<(), Stop> {
    let mut ben = cx.join("ben", &cx.room()).await?;
    let mut values = ben.values().clone();
    values.insert("self".to_owned(), quoted(name));
    let Ok(mut odd) = Peer::connect_with(&cx.env, &cx.log, name, &ben.room, None, values).await else { return Ok(()) };
    let room = ben.room.clone();
    if odd.join(&room, None).await.is_err() {
        cx.remark(format!("the server does not accept the id {name}"));
        return Ok(());
    }
    cx.settle(&mut ben, &mut odd).await?;
    signal_once(cx, &mut ben, &mut odd).await?;
    let word = cx.word("from-odd");
    odd.send_word(&ben, &word);
    let received = ben.until("the client's signal", |event| event.has_word(&word)).await?;
    if cx.file().signals.sender == Sender::Stamped && received.event.from.as_ref() != Some(&odd.id) {
        return Err(Stop::at("ben received the client's signal with another sender", received.line));
    }
    let gone = odd.who();
    odd.close().await;
    if cx.has(Feature::LeaveNotice) {
        ben.until("the leave notice for the client", |event| event.is_left(&gone)).await?;
        ben.received_once("the leave notice for the client", |event| event.is_left(&gone))?;
    }
    // Nobody has the name any more: what is for it reaches nobody, and does no harm.
    let mark = ben.received.len();
    ben.send_word_to(&gone.id, &cx.word("for-nobody"));
    if cx.has(Feature::Calls) {
        ben.act(Operation::Call, &Act { to: Some(&gone.id), ..Act::default() })?;
    }
    let mut cleo = cx.join("cleo", &room).await?;
    cx.settle(&mut cleo, &mut ben).await?;
    signal_once(cx, &mut cleo, &mut ben).await?;
    ben.never_received_since(mark, "received a notice about the client that has left", |event| {
        event.is(EventName::Ringing) && event.from.as_ref() == Some(&gone.id)
    })
}
