//! Membership of rooms, and how members are notified.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::DELIVERY;
use super::bystander::signal_once;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::file::{JoinAnswer, JoinBy, WrongCase};
use crate::dialect::{Act, Event, EventName, Feature, Id, Member, Operation};
use crate::framing::link::End;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "room/join-ack",
        Declared,
        "A join is answered as the dialect declares: with the client's id, and with no members in a new room.",
        run!(join_ack),
    )
    .requires(&[Feature::JoinAnswer]),
    &Case::new(
        "room/roster-exact",
        Declared,
        "A new member receives exactly the members that are present, with their names, in any order, and not itself.",
        run!(roster_exact),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Roster]),
    &Case::new(
        "room/join-once",
        Declared,
        "Each member is notified of a new member exactly once, and the new member is not notified of itself.",
        run!(join_once),
    )
    .needs(DELIVERY)
    .requires(&[Feature::JoinNotice]),
    &Case::new(
        "room/join-name",
        Declared,
        "The join notice for a new member has the name that it joined with, exactly, and no other.",
        run!(join_name),
    )
    .needs(DELIVERY)
    .requires(&[Feature::JoinNotice, Feature::Crowd]),
    &Case::new(
        "room/double-join",
        Declared,
        "Joining the same room again is answered, keeps the id and does not add a second member.",
        run!(double_join),
    )
    .needs(DELIVERY)
    .requires(&[Feature::JoinMessage, Feature::JoinAnswer]),
    &Case::new(
        "room/id-case",
        Declared,
        "Room ids are compared exactly: no case folding, no trimming, no Unicode normalisation.",
        run!(id_case),
    )
    .needs(DELIVERY)
    .requires(&[Feature::ExactRooms]),
    &Case::new(
        "room/id-limits",
        Declared,
        "A room id has at least one code point, or as many as declared, and at most as many as declared; an id outside these limits is refused, not shortened.",
        run!(id_limits),
    )
    .needs(DELIVERY)
    .requires(&[Feature::RoomLimit])
    .alone(),
    &Case::new(
        "room/late-join",
        Declared,
        "A client that does not join in the time that the dialect allows is disconnected; one that joins in time is not.",
        run!(late_join),
    )
    .needs(DELIVERY)
    .requires(&[Feature::JoinLimit])
    .slow(),
    &Case::new(
        "room/capacity-race",
        Declared,
        "When many clients request the last places at once, exactly as many are admitted as there are places.",
        run!(capacity_race),
    )
    .needs(DELIVERY)
    .requires(&[Feature::MembersMax, Feature::JoinAnswer]),
    &Case::new(
        "room/empty-gc",
        Declared,
        "A room that everybody has left starts anew: the next member finds nobody and receives nothing from before.",
        run!(empty_gc),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Rooms]),
];

async fn join_ack(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let role = cx.file().roles.as_ref().map(|roles| roles.offers.clone());
    let mut ana = cx.connect_as("ana", &room, role.as_deref()).await?;
    let peers = ana.join(&room, None).await?;
    let joined = ana.received.iter().rev().find(|received| received.event.is(EventName::Joined));
    let mut line = None;
    if let Some(joined) = joined {
        if joined.event.room.as_ref().is_some_and(|named| *named != room) {
            return Err(Stop::at(format!("`joined` does not name the room {room}"), joined.line));
        }
        if joined.event.role.is_some() && joined.event.role != role {
            return Err(Stop::at("`joined` does not name the requested role", joined.line));
        }
        line = Some(joined.line);
    }
    if !peers.is_empty() && !cx.file().roster.of_server {
        let why = "ana is alone in a new room, but the list of members is not empty".to_owned();
        return Err(Stop::Fail { why, line });
    }
    let role = cx.file().roles.as_ref().map(|roles| roles.answers.clone());
    let ben = cx.join_as("ben", &room, role.as_deref()).await?;
    if ben.id == ana.id && !ana.id.is_empty() {
        return Err(Stop::Fail { why: format!("ana and ben have the same id {}", ana.id), line });
    }
    let Some(pattern) = &cx.env.dialect.id_pattern else { return Ok(()) };
    for client in [&ana, &ben] {
        let id = client.id.to_string();
        if !pattern.is_match(&id) {
            let why = format!("the id {id} of {} does not match the dialect's pattern", client.name);
            return Err(Stop::Fail { why, line });
        }
    }
    Ok(())
}

async fn late_join(cx: &mut Cx) -> Result<(), Stop> {
    let seconds = cx.file().join.within_s.expect("the case requires a limit");
    let limit = Duration::from_secs(u64::from(seconds));
    let [offers, answers] = match &cx.file().roles {
        Some(roles) => [&roles.offers, &roles.answers].map(|role| Some(role.clone())),
        None => [None, None],
    };
    let room = cx.room();
    let mut eve = cx.connect_as("eve", &cx.room(), offers.as_deref()).await?;
    let start = Instant::now();
    let mut ana = cx.connect_as("ana", &room, offers.as_deref()).await?;
    sleep(limit / 2).await;
    let halfway = |stop: Stop| stop.reworded(|why| format!("half of the {seconds} s that the dialect allows: {why}"));
    ana.join(&room, None).await.map_err(as_failure).map_err(halfway)?;
    eve.catch_up();
    if eve.end.is_some() {
        let why = format!("eve was disconnected before the {seconds} s were over that the dialect allows");
        return Err(eve.stop(why));
    }
    let patience = (limit + cx.env.net.patience).saturating_sub(start.elapsed());
    let Ok(end) = timeout(patience, eve.ended()).await else {
        let why = format!("eve has not joined, and is still connected after {} s", start.elapsed().as_secs());
        return Err(Stop::fail(format!("{why}; the dialect allows {seconds} s")));
    };
    if let (End::Closed(Some(code)), Some(promised)) = (end, cx.file().close_codes.late_join)
        && code != promised
    {
        return Err(eve.stop(format!("the server closes with {code}; the dialect promises {promised}")));
    }
    // Ana has joined, so her time is not limited.
    sleep((limit * 5 / 4).saturating_sub(start.elapsed())).await;
    let mut ben = cx.join_as("ben", &room, answers.as_deref()).await?;
    cx.settle(&mut ana, &mut ben).await.map_err(as_failure)?;
    cx.fence(&mut ben, &mut [&mut ana]).await
}

/// The members as the server should list them, sorted.
pub(super) fn roster(members: &[(&Peer, Option<&str>)]) -> Vec<Member> {
    let member = |(peer, name): &(&Peer, Option<&str>)| Member { id: peer.id.clone(), name: name.map(str::to_owned) };
    let mut members: Vec<_> = members.iter().map(member).collect();
    members.sort();
    members
}

/// Joins `peer` and compares the list that it receives with the expected members. `gone` are members that have left.
pub(super) async fn joins_and_sees(
    cx: &Cx,
    peer: &mut Peer,
    room: &str,
    expected: Vec<Member>,
    gone: &[&Id],
) -> Result<(), Stop> {
    let members = peer.join(room, None).await?;
    sees(cx, peer, members, expected, gone)
}

/// Compares the list that `peer` received with its last join with the expected members.
pub(super) fn sees(
    cx: &Cx,
    peer: &Peer,
    mut members: Vec<Member>,
    expected: Vec<Member>,
    gone: &[&Id],
) -> Result<(), Stop> {
    if !cx.has(Feature::Roster) {
        return Ok(());
    }
    if cx.file().roster.of_server {
        // The list has clients of other cases too, which do not matter here.
        members.retain(|member| gone.contains(&&member.id) || expected.iter().any(|other| other.id == member.id));
    }
    members.sort();
    if members == expected {
        return Ok(());
    }
    let list = |members: &[Member]| {
        let members: Vec<_> = members
            .iter()
            .map(|member| match &member.name {
                Some(name) => format!("{} ({name})", member.id),
                None => member.id.to_string(),
            })
            .collect();
        if members.is_empty() { "nobody".to_owned() } else { members.join(", ") }
    };
    let why = format!("{} received the members: {}; expected: {}", peer.name, list(&members), list(&expected));
    match peer.received.iter().rev().find(|received| received.event.members.is_some()) {
        Some(joined) => Err(Stop::at(why, joined.line)),
        None => Err(Stop::fail(why)),
    }
}

/// Leaves by a message if the dialect has one; otherwise closes the connection.
async fn depart(cx: &Cx, peer: Peer) {
    if cx.has(Feature::Leave) && cx.has(Feature::LeaveByMessageNotice) {
        peer.leave();
        // The connection stays open, so only the message can have caused a notice.
        cx.keep(peer);
    } else {
        peer.close().await;
    }
}

async fn roster_exact(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let named = cx.names();
    let name = named.then_some("Ana \"é\"");
    let mut ana = cx.connect("ana", &room).await?;
    ana.join(&room, name).await?;
    let mut ben = cx.connect("ben", &room).await?;
    joins_and_sees(cx, &mut ben, &room, roster(&[(&ana, name)]), &[]).await?;
    let mut cleo = cx.connect("cleo", &room).await?;
    joins_and_sees(cx, &mut cleo, &room, roster(&[(&ana, name), (&ben, None)]), &[]).await?;
    if !cx.has(Feature::LeaveNotice) {
        return Ok(());
    }
    let gone = ben.who();
    depart(cx, ben).await;
    ana.until("the leave notice for ben", |event| event.is_left(&gone)).await?;
    let mut dora = cx.connect("dora", &room).await?;
    joins_and_sees(cx, &mut dora, &room, roster(&[(&ana, name), (&cleo, None)]), &[&gone.id]).await?;
    let first = ana.who();
    depart(cx, ana).await;
    cleo.until("the leave notice for ana, who joined first,", |event| event.is_left(&first)).await?;
    let mut edna = cx.connect("edna", &room).await?;
    joins_and_sees(cx, &mut edna, &room, roster(&[(&cleo, None), (&dora, None)]), &[&gone.id, &first.id]).await
}

async fn join_once(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let elsewhere =
        |event: &Event| event.is(EventName::MemberJoined) && event.room.as_ref().is_some_and(|named| *named != room);
    if !cx.has(Feature::Crowd) {
        let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
        ana.until("the join notice for ben", |event| event.is_joined(&ben.who())).await?;
        cx.fence(&mut ben, &mut [&mut ana]).await?;
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        ana.received_once("the join notice for ben", |event| event.is_joined(&ben.who()))?;
        ben.never_received("received a join notice for ana, who was there before", |event| {
            event.is_joined(&ana.who())
        })?;
        return ben.never_received("received a join notice for himself", |event| event.is_joined(&ben.who()));
    }
    let [mut ana, mut ben, mut cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    for member in [&mut ana, &mut ben] {
        member.until("the join notice for cleo", |event| event.is_joined(&cleo.who())).await?;
    }
    cx.fence(&mut cleo, &mut [&mut ana, &mut ben]).await?;
    cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
    cx.fence(&mut ben, &mut [&mut ana, &mut cleo]).await?;
    ana.received_once("the join notice for ben", |event| event.is_joined(&ben.who()))?;
    ana.received_once("the join notice for cleo", |event| event.is_joined(&cleo.who()))?;
    ben.received_once("the join notice for cleo", |event| event.is_joined(&cleo.who()))?;
    for member in [&ana, &ben, &cleo] {
        member.never_received("received a join notice for itself", |event| event.is_joined(&member.who()))?;
    }
    ben.never_received("received a join notice for ana, who was there before", |event| event.is_joined(&ana.who()))?;
    ana.never_received("received a notice that names another room", elsewhere)
}

async fn join_name(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.names() {
        return Err(Stop::Unsupported("the dialect has no names beside ids".to_owned()));
    }
    let room = cx.room();
    let mut ana = cx.join("ana", &room).await?;
    for name in [Some("Ben <\"é\">"), None, Some("__proto__")] {
        let mut ben = cx.connect("ben", &room).await?;
        ben.join(&room, name).await?;
        let who = ben.who();
        let notice = ana.until("the join notice for ben", |event| event.is_joined(&who)).await?;
        if notice.event.name.as_deref() != name {
            let of = |name: Option<&str>| name.map_or("no name".to_owned(), |name| format!("the name {name}"));
            let (received, expected) = (of(notice.event.name.as_deref()), of(name));
            let why = format!("ana received the join notice for ben with {received}, expected {expected}");
            return Err(Stop::at(why, notice.line));
        }
        ben.close().await;
    }
    Ok(())
}

async fn double_join(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let (id, who) = (ben.id.clone(), ben.who());
    match joins_and_sees(cx, &mut ben, &room, roster(&[(&ana, None)]), &[]).await {
        // A list that is sent at each change need not be sent for a join that changes nothing.
        Err(Stop::Fail { line: None, .. }) if answered_by_changes(cx, &ben) => {
            cx.remark("joining again is not answered: the list of members is the same");
        }
        answered => answered?,
    }
    if ben.id != id {
        return Err(Stop::fail(format!("ben joined again and got another id: {id} became {}", ben.id)));
    }
    let word = cx.word("once");
    if !cx.has(Feature::Crowd) {
        ana.send_word(&ben, &word);
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        cx.fence(&mut ben, &mut [&mut ana]).await?;
        ana.never_received("received a leave notice for ben, who only joined again", |event| event.is_left(&who))?;
        return ben.received_once("ana's signal", |event| event.has_word(&word));
    }
    let mut cleo = cx.connect("cleo", &room).await?;
    joins_and_sees(cx, &mut cleo, &room, roster(&[(&ana, None), (&ben, None)]), &[]).await?;
    if cx.has(Feature::Broadcast) {
        cleo.broadcast_word(&word);
    } else {
        cleo.send_word(&ben, &word);
    }
    cx.fence(&mut cleo, &mut [&mut ana, &mut ben]).await?;
    ben.received_once("cleo's signal", |event| event.has_word(&word))?;
    ana.never_received("received a leave notice for ben, who only joined again", |event| event.is_left(&who))?;
    let announced = ana.count(|event| event.is_joined(&who));
    if announced > 1 {
        cx.remark(format!("joining again is announced to the others ({announced} times in all)"));
    }
    let announced_leave = cx.has(Feature::LeaveNotice) && cx.has(Feature::LeaveByMessageNotice);
    if !cx.has(Feature::Moving) || !announced_leave || !cx.has(Feature::Leave) {
        return Ok(());
    }
    // A single leave ends the membership, after two joins.
    ben.leave();
    ana.until("the leave notice for ben", |event| event.is_left(&who)).await?;
    let elsewhere = cx.room();
    ben.join(&elsewhere, None).await?;
    if ben.id != id {
        return Err(Stop::fail(format!("ben joined another room and got another id: {id} became {}", ben.id)));
    }
    // Where signals name their receiver, a server may deliver them into any room.
    let gone = cx.has(Feature::Broadcast).then(|| cx.word("gone"));
    gone.iter().for_each(|word| cleo.broadcast_word(word));
    cx.fence(&mut cleo, &mut [&mut ana]).await?;
    let mut dora = cx.join("dora", &elsewhere).await?;
    cx.settle(&mut dora, &mut ben).await.map_err(Stop::into_setup)?;
    cx.fence(&mut dora, &mut [&mut ben]).await?;
    ana.received_once("the leave notice for ben", |event| event.is_left(&who))?;
    gone.iter().try_for_each(|word| {
        ben.never_received("received a signal of the room that he has left", |event| event.has_word(word))
    })
}

/// Whether a join is answered by a list that may only be sent when it changes, and ben has not been refused.
fn answered_by_changes(cx: &Cx, ben: &Peer) -> bool {
    cx.file().join.answer == JoinAnswer::Roster && ben.end.is_none() && ben.count(Event::is_error) == 0
}

/// Whether two clients are in the same room. `members` is the list that `eve` received when she joined after `ana`.
async fn have_met(cx: &Cx, ana: &mut Peer, eve: &mut Peer, members: &[Member]) -> Result<bool, Stop> {
    let listed = members.iter().any(|member| member.id == ana.id) && !cx.file().roster.of_server;
    if listed || !cx.has(Feature::Broadcast) {
        return Ok(listed);
    }
    let word = cx.word("strangers");
    eve.broadcast_word(&word);
    // If another client in eve's room has received her sentinel, her signal is handled.
    let answers = cx.file().roles.as_ref().map(|roles| roles.answers.clone());
    if answers.is_none() && cx.has(Feature::Crowd) {
        let mut gil = cx.join("gil", &eve.room).await?;
        cx.settle(eve, &mut gil).await.map_err(Stop::into_setup)?;
        cx.fence(eve, &mut [&mut gil]).await?;
    }
    ana.catch_up();
    Ok(ana.count(|event| event.has_word(&word)) > 0)
}

async fn id_case(cx: &mut Cx) -> Result<(), Stop> {
    let room = format!("{}-Caf\u{e9}", cx.room());
    let mut ana = cx.join("ana", &room).await?;
    let others = [
        ("lower case", room.to_lowercase()),
        ("upper case", room.to_uppercase()),
        ("a leading space", format!(" {room}")),
        ("a trailing space", format!("{room} ")),
        ("é as two code points", room.replace('\u{e9}', "e\u{301}")),
    ];
    let role = cx.file().roles.as_ref().map(|roles| roles.answers.clone());
    let mut strangers = Vec::new();
    for (how, other) in others {
        let mut eve = cx.connect_as("eve", &other, role.as_deref()).await?;
        let members = eve.join(&other, None).await?;
        if have_met(cx, &mut ana, &mut eve, &members).await? {
            return Err(Stop::fail(format!("a different room id ({how}) put eve into ana's room")));
        }
        strangers.push(eve);
    }
    let ready = ana.count(|event| event.is(EventName::Ready));
    if ready > 0 {
        return Err(Stop::fail("ana received `ready`, although the other side is in a room with a different id"));
    }
    let mut ben = cx.join_as("ben", &room, role.as_deref()).await?;
    cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    let stranger = |event: &Event| strangers.iter().any(|eve| event.id.is_some() && event.is_joined(&eve.who()));
    ana.never_received("received a join notice for a client in a room with a different id", stranger)
}

async fn id_limits(cx: &mut Cx) -> Result<(), Stop> {
    let max = cx.file().room.code_points_max.expect("the case requires a limit");
    let env = std::sync::Arc::clone(&cx.env);
    let role = cx.file().roles.as_ref().map(|roles| roles.offers.clone());
    let mut eve = cx.connect_as("eve", &cx.room(), role.as_deref()).await?;
    // What is wrong, the message, or else the room to join, and the reason of the error.
    let mut bad: Vec<(String, Option<String>, String, Option<&str>)> = Vec::new();
    for wrong in env.dialect.wrong.iter().filter(|wrong| wrong.case == WrongCase::IdLimits) {
        let act = Act { room: &cx.room(), ..Act::default() };
        let message = env.dialect.render_shape(&wrong.shape, &act, eve.values())?;
        bad.push((wrong.what.clone(), Some(message), cx.room(), wrong.reason.as_deref()));
    }
    let (min, too_long) = (cx.file().room.code_points_min, long(&cx.room(), 'x', max + 1));
    if min > 1 {
        bad.push((format!("{} code points", min - 1), None, "x".repeat(min - 1), None));
    }
    bad.push((format!("{} code points", max + 1), None, too_long, env.dialect.file.refusals.room_too_long.as_deref()));
    for (what, message, bad_room, reason) in bad {
        if cx.file().join.by == JoinBy::Connecting {
            // The room is in the URL, so there is only one attempt to make.
            if let Ok(mut eve) = cx.connect("eve", &bad_room).await
                && !eve.ended_soon().await
            {
                return Err(Stop::fail(format!("eve joined with {what}")));
            }
            continue;
        }
        let (mark, room) = (eve.received.len(), cx.room());
        match message {
            Some(message) => eve.send(message),
            None => eve.act(Operation::Join, &Act { room: &bad_room, ..Act::default() })?,
        }
        eve.act(Operation::Join, &Act { room: &room, ..Act::default() })?;
        let mine =
            |event: &Event| event.is(EventName::Joined) && event.room.as_ref().is_none_or(|named| *named == room);
        if let Err(stop) = eve.until("the answer to a valid join after an invalid one", mine).await {
            if eve.end.is_none() {
                return Err(stop);
            }
            cx.remark(format!("a join with {what} closes the connection"));
            eve = cx.connect_as("eve", &cx.room(), role.as_deref()).await?;
            continue;
        }
        let joins = eve.received[mark..].iter().filter(|received| received.event.is(EventName::Joined));
        if joins.count() > 1 {
            return Err(Stop::fail(format!("eve joined with {what}")));
        }
        let what = format!("a join with {what}");
        if let Some(reason) = reason
            && !eve.received[mark..].iter().any(|received| received.event.is_error())
        {
            return Err(Stop::fail(format!("{what} is not answered with an error; the dialect promises `{reason}`")));
        }
        eve.errors_give(mark, &what, reason)?;
    }
    for fill in ['x', 'é', '😀'] {
        let room = long(&cx.room(), fill, max);
        let refused = |stop: Stop| stop.reworded(|why| format!("{why}: a room id of {max} code points ({fill})"));
        let mut ana = cx.join("ana", &room).await.map_err(as_failure).map_err(refused)?;
        // Rooms whose names differ only in the last code point must be different rooms.
        let end = room.char_indices().next_back().map_or(0, |(end, _)| end);
        let other = format!("{}y", &room[..end]);
        let role = cx.file().roles.as_ref().map(|roles| roles.answers.clone());
        let mut eve = cx.connect_as("eve", &other, role.as_deref()).await?;
        let members = eve.join(&other, None).await.map_err(refused)?;
        if have_met(cx, &mut ana, &mut eve, &members).await? {
            let which = format!("code point {max} ({fill})");
            return Err(Stop::fail(format!("two room ids that differ only in {which} lead to the same room")));
        }
        let mut ben = cx.connect_as("ben", &room, role.as_deref()).await?;
        joins_and_sees(cx, &mut ben, &room, roster(&[(&ana, None)]), &[]).await?;
        cx.settle(&mut ana, &mut ben).await.map_err(Stop::into_setup)?;
        cx.fence(&mut ben, &mut [&mut ana]).await?;
    }
    Ok(())
}

/// Turns a setup error into a failure, where the join itself is what the case tests.
pub(super) fn as_failure(stop: Stop) -> Stop {
    match stop {
        Stop::Setup(why) => Stop::fail(why),
        other => other,
    }
}

/// The room id, padded to this number of code points.
fn long(room: &str, fill: char, code_points: usize) -> String {
    room.chars().chain(std::iter::repeat(fill)).take(code_points).collect()
}

async fn capacity_race(cx: &mut Cx) -> Result<(), Stop> {
    let max = cx.file().room.members_max.expect("the case requires a limit");
    let room = cx.room();
    let mut peers = Vec::new();
    for number in 0..max + 4 {
        peers.push(cx.connect(&format!("p{number}"), &room).await?);
    }
    let joins = peers.iter_mut().map(|peer| peer.join(&room, None));
    let joins = futures_util::future::join_all(joins).await;
    let joined = joins.iter().filter(|joined| joined.is_ok()).count();
    if joined != max {
        let why = format!("{} clients joined a room of {max} at once, and {joined} were admitted", max + 4);
        return Err(Stop::fail(why));
    }
    let (mut members, mut refused): (Vec<_>, Vec<_>) =
        peers.into_iter().zip(joins).partition(|(_, joined)| joined.is_ok());
    let admitted: Vec<_> = members.iter().map(|(member, _)| member.id.clone()).collect();
    let [(ana, _), (ben, _), ..] = &mut members[..] else { return Ok(()) };
    // Those who were refused are in no room, and nobody else knows of them.
    cx.settle(ana, ben).await.map_err(Stop::into_setup)?;
    let marks: Vec<_> = refused.iter_mut().map(|(peer, _)| (peer.catch_up(), peer.received.len()).1).collect();
    signal_once(cx, ana, ben).await?;
    for ((peer, _), mark) in refused.iter_mut().zip(marks) {
        peer.catch_up();
        let of_the_room = |event: &Event| event.is_signal() || event.is(EventName::MemberJoined);
        peer.never_received_since(mark, "was not admitted, but received a message of the room", of_the_room)?;
    }
    if !cx.file().roster.of_server {
        let unknown = |event: &Event| {
            let is_notice = event.is(EventName::MemberJoined) || event.is(EventName::MemberLeft);
            is_notice && event.id.as_ref().is_some_and(|id| !admitted.contains(id))
        };
        ana.never_received("received a notice about a client that was not admitted", unknown)?;
    }
    Ok(())
}

async fn empty_gc(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, ben] = cx.members(&room, ["ana", "ben"]).await?;
    let word = cx.word("of-old");
    ben.send_word(&ana, &word);
    ana.until("ben's signal", |event| event.has_word(&word)).await?;
    let gone = [ana.id.clone(), ben.id.clone()];
    ana.close().await;
    ben.close().await;
    // The server may need a moment to notice, and no client is left to be notified.
    let mut attempts = cx.attempts();
    loop {
        let role = cx.file().roles.as_ref().map(|roles| roles.offers.clone());
        let mut cleo = cx.connect_as("cleo", &room, role.as_deref()).await?;
        let members = cleo.join(&room, None).await;
        let ghosts = match &members {
            Ok(members) => members.iter().any(|member| gone.contains(&member.id) && !member.id.is_empty()),
            Err(_) => true,
        };
        if !ghosts {
            let role = cx.file().roles.as_ref().map(|roles| roles.answers.clone());
            let mut dora = cx.join_as("dora", &room, role.as_deref()).await?;
            cx.settle(&mut cleo, &mut dora).await.map_err(Stop::into_setup)?;
            cx.fence(&mut dora, &mut [&mut cleo]).await?;
            return cleo.never_received("received a signal that was sent before the room was empty", |event| {
                event.has_word(&word)
            });
        }
        if attempts.are_over() {
            return Err(match members {
                Ok(_) => Stop::fail("everybody has left, but cleo received a list of members that are gone"),
                Err(stop) => stop.reworded(|why| format!("everybody has left the room, but {why}")),
            });
        }
        cleo.close().await;
        attempts.pause().await;
    }
}
