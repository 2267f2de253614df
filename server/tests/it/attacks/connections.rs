//! Connections and sessions that do nothing, or that do not read.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::{ATTACKER, NEVER, two_can_talk};
use crate::access::from;
use crate::client::{Client, start_with};
use crate::socketio_client::{POLLING, Poller, WEBSOCKET, exchange, request};

/// Writes until nothing more is taken for now. Returns how much that was.
async fn fill(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        poll_fn(|cx| {
            while let Poll::Ready(Ok(count)) = Pin::new(&mut *stream).poll_write(cx, bytes) {
                written += count;
            }
            Poll::Ready(())
        })
        .await;
    }
    written
}

#[tokio::test]
async fn whoever_does_not_read_responses_loses_the_connection() {
    let server = start_with(|config| {
        config.limits.write_timeout = Duration::from_millis(300);
        config.limits.keep_alive_timeout = NEVER;
        config.limits.head_timeout = NEVER;
        config.limits.close_timeout = Duration::from_millis(100);
    })
    .await;
    let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.http).await.expect("it listens");
        fill(&mut stream, requests.as_bytes()).await;
        silent.push(stream);
    }
    server.census(|census| census.connections == 0).await;
    two_can_talk(&server).await;
}

#[tokio::test]
async fn connections_that_do_not_join_give_way_to_others() {
    let server = start_with(|config| {
        config.limits.connections_max = 50;
        config.limits.head_timeout = NEVER;
        config.limits.join_timeout = NEVER;
    })
    .await;
    let mut members = Vec::new();
    for n in 0..10 {
        members.push(Client::join(&server, &format!("room {n}")).await);
    }
    // Half of them send nothing, the others open a WebSocket and do not join.
    let mut attack = Vec::new();
    for n in 0..500 {
        let mut stream = from(ATTACKER, server.mesh).await;
        if n % 2 == 0 {
            let request = [crate::http::UPGRADE, crate::http::VERSION, crate::http::KEY].concat();
            let request = format!("GET / HTTP/1.1\r\n{request}\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("it is connected");
        }
        attack.push(stream);
    }
    for _ in 0..5 {
        two_can_talk(&server).await;
    }
    for member in &mut members {
        member.hears_nothing().await;
    }
    // When all have joined, nobody gives way, and the next one is told.
    drop(attack);
    server.census(|census| census.connections == 10).await;
    for n in 0..40 {
        members.push(Client::join(&server, &format!("more {n}")).await);
    }
    Client::connect(&server).await.is_closed(1013).await;
    for member in &mut members {
        member.hears_nothing().await;
    }
}

#[tokio::test]
async fn connections_of_a_proxy_that_never_name_a_client_give_way_to_others() {
    let server = start_with(|config| {
        config.limits.connections_max = 50;
        config.limits.head_timeout = NEVER;
        config.access.proxy_protocol = vec![ATTACKER.parse().expect("an address")];
    })
    .await;
    let mut members = Vec::new();
    for n in 0..10 {
        members.push(Client::join(&server, &format!("room {n}")).await);
    }
    // To signaling and to STUN, silent or in the midst of a header.
    let mut attack = Vec::new();
    for n in 0..500 {
        let mut stream = from(ATTACKER, if n % 2 == 0 { server.mesh } else { server.stun }).await;
        if n % 3 == 0 {
            let start = b"PROXY TCP4 192.0.2.1 ";
            tokio::io::AsyncWriteExt::write_all(&mut stream, start).await.expect("it is connected");
        }
        attack.push(stream);
    }
    for _ in 0..5 {
        two_can_talk(&server).await;
    }
    for member in &mut members {
        member.hears_nothing().await;
    }
    assert!(server.handle.census().connections <= 50 + 64, "{:?}", server.handle.census());
}

#[tokio::test]
async fn sessions_over_one_connection_do_not_shut_polling_for_others() {
    let server = start_with(|config| {
        config.limits.connections_max = 100;
        config.limits.join_timeout = NEVER;
    })
    .await;
    let mut member = Poller::connect(server.broadcast).await;
    let mut stream = from(ATTACKER, server.broadcast).await;
    for _ in 0..1000 {
        assert_eq!(exchange(&mut stream, "GET", POLLING, b"").await.status, 200);
    }
    assert!(server.handle.census().sessions <= 101, "{:?}", server.handle.census());
    let mut other = Poller::connect(server.broadcast).await;
    other.post(br#"42["send-offer",1]"#).await.is(200, "ok");
    member.poll().await.is(200, r#"42["receive-offer",1]"#);
}

#[tokio::test]
async fn sessions_of_an_address_have_a_cap_over_each_transport() {
    let server = start_with(|config| config.limits.connections_per_address_max = Some(3)).await;
    let mut stream = from(ATTACKER, server.broadcast).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(exchange(&mut stream, "GET", POLLING, b"").await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    let upgrade = [crate::http::UPGRADE, crate::http::VERSION, crate::http::KEY].concat();
    let request_text = format!("GET {WEBSOCKET} HTTP/1.1\r\n{upgrade}\r\n");
    let mut stream = from(ATTACKER, server.broadcast).await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, request_text.as_bytes()).await.expect("it is connected");
    assert_eq!(crate::socketio_client::answer(&mut stream).await.status, 429);
    // Another address has its own.
    assert_eq!(request(server.broadcast, "GET", POLLING, b"").await.status, 200);
}
