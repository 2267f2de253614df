//! Who is in a room, and who is told.

use super::DELIVERY;
use crate::case::Level::Declared;
use crate::case::{Case, Cx, Stop};
use crate::client::Peer;
use crate::dialect::mesh::{self, Member, Message};
use crate::websocket::Order;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "room/join-ack",
        Declared,
        "A join is answered `joined` with the room, the client's id and the other members.",
        |cx| Box::pin(join_ack(cx)),
    ),
    &Case::new(
        "room/roster-exact",
        Declared,
        "A newcomer is told exactly the members that are there, with their names, in any order, and not itself.",
        |cx| Box::pin(roster_exact(cx)),
    )
    .needs(DELIVERY),
    &Case::new(
        "room/join-once",
        Declared,
        "Each member is told of a newcomer exactly once, and the newcomer is not told of itself.",
        |cx| Box::pin(join_once(cx)),
    )
    .needs(DELIVERY),
    &Case::new(
        "room/leave-once",
        Declared,
        "Whoever leaves, closes or joins elsewhere is announced as left exactly once.",
        |cx| Box::pin(leave_once(cx)),
    )
    .needs(DELIVERY),
    &Case::new(
        "room/abrupt-leave",
        Declared,
        "Whoever loses its TCP connection is announced as left exactly once, and is off the roster.",
        |cx| Box::pin(abrupt_leave(cx)),
    )
    .needs(DELIVERY),
    &Case::new(
        "room/double-join",
        Declared,
        "Joining again is answered `joined`, keeps the id and does not make a member two.",
        |cx| Box::pin(double_join(cx)),
    )
    .needs(DELIVERY),
    &Case::new("room/leave-foreign-room", Declared, "Leaving a room one is not in has no effect on any room.", |cx| {
        Box::pin(leave_foreign_room(cx))
    })
    .needs(DELIVERY),
    &Case::new(
        "room/id-case",
        Declared,
        "Room ids are compared exactly: no case folding, no trimming, no Unicode normalisation.",
        |cx| Box::pin(id_case(cx)),
    )
    .needs(DELIVERY),
    &Case::new(
        "room/id-limits",
        Declared,
        "A room id is a string of 1 to 64 Unicode code points; nobody joins by another, and none is cut.",
        |cx| Box::pin(id_limits(cx)),
    )
    .needs(DELIVERY)
    .alone(),
];

async fn join_ack(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let mut ana = cx.connect("ana").await?;
    let peers = ana.join(&room, None).await?;
    let joined = ana.heard.iter().rev().find(|heard| matches!(heard.message, Message::Joined { .. }));
    let Some(joined) = joined else { return Err(Stop::fail("ana was not told that she joined")) };
    if !matches!(&joined.message, Message::Joined { room: Some(named), .. } if *named == room) {
        return Err(Stop::at(format!("`joined` does not name the room {room}"), joined.line));
    }
    if !peers.is_empty() {
        return Err(Stop::at("ana is alone in a new room, and `peers` is not empty", joined.line));
    }
    let line = joined.line;
    let ben = cx.join("ben", &room).await?;
    if ben.id == ana.id {
        return Err(Stop::at(format!("ana and ben have the same id {}", ana.id), line));
    }
    Ok(())
}

/// The members as the server should list them, sorted.
fn roster(members: &[(&Peer, Option<&str>)]) -> Vec<Member> {
    let member = |(peer, name): &(&Peer, Option<&str>)| Member { id: peer.id.clone(), name: name.map(str::to_owned) };
    let mut members: Vec<_> = members.iter().map(member).collect();
    members.sort();
    members
}

/// Joins `peer` and compares what it is told with what is so.
async fn joins_and_sees(peer: &mut Peer, room: &str, expected: Vec<Member>) -> Result<(), Stop> {
    let mut told = peer.join(room, None).await?;
    told.sort();
    if told == expected {
        return Ok(());
    }
    let list = |members: &[Member]| {
        let members: Vec<_> = members
            .iter()
            .map(|member| match &member.name {
                Some(name) => format!("{} ({name})", member.id),
                None => member.id.clone(),
            })
            .collect();
        if members.is_empty() { "nobody".to_owned() } else { members.join(", ") }
    };
    let why = format!("{} is told of {}; in the room are {}", peer.name, list(&told), list(&expected));
    match peer.heard.iter().rev().find(|heard| matches!(heard.message, Message::Joined { .. })) {
        Some(joined) => Err(Stop::at(why, joined.line)),
        None => Err(Stop::fail(why)),
    }
}

async fn roster_exact(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let mut ana = cx.connect("ana").await?;
    ana.join(&room, Some("Ana \"é\"")).await?;
    let mut ben = cx.connect("ben").await?;
    joins_and_sees(&mut ben, &room, roster(&[(&ana, Some("Ana \"é\""))])).await?;
    let mut cleo = cx.connect("cleo").await?;
    joins_and_sees(&mut cleo, &room, roster(&[(&ana, Some("Ana \"é\"")), (&ben, None)])).await?;
    let gone = ben.id.clone();
    ben.leave();
    ana.until("that ben left", |message| message.is_left(&gone)).await?;
    let mut dora = cx.connect("dora").await?;
    joins_and_sees(&mut dora, &room, roster(&[(&ana, Some("Ana \"é\"")), (&cleo, None)])).await
}

async fn join_once(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben, mut cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    for member in [&mut ana, &mut ben] {
        member.until("that cleo joined", |message| message.is_joined(&cleo.id)).await?;
    }
    cx.fence(&mut cleo, &mut [&mut ana, &mut ben]).await?;
    cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
    cx.fence(&mut ben, &mut [&mut ana, &mut cleo]).await?;
    ana.heard_once("that ben joined", |message| message.is_joined(&ben.id))?;
    ana.heard_once("that cleo joined", |message| message.is_joined(&cleo.id))?;
    ben.heard_once("that cleo joined", |message| message.is_joined(&cleo.id))?;
    for member in [&ana, &ben, &cleo] {
        member.never_heard("heard that it joined itself", |message| message.is_joined(&member.id))?;
    }
    ben.never_heard("heard that ana joined, who was there before", |message| message.is_joined(&ana.id))?;
    let elsewhere = |message: &Message| matches!(message, Message::PeerJoined { room: named, .. } if named.as_deref() != Some(&room));
    ana.never_heard("heard `peer-joined` that does not name the room", elsewhere)
}

async fn leave_once(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let cleo = cx.join("cleo", &room).await?;
    let mut dora = cx.join("dora", &room).await?;
    let eve = cx.join("eve", &room).await?;
    let ids = [cleo.id.clone(), dora.id.clone(), eve.id.clone()];
    cleo.leave();
    for member in [&mut ana, &mut ben] {
        member.until("that cleo left", |message| message.is_left(&ids[0])).await?;
    }
    // She has left already: her close is nobody's business.
    cleo.close().await;
    dora.join(&cx.room(), None).await?;
    for member in [&mut ana, &mut ben] {
        member.until("that dora left for another room", |message| message.is_left(&ids[1])).await?;
    }
    dora.close().await;
    // The last one closes too, and what it causes comes by the same way as what theirs did: it is the sentinel.
    eve.close().await;
    for member in [&mut ana, &mut ben] {
        member.until("that eve, who closed, left", |message| message.is_left(&ids[2])).await?;
    }
    let fred = cx.join("fred", &room).await?;
    let last = fred.id.clone();
    fred.close().await;
    ana.until("that fred, who closed, left", |message| message.is_left(&last)).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben] {
        for (who, id) in ["cleo", "dora", "eve"].into_iter().zip(&ids) {
            member.heard_once(&format!("that {who} left"), |message| message.is_left(id))?;
        }
    }
    let elsewhere =
        |message: &Message| matches!(message, Message::PeerLeft { room: named, .. } if named.as_deref() != Some(&room));
    ana.never_heard("heard `peer-left` that does not name the room", elsewhere)
}

async fn abrupt_leave(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben, cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    let gone = cleo.id.clone();
    cleo.hang_up();
    for member in [&mut ana, &mut ben] {
        member.until("that cleo, who lost her connection, left", |message| message.is_left(&gone)).await?;
    }
    let mut dora = cx.connect("dora").await?;
    joins_and_sees(&mut dora, &room, roster(&[(&ana, None), (&ben, None)])).await?;
    let last = dora.id.clone();
    dora.hang_up();
    ana.until("that dora, who lost her connection, left", |message| message.is_left(&last)).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    for member in [&ana, &ben] {
        member.heard_once("that cleo left", |message| message.is_left(&gone))?;
    }
    Ok(())
}

async fn double_join(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let id = ben.id.clone();
    joins_and_sees(&mut ben, &room, roster(&[(&ana, None)])).await?;
    if ben.id != id {
        return Err(Stop::fail(format!("ben joined again and got another id: {id} became {}", ben.id)));
    }
    let mut cleo = cx.connect("cleo").await?;
    joins_and_sees(&mut cleo, &room, roster(&[(&ana, None), (&ben, None)])).await?;
    let word = cx.word("once");
    cleo.say(&word);
    cx.fence(&mut cleo, &mut [&mut ana, &mut ben]).await?;
    ben.heard_once("cleo's signal", |message| message.says(&word))?;
    ana.never_heard("heard that ben left, who only joined again", |message| message.is_left(&id))?;
    let announced = ana.count(|message| message.is_joined(&id));
    if announced > 1 {
        cx.remark(format!("joining again is announced to the others ({announced} times in all)"));
    }
    // One leave undoes both joins.
    ben.leave();
    ana.until("that ben left", |message| message.is_left(&id)).await?;
    let elsewhere = cx.room();
    ben.join(&elsewhere, None).await?;
    if ben.id != id {
        return Err(Stop::fail(format!("ben joined another room and got another id: {id} became {}", ben.id)));
    }
    let word = cx.word("gone");
    cleo.say(&word);
    cx.fence(&mut cleo, &mut [&mut ana]).await?;
    let mut dora = cx.join("dora", &elsewhere).await?;
    cx.fence(&mut dora, &mut [&mut ben]).await?;
    ana.heard_once("that ben left", |message| message.is_left(&id))?;
    ben.never_heard("heard a signal of the room that he has left", |message| message.says(&word))
}

async fn leave_foreign_room(cx: &mut Cx) -> Result<(), Stop> {
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let [mut eve, mut fred] = cx.members(&elsewhere, ["eve", "fred"]).await?;
    eve.send(mesh::leave(&room));
    // Also one that does not exist.
    eve.send(mesh::leave(&cx.room()));
    let left = |message: &Message| matches!(message, Message::PeerLeft { .. });
    let is_in = cx.fence(&mut eve, &mut [&mut fred]).await;
    let gone = |message: &Message| message.is_left(&eve.id);
    fred.never_heard("heard that eve left their room, when she asked to leave others", gone)?;
    is_in?;
    cx.fence(&mut fred, &mut [&mut eve]).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben] {
        member.never_heard("heard that somebody left, when eve, who is in another room, said so", left)?;
    }
    if eve.count(|message| matches!(message, Message::Error)) == 0 {
        cx.remark("leaving a room one is not in is ignored without an error");
    }
    Ok(())
}

async fn id_case(cx: &mut Cx) -> Result<(), Stop> {
    let room = format!("{}-Caf\u{e9}", cx.room());
    let mut ana = cx.join("ana", &room).await?;
    let others = [
        ("lower case", room.to_lowercase()),
        ("upper case", room.to_uppercase()),
        ("a space before", format!(" {room}")),
        ("a space behind", format!("{room} ")),
        ("é as two code points", room.replace('\u{e9}', "e\u{301}")),
    ];
    for (how, other) in others {
        let mut eve = cx.connect("eve").await?;
        let peers = eve.join(&other, None).await?;
        if !peers.is_empty() {
            return Err(Stop::fail(format!("a room id spelt otherwise ({how}) led eve into ana's room")));
        }
    }
    let mut ben = cx.join("ben", &room).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    let stranger = |message: &Message| matches!(message, Message::PeerJoined { peer, .. } if peer.id != ben.id);
    ana.never_heard("heard of somebody who joined a room of another name", stranger)
}

async fn id_limits(cx: &mut Cx) -> Result<(), Stop> {
    let bad = [
        ("no roomId", r#"{"action":"join"}"#.to_owned()),
        ("roomId null", r#"{"action":"join","roomId":null}"#.to_owned()),
        ("an empty roomId", mesh::join("", None)),
        ("a number as roomId", r#"{"action":"join","roomId":7}"#.to_owned()),
        ("an object as roomId", r#"{"action":"join","roomId":{}}"#.to_owned()),
        ("a list as roomId", r#"{"action":"join","roomId":["r"]}"#.to_owned()),
        ("65 code points", mesh::join(&long(&cx.room(), 'x', 65), None)),
    ];
    let mut eve = cx.connect("eve").await?;
    for (what, join) in bad {
        let (mark, room) = (eve.heard.len(), cx.room());
        eve.order(Order::Text(join));
        eve.send(mesh::join(&room, None));
        let mine = |message: &Message| matches!(message, Message::Joined { room: Some(named), .. } if *named == room);
        if let Err(stop) = eve.until("the answer to a good join after a bad one", mine).await {
            if eve.end.is_none() {
                return Err(stop);
            }
            cx.remark(format!("a join with {what} closes the connection"));
            eve = cx.connect("eve").await?;
            continue;
        }
        let why = format!("joined with {what}");
        eve.never_heard_since(mark, &why, |message| matches!(message, Message::Joined { .. }) && !mine(message))?;
    }
    for fill in ['x', 'é', '😀'] {
        let room = long(&cx.room(), fill, 64);
        let mut ana = cx.connect("ana").await?;
        let refused = |stop| match stop {
            Stop::Fail { why, line } => {
                Stop::Fail { why: format!("{why}: a room id of 64 code points ({fill})"), line }
            }
            setup => setup,
        };
        ana.join(&room, None).await.map_err(refused)?;
        // The last code point counts.
        let end = room.char_indices().next_back().map_or(0, |(end, _)| end);
        let mut eve = cx.connect("eve").await?;
        if !eve.join(&format!("{}y", &room[..end]), None).await.map_err(refused)?.is_empty() {
            return Err(Stop::fail(format!("two room ids that differ in their 64th code point ({fill}) are one room")));
        }
        let mut ben = cx.connect("ben").await?;
        joins_and_sees(&mut ben, &room, roster(&[(&ana, None)])).await?;
    }
    Ok(())
}

/// The room id, filled up to so many code points.
fn long(room: &str, fill: char, code_points: usize) -> String {
    room.chars().chain(std::iter::repeat(fill)).take(code_points).collect()
}
