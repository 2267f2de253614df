//! The ICE servers of a client as pages get them: `GET /api/config` of the signaling server, once, before it joins.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use server::net::Network;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::events::{read_head, unchunked};
use crate::peer::gather::IceServer;
use crate::peer::turn::Credential;

/// How long a client waits before it joins without STUN and TURN servers.
const PATIENCE: Duration = Duration::from_secs(10);
/// The port of `stun:` and `turn:` URLs that name none. RFC 7064 §3.2, RFC 7065 §3.2.
const PORT: u16 = 3478;
/// The port of `turns:` URLs that name none. RFC 7065 §3.2.
const TLS_PORT: u16 = 5349;

/// A request that is under way.
pub(super) type Fetching = Pin<Box<dyn Future<Output = Result<Vec<IceServer>, Arc<str>>> + Send>>;

/// Requests the ICE servers from the server at an address.
pub(super) fn fetch<N: Network>(net: N, server: SocketAddr) -> Fetching {
    Box::pin(async move {
        match timeout(PATIENCE, request(&net, server)).await {
            Ok(Ok(body)) => servers(&body),
            Ok(Err(error)) => Err(error.to_string().into()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs()).into()),
        }
    })
}

/// Waits for a request, for ever if there is none.
pub(super) async fn next(fetching: &mut Option<Fetching>) -> Result<Vec<IceServer>, Arc<str>> {
    match fetching {
        Some(fetching) => fetching.await,
        None => std::future::pending().await,
    }
}

async fn request<N: Network>(net: &N, server: SocketAddr) -> io::Result<String> {
    let mut stream = net.connect(server).await?;
    let get =
        format!("GET /api/config HTTP/1.1\r\nHost: {server}\r\nAccept: application/json\r\nConnection: close\r\n\r\n");
    stream.write_all(get.as_bytes()).await?;
    let mut bytes = Vec::new();
    let (status, chunked) = read_head(&mut stream, &mut bytes).await?;
    if status != 200 {
        return Err(io::Error::other(format!("HTTP {status}")));
    }
    stream.read_to_end(&mut bytes).await?;
    Ok(if chunked { unchunked(&mut bytes) } else { String::from_utf8_lossy(&bytes).into_owned() })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    ice_servers: Vec<Entry>,
}

/// The W3C's `RTCIceServer`. W3C WebRTC §4.2.4.
#[derive(Deserialize)]
struct Entry {
    urls: Urls,
    username: Option<String>,
    credential: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Urls {
    One(String),
    Many(Vec<String>),
}

/// The servers that a response lists, one for each address. What a simulated client cannot use, such as a server behind a
/// name, it leaves out, as browsers do with URLs that they cannot reach.
fn servers(body: &str) -> Result<Vec<IceServer>, Arc<str>> {
    let body: Body = serde_json::from_str(body).map_err(|_| Arc::from("the answer is not a list of ICE servers"))?;
    let mut servers: BTreeMap<SocketAddr, IceServer> = BTreeMap::new();
    for Entry { urls, username, credential } in body.ice_servers {
        let urls = match urls {
            Urls::One(url) => vec![url],
            Urls::Many(urls) => urls,
        };
        let credential = username.zip(credential).map(|(username, password)| Credential { username, password });
        for url in &urls {
            let Some((scheme, address, transport)) = parts(url) else { continue };
            let new = IceServer { address, turn: None, tcp: false, tls: scheme == "turns" };
            let server = servers.entry(address).or_insert(new);
            if scheme != "stun" {
                server.turn = server.turn.take().or_else(|| credential.clone());
                server.tcp |= scheme == "turn" && transport == Some("tcp");
            }
        }
    }
    Ok(servers.into_values().collect())
}

/// Scheme, address and transport of `turn:203.0.113.1:3478?transport=udp`. RFC 7065 §3.1. `turns:` over UDP would be DTLS, which
/// no browser has.
fn parts(url: &str) -> Option<(&str, SocketAddr, Option<&str>)> {
    let (scheme, rest) = url.split_once(':').filter(|(scheme, _)| ["stun", "turn", "turns"].contains(scheme))?;
    let (host, query) = rest.split_once('?').map_or((rest, None), |(host, query)| (host, Some(query)));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = if scheme == "turns" { TLS_PORT } else { PORT };
    let address = host.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, port)))?;
    let transport = query.and_then(|query| query.strip_prefix("transport="));
    (scheme != "turns" || transport != Some("udp")).then_some((scheme, address, transport))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urls_of_one_address_are_one_server() {
        let body = r#"{"iceServers":[{"urls":"stun:203.0.113.1:3478"},
            {"urls":["turn:203.0.113.1:3478?transport=udp","turn:203.0.113.1:3478?transport=tcp"],"username":"u","credential":"p"},
            {"urls":"stun:[2001:db8::1]"},{"urls":"turns:203.0.113.1:5349?transport=tcp","username":"u","credential":"p"},
            {"urls":"stun:stun.example.org:3478"}]}"#;
        let found = servers(body).expect("it is valid");
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let credential = Credential { username: "u".to_owned(), password: "p".to_owned() };
        let relay =
            IceServer { address: address("203.0.113.1:3478"), turn: Some(credential.clone()), tcp: true, tls: false };
        let over_tls =
            IceServer { address: address("203.0.113.1:5349"), turn: Some(credential), tcp: false, tls: true };
        let stun = IceServer { address: address("[2001:db8::1]:3478"), turn: None, tcp: false, tls: false };
        assert_eq!(found, [relay, over_tls, stun]);
        assert!(servers("{}").is_err() && servers("<html>").is_err());
        assert_eq!(servers(r#"{"iceServers":[]}"#), Ok(Vec::new()));
    }
}
