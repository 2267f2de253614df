//! Broken frames close the one connection that sent them, with the right code, and disturb nobody else.

use crate::client::{Client, frame, start};

async fn closes(bytes: &[u8], code: u16) {
    let server = start().await;
    let (mut a, mut b) = (Client::join(&server, "r").await, Client::join(&server, "r").await);
    a.next().await;
    let mut bad = Client::connect(&server).await;
    bad.send_raw(bytes).await;
    bad.is_closed(code).await;
    drop(bad);
    a.send(r#"{"action":"signal","roomId":"r","type":"hangup"}"#).await;
    b.hears(&format!(r#"{{"action":"signal","roomId":"r","from":"{}","type":"hangup"}}"#, a.id)).await;
    a.hears_nothing().await;
    b.hears_nothing().await;
    server.census(|census| census.connections == 2).await;
}

#[tokio::test]
async fn binary_is_1003() {
    closes(&frame(0x82, b"{}"), 1003).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_1007() {
    closes(&frame(0x81, b"{\"action\":\"\xff\"}"), 1007).await;
}

#[tokio::test]
async fn over_one_mebibyte_is_1009() {
    closes(&frame(0x81, &vec![b' '; 1024 * 1024 + 1]), 1009).await;
}

#[tokio::test]
async fn over_one_mebibyte_in_fragments_is_1009() {
    let half = vec![b' '; 600 * 1024];
    closes(&[frame(0x01, &half), frame(0x80, &half)].concat(), 1009).await;
}

#[tokio::test]
async fn a_length_of_63_bits_is_1009() {
    closes(&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], 1009).await;
}

#[tokio::test]
async fn protocol_errors_are_1002() {
    closes(&[0x81, 0x02, b'{', b'}'], 1002).await; // not masked
    closes(&frame(0xc1, b"{}"), 1002).await; // a reserved bit
    closes(&frame(0x83, b"{}"), 1002).await; // a reserved opcode
    closes(&frame(0x8b, b""), 1002).await; // a reserved control opcode
    closes(&frame(0x09, b""), 1002).await; // a fragmented ping
    closes(&frame(0x89, &[0; 126]), 1002).await; // a long ping
    closes(&frame(0x80, b"{}"), 1002).await; // continues nothing
    closes(&[frame(0x01, b"{"), frame(0x81, b"}")].concat(), 1002).await; // interrupts a fragmented one
}

#[tokio::test]
async fn large_messages_are_refused_without_closing() {
    let server = start().await;
    let (mut a, mut b) = (Client::join(&server, "r").await, Client::join(&server, "r").await);
    a.next().await;
    let signal = |length: usize| {
        let (head, tail) = (r#"{"action":"signal","roomId":"r","type":"offer","data":""#, r#""}"#);
        format!("{head}{}{tail}", "x".repeat(length - head.len() - tail.len()))
    };
    a.send(&signal(262_144)).await;
    assert!(b.next().await.len() > 262_000);
    for length in [262_145, 257 * 1024, 1024 * 1024] {
        a.send(&signal(length)).await;
        a.hears_error("Message too large").await;
    }
    a.hears_nothing().await;
    b.hears_nothing().await;
}

#[tokio::test]
async fn fragments_make_one_message_and_pings_between_them_are_answered() {
    let server = start().await;
    let mut client = Client::connect(&server).await;
    let whole = r#"{"action":"é"}"#.as_bytes();
    // Cut inside a code point.
    let bytes = [frame(0x01, &whole[..12]), frame(0x89, b"beat"), frame(0x80, &whole[12..])].concat();
    client.send_raw(&bytes).await;
    client.hears_error("Unknown action: é").await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let server = start().await;
    let mut client = Client::connect(&server).await;
    client.send_raw(&frame(0x88, &[0x0f, 0xa0])).await;
    client.is_closed(4000).await;
    let mut client = Client::connect(&server).await;
    client.send_raw(&frame(0x88, &[0x03, 0xed])).await; // 1005 must not be sent
    client.is_closed(1002).await;
    server.empty().await;
}
