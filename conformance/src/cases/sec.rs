//! What a client must not be able to do to others.

use super::DELIVERY;
use crate::case::Level::Declared;
use crate::case::{Case, Cx, Stop};
use crate::dialect::mesh::{self, Message};

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "sec/from-spoof",
        Declared,
        "The server says who sent a signal, whatever the sender writes there.",
        |cx| Box::pin(from_spoof(cx)),
    )
    .needs(DELIVERY),
    &Case::new("sec/cross-room-send", Declared, "Nobody can signal into a room that it is not in.", |cx| {
        Box::pin(cross_room_send(cx))
    })
    .needs(DELIVERY),
    &Case::new("sec/cross-room-leak", Declared, "Nobody hears of what happens in a room that it is not in.", |cx| {
        Box::pin(cross_room_leak(cx))
    })
    .needs(DELIVERY),
    &Case::new("sec/foreign-leave", Declared, "Nobody can make somebody else leave.", |cx| Box::pin(foreign_leave(cx)))
        .needs(DELIVERY),
    &Case::new(
        "sec/post-leave-send",
        Declared,
        "Whoever has left can send nothing into the room and hears nothing of it.",
        |cx| Box::pin(post_leave_send(cx)),
    )
    .needs(DELIVERY),
    &Case::new(
        "sec/proto-key",
        Declared,
        "`__proto__` and its kin are ordinary names of rooms, and no actions or clients.",
        |cx| Box::pin(proto_key(cx)),
    )
    .needs(DELIVERY)
    .alone(),
];

async fn from_spoof(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [eve, mut ben, mut cleo] = cx.members(&room, ["eve", "ben", "cleo"]).await?;
    let word = cx.word("from-ben");
    let (id, quoted) = (mesh::quoted(&ben.id), mesh::quoted(&word));
    for to in [None, Some(cleo.id.clone())] {
        let to = to.map(|to| format!(r#""to":{},"#, mesh::quoted(&to))).unwrap_or_default();
        eve.send(format!(
            r#"{{"action":"signal","roomId":{},{to}"from":{id},"clientId":{id},"sender":{id},"type":"offer","data":{quoted}}}"#,
            mesh::quoted(&room)
        ));
        let heard = cleo.until("eve's signal", |message| message.says(&word)).await?;
        if !matches!(&heard.message, Message::Signal { from: Some(from), .. } if *from == eve.id) {
            let why = format!("cleo hears a signal of eve ({}) as from somebody else", eve.id);
            return Err(Stop::at(why, heard.line));
        }
    }
    // Ben is no less a member for it.
    cx.fence(&mut ben, &mut [&mut cleo]).await
}

async fn cross_room_send(cx: &mut Cx) -> Result<(), Stop> {
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let [mut eve, mut fred] = cx.members(&elsewhere, ["eve", "fred"]).await?;
    let word = cx.word("intruder");
    let quoted = mesh::quoted(&word);
    eve.send(mesh::signal(&room, "offer", &quoted, None));
    eve.send(mesh::signal(&room, "offer", &quoted, Some(&ana.id)));
    eve.send(mesh::signal(&elsewhere, "offer", &quoted, Some(&ana.id)));
    let mut loner = cx.connect("loner").await?;
    loner.send(mesh::signal(&room, "offer", &quoted, None));
    loner.send(mesh::signal(&room, "offer", &quoted, Some(&ana.id)));
    loner.moves_to(&cx.room()).await?;
    cx.fence(&mut eve, &mut [&mut fred]).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben] {
        member.never_heard("heard a signal from outside of the room", |message| message.says(&word))?;
    }
    fred.never_heard("heard eve's signal, which was for another room", |message| message.says(&word))?;
    if eve.count(|message| matches!(message, Message::Error)) == 0 {
        cx.remark("a signal into a room one is not in is dropped without an error");
    }
    Ok(())
}

async fn cross_room_leak(cx: &mut Cx) -> Result<(), Stop> {
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut eve, mut fred] = cx.members(&elsewhere, ["eve", "fred"]).await?;
    let mut loner = cx.connect("loner").await?;
    let [mut ana, mut ben, cleo] = cx.members(&room, ["ana", "ben", "cleo"]).await?;
    let (all, one) = (cx.word("for-all"), cx.word("for-ben"));
    ana.say(&all);
    ana.tell(&ben, &one);
    let gone = cleo.id.clone();
    cleo.leave();
    ana.until("that cleo left", |message| message.is_left(&gone)).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut eve, &mut [&mut fred]).await?;
    cx.fence(&mut fred, &mut [&mut eve]).await?;
    loner.join(&cx.room(), None).await?;
    let ids = [&ana.id, &ben.id, &gone];
    for stranger in [&eve, &fred, &loner] {
        let signal = |message: &Message| message.says(&all) || message.says(&one);
        stranger.never_heard("heard a signal of a room that it is not in", signal)?;
        let notice = |message: &Message| ids.iter().any(|id| message.is_joined(id) || message.is_left(id));
        stranger.never_heard("heard who joins or leaves a room that it is not in", notice)?;
    }
    Ok(())
}

async fn foreign_leave(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let mut eve = cx.join("eve", &cx.room()).await?;
    let mut mole = cx.join("mole", &room).await?;
    let id = mesh::quoted(&ana.id);
    let leave = |who: &str| {
        let room = mesh::quoted(&room);
        format!(r#"{{"action":"leave","roomId":{room},{who}:{id}}}"#)
    };
    let fields = [r#""clientId""#, r#""from""#, r#""peerId""#];
    for field in fields {
        eve.send(leave(field));
    }
    eve.moves_to(&cx.room()).await?;
    for field in fields {
        mole.send(leave(field));
    }
    // To the mole that was its own leave.
    mole.moves_to(&cx.room()).await?;
    let hears = cx.fence(&mut ben, &mut [&mut ana]).await;
    ben.catch_up();
    let gone = ana.id.clone();
    ana.never_heard("heard that she left herself, when somebody else said so", |message| message.is_left(&gone))?;
    ben.never_heard("heard that ana left, when somebody else said so", |message| message.is_left(&gone))?;
    hears?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    ben.never_heard("heard that ana left, when somebody else said so", |message| message.is_left(&gone))
}

async fn post_leave_send(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben, mut eve] = cx.members(&room, ["ana", "ben", "eve"]).await?;
    let gone = eve.id.clone();
    eve.leave();
    ana.until("that eve left", |message| message.is_left(&gone)).await?;
    let (hers, ours) = (cx.word("after-leave"), cx.word("without-eve"));
    eve.say(&hers);
    eve.tell(&ana, &hers);
    ana.say(&ours);
    ana.tell(&eve, &ours);
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    eve.moves_to(&cx.room()).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben] {
        member.never_heard("heard a signal of eve, who has left", |message| message.says(&hers))?;
    }
    eve.never_heard("heard a signal of the room that she has left", |message| message.says(&ours))
}

async fn proto_key(cx: &mut Cx) -> Result<(), Stop> {
    let names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"];
    for room in names {
        // Not a fresh room: others may be there, and do no harm.
        let mut ana = cx.connect("ana").await?;
        ana.join(room, Some(room)).await?;
        let mut ben = cx.connect("ben").await?;
        let peers = ben.join(room, None).await?;
        if !peers.iter().any(|peer| peer.id == ana.id && peer.name.as_deref() == Some(room)) {
            return Err(Stop::fail(format!("ana is in the room {room} under the same name, and ben is not told so")));
        }
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        cx.fence(&mut ben, &mut [&mut ana]).await?;
    }
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let word = cx.word("to-proto");
    for name in names {
        let quoted = mesh::quoted(name);
        ana.send(format!(r#"{{"action":{quoted},"roomId":{}}}"#, mesh::quoted(&room)));
        ana.send(mesh::signal(&room, "offer", &mesh::quoted(&word), Some(name)));
        ana.send(format!(r#"{{"__proto__":{{"action":"leave"}},"{name}":{quoted}}}"#));
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ben.never_heard("heard a signal to a client that is not there", |message| message.says(&word))?;
    ben.never_heard("heard that ana left, who is there", |message| message.is_left(&ana.id))
}
