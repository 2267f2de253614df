//! Targets that are not WebSocket servers, or do not answer: reported within a time limit, without a panic.

use std::net::SocketAddr;
use std::time::Duration;

use conformance::{BadUrl, Report, Target, Unreachable, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::accept_async;

use crate::ask;

/// Longer than any of these tests takes, even on the slowest machine.
const HANG: Duration = Duration::from_secs(300);

/// What the server does with each connection.
#[derive(Clone, Copy)]
enum Serve {
    NotFound,
    Close,
    Garbage,
    EndlessHead,
    Silence,
    UpgradeThenClose,
    UpgradeThenGarbage,
    UpgradeThenSilence,
}

async fn start(serve: Serve) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, serve));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, serve: Serve) {
    let mut request = [0; 4096];
    match serve {
        Serve::NotFound => {
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        }
        Serve::Close => {}
        Serve::Garbage => {
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"\x00\x01SSH-2.0-garbage\r\n\r\n").await;
        }
        Serve::EndlessHead => {
            let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").await;
            while stream.write_all(b"x: y\r\n").await.is_ok() {}
        }
        Serve::Silence => std::future::pending().await,
        Serve::UpgradeThenClose => drop(accept_async(stream).await),
        Serve::UpgradeThenGarbage => {
            let Ok(mut socket) = accept_async(stream).await else { return };
            let _ = socket.get_mut().write_all(&[0xff; 64]).await;
            let _ = socket.get_mut().read_to_end(&mut Vec::new()).await;
        }
        Serve::UpgradeThenSilence => {
            let Ok(mut socket) = accept_async(stream).await else { return };
            let _ = socket.get_mut().read_to_end(&mut Vec::new()).await;
        }
    }
}

async fn outcome(serve: Serve) -> Result<Report, Unreachable> {
    let address = start(serve).await;
    timeout(HANG, ask(address, &[])).await.expect("it ends in time")
}

async fn is_unreachable(serve: Serve, says: &str) {
    let error = outcome(serve).await.expect_err("there is no WebSocket").to_string();
    assert!(error.contains("\n  tried: TCP is accepted; to the WebSocket upgrade the server answers"), "{error}");
    assert!(error.contains(says), "{error}");
}

/// The first case fails with this reason, and the cases that need it do not run.
async fn fails_at_once(serve: Serve, says: &str) {
    let report = outcome(serve).await.expect("it opens WebSockets");
    for case in &report.cases {
        match &case.verdict {
            Verdict::Fail { why, .. } if case.case.slug == "room/join-ack" => assert!(why.contains(says), "{why}"),
            // Handshakes work on this server.
            _ if case.case.slug.starts_with("ws/") && case.case.needs.is_empty() => {}
            verdict => {
                let not_asked = matches!(verdict, Verdict::NotTested { .. } | Verdict::Unsupported { .. });
                assert!(not_asked, "{:?}: {verdict:?}", case.case);
            }
        }
    }
}

#[tokio::test]
async fn http_404() {
    is_unreachable(Serve::NotFound, "HTTP 404").await;
}

#[tokio::test]
async fn closes_at_once() {
    is_unreachable(Serve::Close, "answers nothing").await;
}

#[tokio::test]
async fn garbage() {
    is_unreachable(Serve::Garbage, "something else than a WebSocket handshake").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_head() {
    is_unreachable(Serve::EndlessHead, "something else than a WebSocket handshake").await;
}

#[tokio::test]
async fn silence() {
    is_unreachable(Serve::Silence, "answers nothing within 5 s").await;
}

#[tokio::test]
async fn nobody_listens() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
        listener.local_addr().expect("it listens")
    };
    let error = ask(address, &[]).await.expect_err("nobody is there").to_string();
    assert!(error.ends_with(&format!("TCP to 127.0.0.1 port {}: connection refused", address.port())), "{error}");
}

#[tokio::test]
async fn upgrades_then_closes() {
    fails_at_once(Serve::UpgradeThenClose, "its connection was").await;
}

#[tokio::test]
async fn upgrades_then_garbage() {
    fails_at_once(Serve::UpgradeThenGarbage, "the server broke the framing rules").await;
}

#[tokio::test]
async fn upgrades_then_silence() {
    fails_at_once(Serve::UpgradeThenSilence, "did not receive an answer to its join within").await;
}

#[test]
fn urls() {
    let target: Target = "ws://[::1]:8787/path?room=r".parse().expect("good");
    assert_eq!((target.host(), target.port()), ("::1", 8787));
    let target: Target = "ws://example.org".parse().expect("good");
    assert_eq!((target.host(), target.port()), ("example.org", 80));
    for (url, says) in [
        ("127.0.0.1:8787", "ws://HOST:PORT/PATH"),
        ("ftp://127.0.0.1:8787", "has the scheme `ftp`"),
        ("ws://127.0.0.1:0", "the port 0"),
        ("ws://a b", "ws://HOST:PORT/PATH"),
        ("", "ws://HOST:PORT/PATH"),
    ] {
        let error: Result<Target, BadUrl> = url.parse();
        let error = error.expect_err(url).to_string();
        assert!(error.contains(says), "{error}");
    }
}
