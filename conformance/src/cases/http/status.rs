//! The endpoints that report health, and who is in which room.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{declared, endpoints, has_body, send};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::cx::Cx;
use crate::dialect::file::StatusMembers;
use crate::dialect::{EventName, Feature, Id};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new("http/health", Declared, "The server reports that it is healthy.", run!(health))
        .requires(&[Feature::HealthEndpoint]),
    &Case::new(
        "http/status",
        Declared,
        "The status lists a room while it has members, and not afterwards.",
        run!(status),
    )
    .needs(&["room/join-ack"])
    .requires(&[Feature::StatusEndpoint, Feature::Rooms]),
    &Case::new(
        "http/status-members",
        Declared,
        "The status lists each room once, with the id of each member that is connected, and nobody else.",
        run!(status_members),
    )
    .needs(&["http/status", "role/takeover-live-refused"])
    .requires(&[
        Feature::StatusEndpoint,
        Feature::Rooms,
        Feature::ExactRooms,
        Feature::Roles,
        Feature::Ids,
        Feature::JoinAnswer,
    ]),
];

async fn health(cx: &mut Cx) -> Result<(), Stop> {
    let http = endpoints(cx);
    let path = http.health.clone().expect("the case requires it");
    let response = send(cx, "GET", &path, Vec::new(), None).await?;
    if response.status != 200 {
        return Err(Stop::fail(format!("{path} is answered with HTTP {}, expected 200", response.status)));
    }
    match &http.health_body {
        Some(body) => has_body(&path, &response, body),
        None => Ok(()),
    }
}

/// The status, as text.
async fn shown(cx: &Cx, path: &str) -> Result<String, Stop> {
    let answer = send(cx, "GET", path, Vec::new(), None).await?;
    match answer.status {
        200 => Ok(answer.body),
        401 => Err(Stop::Unsupported(format!("{path} requires a token: use --bearer"))),
        status => Err(Stop::fail(format!("{path} is answered with HTTP {status}, expected 200"))),
    }
}

/// Whether a text contains the name of a room, and not only that of a room whose number begins like this one's.
fn contains(text: &str, room: &str) -> bool {
    text.match_indices(room).any(|(at, _)| !text[at + room.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

async fn status(cx: &mut Cx) -> Result<(), Stop> {
    let path = endpoints(cx).status.clone().expect("the case requires it");
    let room = cx.room();
    let [ana, ben] = cx.members(&room, ["ana", "ben"]).await?;
    let listed = shown(cx, &path).await?;
    if !contains(&listed, &room) {
        return Err(Stop::fail(format!("{path} does not list a room with two members: {listed}")));
    }
    // One end of each kind: a server may forget a client that closes and keep one whose connection is lost.
    ana.close().await;
    ben.hang_up();
    until(cx, &path, |listed| {
        contains(listed, &room).then(|| format!("{path} still lists a room that everybody has left"))
    })
    .await
}

/// Requests the status again and again until nothing is wrong with it: the server may need a moment to notice the end of
/// a connection.
async fn until(cx: &Cx, path: &str, wrong: impl Fn(&str) -> Option<String>) -> Result<(), Stop> {
    let start = Instant::now();
    while let Some(why) = wrong(&shown(cx, path).await?) {
        if start.elapsed() >= cx.env.net.patience {
            return Err(Stop::fail(why));
        }
        sleep(cx.env.round_trip.max(Duration::from_millis(5))).await;
    }
    Ok(())
}

/// Who should be in the room: for each role, the id of its holder.
type Holders<'a> = [(&'a str, Option<&'a Id>); 2];

/// What is wrong with the entry of a room in the status.
fn wrong_entry(status: &str, keys: &StatusMembers, room: &str, holders: Holders<'_>) -> Option<String> {
    let Ok(parsed) = serde_json::from_str::<Value>(status) else {
        return Some(format!("the status is not JSON: {status}"));
    };
    let Some(rooms) = parsed[&keys.rooms].as_array() else {
        return Some(format!("the status has no list `{}`: {status}", keys.rooms));
    };
    let entries: Vec<_> = rooms.iter().filter(|entry| entry[&keys.room] == room).collect();
    let [entry] = entries[..] else {
        return Some(format!("the status lists the room {room} {} times, expected once: {status}", entries.len()));
    };
    holders.into_iter().find_map(|(role, holder)| {
        let (connected, id) = (&entry[role][&keys.connected], &entry[role][&keys.id]);
        let expected = holder.map_or(Value::Null, |id| serde_json::from_str(&id.0).unwrap_or_default());
        let is_right = *connected == Value::Bool(holder.is_some()) && *id == expected;
        (!is_right).then(|| match holder {
            Some(holder) => format!("the status does not show {holder} as the connected {role} of a room: {entry}"),
            None => format!("the status shows a {role} in a room that has none: {entry}"),
        })
    })
}

async fn status_members(cx: &mut Cx) -> Result<(), Stop> {
    let path = endpoints(cx).status.clone().expect("the case requires it");
    let keys = declared(endpoints(cx).status_members.as_ref(), "the form of the status")?.clone();
    let roles = cx.file().roles.as_ref().expect("the case requires roles");
    let (offers, answers) = (roles.offers.clone(), roles.answers.clone());
    // The name must come back as it is, not as it is written in JSON or HTML.
    let room = format!("{} \"é\" <\\&>", cx.room());
    let is_right = async |ana: Option<&Id>, ben: Option<&Id>| {
        until(cx, &path, |shown| wrong_entry(shown, &keys, &room, [(&offers, ana), (&answers, ben)])).await
    };
    // A client that has not joined is in no room.
    let _loner = cx.connect("loner", &room).await?;
    let mut ana = cx.join_as("ana", &room, Some(&offers)).await?;
    is_right(Some(&ana.id), None).await?;
    let ben = cx.join_as("ben", &room, Some(&answers)).await?;
    is_right(Some(&ana.id), Some(&ben.id)).await?;
    let mut eve = cx.connect_as("eve", &room, Some(&answers)).await?;
    if eve.join(&room, None).await.is_ok() {
        return Err(Stop::Setup("eve got a role whose holder is connected".to_owned()));
    }
    let listed = shown(cx, &path).await?;
    if let Some(why) = wrong_entry(&listed, &keys, &room, [(&offers, Some(&ana.id)), (&answers, Some(&ben.id))]) {
        return Err(Stop::fail(format!("after eve was refused a role: {why}")));
    }
    let gone = ben.who();
    ben.hang_up();
    ana.until("the leave notice for ben", |event| event.is(EventName::MemberLeft) && event.about(&gone)).await?;
    is_right(Some(&ana.id), None).await?;
    eve.close().await;
    is_right(Some(&ana.id), None).await?;
    ana.close().await;
    until(cx, &path, |listed| {
        let listed: Value = serde_json::from_str(listed).unwrap_or_default();
        let rooms = listed[&keys.rooms].as_array().cloned().unwrap_or_default();
        let is_listed = rooms.iter().any(|entry| entry[&keys.room] == *room);
        is_listed.then(|| format!("{path} still lists a room that everybody has left"))
    })
    .await
}
