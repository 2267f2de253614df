//! Messages that are malformed, unusual or large.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::DELIVERY;
use super::bystander::Bystanders;
use super::mesh::{kinds_both_ways, receiver};
use super::payloads::{self, DESCRIPTION_BYTES, TEXTS};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, Received, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Addressing, AssignedBy, Framing, JoinBy, Payload, Reaction, RoomIn, Situation, WrongCase};
use crate::dialect::{Act, Event, EventName, Feature, Kind, Operation};
use crate::framing::link::{Command, End};
use crate::framing::websocket::frame;
use crate::stop::Stop;
use crate::words::cut;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "msg/not-json",
        Declared,
        "A text that is not JSON has no effect; its sender can still send, and nobody else is affected.",
        run!(not_json),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/null",
        Declared,
        "JSON that is not a message has no effect; its sender can still send, and nobody else is affected.",
        run!(null),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/deep-nest",
        Declared,
        "JSON nested 20,000 levels deep does no harm; its sender can still send, and nobody else is affected.",
        run!(deep_nest),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/unknown-type",
        Declared,
        "A message of an unknown type has no effect; its sender can still send, and nobody else is affected.",
        run!(unknown_type),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/missing-field",
        Declared,
        "A message that lacks a field has no effect; its sender can still send, and nobody else is affected.",
        run!(missing_field),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/wrong-type",
        Declared,
        "A field of the wrong JSON type has no effect; its sender can still send, and nobody else is affected.",
        run!(wrong_type),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Texts])
    .alone(),
    &Case::new(
        "msg/not-joined",
        Declared,
        "A signal of a client that has not joined reaches nobody; it is refused with the error that the dialect promises, and the client can still join.",
        run!(not_joined),
    )
    .needs(DELIVERY)
    .requires(&[Feature::JoinMessage, Feature::JoinAnswer]),
    &Case::new(
        "msg/binary",
        Declared,
        "A frame of the other kind, binary where text is expected, has no effect; its sender can still send, and nobody else is affected.",
        run!(binary),
    )
    .needs(DELIVERY)
    .requires(&[Feature::RawFrames])
    .alone(),
    &Case::new(
        "msg/payload-byte-exact",
        Declared,
        "A payload is relayed byte for byte, or as equal JSON where the dialect promises no more.",
        run!(payload_byte_exact),
    )
    .needs(DELIVERY),
    &Case::new(
        "msg/payload-kinds",
        Declared,
        "The payload of each kind of signal is relayed unchanged.",
        run!(payload_kinds),
    )
    .needs(DELIVERY),
    &Case::new(
        "msg/unknown-fields",
        Declared,
        "A signal with fields that the dialect does not name is relayed without them.",
        run!(unknown_fields),
    )
    .needs(DELIVERY)
    .requires(&[Feature::DropsUnknownFields]),
    &Case::new(
        "msg/browser-description",
        Declared,
        "A whole session description of a browser, as long as the dialect allows up to 72 KiB, arrives unchanged, once, and in its room only.",
        run!(browser_description),
    )
    .needs(DELIVERY),
    &Case::new(
        "msg/texts",
        Declared,
        "Texts with markup, line separators, control characters and any Unicode arrive unchanged, and once.",
        run!(unusual_texts),
    )
    .needs(DELIVERY),
    &Case::new(
        "msg/end-of-candidates",
        Declared,
        "The end of candidates arrives as it was sent, be it null or an empty candidate, and null is not the same as absent.",
        run!(end_of_candidates),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Candidates]),
    &Case::new(
        "msg/half-surrogate",
        Declared,
        "Half a surrogate pair in a payload arrives unchanged or is refused; there and in names it does no harm to others.",
        run!(half_surrogate),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages])
    .alone(),
    &Case::new(
        "msg/large-payload",
        Declared,
        "A message of the maximum length that the dialect allows is relayed completely.",
        run!(large_payload),
    )
    .needs(DELIVERY)
    .requires(&[Feature::SizeLimit])
    .alone(),
    &Case::new(
        "msg/over-limit",
        Declared,
        "A message that is one byte longer than the dialect allows, or twice as long, is not relayed, and is answered as declared.",
        run!(over_limit),
    )
    .needs(DELIVERY)
    .requires(&[Feature::SizeLimit, Feature::Frames])
    .alone(),
];

/// A bad message that ana sends.
struct Bad {
    /// What is wrong with it, in words.
    what: String,
    order: Command,
    /// The reason of the error that the dialect promises for this message.
    reason: Option<String>,
}

impl Bad {
    fn new(what: impl Into<String>, order: Command) -> Self {
        Self { what: what.into(), order, reason: None }
    }
}

/// The bad messages that ana sends once she and ben are members.
type BadMessages<'a> = dyn Fn(&Peer, &Peer) -> Result<Vec<Bad>, Stop> + Send + Sync + 'a;

/// Ana sends bad messages, one at a time, in a room with ben. The server may answer with an error, ignore the message,
/// or close her connection. It must not pass anything on to ben. As long as ana's connection stays open, her signals
/// must reach ben, and his must reach her.
async fn has_no_effect(cx: &Cx, bad: &BadMessages<'_>, situation: Situation) -> Result<(), Stop> {
    let may_relay = may_relay(cx, &[cx.file().declares.reaction(situation)]);
    has_no_effect_unless_relayed(cx, bad, Some(situation), may_relay).await
}

/// Whether the server may pass on a message that it need not understand: if it adds nothing to messages, and the
/// dialect declares nothing else.
fn may_relay(cx: &Cx, declared: &[Reaction]) -> bool {
    declared.contains(&Reaction::Obeyed)
        || (cx.env.dialect.relays_as_sent() && declared.iter().all(|declared| *declared == Reaction::Any))
}

/// Like [`has_no_effect`]. `may_relay`: the server may also pass the message on. Without a situation, the dialect
/// declares nothing.
async fn has_no_effect_unless_relayed(
    cx: &Cx,
    bad: &BadMessages<'_>,
    situation: Option<Situation>,
    may_relay: bool,
) -> Result<(), Stop> {
    let declared = situation.map_or(Reaction::Any, |situation| cx.file().declares.reaction(situation));
    let promised = situation.filter(|situation| cx.file().declares.binds(*situation));
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let (mut errors, mut ignored, mut closed, mut relayed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let number = bad(&ana, &ben)?.len();
    if number == 0 {
        let why = "the dialect has no message that the suite could change in this way";
        return Err(Stop::Unsupported(why.to_owned()));
    }
    for index in 0..number {
        let Bad { what, order, reason } = bad(&ana, &ben)?.swap_remove(index);
        let (at_ana, at_ben) = (ana.received.len(), ben.received.len());
        let sent = match &order {
            Command::Text(text) => text.clone(),
            Command::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        let mut ended = goes_on(cx, &mut ana, &mut ben, order, &what).await?;
        // Before it closes the connection, a server may still handle what has arrived already.
        if ended.is_none() && promised.is_some() && declared == Reaction::Closed {
            ended = ana.ended_in_time().await;
        }
        let acted_on = |event: &Event| {
            let notice =
                [EventName::Ringing, EventName::Media, EventName::Description].iter().any(|name| event.is(*name));
            (event.is_signal() && !is_ours(event)) || notice
        };
        let same = |received: &&Received| !sent.is_empty() && received.text == sent;
        match &ended {
            None if ana.received[at_ana..].iter().any(|received| received.event.is_error()) => {
                errors.push(what.clone())
            }
            None if ben.received[at_ben..].iter().any(|received| same(&received)) => relayed.push(what.clone()),
            None => ignored.push(what.clone()),
            Some(End::Closed(Some(code))) => closed.push(format!("{what} ({code})")),
            Some(_) => closed.push(format!("{what} (without a close code)")),
        }
        if let Some(situation) = promised.filter(|_| is_judged(cx, declared, &sent)) {
            let notified = ana.received[at_ana..].iter().any(|received| received.event.is_error());
            cx.reaction(&what, situation, notified, ended.as_ref())?;
            ana.errors_give(at_ana, &what, reason.as_deref().or_else(|| cx.file().refusals.of(situation)))?;
        }
        ben.catch_up();
        let acted_on = |event: &Event| !may_relay && acted_on(event);
        ben.never_received_since(at_ben, &format!("received a signal that ana's message caused: {what}"), acted_on)?;
        // While ana's connection is being closed, an error may be the answer to ben's own signal to her.
        if ended.is_none() {
            ben.never_received_since(at_ben, &format!("received an error for ana's message: {what}"), Event::is_error)?;
        }
        if let Some(received) = ben.received[at_ben..].iter().find(same).filter(|_| !may_relay) {
            if cx.env.dialect.relays_as_sent() {
                cx.remark("if the server is meant to pass on any text, declare \"obeyed\" for such messages");
            }
            return Err(Stop::at(format!("ben received ana's message unchanged: {what}"), received.line));
        }
        if ended.is_some() {
            // A new room, because a call or a role ends with its holder's connection.
            [ana, ben] = cx.members(&cx.room(), ["ana", "ben"]).await.map_err(|stop| stopped(&what, stop))?;
        }
    }
    for (reaction, list, words) in [
        (Reaction::Error, errors, "answered with an error"),
        (Reaction::Ignored, ignored, "ignored without an error"),
        (Reaction::Closed, closed, "closes the connection"),
        (Reaction::Obeyed, relayed, "passed on unchanged, so that every client must cope with it"),
    ] {
        if list.is_empty() || reaction == declared || declared == Reaction::Obeyed {
            continue;
        }
        let words = format!("{words}: {}", list.join(", "));
        if declared == Reaction::Any && reaction != Reaction::Obeyed { cx.remark(words) } else { cx.acceptable(words) }
    }
    Ok(())
}

/// Whether the reaction to this message is judged. Over Socket.IO, a packet may have no data at all, and one whose data
/// is not a list with a name first is malformed itself, so that the connection may be closed.
fn is_judged(cx: &Cx, declared: Reaction, sent: &str) -> bool {
    if cx.file().connection.framing != Framing::SocketIo {
        return true;
    }
    let is_event = serde_json::from_str::<Vec<serde_json::Value>>(sent)
        .is_ok_and(|items| items.first().is_some_and(serde_json::Value::is_string));
    is_event || (declared == Reaction::Closed && !sent.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Ana sends a message, and afterwards she and ben signal to each other. Returns how her connection has ended, if it
/// has: then ben is still connected, or was disconnected with her.
async fn goes_on(cx: &Cx, ana: &mut Peer, ben: &mut Peer, order: Command, what: &str) -> Result<Option<End>, Stop> {
    let word = cx.word("next");
    ana.command(order);
    ana.send_word(ben, &word);
    let received = tokio::select! { biased;
        received = ben.until("ana's next signal", |event| event.has_word(&word)) => received.map(|_| None),
        end = ana.ended() => Ok(Some(end)),
    };
    let ended = match received {
        // Ben's connection may end because ana's does, in a server that closes a room with its first member.
        Err(stop) if ben.end.is_some() => match ana.ended_in_time().await {
            Some(end) if cx.first_member_takes_the_room_along().await? => return Ok(Some(end)),
            _ => return Err(after(what, stop)),
        },
        received => received.map_err(|stop| after(what, stop))?,
    };
    if ended.is_none() {
        let answered = cx.fence(ben, &mut [&mut *ana]).await;
        // The server may still pass on a signal of hers while it closes her connection.
        match answered {
            Err(stop) if ana.end.is_none() => return Err(after(what, stop)),
            _ if ana.end.is_none() => return Ok(None),
            _ => {}
        }
    }
    // Whoever else is disconnected by the message is so at about the same time.
    let soon = (cx.env.round_trip * 10).clamp(Duration::from_millis(50), cx.env.net.patience);
    if timeout(soon, ben.ended()).await.is_ok() && !cx.first_member_takes_the_room_along().await? {
        let stop = ben.stop("ben's connection ended too".to_owned());
        return Err(after(what, stop));
    }
    Ok(ana.end.clone())
}

/// Adds to a failure after which message it came.
fn after(what: &str, stop: Stop) -> Stop {
    stop.reworded(|why| format!("after ana's message ({what}): {why}"))
}

/// If no client can join any more, the last message has ended the server.
fn stopped(what: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Setup(why) | Stop::Fail { why, .. } => {
            Stop::fail(format!("the server stopped answering after ana's message ({what}): {why}"))
        }
        other => other,
    }
}

/// Whether it is one of the valid signals that [`has_no_effect`] sends.
fn is_ours(event: &Event) -> bool {
    let ours = ["\"next-", "\"sentinel-", "\"settling-", "\"here-"];
    event.data.as_ref().is_some_and(|data| ours.iter().any(|ours| data.starts_with(ours)))
}

/// A valid signal from ana.
fn good(cx: &Cx, ana: &Peer, ben: &Peer) -> Result<String, Stop> {
    let to = (cx.file().signals.addressing == Addressing::Targeted).then_some(&ben.id);
    ana.signal_message(ana.plain_kind(), "1", to, &ana.room)
}

fn texts<const N: usize>(bad: [(&str, String); N]) -> Vec<Bad> {
    bad.into_iter().map(|(what, text)| Bad::new(what, Command::Text(text))).collect()
}

async fn not_json(cx: &mut Cx) -> Result<(), Stop> {
    let bad = |ana: &Peer, ben: &Peer| {
        let good = good(cx, ana, ben)?;
        Ok(texts([
            ("an empty text", String::new()),
            ("a word", "hello".to_owned()),
            ("an open brace", "{".to_owned()),
            ("a truncated signal", good[..good.len() - 1].to_owned()),
            ("a signal followed by more text", format!("{good} x")),
            ("two signals in one", format!("{good}{good}")),
            ("single quotes", good.replace('"', "'")),
        ]))
    };
    has_no_effect(cx, &bad, Situation::NotJson).await
}

async fn null(cx: &mut Cx) -> Result<(), Stop> {
    let bad = |ana: &Peer, ben: &Peer| {
        Ok(texts([
            ("null", "null".to_owned()),
            ("true", "true".to_owned()),
            ("a number", "5".to_owned()),
            ("a string", r#""signal""#.to_owned()),
            ("an empty list", "[]".to_owned()),
            ("a signal in a list", format!("[{}]", good(cx, ana, ben)?)),
        ]))
    };
    has_no_effect(cx, &bad, Situation::Null).await
}

async fn deep_nest(cx: &mut Cx) -> Result<(), Stop> {
    let bad = |_: &Peer, _: &Peer| {
        Ok(texts([
            ("a list nested 20,000 deep", format!("{}{}", "[".repeat(20_000), "]".repeat(20_000))),
            ("an object nested 20,000 deep", format!("{}1{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000))),
        ]))
    };
    // No key is about nesting: a server that may pass on what is not a message may pass on this too.
    let declares = &cx.file().declares;
    let may_relay = may_relay(cx, &[declares.not_json, declares.null]);
    has_no_effect_unless_relayed(cx, &bad, None, may_relay).await
}

/// The wrong messages that the dialect gives for a case, and those derived from its signals.
async fn wrong(cx: &Cx, case: WrongCase, situation: Situation) -> Result<(), Stop> {
    let dialect = Arc::clone(&cx.env.dialect);
    let bad = |ana: &Peer, ben: &Peer| {
        let to = (cx.file().signals.addressing == Addressing::Targeted).then_some(&ben.id);
        let (room, kind) = (&ana.room, Some(ana.plain_kind()));
        let act = Act { room, to, data: Some("1"), kind, role: ana.role.as_deref(), ..Act::default() };
        let wrong = dialect.wrong.iter().filter(|wrong| wrong.case == case && !wrong.joining);
        let wrong = wrong.map(|wrong| {
            let text = dialect.render_shape(&wrong.shape, &act, &ana.values_for(&act))?;
            Ok(Bad { what: wrong.what.clone(), order: Command::Text(text), reason: wrong.reason.clone() })
        });
        wrong.collect()
    };
    has_no_effect(cx, &bad, situation).await
}

async fn unknown_type(cx: &mut Cx) -> Result<(), Stop> {
    wrong(cx, WrongCase::UnknownType, Situation::UnknownType).await
}

async fn missing_field(cx: &mut Cx) -> Result<(), Stop> {
    wrong(cx, WrongCase::MissingField, Situation::MissingField).await
}

async fn wrong_type(cx: &mut Cx) -> Result<(), Stop> {
    wrong(cx, WrongCase::WrongType, Situation::WrongType).await
}

async fn not_joined(cx: &mut Cx) -> Result<(), Stop> {
    let declares = &cx.file().declares;
    if !declares.binds(Situation::NotAMember) || declares.reaction(Situation::NotAMember) != Reaction::Error {
        let why = "the dialect does not promise an error for the signals of a client that has not joined";
        return Err(Stop::Unsupported(why.to_owned()));
    }
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    // Her own room has no members, so that every role in it is free.
    let elsewhere = cx.room();
    let offers = cx.file().roles.as_ref().map(|roles| roles.offers.clone());
    let mut eve = cx.connect_as("eve", &elsewhere, offers.as_deref()).await?;
    let word = cx.word("not-joined");
    for kind in Kind::ALL.into_iter().filter(|kind| cx.env.dialect.signal_operation(*kind).is_some()) {
        let what = format!("the {kind} of a client that has not joined");
        eve.send(eve.signal_message(kind, &quoted(&word), receiver(cx, &ben), &room)?);
        let mark = eve.received.len();
        eve.until(&format!("an error for {what}"), Event::is_error).await?;
        eve.errors_give(mark, &what, cx.file().refusals.of(Situation::NotAMember))?;
    }
    let errors = eve.count(Event::is_error);
    eve.join(&elsewhere, None).await?;
    if eve.count(Event::is_error) != errors {
        return Err(Stop::fail("eve received more errors than she sent signals before she joined"));
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    for member in [&ana, &ben] {
        member.never_received("received a signal of a client that has not joined", |event| event.has_word(&word))?;
        member.never_received("received an error for a signal of a client that has not joined", Event::is_error)?;
    }
    Ok(())
}

async fn binary(cx: &mut Cx) -> Result<(), Stop> {
    let binary = cx.file().connection.framing == Framing::WebSocketBinary;
    let bad = |ana: &Peer, ben: &Peer| {
        let signal = good(cx, ana, ben)?;
        if binary {
            let order = Command::Raw(frame(0x81, signal.as_bytes()), "a text frame");
            return Ok(vec![Bad::new("a signal in a text frame", order)]);
        }
        let signal = Bad::new("a signal in a binary frame", Command::Binary(signal.into()));
        if cx.file().declares.binary == Reaction::Obeyed {
            return Ok(vec![signal]);
        }
        Ok(vec![
            signal,
            Bad::new("bytes in a binary frame", Command::Binary(Bytes::from_static(&[0, 0xff, 0xfe]))),
            Bad::new("an empty binary frame", Command::Binary(Bytes::new())),
        ])
    };
    has_no_effect(cx, &bad, Situation::Binary).await
}

const PAYLOADS: [(&str, &str); 14] = [
    ("order of keys", r#"{"z":1,"a":2,"10":3,"9":4}"#),
    ("spaces", r#"{ "a" : [ 1 , 2 ] }"#),
    ("a big integer", "12345678901234567890123"),
    ("a decimal fraction", "1.0"),
    ("an exponent", "1E+2"),
    ("negative zero", "-0.0"),
    ("escapes", r#""\u0041\/\u00e9\n""#),
    ("Unicode", r#""é 😀 \ud83d\ude00 \u2028""#),
    ("markup", r#""<a href='?b&c'>d</a>""#),
    ("unescaped line separators", "\"a\u{2028}b\u{2029}c\""),
    ("null", "null"),
    ("a key twice", r#"{"a":1,"a":2}"#),
    ("`__proto__` as a key", r#"{"__proto__":{"x":1},"constructor":null}"#),
    ("a session description", r#"{"type":"offer","sdp":"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n"}"#),
];

/// Whether two payloads are the same JSON. Whether the bytes are the same too is for `msg/payload-byte-exact` to ask.
fn survives(sent: &str, arrived: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    arrived == sent || same(parse(arrived), parse(sent))
}

/// `from` sends these payloads, one after the other. All of them arrive unchanged, once each, and in this order. Each
/// must contain something unique, or the dialect rooms.
async fn arrive(
    cx: &Cx,
    from: &mut Peer,
    to: &mut Peer,
    kind: Kind,
    payloads: &[(String, String)],
) -> Result<(), Stop> {
    if cx.file().signals.echo {
        // What the receiver itself sent before must have come back.
        let word = cx.word("sentinel");
        to.broadcast_word(&word);
        to.until("its own signal", |event| event.has_word(&word)).await?;
    }
    let mark = to.received.len();
    for (_, payload) in payloads {
        from.signal(kind, payload, receiver(cx, to))?;
    }
    cx.fence(from, &mut [&mut *to]).await?;
    let of_kind = |event: &Event| {
        let own = !to.id.is_empty() && event.from.as_ref() == Some(&to.id);
        event.is_signal() && event.kind.is_none_or(|other| other == kind) && !own
    };
    let mut arrived =
        to.received[mark..].iter().filter(|received| of_kind(&received.event) && !is_ours(&received.event));
    let (sender, receiver) = (&from.name, &to.name);
    let mut before = None;
    for (what, payload) in payloads {
        let Some(next) = arrived.next() else {
            return Err(Stop::fail(format!(
                "{receiver} did not receive {sender}'s {kind} with {what}: {}",
                cut(payload, SHOWN)
            )));
        };
        let data = next.event.data.as_deref().unwrap_or("no data");
        if survives(payload, data) {
            before = Some(payload);
            continue;
        }
        if before.is_some_and(|before| survives(before, data)) {
            return Err(Stop::at(
                format!("{receiver} received {sender}'s {kind} twice: {}", cut(data, SHOWN)),
                next.line,
            ));
        }
        let (at, lengths) = difference(payload, data);
        return Err(Stop::at(
            format!(
                "{what}: {sender} sent {}, {receiver} received {}{lengths}",
                cut(&payload[at..], SHOWN),
                cut(&data[at..], SHOWN)
            ),
            next.line,
        ));
    }
    match arrived.next() {
        Some(more) => {
            Err(Stop::at(format!("{receiver} received a {kind} more often than {sender} sent it"), more.line))
        }
        None => Ok(()),
    }
}

/// How many characters of a payload a failure shows.
const SHOWN: usize = 160;

/// Where to begin to show two payloads that differ, and their lengths if they are long.
fn difference(sent: &str, arrived: &str) -> (usize, String) {
    if sent.len().max(arrived.len()) <= SHOWN {
        return (0, String::new());
    }
    let same = sent.bytes().zip(arrived.bytes()).take_while(|(a, b)| a == b).count();
    let begin = (0..=same.saturating_sub(SHOWN / 4)).rev();
    let at =
        begin.into_iter().find(|at| sent.is_char_boundary(*at) && arrived.is_char_boundary(*at)).unwrap_or_default();
    (at, format!(" (from byte {at} of {} sent and {} received)", sent.len(), arrived.len()))
}

async fn browser_description(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let mut sent = false;
    for (kind, name) in [(Kind::Offer, "offer"), (Kind::Answer, "answer")] {
        if cx.env.dialect.signal_operation(kind).is_none() {
            continue;
        }
        let (from, to) = way(kind, &mut ana, &mut ben);
        let envelope = from.signal_message(kind, "0", receiver(cx, to), &from.room)?.len();
        let limit = cx.file().signals.bytes_max.map_or(DESCRIPTION_BYTES, |max| DESCRIPTION_BYTES.min(max));
        let word = cx.word("stream");
        let Some(description) = payloads::description(name, &word, limit.saturating_sub(envelope)) else { continue };
        let payload = (format!("a description of {} bytes", description.len()), description);
        arrive(cx, from, to, kind, &[payload]).await?;
        sent = true;
    }
    bystanders.received_nothing(cx).await?;
    if sent {
        Ok(())
    } else {
        Err(Stop::Unsupported("the dialect has no signal that is long enough for a session description".to_owned()))
    }
}

async fn unusual_texts(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let word = cx.word("text");
    let payloads =
        TEXTS.map(|(what, text)| (what.to_owned(), format!(r#"{{"of":"{word}","text":{text},"key":{{{text}:1}}}}"#)));
    let kind = ana.plain_kind();
    arrive(cx, &mut ana, &mut ben, kind, &payloads).await?;
    bystanders.received_nothing(cx).await
}

async fn end_of_candidates(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    arrive(cx, &mut ana, &mut ben, Kind::Candidate, &candidates(&cx.word("candidate"))).await?;
    arrive(cx, &mut ben, &mut ana, Kind::Candidate, &candidates(&cx.word("candidate"))).await?;
    bystanders.received_nothing(cx).await
}

/// A candidate, and all forms in which browsers and applications mark the end of candidates.
fn candidates(word: &str) -> Vec<(String, String)> {
    let line = format!("candidate:1 1 udp 2122260223 192.0.2.7 49203 typ host ufrag {word}");
    let forms = [
        (
            "a candidate",
            format!(r#"{{"candidate":"{line}","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"{word}"}}"#),
        ),
        (
            "a candidate with null for its section",
            format!(r#"{{"candidate":"{line}","sdpMid":null,"sdpMLineIndex":0}}"#),
        ),
        ("a candidate without a section", format!(r#"{{"candidate":"{line}","sdpMLineIndex":0}}"#)),
        (
            "an empty candidate",
            format!(r#"{{"candidate":"","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"{word}"}}"#),
        ),
        ("null as the end of candidates", "null".to_owned()),
    ];
    forms.map(|(what, payload)| (what.to_owned(), payload)).into()
}

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

async fn payload_byte_exact(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let exact = cx.file().signals.payload == Payload::Bytes;
    for (what, payload) in PAYLOADS {
        // If the server parses JSON, it may change the form of numbers and drop a repeated key.
        if !exact && ["a big integer", "a key twice", "negative zero"].contains(&what) {
            continue;
        }
        let mark = ben.received.len();
        let to = (cx.file().signals.addressing == Addressing::Targeted).then_some(&ben.id);
        ana.signal(ana.plain_kind(), payload, to)?;
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        let survives = |data: &str| match exact {
            true => data == payload,
            false => {
                let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
                same(parse(data), parse(payload))
            }
        };
        // Without rooms, signals of other cases may arrive too.
        let candidates: Vec<_> = ben.received[mark..]
            .iter()
            .filter(|received| received.event.is_signal() && !is_ours(&received.event))
            .collect();
        if candidates.iter().any(|received| received.event.data.as_deref().is_some_and(survives)) {
            continue;
        }
        let reordered = |data: &str| keys_in_order_of_javascript(payload).as_deref() == Some(data);
        if candidates.iter().any(|received| received.event.data.as_deref().is_some_and(reordered)) {
            cx.acceptable(format!(
                "keys that look like integers come first: ana sent {payload}. JavaScript orders the keys of an object so; \
                 a server that parses payloads and serializes them again should declare `payload = \"json\"`"
            ));
            continue;
        }
        let received = candidates.iter().find(|_| cx.has(Feature::Rooms) || cx.has(Feature::Targeted));
        return Err(match received {
            None => Stop::fail(format!("ben did not receive a signal whose data is {what}: {payload}")),
            Some(received) => {
                let data = received.event.data.as_deref().unwrap_or("no data");
                Stop::at(format!("{what} is not preserved: ana sent {payload}, ben received {data}"), received.line)
            }
        });
    }
    if !exact {
        cx.remark("payloads are parsed and serialized again: big numbers and repeated keys are not preserved");
    }
    Ok(())
}

/// A signal's sender and receiver. The dialect may fix who offers; then it is ana.
fn way<'a>(kind: Kind, ana: &'a mut Peer, ben: &'a mut Peer) -> (&'a mut Peer, &'a mut Peer) {
    if kind == Kind::Answer { (ben, ana) } else { (ana, ben) }
}

async fn payload_kinds(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let exact = cx.file().signals.payload == Payload::Bytes;
    for (from_ana, kind) in kinds_both_ways(cx) {
        let word = cx.word(&kind.to_string());
        let payloads = [
            format!(r#"{{"type":"{kind}","sdp":"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n","id":"{word}"}}"#),
            format!(r#"{{ "z" : ["{word}", 1.50, "\u0041<&>\u2028"], "a" : {{"b" : null, "a":[]}} }}"#),
        ];
        for payload in payloads {
            let (from, to) = if from_ana { (&mut ana, &mut ben) } else { (&mut ben, &mut ana) };
            let target = receiver(cx, to).cloned();
            let mark = to.received.len();
            from.signal(kind, &payload, target.as_ref())?;
            cx.fence(from, &mut [to]).await?;
            let has_word =
                |event: &Event| event.is_signal() && event.data.as_ref().is_some_and(|data| data.contains(&word));
            let received = to.received[mark..].iter().find(|received| has_word(&received.event));
            let received = received
                .ok_or_else(|| Stop::fail(format!("{} did not receive {}'s {kind}: {payload}", to.name, from.name)))?;
            let data = received.event.data.as_deref().unwrap_or_default();
            if data != payload && (exact || !survives(&payload, data)) {
                let why =
                    format!("{}'s {kind} is not preserved: it sent {payload}, {} received {data}", from.name, to.name);
                return Err(Stop::at(why, received.line));
            }
            if received.event.kind.is_some_and(|other| other != kind) {
                return Err(Stop::at(
                    format!("{} received {}'s {kind} as another kind", to.name, from.name),
                    received.line,
                ));
            }
        }
    }
    Ok(())
}

async fn unknown_fields(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    for (from_ana, kind) in kinds_both_ways(cx) {
        let (word, smuggled) = (cx.word(&kind.to_string()), cx.word("smuggled"));
        let (from, to) = if from_ana { (&mut ana, &mut ben) } else { (&mut ben, &mut ana) };
        let target = receiver(cx, to).cloned();
        let extra =
            [("glare", quoted(&smuggled)), ("admin", "true".to_owned()), ("__proto__", r#"{"a":1}"#.to_owned())];
        let data = quoted(&word);
        let room = from.room.clone();
        let act = Act { room: &room, to: target.as_ref(), data: Some(&data), extra: &extra, ..Act::default() };
        from.send(from.signal_with(kind, &act)?);
        let what = format!("{}'s {kind} with unknown fields", from.name);
        let received = to.until(&what, |event| event.has_word(&word)).await?;
        if received.text.contains(&smuggled) || received.text.contains("\"admin\"") {
            return Err(Stop::at(format!("{} received {what}, which the dialect drops", to.name), received.line));
        }
    }
    Ok(())
}

/// An object without nested objects, with its keys in the order that JavaScript gives them: those that are integers
/// come first, in ascending order. `None` if that is the order already.
fn keys_in_order_of_javascript(payload: &str) -> Option<String> {
    let inner = payload.strip_prefix('{')?.strip_suffix('}')?;
    let entries: Vec<&str> = inner.split(',').collect();
    let index = |entry: &&str| {
        let key = entry.split_once(':')?.0.strip_prefix('"')?.strip_suffix('"')?;
        key.parse::<u32>().ok().filter(|index| index.to_string() == key)
    };
    let mut ordered = entries.clone();
    // The sort is stable, so other keys keep their order.
    ordered.sort_by_key(|entry| index(entry).map_or(u64::from(u32::MAX) + 1, u64::from));
    (ordered != entries).then(|| format!("{{{}}}", ordered.join(",")))
}

/// Whether the two are the same JSON, with numbers compared as in JavaScript.
fn same(a: Option<serde_json::Value>, b: Option<serde_json::Value>) -> bool {
    use serde_json::Value;
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => a.as_f64() == b.as_f64(),
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.into_iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (Some(Value::Object(mut a)), Some(Value::Object(b))) => {
            a.len() == b.len() && b.into_iter().all(|(key, b)| same(a.remove(&key), Some(b)))
        }
        (a, b) => a.is_some() && a == b,
    }
}

async fn large_payload(cx: &mut Cx) -> Result<(), Stop> {
    let max = cx.file().signals.bytes_max.expect("the case requires a limit");
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let to = cx.has(Feature::Targeted).then(|| ben.id.clone()).filter(|id| !id.is_empty());
    for bytes in [max / 4, max] {
        let envelope = ana.signal_message(ana.plain_kind(), "\"\"", to.as_ref(), &ana.room)?.len();
        // The letters vary: in a run of equal ones, a part lost in the middle would go unnoticed.
        let letters = (b'a'..=b'z').cycle().take(bytes.saturating_sub(envelope)).map(char::from);
        let payload: String = letters.collect();
        let mark = ben.received.len();
        ana.send_word_to(to.as_ref().unwrap_or(&ben.id), &payload);
        cx.fence(&mut ana, &mut [&mut ben]).await.map_err(|stop| after(&format!("{bytes} bytes"), stop))?;
        let signals =
            ben.received[mark..].iter().filter(|received| received.event.is_signal() && !is_ours(&received.event));
        let signals: Vec<_> = signals.collect();
        if signals.iter().any(|received| received.event.has_word(&payload)) {
            continue;
        }
        return Err(match signals.first() {
            Some(received) => Stop::at(format!("a message of {bytes} bytes arrived changed"), received.line),
            None => Stop::fail(format!("a message of {bytes} bytes did not arrive")),
        });
    }
    Ok(())
}

async fn over_limit(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.file().declares.binds(Situation::Oversize) {
        return Err(Stop::Unsupported("the dialect promises nothing about messages over its limit".to_owned()));
    }
    let max = cx.file().signals.bytes_max.expect("the case requires a limit");
    let bad = |ana: &Peer, ben: &Peer| {
        let message = |data: &str| ana.signal_message(ana.plain_kind(), data, receiver(cx, ben), &ana.room);
        let envelope = message("\"\"")?.len();
        let long = |bytes: usize| {
            let text = message(&quoted(&"x".repeat(bytes.saturating_sub(envelope))))?;
            Ok(Bad::new(format!("a message of {bytes} bytes, where {max} are allowed"), Command::Text(text)))
        };
        [max + 1, max * 2].into_iter().map(long).collect()
    };
    has_no_effect(cx, &bad, Situation::Oversize).await
}

#[cfg(test)]
mod tests {
    use super::keys_in_order_of_javascript;

    #[test]
    fn integers_come_first_and_other_keys_keep_their_order() {
        let ordered = |payload| keys_in_order_of_javascript(payload);
        assert_eq!(ordered(r#"{"z":1,"a":2,"10":3,"9":4}"#).as_deref(), Some(r#"{"9":4,"10":3,"z":1,"a":2}"#));
        assert_eq!(ordered(r#"{"z":1,"a":2}"#), None);
        assert_eq!(ordered(r#"{"01":1,"a":2}"#), None);
        assert_eq!(ordered("1.0"), None);
    }
}
