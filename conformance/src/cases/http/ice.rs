//! The endpoint that lists the ICE servers.

use serde_json::Value;

use super::{endpoints, send};
use crate::case::Level::{Must, Should};
use crate::case::{Case, Citation};
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::framing::http::Response;
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

/// How a URL of an ICE server may begin.
const SCHEMES: [&str; 4] = ["stun:", "stuns:", "turn:", "turns:"];

/// Requests the list of ICE servers.
async fn servers(cx: &Cx) -> Result<(Response, Vec<Value>), Stop> {
    let path = endpoints(cx).ice.clone().expect("the case requires it");
    let response = send(cx, "GET", &path, Vec::new(), None).await?;
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

/// What is wrong with the URL of an ICE server (RFC 7064 §3.1, RFC 7065 §3.1).
fn wrong_in(url: &str) -> Option<&'static str> {
    let Some(rest) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
        return Some("is not the URL of a STUN or TURN server");
    };
    if rest.starts_with("//") {
        return Some("has `//`, which RFC 7064 and RFC 7065 do not allow");
    }
    let authority = rest.split('?').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Some("names no host");
    }
    if matches!(host, "0.0.0.0" | "::") {
        return Some("names an address on which a server listens, not one that a client can reach");
    }
    let is_valid = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    port.is_some_and(|port| !is_valid(port)).then_some("has a port that does not exist")
}

async fn ice_schema(cx: &mut Cx) -> Result<(), Stop> {
    let (response, servers) = servers(cx).await?;
    if servers.is_empty() {
        cx.acceptable("the list of ICE servers is empty: clients behind different NATs cannot connect");
    }
    for server in &servers {
        let Some(urls) = urls(server).filter(|urls| !urls.is_empty()) else {
            let url = if server.get("url").is_some() { "; it has `url`, which browsers no longer support" } else { "" };
            return Err(Stop::fail(format!(
                "an ICE server lacks `urls`, a string or a list of strings{url}: {server}"
            )));
        };
        if let Some((url, why)) = urls.iter().find_map(|url| Some((url, wrong_in(url)?))) {
            return Err(Stop::fail(format!("`{url}` {why}")));
        }
        for key in ["username", "credential"] {
            if server.get(key).is_some_and(|value| !value.is_string()) {
                return Err(Stop::fail(format!("`{key}` of an ICE server is not a string: {server}")));
            }
        }
    }
    match response.header("content-type") {
        _ if response.is_json() => Ok(()),
        Some(kind) => Err(Stop::fail(format!("the response has the content type {kind}, expected application/json"))),
        None => Err(Stop::fail("the response has no content type, expected application/json")),
    }
}

async fn no_store(cx: &mut Cx) -> Result<(), Stop> {
    let (response, servers) = servers(cx).await?;
    if servers.iter().all(|server| server.get("credential").is_none()) {
        return Err(Stop::Unsupported("the ICE servers contain no credentials".to_owned()));
    }
    if response.lists("cache-control", "no-store") {
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

#[cfg(test)]
mod tests {
    use super::wrong_in;

    #[test]
    fn urls_have_a_scheme_a_host_and_perhaps_a_port() {
        for right in
            ["stun:h", "stun:h:3478", "turn:192.0.2.1:3478?transport=udp", "turns:[2001:db8::1]:443", "stun:[::1]"]
        {
            assert_eq!(wrong_in(right), None, "{right}");
        }
        for (wrong, why) in [
            ("h:3478", "is not the URL"),
            ("http://h", "is not the URL"),
            ("stun://h", "has `//`"),
            ("stun:", "names no host"),
            ("stun::3478", "names no host"),
            ("stun:0.0.0.0:3478", "names an address on which"),
            ("turn:[::]:3478", "names an address on which"),
            ("stun:h:0", "has a port"),
            ("stun:h:undefined", "has a port"),
        ] {
            assert!(wrong_in(wrong).is_some_and(|found| found.starts_with(why)), "{wrong}");
        }
    }
}
