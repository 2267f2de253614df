//! Security: what a client must not be able to do to others.

use super::DELIVERY;
use crate::case::Case;
use crate::case::Level::{Declared, Should};
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Addressing, Duplicate, JoinAnswer, JoinBy, Sender, WrongCase};
use crate::dialect::{Act, Event, EventName, Feature, Id, Operation};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "sec/from-spoof",
        Declared,
        "The server names the true sender of a signal, whatever the sender wrote there.",
        run!(from_spoof),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Sender]),
    &Case::new(
        "sec/cross-room-send",
        Declared,
        "A client cannot signal into a room that it is not in.",
        run!(cross_room_send),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Rooms, Feature::ForeignSignals]),
    &Case::new(
        "sec/cross-room-leak",
        Declared,
        "A client is not notified of anything in a room that it is not in.",
        run!(cross_room_leak),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Rooms]),
    &Case::new("sec/foreign-leave", Declared, "A client cannot make another client leave.", run!(foreign_leave))
        .needs(DELIVERY)
        .requires(&[Feature::Leave, Feature::LeaveNotice, Feature::Ids, Feature::Crowd, Feature::Moving]),
    &Case::new(
        "sec/id-takeover",
        Declared,
        "A client cannot take the id of a connected client, or receive what is sent to it, unless the holder is notified.",
        run!(id_takeover),
    )
    .needs(DELIVERY)
    .requires(&[Feature::ChosenIds]),
    &Case::new(
        "sec/id-reuse",
        Declared,
        "An id is not assigned again while others may still use it for its first holder.",
        run!(id_reuse),
    )
    .needs(DELIVERY)
    .requires(&[Feature::GivenIds]),
    &Case::new(
        "sec/post-leave-send",
        Declared,
        "A member that has left can send nothing into the room and receives nothing from it.",
        run!(post_leave_send),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Leave, Feature::Rooms, Feature::Crowd]),
    &Case::new("sec/auth", Declared, "A client without the required credentials is not admitted.", run!(auth))
        .requires(&[Feature::Auth]),
    &Case::new(
        "sec/proto-key",
        Declared,
        "`__proto__` and similar words are ordinary names of rooms and users, and not types or clients.",
        run!(proto_key),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages, Feature::Names])
    .alone(),
];

/// Cases that send the same messages as those of `msg`. They run after them, and must not be blamed for what those
/// find.
pub(super) const LATE: &[&Case] = &[&Case::new(
    "sec/error-leak",
    Should,
    "An error does not reveal the server's internals: no stack traces, no file paths.",
    run!(error_leak),
)
.needs(&["room/join-ack", "mesh/delivery", "msg/not-json", "msg/null", "msg/wrong-type"])
.requires(&[Feature::Messages])
.alone()];

async fn from_spoof(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut eve, mut cleo] = cx.members(&room, ["eve", "cleo"]).await?;
    let victim = Id::of(&cx.word("ben"));
    let mut names = cx.sender_names();
    names.extend(["from", "clientId", "sender", "src"].map(str::to_owned));
    names.sort();
    names.dedup();
    let extra: Vec<_> = names.iter().map(|name| (name.as_str(), victim.0.clone())).collect();
    let word = cx.word("from-ben");
    let mut ways = vec![Some(cleo.id.clone())];
    if cx.has(Feature::Broadcast) {
        ways.insert(0, None);
    }
    for to in ways.into_iter().filter(|to| to.as_ref().is_none_or(|to| !to.is_empty())) {
        let to = to.filter(|_| cx.has(Feature::Targeted));
        let data = quoted(&word);
        let act = Act { room: &room, to: to.as_ref(), data: Some(&data), extra: &extra, ..Act::default() };
        eve.send(eve.signal_with(eve.plain_kind(), &act)?);
    }
    let passes = cx.fence(&mut eve, &mut [&mut cleo]).await;
    if passes.is_err() && eve.end.is_some() {
        cx.acceptable("a client that claims to be another one is disconnected");
        return Ok(());
    }
    passes?;
    let mut received = cleo.received.iter().filter(|received| received.event.has_word(&word)).peekable();
    if received.peek().is_none() {
        cx.acceptable("a signal that claims another sender is refused");
        return Ok(());
    }
    for received in received {
        if received.event.from.as_ref() == Some(&eve.id) {
            continue;
        }
        if cx.file().signals.sender == Sender::Claimed {
            cx.quality("the server relays whatever sender a signal claims: any client can pretend to be another one");
            return Ok(());
        }
        let why = format!("cleo received a signal from eve ({}) with another sender", eve.id);
        return Err(Stop::at(why, received.line));
    }
    Ok(())
}

async fn cross_room_send(cx: &mut Cx) -> Result<(), Stop> {
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let [mut eve, mut fred] = cx.members(&elsewhere, ["eve", "fred"]).await?;
    let word = cx.word("intruder");
    let data = quoted(&word);
    let names_room = cx.env.dialect.signals_name_rooms();
    // Where receivers filter, a signal for ana in eve's own room rightly reaches everybody in eve's room.
    let by_id = cx.env.dialect.delivers_by_id();
    let intrude = |peer: &Peer, own: &str| -> Result<(), Stop> {
        let kind = peer.plain_kind();
        if names_room && cx.has(Feature::Broadcast) {
            peer.send(peer.signal_message(kind, &data, None, &room)?);
        }
        if by_id && names_room {
            peer.send(peer.signal_message(kind, &data, Some(&ana.id), &room)?);
        }
        if by_id {
            peer.send(peer.signal_message(kind, &data, Some(&ana.id), own)?);
        }
        Ok(())
    };
    intrude(&eve, &elsewhere)?;
    if cx.has(Feature::Moving) {
        let mut loner = cx.connect("loner", &room).await?;
        intrude(&loner, &room)?;
        loner.moves_to(&cx.room()).await?;
    }
    cx.fence(&mut eve, &mut [&mut fred]).await?;
    // By then, whatever the server sends eve has arrived.
    cx.fence(&mut fred, &mut [&mut eve]).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben] {
        member.never_received("received a signal from outside the room", |event| event.has_word(&word))?;
    }
    fred.never_received("received eve's signal, which was for another room", |event| event.has_word(&word))?;
    let notified = eve.count(Event::is_error) > 0;
    cx.reaction("a signal into a room that the client is not in", cx.file().declares.not_a_member, notified, None);
    Ok(())
}

async fn cross_room_leak(cx: &mut Cx) -> Result<(), Stop> {
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut eve, mut fred] = cx.members(&elsewhere, ["eve", "fred"]).await?;
    let mut strangers = Vec::new();
    if cx.has(Feature::Moving) {
        strangers.push(cx.connect("loner", &room).await?);
    }
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let (all, one) = (cx.word("for-all"), cx.word("for-ben"));
    if cx.has(Feature::Broadcast) {
        ana.broadcast_word(&all);
    }
    ana.send_word(&ben, &one);
    let mut ids = vec![ana.id.clone(), ben.id.clone()];
    if cx.has(Feature::Crowd) && cx.has(Feature::LeaveNotice) {
        let cleo = cx.join("cleo", &room).await?;
        let gone = cleo.who();
        ids.push(gone.id.clone());
        cleo.close().await;
        ana.until("the leave notice for cleo", |event| event.is_left(&gone)).await?;
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut eve, &mut [&mut fred]).await?;
    cx.fence(&mut fred, &mut [&mut eve]).await?;
    for loner in &mut strangers {
        loner.moves_to(&cx.room()).await?;
    }
    strangers.extend([eve, fred]);
    for stranger in &strangers {
        let signal = |event: &Event| event.has_word(&all) || event.has_word(&one);
        stranger.never_received("received a signal of a room that it is not in", signal)?;
        let notice = |event: &Event| {
            let is_notice = event.is(EventName::MemberJoined) || event.is(EventName::MemberLeft);
            is_notice && event.id.as_ref().is_some_and(|id| ids.contains(id))
        };
        stranger.never_received("received a join or leave notice of a room that it is not in", notice)?;
    }
    Ok(())
}

async fn foreign_leave(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let mut eve = cx.join("eve", &cx.room()).await?;
    let mut mole = cx.join("mole", &room).await?;
    let mut fields = cx.sender_names();
    fields.extend(["clientId", "from", "peerId", "id"].map(str::to_owned));
    // All fields in one message: after the first that takes effect, a member has left and has no standing for a second.
    let extra: Vec<_> = fields.iter().map(|field| (field.as_str(), ana.id.0.clone())).collect();
    let leave = |peer: &Peer| peer.act(Operation::Leave, &Act { room: &room, extra: &extra, ..Act::default() });
    leave(&eve)?;
    eve.moves_to(&cx.room()).await?;
    leave(&mole)?;
    // For the mole, that message was its own leave.
    mole.moves_to(&cx.room()).await?;
    let fence = cx.fence(&mut ben, &mut [&mut ana]).await;
    ben.catch_up();
    let gone = ana.who();
    ana.never_received("received a leave notice for herself that another client caused", |event| event.is_left(&gone))?;
    ben.never_received("received a leave notice for ana that another client caused", |event| event.is_left(&gone))?;
    fence?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    ben.never_received("received a leave notice for ana that another client caused", |event| event.is_left(&gone))
}

async fn id_takeover(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let mut values = ana.values().clone();
    values.insert("token".to_owned(), quoted(&cx.word("another-token")));
    let mut eve = Peer::connect_with(&cx.env, &cx.log, "eve", &room, None, values).await;
    if let Ok(eve) = &mut eve {
        // Who receives what is sent to the id shows whether eve was refused or replaced ana.
        let answered = eve.join(&room, None).await.is_ok();
        let for_ana = cx.word("for-ana-only");
        ben.send_word(&ana, &for_ana);
        let fence = cx.fence(&mut ben, &mut [&mut ana]).await;
        eve.catch_up();
        let takes_over = cx.file().declares.duplicate_id == Duplicate::TakesOver;
        match fence {
            Err(stop) if !takes_over && ana.end.is_none() => {
                return Err(stop.reworded(|why| format!("after eve requested ana's id, {why}")));
            }
            Err(_) if !takes_over => {
                return Err(ana.stop("after eve requested ana's id, ana's connection was closed".to_owned()));
            }
            Err(_) if ana.end.is_none() && ana.count(Event::is_error) == 0 => {
                return Err(Stop::fail("eve took over ana's id, and ana was neither notified nor disconnected"));
            }
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        // Where the server sends to everybody in the room, eve may receive the signal under another id.
        if matches!(cx.file().signals.addressing, Addressing::Targeted | Addressing::Both) {
            eve.never_received("requested ana's id and received a signal for ana", |event| event.has_word(&for_ana))?;
        }
        let admitted = answered && has_id_by_answer(cx, eve, &ana.id);
        if !takes_over && eve.end.is_none() && (admitted || acts_as(cx, eve, &ana.id, &mut ben).await?) {
            return Err(Stop::fail("eve requested ana's id and was admitted with it"));
        }
    }
    if !cx.uses_token() {
        return Ok(());
    }
    // With the same token, it may be ana herself who reconnects. Then her old connection must be closed or notified.
    let again = Peer::connect_with(&cx.env, &cx.log, "ana again", &room, None, ana.values().clone()).await;
    let Ok(mut again) = again else { return Ok(()) };
    let word = cx.word("for-ana");
    let mark = ana.received.len();
    let delivery = async {
        loop {
            ben.send_word(&ana, &word);
            tokio::time::sleep(cx.env.round_trip.max(std::time::Duration::from_millis(5))).await;
            again.catch_up();
            if again.count(|event| event.has_word(&word)) > 0 || again.end.is_some() {
                return;
            }
        }
    };
    let arrived = tokio::time::timeout(cx.env.net.patience / 2, delivery).await.is_ok();
    ana.catch_up();
    if arrived && again.end.is_none() && ana.end.is_none() && ana.received.len() == mark {
        return Err(Stop::fail(
            "a client with ana's token takes over her id silently: her connection stays open, and she is not notified that she receives nothing any more",
        ));
    }
    Ok(())
}

/// Whether the answer to eve's join is for eve alone and gives her this id. A roster, a pong or no answer says nothing:
/// the roster contains the id anyway, because its holder is connected.
fn has_id_by_answer(cx: &Cx, eve: &Peer, id: &Id) -> bool {
    let joined = eve.received.iter().rev().find(|received| received.event.is(EventName::Joined));
    let other = joined.and_then(|joined| joined.event.id.as_ref()).is_some_and(|given| given != id);
    cx.file().join.answer == JoinAnswer::Joined && !other
}

/// Whether what eve sends reaches others under this id. Ben is in the room, and in a call with the id's holder if the
/// dialect needs calls.
async fn acts_as(cx: &Cx, eve: &mut Peer, id: &Id, ben: &mut Peer) -> Result<bool, Stop> {
    let word = cx.word("as-ana");
    eve.send_word(ben, &word);
    let mut called = None;
    if cx.has(Feature::Calls) {
        let cleo = cx.join("cleo", &cx.room()).await?;
        eve.act(Operation::Call, &Act { to: Some(&cleo.id), ..Act::default() })?;
        called = Some(cleo);
    }
    // A server that refused eve need not answer, so there is nothing to wait for but the evidence.
    eve.ended_soon().await;
    let by_id = |event: &Event| event.from.as_ref() == Some(id);
    ben.catch_up();
    let signals = ben.count(|event| event.has_word(&word) && by_id(event));
    let rings = called.as_mut().map_or(0, |cleo| {
        cleo.catch_up();
        cleo.count(|event| event.is(EventName::Ringing) && by_id(event))
    });
    Ok(signals + rings > 0)
}

async fn id_reuse(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let mut ids: Vec<Id> = Vec::new();
    for number in 0..24 {
        let peer = cx.join(&format!("p{number}"), &room).await?;
        if ids.contains(&peer.id) {
            return Err(Stop::fail(format!("the id {} was assigned again, moments after its holder left", peer.id)));
        }
        ids.push(peer.id.clone());
        peer.close().await;
    }
    Ok(())
}

async fn post_leave_send(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben, mut eve] = cx.members(&room, ["ana", "ben", "eve"]).await?;
    let gone = eve.who();
    eve.leave();
    if cx.has(Feature::LeaveNotice) && cx.has(Feature::LeaveByMessageNotice) {
        ana.until("the leave notice for eve", |event| event.is_left(&gone)).await?;
    } else if eve.act(Operation::Ping, &Act::default()).is_ok() {
        eve.until("a pong", |event| event.is(EventName::Pong)).await?;
    }
    let (hers, ours) = (cx.word("after-leave"), cx.word("without-eve"));
    if cx.has(Feature::Broadcast) {
        eve.broadcast_word(&hers);
        ana.broadcast_word(&ours);
    }
    if cx.has(Feature::Targeted) {
        eve.send_word(&ana, &hers);
        ana.send_word(&eve, &ours);
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    if cx.has(Feature::Moving) {
        eve.moves_to(&cx.room()).await?;
    } else if eve.act(Operation::Ping, &Act::default()).is_ok() {
        eve.until("a pong", |event| event.is(EventName::Pong)).await?;
    }
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben] {
        member.never_received("received a signal from eve, who has left", |event| event.has_word(&hers))?;
    }
    eve.never_received("received a signal of the room that she has left", |event| event.has_word(&ours))
}

async fn auth(cx: &mut Cx) -> Result<(), Stop> {
    let env = cx.without_credentials();
    let room = cx.room();
    let Ok(mut eve) = Peer::connect(&env, &cx.log, "eve", &room, None).await else { return Ok(()) };
    match eve.join(&room, None).await {
        Err(_) => Ok(()),
        Ok(_) => Err(Stop::fail("eve was admitted without credentials")),
    }
}

const NAMES: [&str; 5] = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"];

async fn proto_key(cx: &mut Cx) -> Result<(), Stop> {
    if cx.has(Feature::Rooms) {
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
    if cx.has(Feature::ChosenIds) {
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
    let data = quoted(&word);
    for name in NAMES {
        let extra = [("__proto__", r#"{"action":"leave","type":"leave"}"#.to_owned())];
        if cx.has(Feature::Targeted) {
            ana.send_word_to(&Id::of(name), &word);
        }
        let to = cx.has(Feature::Targeted).then(|| Id::of(name));
        let act = Act { room: &room, to: to.as_ref(), data: Some(&data), extra: &extra, ..Act::default() };
        if let (Some(_), Ok(signal)) = (&to, ana.signal_with(ana.plain_kind(), &act)) {
            ana.send(signal);
        }
        if cx.file().join.by == JoinBy::Message && cx.has(Feature::WebSocket) {
            ana.send(format!(r#"{{"action":{0},"type":{0}}}"#, quoted(name)));
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

async fn error_leak(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let mut eve = cx.join("eve", &room).await?;
    let dialect = std::sync::Arc::clone(&cx.env.dialect);
    let mut bad = vec!["{".to_owned(), "null".to_owned(), "[[[[".to_owned()];
    for wrong in dialect.wrong.iter().filter(|wrong| wrong.case == WrongCase::WrongType) {
        let act =
            Act { room: &room, data: Some("1"), to: Some(&eve.id), kind: Some(eve.plain_kind()), ..Act::default() };
        bad.extend(dialect.render_shape(&wrong.shape, &act, eve.values()));
    }
    let mut pongs = eve.is_framed_by_us();
    for message in bad {
        if eve.end.is_some() {
            eve = cx.join("eve", &room).await?;
        }
        eve.send(message);
        eve.command(crate::framing::link::Command::Ping(b"error-leak"));
        // The answer to the message comes before the pong, or soon afterwards, during the next message.
        if pongs {
            let in_time = eve.until_pong(b"error-leak").await.is_ok();
            pongs = in_time || eve.end.is_some();
        }
    }
    let traces = [
        "node_modules",
        "    at ",
        ".js:",
        ".py\", line",
        "Traceback (most recent",
        "panicked at",
        ".rs:",
        ".go:",
        "goroutine ",
    ];
    for received in &eve.received {
        if let Some(trace) = traces.into_iter().find(|trace| received.text.contains(trace)) {
            let trace = trace.trim();
            return Err(Stop::at(
                format!("eve received an error that reveals the server's internals (`{trace}`)"),
                received.line,
            ));
        }
    }
    Ok(())
}
