//! STUN over TCP: framing, limits, and what ends a connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::client::{PATIENCE, Running, start, start_with};
use crate::wire::{Response, message, message_with_id, xor_address};

async fn connect(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(server.stun).await.expect("it listens on UDP's port");
    stream.set_nodelay(true).expect("it is connected");
    stream
}

async fn next(stream: &mut TcpStream) -> Response {
    let mut header = [0; 20];
    timeout(PATIENCE, stream.read_exact(&mut header)).await.expect("it answers").expect("all of it");
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]]))];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.expect("it goes on").expect("all of it");
    Response::read(&[&header[..], &body].concat())
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("it ends"), Ok(0) | Err(_))
}

#[tokio::test]
async fn split_and_coalesced_requests_are_answered_in_order() {
    let server = start().await;
    let mut stream = connect(&server).await;
    let own = stream.local_addr().expect("it is connected");
    let requests: Vec<Vec<u8>> =
        (0..40).map(|n| message_with_id(0x0001, [n; 12], &[(0x8022, b"a client's name")])).collect();
    // One byte at a time, then all in one segment, then cut in the midst of a header.
    for byte in &requests[0] {
        stream.write_all(&[*byte]).await.expect("it is open");
        sleep(Duration::from_millis(1)).await;
    }
    stream.write_all(&requests[1..39].concat()).await.expect("it is open");
    stream.write_all(&requests[39][..15]).await.expect("it is open");
    sleep(Duration::from_millis(20)).await;
    stream.write_all(&requests[39][15..]).await.expect("it is open");
    for n in 0..40 {
        let response = next(&mut stream).await;
        assert_eq!((response.kind, response.id), (0x0101, [n; 12]));
        assert_eq!(response.get(0x0020), Some(&xor_address(own, [n; 12])[..]));
    }
    server.census(|census| census.connections == 1).await;
    drop(stream);
    server.empty().await;
}

#[tokio::test]
async fn what_is_no_stun_ends_the_connection_after_the_answers_before_it() {
    let server = start().await;
    let mut long = message(0x0001, &[]);
    long[2..4].copy_from_slice(&2048_u16.to_be_bytes());
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 20], vec![0xff; 3], long] {
        let mut stream = connect(&server).await;
        stream.write_all(&[message(0x0001, &[]), garbage.clone()].concat()).await.expect("it is open");
        assert_eq!(next(&mut stream).await.kind, 0x0101);
        assert!(is_closed(&mut stream).await, "{garbage:?}");
    }
    // A message of another kind is left alone.
    let mut stream = connect(&server).await;
    stream.write_all(&[message(0x0003, &[]), message(0x0011, &[]), message(0x0001, &[])].concat()).await.expect("open");
    assert_eq!(next(&mut stream).await.kind, 0x0101);
    drop(stream);
    server.empty().await;
}

#[tokio::test]
async fn connections_are_limited_and_end_with_the_server() {
    let server = start_with(|config| config.limits.connections_max = 2).await;
    let (mut a, mut b) = (connect(&server).await, connect(&server).await);
    for stream in [&mut a, &mut b] {
        stream.write_all(&message(0x0001, &[])).await.expect("it is open");
        next(stream).await;
    }
    assert!(is_closed(&mut connect(&server).await).await);
    server.handle.shutdown();
    assert!(is_closed(&mut a).await && is_closed(&mut b).await);
    timeout(PATIENCE, server.task).await.expect("it ends").expect("without a panic");
}
