//! One must not harm all: each test is an attack by one client, and the others must not notice.
//!
//! `docs/withstands.md` lists them. They count messages, closes and bytes, and never the time.

mod connections;
mod memory;
mod queues;
mod relays;

use std::time::Duration;

use crate::client::{Client, Running};

/// The address of whoever attacks; the others have 127.0.0.1.
const ATTACKER: &str = "127.0.0.2";

/// Longer than any test: a limit of this length has no effect.
const NEVER: Duration = Duration::from_secs(3600);

/// Two in a room who exchange a message.
async fn two_can_talk(server: &Running) {
    let (mut a, mut b) = (Client::join(server, "honest").await, Client::join(server, "honest").await);
    a.next().await;
    a.send(r#"{"action":"signal","roomId":"honest","type":"offer","data":1}"#).await;
    assert!(b.next().await.contains("\"offer\""));
}

/// A sample of the metrics.
async fn metric(server: &Running, name: &str) -> u64 {
    let page = crate::api::get(server, "/metrics").await.body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or("0").parse().expect("a number")
}
