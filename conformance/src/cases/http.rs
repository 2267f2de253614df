//! HTTP endpoints beside the signaling.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::case::Level::{Declared, Must, Should};
use crate::case::{Case, Citation};
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::framing::http::{Request, Response, fetch};
use crate::stop::Stop;

const ICE_SERVER: Citation = Citation {
    section: "W3C WebRTC §4.2.4",
    url: "https://www.w3.org/TR/webrtc/#rtciceserver-dictionary",
    quote: "The RTCIceServer dictionary is used to describe the STUN and TURN servers that can be used by the ICE Agent to establish a connection with a peer.",
};

pub(super) const CASES: &[&Case] = &[
    &Case::new("http/ice-schema", Must, "The ICE servers are listed as a browser expects them: a list of RTCIceServer.", run!(ice_schema))
        .cites(&[ICE_SERVER])
        .requires(&[Feature::IceEndpoint]),
    &Case::new("http/health", Declared, "The server reports that it is healthy.", run!(health))
        .requires(&[Feature::HealthEndpoint]),
    &Case::new("http/status", Declared, "The status lists a room while it has members, and not afterwards.", run!(status))
        .needs(&["room/join-ack"])
        .requires(&[Feature::StatusEndpoint, Feature::Rooms]),
    &Case::new("http/kick", Declared, "A kicked client is disconnected; kicking nobody, or an unreadable request, is refused.", run!(kick))
        .needs(&["room/join-ack"])
        .requires(&[Feature::KickEndpoint, Feature::Ids]),
    &Case::new("http/not-found", Declared, "An unknown path is not answered with success.", run!(not_found))
        .requires(&[Feature::IceEndpoint]),
    &Case::new("http/method", Must, "A method that is not allowed is answered with a 405 that lists the allowed methods.", run!(method))
        .cites(&[Citation {
            section: "RFC 9110 §15.5.6",
            url: "https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6",
            quote: "The origin server MUST generate an Allow header field in a 405 response containing a list of the target resource's currently supported methods.",
        }])
        .requires(&[Feature::IceEndpoint]),
    &Case::new("http/cors", Declared, "A page of any origin may read the ICE servers.", run!(cors))
        .requires(&[Feature::IceEndpoint, Feature::Cors]),
    &Case::new("http/no-store", Should, "An answer that contains credentials must not be stored.", run!(no_store))
        .cites(&[Citation {
            section: "RFC 9111 §5.2.2.5",
            url: "https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.5",
            quote: "The no-store response directive indicates that a cache MUST NOT store any part of either the immediate request or the response and MUST NOT use the response to satisfy any other request.",
        }])
        .needs(&["http/ice-schema"])
        .requires(&[Feature::IceEndpoint]),
    &Case::new("http/credentials-usable", Must, "A TURN server is listed with a user name and a credential, which browsers require.", run!(credentials_usable))
        .needs(&["http/ice-schema"])
        .requires(&[Feature::IceEndpoint]),
];

async fn health(cx: &mut Cx) -> Result<(), Stop> {
    let path = cx.file().http.as_ref().and_then(|http| http.health.clone()).expect("the case requires it");
    let request = Request { method: "GET", path, headers: Vec::new(), body: None };
    let response = fetch(&cx.env.net, &cx.cookies("ana"), &request).await;
    match response {
        Ok(response) if response.status == 200 => Ok(()),
        Ok(response) => {
            Err(Stop::fail(format!("{} is answered with HTTP {}, expected 200", request.path, response.status)))
        }
        Err(why) => Err(Stop::fail(format!("{}: {why}", request.path))),
    }
}

async fn status(cx: &mut Cx) -> Result<(), Stop> {
    let path = cx.file().http.as_ref().and_then(|http| http.status.clone()).expect("the case requires it");
    let room = cx.room();
    let [ana, ben] = cx.members(&room, ["ana", "ben"]).await?;
    let answer = send(cx, "GET", &path, Vec::new(), None).await?;
    if answer.status == 401 {
        return Err(Stop::Unsupported(format!("{path} requires a token: use --bearer")));
    }
    if !answer.body.contains(&room) {
        return Err(Stop::fail(format!("{path} does not list a room with two members: {}", answer.body)));
    }
    ana.close().await;
    ben.close().await;
    let start = Instant::now();
    while send(cx, "GET", &path, Vec::new(), None).await?.body.contains(&room) {
        if start.elapsed() >= cx.env.net.patience {
            return Err(Stop::fail(format!("{path} still lists a room that everybody has left")));
        }
        tokio::time::sleep(cx.env.round_trip.max(Duration::from_millis(5))).await;
    }
    Ok(())
}

async fn kick(cx: &mut Cx) -> Result<(), Stop> {
    let http = cx.file().http.as_ref().and_then(|http| http.kick.as_ref()).expect("the case requires it");
    let (path, field) = (http.path.clone(), http.field.clone());
    let room = cx.room();
    let [mut ana, _ben] = cx.members(&room, ["ana", "ben"]).await?;
    let body = |id: &str| format!("{{{}:{id}}}", Value::from(&*field));
    let json = || vec![("Content-Type", "application/json".to_owned())];
    let nobody = send(cx, "POST", &path, json(), Some(&body("\"glare-nobody\""))).await?;
    if nobody.status == 401 {
        return Err(Stop::Unsupported(format!("{path} requires a token: use --bearer")));
    }
    if !(400..500).contains(&nobody.status) {
        return Err(Stop::fail(format!(
            "kicking a client that does not exist is answered with HTTP {}, expected 4xx",
            nobody.status
        )));
    }
    let broken = send(cx, "POST", &path, json(), Some("{")).await?;
    if !(400..500).contains(&broken.status) {
        return Err(Stop::fail(format!(
            "a kick whose body is not JSON is answered with HTTP {}, expected 4xx",
            broken.status
        )));
    }
    let kicked = send(cx, "POST", &path, json(), Some(&body(&ana.id.0))).await?;
    if !(200..300).contains(&kicked.status) {
        return Err(Stop::fail(format!(
            "kicking ana is answered with HTTP {}, expected 2xx: {}",
            kicked.status, kicked.body
        )));
    }
    match ana.ended_in_time().await {
        Some(_) => Ok(()),
        None => Err(Stop::fail("the connection of the kicked client is not closed")),
    }
}

async fn not_found(cx: &mut Cx) -> Result<(), Stop> {
    let path = cx.file().http.as_ref().and_then(|http| http.ice.clone()).expect("the case requires it");
    let path = format!("{path}-glare-nowhere");
    let answer = send(cx, "GET", &path, Vec::new(), None).await?;
    if !(200..300).contains(&answer.status) {
        return Ok(());
    }
    if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        cx.acceptable("an unknown path is answered with an HTML page");
        return Ok(());
    }
    Err(Stop::fail(format!("{path} is answered with HTTP {}, expected an error", answer.status)))
}

async fn method(cx: &mut Cx) -> Result<(), Stop> {
    let answer = get(cx, "DELETE", Vec::new()).await?;
    match answer.status {
        405 if answer.header("allow").is_some() => Ok(()),
        405 => Err(Stop::fail("the 405 response has no Allow header")),
        status @ 400..600 => {
            cx.acceptable(format!("DELETE is answered with HTTP {status}, not 405"));
            Ok(())
        }
        status => Err(Stop::fail(format!("DELETE of the ICE servers is answered with HTTP {status}, expected 405"))),
    }
}

/// Requests the endpoint of the ICE servers.
async fn get(cx: &Cx, method: &str, headers: Vec<(&str, String)>) -> Result<Response, Stop> {
    let path = cx.file().http.as_ref().and_then(|http| http.ice.clone()).expect("the case requires it");
    send(cx, method, &path, headers, None).await
}

async fn send(
    cx: &Cx,
    method: &str,
    path: &str,
    headers: Vec<(&str, String)>,
    body: Option<&str>,
) -> Result<Response, Stop> {
    let request = Request { method, path: path.to_owned(), headers, body };
    let response = cx.fetch("ana", &request).await;
    response.map_err(|why| Stop::fail(format!("{method} {}: {why}", request.path)))
}

async fn servers(cx: &Cx) -> Result<(Response, Vec<Value>), Stop> {
    let response = get(cx, "GET", Vec::new()).await?;
    if response.status != 200 {
        return Err(Stop::fail(format!(
            "the request for the ICE servers is answered with HTTP {}, expected 200",
            response.status
        )));
    }
    let body: Value = serde_json::from_str(&response.body)
        .map_err(|_| Stop::fail("the response with the ICE servers is not JSON"))?;
    // Either a configuration object or only the list.
    let list = body.get("iceServers").unwrap_or(&body).as_array().cloned();
    let list = list.ok_or_else(|| Stop::fail("the response has no list `iceServers`"))?;
    Ok((response, list))
}

fn urls(server: &Value) -> Option<Vec<&str>> {
    match server.get("urls")? {
        Value::String(url) => Some(vec![url]),
        Value::Array(urls) => urls.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

async fn ice_schema(cx: &mut Cx) -> Result<(), Stop> {
    let (response, servers) = servers(cx).await?;
    for server in &servers {
        let Some(urls) = urls(server).filter(|urls| !urls.is_empty()) else {
            let url = if server.get("url").is_some() { "; it has `url`, which browsers no longer support" } else { "" };
            return Err(Stop::fail(format!(
                "an ICE server lacks `urls`, a string or a list of strings{url}: {server}"
            )));
        };
        let scheme = |url: &&&str| !["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme));
        if let Some(url) = urls.iter().find(scheme) {
            return Err(Stop::fail(format!("`{url}` is not the URL of a STUN or TURN server")));
        }
        if urls.iter().any(|url| url.contains("//")) {
            return Err(Stop::fail(format!(
                "the URL of an ICE server has `//`, which RFC 7064 and RFC 7065 do not allow: {server}"
            )));
        }
        for key in ["username", "credential"] {
            if server.get(key).is_some_and(|value| !value.is_string()) {
                return Err(Stop::fail(format!("`{key}` of an ICE server is not a string: {server}")));
            }
        }
    }
    match response.header("content-type") {
        Some(kind) if kind.starts_with("application/json") => Ok(()),
        Some(kind) => Err(Stop::fail(format!("the response has the content type {kind}, expected application/json"))),
        None => Err(Stop::fail("the response has no content type, expected application/json")),
    }
}

async fn cors(cx: &mut Cx) -> Result<(), Stop> {
    let origin = || ("Origin", "https://page.example".to_owned());
    let response = get(cx, "GET", vec![origin()]).await?;
    let allowed = response.header("access-control-allow-origin");
    match allowed.as_deref() {
        Some("*" | "https://page.example") => {}
        Some(other) => return Err(Stop::fail(format!("only pages of {other} may read the response"))),
        None => return Err(Stop::fail("the response has no Access-Control-Allow-Origin")),
    }
    let ask = vec![origin(), ("Access-Control-Request-Method", "GET".to_owned())];
    let preflight = get(cx, "OPTIONS", ask).await?;
    if !(200..300).contains(&preflight.status) {
        return Err(Stop::fail(format!(
            "a preflight request is answered with HTTP {}, expected 2xx",
            preflight.status
        )));
    }
    if preflight.header("access-control-allow-origin").is_none() {
        return Err(Stop::fail("a preflight request is answered without Access-Control-Allow-Origin"));
    }
    Ok(())
}

async fn no_store(cx: &mut Cx) -> Result<(), Stop> {
    let (response, servers) = servers(cx).await?;
    if servers.iter().all(|server| server.get("credential").is_none()) {
        return Err(Stop::Unsupported("the ICE servers contain no credentials".to_owned()));
    }
    let control = response.header("cache-control").unwrap_or_default();
    if control.contains("no-store") {
        Ok(())
    } else {
        Err(Stop::fail("a response with credentials lacks Cache-Control: no-store"))
    }
}

async fn credentials_usable(cx: &mut Cx) -> Result<(), Stop> {
    let (_, servers) = servers(cx).await?;
    let mut turn = servers
        .iter()
        .filter(|server| urls(server).is_some_and(|urls| urls.iter().any(|url| url.starts_with("turn"))))
        .peekable();
    if turn.peek().is_none() {
        return Err(Stop::Unsupported("there is no TURN server among the ICE servers".to_owned()));
    }
    let empty = |server: &&Value| {
        ["username", "credential"].iter().any(|key| server.get(key).and_then(Value::as_str).is_none_or(str::is_empty))
    };
    match turn.find(empty) {
        Some(server) => Err(Stop::fail(format!("a TURN server has no user name or no credential: {server}"))),
        None => Ok(()),
    }
}
