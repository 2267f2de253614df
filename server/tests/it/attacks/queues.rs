//! Floods of messages, which must not close those who read.

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::metric;
use crate::client::{Client, PATIENCE, Running, frame, start};

async fn user(server: &Running, name: &str) -> Client {
    let mut user = Client::open(server.call, "/").await;
    user.send(&join(name)).await;
    user
}

fn join(name: &str) -> String {
    format!(r#"{{"type":"join","data":{{"username":"{name}"}}}}"#)
}

/// Reads lists of users until one has this user; returns how many that were.
async fn reads_lists_until(client: &mut Client, name: &str) -> usize {
    let mut lists = 0;
    loop {
        let list = client.next().await;
        assert!(list.starts_with(r#"{"type":"userList""#), "{list}");
        lists += 1;
        if list.contains(name) {
            return lists;
        }
    }
}

#[tokio::test]
async fn a_user_that_renames_itself_all_the_time_closes_nobody() {
    let server = start().await;
    let long = |n: usize| format!("{n:02}{}", "😀".repeat(62));
    let mut honest = Vec::new();
    for n in 0..10 {
        honest.push(user(&server, &long(n)).await);
        reads_lists_until(&mut honest[n], &long(n)).await;
    }
    for (n, client) in honest.iter_mut().enumerate().take(9) {
        for _ in n..9 {
            client.next().await;
        }
    }
    let mut attacker = Client::open(server.call, "/").await;
    // All at once, while nobody reads.
    let flood: Vec<u8> = (0..5000).flat_map(|n| frame(0x81, join(&format!("a{n}")).as_bytes())).collect();
    attacker.send_raw(&flood).await;
    reads_lists_until(&mut attacker, "\"a4999\"").await;
    let unsent = server.handle.census().queued_messages_peak;
    assert!(unsent < 64, "{unsent} messages waited for one client");
    for client in &mut honest {
        reads_lists_until(client, "\"a4999\"").await;
    }
    assert_eq!(metric(&server, r#"glare_websockets_closed_total{reason="slow-consumer"}"#).await, 0);
    // They are still users.
    honest[0].send(&format!(r#"{{"type":"call","data":{{"target":"{}"}}}}"#, long(1))).await;
    assert!(honest[1].next().await.contains("incomingCall"));
}

async fn many_join_at_once(users: usize) {
    let server = start().await;
    let mut clients = Vec::new();
    for _ in 0..users {
        clients.push(Client::open(server.call, "/").await);
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&join(&format!("user {n}"))).await;
    }
    server.census(|census| census.members == users).await;
    let last = server.handle.census();
    for client in &mut clients {
        // The newest list has them all.
        let all = async {
            loop {
                let list = client.next().await;
                if list.matches("user ").count() == users {
                    return;
                }
            }
        };
        timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("somebody misses somebody: {last:?}"));
    }
    assert_eq!(metric(&server, r#"glare_websockets_closed_total{reason="slow-consumer"}"#).await, 0);
}

#[tokio::test]
async fn hundreds_of_users_who_join_at_once_close_none_of_each_other() {
    many_join_at_once(300).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn thousands_of_users_who_join_at_once_close_none_of_each_other() {
    many_join_at_once(2000).await;
}

async fn a_flood_reaches_all_who_read(messages: usize) {
    let server = start().await;
    let mut sender = Client::join(&server, "r").await;
    let mut readers = Vec::new();
    for _ in 0..10 {
        readers.push(Client::join(&server, "r").await);
    }
    for _ in 0..10 {
        sender.next().await;
    }
    let data = "x".repeat(200);
    let reading = readers.into_iter().map(|mut reader| {
        tokio::spawn(async move {
            let mut count = 0;
            while count < messages {
                match timeout(PATIENCE, reader.socket.next()).await.expect("something comes") {
                    Some(Ok(Message::Text(text))) => count += usize::from(text.contains("\"offer\"")),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("after {count} messages: {other:?}"),
                }
            }
        })
    });
    let reading: Vec<_> = reading.collect();
    let message = format!(r#"{{"action":"signal","roomId":"r","type":"offer","data":"{data}"}}"#);
    let sending = tokio::spawn(async move {
        for _ in 0..messages {
            sender.socket.feed(Message::text(message.as_str())).await.expect("it is connected");
        }
        sender.socket.flush().await.expect("it is connected");
        sender
    });
    for reader in reading {
        reader.await.expect("it was not closed");
    }
    let _sender = sending.await.expect("it was not closed");
    assert_eq!(metric(&server, r#"glare_websockets_closed_total{reason="slow-consumer"}"#).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fast_sender_closes_nobody_who_reads() {
    a_flood_reaches_all_who_read(20_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes"]
async fn a_very_fast_sender_closes_nobody_who_reads() {
    a_flood_reaches_all_who_read(300_000).await;
}

/// A member that never reads delays a fast sender once, and is closed.
#[tokio::test]
async fn whoever_does_not_read_stops_no_sender() {
    let server = start().await;
    let mut sender = Client::join(&server, "r").await;
    let deaf = Client::join(&server, "r").await;
    sender.next().await;
    let data = "x".repeat(100_000);
    let flood = frame(0x81, format!(r#"{{"action":"signal","roomId":"r","type":"offer","data":"{data}"}}"#).as_bytes());
    for _ in 0..200 {
        sender.send_raw(&flood).await;
    }
    assert!(timeout(PATIENCE, sender.next()).await.expect("the other one is closed").contains("peer-left"));
    drop(deaf);
}

/// One payload of Socket.IO holds thousands of events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_full_of_events_closes_nobody_who_reads() {
    let server = start().await;
    let mut reader = Client::socketio(server.broadcast).await;
    let mut sender = crate::socketio_client::Poller::connect(server.broadcast).await;
    const EVENTS: usize = 20_000;
    let reading = tokio::spawn(async move {
        for n in 0..EVENTS {
            reader.hears(&format!(r#"42["receive-offer",{n}]"#)).await;
        }
        reader
    });
    // The sender receives its own events as well, so it polls at the same time, on another connection.
    let polling = format!("{}&sid={}", crate::socketio_client::POLLING, sender.sid);
    let polls = tokio::spawn(async move {
        let mut received = 0;
        while received < EVENTS {
            let answer = crate::socketio_client::request(server.broadcast, "GET", &polling, b"").await;
            assert_eq!(answer.status, 200, "after {received}: {answer:?}");
            received += answer.body.matches("receive-offer").count();
        }
    });
    let events: Vec<String> = (0..EVENTS).map(|n| format!(r#"42["send-offer",{n}]"#)).collect();
    for payload in events.chunks(EVENTS / 2) {
        sender.post(payload.join("\u{1e}").as_bytes()).await.is(200, "ok");
    }
    polls.await.expect("it was not closed");
    reading.await.expect("it was not closed");
}
