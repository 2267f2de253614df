//! Our WebSocket layer by itself, where every message comes back: the cases of Autobahn's fuzzing client that servers fail.

use futures_util::{SinkExt, StreamExt};
use server::Config;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, PATIENCE, Running, frame, start, start_with};
use crate::http::request;

async fn serve() -> Running {
    start_with(|config: &mut Config| {
        let http = config.listen.iter_mut().find(|listen| listen.pages).expect("it serves HTTP");
        http.dialects.push("echo");
    })
    .await
}

impl Client {
    async fn receives(&mut self) -> Message {
        timeout(PATIENCE, self.socket.next()).await.expect("it answers").expect("it is connected").expect("a frame")
    }
}

async fn echo(server: &Running) -> Client {
    Client::open(server.http, "/echo").await
}

#[tokio::test]
async fn texts_and_binaries_of_every_length_come_back_as_they_went() {
    let server = serve().await;
    let mut client = echo(&server).await;
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 262_144] {
        for message in [Message::text("*".repeat(length)), Message::binary(vec![0xfe; length])] {
            client.socket.send(message.clone()).await.expect("it is connected");
            assert_eq!(client.receives().await, message, "{length} bytes");
        }
    }
}

#[tokio::test]
async fn a_message_comes_back_whole_however_it_was_cut() {
    let server = serve().await;
    let mut client = echo(&server).await;
    // Pings between fragments are answered at once, in order, with their data.
    client.send_raw(&frame(0x01, "κό".as_bytes())).await;
    client.send_raw(&frame(0x89, b"1")).await;
    client.send_raw(&frame(0x00, "σμ".as_bytes())).await;
    client.send_raw(&frame(0x89, &[0xfe; 125])).await;
    client.send_raw(&frame(0x00, b"")).await;
    client.send_raw(&frame(0x80, "ε".as_bytes())).await;
    assert_eq!(client.receives().await, Message::Pong("1".into()));
    assert_eq!(client.receives().await, Message::Pong(vec![0xfe; 125].into()));
    assert_eq!(client.receives().await, Message::text("κόσμε"));
    // Octet by octet, and a character cut by a fragment's end.
    for byte in frame(0x01, &[0xce]).into_iter().chain(frame(0x80, &[0xba])) {
        client.send_raw(&[byte]).await;
    }
    assert_eq!(client.receives().await, Message::text("κ"));
    // All in one segment: nothing is lost behind the first.
    let burst: Vec<_> = (0..10u8).flat_map(|number| frame(0x82, &[number])).collect();
    client.send_raw(&burst).await;
    for number in 0..10 {
        assert_eq!(client.receives().await, Message::binary(vec![number]));
    }
}

#[tokio::test]
async fn what_is_no_utf_8_is_1007_also_across_fragments() {
    let server = serve().await;
    for texts in [
        &[&[0xce, 0xba, 0xe1, 0xbd, 0xb9, 0xcf, 0x83, 0xce, 0xbc, 0xce, 0xb5, 0xed, 0xa0, 0x80][..]][..], // a surrogate
        &[&[0xf4, 0x90, 0x80, 0x80]], // beyond U+10FFFF
        &[&[0xc0, 0x80]],             // overlong
        &[&[0xce], b"x"],             // a character that its continuation does not end
        &[b"whole", &[0xe2, 0x82]],   // a message that ends within a character
    ] {
        let mut client = echo(&server).await;
        for (number, text) in texts.iter().enumerate() {
            let opcode = if number == 0 { 0x01 } else { 0x00 };
            let fin = if number + 1 == texts.len() { 0x80 } else { 0x00 };
            client.send_raw(&frame(fin | opcode, text)).await;
        }
        client.is_closed(1007).await;
    }
}

#[tokio::test]
async fn close_frames_are_answered_and_bad_ones_refused() {
    let server = serve().await;
    for (body, code) in [
        (&1000u16.to_be_bytes()[..], 1000),
        (&3000u16.to_be_bytes()[..], 3000),
        (&4999u16.to_be_bytes()[..], 4999),
        (&[3][..], 1002),                   // half a code
        (&999u16.to_be_bytes()[..], 1002),  // below the codes
        (&1005u16.to_be_bytes()[..], 1002), // never on the wire
        (&1016u16.to_be_bytes()[..], 1002), // reserved
        (&[0x03, 0xe8, 0xce][..], 1007),    // a reason that is no UTF-8
    ] {
        let mut client = echo(&server).await;
        client.send_raw(&frame(0x88, body)).await;
        // What follows a close frame is ignored.
        client.send_raw(&frame(0x81, b"late")).await;
        client.is_closed(code).await;
    }
    server.empty().await;
}

#[tokio::test]
async fn it_is_not_served_unless_asked_for() {
    let server = start().await;
    let answer = request(server.http, "GET /echo HTTP/1.1\r\nHost: glare.test\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("http/1.1 404"), "{answer}");
}
