//! `/metrics` and `/healthz`: what operators and load balancers see, and that the numbers are true.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use server::net::Tokio;
use server::{Config, Listen, Server};
use tokio::net::TcpStream;

use crate::api::{Response, ask, get, raw_at};
use crate::client::{Client, PATIENCE, Running, start, start_with};

#[tokio::test]
async fn every_site_is_healthy() {
    let server = start().await;
    for address in [server.http, server.mesh, server.call] {
        let response = at(address, "GET /healthz?x=1").await;
        assert!(response.head.starts_with("http/1.1 200 ok\r\n"), "{}", response.head);
        assert!(response.head.contains("\r\ncontent-type: application/json\r\n"), "{}", response.head);
        assert_eq!(response.body, r#"{"status":"ok"}"#);
        assert!(at(address, "POST /healthz").await.head.starts_with("http/1.1 405 "));
        assert!(at(address, "HEAD /healthz").await.body.is_empty());
    }
}

#[tokio::test]
async fn the_page_is_open_metrics() {
    let server = start().await;
    let response = get(&server, "/metrics").await;
    assert!(response.head.starts_with("http/1.1 200 ok\r\n"), "{}", response.head);
    let kind = "\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(response.head.contains(kind), "{}", response.head);
    let mut lines = response.body.lines().rev();
    assert_eq!(lines.next(), Some("# EOF"));
    assert!(lines.all(|line| line.starts_with("# HELP glare_")
        || line.starts_with("# TYPE glare_")
        || line.starts_with("glare_")));
    assert!(ask(&server, "POST", "/metrics", "", "").await.head.starts_with("http/1.1 405 "));
    assert!(at(server.mesh, "GET /metrics").await.head.starts_with("http/1.1 404 "));
}

#[tokio::test]
async fn the_readme_lists_every_metric() {
    let readme = include_str!("../../README.md").split('`').filter(|word| word.starts_with("glare_"));
    let listed: BTreeSet<_> = readme.map(|name| name.trim_end_matches("_total").to_owned()).collect();
    let page = get(&start().await, "/metrics").await.body;
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(listed, families.map(str::to_owned).collect());
}

#[tokio::test]
async fn connections_rooms_and_messages_are_counted() {
    let server = start().await;
    let before = scrape(&server).await;
    assert_eq!(before["glare_messages_received_total{dialect=\"mesh\"}"], 0.0, "it begins at zero");
    let mut a = Client::join(&server, "r").await;
    let b = Client::join(&server, "r").await;
    a.next().await;
    let mut other = Client::join(&server, "s").await;
    a.send(r#"{"action":"signal","roomId":"r","type":"offer"}"#).await;
    a.hears_nothing().await;
    let during = scrape(&server).await;
    // The scrape's own connection is one of them.
    assert_eq!(during["glare_connections"], 4.0);
    assert_eq!(during["glare_rooms{dialect=\"mesh\"}"], 2.0);
    assert_eq!(during["glare_members{dialect=\"mesh\"}"], 3.0);
    assert_eq!(during["glare_rooms{dialect=\"relay\"}"], 0.0);
    assert_eq!(during["glare_messages_received_total{dialect=\"mesh\"}"], 5.0);
    // Three joined, one peer-joined, one signal, one error.
    assert_eq!(during["glare_messages_sent_total{dialect=\"mesh\"}"], 6.0);
    assert!(during["glare_sent_bytes_total{dialect=\"mesh\"}"] > 300.0);
    let (join, signal) = (r#"{"action":"join","roomId":"r"}"#, r#"{"action":"signal","roomId":"r","type":"offer"}"#);
    let received = 3 * join.len() + signal.len() + r#"{"action":"sentinel"}"#.len();
    assert_eq!(during["glare_received_bytes_total{dialect=\"mesh\"}"], received as f64);
    assert_eq!(during["glare_handshake_seconds_count"], 3.0);
    assert_eq!(during["glare_delivery_seconds_count"], 3.0, "the first message of each connection is timed");
    assert!(during["glare_delivery_seconds_sum"] < 3.0);
    assert!((1.0..=3.0).contains(&during["glare_queued_messages_peak"]));
    // They end, each in its way, and their counts stay.
    other.send_raw(&[0x82, 0x80, 0, 0, 0, 0]).await;
    other.is_closed(1003).await;
    drop((a, b, other));
    server.empty().await;
    let after = scrape(&server).await;
    assert_eq!(after["glare_connections"], 1.0);
    assert_eq!(after["glare_rooms{dialect=\"mesh\"}"], 0.0);
    assert_eq!(after["glare_messages_received_total{dialect=\"mesh\"}"], 5.0);
    assert_eq!(after["glare_websockets_closed_total{reason=\"binary\"}"], 1.0);
    assert_eq!(after["glare_websockets_closed_total{reason=\"lost\"}"], 2.0);
    assert_eq!(after["glare_connections_accepted_total"], before["glare_connections_accepted_total"] + 5.0);
}

#[tokio::test]
async fn what_a_slow_client_never_got_is_counted_as_dropped() {
    let server = start_with(|config| {
        config.limits.queue_messages_max = 4;
        config.limits.close_timeout = Duration::from_millis(50);
    })
    .await;
    let mut sender = Client::join(&server, "r").await;
    let _slow = Client::join(&server, "r").await;
    sender.next().await;
    let signal = format!(r#"{{"action":"signal","roomId":"r","type":"offer","data":"{}"}}"#, "x".repeat(200_000));
    let (mut signals, mut left) = (0.0, false);
    while !left {
        sender.send(&signal).await;
        signals += 1.0;
        sender.send(r#"{"action":"sentinel"}"#).await;
        left = sender.next().await.contains("peer-left");
    }
    server.census(|census| census.connections == 1).await;
    let page = scrape(&server).await;
    assert_eq!(page["glare_websockets_closed_total{reason=\"slow-consumer\"}"], 1.0);
    let sent = page["glare_sent_bytes_total{dialect=\"mesh\"}"];
    let dropped = page["glare_messages_dropped_total{dialect=\"mesh\"}"];
    assert!((1.0..=8.0).contains(&dropped), "{dropped} of {signals} dropped");
    assert!(sent / 200_000.0 + dropped >= signals - 1.0, "{sent} bytes sent and {dropped} dropped of {signals}");
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let server = start().await;
    get(&server, "/nowhere").await;
    get(&server, "/api/nowhere").await;
    get(&server, "/ws").await;
    let page = scrape(&server).await;
    assert_eq!(page["glare_requests_refused_total{reason=\"not-found\"}"], 2.0);
    assert_eq!(page["glare_requests_refused_total{reason=\"not-an-upgrade\"}"], 1.0);
}

#[tokio::test]
async fn stun_requests_are_counted() {
    let server = start().await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], b"twelve-bytes"].concat();
    for datagram in [&b"garbage"[..], &request] {
        socket.send_to(datagram, server.stun).await.expect("sent");
    }
    let mut answer = [0; 100];
    tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await.expect("it answers").expect("a datagram");
    let page = scrape(&server).await;
    assert_eq!((page["glare_stun_requests_total"], page["glare_stun_responses_total"]), (2.0, 1.0));
}

#[tokio::test]
async fn the_admin_token_guards_the_page_and_a_private_port_does_not_ask() {
    let any_port = ([127, 0, 0, 1], 0).into();
    let listen = Listen::each(["sender-viewer"], |_| any_port);
    let mut config = Config { listen, stun: None, metrics: Some(any_port), ..Config::default() };
    config.api.admin_token = Some("secret".to_owned());
    let server = Server::bind(Tokio, config).await.expect("port 0 is free");
    let (http, metrics) = (server.address("api").expect("asked for"), server.address("metrics").expect("asked for"));
    let handle = server.handle();
    let task = tokio::spawn(server.run());
    for (authorization, status) in [
        ("", "401"),
        ("\r\nAuthorization: Bearer secre", "401"),
        ("\r\nAuthorization: Basic secret", "401"),
        ("\r\nAuthorization: Bearer secret", "200"),
    ] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close{authorization}\r\n\r\n");
        let head = raw_at(http, &request).await.head;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{authorization}: {head}");
    }
    assert!(at(metrics, "GET /metrics").await.body.ends_with("# EOF\n"));
    assert!(at(metrics, "GET /healthz").await.head.starts_with("http/1.1 200 "));
    assert!(at(metrics, "GET /api/status").await.head.starts_with("http/1.1 404 "));
    handle.shutdown();
    tokio::time::timeout(PATIENCE, task).await.expect("it ends").expect("without a panic");
    assert!(TcpStream::connect(metrics).await.is_err());
}

/// Every sample of `/metrics` by its name and labels.
async fn scrape(server: &Running) -> BTreeMap<String, f64> {
    let page = get(server, "/metrics").await.body;
    let samples = page.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    let samples: Vec<_> = samples.collect();
    let by_name: BTreeMap<_, _> = samples.iter().cloned().collect();
    assert_eq!(samples.len(), by_name.len(), "no sample comes twice");
    by_name
}

async fn at(address: SocketAddr, request: &str) -> Response {
    raw_at(address, &format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}
