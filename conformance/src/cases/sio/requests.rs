//! The HTTP requests of Engine.IO: what is refused, which pages may read the answers, and the end of polling.

use serde_json::Value;

use super::polling::Session;
use super::{OPEN, SEPARATOR, path, poll, raw, raw_poll};
use crate::case::Case;
use crate::case::Level::{Declared, Must};
use crate::cases::http::cors::{CREDENTIALS, ORIGIN, OTHER_ORIGIN, follows_the_rules, may_read, origin, permits};
use crate::cases::http::send;
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::framing::error::{HttpError, TransportError};
use crate::stop::Stop;

/// How often a session that should have ended is polled: the first polls may return what waited for the client.
const POLLS_MAX: usize = 5;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "sio/error-codes",
        Declared,
        "A refused request is answered with the code and the message of its reason, as JSON.",
        run!(error_codes),
    )
    .needs(&["sio/bad-eio", "sio/sid-reuse"])
    .requires(&[Feature::SocketIo]),
    &Case::new(
        "sio/cors",
        Declared,
        "A page of any origin may open a session over polling, and may read why it is refused.",
        run!(cors),
    )
    .cites(&[CREDENTIALS])
    .needs(OPEN)
    .requires(&[Feature::SocketIo, Feature::Cors]),
    &Case::new(
        "sio/after-upgrade",
        Must,
        "After the upgrade to a WebSocket, polls, posts and another WebSocket of the session are refused, and the session stays.",
        run!(after_upgrade),
    )
    .needs(&["sio/upgrade"])
    .requires(&[Feature::SocketIo]),
    &Case::new(
        "sio/abandoned-upgrade",
        Must,
        "A session whose upgrade was begun but not completed continues to poll.",
        run!(abandoned_upgrade),
    )
    .needs(&["sio/upgrade", "sio/polling"])
    .requires(&[Feature::SocketIo])
    .alone(),
    &Case::new("sio/bad-post", Must, "A payload with an invalid packet closes the session.", run!(bad_post))
        .needs(&["sio/polling"])
        .requires(&[Feature::SocketIo])
        .alone(),
];

async fn error_codes(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.file().connection.error_codes {
        return Err(Stop::Unsupported("the dialect does not declare the codes of refused requests".to_owned()));
    }
    for (what, method, query, code, message) in [
        ("a handshake of version 3", "GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("an unknown transport", "GET", "EIO=4&transport=carrier-pigeon", 0, "Transport unknown"),
        ("an unknown session", "GET", "EIO=4&transport=polling&sid=glare-nobody", 1, "Session ID unknown"),
        ("a handshake by POST", "POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
    ] {
        let answer = poll(cx, "ana", method, query, (method == "POST").then_some("40")).await?;
        if answer.status == 200 && code == 5 {
            cx.acceptable("the server supports Engine.IO 3 too");
            continue;
        }
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if answer.status != 400 || body["code"] != code || body["message"] != message {
            let (status, body) = (answer.status, answer.body);
            let expected = format!(r#"HTTP 400 and {{"code":{code},"message":"{message}"}}"#);
            return Err(Stop::fail(format!("{what} is answered with HTTP {status} and {body}, expected {expected}")));
        }
        if !answer.is_json() {
            return Err(Stop::fail(format!("{what} is answered with JSON, but without the content type of JSON")));
        }
    }
    Ok(())
}

async fn cors(cx: &mut Cx) -> Result<(), Stop> {
    for (what, query) in [
        ("a handshake over polling", "EIO=4&transport=polling"),
        ("a poll of an unknown session", "EIO=4&transport=polling&sid=glare-nobody"),
        ("an unknown transport", "EIO=4&transport=carrier-pigeon"),
    ] {
        let path = path(cx, query);
        let one = send(cx, "GET", &path, vec![origin(ORIGIN)], None).await?;
        may_read(what, &one)?;
        follows_the_rules(what, &one, &send(cx, "GET", &path, vec![origin(OTHER_ORIGIN)], None).await?)?;
    }
    // Browsers ask first only if the client adds headers, as many do for their tokens.
    permits(cx, &path(cx, "EIO=4&transport=polling"), "POST", "authorization,content-type").await
}

/// Opens a session over polling, connects it to the default namespace, and opens a WebSocket that probes it.
async fn probed(cx: &Cx) -> Result<(Session, Peer), Stop> {
    let session = Session::connect(cx, "ana").await?;
    let peer = session.websocket(cx).await?;
    Ok((session, peer))
}

async fn after_upgrade(cx: &mut Cx) -> Result<(), Stop> {
    let (session, mut peer) = probed(cx).await?;
    peer.send("5");
    peer.send("40/glare-nowhere,");
    peer.until_received("an answer over the new transport", |received| received.text.starts_with("44")).await?;
    for (method, body) in [("GET", None), ("POST", Some("3"))] {
        let answer = poll(cx, "ana", method, &session.query, body).await?;
        if answer.status != 400 {
            let status = answer.status;
            return Err(Stop::fail(format!(
                "after the upgrade, {method} is answered with HTTP {status}, expected 400"
            )));
        }
    }
    let again = raw(cx, "again", &session.query.replace("transport=polling", "transport=websocket")).await;
    if let Ok(mut again) = again {
        again.send("2probe");
        if let Ok(received) = again.until_received("an answer", |received| received.text == "3probe").await {
            return Err(Stop::at("after the upgrade, a second WebSocket of the session is served", received.line));
        }
        if again.end.is_none() {
            return Err(Stop::fail(
                "after the upgrade, a second WebSocket of the session is neither refused nor closed",
            ));
        }
    }
    peer.send("40/glare-neither,");
    let answer = peer.until_received("an answer after other requests of its session were refused", |received| {
        received.text.starts_with("44/glare-neither")
    });
    answer.await.map(drop)
}

async fn abandoned_upgrade(cx: &mut Cx) -> Result<(), Stop> {
    let (mut session, peer) = probed(cx).await?;
    peer.hang_up();
    session.send(cx, &["40/glare-nowhere,"]).await?;
    let goes_on = session.until(cx, "an answer after an upgrade that was not completed", |packet| {
        packet.starts_with("44/glare-nowhere")
    });
    goes_on.await
}

async fn bad_post(cx: &mut Cx) -> Result<(), Stop> {
    for payload in ["abc", "4abc"] {
        let ana = Session::connect(cx, "ana").await?;
        // The server may answer the POST with an error, or end its connection.
        let _ = raw_poll(cx, "ana", "POST", &ana.query, Some(payload)).await;
        let mut ended = false;
        let mut last = String::new();
        for _ in 0..POLLS_MAX {
            match raw_poll(cx, "ana", "GET", &ana.query, None).await {
                Ok(answer) if answer.status == 200 => {
                    ended = answer.body.split(SEPARATOR).any(|packet| packet == "1");
                    // Without an answer to its ping, a server that ignored the payload would close the session too.
                    if answer.body.split(SEPARATOR).any(|packet| packet == "2") {
                        let _ = raw_poll(cx, "ana", "POST", &ana.query, Some("3")).await;
                    }
                    last = answer.body;
                }
                Ok(_) | Err(TransportError::Http(HttpError::Truncated)) => ended = true,
                Err(error) => return Err(Stop::fail(format!("a poll after the payload {payload}: {error}"))),
            }
            if ended {
                break;
            }
        }
        if !ended {
            return Err(Stop::fail(format!(
                "the payload {payload} does not close the session: a poll returned {last}"
            )));
        }
    }
    Ok(())
}
