//! Payloads in every form that JSON has arrive as they were sent.

use super::is_ours;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::cases::DELIVERY;
use crate::cases::mesh::{kinds_both_ways, receiver};
use crate::client::quoted;
use crate::cx::Cx;
use crate::dialect::file::{Addressing, Payload};
use crate::dialect::{Act, Event, Feature};
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
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
];

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
pub(super) fn survives(sent: &str, arrived: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    arrived == sent || same(parse(arrived), parse(sent))
}

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
