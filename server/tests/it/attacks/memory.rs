//! Bytes that nobody may make the server hold for ever.

use std::time::Duration;

use server::Deflate;

use super::{ATTACKER, NEVER, metric, two_can_talk};
use crate::access::from;
use crate::client::{Client, frame, start_with};
use crate::clock::{hold, settle};
use crate::deflate::{Raw, deflated};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn unfinished_messages_have_a_budget_and_the_largest_are_shed() {
    let server = start_with(|config| {
        config.limits.buffered_bytes_max = 32 * MIB;
        config.limits.message_timeout = NEVER;
    })
    .await;
    let mut member = Client::join(&server, "r").await;
    let message = frame(0x81, &vec![b' '; 1000 * 1000]);
    let mut attack = Vec::new();
    for _ in 0..100 {
        let mut client = Client::upgrade(from(ATTACKER, server.mesh).await, "/").await;
        client.joins("attack").await;
        let bytes = message[..message.len() - 1].to_vec();
        attack.push(tokio::spawn(async move {
            // It fails when the server closes the connection.
            let _ = tokio::io::AsyncWriteExt::write_all(client.socket.get_mut(), &bytes).await;
            client
        }));
    }
    let shed = r#"glare_websockets_closed_total{reason="over-capacity"}"#;
    while metric(&server, shed).await < 60 {
        assert!(metric(&server, "glare_buffered_bytes").await <= 32 * MIB as u64);
    }
    two_can_talk(&server).await;
    member.hears_nothing().await;
    drop(attack);
}

#[tokio::test]
async fn compressed_messages_are_decompressed_up_to_the_limit_and_no_further() {
    let server = start_with(|config| {
        config.deflate = Some(Deflate::NoTakeover);
        config.limits.buffered_bytes_max = 32 * MIB;
    })
    .await;
    let mut member = Client::join(&server, "r").await;
    let bomb = frame(0xc1, &deflated(&vec![b' '; 64 * MIB]));
    assert!(bomb.len() < MIB / 10);
    for _ in 0..20 {
        let mut client = Raw::offering_at(server.mesh, "/", "permessage-deflate").await;
        client.send(&bomb).await;
        assert_eq!(client.closed().await, 1009);
        assert!(metric(&server, "glare_buffered_bytes").await <= MIB as u64);
    }
    two_can_talk(&server).await;
    member.hears_nothing().await;
    assert_eq!(metric(&server, r#"glare_websockets_closed_total{reason="too-large"}"#).await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_never_ends_has_a_time_limit() {
    let _clock = hold();
    let server = start_with(|config| {
        config.limits.message_timeout = Duration::from_secs(30);
        config.heartbeat.interval = NEVER;
    })
    .await;
    let mut member = Client::join(&server, "r").await;
    // Half a frame, half a header, and fragments without an end.
    let mut attack = Vec::new();
    for bytes in [&frame(0x81, b"{\"action\"")[..9], &[0x81][..], &frame(0x01, b"{")] {
        let mut client = Client::join(&server, "attack").await;
        client.send_raw(bytes).await;
        attack.push(client);
    }
    for second in 0..30 {
        settle().await;
        attack[2].send_raw(&frame(0x00, if second % 2 == 0 { b" " } else { b"" })).await;
        settle().await;
        // A pong is no end.
        attack[0].send_raw(b"").await;
        assert_eq!(server.handle.census().members, 4, "after {second} s");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    for client in &mut attack {
        client.is_closed(1008).await;
    }
    member.hears_nothing().await;
    assert_eq!(metric(&server, r#"glare_websockets_closed_total{reason="message-timeout"}"#).await, 3);
}

#[tokio::test(start_paused = true)]
async fn attachments_that_never_come_have_a_time_limit() {
    let _clock = hold();
    let server = start_with(|config| config.limits.message_timeout = Duration::from_secs(5)).await;
    let mut client = Client::socketio(server.broadcast).await;
    client.send(r#"451-["send-offer",{"_placeholder":true,"num":0}]"#).await;
    settle().await;
    tokio::time::advance(Duration::from_secs(4)).await;
    settle().await;
    assert_eq!(server.handle.census().sessions, 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    client.is_closed(1008).await;
}
