//! RFC 6455: how a server responds to handshakes and frames of a client.

use super::DELIVERY;
use crate::case::Level::{Declared, May, Must, Should};
use crate::case::{Case, Citation};
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::{Addressing, Framing, Reaction, Situation};
use crate::dialect::{Event, Feature};
use crate::framing::browser::{Browser, Opening};
use crate::framing::error::{TransportError, UpgradeAnswer};
use crate::framing::http::{Request, Response};
use crate::framing::link::{Command, End};
use crate::framing::websocket::{BETWEEN, frame};
use crate::framing::{extension, socketio};
use crate::stop::Stop;
use crate::target::Target;

/// The key of the example in RFC 6455 §1.3, and the accept value for it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(super) const CASES: &[&Case] = &[
    &Case::new("ws/accept-key", Must, "The handshake is answered with the hash of the client's key.", run!(accept_key))
        .cites(&[rfc!(
            6455,
            "4.2.2",
            "The value of this header field is constructed by concatenating /key/, defined above in step 4 in Section 4.2.2, with the string \"258EAFA5-E914-47DA-95CA-C5AB0DC85B11\", taking the SHA-1 hash of this concatenated value to obtain a 20-byte value and base64-encoding (see Section 4 of [RFC4648]) this 20-byte hash."
        )])
        .requires(&[Feature::WebSocket]),
    &Case::new("ws/version-426", Must, "An unsupported version is answered with the versions that the server supports.", run!(version_426))
        .cites(&[rfc!(
            6455,
            "4.4",
            "If the server doesn't support the requested version, it MUST respond with a |Sec-WebSocket-Version| header field (or multiple |Sec-WebSocket-Version| header fields) containing all versions it is willing to use."
        )])
        .requires(&[Feature::WebSocket]),
    &Case::new("ws/subprotocol-subset", Must, "The server selects a subprotocol that the client offered, or none.", run!(subprotocol_subset))
        .cites(&[rfc!(
            6455,
            "4.2.2",
            "The value chosen MUST be derived from the client's handshake, specifically by selecting one of the values from the |Sec-WebSocket-Protocol| field that the server is willing to use for this connection (if any)."
        )])
        .requires(&[Feature::WebSocket]),
    &Case::new("ws/extension-subset", Must, "The server agrees only to extensions that the client offered and that exist.", run!(extension_subset))
        .cites(&[rfc!(6455, "4.2.2", "Extensions not listed by the client MUST NOT be listed.")])
        .requires(&[Feature::WebSocket]),
    &Case::new("ws/deflate-parameters", Must, "An answer to an offer of permessage-deflate has only parameters that fit the offer, and an invalid offer is declined.", run!(deflate_parameters))
        .cites(&[
            rfc!(
                7692,
                "7.1.2.2",
                "If a received extension negotiation offer doesn't have the \"client_max_window_bits\" extension parameter, the corresponding extension negotiation response to the offer MUST NOT include the \"client_max_window_bits\" extension parameter."
            ),
            rfc!(
                7692,
                "7",
                "A server MUST decline an extension negotiation offer for this extension if any of the following conditions are met:"
            ),
        ])
        .requires(&[Feature::WebSocket]),
    &Case::new("ws/chromium-handshake", Must, "A client that writes its handshake like Chromium can connect, join and signal.", run!(chromium_handshake))
        .needs(DELIVERY)
        .cites(&[HEADERS, IN_USE, OFFERED])
        .requires(&[Feature::Upgrade]),
    &Case::new("ws/firefox-handshake", Must, "A client that writes its handshake like Firefox can connect, join and signal.", run!(firefox_handshake))
        .needs(DELIVERY)
        .cites(&[
            rfc!(
                6455,
                "4.2.1",
                "A |Connection| header field that includes the token \"Upgrade\", treated as an ASCII case-insensitive value."
            ),
            HEADERS,
            IN_USE,
            OFFERED,
        ])
        .requires(&[Feature::Upgrade]),
    &Case::new("ws/deflate", Must, "If the server agrees to permessage-deflate, it reads and writes compressed messages as agreed.", run!(deflate))
        .needs(DELIVERY)
        .cites(&[
            IN_USE,
            rfc!(7692, "7.2.2", "An endpoint uses the following algorithm to decompress a message."),
        ])
        .requires(&[Feature::Frames])
        .alone(),
    &Case::new("ws/origin-deny", May, "Pages of any origin may connect, or only those of known origins.", run!(origin_deny))
        .cites(&[rfc!(
            6455,
            "10.2",
            "If the origin indicated is unacceptable to the server, then it SHOULD respond to the WebSocket handshake with a reply containing HTTP 403 Forbidden status code."
        )])
        .requires(&[Feature::WebSocket]),
    &Case::new("ws/ping-pong", Must, "A ping is answered with a pong that has the same payload.", run!(ping_pong))
        .needs(DELIVERY)
        .cites(&[
            rfc!(
                6455,
                "5.5.2",
                "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already received a Close frame."
            ),
            rfc!(
                6455,
                "5.5.3",
                "A Pong frame sent in response to a Ping frame must have identical \"Application data\" as found in the message body of the Ping frame being replied to."
            ),
        ])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/pong-unsolicited", Must, "An unsolicited pong is ignored.", run!(pong_unsolicited))
        .needs(DELIVERY)
        .cites(&[rfc!(6455, "5.5.3", "A Pong frame MAY be sent unsolicited.")])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/close-echo", Must, "A close frame is answered with a close frame.", run!(close_echo))
        .needs(DELIVERY)
        .cites(&[rfc!(
            6455,
            "5.5.1",
            "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint MUST send a Close frame in response."
        )])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/close-1byte", Must, "A close frame with only one byte of a code closes the connection.", run!(close_1byte))
        .needs(DELIVERY)
        .cites(&[rfc!(
            6455,
            "5.5.1",
            "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in network byte order) representing a status code with value /code/ defined in Section 7.4."
        )])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/close-reserved", Must, "A close frame with a code that no endpoint may send closes the connection.", run!(close_reserved))
        .needs(DELIVERY)
        .cites(&[rfc!(
            6455,
            "7.4.1",
            "1005 is a reserved value and MUST NOT be set as a status code in a Close control frame by an endpoint."
        )])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/server-mask", Must, "The server does not mask its frames.", run!(server_mask))
        .cites(&[rfc!(6455, "5.1", "A server MUST NOT mask any frames that it sends to the client.")])
        .requires(&[Feature::RawFrames]),
    &Case::new("ws/unmasked", Must, "A frame without a mask closes the connection.", run!(unmasked))
        .needs(DELIVERY)
        .cites(&[rfc!(6455, "5.1", "The server MUST close the connection upon receiving a frame that is not masked.")])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new(
        "ws/other-path",
        Declared,
        "A handshake at another path than the dialect's is refused with the status that the dialect declares.",
        run!(other_path),
    )
    .requires(&[Feature::Upgrade, Feature::OtherPath]),
    &Case::new("ws/rsv", Must, "A reserved bit that no extension uses closes the connection.", run!(rsv))
        .needs(DELIVERY)
        .cites(&[rfc!(
            6455,
            "5.2",
            "If a nonzero value is received and none of the negotiated extensions defines the meaning of such a nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_."
        )])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/opcode", Must, "A reserved opcode closes the connection.", run!(opcode))
        .needs(DELIVERY)
        .cites(&[rfc!(
            6455,
            "5.2",
            "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
        )])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/frag-interleave", Must, "A fragmented message with a ping between its fragments is received as one message.", run!(frag_interleave))
        .needs(DELIVERY)
        .cites(&[
            rfc!(6455, "5.4", "Control frames MAY be injected in the middle of a fragmented message."),
            rfc!(
                6455,
                "5.4",
                "An endpoint MUST be capable of handling control frames in the middle of a fragmented message."
            ),
        ])
        .requires(&[Feature::Frames])
        .alone(),
    &Case::new("ws/control-fragmented", Must, "A fragmented control frame is refused.", run!(control_fragmented))
        .needs(DELIVERY)
        .cites(&[CONTROL_FRAMES])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/control-126", Must, "A control frame of more than 125 bytes is refused.", run!(control_126))
        .needs(DELIVERY)
        .cites(&[CONTROL_FRAMES])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/utf8-invalid", Must, "A text frame that is not UTF-8 closes the connection.", run!(utf8_invalid))
        .needs(DELIVERY)
        .cites(&[UTF8])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/utf8-failfast", May, "A fragment that cannot become valid UTF-8 closes the connection before the last fragment arrives.", run!(utf8_failfast))
        .needs(DELIVERY)
        .cites(&[UTF8])
        .requires(&[Feature::RawFrames])
        .alone(),
    &Case::new("ws/oversize", Should, "A message of 2 MiB is refused, so that memory is bounded.", run!(oversize))
        .needs(DELIVERY)
        .cites(&[rfc!(
            6455,
            "10.4",
            "Such an implementation SHOULD impose a limit on frame sizes and the total message size after reassembly from multiple frames."
        )])
        .requires(&[Feature::Frames])
        .alone(),
];

const CONTROL_FRAMES: Citation =
    rfc!(6455, "5.5", "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented.");

/// Browsers send more headers than a handshake requires.
const HEADERS: Citation = rfc!(6455, "4.2.1", "Unknown header fields are ignored, as per [RFC2616].");

const IN_USE: Citation = rfc!(
    6455,
    "9.1",
    "The extensions listed by the server in response represent the extensions actually in use for the connection."
);

const OFFERED: Citation = rfc!(
    6455,
    "4.1",
    "If the response includes a |Sec-WebSocket-Extensions| header field and this header field indicates the use of an extension that was not present in the client's handshake (the server has indicated an extension not requested by the client), the client MUST _Fail the WebSocket Connection_."
);

const UTF8: Citation = rfc!(
    6455,
    "8.1",
    "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_."
);

/// The path and query that a client with this name connects to.
fn path(cx: &Cx, name: &str) -> String {
    let role = cx.file().roles.as_ref().map(|roles| roles.offers.as_str());
    let values = Peer::first_values(&cx.env, name, &cx.room(), role);
    let url = cx.env.dialect.url(cx.env.net.target.url(), &values);
    Target::path_of(&if cx.has(Feature::SocketIo) { socketio::url(&url) } else { url })
}

/// The first byte of a frame that contains a whole message of the dialect.
fn first_byte(cx: &Cx) -> u8 {
    if cx.file().connection.framing == Framing::WebSocketBinary { 0x82 } else { 0x81 }
}

/// The response to a handshake with these headers.
async fn handshake(cx: &Cx, name: &str, headers: &[(&'static str, &str)]) -> Result<Response, Stop> {
    handshake_at(cx, path(cx, name), name, headers).await
}

/// The response to a handshake for this path.
async fn handshake_at(cx: &Cx, path: String, name: &str, headers: &[(&'static str, &str)]) -> Result<Response, Stop> {
    let mut all = vec![
        ("Connection", "Upgrade".to_owned()),
        ("Upgrade", "websocket".to_owned()),
        ("Sec-WebSocket-Key", KEY.to_owned()),
        ("Sec-WebSocket-Version", "13".to_owned()),
    ];
    all.extend(cx.file().connection.subprotocol.as_ref().map(|name| ("Sec-WebSocket-Protocol", name.clone())));
    for (name, value) in headers {
        all.retain(|(other, _)| other != name);
        all.push((name, (*value).to_owned()));
    }
    let words = format!("sends a handshake for {path} with {headers:?}");
    let request = Request { method: "GET", path, headers: all, body: None };
    let response = cx.fetch_as(name, &request, &words, |_| String::new()).await;
    response.map_err(|why| Stop::fail(format!("a handshake with {headers:?}: {why}")))
}

async fn other_path(cx: &mut Cx) -> Result<(), Stop> {
    let status = cx.file().connection.other_path.expect("the case requires it");
    let own = path(cx, "ana");
    let (path, query) =
        own.split_once('?').map_or((own.as_str(), String::new()), |(path, query)| (path, format!("?{query}")));
    let path = path.trim_end_matches('/');
    for other in [format!("{path}/more"), format!("{path}x"), format!("/glare{path}")] {
        let response = handshake_at(cx, format!("{other}{query}"), "ana", &[]).await?;
        if response.status != status {
            return Err(Stop::fail(format!(
                "a handshake for {other} is answered with HTTP {}; the dialect promises {status}",
                response.status
            )));
        }
    }
    Ok(())
}

async fn accept_key(cx: &mut Cx) -> Result<(), Stop> {
    let response = handshake(cx, "ana", &[]).await?;
    if response.status != 101 {
        return Err(Stop::fail(format!(
            "a handshake as in RFC 6455 §1.3 is answered with HTTP {}, expected 101",
            response.status
        )));
    }
    match response.header("sec-websocket-accept") {
        Some(accept) if accept == ACCEPT => Ok(()),
        Some(accept) => Err(Stop::fail(format!("the key {KEY} is answered with {accept}, expected {ACCEPT}"))),
        None => Err(Stop::fail("the handshake is answered without Sec-WebSocket-Accept")),
    }
}

async fn version_426(cx: &mut Cx) -> Result<(), Stop> {
    let response = handshake(cx, "ana", &[("Sec-WebSocket-Version", "99")]).await?;
    if response.status == 101 {
        return Err(Stop::fail("a handshake of version 99 is accepted"));
    }
    let versions = response.header("sec-websocket-version");
    match &versions {
        Some(versions) if versions.split(',').any(|version| version.trim() == "13") => {}
        Some(versions) => {
            return Err(Stop::fail(format!(
                "version 99 is answered with HTTP {} and the versions {versions}, which lack 13",
                response.status
            )));
        }
        None => {
            let status = response.status;
            return Err(Stop::fail(format!(
                "version 99 is answered with HTTP {status} without the versions that the server supports"
            )));
        }
    }
    if response.status != 426 {
        cx.acceptable(format!("version 99 is answered with HTTP {}; 426 would give the reason", response.status));
    }
    Ok(())
}

async fn subprotocol_subset(cx: &mut Cx) -> Result<(), Stop> {
    let offered = ["glare-nobody-knows-this", "glare-nor-this"];
    let response = handshake(cx, "ana", &[("Sec-WebSocket-Protocol", &offered.join(", "))]).await?;
    match response.header("sec-websocket-protocol") {
        Some(chosen) if !offered.contains(&chosen.as_str()) => {
            Err(Stop::fail(format!("the server selects the subprotocol {chosen}, which the client did not offer")))
        }
        Some(chosen) => {
            cx.acceptable(format!("the server claims to support the subprotocol {chosen}, which does not exist"));
            Ok(())
        }
        None => Ok(()),
    }
}

/// The extensions that the server agrees to with a handshake, as its response lists them.
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

async fn extension_subset(cx: &mut Cx) -> Result<(), Stop> {
    for offer in ["", "glare-nobody-knows-this; a=1"] {
        let headers = Some((EXTENSIONS, offer)).filter(|(_, offer)| !offer.is_empty());
        let response = handshake(cx, "ana", headers.as_slice()).await?;
        let offers = if offer.is_empty() { "no extension".to_owned() } else { format!("the extension {offer}") };
        if response.status != 101 {
            return Err(Stop::fail(format!(
                "a handshake that offers {offers} is answered with HTTP {}",
                response.status
            )));
        }
        if let Err(why) = extension::agreed(offer, response.lines(EXTENSIONS)) {
            return Err(Stop::fail(format!("a handshake that offers {offers} is answered, but {why}")));
        }
    }
    Ok(())
}

/// Offers that a server may accept with certain parameters only, or decline.
const DEFLATE_OFFERS: [&str; 6] = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits=10",
    "permessage-deflate; server_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover",
];

/// Offers that a server must decline: RFC 7692 §7.
const BAD_DEFLATE_OFFERS: [&str; 4] = [
    "permessage-deflate; glare_nobody_knows_this=1",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; client_max_window_bits=10; client_max_window_bits=11",
];

async fn deflate_parameters(cx: &mut Cx) -> Result<(), Stop> {
    let mut agrees = false;
    for offer in DEFLATE_OFFERS {
        let response = handshake(cx, "ana", &[(EXTENSIONS, offer)]).await?;
        if response.status != 101 {
            let status = response.status;
            return Err(Stop::fail(format!("a handshake that offers {offer} is answered with HTTP {status}")));
        }
        match extension::agreed(offer, response.lines(EXTENSIONS)) {
            Ok(agreed) => agrees |= agreed.is_some(),
            Err(why) => return Err(Stop::fail(format!("a handshake that offers {offer} is answered, but {why}"))),
        }
    }
    for offer in BAD_DEFLATE_OFFERS {
        let response = handshake(cx, "ana", &[(EXTENSIONS, offer)]).await?;
        match response.header(EXTENSIONS) {
            Some(answer) if response.status == 101 && !answer.is_empty() => {
                return Err(Stop::fail(format!("the offer {offer} is not valid, and the server agrees to {answer}")));
            }
            // A server may refuse the whole handshake.
            _ if response.status != 101 => {
                cx.remark(format!("a handshake that offers {offer} is answered with HTTP {}", response.status));
            }
            _ => {}
        }
    }
    if agrees { Ok(()) } else { Err(Stop::Unsupported("the server does not agree to permessage-deflate".to_owned())) }
}

async fn chromium_handshake(cx: &mut Cx) -> Result<(), Stop> {
    browser_handshake(cx, Browser::Chromium).await
}

async fn firefox_handshake(cx: &mut Cx) -> Result<(), Stop> {
    browser_handshake(cx, Browser::Firefox).await
}

async fn browser_handshake(cx: &Cx, browser: Browser) -> Result<(), Stop> {
    let (mut ana, mut ben) = match opened(cx, Opening::of(browser)).await? {
        Ok(members) => members,
        Err(error) => {
            let blocked = origin_blocked(cx, browser, &error).await?;
            return Err(blocked.unwrap_or_else(|| {
                Stop::fail(format!("ana's handshake is {browser}'s, and she cannot connect: {error}"))
            }));
        }
    };
    if ana.deflates() {
        cx.remark("messages are compressed: the server agrees to permessage-deflate");
    }
    both_ways(cx, &mut ana, &mut ben, 3).await.map_err(|stop| since_agreed(&ana, stop))
}

/// If the server refuses this browser's handshake only because of its origin, the end of the case: which pages may
/// connect is the server's choice.
async fn origin_blocked(cx: &Cx, browser: Browser, error: &TransportError) -> Result<Option<Stop>, Stop> {
    let TransportError::Upgrade { answer: UpgradeAnswer::Http(400..500), .. } = error else { return Ok(None) };
    let target = &cx.env.net.target;
    let headers = Opening::of(browser).headers(target, KEY.to_owned(), cx.file().connection.subprotocol.as_deref());
    let Some((_, origin)) = headers.iter().find(|(name, _)| *name == "Origin").cloned() else { return Ok(None) };
    let request = Request {
        method: "GET",
        path: path(cx, "ana"),
        headers: headers.into_iter().filter(|(name, _)| *name != "Origin").collect(),
        body: None,
    };
    let words = format!("sends the same handshake for {} without Origin", request.path);
    let response = cx.fetch_as("ana", &request, &words, |_| String::new()).await;
    let refuses = format!(
        "the server refuses pages of the origin {origin}; --header 'Origin: …' names one whose pages may connect"
    );
    Ok(response.ok().filter(|response| response.status == 101).map(|_| Stop::Unsupported(refuses)))
}

/// Ana, whose handshake is this one, and ben; both can signal. The error is that she cannot connect.
async fn opened(cx: &Cx, opening: Opening) -> Result<Result<(Peer, Peer), TransportError>, Stop> {
    let room = cx.room();
    let roles = cx.file().roles.as_ref();
    let (offers, answers) = roles.map(|roles| (roles.offers.as_str(), roles.answers.as_str())).unzip();
    let mut ana = match Peer::connect(&cx.opening(opening), &cx.log, "ana", &room, offers).await {
        Ok(ana) => ana,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(stop) = ana.join(&room, None).await {
        return Err(since_agreed(&ana, stop));
    }
    let mut ben = cx.join_as("ben", &room, answers).await?;
    match cx.settle(&mut ana, &mut ben).await {
        Ok(()) => Ok(Ok((ana, ben))),
        Err(stop) => Err(since_agreed(&ana, stop)),
    }
}

/// Adds to a failure that the server agreed to compressed messages.
fn since_agreed(ana: &Peer, stop: Stop) -> Stop {
    stop.reworded(|why| match ana.deflates() {
        true => format!("the server agreed to permessage-deflate, and then: {why}"),
        false => why,
    })
}

/// Each of the two signals some words to the other, which all arrive once.
async fn both_ways(cx: &Cx, ana: &mut Peer, ben: &mut Peer, number: usize) -> Result<(), Stop> {
    // The words have much in common, so that a compressor that keeps its context refers to earlier messages.
    let word = |from: &str| cx.word(&format!("a-long-word-with-much-in-common-from-{from}"));
    let words: Vec<_> = (0..number).map(|_| (word("ana"), word("ben"))).collect();
    for (of_ana, of_ben) in &words {
        ana.send_word(ben, of_ana);
        ben.send_word(ana, of_ben);
    }
    cx.fence(ana, &mut [&mut *ben]).await?;
    cx.fence(ben, &mut [&mut *ana]).await?;
    for (of_ana, of_ben) in &words {
        ben.received_once("ana's signal", |event| event.has_word(of_ana))?;
        ana.received_once("ben's signal", |event| event.has_word(of_ben))?;
    }
    Ok(())
}

/// Offers for which a server has to keep to what it agreed.
const KEPT_OFFERS: [&str; 3] = [
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
];
/// Length of a payload that does not fit into a window.
const LONG_BYTES: usize = 40_000;

async fn deflate(cx: &mut Cx) -> Result<(), Stop> {
    let mut agrees = false;
    for offer in KEPT_OFFERS {
        let (mut ana, mut ben) = match opened(cx, Opening::offering(offer)).await? {
            Ok(members) => members,
            Err(error) => return Err(Stop::fail(format!("ana offers {offer} and cannot connect: {error}"))),
        };
        if !ana.deflates() {
            continue;
        }
        agrees = true;
        let kept = compressed(cx, &mut ana, &mut ben).await;
        kept.map_err(|stop| since_agreed(&ana, stop).reworded(|why| format!("ana offers {offer}: {why}")))?;
    }
    if agrees { Ok(()) } else { Err(Stop::Unsupported("the server does not agree to permessage-deflate".to_owned())) }
}

/// Messages of all shapes on ana's connection, whose messages are compressed.
async fn compressed(cx: &Cx, ana: &mut Peer, ben: &mut Peer) -> Result<(), Stop> {
    both_ways(cx, ana, ben, 5).await?;
    // One that is not compressed may come between those that are.
    let plain = cx.word("not-compressed");
    let text = signal(cx, ana, ben, &plain)?;
    let first = first_byte(cx);
    ana.command(Command::Raw(frame(first, text.as_bytes()), "a message without compression"));
    let parts = cx.word("in-compressed-fragments");
    ana.command(Command::Fragments(signal(cx, ana, ben, &parts)?));
    let limit = cx.file().signals.bytes_max.map_or(LONG_BYTES, |max| LONG_BYTES.min(max / 2));
    // Letters without a pattern, and one letter: they hardly and greatly shrink.
    let mut state = 1_u32;
    let letters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 24) as u8 % 26)
    });
    let noise: String = letters.take(limit).collect();
    let long = || [cx.word(&noise), cx.word(&"x".repeat(limit)), cx.word(&noise)];
    let (of_ana, of_ben) = (long(), long());
    for (of_ana, of_ben) in of_ana.iter().zip(&of_ben) {
        ana.send_word(ben, of_ana);
        ben.send_word(ana, of_ben);
    }
    ben.until("ana's message without compression", |event| event.has_word(&plain)).await?;
    ben.until("ana's compressed message in fragments", |event| event.has_word(&parts)).await?;
    ana.until_pong(BETWEEN).await?;
    for (of_ana, of_ben) in of_ana.iter().zip(&of_ben) {
        ben.until("ana's long message", |event| event.has_word(of_ana)).await?;
        ana.until("ben's long message", |event| event.has_word(of_ben)).await?;
    }
    both_ways(cx, ana, ben, 2).await?;
    for word in [&plain, &parts] {
        ben.received_once("ana's signal", |event| event.has_word(word))?;
    }
    Ok(())
}

async fn origin_deny(cx: &mut Cx) -> Result<(), Stop> {
    let response = handshake(cx, "ana", &[("Origin", "https://evil.example")]).await?;
    match response.status {
        101 => cx.remark("pages of any origin can connect"),
        403 => cx.remark("pages of unknown origins are refused with 403"),
        500.. => {
            return Err(Stop::fail(format!(
                "a handshake with an Origin header is answered with HTTP {}",
                response.status
            )));
        }
        other => cx.acceptable(format!(
            "a page of an unknown origin is answered with HTTP {other}; 403 would give the reason"
        )),
    }
    Ok(())
}

async fn server_mask(cx: &mut Cx) -> Result<(), Stop> {
    // Only connects: clients reject masked frames, so a join might not succeed.
    let mut ana = cx.connect("ana", &cx.room()).await?;
    ana.command(Command::Ping(b"masked?"));
    match ana.until_pong(b"masked?").await {
        Ok(()) => Ok(()),
        Err(_) if matches!(&ana.end, Some(End::Broken(why)) if why.contains("mask")) => {
            Err(ana.stop("the server masks its frames".to_owned()))
        }
        Err(stop) => Err(stop.into_setup()),
    }
}

async fn ping_pong(cx: &mut Cx) -> Result<(), Stop> {
    let mut ana = cx.join("ana", &cx.room()).await?;
    for payload in [&b"beat"[..], &[b'x'; 125]] {
        ana.command(Command::Ping(payload));
        ana.until_pong(payload).await?;
    }
    Ok(())
}

async fn pong_unsolicited(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    ana.command(Command::Raw(frame(0x8a, b"nobody asked"), "an unsolicited pong"));
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await
}

async fn close_echo(cx: &mut Cx) -> Result<(), Stop> {
    for code in [1000, 4001] {
        let mut ana = cx.join("ana", &cx.room()).await?;
        ana.command(Command::Close(code));
        match ana.ended_in_time().await {
            Some(End::Closed(Some(echo))) if echo == code => {}
            Some(End::Closed(echo)) => {
                let echo = echo.map_or("no code".to_owned(), |echo| echo.to_string());
                cx.remark(format!("a close with {code} is answered with {echo}"));
            }
            Some(_) => {
                return Err(
                    ana.stop(format!("ana's close with {code} is not answered: TCP ends without a close frame"))
                );
            }
            None => return Err(ana.stop(format!("ana's close with {code} does not end the connection"))),
        }
    }
    Ok(())
}

/// Checks that some bytes close the connection; `code` is the close code that is due.
async fn closes(cx: &Cx, what: &'static str, bytes: &[u8], code: u16) -> Result<(), Stop> {
    let mut ana = cx.join("ana", &cx.room()).await?;
    ana.command(Command::Raw(bytes.to_vec().into(), what));
    match ana.ended_in_time().await {
        Some(End::Closed(Some(with))) if with == code => Ok(()),
        Some(End::Closed(Some(with))) => {
            cx.remark(format!("{what} closes the connection with {with}; {code} would give the reason"));
            Ok(())
        }
        Some(End::Closed(None) | End::Lost) => {
            cx.remark(format!("{what} ends the connection without a close code; {code} would give the reason"));
            Ok(())
        }
        Some(End::Broken(_) | End::Flood) => Err(ana.stop(format!("{what} is answered with broken frames"))),
        None => Err(ana.stop(format!("{what} does not close the connection"))),
    }
}

async fn close_1byte(cx: &mut Cx) -> Result<(), Stop> {
    closes(cx, "a close with half a code", &frame(0x88, &[3]), 1002).await
}

async fn close_reserved(cx: &mut Cx) -> Result<(), Stop> {
    closes(cx, "a close with 1005", &frame(0x88, &1005_u16.to_be_bytes()), 1002).await?;
    closes(cx, "a close with 999", &frame(0x88, &999_u16.to_be_bytes()), 1002).await
}

/// A valid signal for ben, as text.
fn signal(cx: &Cx, ana: &Peer, ben: &Peer, word: &str) -> Result<String, Stop> {
    let all = cx.file().signals.addressing == Addressing::Broadcast || ben.id.is_empty();
    ana.signal_message(ana.plain_kind(), &quoted(word), (!all).then_some(&ben.id), &ana.room)
}

async fn frag_interleave(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let word = cx.word("in-fragments");
    let text = signal(cx, &ana, &ben, &word)?;
    let (first, rest) = text.split_at(text.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let start = if cx.file().connection.framing == Framing::WebSocketBinary { 0x02 } else { 0x01 };
    let bytes = [
        frame(start, first.as_bytes()),
        frame(0x89, b"between"),
        frame(0x00, second.as_bytes()),
        frame(0x00, b""),
        frame(0x80, third.as_bytes()),
    ]
    .concat();
    ana.command(Command::Raw(bytes.into(), "a signal in four fragments with a ping between them"));
    ben.until("ana's signal in fragments", |event| event.has_word(&word)).await?;
    ana.until_pong(b"between").await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    ben.received_once("ana's signal in fragments", |event| event.has_word(&word))
}

async fn utf8_failfast(cx: &mut Cx) -> Result<(), Stop> {
    let mut ana = cx.join("ana", &cx.room()).await?;
    // The first fragment cannot be the start of valid UTF-8. The last fragment is never sent.
    ana.command(Command::Raw(frame(0x01, b"{\"a\":\"\xff"), "a first fragment that is not UTF-8"));
    ana.command(Command::Raw(frame(0x89, b"still there?"), "a ping"));
    let pong = ana.until_pong(b"still there?").await;
    if ana.end.is_some() {
        return Ok(());
    }
    pong.map_err(|stop| {
        stop.reworded(|why| {
            format!("after a fragment that is not UTF-8, the connection is neither closed nor usable: {why}")
        })
    })?;
    cx.remark("a fragment that is not UTF-8 is detected only when the message is complete");
    Ok(())
}

async fn unmasked(cx: &mut Cx) -> Result<(), Stop> {
    closes(cx, "a frame without a mask", b"\x81\x02{}", 1002).await
}

async fn rsv(cx: &mut Cx) -> Result<(), Stop> {
    // The reserved bit RSV3: no extension in use defines it.
    closes(cx, "a frame with a reserved bit", &frame(0x91, b"{}"), 1002).await?;
    // RSV1 marks a compressed message, and no compression was agreed. This is `{}`, compressed.
    closes(cx, "a compressed frame", &frame(0xc1, &[0xaa, 0xae, 0x05, 0x00]), 1002).await
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

/// Size of a message that no client of signaling needs: 2 MiB.
const OVERSIZE_BYTES: usize = 2 * 1024 * 1024;
/// The longest message that the case sends, for dialects that allow longer ones.
const OVERSIZE_BYTES_MAX: usize = 16 * 1024 * 1024;

async fn oversize(cx: &mut Cx) -> Result<(), Stop> {
    let limit = cx.file().signals.bytes_max;
    // A server need not refuse a message that is at most twice as long as the limit.
    let payload_bytes = limit.map_or(OVERSIZE_BYTES, |max| OVERSIZE_BYTES.max(max * 2 + 1));
    if payload_bytes > OVERSIZE_BYTES_MAX {
        return Err(Stop::Unsupported("the dialect allows messages that are longer than the suite sends".to_owned()));
    }
    let size = match payload_bytes {
        OVERSIZE_BYTES => "2 MiB".to_owned(),
        longer => format!("{longer} bytes"),
    };
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let mark = ben.received.len();
    let large = signal(cx, &ana, &ben, &"x".repeat(payload_bytes))?;
    ana.command(Command::Raw(frame(first_byte(cx), large.as_bytes()), "a signal that is too long"));
    let word = cx.word("after");
    ana.send_word(&ben, &word);
    let what = format!("ana's signal after a message of {size}");
    let mut ended = tokio::select! { biased;
        received = ben.until(&what, |event| event.has_word(&word)) => received.map(|_| None),
        end = ana.ended() => Ok(Some(end)),
    };
    // A server may close the room with its first member: then ben's connection ends because ana's does.
    if ended.is_err() && ben.end.is_some() {
        ended = ana.ended_in_time().await.map_or(ended, |end| Ok(Some(end)));
    }
    let mut ended = ended?;
    let declares = &cx.file().declares;
    // Before it closes the connection, a server may still handle what has arrived already.
    if ended.is_none() && declares.binds(Situation::Oversize) && declares.oversize == Reaction::Closed {
        ended = ana.ended_in_time().await;
    }
    // A fence shows when the server has handled everything, where ana's close does not also remove ben from the room.
    if ended.is_some() && ben.end.is_none() && cx.file().roles.is_none() && !cx.file().calls.needed {
        ana = cx.join("ana", &room).await?;
        let fence = match cx.settle(&mut ana, &mut ben).await {
            Ok(()) => cx.fence(&mut ana, &mut [&mut ben]).await,
            Err(stop) => Err(stop),
        };
        if let Err(stop) = fence
            && !cx.first_member_takes_the_room_along().await?
        {
            return Err(stop.into_setup());
        }
    }
    ben.catch_up();
    let large =
        |event: &Event| event.is_signal() && event.data.as_ref().is_some_and(|data| data.len() > payload_bytes / 2);
    match limit {
        Some(max) => {
            let why = format!("received a signal of {size}; the dialect's limit is {} KiB", max / 1024);
            ben.never_received_since(mark, &why, large)?;
        }
        None if ben.count(large) > 0 => {
            cx.acceptable("a signal of 2 MiB is relayed; no client needs that, and it costs memory for each receiver");
            return Ok(());
        }
        None => {}
    }
    let notified = ana.count(Event::is_error) > 0;
    let what = format!("a message of {size}");
    match &ended {
        // The size of a frame may have a limit of its own, above that of a message.
        Some(End::Closed(Some(1009))) if limit.is_none() || cx.file().declares.binds(Situation::Oversize) => {}
        ended => cx.reaction(&what, Situation::Oversize, notified, ended.as_ref())?,
    }
    Ok(())
}
