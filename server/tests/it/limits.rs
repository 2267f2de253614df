//! What one client may cost: time without a join, silence, a queue that it does not read.

use std::time::Duration;

use server::net::Tokio;
use server::{Config, Heartbeat, Server};
use tokio::io::AsyncReadExt;
use tokio::time::{advance, timeout};

use crate::client::{Client, PATIENCE, Running, frame, start_with};
use crate::clock::{hold, passing, settle};

#[tokio::test(start_paused = true)]
async fn no_join_in_time_is_1008() {
    let _clock = hold();
    let server = start_with(|config| config.limits.join_timeout = Duration::from_millis(100)).await;
    let mut joined = Client::join(&server, "r").await;
    let mut idle = Client::connect(&server).await;
    // Anything but a join does not count.
    idle.send(r#"{"action":"leave","roomId":"r"}"#).await;
    idle.next().await;
    advance(Duration::from_millis(99)).await;
    idle.hears_nothing().await;
    advance(Duration::from_millis(1)).await;
    idle.is_closed(1008).await;
    joined.hears_nothing().await;
    joined.send(r#"{"action":"leave","roomId":"r"}"#).await;
    // Only the first join has a deadline: the next idler goes, this one stays.
    passing(Client::connect(&server).await.is_closed(1008)).await;
    joined.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_after_two_missed_pongs() {
    let _clock = hold();
    let heartbeat = Heartbeat { interval: Duration::from_millis(100), missed_max: 2 };
    let server = start_with(|config| config.heartbeat = heartbeat).await;
    let mut a = Client::join(&server, "r").await;
    let silent = Client::join(&server, "r").await;
    a.next().await;
    let left = format!(r#"{{"action":"peer-left","roomId":"r","clientId":"{}"}}"#, silent.id);
    // It never answers a ping, because nobody polls it: its bytes are read past the WebSocket.
    let mut raw = silent.socket.into_inner();
    let ((), dropped_after) = passing(a.hears(&left)).await;
    assert_eq!(dropped_after, Duration::from_millis(300));
    let mut bytes = Vec::new();
    timeout(PATIENCE, raw.read_to_end(&mut bytes)).await.expect("TCP ends").expect("without a reset");
    assert_eq!(bytes, b"\x89\x00\x89\x00\x88\x12\x03\xf0Heartbeat missed");
    server.census(|census| census.connections == 1).await;
    a.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn any_frame_counts_as_life() {
    let _clock = hold();
    let heartbeat = Heartbeat { interval: Duration::from_millis(60), missed_max: 1 };
    let server = start_with(|config| config.heartbeat = heartbeat).await;
    let mut talker = Client::join(&server, "r").await;
    // Sends without ever reading, thus without a pong.
    for _ in 0..12 {
        advance(Duration::from_millis(25)).await;
        talker.send(r#"{"action":"sentinel"}"#).await;
        settle().await;
    }
    assert_eq!(server.handle.census().members, 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_socket_beats_an_overdue_timer() {
    let _clock = hold();
    let interval = Duration::from_millis(100);
    let server = start_with(|config| {
        config.heartbeat = Heartbeat { interval, missed_max: 1 };
        config.limits.join_timeout = interval;
    })
    .await;
    // Both timers are over before the server's task runs again, and both answers were sent before.
    let mut client = Client::connect(&server).await;
    client.send(r#"{"action":"sentinel"}"#).await;
    client.send(r#"{"action":"join","roomId":"r"}"#).await;
    advance(interval).await;
    settle().await;
    assert_eq!(server.handle.census().members, 1, "its join came in time");
    client.send_raw(&[0x8a, 0x80, 0, 0, 0, 0]).await;
    advance(interval * 5).await;
    settle().await;
    assert_eq!(server.handle.census().members, 1, "its pong came in time");
    // A flood of anything else is no join.
    let mut flooder = Client::connect(&server).await;
    for _ in 0..1000 {
        flooder.send_raw(&frame(0x81, b"{}")).await;
    }
    advance(interval).await;
    flooder.is_closed(1008).await;
}

#[tokio::test]
async fn a_heartbeat_that_never_pings_is_refused() {
    let heartbeat = Heartbeat { missed_max: 0, ..Heartbeat::default() };
    let config = Config { listen: Vec::new(), stun: None, heartbeat, ..Config::default() };
    let error = Server::bind(Tokio, config).await.err().expect("it would close everybody").to_string();
    assert_eq!(error, "heartbeat.missed_max must be at least 1, or no client would be pinged");
}

/// Two in a room, one of which never reads. Returns when the other has heard that it is gone, with its socket.
async fn flood(server: &Running, payload: usize) -> (Client, Client) {
    let mut sender = Client::join(server, "r").await;
    let slow = Client::join(server, "r").await;
    sender.next().await;
    let payload = "x".repeat(payload);
    let signal = format!(r#"{{"action":"signal","roomId":"r","type":"offer","data":"{payload}"}}"#);
    let flood = async {
        loop {
            sender.send(&signal).await;
            sender.send(r#"{"action":"sentinel"}"#).await;
            let answer = sender.next().await;
            if answer.contains("peer-left") {
                sender.next().await;
                return;
            }
        }
    };
    if timeout(PATIENCE, flood).await.is_err() {
        panic!("the slow one is not dropped: {:?}", server.handle.census());
    }
    (sender, slow)
}

#[tokio::test]
async fn a_slow_consumer_is_1008_and_holds_up_nobody() {
    let server = start_with(|config| {
        config.limits.queue_bytes_max = 1024 * 1024;
        config.limits.close_timeout = PATIENCE;
    })
    .await;
    let (mut sender, mut slow) = flood(&server, 100_000).await;
    let census = server.handle.census();
    assert!((900_000..=1024 * 1024).contains(&census.queued_bytes_peak), "{census:?}");
    assert_eq!(census.members, 1);
    // It begins to read again within the closing time: then it learns why.
    slow.is_closed(1008).await;
    sender.hears_nothing().await;
    drop(sender);
    server.empty().await;
}

#[tokio::test]
async fn many_small_messages_fill_a_queue_too() {
    let server = start_with(|config| config.limits.queue_messages_max = 50).await;
    let (_sender, _slow) = flood(&server, 20_000).await;
    let census = server.handle.census();
    assert_eq!(census.queued_messages_peak, 50, "{census:?}");
}

#[tokio::test]
async fn a_slow_consumer_that_never_reads_is_dropped_nevertheless() {
    let server = start_with(|config| {
        config.limits.queue_bytes_max = 300_000;
        config.limits.close_timeout = Duration::from_millis(100);
    })
    .await;
    let (_sender, _slow) = flood(&server, 100_000).await;
    server.census(|census| census.connections == 1 && census.queued_bytes == 0).await;
}

#[tokio::test]
async fn a_write_without_progress_is_given_up() {
    let server = start_with(|config| {
        config.limits.queue_bytes_max = usize::MAX;
        config.limits.queue_messages_max = usize::MAX;
        config.limits.write_timeout = Duration::from_millis(100);
    })
    .await;
    let (_sender, _slow) = flood(&server, 100_000).await;
    server.census(|census| census.connections == 1 && census.queued_bytes == 0).await;
}

#[tokio::test]
async fn one_connection_too_many_is_1013() {
    let server = start_with(|config| config.limits.connections_max = 1).await;
    let mut first = Client::join(&server, "r").await;
    Client::connect(&server).await.is_closed(1013).await;
    first.hears_nothing().await;
    drop(first);
    server.empty().await;
    Client::join(&server, "r").await;
}
