//! The same rules over Socket.IO, whatever carries it.

use std::num::NonZeroU32;
use std::time::Duration;

use server::Rate;

use crate::access::signed;
use crate::api::get;
use crate::client::{Client, start_with};
use crate::clock::hold;
use crate::socketio_client::{POLLING, WEBSOCKET, exchange, request};

const SECRET: &str = "sixteen bytes or more";

#[tokio::test]
async fn a_token_is_asked_for_by_each_transport_and_binds_the_name() {
    let server = start_with(|config| config.access.room_secret = Some(SECRET.to_owned())).await;
    for address in [server.broadcast, server.call_socketio] {
        let refused = request(address, "GET", POLLING, b"").await;
        assert_eq!(refused.status, 401, "{refused:?}");
        // A page must be able to read why.
        assert!(refused.head.contains("access-control-allow-origin: *\r\n"), "{}", refused.head);
        assert_eq!(request(address, "GET", &format!("{WEBSOCKET}&token=wrong"), b"").await.status, 401);
        assert_eq!(request(address, "OPTIONS", POLLING, b"").await.status, 204);
    }
    let token = signed(SECRET, r#"{"user":"ana","exp":99999999999}"#);
    let opened = request(server.broadcast, "GET", &format!("{POLLING}&token={token}"), b"").await;
    assert_eq!(opened.status, 200, "{opened:?}");
    for (name, is_ana) in [("ana", true), ("ben", false)] {
        let mut client = Client::open(server.call_socketio, &format!("{WEBSOCKET}&token={token}")).await;
        client.next().await;
        client.send("40").await;
        client.next().await;
        client.send(&format!(r#"42["join",{{"username":"{name}"}}]"#)).await;
        if is_ana {
            client.hears(r#"42["userList",["ana"]]"#).await;
        } else {
            client.is_closed(1008).await;
        }
    }
    // broadcast has no rooms, so a token for one opens none of it.
    let bound = signed(SECRET, r#"{"room":"r","exp":99999999999}"#);
    let mut client = Client::open(server.broadcast, &format!("{WEBSOCKET}&token={bound}")).await;
    client.next().await;
    client.send("40").await;
    client.next().await;
    client.is_closed(1008).await;
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let server = start_with(|config| config.access.origins = vec!["https://a.test".to_owned()]).await;
    for (origin, status) in [("https://a.test", 200), ("https://b.test", 403)] {
        let target = format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n");
        let head = crate::api::raw_at(server.broadcast, &target).await.head;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{origin}: {head}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_message_rate_and_the_counts_hold_for_each_transport() {
    let _clock = hold();
    let two = NonZeroU32::new(2).expect("2");
    let server = start_with(|config| {
        config.limits.message_rate = Some(Rate { per_second: two, burst: two });
        config.limits.close_timeout = Duration::from_millis(300);
    })
    .await;
    let mut stream = tokio::net::TcpStream::connect(server.broadcast).await.expect("it listens");
    let opened = exchange(&mut stream, "GET", POLLING, b"").await;
    let polling = format!("{POLLING}&sid={}", &opened.body[r#"0{"sid":""#.len()..][..20]);
    exchange(&mut stream, "POST", &polling, b"40").await.is(200, "ok");
    let event = r#"42["send-offer",1]"#;
    let page = get(&server, "/metrics").await.body;
    assert!(page.contains("\nglare_sessions 1\n") && page.contains("{dialect=\"broadcast\"} 1\n"), "{page}");
    exchange(&mut stream, "POST", &polling, format!("{event}\u{1e}{event}\u{1e}{event}").as_bytes()).await;
    let closed = exchange(&mut stream, "GET", &polling, b"").await;
    assert!(closed.body.ends_with("\u{1e}1"), "it hears what came in time, and the end: {closed:?}");

    let mut client = Client::open(server.broadcast, WEBSOCKET).await;
    client.next().await;
    for message in ["40", event, event] {
        client.send(message).await;
    }
    client.is_closed(1008).await;
    server.census(|census| census.sessions == 0).await;
    let page = get(&server, "/metrics").await.body;
    assert!(page.contains("glare_messages_received_total{dialect=\"broadcast\"} 6\n"), "{page}");
    assert!(page.contains("glare_websockets_closed_total{reason=\"too-fast\"} 1\n"), "{page}");
}
