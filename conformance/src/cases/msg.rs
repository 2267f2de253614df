//! Messages that are malformed, unusual or large.

use std::sync::Arc;

use bytes::Bytes;

use super::DELIVERY;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, Received};
use crate::cx::Cx;
use crate::dialect::file::{Addressing, Framing, Payload, Reaction, WrongCase};
use crate::dialect::{Act, Event, Feature};
use crate::framing::link::{Command, End};
use crate::framing::websocket::frame;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "msg/not-json",
        Declared,
        "A text that is not JSON has no effect; its sender can still send, and nobody else is affected.",
        run!(not_json),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages])
    .alone(),
    &Case::new(
        "msg/null",
        Declared,
        "JSON that is not a message has no effect; its sender can still send, and nobody else is affected.",
        run!(null),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages])
    .alone(),
    &Case::new(
        "msg/deep-nest",
        Declared,
        "JSON nested 20,000 levels deep does no harm; its sender can still send, and nobody else is affected.",
        run!(deep_nest),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages])
    .alone(),
    &Case::new(
        "msg/unknown-type",
        Declared,
        "A message of an unknown type has no effect; its sender can still send, and nobody else is affected.",
        run!(unknown_type),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages])
    .alone(),
    &Case::new(
        "msg/missing-field",
        Declared,
        "A message that lacks a field has no effect; its sender can still send, and nobody else is affected.",
        run!(missing_field),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages])
    .alone(),
    &Case::new(
        "msg/wrong-type",
        Declared,
        "A field of the wrong JSON type has no effect; its sender can still send, and nobody else is affected.",
        run!(wrong_type),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Messages])
    .alone(),
    &Case::new(
        "msg/binary",
        Declared,
        "A frame of the other kind, binary where text is expected, has no effect; its sender can still send, and nobody else is affected.",
        run!(binary),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Frames])
    .alone(),
    &Case::new(
        "msg/payload-byte-exact",
        Declared,
        "A payload is relayed byte for byte, or as equal JSON where the dialect promises no more.",
        run!(payload_byte_exact),
    )
    .needs(DELIVERY),
    &Case::new(
        "msg/large-payload",
        Declared,
        "A message of the maximum length that the dialect allows is relayed completely.",
        run!(large_payload),
    )
    .needs(DELIVERY)
    .requires(&[Feature::SizeLimit])
    .alone(),
];

/// The bad messages that ana sends once she and ben are members.
type Bad<'a> = dyn Fn(&Peer, &Peer) -> Result<Vec<(String, Command)>, Stop> + Send + Sync + 'a;

/// Ana sends bad messages, one at a time, in a room with ben. The server may answer with an error, ignore the message,
/// or close her connection. It must not pass anything on to ben. As long as ana's connection stays open, her signals
/// must reach ben, and his must reach her.
async fn has_no_effect(cx: &Cx, bad: &Bad<'_>, declared: Reaction) -> Result<(), Stop> {
    let may_relay = may_relay(cx, &[declared]);
    has_no_effect_unless_relayed(cx, bad, declared, may_relay).await
}

/// Whether the server may pass on a message that it need not understand: if it adds nothing to messages, and the
/// dialect declares nothing else.
fn may_relay(cx: &Cx, declared: &[Reaction]) -> bool {
    declared.contains(&Reaction::Obeyed)
        || (cx.env.dialect.relays_as_sent() && declared.iter().all(|declared| *declared == Reaction::Any))
}

/// Like [`has_no_effect`]. `may_relay`: the server may also pass the message on.
async fn has_no_effect_unless_relayed(cx: &Cx, bad: &Bad<'_>, declared: Reaction, may_relay: bool) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let (mut errors, mut ignored, mut closed, mut relayed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let number = bad(&ana, &ben)?.len();
    if number == 0 {
        let why = "the dialect has no message that the suite could change in this way";
        return Err(Stop::Unsupported(why.to_owned()));
    }
    for index in 0..number {
        let (what, order) = bad(&ana, &ben)?.swap_remove(index);
        let (at_ana, at_ben) = (ana.received.len(), ben.received.len());
        let word = cx.word("next");
        let sent = match &order {
            Command::Text(text) => text.clone(),
            Command::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        ana.command(order);
        ana.send_word(&ben, &word);
        let received = tokio::select! { biased;
            received = ben.until("ana's next signal", |event| event.has_word(&word)) => received.map(|_| None),
            end = ana.ended() => Ok(Some(end)),
        };
        let mut ended = match received {
            // Ben's connection may end because ana's does, in a server that closes a room with its first member.
            Err(stop) if ben.end.is_some() => match ana.ended_in_time().await {
                Some(end) if cx.first_member_takes_the_room_along().await? => Some(end),
                _ => return Err(after(&what, stop)),
            },
            received => received.map_err(|stop| after(&what, stop))?,
        };
        if ended.is_none() {
            let answered = cx.fence(&mut ben, &mut [&mut ana]).await;
            // The server may still pass on a signal of hers while it closes her connection.
            ended = ana.end.clone();
            answered.or_else(|stop| if ended.is_some() { Ok(()) } else { Err(after(&what, stop)) })?;
        }
        let acted_on = |event: &Event| event.is_signal() && !is_ours(event);
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
            [ana, ben] = cx.members(&cx.room(), ["ana", "ben"]).await.map_err(|stop| died(&what, stop))?;
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

/// Adds to a failure after which message it came.
fn after(what: &str, stop: Stop) -> Stop {
    stop.reworded(|why| format!("after ana's message ({what}): {why}"))
}

/// If no client can join any more, the last message has killed the server.
fn died(what: &str, stop: Stop) -> Stop {
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

fn texts<const N: usize>(bad: [(&str, String); N]) -> Vec<(String, Command)> {
    bad.into_iter().map(|(what, text)| (what.to_owned(), Command::Text(text))).collect()
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
    has_no_effect(cx, &bad, cx.file().declares.not_json).await
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
    has_no_effect(cx, &bad, cx.file().declares.null).await
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
    has_no_effect_unless_relayed(cx, &bad, Reaction::Any, may_relay).await
}

/// The wrong messages that the dialect gives for a case, and those derived from its signals.
async fn wrong(cx: &Cx, case: WrongCase, declared: Reaction) -> Result<(), Stop> {
    let dialect = Arc::clone(&cx.env.dialect);
    let bad = |ana: &Peer, ben: &Peer| {
        let to = (cx.file().signals.addressing == Addressing::Targeted).then_some(&ben.id);
        let (room, kind) = (&ana.room, Some(ana.plain_kind()));
        let act = Act { room, to, data: Some("1"), kind, role: ana.role.as_deref(), ..Act::default() };
        let wrong = dialect.wrong.iter().filter(|wrong| wrong.case == case && !wrong.joining);
        let wrong = wrong.map(|wrong| {
            let text = dialect.render_shape(&wrong.shape, &act, ana.values())?;
            Ok((wrong.what.clone(), Command::Text(text)))
        });
        wrong.collect()
    };
    has_no_effect(cx, &bad, declared).await
}

async fn unknown_type(cx: &mut Cx) -> Result<(), Stop> {
    wrong(cx, WrongCase::UnknownType, cx.file().declares.unknown_type).await
}

async fn missing_field(cx: &mut Cx) -> Result<(), Stop> {
    wrong(cx, WrongCase::MissingField, cx.file().declares.missing_field).await
}

async fn wrong_type(cx: &mut Cx) -> Result<(), Stop> {
    wrong(cx, WrongCase::WrongType, cx.file().declares.wrong_type).await
}

async fn binary(cx: &mut Cx) -> Result<(), Stop> {
    let binary = cx.file().connection.framing == Framing::WebSocketBinary;
    let bad = |ana: &Peer, ben: &Peer| {
        let signal = good(cx, ana, ben)?;
        if binary {
            return Ok(vec![(
                "a signal in a text frame".to_owned(),
                Command::Raw(frame(0x81, signal.as_bytes()), "a text frame"),
            )]);
        }
        let signal = ("a signal in a binary frame".to_owned(), Command::Binary(signal.into()));
        if cx.file().declares.binary == Reaction::Obeyed {
            return Ok(vec![signal]);
        }
        Ok(vec![
            signal,
            ("bytes in a binary frame".to_owned(), Command::Binary(Bytes::from_static(&[0, 0xff, 0xfe]))),
            ("an empty binary frame".to_owned(), Command::Binary(Bytes::new())),
        ])
    };
    has_no_effect(cx, &bad, cx.file().declares.binary).await
}

const PAYLOADS: [(&str, &str); 12] = [
    ("order of keys", r#"{"z":1,"a":2,"10":3,"9":4}"#),
    ("spaces", r#"{ "a" : [ 1 , 2 ] }"#),
    ("a big integer", "12345678901234567890123"),
    ("a decimal fraction", "1.0"),
    ("an exponent", "1E+2"),
    ("negative zero", "-0.0"),
    ("escapes", r#""\u0041\/\u00e9\n""#),
    ("Unicode", r#""é 😀 \ud83d\ude00 \u2028""#),
    ("null", "null"),
    ("a key twice", r#"{"a":1,"a":2}"#),
    ("`__proto__` as a key", r#"{"__proto__":{"x":1},"constructor":null}"#),
    ("a session description", r#"{"type":"offer","sdp":"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n"}"#),
];

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
        let letters = (b'a'..=b'z').cycle().take(bytes - envelope).map(char::from);
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
