//! Socket.IO over a WebSocket from the start: packets, namespaces, pings, limits, and how it is closed.

use std::time::Duration;

use futures_util::SinkExt;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, PATIENCE, frame, start, start_with};
use crate::clock::{hold, passing};
use crate::socketio_client::WEBSOCKET;

#[tokio::test]
async fn the_handshake_offers_no_upgrade() {
    let server = start().await;
    let mut a = Client::open(server.broadcast, WEBSOCKET).await;
    let opened = a.next().await;
    let rest = r#""upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert!(opened.starts_with(r#"0{"sid":""#) && opened.ends_with(rest), "{opened}");
    a.send("40{\"token\":1}").await;
    assert!(a.next().await.starts_with(r#"40{"sid":""#));
    assert_eq!(server.handle.census().sessions, 1);
    drop(a);
    server.empty().await;
}

#[tokio::test]
async fn only_the_main_namespace_exists() {
    let server = start().await;
    let mut a = Client::open(server.broadcast, WEBSOCKET).await;
    a.next().await;
    a.is_told("40/admin,{\"a\":1}", "44/admin,{\"message\":\"Invalid namespace\"}").await;
    a.is_told("40/admin", "44/admin,{\"message\":\"Invalid namespace\"}").await;
    a.send("40").await;
    assert!(a.next().await.starts_with("40{"));
    a.is_told("40//,", "44//,{\"message\":\"Invalid namespace\"}").await;
    a.send("42/admin,[\"send-offer\"]").await;
    a.is_closed(1002).await;
}

#[tokio::test]
async fn what_is_no_packet_or_out_of_turn_is_1002_and_disturbs_nobody() {
    let server = start().await;
    let mut witness = Client::socketio(server.broadcast).await;
    for bad in [
        "",
        "x",
        "7",
        "9",
        "0",
        "0{}",
        "2",
        "2probe",
        "b!",
        "4",
        "4x",
        "47",
        "40",
        "40{}",
        "40[]",
        "41{}",
        "41/a,",
        "42",
        "42[]",
        "42{}",
        "42[null]",
        "42[\"connect\"]",
        "42[\"send-offer\"",
        "43",
        "44{}",
        "45[\"send-offer\"]",
        "450-[\"send-offer\"]",
        "4511-[\"send-offer\"]",
        "451-{}",
        "é",
    ] {
        let mut a = Client::socketio(server.broadcast).await;
        a.send(bad).await;
        a.is_closed(1002).await;
    }
    for unconnected in ["42[\"send-offer\"]", "451-[\"send-offer\"]", "430[]", "41"] {
        let mut a = Client::open(server.broadcast, WEBSOCKET).await;
        a.next().await;
        a.send(unconnected).await;
        a.is_closed(1002).await;
    }
    for (text, then) in [(None, None), (Some("451-[\"send-offer\"]"), Some("42[\"send-offer\"]"))] {
        let mut a = Client::socketio(server.broadcast).await;
        match (text, then) {
            (Some(text), Some(then)) => {
                a.send(text).await;
                a.send(then).await;
            }
            _ => a.socket.send(Message::binary(&b"unasked"[..])).await.expect("it is connected"),
        }
        a.is_closed(1002).await;
    }
    witness.is_told("420[\"sentinel\"]", "430[]").await;
    server.census(|census| census.members == 1 && census.sessions == 1).await;
}

#[tokio::test]
async fn what_needs_no_answer_gets_none() {
    let server = start().await;
    let mut a = Client::socketio(server.broadcast).await;
    for packet in ["6", "5", "3", "3probe", "430[]", "439[{}]"] {
        a.send(packet).await;
    }
    a.is_told("420[\"sentinel\"]", "430[]").await;
    a.send("461-2[{\"_placeholder\":true,\"num\":0}]").await;
    a.socket.send(Message::binary(&b"x"[..])).await.expect("it is connected");
    a.is_told("421[\"sentinel\"]", "431[]").await;
    // Binary data may also come as text, as it does when polling.
    a.send("451-5[\"sentinel\",{}]").await;
    a.send("bAAEC").await;
    a.hears("435[]").await;
}

#[tokio::test]
async fn a_client_may_close_in_either_layer() {
    let server = start().await;
    let mut a = Client::socketio(server.broadcast).await;
    a.send("1").await;
    a.is_closed(1000).await;
    let mut b = Client::socketio(server.broadcast).await;
    b.send_raw(&frame(0x88, &[0x03, 0xe8])).await;
    b.is_closed(1000).await;
    drop((a, b));
    server.empty().await;
}

#[tokio::test]
async fn a_million_bytes_are_allowed_with_all_attachments() {
    let server = start().await;
    let mut a = Client::socketio(server.broadcast).await;
    let event = |length: usize| format!("42[\"send-offer\",\"{}\"]", "x".repeat(length - 19));
    a.send(&event(1_000_000)).await;
    assert_eq!(a.next().await.len(), 1_000_003);
    a.send(&event(1_000_001)).await;
    a.is_closed(1009).await;
    for (second, fits) in [(500_000, true), (500_001, false)] {
        let mut a = Client::socketio(server.broadcast).await;
        // Engine.IO's own character does not count.
        let text = "452-[\"send-offer\"]";
        a.send(text).await;
        for length in [500_000 - (text.len() - 1), second] {
            a.socket.send(Message::binary(vec![0; length])).await.expect("it is connected");
        }
        if fits {
            assert_eq!(a.next().await, "452-[\"receive-offer\"]");
        } else {
            a.is_closed(1009).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_when_a_pong_does_not_come() {
    let _clock = hold();
    let server = start_with(|config| {
        config.socketio.ping_interval = Duration::from_millis(100);
        config.socketio.ping_timeout = Duration::from_millis(300);
    })
    .await;
    let mut a = Client::socketio(server.broadcast).await;
    for _ in 0..3 {
        passing(a.is_told("6", "2")).await;
        a.send("3").await;
    }
    passing(a.hears("2")).await;
    // Another packet is no pong, and there are no WebSocket pings.
    a.is_told("420[\"sentinel\"]", "430[]").await;
    passing(a.is_closed(1008)).await;
    let silent = Client::socketio(server.broadcast).await;
    let mut raw = silent.socket.into_inner();
    let mut bytes = Vec::new();
    let (ended, _) = passing(timeout(PATIENCE, raw.read_to_end(&mut bytes))).await;
    ended.expect("TCP ends").expect("without a reset");
    assert_eq!(bytes, b"\x81\x012\x88\x12\x03\xf0Heartbeat missed");
    drop((a, raw));
    server.empty().await;
}

#[tokio::test(start_paused = true)]
async fn no_connect_in_time_is_1008() {
    let _clock = hold();
    let server = start_with(|config| config.limits.join_timeout = Duration::from_millis(100)).await;
    let mut connected = Client::socketio(server.broadcast).await;
    let mut idle = Client::open(server.broadcast, WEBSOCKET).await;
    passing(idle.is_closed(1008)).await;
    connected.is_told("420[\"sentinel\"]", "430[]").await;
}

#[tokio::test]
async fn a_slow_consumer_is_1008_and_holds_up_nobody() {
    let server = start_with(|config| {
        config.limits.queue_bytes_max = 1024 * 1024;
        config.limits.close_timeout = PATIENCE;
    })
    .await;
    let (mut a, mut slow) = (Client::socketio(server.broadcast).await, Client::socketio(server.broadcast).await);
    let event = |name: &str| format!("42[\"{name}-offer\",\"{}\"]", "x".repeat(100_000));
    let flood = async {
        while server.handle.census().members == 2 {
            a.is_told(&event("send"), &event("receive")).await;
        }
    };
    timeout(PATIENCE, flood).await.expect("the slow one is dropped");
    slow.is_closed(1008).await;
    a.is_told("420[\"sentinel\"]", "430[]").await;
}

#[tokio::test]
async fn one_connection_too_many_is_1013() {
    let server = start_with(|config| config.limits.connections_max = 1).await;
    let mut first = Client::socketio(server.broadcast).await;
    Client::open(server.broadcast, WEBSOCKET).await.is_closed(1013).await;
    first.is_told("420[\"sentinel\"]", "430[]").await;
}

#[tokio::test]
async fn shutdown_is_1001_after_what_waits() {
    let server = start().await;
    let (mut a, mut b) = (Client::socketio(server.broadcast).await, Client::socketio(server.broadcast).await);
    a.is_told("42[\"send-offer\",1]", "42[\"receive-offer\",1]").await;
    server.handle.shutdown();
    b.hears("42[\"receive-offer\",1]").await;
    tokio::join!(a.is_closed(1001), b.is_closed(1001));
    drop((a, b));
    timeout(PATIENCE, server.task).await.expect("it ends").expect("without a panic");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_and_no_session_id_twice() {
    let mut runs = Vec::new();
    for seed in [5, 5, 6] {
        let server = start_with(|config| config.seed = seed).await;
        let mut ids = Vec::new();
        for address in [server.broadcast, server.call_socketio, server.broadcast] {
            let mut client = Client::open(address, WEBSOCKET).await;
            ids.push(client.next().await);
            client.send("40").await;
            ids.push(client.next().await);
        }
        runs.push(ids);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[1].iter().zip(&runs[2]).all(|(a, b)| a != b));
    assert!(runs[0][0] != runs[0][2] && runs[0][2] != runs[0][4] && runs[0][0] != runs[0][4]);
}
