//! RFC 6455: what the frames of a client get.

use super::DELIVERY;
use crate::case::Level::{Must, Should};
use crate::case::{Case, Citation, Cx, Stop};
use crate::dialect::mesh::{self, Message};
use crate::websocket::{End, Order, frame};

macro_rules! rfc6455 {
    ($section:literal, $quote:literal) => {
        Citation {
            section: concat!("RFC 6455 §", $section),
            url: concat!("https://www.rfc-editor.org/rfc/rfc6455#section-", $section),
            quote: $quote,
        }
    };
}

pub(super) const CASES: &[&Case] = &[
    &Case::new("ws/ping-pong", Must, "A ping is answered with a pong of the same payload.", |cx| {
        Box::pin(ping_pong(cx))
    })
    .needs(DELIVERY)
    .cites(&[
        rfc6455!(
            "5.5.2",
            "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already received a Close frame."
        ),
        rfc6455!(
            "5.5.3",
            "A Pong frame sent in response to a Ping frame must have identical \"Application data\" as found in the message body of the Ping frame being replied to."
        ),
    ])
    .alone(),
    &Case::new("ws/close-echo", Must, "A close is answered with a close.", |cx| Box::pin(close_echo(cx)))
        .needs(DELIVERY)
        .cites(&[rfc6455!(
            "5.5.1",
            "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint MUST send a Close frame in response."
        )])
        .alone(),
    &Case::new("ws/unmasked", Must, "A frame without a mask closes the connection.", |cx| Box::pin(unmasked(cx)))
        .needs(DELIVERY)
        .cites(&[rfc6455!("5.1", "The server MUST close the connection upon receiving a frame that is not masked.")])
        .alone(),
    &Case::new("ws/rsv", Must, "A reserved bit that no extension uses closes the connection.", |cx| Box::pin(rsv(cx)))
        .needs(DELIVERY)
        .cites(&[rfc6455!(
            "5.2",
            "If a nonzero value is received and none of the negotiated extensions defines the meaning of such a nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_."
        )])
        .alone(),
    &Case::new("ws/opcode", Must, "A reserved opcode closes the connection.", |cx| Box::pin(opcode(cx)))
        .needs(DELIVERY)
        .cites(&[rfc6455!(
            "5.2",
            "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
        )])
        .alone(),
    &Case::new("ws/control-fragmented", Must, "A fragmented control frame is not accepted.", |cx| {
        Box::pin(control_fragmented(cx))
    })
    .needs(DELIVERY)
    .cites(&[CONTROL_FRAMES])
    .alone(),
    &Case::new("ws/control-126", Must, "A control frame of more than 125 bytes is not accepted.", |cx| {
        Box::pin(control_126(cx))
    })
    .needs(DELIVERY)
    .cites(&[CONTROL_FRAMES])
    .alone(),
    &Case::new("ws/utf8-invalid", Must, "A text frame that is not UTF-8 closes the connection.", |cx| {
        Box::pin(utf8_invalid(cx))
    })
    .needs(DELIVERY)
    .cites(&[rfc6455!(
        "8.1",
        "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_."
    )])
    .alone(),
    &Case::new("ws/oversize", Should, "A message of 2 MiB is refused: memory has a limit.", |cx| Box::pin(oversize(cx)))
        .needs(DELIVERY)
        .cites(&[rfc6455!(
            "10.4",
            "Such an implementation SHOULD impose a limit on frame sizes and the total message size after reassembly from multiple frames."
        )])
        .alone(),
];

const CONTROL_FRAMES: Citation =
    rfc6455!("5.5", "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented.");

async fn ping_pong(cx: &mut Cx) -> Result<(), Stop> {
    let mut ana = cx.join("ana", &cx.room()).await?;
    for payload in [&b"beat"[..], &[b'x'; 125]] {
        ana.order(Order::Ping(payload));
        ana.until_pong(payload).await?;
    }
    Ok(())
}

async fn close_echo(cx: &mut Cx) -> Result<(), Stop> {
    for code in [1000, 4001] {
        let mut ana = cx.join("ana", &cx.room()).await?;
        ana.order(Order::Close(code));
        match ana.ended_in_time().await {
            Some(End::Closed(Some(echo))) if echo == code => {}
            Some(End::Closed(echo)) => {
                let echo = echo.map_or("no code".to_owned(), |echo| echo.to_string());
                cx.remark(format!("a close with {code} is answered with {echo}"));
            }
            Some(_) => return Err(ana.stop(format!("ana's close with {code} is not answered: TCP just ends"))),
            None => return Err(ana.stop(format!("ana's close with {code} does not end the connection"))),
        }
    }
    Ok(())
}

/// Some bytes must close the connection; `code` is the close code that says why.
async fn closes(cx: &Cx, what: &'static str, bytes: &[u8], code: u16) -> Result<(), Stop> {
    let mut ana = cx.join("ana", &cx.room()).await?;
    ana.order(Order::Raw(bytes.to_vec().into(), what));
    match ana.ended_in_time().await {
        Some(End::Closed(Some(with))) if with == code => Ok(()),
        Some(End::Closed(Some(with))) => {
            cx.remark(format!("{what} closes the connection with {with}; {code} would say why"));
            Ok(())
        }
        Some(End::Closed(None) | End::Lost) => {
            cx.remark(format!("{what} ends the connection without a close code; {code} would say why"));
            Ok(())
        }
        Some(End::Broken(_) | End::Flood) => Err(ana.stop(format!("{what} is answered with broken frames"))),
        None => Err(ana.stop(format!("{what} does not close the connection"))),
    }
}

async fn unmasked(cx: &mut Cx) -> Result<(), Stop> {
    closes(cx, "a frame without a mask", b"\x81\x02{}", 1002).await
}

async fn rsv(cx: &mut Cx) -> Result<(), Stop> {
    // The third bit: no extension in use has a meaning for it.
    closes(cx, "a frame with a reserved bit", &frame(0x91, b"{}"), 1002).await
}

async fn opcode(cx: &mut Cx) -> Result<(), Stop> {
    closes(cx, "a frame with opcode 3", &frame(0x83, b"{}"), 1002).await?;
    closes(cx, "a frame with opcode 11", &frame(0x8b, b""), 1002).await
}

async fn control_fragmented(cx: &mut Cx) -> Result<(), Stop> {
    closes(cx, "a ping without FIN", &[frame(0x09, b"be"), frame(0x80, b"at")].concat(), 1002).await
}

async fn control_126(cx: &mut Cx) -> Result<(), Stop> {
    closes(cx, "a ping of 126 bytes", &frame(0x89, &[b'x'; 126]), 1002).await
}

async fn utf8_invalid(cx: &mut Cx) -> Result<(), Stop> {
    closes(cx, "a text frame that is not UTF-8", &frame(0x81, b"{\"action\":\"\xff\"}"), 1007).await?;
    closes(cx, "a text frame with an encoded surrogate", &frame(0x81, b"{\"action\":\"\xed\xa0\x80\"}"), 1007).await
}

async fn oversize(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let signal = mesh::signal(&room, "offer", &mesh::quoted(&"x".repeat(2 * 1024 * 1024)), None);
    ana.order(Order::Raw(frame(0x81, signal.as_bytes()), "a signal of 2 MiB"));
    let word = cx.word("after");
    ana.say(&word);
    let ended = tokio::select! { biased;
        heard = ben.until("what ana says after a message of 2 MiB", |message| message.says(&word)) => heard.map(|_| None)?,
        end = ana.ended() => Some(end),
    };
    if ended.is_some() {
        ana = cx.join("ana", &room).await?;
        cx.fence(&mut ana, &mut [&mut ben]).await?;
    }
    let large = |message: &Message| matches!(message, Message::Signal { data: Some(data), .. } if data.len() > 1024);
    ben.never_heard("hears a signal of 2 MiB; the dialect's limit is 256 KiB", large)?;
    match ended {
        Some(End::Closed(Some(1009))) => {}
        Some(End::Closed(Some(code))) => cx.remark(format!("closes the connection with {code}; 1009 would say why")),
        Some(_) => cx.remark("ends the connection without a close code; 1009 would say why"),
        None => cx.remark("the message is refused, and the connection stays"),
    }
    Ok(())
}
