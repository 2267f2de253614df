//! The HTTP side: which requests are upgraded, and what the others are told.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{PATIENCE, frame, start, start_with};

pub(crate) const UPGRADE: &str = "Host: glare.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
pub(crate) const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
pub(crate) const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a request and returns the response up to the end of its head.
pub(crate) async fn request(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it is connected");
    let mut response = Vec::new();
    let head = async {
        while !response.ends_with(b"\r\n\r\n") {
            response.push(stream.read_u8().await.expect("a whole head"));
        }
    };
    timeout(PATIENCE, head).await.expect("it answers");
    String::from_utf8(response).expect("ASCII").to_ascii_lowercase()
}

#[tokio::test]
async fn a_request_for_a_websocket_is_upgraded() {
    let server = start().await;
    for target in ["/", "/?token=1"] {
        let response = request(server.mesh, &format!("GET {target} HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}\r\n")).await;
        assert_eq!(
            response,
            // The key and its answer are those of RFC 6455 §1.3.
            "http/1.1 101 switching protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n\r\n"
        );
    }
    server.empty().await;
}

#[tokio::test]
async fn other_requests_are_told_why_not() {
    let server = start().await;
    for (head, answer) in [
        (format!("GET /nowhere HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}"), "404 not found"),
        (format!("GET // HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}"), "404 not found"),
        ("GET / HTTP/1.1\r\nHost: x\r\n".to_owned(), "426 upgrade required"),
        (format!("GET / HTTP/1.0\r\n{UPGRADE}{VERSION}{KEY}"), "426 upgrade required"),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUpgrade: websocket\r\n{VERSION}{KEY}"),
            "426 upgrade required",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{VERSION}{KEY}"),
            "426 upgrade required",
        ),
        (format!("POST / HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}"), "405 method not allowed"),
        (format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}"), "426 upgrade required"),
        (format!("GET / HTTP/1.1\r\n{UPGRADE}{VERSION}"), "400 bad request"),
        (format!("GET / HTTP/1.1\r\n{UPGRADE}{VERSION}Sec-WebSocket-Key: short\r\n"), "400 bad request"),
        (format!("GET / HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}{KEY}"), "400 bad request"),
        (format!("GET / HTTP/1.1\r\n{UPGRADE}{VERSION}{VERSION}{KEY}"), "400 bad request"),
        (format!("GET / HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}Content-Length: 5\r\n"), "400 bad request"),
        (format!("GET / HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}Transfer-Encoding: chunked\r\n"), "400 bad request"),
        (format!("GET / HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}Host: glare.test\r\n"), "400 bad request"),
        ("GET /healthz HTTP/1.1\r\n".to_owned(), "400 bad request"),
        ("GET /healthz HTTP/1.1\r\nHost: \"\r\n".to_owned(), "400 bad request"),
        ("GET /healthz HTTP/1.1\r\nHost: a@b\r\n".to_owned(), "400 bad request"),
        ("\u{1}\u{2}\r\n".to_owned(), "400 bad request"),
    ] {
        let response = request(server.mesh, &format!("{head}\r\n")).await;
        assert!(
            response.starts_with("http/1.") && response[8..].starts_with(&format!(" {answer}\r\n")),
            "{head} was answered {response}"
        );
        assert!(!response.contains("\r\ndate:"), "a date differs from run to run: {response}");
    }
    let response =
        request(server.mesh, &format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}Sec-WebSocket-Version: 8\r\n\r\n")).await;
    assert!(
        response.contains("426 upgrade required") && response.contains("sec-websocket-version: 13\r\n"),
        "{response}"
    );
    server.empty().await;
}

#[tokio::test]
async fn a_frame_behind_the_request_is_not_lost() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.mesh).await.expect("it listens");
    let mut bytes = format!("GET / HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}\r\n").into_bytes();
    bytes.extend(frame(0x81, br#"{"action":"join","roomId":"r"}"#));
    stream.write_all(&bytes).await.expect("it is connected");
    server.census(|census| census.members == 1).await;
}

#[tokio::test]
async fn a_request_that_does_not_come_ends_the_connection() {
    let server = start_with(|config| config.limits.head_timeout = Duration::from_millis(100)).await;
    let mut idle = TcpStream::connect(server.mesh).await.expect("it listens");
    let mut slow = TcpStream::connect(server.mesh).await.expect("it listens");
    slow.write_all(b"GET / HT").await.expect("it is connected");
    for stream in [&mut idle, &mut slow] {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends");
    }
    server.empty().await;
}
