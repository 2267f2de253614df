//! The call dialect: every message, every error code, payloads to the byte.

use std::time::Duration;

use crate::client::{Client, Running, frame, start, start_with};
use crate::clock::{hold, passing};

#[tokio::test]
async fn everyone_hears_of_every_change_of_the_users() {
    let server = start().await;
    let mut b = join(&server, "B").await;
    b.hears(r#"{"type":"userList","data":["B"]}"#).await;
    let mut silent = connect(&server).await;
    let mut a = join(&server, "A").await;
    for client in [&mut a, &mut b] {
        client.hears(r#"{"type":"userList","data":["A","B"]}"#).await;
    }
    // The same name again changes nothing.
    a.is_told(r#"{"type":"join","data":{"username":"A"}}"#, r#"{"type":"userList","data":["A","B"]}"#).await;
    is_quiet(&mut b).await;
    is_quiet(&mut silent).await;
    a.send(r#"{"type":"join","data":{"username":"\"é"}}"#).await;
    for client in [&mut a, &mut b] {
        client.hears(r#"{"type":"userList","data":["\"é","B"]}"#).await;
    }
    drop(a);
    b.hears(r#"{"type":"userList","data":["B"]}"#).await;
    b.send_raw(&frame(0x82, b"{}")).await;
    b.is_closed(1003).await;
    drop((b, silent));
    server.empty().await;
}

#[tokio::test]
async fn a_call_is_announced_accepted_used_and_ended() {
    let server = start().await;
    let [mut a, mut b, mut c] = three(&server).await;
    ring((&mut a, "A"), (&mut b, "B")).await;
    b.send(&response(true, "A")).await;
    a.hears(r#"{"type":"callAnswered","data":{"accepted":true,"target":"B"}}"#).await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    for payload in [r#"{ "z":1,"a":"\u00e9\r\n", "z":1.0e+400 }"#, r#""\ud800""#, "null", &deep] {
        for (kind, field, stamp) in
            [("offer", "offer", "caller"), ("answer", "answer", "answerer"), ("iceCandidate", "candidate", "sender")]
        {
            let lie =
                format!(r#"{{"data":{{"{stamp}":"C","{field}": {payload} ,"target":"B"}},"type":"{kind}","x":1}}"#);
            a.send(&lie).await;
            b.hears(&format!(r#"{{"type":"{kind}","data":{{"{field}":{payload},"{stamp}":"A"}}}}"#)).await;
        }
    }
    for (media, enabled) in [("video", false), ("audio", true)] {
        let change = format!(r#""mediaType":"{media}","enabled":{enabled}}}}}"#);
        b.send(&format!(r#"{{"type":"mediaStateChange","data":{{"target":"A",{change}"#)).await;
        a.hears(&format!(r#"{{"type":"mediaStateChange","data":{{"sender":"B",{change}"#)).await;
    }
    assert_eq!((server.handle.census().rooms, server.handle.census().members), (1, 3));
    b.send(&to("endCall", "A")).await;
    a.hears(&ended("B")).await;
    a.is_told(&to("endCall", "B"), &error("not-in-call")).await;
    for client in [&mut a, &mut b, &mut c] {
        is_quiet(client).await;
    }
    assert_eq!(server.handle.census().rooms, 0);
}

#[tokio::test]
async fn a_rejected_call_leaves_both_free() {
    let server = start().await;
    let [mut a, mut b, _c] = three(&server).await;
    for _ in 0..2 {
        ring((&mut a, "A"), (&mut b, "B")).await;
        b.send(&response(false, "A")).await;
        a.hears(r#"{"type":"callAnswered","data":{"accepted":false,"target":"B"}}"#).await;
        b.is_told(&response(true, "A"), &error("not-in-call")).await;
    }
    ring((&mut b, "B"), (&mut a, "A")).await;
    is_quiet(&mut b).await;
}

#[tokio::test]
async fn a_ringing_call_may_be_cancelled_by_either_and_carries_candidates() {
    let server = start().await;
    let [mut a, mut b, _c] = three(&server).await;
    ring((&mut a, "A"), (&mut b, "B")).await;
    a.send(r#"{"type":"iceCandidate","data":{"target":"B","candidate":{}}}"#).await;
    b.hears(r#"{"type":"iceCandidate","data":{"candidate":{},"sender":"A"}}"#).await;
    a.send(&to("endCall", "B")).await;
    b.hears(&ended("A")).await;
    b.is_told(&response(true, "A"), &error("not-in-call")).await;
    ring((&mut a, "A"), (&mut b, "B")).await;
    b.send(&to("endCall", "A")).await;
    a.hears(&ended("B")).await;
    is_quiet(&mut a).await;
}

#[tokio::test]
async fn the_busy_are_not_disturbed() {
    let server = start().await;
    let [mut a, mut b, mut c] = three(&server).await;
    ring((&mut a, "A"), (&mut b, "B")).await;
    for answered in [false, true] {
        if answered {
            b.send(&response(true, "A")).await;
            a.hears(r#"{"type":"callAnswered","data":{"accepted":true,"target":"B"}}"#).await;
        }
        for target in ["A", "B"] {
            let busy =
                format!(r#"{{"type":"callAnswered","data":{{"accepted":false,"target":"{target}","reason":"busy"}}}}"#);
            c.is_told(&to("call", target), &busy).await;
        }
        a.is_told(&to("call", "B"), &error("busy")).await;
        a.is_told(&to("call", "C"), &error("busy")).await;
        b.is_told(&to("call", "C"), &error("busy")).await;
        for client in [&mut a, &mut b, &mut c] {
            is_quiet(client).await;
        }
    }
    a.send(&to("endCall", "B")).await;
    b.hears(&ended("A")).await;
    ring((&mut c, "C"), (&mut b, "B")).await;
}

#[tokio::test]
async fn glare_makes_one_call_and_only_the_first_caller_is_answered() {
    let server = start().await;
    let [mut a, mut b, _c] = three(&server).await;
    ring((&mut a, "A"), (&mut b, "B")).await;
    b.send(&to("call", "A")).await;
    a.hears(r#"{"type":"callAnswered","data":{"accepted":true,"target":"B"}}"#).await;
    is_quiet(&mut a).await;
    is_quiet(&mut b).await;
    b.is_told(&response(true, "A"), &error("not-in-call")).await;
    b.send(r#"{"type":"offer","data":{"target":"A","offer":{}}}"#).await;
    a.hears(r#"{"type":"offer","data":{"offer":{},"caller":"B"}}"#).await;
    assert_eq!(server.handle.census().rooms, 1);
}

#[tokio::test]
async fn a_disconnect_ends_the_call_whether_ringing_or_answered() {
    let server = start().await;
    let [mut a, mut b, mut c] = three(&server).await;
    for (caller_goes, answered) in [(true, false), (false, false), (true, true), (false, true)] {
        if caller_goes {
            ring((&mut b, "B"), (&mut a, "A")).await
        } else {
            ring((&mut a, "A"), (&mut b, "B")).await
        };
        if answered {
            let (caller, callee, name) = if caller_goes { (&mut b, &mut a, "B") } else { (&mut a, &mut b, "A") };
            callee.send(&response(true, name)).await;
            caller.next().await;
        }
        drop(b);
        a.hears(&ended("B")).await;
        a.hears(r#"{"type":"userList","data":["A","C"]}"#).await;
        c.hears(r#"{"type":"userList","data":["A","C"]}"#).await;
        is_quiet(&mut a).await;
        a.is_told(&to("call", "B"), &error("user-not-found")).await;
        b = join(&server, "B").await;
        for client in [&mut a, &mut b, &mut c] {
            client.hears(r#"{"type":"userList","data":["A","B","C"]}"#).await;
        }
    }
}

#[tokio::test]
async fn a_new_name_ends_the_call_unless_it_is_taken() {
    let server = start().await;
    let [mut a, mut b, mut c] = three(&server).await;
    ring((&mut a, "A"), (&mut b, "B")).await;
    a.is_told(r#"{"type":"join","data":{"username":"C"}}"#, &error("username-taken")).await;
    is_quiet(&mut b).await;
    a.send(r#"{"type":"join","data":{"username":"Z"}}"#).await;
    b.hears(&ended("A")).await;
    for client in [&mut a, &mut b, &mut c] {
        client.hears(r#"{"type":"userList","data":["B","C","Z"]}"#).await;
    }
    b.is_told(&response(true, "A"), &error("not-in-call")).await;
    b.is_told(&to("call", "A"), &error("user-not-found")).await;
    a.send(&to("call", "B")).await;
    assert!(b.next().await.starts_with(r#"{"type":"incomingCall","data":{"caller":"Z","callerId":""#));
    is_quiet(&mut a).await;
}

#[tokio::test]
async fn every_error_has_its_code_and_no_effect() {
    let server = start().await;
    let [mut a, mut b, mut c] = three(&server).await;
    let mut outside = connect(&server).await;
    let long = "é".repeat(65);
    for text in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"type":"zzz","data":{}}"#,
        r#"{"type":5,"data":{}}"#,
        r#"{"type":"join"}"#,
        r#"{"type":"join","username":"X"}"#,
        r#"{"type":"join","data":null}"#,
        r#"{"type":"join","data":["X"]}"#,
        r#"{"type":"join","data":{}}"#,
        r#"{"type":"join","data":{"username":""}}"#,
        r#"{"type":"join","data":{"username":5}}"#,
        r#"{"type":"Join","data":{"username":"X"}}"#,
        &format!(r#"{{"type":"join","data":{{"username":"{long}"}}}}"#),
        r#"{"type":"call","data":{}}"#,
        r#"{"type":"call","data":{"target":5}}"#,
        r#"{"type":"callResponse","data":{"caller":"A"}}"#,
        r#"{"type":"callResponse","data":{"accepted":"true","caller":"A"}}"#,
        r#"{"type":"callResponse","data":{"accepted":true}}"#,
        r#"{"type":"offer","data":{"target":"B"}}"#,
        r#"{"type":"offer","data":{"offer":{}}}"#,
        r#"{"type":"answer","data":{"target":"B","offer":{}}}"#,
        r#"{"type":"iceCandidate","data":{"target":"B"}}"#,
        r#"{"type":"mediaStateChange","data":{"target":"B","mediaType":"smell","enabled":true}}"#,
        r#"{"type":"mediaStateChange","data":{"target":"B","mediaType":"video","enabled":1}}"#,
        r#"{"type":"endCall","data":{}}"#,
        r#"{"type":"video-offer","target":"B"}"#,
        r#"{"type":"video-answer","sdp":{}}"#,
        r#"{"type":"video-offer","data":{"target":"B","sdp":{}}}"#,
    ] {
        outside.is_told(text, &error("invalid-message")).await;
        a.is_told(text, &error("invalid-message")).await;
    }
    a.is_told(&to("call", "A"), &error("invalid-message")).await;
    let needs_a_call = |target: &str| {
        [
            format!(r#"{{"type":"offer","data":{{"target":"{target}","offer":{{}}}}}}"#),
            format!(r#"{{"type":"answer","data":{{"target":"{target}","answer":{{}}}}}}"#),
            format!(r#"{{"type":"iceCandidate","data":{{"target":"{target}","candidate":null}}}}"#),
            format!(
                r#"{{"type":"mediaStateChange","data":{{"target":"{target}","mediaType":"video","enabled":true}}}}"#
            ),
            to("endCall", target),
        ]
    };
    for text in needs_a_call("B").iter().chain([&to("call", "B"), &response(true, "B")]) {
        outside.is_told(text, &error("not-joined")).await;
    }
    ring((&mut c, "C"), (&mut a, "A")).await;
    for (target, code) in [("b", "user-not-found"), ("B", "not-in-call"), ("A", "not-in-call")] {
        for text in needs_a_call(target) {
            a.is_told(&text, &error(code)).await;
        }
    }
    a.is_told(&to("call", "nobody"), &error("user-not-found")).await;
    a.is_told(&response(true, "B"), &error("not-in-call")).await;
    let stale = r#"{"type":"callResponse","data":{"accepted":true,"caller":"C","callerId":"0000000000"}}"#;
    a.is_told(stale, &error("not-in-call")).await;
    outside.is_told(r#"{"type":"join","data":{"username":"A"}}"#, &error("username-taken")).await;
    for client in [&mut a, &mut b, &mut c, &mut outside] {
        is_quiet(client).await;
    }
}

#[tokio::test]
async fn the_callers_id_may_be_sent_back() {
    let server = start().await;
    let [mut a, mut b, _c] = three(&server).await;
    let id = ring((&mut a, "A"), (&mut b, "B")).await;
    assert!(id.len() == 10 && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()), "{id}");
    b.send(&format!(r#"{{"type":"callResponse","data":{{"accepted":true,"caller":"A","callerId":"{id}"}}}}"#)).await;
    a.hears(r#"{"type":"callAnswered","data":{"accepted":true,"target":"B"}}"#).await;
}

#[tokio::test]
async fn session_descriptions_by_name_are_flat_stamped_and_need_no_call() {
    let server = start().await;
    let [mut a, mut b, mut c] = three(&server).await;
    let mut outside = connect(&server).await;
    for kind in ["video-offer", "video-answer"] {
        let sdp = r#"{ "z":1, "sdp":"\u00e9" }"#;
        a.send(&format!(r#"{{"sdp": {sdp} ,"target":"B","name":"C","type":"{kind}"}}"#)).await;
        b.hears(&format!(r#"{{"type":"{kind}","name":"A","target":"B","sdp":{sdp}}}"#)).await;
        let message = |target| format!(r#"{{"type":"{kind}","name":"A","target":"{target}","sdp":{sdp}}}"#);
        a.is_told(&message("nobody"), &error("user-not-found")).await;
        a.is_told(&message("A"), &error("invalid-message")).await;
        outside.is_told(&message("B"), &error("not-joined")).await;
    }
    is_quiet(&mut b).await;
    is_quiet(&mut c).await;
}

#[tokio::test]
async fn names_are_exact_and_may_be_odd() {
    let server = start().await;
    let longest = "😀".repeat(64);
    let names = ["__proto__", "constructor", " r ", r"\u0000", r#"\"\\"#, "R", "r", "é", "e\u{301}", &longest];
    let mut clients = Vec::new();
    for name in names {
        clients.push(join(&server, name).await);
        server.census(|census| census.members == clients.len()).await;
    }
    drop(clients);
    server.empty().await;
}

#[tokio::test(start_paused = true)]
async fn no_join_in_time_is_1008() {
    let _clock = hold();
    let server = start_with(|config| config.limits.join_timeout = Duration::from_millis(150)).await;
    let mut a = join(&server, "A").await;
    a.next().await;
    let mut refused = join(&server, "A").await;
    refused.hears(&error("username-taken")).await;
    passing(refused.is_closed(1008)).await;
    is_quiet(&mut a).await;
}

#[tokio::test]
async fn the_limit_is_inclusive_and_beyond_it_is_1009() {
    let server = start().await;
    let [mut a, mut b, _c] = three(&server).await;
    let (head, tail) = (r#"{"type":"video-offer","name":"A","target":"B","sdp":""#, r#""}"#);
    let offer = |length: usize| format!("{head}{}{tail}", "x".repeat(length - head.len() - tail.len()));
    a.send(&offer(262_144)).await;
    assert_eq!(b.next().await.len(), 262_144);
    a.send(&offer(262_145)).await;
    a.is_closed(1009).await;
    b.hears(r#"{"type":"userList","data":["B","C"]}"#).await;
    is_quiet(&mut b).await;
}

async fn connect(server: &Running) -> Client {
    Client::open(server.call, "/").await
}

/// Connects and asks for a name; the answer is still to come.
async fn join(server: &Running, name: &str) -> Client {
    let mut client = connect(server).await;
    client.send(&format!(r#"{{"type":"join","data":{{"username":"{name}"}}}}"#)).await;
    client
}

/// The users A, B and C, who have been told all there is to tell.
async fn three(server: &Running) -> [Client; 3] {
    let mut a = join(server, "A").await;
    a.hears(r#"{"type":"userList","data":["A"]}"#).await;
    let mut b = join(server, "B").await;
    for client in [&mut a, &mut b] {
        client.hears(r#"{"type":"userList","data":["A","B"]}"#).await;
    }
    let mut c = join(server, "C").await;
    for client in [&mut a, &mut b, &mut c] {
        client.hears(r#"{"type":"userList","data":["A","B","C"]}"#).await;
    }
    [a, b, c]
}

/// The caller rings the callee. Returns the caller's id.
async fn ring((caller, name): (&mut Client, &str), (callee, target): (&mut Client, &str)) -> String {
    caller.send(&to("call", target)).await;
    let rings = callee.next().await;
    let head = format!(r#"{{"type":"incomingCall","data":{{"caller":"{name}","callerId":""#);
    rings.strip_prefix(&head).and_then(|rest| rest.strip_suffix("\"}}")).expect(&rings).to_owned()
}

fn to(kind: &str, target: &str) -> String {
    format!(r#"{{"type":"{kind}","data":{{"target":"{target}"}}}}"#)
}

fn response(accepted: bool, caller: &str) -> String {
    format!(r#"{{"type":"callResponse","data":{{"accepted":{accepted},"caller":"{caller}"}}}}"#)
}

fn ended(caller: &str) -> String {
    format!(r#"{{"type":"callEnded","data":{{"caller":"{caller}"}}}}"#)
}

fn error(code: &str) -> String {
    let message = match code {
        "username-taken" => "Somebody else has this name",
        "user-not-found" => "Nobody has this name",
        "busy" => "You are in a call already",
        "not-joined" => "Join first",
        "not-in-call" => "There is no such call",
        "invalid-message" => "Not a message of this dialect",
        _ => panic!("no such code: {code}"),
    };
    format!(r#"{{"type":"error","data":{{"code":"{code}","message":"{message}"}}}}"#)
}

async fn is_quiet(client: &mut Client) {
    client.is_told(r#"{"type":"sentinel","data":{}}"#, &error("invalid-message")).await;
}
