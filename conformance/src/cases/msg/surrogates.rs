//! Half a surrogate pair, which JSON can express and no text in UTF-8 can.

use std::time::Duration;

use super::no_effect::goes_on;
use super::{after, stopped};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::cases::DELIVERY;
use crate::cases::mesh::receiver;
use crate::client::{Received, quoted};
use crate::cx::Cx;
use crate::dialect::file::{AssignedBy, JoinBy, Payload, RoomIn};
use crate::dialect::{Act, Event, EventName, Feature, Operation};
use crate::framing::link::Command;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[&Case::new(
    "msg/half-surrogate",
    Declared,
    "Half a surrogate pair in a payload arrives unchanged or is refused; there and in names it does no harm to others.",
    run!(half_surrogate),
)
.needs(DELIVERY)
.requires(&[Feature::Messages])
.alone()];

async fn half_surrogate(cx: &mut Cx) -> Result<(), Stop> {
    half_surrogate_in_payloads(cx).await?;
    half_surrogate_in_names(cx).await
}

/// JSON can express half a surrogate pair, and no text in UTF-8 can (RFC 8259 §8.2).
async fn half_surrogate_in_payloads(cx: &Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let (mut refused, mut ignored) = (Vec::new(), Vec::new());
    for (what, half) in [
        ("the first half of a surrogate pair", r#""a\ud83db""#),
        ("the second half of a surrogate pair", r#""\ude00""#),
        ("two halves in the wrong order", r#""\ude00\ud83d""#),
        ("half a surrogate pair as a key", r#"{"\ud800":1}"#),
    ] {
        let word = cx.word("half");
        let payload = format!(r#"{{"of":"{word}","text":{half}}}"#);
        let message = ana.signal_message(ana.plain_kind(), &payload, receiver(cx, &ben), &ana.room)?;
        let (at_ana, at_ben) = (ana.received.len(), ben.received.len());
        let ended = goes_on(cx, &mut ana, &mut ben, Command::Text(message), what).await?;
        ben.catch_up();
        ben.never_received_since(at_ben, &format!("received an error for ana's message: {what}"), Event::is_error)?;
        let has_word = |received: &&Received| received.event.data.as_ref().is_some_and(|data| data.contains(&word));
        let arrived: Vec<_> = ben.received[at_ben..].iter().filter(has_word).collect();
        match arrived[..] {
            [] if ended.is_some() || ana.received[at_ana..].iter().any(|received| received.event.is_error()) => {
                refused.push(what);
            }
            [] => ignored.push(what),
            [one] => {
                let data = one.event.data.as_deref().unwrap_or_default();
                // A server that serializes it again may write the digits in another case, and spaces.
                if !data.replace(' ', "").eq_ignore_ascii_case(&payload) {
                    let changed = format!("{what}: ana sent {payload}, ben received {data}");
                    if cx.file().signals.payload == Payload::Bytes {
                        return Err(Stop::at(changed, one.line));
                    }
                    cx.acceptable(changed);
                }
            }
            [_, second, ..] => return Err(Stop::at(format!("ben received ana's signal twice: {what}"), second.line)),
        }
        if ended.is_some() {
            // A new room, because a call or a role ends with its holder's connection.
            [ana, ben] = cx.members(&cx.room(), ["ana", "ben"]).await.map_err(|stop| stopped(what, stop))?;
        }
    }
    if !refused.is_empty() {
        cx.remark(format!("refused: {}", refused.join(", ")));
    }
    if !ignored.is_empty() {
        cx.acceptable(format!("ignored without an error: {}", ignored.join(", ")));
    }
    Ok(())
}

/// A client whose name or room is half a surrogate pair may be refused, and two others notice nothing but its coming
/// and going.
async fn half_surrogate_in_names(cx: &Cx) -> Result<(), Stop> {
    let file = cx.file();
    if file.join.by != JoinBy::Message {
        return Ok(());
    }
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let (name, elsewhere) = (cx.word("half-name"), cx.word("half-room"));
    let mut joins = Vec::new();
    if cx.names() && cx.has(Feature::Crowd) {
        joins.push(("a name with half a surrogate pair", &room, Some(name.as_str())));
    }
    if file.identity.assigned_by == AssignedBy::UserName {
        joins.push(("a user name with half a surrogate pair", &room, None));
    }
    if file.room.r#in == RoomIn::Message {
        joins.push(("a room with half a surrogate pair", &elsewhere, None));
    }
    let role = file.roles.as_ref().map(|roles| roles.offers.as_str());
    for (what, in_room, name) in joins {
        let mut eve = cx.connect_as("eve", in_room, role).await?;
        let join = eve.message(Operation::Join, &Act { room: in_room, name, ..Act::default() })?;
        let word = match name {
            Some(name) => quoted(name),
            None if in_room == &elsewhere => quoted(in_room),
            None => eve.id.0.clone(),
        };
        eve.send(join.replace(&word, &format!("\"\\ud83d{}", &word[1..])));
        let limit = (cx.env.round_trip * 10).max(ANSWER_WAIT).min(cx.env.net.patience);
        let answers = [EventName::Joined, EventName::Roster, EventName::Error];
        let answered = |event: &Event| answers.iter().any(|answer| event.is(*answer));
        let answer = eve.until_within("an answer to her join", limit, answered).await;
        if answer.is_err() && eve.end.is_none() {
            cx.acceptable(format!("a join with {what} is ignored without an error"));
        }
        cx.fence(&mut ana, &mut [&mut ben]).await.map_err(|stop| after(what, stop))?;
        cx.fence(&mut ben, &mut [&mut ana]).await.map_err(|stop| after(what, stop))?;
        for member in [&ana, &ben] {
            member.never_received(&format!("received an error for eve's join with {what}"), Event::is_error)?;
        }
        eve.close().await;
        cx.fence(&mut ana, &mut [&mut ben]).await.map_err(|stop| after(what, stop))?;
    }
    Ok(())
}

/// Least time to wait for an answer to a join that need not be answered.
const ANSWER_WAIT: Duration = Duration::from_millis(200);
