//! Messages that are wrong, strange or large.

use bytes::Bytes;

use super::DELIVERY;
use crate::case::Level::Declared;
use crate::case::{Case, Cx, Stop};
use crate::dialect::mesh::{self, Message};
use crate::websocket::{End, Order};

/// The longest message that a client may send, in bytes of text.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "msg/not-json",
        Declared,
        "A text that is no JSON is refused; its sender is neither muted nor obeyed, and nobody else notices.",
        |cx| Box::pin(not_json(cx)),
    )
    .needs(DELIVERY)
    .alone(),
    &Case::new(
        "msg/null",
        Declared,
        "JSON that is no object is refused; nobody is muted, and nobody else notices.",
        |cx| Box::pin(null(cx)),
    )
    .needs(DELIVERY)
    .alone(),
    &Case::new(
        "msg/unknown-type",
        Declared,
        "An unknown action or type of signal is refused; nobody is muted, and nobody else notices.",
        |cx| Box::pin(unknown_type(cx)),
    )
    .needs(DELIVERY)
    .alone(),
    &Case::new(
        "msg/missing-field",
        Declared,
        "A message that lacks a field is refused; nobody is muted, and nobody else notices.",
        |cx| Box::pin(missing_field(cx)),
    )
    .needs(DELIVERY)
    .alone(),
    &Case::new(
        "msg/wrong-type",
        Declared,
        "A field of the wrong JSON type is refused; nobody is muted, and nobody else notices.",
        |cx| Box::pin(wrong_type(cx)),
    )
    .needs(DELIVERY)
    .alone(),
    &Case::new("msg/binary", Declared, "A binary frame is refused or closes the connection; it is not obeyed.", |cx| {
        Box::pin(binary(cx))
    })
    .needs(DELIVERY)
    .alone(),
    &Case::new("msg/payload-byte-exact", Declared, "`data` is relayed byte for byte.", |cx| {
        Box::pin(payload_byte_exact(cx))
    })
    .needs(DELIVERY),
    &Case::new("msg/large-payload", Declared, "A message of 262,144 bytes is relayed whole.", |cx| {
        Box::pin(large_payload(cx))
    })
    .needs(DELIVERY)
    .alone(),
];

/// Ana sends each bad thing in a room with ben. Allowed are an error, silence and a close. Not allowed: that ben hears of
/// it, or that ana is not heard or hears nothing any more while her connection stays open.
async fn is_shrugged_off(cx: &Cx, bad: Vec<(&str, Order)>, room: &str) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(room, ["ana", "ben"]).await?;
    let (mut ignored, mut closed) = (Vec::new(), Vec::new());
    for (what, order) in bad {
        let (at_ana, at_ben) = (ana.heard.len(), ben.heard.len());
        let word = cx.word("next");
        ana.order(order);
        ana.say(&word);
        let mut ended = tokio::select! { biased;
            heard = ben.until("what ana says next", |message| message.says(&word)) => {
                heard.map_err(|stop| after(what, stop))?;
                None
            }
            end = ana.ended() => Some(end),
        };
        if ended.is_none() {
            let hears = cx.fence(&mut ben, &mut [&mut ana]).await;
            // She may be heard once more while she is being closed.
            ended = ana.end.clone();
            hears.or_else(|stop| if ended.is_some() { Ok(()) } else { Err(after(what, stop)) })?;
        }
        match &ended {
            None if ana.heard[at_ana..].iter().any(|heard| matches!(heard.message, Message::Error)) => {}
            None => ignored.push(what),
            Some(End::Closed(Some(code))) => closed.push(format!("{what} ({code})")),
            Some(_) => closed.push(format!("{what} (without a close code)")),
        }
        if ended.is_some() {
            ana = cx.join("ana", room).await?;
            cx.fence(&mut ana, &mut [&mut ben]).await?;
        }
        let obeyed = |message: &Message| message.is_signal() && !is_ours(message);
        ben.never_heard_since(at_ben, &format!("hears a signal that ana's message made: {what}"), obeyed)?;
        let error = |message: &Message| matches!(message, Message::Error);
        ben.never_heard_since(at_ben, &format!("is sent an error for ana's message: {what}"), error)?;
    }
    if !ignored.is_empty() {
        cx.remark(format!("ignored without an error: {}", ignored.join(", ")));
    }
    if !closed.is_empty() {
        cx.remark(format!("closes the connection: {}", closed.join(", ")));
    }
    Ok(())
}

/// Says after which message it was that a client was muted or deaf.
fn after(what: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Fail { why, line } => Stop::Fail { why: format!("after ana's message ({what}): {why}"), line },
        setup => setup,
    }
}

/// Whether it is one of the good signals of [`is_shrugged_off`].
fn is_ours(message: &Message) -> bool {
    matches!(message, Message::Signal { data: Some(data), .. }
        if data.starts_with("\"next-") || data.starts_with("\"sentinel-"))
}

async fn not_json(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let good = mesh::signal(&room, "offer", "1", None);
    let bad = vec![
        ("an empty text", text("")),
        ("a word", text("hello")),
        ("an open brace", text("{")),
        ("a signal cut off", text(&good[..good.len() - 1])),
        ("a signal with a tail", text(&format!("{good} x"))),
        ("two signals in one", text(&format!("{good}{good}"))),
        ("single quotes", text(&good.replace('"', "'"))),
    ];
    is_shrugged_off(cx, bad, &room).await
}

async fn null(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let good = mesh::signal(&room, "offer", "1", None);
    let bad = vec![
        ("null", text("null")),
        ("true", text("true")),
        ("a number", text("5")),
        ("a string", text(r#""signal""#)),
        ("an empty list", text("[]")),
        ("a signal in a list", text(&format!("[{good}]"))),
        ("a deep nest", text(&format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)))),
    ];
    is_shrugged_off(cx, bad, &room).await
}

async fn unknown_type(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let bad = vec![
        ("the action `zzz`", text(&format!(r#"{{"action":"zzz","roomId":{},"data":1}}"#, mesh::quoted(&room)))),
        ("the action `Signal`", text(&mesh::signal(&room, "offer", "1", None).replace("\"signal\"", "\"Signal\""))),
        ("an empty action", text(r#"{"action":""}"#)),
        ("a signal of type `zzz`", text(&mesh::signal(&room, "zzz", "1", None))),
    ];
    is_shrugged_off(cx, bad, &room).await
}

async fn missing_field(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let quoted = mesh::quoted(&room);
    let bad = vec![
        ("an empty object", text("{}")),
        ("no action", text(&format!(r#"{{"roomId":{quoted},"type":"offer","data":1}}"#))),
        ("a signal without roomId", text(r#"{"action":"signal","type":"offer","data":1}"#)),
        ("a signal without type", text(&format!(r#"{{"action":"signal","roomId":{quoted},"data":1}}"#))),
        ("a leave without roomId", text(r#"{"action":"leave"}"#)),
    ];
    is_shrugged_off(cx, bad, &room).await
}

async fn wrong_type(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let quoted = mesh::quoted(&room);
    let signal = |rest: &str| text(&format!(r#"{{"action":"signal","data":1,{rest}}}"#));
    let bad = vec![
        ("a number as action", text(&format!(r#"{{"action":5,"roomId":{quoted},"type":"offer"}}"#))),
        ("a list as action", text(&format!(r#"{{"action":["signal"],"roomId":{quoted},"type":"offer","data":1}}"#))),
        ("null as roomId", signal(r#""type":"offer","roomId":null"#)),
        ("an object as roomId", signal(r#""type":"offer","roomId":{}"#)),
        ("a list as roomId", signal(&format!(r#""type":"offer","roomId":[{quoted}]"#))),
        ("a number as type", signal(&format!(r#""type":5,"roomId":{quoted}"#))),
        ("a list as type", signal(&format!(r#""type":["offer"],"roomId":{quoted}"#))),
        ("a number as to", signal(&format!(r#""type":"offer","roomId":{quoted},"to":5"#))),
        ("an object as to", signal(&format!(r#""type":"offer","roomId":{quoted},"to":{{}}"#))),
        ("false as to", signal(&format!(r#""type":"offer","roomId":{quoted},"to":false"#))),
        ("an empty string as to", signal(&format!(r#""type":"offer","roomId":{quoted},"to":"""#))),
    ];
    is_shrugged_off(cx, bad, &room).await
}

async fn binary(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let signal = mesh::signal(&room, "offer", "1", None);
    let bad = vec![
        ("a signal in a binary frame", Order::Binary(signal.into())),
        ("bytes in a binary frame", Order::Binary(Bytes::from_static(&[0, 0xff, 0xfe]))),
        ("an empty binary frame", Order::Binary(Bytes::new())),
    ];
    is_shrugged_off(cx, bad, &room).await
}

fn text(text: &str) -> Order {
    Order::Text(text.to_owned())
}

async fn payload_byte_exact(cx: &mut Cx) -> Result<(), Stop> {
    let payloads = [
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
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    for (what, payload) in payloads {
        let mark = ben.heard.len();
        ana.send(mesh::signal(&ana.room, "offer", payload, None));
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        let Some(heard) = ben.heard[mark..].iter().find(|heard| heard.message.is_signal()) else {
            return Err(Stop::fail(format!("ben did not hear a signal whose data is {what}")));
        };
        let Message::Signal { data, .. } = &heard.message else { continue };
        match data.as_deref() {
            Some(data) if data == payload => {}
            Some(data) => {
                return Err(Stop::at(
                    format!("{what} does not survive: ana sent {payload}, ben heard {data}"),
                    heard.line,
                ));
            }
            None => return Err(Stop::at(format!("{what} does not survive: ben heard no data"), heard.line)),
        }
    }
    Ok(())
}

async fn large_payload(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    for bytes in [64 * 1024, MESSAGE_BYTES_MAX] {
        let envelope = mesh::signal(&ana.room, "offer", "\"\"", None).len();
        // Not one character over and over, which could be cut in the middle unseen.
        let letters = (b'a'..=b'z').cycle().take(bytes - envelope).map(char::from);
        let payload: String = letters.collect();
        let mark = ben.heard.len();
        ana.say(&payload);
        cx.fence(&mut ana, &mut [&mut ben]).await.map_err(|stop| after(&format!("{bytes} bytes"), stop))?;
        match ben.heard[mark..].iter().find(|heard| heard.message.is_signal()) {
            Some(heard) if heard.message.says(&payload) => {}
            Some(heard) if !is_ours(&heard.message) => {
                return Err(Stop::at(format!("a message of {bytes} bytes arrives changed"), heard.line));
            }
            _ => return Err(Stop::fail(format!("a message of {bytes} bytes does not arrive"))),
        }
    }
    Ok(())
}
