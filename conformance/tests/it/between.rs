//! Correct servers behind a proxy or a balancer, which change what is around the messages.

use std::net::SocketAddr;

use conformance::Verdict;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::{ask, ask_as, ask_at, dialect, reference, text};

/// Starts a proxy; it lives as long as the test's runtime. `refuses` sees the head of a request and may answer it
/// itself; `changes` makes the head of the server's response from it.
async fn proxy(
    server: SocketAddr,
    refuses: fn(&str) -> Option<&'static str>,
    changes: fn(&str) -> String,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, server, refuses, changes));
        }
    });
    address
}

async fn pass(
    mut client: TcpStream,
    server: SocketAddr,
    refuses: fn(&str) -> Option<&'static str>,
    changes: fn(&str) -> String,
) -> Option<()> {
    let (head, rest) = head(&mut client).await?;
    if let Some(answer) = refuses(&head) {
        return client.write_all(answer.as_bytes()).await.ok();
    }
    let mut server = TcpStream::connect(server).await.ok()?;
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    // A body follows its head while the answer is awaited.
    let up = async {
        to_server.write_all(head.as_bytes()).await.ok()?;
        to_server.write_all(&rest).await.ok()?;
        copy(&mut from_client, &mut to_server).await.ok()?;
        to_server.shutdown().await.ok()
    };
    let down = async {
        let (answer, rest) = self::head(&mut from_server).await?;
        to_client.write_all(changes(&answer).as_bytes()).await.ok()?;
        to_client.write_all(&rest).await.ok()?;
        copy(&mut from_server, &mut to_client).await.ok()?;
        to_client.shutdown().await.ok()
    };
    tokio::join!(up, down).1
}

/// The head of a request or response with the empty line after it, and what follows.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn never(_: &str) -> Option<&'static str> {
    None
}

/// The head with its `Connection` header replaced by these lines.
fn with_connection(head: &str, lines: &str) -> String {
    let others = head.trim_end().split("\r\n").filter(|line| !line.to_lowercase().starts_with("connection:"));
    let others: Vec<_> = others.collect();
    format!("{}\r\n{lines}\r\n\r\n", others.join("\r\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_connection_is_a_list_in_any_case_on_any_number_of_lines() {
    for changes in [
        (|head| with_connection(head, "Connection: keep-alive, Upgrade")) as fn(&str) -> String,
        |head| with_connection(head, "Connection: keep-alive\r\nconnection: UPGRADE"),
        |head| with_connection(head, "Connection: upgrade ,close"),
    ] {
        // A server for each, because the runs use the same names of rooms.
        let server = reference::reference().await;
        let report = ask(proxy(server, never, changes).await, &["ws/accept-key", "mesh/unicast"]).await;
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        assert!(report.passed(), "{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_the_upgrade_is_still_not_a_handshake() {
    let server = reference::reference().await;
    let changes = |head: &str| with_connection(head, "Connection: keep-alive");
    let error = ask(proxy(server, never, changes).await, &[]).await.expect_err("it does not upgrade").to_string();
    assert!(error.contains("header `Connection`, expected a list with `Upgrade`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_choose_whose_pages_connect() {
    let server = reference::reference().await;
    let refuses = |head: &str| {
        let foreign = head.contains("\r\nOrigin: ") && !head.contains("Origin: https://pages.example\r\n");
        foreign.then_some("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    };
    let address = proxy(server, refuses, str::to_owned).await;
    let report = ask(address, &["ws/chromium-handshake", "ws/firefox-handshake"]).await.expect("it is there");
    for browser in ["ws/chromium-handshake", "ws/firefox-handshake"] {
        let verdict = &report.case(browser).expect("it ran").verdict;
        assert!(
            matches!(verdict, Verdict::Unsupported { why } if why.contains("refuses pages of the origin http://127.0.0.1")),
            "{verdict:?}"
        );
    }
    // The user tells whose pages may.
    let target = format!("ws://{address}/").parse::<conformance::Target>().expect("a URL");
    let target = target.with_header("Origin", "https://pages.example").expect("a header");
    let report = ask_at(&dialect("mesh"), &target, &["ws/firefox-handshake"]).await.expect("it is there");
    assert_eq!(report.case("ws/firefox-handshake").expect("it ran").verdict, Verdict::Pass, "{}", text(&report));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_recognises_a_client_by_its_cookie() {
    let server = reference::server().await;
    let url = server.url("broadcast").expect("asked for");
    let address = url.trim_start_matches("http://").split('/').next().and_then(|address| address.parse().ok());
    let address = address.unwrap_or_else(|| panic!("{url}"));
    tokio::spawn(server.run());
    // A request of a session without the cookie goes to a server that does not know the session.
    let refuses = |head: &str| {
        let request = head.lines().next().unwrap_or_default();
        let lost = request.contains("sid=") && !request.contains("sid=glare") && !head.contains("SRV=one");
        let answer =
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 41\r\n\r\n{\"code\":1,\"message\":\"Session ID unknown\"}";
        lost.then_some(answer)
    };
    let changes = |head: &str| {
        let (status, headers) = head.split_once("\r\n").expect("a head");
        format!("{status}\r\nSet-Cookie: nonsense\r\nSet-Cookie: SRV=one; path=/; HttpOnly\r\n{headers}")
    };
    let url = format!("http://{}/socket.io/", proxy(address, refuses, changes).await);
    let report = ask_as(&dialect("broadcast"), &url, &["sio/*"]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    for slug in ["sio/upgrade", "sio/polling", "sio/poll-overlap", "sio/close"] {
        assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}");
    }
}
