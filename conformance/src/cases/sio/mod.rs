//! Engine.IO 4 and Socket.IO 5.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::case::Level::{Declared, Must};
use crate::case::{Case, Citation};
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::{Act, Feature, Id, Operation};
use crate::entry::Connects;
use crate::framing::error::TransportError;
use crate::framing::http::{Request, Response};
use crate::stop::Stop;
use crate::target::Target;

mod limits;
mod polling;
mod requests;

use polling::Session;

const OPEN: &[&str] = &["sio/open-fields"];
/// Separates the packets of a payload.
const SEPARATOR: &str = "\u{1e}";

/// A rule that holds for both transports.
const MANDATORY: Citation = Citation {
    section: "Engine.IO protocol 4, Query parameters",
    url: "https://github.com/socketio/engine.io-protocol",
    quote: "If a mandatory query parameter is missing, then the server MUST respond with an HTTP 400 error status.",
};

const CASES: &[&Case] = &[
    &Case::new(
        "sio/open-fields",
        Must,
        "The first packet opens the session with everything a client needs.",
        run!(open_fields),
    )
    .requires(&[Feature::SocketIo]),
    &Case::new(
        "sio/bad-eio",
        Must,
        "An unsupported or missing protocol version is refused with HTTP 400.",
        run!(bad_eio),
    )
    .cites(&[MANDATORY])
    .requires(&[Feature::SocketIo]),
    &Case::new(
        "sio/ping-timeout",
        Must,
        "A client that does not answer pings is closed within the time announced in the first packet.",
        run!(ping_timeout),
    )
    .needs(&["sio/open-fields"])
    .requires(&[Feature::SocketIo])
    .slow(),
    &Case::new(
        "sio/upgrade",
        Must,
        "A session moves from HTTP polling to a WebSocket without losing anything.",
        run!(upgrade),
    )
    .needs(&["sio/open-fields"])
    .requires(&[Feature::SocketIo]),
    &Case::new(
        "sio/ping",
        Must,
        "The server pings at the interval announced in the first packet, and a client that answers stays connected.",
        run!(ping),
    )
    .needs(&["sio/open-fields"])
    .requires(&[Feature::SocketIo])
    .slow(),
    &Case::new("sio/connect", Must, "CONNECT is answered with a unique id.", run!(connect))
        .needs(&["sio/open-fields"])
        .requires(&[Feature::SocketIo]),
    &Case::new(
        "sio/disconnect",
        Must,
        "A client that disconnects from the namespace receives no more of its events.",
        run!(disconnect),
    )
    .needs(&["sio/open-fields"])
    .requires(&[Feature::SocketIo, Feature::Broadcast, Feature::EventNames]),
    &Case::new("sio/sid-reuse", Must, "An unknown session is refused with HTTP 400.", run!(sid_reuse))
        .needs(&["sio/open-fields"])
        .requires(&[Feature::SocketIo]),
    &Case::new(
        "sio/unknown-namespace",
        Must,
        "A namespace that does not exist is refused with CONNECT_ERROR, and the session stays.",
        run!(unknown_namespace),
    )
    .needs(&["sio/open-fields"])
    .requires(&[Feature::SocketIo]),
    &Case::new(
        "sio/event-before-connect",
        Must,
        "An event before CONNECT has no effect and closes the session.",
        run!(event_before_connect),
    )
    .needs(&["sio/open-fields"])
    .requires(&[Feature::SocketIo, Feature::EventNames])
    .alone(),
    &Case::new("sio/binary-ack", Declared, "An event that requests an acknowledgement gets one.", run!(binary_ack))
        .needs(&["sio/open-fields"])
        .requires(&[Feature::SocketIo, Feature::EventNames])
        .alone(),
    &Case::new(
        "sio/bad-packet",
        Must,
        "An invalid packet closes the session and affects nobody else.",
        run!(bad_packet),
    )
    .needs(&["sio/open-fields"])
    .requires(&[Feature::SocketIo])
    .alone(),
];

/// All cases of the group, in the order of the catalogue.
pub(super) fn all() -> Vec<&'static Case> {
    [CASES, polling::CASES, requests::CASES, limits::CASES].concat()
}

/// The response to a request of the polling transport, or why there is none.
async fn raw_poll(
    cx: &Cx,
    who: &str,
    method: &str,
    query: &str,
    body: Option<&str>,
) -> Result<Response, TransportError> {
    let headers = vec![("Content-Type", "text/plain;charset=UTF-8".to_owned())];
    cx.fetch(who, &Request { method, path: path(cx, query), headers, body }).await
}

/// Like [`raw_poll`]; no response is a failure.
async fn poll(cx: &Cx, who: &str, method: &str, query: &str, body: Option<&str>) -> Result<Response, Stop> {
    let response = raw_poll(cx, who, method, query, body).await;
    response.map_err(|error| Stop::fail(format!("{method} {}: {error}", path(cx, query))))
}

/// The path of the server's URL, with another query.
fn path(cx: &Cx, query: &str) -> String {
    let base = Target::path_of(cx.env.net.target.url());
    format!("{}?{query}", base.split('?').next().unwrap_or(&base))
}

/// Opens a session over polling; returns the content of its first packet.
async fn open(cx: &Cx, who: &str) -> Result<Value, Stop> {
    let response = poll(cx, who, "GET", "EIO=4&transport=polling", None).await?;
    if response.status != 200 {
        return Err(Stop::fail(format!(
            "a handshake over polling is answered with HTTP {}, expected 200",
            response.status
        )));
    }
    let packet = response.body.split(SEPARATOR).next().unwrap_or_default();
    let open = packet.strip_prefix('0').and_then(|json| serde_json::from_str(json).ok());
    open.ok_or_else(|| Stop::fail(format!("the first packet does not open a session: {packet}")))
}

/// A WebSocket whose packets the suite neither decodes nor answers.
async fn raw(cx: &Cx, name: &str, query: &str) -> Result<Peer, Stop> {
    let client = cx.log.client(name);
    let connects = Connects { path: path(cx, query), ..Connects::default() };
    let link = cx.env.connector.open(&cx.log, client, &connects, &cx.cookies(name), None).await;
    let link = link.map_err(|error| Stop::fail(error.to_string()))?;
    Ok(Peer::on(link, &cx.env, &cx.log, name, client))
}

/// A WebSocket with an open session, and the content of its first packet.
async fn opened(cx: &Cx, name: &str) -> Result<(Peer, Value), Stop> {
    let mut peer = raw(cx, name, "EIO=4&transport=websocket").await?;
    let open =
        peer.until_received("the packet that opens the session", |received| received.text.starts_with('0')).await?;
    let open =
        serde_json::from_str(&open.text[1..]).map_err(|_| Stop::at("the first packet contains no JSON", open.line))?;
    Ok((peer, open))
}

/// A WebSocket connected to the default namespace.
pub(super) async fn connected(cx: &Cx, name: &str) -> Result<Peer, Stop> {
    let (mut peer, _) = opened(cx, name).await?;
    peer.send("40");
    peer.until_received("the answer to CONNECT", |received| received.text.starts_with("40")).await?;
    Ok(peer)
}

/// Checks that what was sent has closed the session: a packet sent after it is not answered. The end of the connection
/// alone would prove nothing, because it also ends for unanswered pings.
async fn closes(peer: &mut Peer, what: &str) -> Result<(), Stop> {
    peer.send("40/glare-nowhere,");
    match peer.until_received("an answer", |received| received.text.starts_with("44")).await {
        Ok(received) => Err(Stop::at(format!("{what} does not close the session"), received.line)),
        Err(_) if peer.end.is_some() => Ok(()),
        Err(_) => Err(Stop::fail(format!("after {what}, the session is neither closed nor usable"))),
    }
}

async fn open_fields(cx: &mut Cx) -> Result<(), Stop> {
    let (_peer, over_websocket) = opened(cx, "ana").await?;
    for (open, transport, upgrades) in [(open(cx, "ana").await?, "polling", true), (over_websocket, "WebSocket", false)]
    {
        let wrong =
            |field: &str, want: &str| Err(Stop::fail(format!("over {transport}, `{field}` is not {want}: {open}")));
        if open["sid"].as_str().is_none_or(str::is_empty) {
            return wrong("sid", "a string");
        }
        for field in ["pingInterval", "pingTimeout", "maxPayload"] {
            if open[field].as_u64().is_none_or(|number| number == 0) {
                return wrong(field, "a number");
            }
        }
        let Some(list) = open["upgrades"].as_array() else { return wrong("upgrades", "a list") };
        if upgrades && !list.iter().any(|upgrade| upgrade == "websocket") {
            cx.acceptable("polling offers no upgrade to WebSocket");
        }
        if !upgrades && !list.is_empty() {
            return wrong("upgrades", "empty");
        }
    }
    Ok(())
}

async fn bad_eio(cx: &mut Cx) -> Result<(), Stop> {
    for version in ["3", "5", "abc"] {
        let response = poll(cx, "ana", "GET", &format!("EIO={version}&transport=polling"), None).await?;
        if response.status == 400 {
            continue;
        }
        if version == "3" && response.status == 200 {
            cx.acceptable("the server supports Engine.IO 3 too");
            continue;
        }
        return Err(Stop::fail(format!("EIO={version} is answered with HTTP {}, expected 400", response.status)));
    }
    let response = poll(cx, "ana", "GET", "transport=polling", None).await?;
    if response.status != 400 {
        return Err(Stop::fail(format!(
            "a handshake without EIO is answered with HTTP {}, expected 400",
            response.status
        )));
    }
    let response = poll(cx, "ana", "GET", "EIO=4&transport=carrier-pigeon", None).await?;
    if response.status == 400 {
        Ok(())
    } else {
        Err(Stop::fail(format!("an unknown transport is answered with HTTP {}, expected 400", response.status)))
    }
}

/// The time within which the server drops a silent client, as its first packet announces.
fn announced(open: &Value) -> Duration {
    let field = |name: &str| open[name].as_u64().unwrap_or_default();
    Duration::from_millis(field("pingInterval").saturating_add(field("pingTimeout")))
}

async fn ping_timeout(cx: &mut Cx) -> Result<(), Stop> {
    let (mut peer, open) = opened(cx, "ana").await?;
    peer.send("40");
    let time = announced(&open);
    // This WebSocket does not answer Engine.IO pings.
    match timeout(time.saturating_add(cx.env.net.patience), peer.ended()).await {
        Ok(_) => Ok(()),
        Err(_) => {
            let time = time.as_millis();
            Err(Stop::fail(format!("a client that answers no pings is not disconnected within {time} ms")))
        }
    }
}

async fn ping(cx: &mut Cx) -> Result<(), Stop> {
    let (mut ana, open) = opened(cx, "ana").await?;
    ana.send("40");
    // A server may disconnect a client that has not joined before the second ping.
    let (room, name) = (cx.room(), cx.word("ana"));
    ana.id = Id(quoted(&name));
    if let Ok(join) = ana.message(Operation::Join, &Act { room: &room, name: Some(&name), ..Act::default() }) {
        ana.send(format!("42{join}"));
    }
    let interval = Duration::from_millis(open["pingInterval"].as_u64().unwrap_or_default());
    // Two rounds: if the server did not accept the first pong, it closes the connection before the second ping.
    for _ in 0..2 {
        let limit = tokio::time::Instant::now() + interval + cx.env.net.patience;
        loop {
            match ana.until_received("a ping", |received| received.text == "2").await {
                Ok(_) => break,
                Err(stop) if ana.end.is_some() || tokio::time::Instant::now() >= limit => return Err(stop),
                Err(_) => {}
            }
        }
        ana.send("3");
    }
    ana.send("40/glare-nowhere,");
    ana.until_received("an answer after two pongs", |received| received.text.starts_with("44")).await.map(drop)
}

async fn connect(cx: &mut Cx) -> Result<(), Stop> {
    let mut ids = Vec::new();
    for name in ["ana", "ben"] {
        let (mut peer, _) = opened(cx, name).await?;
        peer.send("40");
        let reply = peer.until_received("the answer to CONNECT", |received| received.text.starts_with("40")).await?;
        let reply_sid = serde_json::from_str::<Value>(&reply.text[2..]).ok();
        let Some(sid) =
            reply_sid.and_then(|reply| reply["sid"].as_str().map(str::to_owned)).filter(|sid| !sid.is_empty())
        else {
            return Err(Stop::at("CONNECT is answered without a `sid`", reply.line));
        };
        if ids.contains(&sid) {
            return Err(Stop::at("two clients received the same `sid`", reply.line));
        }
        ids.push(sid);
        cx.keep(peer);
    }
    Ok(())
}

async fn disconnect(cx: &mut Cx) -> Result<(), Stop> {
    let mut ana = connected(cx, "ana").await?;
    let ben = connected(cx, "ben").await?;
    let mut cleo = connected(cx, "cleo").await?;
    let name = cx.event_name()?;
    ana.send("41");
    // A server may close a connection that is in no namespace.
    let is_there = |received: &crate::client::Received| received.text.starts_with("44");
    ana.send("40/glare-nowhere,");
    let stays = ana.until_received("an answer", is_there).await.is_ok();
    let word = cx.word("after-disconnect");
    ben.send(format!(r#"42["{name}","{word}"]"#));
    cleo.until_received("ben's event", |received| received.text.contains(&word)).await?;
    if stays {
        ana.send("40/glare-nowhere,");
        ana.until_received("an answer", is_there).await?;
    }
    match ana.received.iter().find(|received| received.text.contains(&word)) {
        Some(received) => {
            Err(Stop::at("ana has disconnected from the namespace, but received one of its events", received.line))
        }
        None => Ok(()),
    }
}

async fn upgrade(cx: &mut Cx) -> Result<(), Stop> {
    let mut session = Session::connect(cx, "ana").await?;
    let mut ben = connected(cx, "ben").await?;
    let mut cleo = connected(cx, "cleo").await?;
    let (polled, waiting, word) = (cx.word("polled"), cx.word("waiting"), cx.word("upgraded"));
    let event = |word: &str| cx.event_names().first().map(|name| format!(r#"42["{name}","{word}"]"#));
    if let Some(event) = event(&polled).filter(|_| cx.has(Feature::Broadcast)) {
        ben.send(event);
        session.until(cx, "ben's event", |packet| packet.contains(&polled)).await?;
    }
    let mut peer = session.websocket(cx).await?;
    if let Some(event) = event(&waiting).filter(|_| cx.has(Feature::Broadcast)) {
        // Cleo has received it, so it now waits for a poll of ana's session, and none comes.
        ben.send(event);
        cleo.until_received("ben's event", |received| received.text.contains(&waiting)).await?;
    }
    peer.send("5");
    if !cx.has(Feature::Broadcast) {
        // Without broadcasts, whom an event reaches depends on the dialect; an answer to a packet shows that the
        // session is alive.
        peer.send("40/glare-nowhere,");
        return peer
            .until_received("an answer over the new transport", |received| received.text.starts_with("44"))
            .await
            .map(drop);
    }
    let name = cx.event_name()?;
    peer.until_received("the event that was sent during the upgrade", |received| received.text.contains(&waiting))
        .await?;
    peer.send(format!(r#"42["{name}","{word}"]"#));
    ben.until_received("ana's event over the new transport", |received| received.text.contains(&word)).await?;
    let back = cx.word("to-the-upgraded");
    ben.send(format!(r#"42["{name}","{back}"]"#));
    peer.until_received("ben's event over the new transport", |received| received.text.contains(&back)).await?;
    for (word, most) in [(polled, 0), (waiting, 1)] {
        if let Some(again) = peer.received.iter().filter(|received| received.text.contains(&word)).nth(most) {
            return Err(Stop::at("a client received an event twice during the upgrade", again.line));
        }
    }
    Ok(())
}

async fn sid_reuse(cx: &mut Cx) -> Result<(), Stop> {
    let unknown = poll(cx, "ana", "GET", "EIO=4&transport=polling&sid=glare-nobody", None).await?;
    if unknown.status != 400 {
        return Err(Stop::fail(format!("an unknown session is answered with HTTP {}, expected 400", unknown.status)));
    }
    let posted = poll(cx, "ana", "POST", "EIO=4&transport=polling&sid=glare-nobody", Some("40")).await?;
    if posted.status != 400 {
        return Err(Stop::fail(format!(
            "a packet for an unknown session is answered with HTTP {}, expected 400",
            posted.status
        )));
    }
    // Refusing the handshake is right, and so is closing the connection.
    let Ok(mut peer) = raw(cx, "ana", "EIO=4&transport=websocket&sid=glare-nobody").await else { return Ok(()) };
    peer.send("2probe");
    match peer.until_received("an answer", |received| received.text.starts_with(['0', '3'])).await {
        Ok(received) => Err(Stop::at("a WebSocket for an unknown session is served", received.line)),
        Err(_) if peer.end.is_some() => Ok(()),
        Err(_) => Err(Stop::fail("a WebSocket for an unknown session is neither refused nor closed")),
    }
}

async fn unknown_namespace(cx: &mut Cx) -> Result<(), Stop> {
    let (mut peer, _) = opened(cx, "ana").await?;
    peer.send("40/glare-nowhere,");
    let refused = peer
        .until_received("an answer", |received| received.text.starts_with("44") || received.text.starts_with("40"))
        .await?;
    if refused.text.starts_with("40") {
        return Err(Stop::at("a namespace that does not exist accepts a client", refused.line));
    }
    let reason =
        refused.text.strip_prefix("44/glare-nowhere,").and_then(|json| serde_json::from_str::<Value>(json).ok());
    if !reason.is_some_and(|reason| reason["message"].is_string()) {
        let why = "CONNECT_ERROR does not name the namespace, or has no object with a `message`";
        return Err(Stop::at(why, refused.line));
    }
    peer.send("40");
    peer.until_received("the answer to CONNECT for the default namespace", |received| received.text.starts_with("40{"))
        .await
        .map(drop)
}

async fn event_before_connect(cx: &mut Cx) -> Result<(), Stop> {
    let mut ben = connected(cx, "ben").await?;
    let (mut ana, _) = opened(cx, "ana").await?;
    let word = cx.word("too-early");
    for name in cx.event_names() {
        ana.send(format!(r#"42["{name}","{word}"]"#));
    }
    closes(&mut ana, "an event before CONNECT").await?;
    ben.catch_up();
    match ben.received.iter().find(|received| received.text.contains(&word)) {
        Some(received) => Err(Stop::at("ben received an event from a client that has not connected", received.line)),
        None => Ok(()),
    }
}

async fn binary_ack(cx: &mut Cx) -> Result<(), Stop> {
    let mut ana = connected(cx, "ana").await?;
    let name = cx.event_name()?;
    ana.send(format!(r#"4217["{name}",{{}}]"#));
    let ack = ana.until_received("an acknowledgement", |received| received.text.starts_with("43"));
    match timeout(cx.env.net.patience / 4, ack).await {
        Ok(Ok(ack)) if !ack.text.starts_with("4317[") => {
            Err(Stop::at("the acknowledgement of event 17 has another id", ack.line))
        }
        Ok(ack) => ack.map(drop),
        Err(_) => {
            cx.acceptable("an event that requests an acknowledgement gets none");
            Ok(())
        }
    }
}

/// For a packet after which a session ended, but only when another packet had followed: checks that the first packet
/// alone ends a session promptly.
async fn closes_alone(cx: &Cx, packet: &str, what: &str) -> Result<(), Stop> {
    let mut ben = connected(cx, "ben").await?;
    let before = ben.received.len();
    ben.send(packet);
    // A server that still pings has not closed the session. It closes it later, because the pings are not answered.
    let is_prompt =
        ben.ended_in_time().await.is_some() && ben.received[before..].iter().all(|received| received.text != "2");
    let late = || Stop::fail(format!("{what} closes the session only when another packet follows"));
    if is_prompt { Ok(()) } else { Err(late()) }
}

async fn bad_packet(cx: &mut Cx) -> Result<(), Stop> {
    // What is neither a type nor JSON of the right form is a bad packet to every server. Of the others, some read more
    // than is there.
    for (packet, must_close) in [
        ("9", true),
        ("x", true),
        ("4", false),
        ("49", true),
        ("4abc", true),
        ("42{", true),
        ("42{}", true),
        ("42\"event\"", false),
        ("42[]", false),
        ("4\u{0}", false),
    ] {
        let mut ana = connected(cx, "ana").await?;
        ana.send(packet);
        let what = format!("the packet `{}`", packet.escape_debug());
        if ana.ended_soon().await && ana.end.is_some() {
            continue;
        }
        // The server may also ignore the packet, if the session goes on.
        ana.send("40/glare-nowhere,");
        let answered = ana.until_received("an answer", |received| received.text.starts_with("44")).await;
        if ana.end.is_some() {
            closes_alone(cx, packet, &what).await?;
            continue;
        }
        answered.map_err(|stop| {
            stop.reworded(|why| format!("after {what}, the session is neither closed nor usable: {why}"))
        })?;
        if must_close {
            return Err(Stop::fail(format!("{what} is ignored, and the session goes on")));
        }
        cx.acceptable(format!("{what} is ignored"));
    }
    Ok(())
}
