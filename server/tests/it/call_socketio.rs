//! The call dialect over Socket.IO: the same as over WebSocket, and together with it.

use std::time::Duration;

use crate::client::{Client, Running, start, start_with};
use crate::clock::{hold, passing};

#[tokio::test]
async fn a_call_goes_through_with_everything_in_it() {
    let server = start().await;
    let (mut a, mut b) = two(&server).await;
    a.send(r#"42["call",{"target":"B"}]"#).await;
    b.hears(&format!(r#"42["incomingCall",{{"caller":"A","callerId":"{}"}}]"#, a.id)).await;
    b.send(&format!(r#"42["callResponse",{{"accepted":true,"caller":"A","callerId":"{}"}}]"#, a.id)).await;
    a.hears(r#"42["callAnswered",{"accepted":true,"target":"B"}]"#).await;
    let payload = r#"{ "z":1,"a":"\u00e9\ud800", "z":1.0e+400 }"#;
    for (kind, field, stamp) in
        [("offer", "offer", "caller"), ("answer", "answer", "answerer"), ("iceCandidate", "candidate", "sender")]
    {
        a.send(&format!(r#"42["{kind}",{{"{stamp}":"C","{field}": {payload} ,"target":"B"}},"more"]"#)).await;
        b.hears(&format!(r#"42["{kind}",{{"{field}":{payload},"{stamp}":"A"}}]"#)).await;
    }
    b.send(r#"42["mediaStateChange",{"target":"A","mediaType":"video","enabled":false}]"#).await;
    a.hears(r#"42["mediaStateChange",{"sender":"B","mediaType":"video","enabled":false}]"#).await;
    // An acknowledgement comes after what the event caused.
    a.send(r#"423["endCall",{"target":"C"}]"#).await;
    a.hears(&error("user-not-found", "Nobody has this name")).await;
    a.hears("433[]").await;
    drop(a);
    b.hears(r#"42["callEnded",{"caller":"A"}]"#).await;
    b.hears(r#"42["userList",["B"]]"#).await;
    drop(b);
    server.empty().await;
}

#[tokio::test]
async fn both_framings_have_the_same_users() {
    let server = start().await;
    let mut a = join(&server, "A").await;
    a.hears(r#"42["userList",["A"]]"#).await;
    let mut w = Client::open(server.call, "/").await;
    w.send(r#"{"type":"join","data":{"username":"A"}}"#).await;
    assert!(w.next().await.contains("username-taken"));
    w.send(r#"{"type":"join","data":{"username":"W"}}"#).await;
    w.hears(r#"{"type":"userList","data":["A","W"]}"#).await;
    a.hears(r#"42["userList",["A","W"]]"#).await;
    assert_eq!(server.handle.census().members, 2);
    for kind in ["video-offer", "video-answer"] {
        a.send(&format!(r#"42["{kind}",{{"name":"X","target":"W","sdp":[ 1]}}]"#)).await;
        w.hears(&format!(r#"{{"type":"{kind}","name":"A","target":"W","sdp":[ 1]}}"#)).await;
        w.send(&format!(r#"{{"type":"{kind}","target":"A","sdp":[ 2]}}"#)).await;
        a.hears(&format!(r#"42["{kind}",{{"name":"W","target":"A","sdp":[ 2]}}]"#)).await;
    }
    w.send(r#"{"type":"call","data":{"target":"A"}}"#).await;
    let ringing = a.next().await;
    assert!(ringing.starts_with(r#"42["incomingCall",{"caller":"W","callerId":""#), "{ringing}");
    a.send("41").await;
    w.hears(r#"{"type":"callEnded","data":{"caller":"A"}}"#).await;
    w.hears(r#"{"type":"userList","data":["W"]}"#).await;
}

/// As the page of the original sends them.
#[tokio::test]
async fn a_bare_name_is_understood() {
    let server = start().await;
    let mut a = Client::socketio(server.call_socketio).await;
    a.send(r#"42["join", "A\u0041" ]"#).await;
    a.hears(r#"42["userList",["AA"]]"#).await;
    let mut b = join(&server, "B").await;
    a.hears(r#"42["userList",["AA","B"]]"#).await;
    b.hears(r#"42["userList",["AA","B"]]"#).await;
    a.send(r#"42["call","B"]"#).await;
    b.hears(&format!(r#"42["incomingCall",{{"caller":"AA","callerId":"{}"}}]"#, a.id)).await;
    a.send(r#"42["endCall","B"]"#).await;
    b.hears(r#"42["callEnded",{"caller":"AA"}]"#).await;
    // Over WebSocket the data is an object.
    let mut w = Client::open(server.call, "/").await;
    w.send(r#"{"type":"join","data":"W"}"#).await;
    assert!(w.next().await.contains("invalid-message"));
}

#[tokio::test]
async fn what_is_no_message_is_told_so_and_the_connection_stays() {
    let server = start().await;
    let (mut a, mut b) = two(&server).await;
    let invalid = error("invalid-message", "Not a message of this dialect");
    for event in [
        r#"["zzz",{}]"#,
        r#"["call"]"#,
        r#"["call",null]"#,
        r#"["call",""]"#,
        r#"["offer","B"]"#,
        r#"["callResponse","B"]"#,
        r#"["call",[{"target":"B"}]]"#,
        r#"["call",{"target":"A"}]"#,
        r#"["video-offer",{"target":"B"}]"#,
        r#"[5,{"target":"B"}]"#,
    ] {
        a.is_told(&format!("42{event}"), &invalid).await;
    }
    a.send(r#"451-["video-offer",{"target":"B","sdp":{"_placeholder":true,"num":0}}]"#).await;
    a.send_raw(&crate::client::frame(0x82, b"v=0")).await;
    a.hears(&invalid).await;
    b.is_told(r#"42["endCall",{"target":"A"}]"#, &error("not-in-call", "There is no such call")).await;
}

#[tokio::test(start_paused = true)]
async fn who_connects_but_does_not_join_in_time_is_closed() {
    let _clock = hold();
    let server = start_with(|config| config.limits.join_timeout = Duration::from_millis(150)).await;
    let mut a = join(&server, "A").await;
    a.next().await;
    passing(Client::socketio(server.call_socketio).await.is_closed(1008)).await;
    a.is_told(r#"42["join",{"username":"A"}]"#, r#"42["userList",["A"]]"#).await;
}

/// Connects and asks for a name; the answer is still to come.
async fn join(server: &Running, name: &str) -> Client {
    let mut client = Client::socketio(server.call_socketio).await;
    client.send(&format!(r#"42["join",{{"username":"{name}"}}]"#)).await;
    client
}

/// The users A and B, who have been told all there is to tell.
async fn two(server: &Running) -> (Client, Client) {
    let mut a = join(server, "A").await;
    a.hears(r#"42["userList",["A"]]"#).await;
    let mut b = join(server, "B").await;
    a.hears(r#"42["userList",["A","B"]]"#).await;
    b.hears(r#"42["userList",["A","B"]]"#).await;
    (a, b)
}

fn error(code: &str, message: &str) -> String {
    format!(r#"42["error",{{"code":"{code}","message":"{message}"}}]"#)
}
