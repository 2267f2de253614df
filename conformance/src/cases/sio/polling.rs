//! Engine.IO over HTTP long-polling.

use serde_json::Value;

use super::{OPEN, SEPARATOR, connected, open, opened, poll, raw, raw_poll};
use crate::case::Case;
use crate::case::Level::{Declared, Must};
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::framing::error::{HttpError, TransportError};
use crate::framing::link::Command;
use crate::stop::Stop;

/// Without the wanted packet, the case gives up after this many polls.
const POLLS_MAX: usize = 50;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "sio/polling",
        Must,
        "Over polling, each packet of a payload is handled, and packets for a client arrive once, in order, and at that client only.",
        run!(polling),
    )
    .needs(OPEN)
    .requires(&[Feature::SocketIo])
    .alone(),
    &Case::new("sio/poll-overlap", Must, "Two polls of a session at the same time are refused.", run!(overlap))
        .needs(OPEN)
        .requires(&[Feature::SocketIo])
        .alone(),
    &Case::new("sio/close", Must, "A session that its client closes ends, on either transport.", run!(close))
        .needs(OPEN)
        .requires(&[Feature::SocketIo])
        .alone(),
    &Case::new(
        "sio/attachments",
        Declared,
        "The attachments of an event follow it, complete and in order; over polling as base64.",
        run!(attachments),
    )
    .needs(&["sio/polling"])
    .requires(&[Feature::SocketIo, Feature::Broadcast, Feature::EventNames])
    .alone(),
];

/// A session over polling, connected to the default namespace.
pub(super) struct Session {
    /// The name of its client.
    who: &'static str,
    /// The first packet.
    open: Value,
    /// The query of each request.
    pub(super) query: String,
    /// Every packet that arrived.
    pub(super) received: Vec<String>,
}

impl Session {
    pub(super) async fn connect(cx: &Cx, who: &'static str) -> Result<Self, Stop> {
        let open = open(cx, who).await?;
        let sid = open["sid"].as_str().unwrap_or_default();
        let query = format!("EIO=4&transport=polling&sid={sid}");
        let mut session = Self { who, open, query, received: Vec::new() };
        session.send(cx, &["40"]).await?;
        session.until(cx, "the answer to CONNECT", |packet| packet.starts_with("40")).await?;
        Ok(session)
    }

    /// Checks that the server offers to change to a WebSocket, and opens that. The change is not begun yet.
    pub(super) async fn websocket(&self, cx: &Cx) -> Result<Peer, Stop> {
        let upgrades = self.open["upgrades"].as_array();
        if upgrades.is_none_or(|upgrades| upgrades.iter().all(|upgrade| upgrade != "websocket")) {
            return Err(Stop::Unsupported("polling offers no upgrade to WebSocket".to_owned()));
        }
        let mut peer = raw(cx, self.who, &self.query.replace("transport=polling", "transport=websocket")).await?;
        peer.send("2probe");
        peer.until_received("`3probe`", |received| received.text == "3probe").await?;
        Ok(peer)
    }

    /// Posts packets in a single request.
    pub(super) async fn send(&self, cx: &Cx, packets: &[&str]) -> Result<(), Stop> {
        let sent = poll(cx, self.who, "POST", &self.query, Some(&packets.join(SEPARATOR))).await?;
        if sent.status == 200 {
            return Ok(());
        }
        Err(Stop::fail(format!(
            "a POST of {} packets is answered with HTTP {}, expected 200",
            packets.len(),
            sent.status
        )))
    }

    /// Polls until a wanted packet arrives. Answers pings meanwhile.
    pub(super) async fn until(&mut self, cx: &Cx, what: &str, wanted: impl Fn(&str) -> bool) -> Result<(), Stop> {
        for _ in 0..POLLS_MAX {
            let answer = poll(cx, self.who, "GET", &self.query, None).await?;
            if answer.status != 200 {
                return Err(Stop::fail(format!(
                    "a poll for {what} is answered with HTTP {}, expected 200",
                    answer.status
                )));
            }
            let packets: Vec<_> = answer.body.split(SEPARATOR).map(str::to_owned).collect();
            if packets.iter().any(|packet| packet == "2") {
                self.send(cx, &["3"]).await?;
            }
            let found = packets.iter().any(|packet| wanted(packet));
            self.received.extend(packets);
            if found {
                return Ok(());
            }
        }
        Err(Stop::fail(format!("{POLLS_MAX} polls did not return {what}")))
    }

    /// The positions of the packets with these words, among all that arrived.
    fn places(&self, words: &[String]) -> Vec<usize> {
        let with = |word: &str| -> Vec<usize> {
            let received = self.received.iter().enumerate();
            received.filter(|(_, packet)| packet.contains(word)).map(|(at, _)| at).collect()
        };
        words.iter().flat_map(|word| with(word)).collect()
    }
}

async fn polling(cx: &mut Cx) -> Result<(), Stop> {
    let mut ana = Session::connect(cx, "ana").await?;
    ana.send(cx, &["40/glare-nowhere,", "40/glare-neither,"]).await?;
    ana.until(cx, "the answer to the second packet of a payload", |packet| packet.starts_with("44/glare-neither"))
        .await?;
    if !ana.received.iter().any(|packet| packet.starts_with("44/glare-nowhere")) {
        return Err(Stop::fail("the first packet of a payload is not answered, but the second is"));
    }
    let Some(name) = cx.event_names().into_iter().next().filter(|_| cx.has(Feature::Broadcast)) else { return Ok(()) };
    let mut ben = Session::connect(cx, "ben").await?;
    let mut cleo = connected(cx, "cleo").await?;
    let words = ["one", "two", "three", "sentinel"].map(|about| cx.word(about));
    let events = words.clone().map(|word| format!(r#"42["{name}","{word}"]"#));
    ana.send(cx, &[&events[0], &events[1]]).await?;
    // Cleo has received it, so the server has handled it and it waits for ben's poll.
    cleo.until_received("the event that ana posted", |received| received.text.contains(&words[1])).await?;
    ben.until(cx, "the event that ana posted", |packet| packet.contains(&words[1])).await?;
    ana.send(cx, &[&events[2]]).await?;
    ben.until(cx, "the next event that ana posted", |packet| packet.contains(&words[2])).await?;
    ana.send(cx, &[&events[3]]).await?;
    ben.until(cx, "ana's sentinel", |packet| packet.contains(&words[3])).await?;
    let places = ben.places(&words);
    if places.len() != words.len() {
        let why =
            format!("ana posted {} events, but the polls returned {}: {:?}", words.len(), places.len(), ben.received);
        return Err(Stop::fail(why));
    }
    if !places.is_sorted() {
        return Err(Stop::fail(format!("the polls returned ana's events out of order: {:?}", ben.received)));
    }
    Ok(())
}

async fn overlap(cx: &mut Cx) -> Result<(), Stop> {
    let ana = Session::connect(cx, "ana").await?;
    let (one, other) =
        tokio::join!(raw_poll(cx, "ana", "GET", &ana.query, None), raw_poll(cx, "ana", "GET", &ana.query, None));
    // Ending the connection without a response counts as a refusal too.
    let refused = [&one, &other].iter().any(|answer| match answer {
        Ok(answer) => answer.status >= 400,
        Err(error) => matches!(error, TransportError::Http(HttpError::Truncated)),
    });
    if refused {
        Ok(())
    } else {
        Err(Stop::fail("two polls of a session waited at the same time, and neither was refused"))
    }
}

async fn close(cx: &mut Cx) -> Result<(), Stop> {
    let (mut ana, _) = opened(cx, "ana").await?;
    ana.send("1");
    // The protocol says of this packet only that a transport can be closed, and a client closes a WebSocket by itself.
    ana.send("40/glare-nowhere,");
    match ana.until_received("an answer", |received| received.text.starts_with("44")).await {
        Ok(_) => {
            cx.acceptable("the packet `1` (close) over a WebSocket is ignored: the session ends with the connection")
        }
        Err(_) if ana.end.is_some() => {}
        Err(_) => return Err(Stop::fail("after the packet `1` (close), the session is neither closed nor usable")),
    }
    let ben = Session::connect(cx, "ben").await?;
    ben.send(cx, &["1"]).await?;
    let answer = poll(cx, "ben", "GET", &ben.query, None).await?;
    // The poll may still be answered, with a close or noop packet.
    if answer.status >= 400 || answer.body.split(SEPARATOR).all(|packet| matches!(packet, "1" | "6")) {
        return Ok(());
    }
    Err(Stop::fail(format!("a poll of a closed session is answered with {}", answer.body)))
}

async fn attachments(cx: &mut Cx) -> Result<(), Stop> {
    let name = cx.event_name()?;
    let mut ben = Session::connect(cx, "ben").await?;
    let ana = connected(cx, "ana").await?;
    let (word, after) = (cx.word("attached"), cx.word("sentinel"));
    let placeholder = |number: usize| format!(r#"{{"_placeholder":true,"num":{number}}}"#);
    ana.send(format!(r#"452-["{name}",["{word}",{},{}]]"#, placeholder(0), placeholder(1)));
    for attachment in [&b"\xff\x00first"[..], b"second"] {
        ana.command(Command::Binary(attachment.to_vec().into()));
    }
    ana.send(format!(r#"42["{name}","{after}"]"#));
    ben.until(cx, "the event that ana sent after one with attachments", |packet| packet.contains(&after)).await?;
    let at = ben.received.iter().position(|packet| packet.contains(&word));
    let at = at.ok_or_else(|| Stop::fail("an event with attachments did not arrive, but the event after it did"))?;
    if !ben.received[at].starts_with("452-") {
        return Err(Stop::fail(format!("an event with two attachments arrived as {}", ben.received[at])));
    }
    // The bytes 0xff, 0 and `first` in base64; then `second`.
    let wanted = ["b/wBmaXJzdA==", "bc2Vjb25k"];
    let found = ben.received.get(at + 1..at + 3).unwrap_or_default();
    if found == wanted {
        return Ok(());
    }
    Err(Stop::fail(format!("an event with two attachments is followed by {found:?}, expected {wanted:?}")))
}
