//! The sender-viewer dialect: every message, every refusal, payloads to the byte.

use std::time::Duration;

use server::Heartbeat;

use crate::client::{Client, Running, frame, start, start_with};
use crate::clock::{hold, passing};

const READY: &str = r#"{"type":"viewer-ready"}"#;

#[tokio::test]
async fn the_sender_learns_that_the_viewer_is_there_whoever_came_first() {
    let server = start().await;
    for roles in [["sender", "viewer"], ["viewer", "sender"]] {
        let (mut first, mut second) = (connect(&server).await, connect(&server).await);
        join(&mut first, roles[0], "r1").await;
        join(&mut second, roles[1], "r1").await;
        let sender = if roles[0] == "sender" { &mut first } else { &mut second };
        sender.hears(READY).await;
        is_quiet(&mut first).await;
        is_quiet(&mut second).await;
        drop((first, second));
        server.empty().await;
    }
}

#[tokio::test]
async fn payloads_go_to_the_other_side_byte_for_byte() {
    let server = start().await;
    let (mut sender, mut viewer) = pair(&server).await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    for payload in [
        r#"{"type":"offer","sdp":"v=0\r\no=- \u00e9\/\ud83d\ude00 é"}"#,
        r#"{ "z":1, "a":2,	"z":3 }"#,
        "1.0e+400",
        r#""\ud800""#,
        "null",
        "false",
        &deep,
    ] {
        let offer = format!(r#"{{"sdp": {payload} ,"from":"liar","type":"offer","candidate":1}}"#);
        sender.send(&offer).await;
        viewer.hears(&format!(r#"{{"type":"offer","sdp":{payload}}}"#)).await;
        let answer = format!(r#"{{"type":"answer","sdp":{payload}}}"#);
        viewer.send(&answer).await;
        sender.hears(&answer).await;
        let candidate = format!(r#"{{"type":"ice-candidate","candidate":{payload}}}"#);
        viewer.send(&candidate).await;
        sender.hears(&candidate).await;
        sender.send(&candidate).await;
        viewer.hears(&candidate).await;
    }
    is_quiet(&mut sender).await;
    is_quiet(&mut viewer).await;
}

#[tokio::test]
async fn every_refusal_has_its_reason_and_no_effect() {
    let server = start().await;
    let mut outside = connect(&server).await;
    let long = "é".repeat(65);
    for text in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"type":5}"#,
        r#"{"type":"zzz"}"#,
        r#"{"type":"Join","role":"sender","room":"r"}"#,
        r#"{"type":"JOIN","role":"sender","room":"r"}"#,
        r#"{"type":"join","role":"sender"}"#,
        r#"{"type":"join","room":"r"}"#,
        r#"{"type":"join","role":"Sender","room":"r"}"#,
        r#"{"type":"join","role":["sender"],"room":"r"}"#,
        r#"{"type":"join","role":"sender","room":""}"#,
        r#"{"type":"join","role":"sender","room":5}"#,
        r#"{"type":"join","role":"sender","room":"\ud800"}"#,
        &format!(r#"{{"type":"join","role":"sender","room":"{long}"}}"#),
        r#"{"type":"offer"}"#,
        r#"{"type":"answer","candidate":{}}"#,
        r#"{"type":"ice-candidate","sdp":{}}"#,
    ] {
        outside.is_told(text, &error("invalid-message")).await;
    }
    for text in [
        r#"{"type":"offer","sdp":{}}"#,
        r#"{"type":"answer","sdp":{}}"#,
        r#"{"type":"ice-candidate","candidate":null}"#,
    ] {
        outside.is_told(text, &error("not-joined")).await;
    }
    assert_eq!(server.handle.census().rooms, 0);

    let mut alone = connect(&server).await;
    join(&mut alone, "viewer", "other").await;
    alone.is_told(r#"{"type":"answer","sdp":{}}"#, &error("no-peer")).await;
    alone.is_told(r#"{"type":"ice-candidate","candidate":{}}"#, &error("no-peer")).await;
    alone.is_told(r#"{"type":"offer","sdp":{}}"#, &error("not-allowed")).await;

    let (mut sender, mut viewer) = pair(&server).await;
    sender.is_told(r#"{"type":"answer","sdp":{}}"#, &error("not-allowed")).await;
    viewer.is_told(r#"{"type":"offer","sdp":{}}"#, &error("not-allowed")).await;
    for client in [&mut sender, &mut viewer, &mut alone] {
        is_quiet(client).await;
    }
}

#[tokio::test]
async fn a_refused_client_has_no_power_and_leaves_silently() {
    let server = start().await;
    let (mut sender, mut viewer) = pair(&server).await;
    for role in ["sender", "viewer"] {
        let mut refused = connect(&server).await;
        refused.is_told(&asks(role, "r"), &error(&format!("{role}-already-exists"))).await;
        for text in [
            r#"{"type":"offer","sdp":{}}"#,
            r#"{"type":"answer","sdp":{}}"#,
            r#"{"type":"ice-candidate","candidate":{}}"#,
        ] {
            refused.is_told(text, &error("not-joined")).await;
        }
        drop(refused);
        server.census(|census| census.connections == 2).await;
        is_quiet(&mut sender).await;
        is_quiet(&mut viewer).await;
    }
    assert_eq!(server.handle.census().members, 2);
}

#[tokio::test]
async fn joining_again_is_answered_again_with_the_same_id() {
    let server = start().await;
    let (mut sender, mut viewer) = pair(&server).await;
    let (sender_id, viewer_id) = (sender.id.clone(), viewer.id.clone());
    join(&mut viewer, "viewer", "r").await;
    sender.hears(READY).await;
    join(&mut sender, "sender", "r").await;
    sender.hears(READY).await;
    assert_eq!((&sender.id, &viewer.id), (&sender_id, &viewer_id));
    is_quiet(&mut viewer).await;
    assert_eq!(server.handle.census().members, 2);
}

#[tokio::test]
async fn another_room_or_role_gives_up_the_old_one_first() {
    let server = start().await;
    let (mut sender, mut viewer) = pair(&server).await;
    // Refused, because the viewer is there: gone from the room nevertheless.
    sender.is_told(&asks("viewer", "r"), &error("viewer-already-exists")).await;
    viewer.hears(r#"{"type":"sender-left"}"#).await;
    sender.is_told(r#"{"type":"offer","sdp":{}}"#, &error("not-joined")).await;
    join(&mut sender, "sender", "r").await;
    sender.hears(READY).await;
    join(&mut viewer, "viewer", "elsewhere").await;
    sender.hears(r#"{"type":"viewer-left"}"#).await;
    join(&mut sender, "viewer", "r").await;
    sender.is_told(r#"{"type":"answer","sdp":{}}"#, &error("no-peer")).await;
    is_quiet(&mut viewer).await;
    assert_eq!((server.handle.census().rooms, server.handle.census().members), (2, 2));
}

#[tokio::test]
async fn every_way_to_leave_is_announced_once() {
    let server = start().await;
    for (role, stays) in [("sender", "viewer"), ("viewer", "sender")] {
        let mut stays_client = connect(&server).await;
        join(&mut stays_client, stays, "r").await;
        for way in ["close", "lost", "protocol error", "binary"] {
            let mut leaver = connect(&server).await;
            join(&mut leaver, role, "r").await;
            if stays == "sender" {
                stays_client.hears(READY).await;
            }
            match way {
                "close" => leaver.socket.close(None).await.expect("it is connected"),
                "protocol error" => leaver.send_raw(&[0xff, 0xff]).await,
                "binary" => leaver.send_raw(&frame(0x82, b"{}")).await,
                _ => {}
            }
            drop(leaver);
            stays_client.hears(&format!(r#"{{"type":"{role}-left"}}"#)).await;
            server.census(|census| census.connections == 1).await;
            is_quiet(&mut stays_client).await;
        }
        drop(stays_client);
        server.empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_ghost_holds_its_role_until_the_heartbeat_finds_it_dead() {
    let _clock = hold();
    let heartbeat = Heartbeat { interval: Duration::from_millis(100), missed_max: 2 };
    let server = start_with(|config| config.heartbeat = heartbeat).await;
    let (ghost, mut viewer) = pair(&server).await;
    let _unread = ghost.socket.into_inner(); // nobody answers its pings
    let mut early = connect(&server).await;
    early.is_told(&asks("sender", "r"), &error("sender-already-exists")).await;
    passing(viewer.hears(r#"{"type":"sender-left"}"#)).await;
    let mut heir = connect(&server).await;
    join(&mut heir, "sender", "r").await;
    heir.hears(READY).await;
    is_quiet(&mut viewer).await;
}

#[tokio::test]
async fn names_of_rooms_are_exact_and_may_be_odd() {
    let server = start().await;
    let longest = "😀".repeat(64);
    let mut senders = Vec::new();
    for room in ["__proto__", "constructor", " r ", r"\u0000", r#"\"\\"#, "R", "r", "é", "e\u{301}", &longest] {
        let mut sender = connect(&server).await;
        join(&mut sender, "sender", room).await;
        senders.push(sender);
    }
    assert_eq!(server.handle.census().rooms, senders.len());
}

#[tokio::test(start_paused = true)]
async fn no_role_in_time_is_1008_and_a_refusal_is_none() {
    let _clock = hold();
    let server = start_with(|config| config.limits.join_timeout = Duration::from_millis(150)).await;
    let mut sender = connect(&server).await;
    join(&mut sender, "sender", "r").await;
    let mut refused = connect(&server).await;
    refused.is_told(&asks("sender", "r"), &error("sender-already-exists")).await;
    passing(refused.is_closed(1008)).await;
    is_quiet(&mut sender).await;
}

#[tokio::test]
async fn the_limit_is_inclusive_and_beyond_it_is_1009() {
    let server = start().await;
    let (mut sender, mut viewer) = pair(&server).await;
    let offer = |length: usize| format!(r#"{{"type":"offer","sdp":"{}"}}"#, "x".repeat(length - 25));
    sender.send(&offer(262_144)).await;
    assert_eq!(viewer.next().await.len(), 262_144);
    sender.send(&offer(262_145)).await;
    sender.is_closed(1009).await;
    viewer.hears(r#"{"type":"sender-left"}"#).await;
    is_quiet(&mut viewer).await;
}

pub(crate) async fn connect(server: &Running) -> Client {
    Client::open(server.http, "/ws").await
}

/// A sender and a viewer in the room `r`, who have been told all there is to tell.
pub(crate) async fn pair(server: &Running) -> (Client, Client) {
    let (mut sender, mut viewer) = (connect(server).await, connect(server).await);
    join(&mut sender, "sender", "r").await;
    join(&mut viewer, "viewer", "r").await;
    sender.hears(READY).await;
    (sender, viewer)
}

/// Joins a room, checks the answer, and takes the id from it.
async fn join(client: &mut Client, role: &str, room: &str) {
    client.send(&asks(role, room)).await;
    let joined = client.next().await;
    let head = format!(r#"{{"type":"joined","role":"{role}","room":"{room}","clientId":""#);
    let id = joined.strip_prefix(&head).and_then(|rest| rest.strip_suffix("\"}")).expect(&joined);
    assert!(id.len() == 10 && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()), "{id}");
    client.id = id.to_owned();
}

fn asks(role: &str, room: &str) -> String {
    format!(r#"{{"type":"join","role":"{role}","room":"{room}"}}"#)
}

fn error(reason: &str) -> String {
    format!(r#"{{"type":"error","reason":"{reason}"}}"#)
}

pub(crate) async fn is_quiet(client: &mut Client) {
    client.is_told(r#"{"type":"sentinel"}"#, &error("invalid-message")).await;
}
