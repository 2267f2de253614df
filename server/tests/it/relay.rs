//! The relay dialect: verbatim to everyone else in the room, and nothing else.

use std::time::Duration;

use crate::client::{Client, Running, frame, start, start_with};
use crate::http::{KEY, UPGRADE, VERSION, request};

const INVALID_JSON: &str = r#"{"type":"error","message":"Invalid JSON"}"#;
const UNKNOWN_TYPE: &str = r#"{"type":"error","message":"Unknown type"}"#;

#[tokio::test]
async fn messages_reach_everyone_else_in_the_room_verbatim() {
    let server = start().await;
    let [mut a, mut b, mut c] = [
        enter(&server, "/relay?room=r", 1).await,
        enter(&server, "/relay?room=r", 2).await,
        enter(&server, "/relay?x=1&room=%72", 3).await,
    ];
    let mut elsewhere = enter(&server, "/relay?room=R", 4).await;
    let deep = format!(r#"{{"type":"offer","offer":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    for message in [
        r#"{"type":"offer","offer":{"type":"offer","sdp":"v=0\r\n"}}"#,
        r#"{"type":"answer","answer":{"z":1,"a":2,"z":3}}"#,
        r#"{"type":"candidate","candidate":null}"#,
        " { \"extra\" : 1.0e+400,\n\t\"candidate\":\"\\u00e9\\ud800 é\" , \"\\u0074ype\":\"\\u0063andidate\"}\r\n",
        r#"{"type":"zzz","type":"offer"}"#,
        &deep,
    ] {
        a.send(message).await;
        b.hears(message).await;
        c.hears(message).await;
    }
    for client in [&mut a, &mut b, &mut c, &mut elsewhere] {
        is_quiet(client).await;
    }
    assert_eq!((server.handle.census().rooms, server.handle.census().members), (2, 4));
    drop((b, c));
    server.census(|census| census.members == 2).await;
    is_quiet(&mut a).await; // nobody is told that somebody left
    drop((a, elsewhere));
    server.empty().await;
}

#[tokio::test]
async fn the_room_is_default_when_none_is_named() {
    let server = start().await;
    let mut a = enter(&server, "/relay", 1).await;
    for (n, target) in ["/relay?", "/relay?room", "/relay?room=", "/relay?room=default"].into_iter().enumerate() {
        let mut b = enter(&server, target, 2).await;
        let message = format!(r#"{{"type":"offer","offer":{n}}}"#);
        b.send(&message).await;
        a.hears(&message).await;
        drop(b);
        server.census(|census| census.members == 1).await;
    }
    assert_eq!(server.handle.census().rooms, 1);
}

#[tokio::test]
async fn what_is_no_offer_answer_or_candidate_is_an_error() {
    let server = start().await;
    let (mut a, mut b) = (enter(&server, "/relay", 1).await, enter(&server, "/relay", 2).await);
    for text in ["", "{", r#"{"type":"offer"} x"#, r#"{"type":"offer",}"#, "{'type':'offer'}"] {
        a.is_told(text, INVALID_JSON).await;
    }
    for text in [
        "{}",
        "null",
        "[]",
        r#""offer""#,
        "5",
        r#"{"type":"zzz"}"#,
        r#"{"type":"Offer"}"#,
        r#"{"type":null}"#,
        r#"{"type":["offer"]}"#,
        r#"{"offer":{}}"#,
        r#"{"type":"offer","type":1}"#,
    ] {
        a.is_told(text, UNKNOWN_TYPE).await;
    }
    is_quiet(&mut b).await;
    a.send(r#"{"type":"offer"}"#).await;
    b.hears(r#"{"type":"offer"}"#).await;
}

#[tokio::test]
async fn a_room_that_is_none_is_400_and_another_path_404() {
    let server = start().await;
    let longest = "%C3%A9".repeat(64);
    for (target, status) in [
        (format!("/relay?room={longest}"), "101 switching protocols"),
        (format!("/relay?room={longest}x"), "400 bad request"),
        (format!("/relay?room={}", "a".repeat(65)), "400 bad request"),
        ("/relay?room=%ff".to_owned(), "400 bad request"),
        ("/relay/".to_owned(), "404 not found"),
        ("/relay/r".to_owned(), "404 not found"),
        ("/Relay".to_owned(), "404 not found"),
        ("/".to_owned(), "404 not found"),
    ] {
        let response = request(server.http, &format!("GET {target} HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}\r\n")).await;
        assert!(response.starts_with(&format!("http/1.1 {status}\r\n")), "{target} was answered {response}");
    }
    server.empty().await;
}

#[tokio::test]
async fn there_is_no_join_timeout() {
    let server = start_with(|config| config.limits.join_timeout = Duration::from_millis(50)).await;
    let mut client = enter(&server, "/relay", 1).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    is_quiet(&mut client).await;
}

#[tokio::test]
async fn the_limit_is_inclusive_and_beyond_it_is_1009() {
    let server = start().await;
    let (mut a, mut b) = (enter(&server, "/relay", 1).await, enter(&server, "/relay", 2).await);
    let offer = |length: usize| format!(r#"{{"type":"offer","offer":"{}"}}"#, "x".repeat(length - 27));
    a.send(&offer(262_144)).await;
    assert_eq!(b.next().await.len(), 262_144);
    a.send(&offer(262_145)).await;
    a.is_closed(1009).await;
    is_quiet(&mut b).await;
}

#[tokio::test]
async fn broken_frames_close_the_one_that_sent_them() {
    let server = start().await;
    let mut witness = enter(&server, "/relay", 1).await;
    for (bytes, code) in [
        (frame(0x82, br#"{"type":"offer"}"#), 1003),
        (frame(0x81, b"{\"type\":\"\xff\"}"), 1007),
        (frame(0xc1, br#"{"type":"offer"}"#), 1002),
    ] {
        let mut bad = enter(&server, "/relay", 2).await;
        bad.send_raw(&bytes).await;
        bad.is_closed(code).await;
        drop(bad);
        server.census(|census| census.members == 1).await;
        is_quiet(&mut witness).await;
    }
}

/// Connects, and waits until that many are in a room: the 101 comes a moment before one is.
async fn enter(server: &Running, target: &str, members: usize) -> Client {
    let client = Client::open(server.http, target).await;
    server.census(|census| census.members == members).await;
    client
}

async fn is_quiet(client: &mut Client) {
    client.is_told(r#"{"type":"sentinel"}"#, UNKNOWN_TYPE).await;
}
