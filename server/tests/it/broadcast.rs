//! The broadcast dialect: everyone hears every event, to the byte.

use tokio_tungstenite::tungstenite::Message;

use futures_util::SinkExt;

use crate::client::{Client, start};
use crate::socketio_client::Poller;

#[tokio::test]
async fn everyone_hears_every_offer_and_answer_to_the_byte() {
    let server = start().await;
    let (mut a, mut b) = (Client::socketio(server.broadcast).await, Client::socketio(server.broadcast).await);
    let mut c = Poller::connect(server.broadcast).await;
    assert_eq!((server.handle.census().rooms, server.handle.census().members), (1, 3));
    let deep = format!(",{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let arguments =
        ["", r#",{ "z":1,"a":"\u00e9\r\n", "z":1.0e+400 }"#, r#","\ud800",null , [2]"#, ",\"\u{2028}é😀\"", &deep];
    for arguments in arguments {
        for kind in ["offer", "answer"] {
            b.send(&format!(r#"42["send-{kind}"{arguments}]"#)).await;
            let heard = format!(r#"42["receive-{kind}"{arguments}]"#);
            a.hears(&heard).await;
            b.hears(&heard).await;
            c.hears(&heard).await;
        }
    }
    c.say("42[\"send-offer\",1]\u{1e}42[\"send-answer\",2]").await;
    for heard in [r#"42["receive-offer",1]"#, r#"42["receive-answer",2]"#] {
        a.hears(heard).await;
        b.hears(heard).await;
        c.hears(heard).await;
    }
    drop((a, b));
    server.census(|census| census.members == 1).await;
    c.say("1").await;
    drop(c);
    server.empty().await;
}

#[tokio::test]
async fn attachments_follow_their_event_over_every_transport() {
    let server = start().await;
    let (mut a, mut b) = (Client::socketio(server.broadcast).await, Poller::connect(server.broadcast).await);
    let event = |name| format!(r#"452-["{name}",{{"_placeholder":true,"num":0}},{{"num":1,"_placeholder":true}}]"#);
    a.send(&event("send-offer")).await;
    a.socket.send(Message::binary(&b"\0\x01\xff"[..])).await.expect("it is connected");
    a.socket.send(Message::binary(&b""[..])).await.expect("it is connected");
    a.hears(&event("receive-offer")).await;
    a.hears_binary(b"\0\x01\xff").await;
    a.hears_binary(b"").await;
    for packet in [&event("receive-offer"), "bAAH/", "b"] {
        b.hears(packet).await;
    }
    b.say(&format!("{}\u{1e}b/w==\u{1e}bAAA=", event("send-answer"))).await;
    b.hears(&event("receive-answer")).await;
    b.hears("b/w==").await;
    b.hears("bAAA=").await;
    a.hears(&event("receive-answer")).await;
    a.hears_binary(b"\xff").await;
    a.hears_binary(b"\0\0").await;
}

#[tokio::test]
async fn an_acknowledgement_is_answered_after_what_the_event_caused() {
    let server = start().await;
    let (mut a, mut b) = (Client::socketio(server.broadcast).await, Client::socketio(server.broadcast).await);
    a.send(r#"420["send-offer",{}]"#).await;
    a.hears(r#"42["receive-offer",{}]"#).await;
    a.hears("430[]").await;
    b.hears(r#"42["receive-offer",{}]"#).await;
    // An unknown event has no effect, but its acknowledgement is not withheld.
    a.is_told(r#"4218446744073709551615["receive-offer",{}]"#, "4318446744073709551615[]").await;
    a.send(r#"451-7["send-offer",{"_placeholder":true,"num":0}]"#).await;
    a.socket.send(Message::binary(&b"x"[..])).await.expect("it is connected");
    a.hears(r#"451-["receive-offer",{"_placeholder":true,"num":0}]"#).await;
    a.hears_binary(b"x").await;
    a.hears("437[]").await;
    b.hears(r#"451-["receive-offer",{"_placeholder":true,"num":0}]"#).await;
    b.hears_binary(b"x").await;
    b.is_told("420[\"sentinel\"]", "430[]").await;
}

#[tokio::test]
async fn who_has_not_connected_or_has_left_hears_nothing() {
    let server = start().await;
    let mut a = Client::socketio(server.broadcast).await;
    let mut silent = Client::open(server.broadcast, crate::socketio_client::WEBSOCKET).await;
    silent.next().await;
    a.send("42[\"send-offer\",1]").await;
    a.next().await;
    silent.send("40").await;
    assert!(silent.next().await.starts_with("40{"));
    silent.send("41").await;
    server.census(|census| census.members == 1).await;
    a.send("42[\"send-offer\",2]").await;
    a.next().await;
    silent.send("40").await;
    assert!(silent.next().await.starts_with("40{"));
    silent.send("42[\"send-answer\",3]").await;
    a.hears("42[\"receive-answer\",3]").await;
    silent.hears("42[\"receive-answer\",3]").await;
}
