//! Security: what a client must not be able to do to others.

use super::DELIVERY;
use super::mesh::{kinds_both_ways, receiver};
use crate::case::Case;
use crate::case::Level::{Declared, Should};
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Sender, Situation, WrongCase};
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
    &Case::new(
        "sec/room-as-receiver",
        Declared,
        "A signal whose receiver is the name of a room reaches nobody, in whichever room.",
        run!(room_as_receiver),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Rooms, Feature::Targeted, Feature::Ids]),
    &Case::new("sec/foreign-leave", Declared, "A client cannot make another client leave.", run!(foreign_leave))
        .needs(DELIVERY)
        .requires(&[Feature::Leave, Feature::LeaveNotice, Feature::Ids, Feature::Crowd, Feature::Moving]),
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
.requires(&[Feature::Texts])
.alone()];

async fn from_spoof(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut eve, mut cleo] = cx.members(&room, ["eve", "cleo"]).await?;
    let victim = cx.nobody("ben");
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
    let intrude = |peer: &Peer, own: &str| -> Result<usize, Stop> {
        let kind = peer.plain_kind();
        let mut messages = Vec::new();
        if names_room && cx.has(Feature::Broadcast) {
            messages.push(peer.signal_message(kind, &data, None, &room)?);
        }
        if by_id && names_room {
            messages.push(peer.signal_message(kind, &data, Some(&ana.id), &room)?);
        }
        if by_id {
            messages.push(peer.signal_message(kind, &data, Some(&ana.id), own)?);
        }
        let sent = messages.len();
        messages.into_iter().for_each(|message| peer.send(message));
        Ok(sent)
    };
    let sent = intrude(&eve, &elsewhere)?;
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
    // Each of them is wrong.
    let what = "a signal into a room that the client is not in";
    cx.reaction(what, Situation::NotAMember, eve.count(Event::is_error) >= sent, None)?;
    // To a server, the receiver of such a signal may also be a client that does not exist.
    if names_room && !by_id { eve.errors_give(0, what, cx.file().refusals.of(Situation::NotAMember)) } else { Ok(()) }
}

async fn cross_room_leak(cx: &mut Cx) -> Result<(), Stop> {
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut eve, mut fred] = cx.members(&elsewhere, ["eve", "fred"]).await?;
    let mut strangers = Vec::new();
    if cx.has(Feature::Moving) {
        let role = cx.file().roles.as_ref().map(|roles| roles.offers.clone());
        strangers.push(cx.connect_as("loner", &room, role.as_deref()).await?);
    }
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let (all, one) = (cx.word("for-all"), cx.word("for-one"));
    if cx.has(Feature::Broadcast) {
        ana.broadcast_word(&all);
    }
    for (from_ana, kind) in kinds_both_ways(cx) {
        let (from, to) = if from_ana { (&mut ana, &ben) } else { (&mut ben, &ana) };
        from.signal(kind, &quoted(&one), receiver(cx, to))?;
    }
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

async fn room_as_receiver(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.env.dialect.delivers_by_id() {
        return Err(Stop::Unsupported("the dialect delivers signals to whole rooms".to_owned()));
    }
    let (room, elsewhere) = (cx.room(), cx.room());
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let [mut eve, mut fred] = cx.members(&elsewhere, ["eve", "fred"]).await?;
    let word = cx.word("for-a-room");
    let before = ana.count(Event::is_error);
    for receiver in [&room, &elsewhere] {
        ana.send_word_to(&Id::of(receiver), &word);
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    cx.fence(&mut eve, &mut [&mut fred]).await?;
    cx.fence(&mut fred, &mut [&mut eve]).await?;
    for member in [&ana, &ben, &eve, &fred] {
        member
            .never_received("received a signal whose receiver is the name of a room", |event| event.has_word(&word))?;
    }
    let notified = ana.count(Event::is_error) >= before + 2;
    cx.reaction("a signal whose receiver is the name of a room", Situation::AbsentTarget, notified, None)
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

async fn post_leave_send(cx: &mut Cx) -> Result<(), Stop> {
    for eve_joins_first in [false, true] {
        let room = cx.room();
        let members = if eve_joins_first {
            let [eve, ana, ben] = cx.members(&room, ["eve", "ana", "ben"]).await?;
            [ana, ben, eve]
        } else {
            cx.members(&room, ["ana", "ben", "eve"]).await?
        };
        sends_after_leaving(cx, members).await?;
    }
    Ok(())
}

/// Eve leaves the room, where ana and ben stay.
async fn sends_after_leaving(cx: &Cx, [mut ana, mut ben, mut eve]: [Peer; 3]) -> Result<(), Stop> {
    let gone = eve.who();
    let pings = cx.env.dialect.shape(Operation::Ping).is_some() && cx.env.dialect.has_event(EventName::Pong);
    let announced_leave = cx.has(Feature::LeaveNotice) && cx.has(Feature::LeaveByMessageNotice);
    if !announced_leave && !pings {
        return Err(Stop::Unsupported("the dialect does not show when a client has left".to_owned()));
    }
    eve.leave();
    if announced_leave {
        ana.until("the leave notice for eve", |event| event.is_left(&gone)).await?;
    } else {
        eve.act(Operation::Ping, &Act::default())?;
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
    } else if pings {
        eve.act(Operation::Ping, &Act::default())?;
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
    if cx.is_admitted(&mut eve, &room).await { Err(Stop::fail("eve was admitted without credentials")) } else { Ok(()) }
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
