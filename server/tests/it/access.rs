//! Who may come in: tokens, origins, rates and caps; and that all of it is off by default.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use server::net::Tokio;
use server::{Config, Rate, Server};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::api::{ask, get};
use crate::client::{Client, Running, start, start_with};
use crate::clock::{hold, settle};
use crate::http::{KEY, UPGRADE, VERSION, request};

const SECRET: &str = "sixteen bytes or more";

#[tokio::test]
async fn a_bearer_token_is_asked_for_and_any_of_them_opens() {
    let tokens = ["first.token", "second/token=="];
    let server = start_with(|config| {
        config.access.tokens = tokens.map(str::to_owned).to_vec();
        config.api.admin_token = Some("admin".to_owned());
    })
    .await;
    for (target, header, status) in [
        ("/", "", "401 unauthorized"),
        ("/?token=", "", "401 unauthorized"),
        ("/?token=first.toke", "", "401 unauthorized"),
        ("/?token=first.token1", "", "401 unauthorized"),
        ("/?Token=first.token", "", "401 unauthorized"),
        ("/?token=%ff", "", "401 unauthorized"),
        ("/", "Authorization: first.token\r\n", "401 unauthorized"),
        ("/", "Authorization: Basic first.token\r\n", "401 unauthorized"),
        ("/", "Authorization: Bearer  first.token\r\n", "401 unauthorized"),
        ("/?token=first.token", "Authorization: Bearer wrong\r\n", "401 unauthorized"),
        ("/", "Authorization: Bearer first.token\r\n", "101 switching protocols"),
        ("/", "authorization: bearer second/token==\r\n", "101 switching protocols"),
        ("/?token=first.token", "", "101 switching protocols"),
        ("/?a=b&token=second%2Ftoken%3d%3D", "", "101 switching protocols"),
    ] {
        let response = upgrade(server.mesh, target, header).await;
        assert!(response.starts_with(&format!("http/1.1 {status}\r\n")), "{target} {header}: {response}");
        let is_refused = status.starts_with("401");
        assert_eq!(response.contains("\r\nwww-authenticate: bearer"), is_refused, "{response}");
    }
    // What hands out servers or tells of rooms is behind it too, health is not.
    assert!(get(&server, "/api/config").await.head.starts_with("http/1.1 401 "));
    assert!(get(&server, "/api/status").await.head.contains("access-control-allow-origin: *"));
    assert!(get(&server, "/api/config?token=first.token").await.head.starts_with("http/1.1 200 "));
    assert!(get(&server, "/api/health").await.head.starts_with("http/1.1 200 "));
    let page = metrics_of_admin(&server).await;
    assert!(page.contains("glare_requests_refused_total{reason=\"no-token\"} 5\n"), "{page}");
    assert!(page.contains("glare_requests_refused_total{reason=\"api-unauthorized\"} 2\n"), "{page}");
    assert!(page.contains("glare_requests_refused_total{reason=\"wrong-token\"} 5\n"), "{page}");
}

/// The example of the README, which thus cannot lie.
#[tokio::test]
async fn the_room_token_of_the_readme_opens_its_room() {
    let readme = include_str!("../../README.md");
    let quoted = |start: &str| {
        let line = readme.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("a line `{start}…`")).to_owned()
    };
    let (secret, claims, token) = (quoted("secret  "), quoted("claims  "), quoted("token   "));
    assert_eq!(token, signed(&secret, &claims));
    let server = start_with(|config| {
        config.access.room_secret = Some(secret);
        config.unix_time = || 1_899_999_999;
    })
    .await;
    let mut client = Client::open(server.mesh, &format!("/?token={token}")).await;
    let claims: serde_json::Value = serde_json::from_str(&claims).expect("JSON");
    client.joins(claims["room"].as_str().expect("a string")).await;
    client.send(r#"{"action":"join","roomId":"another"}"#).await;
    client.is_closed(1008).await;
}

#[tokio::test]
async fn a_room_token_opens_one_room_in_every_dialect() {
    let server = start_with(|config| {
        config.access.room_secret = Some(SECRET.to_owned());
        config.api.admin_token = Some("admin".to_owned());
    })
    .await;
    let token = signed(SECRET, r#"{"room":"r","user":"ana","exp":99999999999}"#);
    let open = async |address, path: &str| Client::open(address, &format!("{path}token={token}")).await;
    // mesh: another room or another's name closes with 1008, and nobody hears of it.
    let mut ana = open(server.mesh, "/?").await;
    ana.send(r#"{"action":"join","roomId":"r","name":"ana"}"#).await;
    ana.next().await;
    for join in [r#"{"action":"join","roomId":"s"}"#, r#"{"action":"join","roomId":"r","name":"ben"}"#] {
        let mut other = open(server.mesh, "/?").await;
        other.send(join).await;
        other.is_closed(1008).await;
    }
    ana.hears_nothing().await;
    // sender-viewer
    let mut sender = open(server.http, "/ws?").await;
    sender.send(r#"{"type":"join","role":"sender","room":"r"}"#).await;
    assert!(sender.next().await.contains("joined"));
    sender.send(r#"{"type":"join","role":"sender","room":"s"}"#).await;
    sender.is_closed(1008).await;
    // relay: the room is in the URL
    let (mut a, mut b) = (open(server.http, "/relay?room=r&").await, open(server.http, "/relay?room=r&").await);
    open(server.http, "/relay?room=s&").await.is_closed(1008).await;
    open(server.http, "/relay?").await.is_closed(1008).await;
    a.send(r#"{"type":"offer"}"#).await;
    b.hears(r#"{"type":"offer"}"#).await;
    // call: no rooms, but names
    let mut caller = open(server.call, "/?").await;
    caller.is_told(r#"{"type":"join","data":{"username":"ana"}}"#, r#"{"type":"userList","data":["ana"]}"#).await;
    let mut liar = open(server.call, "/?").await;
    liar.send(r#"{"type":"join","data":{"username":"ben"}}"#).await;
    liar.is_closed(1008).await;
    let page = metrics_of_admin(&server).await;
    assert!(page.contains("glare_websockets_closed_total{reason=\"not-allowed\"} 6\n"), "{page}");
    drop((ana, sender, a, b, caller));
    server.empty().await;
}

#[tokio::test]
async fn a_room_token_ends_with_its_time() {
    static NOW: AtomicU64 = AtomicU64::new(100);
    let server = start_with(|config| {
        config.access.room_secret = Some(SECRET.to_owned());
        config.unix_time = || NOW.load(Relaxed);
    })
    .await;
    let target = format!("/?token={}", signed(SECRET, r#"{"exp":200}"#));
    let mut member = Client::open(server.mesh, &target).await;
    member.joins("any").await;
    let mut late = Client::open(server.mesh, &target).await;
    NOW.store(199, Relaxed);
    Client::open(server.mesh, &target).await.joins("any").await;
    NOW.store(200, Relaxed);
    assert!(upgrade(server.mesh, &target, "").await.starts_with("http/1.1 401 "));
    // It was let in in time, but joins too late. Who has joined stays.
    late.send(r#"{"action":"join","roomId":"any"}"#).await;
    late.is_closed(1008).await;
    server.census(|census| census.members == 1).await;
    assert!(member.next().await.contains("peer-joined"));
    assert!(member.next().await.contains("peer-left"));
    member.hears_nothing().await;
    for wrong in [signed("another secret!!", r#"{"exp":300}"#), signed(SECRET, "{}"), "x.y".to_owned()] {
        assert!(upgrade(server.mesh, &format!("/?token={wrong}"), "").await.starts_with("http/1.1 401 "));
    }
}

#[tokio::test]
async fn only_listed_origins_connect() {
    let origins = ["https://a.test", "http://localhost:5173"].map(str::to_owned);
    let server = start_with(|config| config.access.origins = origins.to_vec()).await;
    for (origin, status) in [
        ("Origin: https://a.test\r\n", "101"),
        ("Origin: HTTPS://A.test\r\n", "101"),
        ("Origin: http://localhost:5173\r\n", "101"),
        // Not a browser.
        ("", "101"),
        ("Origin: http://a.test\r\n", "403"),
        ("Origin: https://a.test:8443\r\n", "403"),
        ("Origin: https://a.test.evil.test\r\n", "403"),
        ("Origin: null\r\n", "403"),
        ("Origin: \r\n", "403"),
    ] {
        let response = upgrade(server.mesh, "/", origin).await;
        assert!(response.starts_with(&format!("http/1.1 {status} ")), "{origin}: {response}");
    }
    let open = start().await;
    assert!(upgrade(open.mesh, "/", "Origin: https://any.test\r\n").await.starts_with("http/1.1 101 "));
}

#[tokio::test(start_paused = true)]
async fn more_messages_than_the_rate_are_1008() {
    let _clock = hold();
    let server = start_with(|config| config.limits.message_rate = Some(rate(1, 5))).await;
    let mut quiet = Client::join(&server, "r").await;
    let mut loud = Client::join(&server, "r").await;
    quiet.next().await;
    for _ in 0..5 {
        loud.send(r#"{"action":"signal","roomId":"r","type":"offer"}"#).await;
    }
    loud.is_closed(1008).await;
    // The join was one of five.
    for _ in 0..4 {
        assert!(quiet.next().await.contains("offer"));
    }
    assert!(quiet.next().await.contains("peer-left"));
    // Pings cost as much, and so do pongs that nobody asked for, and fragments without payload.
    for frame in [&[0x89, 0x80, 0, 0, 0, 0][..], &[0x8a, 0x80, 0, 0, 0, 0], &[0x00, 0x80, 0, 0, 0, 0]] {
        let mut loud = Client::join(&server, "s").await;
        if frame[0] == 0 {
            loud.send_raw(&[0x01, 0x81, 0, 0, 0, 0, b'{']).await;
        }
        for _ in 0..5 {
            loud.send_raw(frame).await;
        }
        loud.is_closed(1008).await;
    }
    let page = get(&server, "/metrics").await.body;
    assert!(page.contains("glare_websockets_closed_total{reason=\"too-fast\"} 4\n"), "{page}");
    // An answer to a ping costs nothing.
    let mut answers = Client::join(&server, "t").await;
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(20)).await;
        settle().await;
        answers.send_raw(&[0x8a, 0x80, 0, 0, 0, 0]).await;
        settle().await;
    }
    answers.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn more_requests_of_an_address_than_the_rate_are_429() {
    let _clock = hold();
    let server = start_with(|config| config.limits.request_rate = Some(rate(2, 3))).await;
    let ask = async || upgrade(server.mesh, "/", "").await;
    for _ in 0..3 {
        assert!(ask().await.starts_with("http/1.1 101 "));
    }
    let refused = ask().await;
    assert!(refused.starts_with("http/1.1 429 too many requests\r\n"), "{refused}");
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    // Each address has its own, and every path counts.
    for path in ["/api/health", "/healthz", "/metrics", "/nowhere"] {
        assert!(get(&server, path).await.head.starts_with("http/1.1 429 "), "{path}");
    }
    let other = from("127.0.0.2", server.mesh).await;
    drop(Client::upgrade(other, "/").await);
    tokio::time::advance(Duration::from_millis(600)).await;
    assert!(ask().await.starts_with("http/1.1 101 "), "one has come back");
}

#[tokio::test]
async fn more_connections_of_an_address_than_the_cap_are_429() {
    let server = start_with(|config| config.limits.connections_per_address_max = Some(2)).await;
    let mut first = Client::join(&server, "r").await;
    // What has sent nothing yet counts as well.
    let silent = TcpStream::connect(server.http).await.expect("it listens");
    server.census(|census| census.connections == 2).await;
    let refused = upgrade(server.mesh, "/", "").await;
    assert!(refused.starts_with("http/1.1 429 too many requests\r\n"), "{refused}");
    assert!(refused.contains("\r\nconnection: close\r\n"), "{refused}");
    let other = from("127.0.0.2", server.mesh).await;
    let mut other = Client::upgrade(other, "/").await;
    other.joins("r").await;
    assert!(first.next().await.contains("peer-joined"));
    drop(silent);
    server.census(|census| census.connections == 2).await;
    Client::join(&server, "s").await;
    first.hears_nothing().await;
}

#[tokio::test]
async fn a_full_room_and_one_room_too_many_are_1013() {
    let server = start_with(|config| {
        config.limits.room_members_max = Some(2);
        config.limits.rooms_max = Some(2);
    })
    .await;
    let (mut a, b) = (Client::join(&server, "r").await, Client::join(&server, "r").await);
    a.next().await;
    let full = async |join: &str| {
        let mut client = Client::connect(&server).await;
        client.send(join).await;
        client.is_closed(1013).await;
    };
    full(r#"{"action":"join","roomId":"r"}"#).await;
    let mut c = Client::join(&server, "s").await;
    full(r#"{"action":"join","roomId":"t"}"#).await;
    // Joining again is not one more, and a place that is free again can be taken.
    a.joins("r").await;
    drop(b);
    assert!(a.next().await.contains("peer-left"));
    Client::join(&server, "r").await;
    assert!(a.next().await.contains("peer-joined"));
    c.hears_nothing().await;
    // A dialect has rooms of its own.
    let (relay_1, relay_2) = (Client::open(server.http, "/relay").await, Client::open(server.http, "/relay").await);
    Client::open(server.http, "/relay").await.is_closed(1013).await;
    let page = get(&server, "/metrics").await.body;
    assert!(page.contains("glare_websockets_closed_total{reason=\"room-full\"} 2\n"), "{page}");
    assert!(page.contains("glare_websockets_closed_total{reason=\"too-many-rooms\"} 1\n"), "{page}");
    drop((a, c, relay_1, relay_2));
    server.empty().await;
}

#[tokio::test]
async fn a_setting_that_is_none_is_named() {
    let wrong = async |change: &dyn Fn(&mut Config)| {
        let mut config = Config { listen: Vec::new(), stun: None, ..Config::default() };
        change(&mut config);
        let error = Server::bind(Tokio, config).await.err().expect("it is wrong");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        error.to_string()
    };
    let token = wrong(&|config| config.access.tokens = vec!["two words".to_owned()]).await;
    assert!(token.contains("a bearer token must consist of letters") && !token.contains("two words"), "{token}");
    let secret = wrong(&|config| config.access.room_secret = Some("short".to_owned())).await;
    assert!(secret.contains("at least 16 bytes") && !secret.contains("short"), "{secret}");
    let origin = wrong(&|config| config.access.origins = vec!["a.test".to_owned()]).await;
    assert!(origin.contains("`a.test` is not an origin") && origin.contains("https://"), "{origin}");
}

fn rate(per_second: u32, burst: u32) -> Rate {
    let [per_second, burst] = [per_second, burst].map(|number| NonZeroU32::new(number).expect("not zero"));
    Rate { per_second, burst }
}

pub(crate) fn signed(secret: &str, claims: &str) -> String {
    let claims = BASE64URL_NOPAD.encode(claims.as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{claims}.{}", BASE64URL_NOPAD.encode(hmac::sign(&key, claims.as_bytes()).as_ref()))
}

async fn upgrade(address: SocketAddr, target: &str, header: &str) -> String {
    request(address, &format!("GET {target} HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}{header}\r\n")).await
}

async fn metrics_of_admin(server: &Running) -> String {
    ask(server, "GET", "/metrics", "Authorization: Bearer admin\r\n", "").await.body
}

/// A connection from another address of the loopback.
pub(crate) async fn from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("all of 127/8 is ours");
    let mut stream = socket.connect(to).await.expect("it listens");
    stream.flush().await.expect("it is connected");
    stream
}

#[tokio::test]
async fn limits_count_the_client_that_a_listed_proxy_names() {
    let server = start_with(|config| {
        config.access.proxies = vec!["127.0.0.2/31".parse().expect("two addresses")];
        config.limits.connections_per_address_max = Some(1);
    })
    .await;
    let via = async |proxy: &str, headers: &str| {
        let mut stream = from(proxy, server.mesh).await;
        let head = format!("GET / HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}{headers}\r\n");
        stream.write_all(head.as_bytes()).await.expect("it is connected");
        let status = crate::socketio_client::answer(&mut stream).await.status;
        (status, stream)
    };
    let first = via("127.0.0.2", "X-Forwarded-For: 198.51.100.1\r\n").await;
    let second = via("127.0.0.2", "X-Forwarded-For: 198.51.100.1, 198.51.100.2\r\n").await;
    let third = via("127.0.0.3", "Forwarded: for=\"[2001:db8::1]:80\", for=127.0.0.2\r\n").await;
    assert_eq!((first.0, second.0, third.0), (101, 101, 101), "each client may have one");
    for (proxy, headers) in [
        ("127.0.0.3", "X-Forwarded-For: 198.51.100.1\r\n"),
        ("127.0.0.2", "Forwarded: for=198.51.100.2\r\n"),
        ("127.0.0.2", "X-Forwarded-For: 2001:db8::2\r\n"),
    ] {
        assert_eq!(via(proxy, headers).await.0, 429, "{headers}");
    }
    // Who is not listed names nobody.
    let direct = via("127.0.0.4", "X-Forwarded-For: 198.51.100.7\r\n").await;
    assert_eq!((direct.0, via("127.0.0.4", "X-Forwarded-For: 198.51.100.8\r\n").await.0), (101, 429));
    // A connection that is gone does not count any more.
    drop(first);
    server.census(|census| census.connections == 3).await;
    assert_eq!(via("127.0.0.2", "X-Forwarded-For: 198.51.100.1\r\n").await.0, 101);
}

/// A proxy keeps its connections open, and sends requests of many clients over each.
#[tokio::test]
async fn a_request_through_a_proxy_counts_while_it_lasts() {
    let server = start_with(|config| {
        config.access.proxies = vec!["127.0.0.2".parse().expect("an address")];
        config.limits.connections_per_address_max = Some(1);
    })
    .await;
    let ask = async |stream: &mut TcpStream, client: &str| {
        let head = format!("GET /api/health HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("it is connected");
        crate::socketio_client::answer(stream).await.status
    };
    let (mut one, mut two) = (from("127.0.0.2", server.http).await, from("127.0.0.2", server.http).await);
    for stream in [&mut one, &mut two] {
        for client in ["198.51.100.1", "198.51.100.2", "198.51.100.1"] {
            assert_eq!(ask(stream, client).await, 200);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_rate_is_the_clients_behind_a_listed_proxy() {
    let _clock = hold();
    let server = start_with(|config| {
        config.access.proxies = vec!["127.0.0.1".parse().expect("an address")];
        config.limits.request_rate = Some(rate(1, 1));
    })
    .await;
    for (client, status) in
        [("198.51.100.1", 101), ("198.51.100.1", 429), ("198.51.100.2", 101), ("x", 101), ("x", 429)]
    {
        let answer = upgrade(server.mesh, "/", &format!("X-Forwarded-For: {client}\r\n")).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{client}: {answer}");
    }
}

/// Otherwise a page sees a network error, and does not learn that it asks too often.
#[tokio::test(start_paused = true)]
async fn a_page_may_read_that_it_asks_too_often() {
    let _clock = hold();
    let server = start_with(|config| {
        config.api.credentials_origins = vec!["https://a.test".to_owned()];
        config.limits.request_rate = Some(rate(1, 1));
    })
    .await;
    let polling = crate::socketio_client::POLLING;
    for (address, target, is_readable) in [
        (server.http, "/api/health", true),
        (server.http, "/api/nowhere", true),
        (server.http, "/nowhere", false),
        (server.broadcast, polling, true),
        (server.mesh, "/", false),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nOrigin: https://a.test\r\nConnection: close\r\n\r\n");
        let answer = crate::api::raw_at(address, &head).await.head;
        let answer =
            if answer.starts_with("http/1.1 429 ") { answer } else { crate::api::raw_at(address, &head).await.head };
        assert!(answer.starts_with("http/1.1 429 "), "{answer}");
        let names_origin = answer.contains("access-control-allow-origin: https://a.test\r\n");
        let allows = answer.contains("access-control-allow-credentials: true\r\n");
        assert_eq!((names_origin, allows), (is_readable, is_readable), "{target}: {answer}");
    }
}

#[tokio::test]
async fn the_first_subprotocol_is_accepted_where_that_is_set() {
    let (plain, accepting) = (start().await, start_with(|config| config.accept_subprotocol = true).await);
    for (offers, chosen) in [
        ("", None),
        ("Sec-WebSocket-Protocol: chat\r\n", Some("chat")),
        ("Sec-WebSocket-Protocol: v2.chat , chat\r\n", Some("v2.chat")),
        ("Sec-WebSocket-Protocol: ,a\r\nSec-WebSocket-Protocol: b\r\n", Some("a")),
        ("Sec-WebSocket-Protocol: two words, chat\r\n", None),
    ] {
        let websocket = format!("{}&x=1", crate::socketio_client::WEBSOCKET);
        for (address, target) in [(accepting.mesh, "/"), (accepting.broadcast, &websocket)] {
            let answer = upgrade(address, target, offers).await;
            let line = chosen.map(|chosen| format!("\r\nsec-websocket-protocol: {chosen}\r\n"));
            assert!(answer.starts_with("http/1.1 101 "), "{offers}: {answer}");
            assert_eq!(answer.contains("sec-websocket-protocol"), chosen.is_some(), "{offers}: {answer}");
            assert!(line.is_none_or(|line| answer.contains(&line)), "{offers}: {answer}");
        }
        let answer = upgrade(plain.mesh, "/", offers).await;
        assert!(answer.starts_with("http/1.1 101 ") && !answer.contains("sec-websocket-protocol"), "{answer}");
    }
}
