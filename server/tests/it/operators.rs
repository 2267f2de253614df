//! What operators do while the server runs: new rules, a drain, and proxies that name clients in a PROXY header.

use std::net::SocketAddr;
use std::time::Duration;

use server::{Config, Limits, Listen, TurnSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::get;
use crate::client::{Client, PATIENCE, Running, start_with};
use crate::http::{KEY, UPGRADE, VERSION, request};
use crate::turn::settings;
use crate::turn_client::{ALLOCATE, TurnClient, UDP};
use crate::wire::{Response, message_with_id};

/// The status of a request for a WebSocket.
async fn opened(server: &Running, token: &str) -> String {
    let head = request(server.mesh, &format!("GET /?token={token} HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}\r\n")).await;
    head.split(' ').nth(1).expect("a status").to_owned()
}

/// What the servers of these tests are started with, for a reload of one part.
fn config(turn: TurnSettings) -> Config {
    let listen = Listen::each(["mesh"], |_| SocketAddr::from(([127, 0, 0, 1], 0)));
    Config { listen, stun: Some(([127, 0, 0, 1], 0).into()), turn: Some(turn), ..Config::default() }
}

async fn running(config: Config) -> Running {
    start_with(|all| (all.access, all.limits, all.turn) = (config.access, config.limits, config.turn)).await
}

#[tokio::test]
async fn a_reload_changes_tokens_users_and_limits_for_those_who_come_later() {
    let mut first = config(settings());
    first.access.tokens = vec!["old".to_owned()];
    let server = running(first.clone()).await;
    assert_eq!((opened(&server, "old").await, opened(&server, "new").await), ("101".to_owned(), "401".to_owned()));
    let (mut user, _) = TurnClient::allocated(server.stun).await;

    let mut second = first.clone();
    second.access.tokens = vec!["new".to_owned()];
    second.api.admin_token = Some("admin".to_owned());
    second.limits = Limits { message_bytes_max: 100, connections_per_address_max: Some(1), ..Limits::default() };
    let turn = second.turn.as_mut().expect("it is on");
    turn.users = vec![("u".to_owned(), "another".to_owned())];
    turn.allocations_max = 1;
    let differences = server.handle.reload(second).expect("it is right");
    assert_eq!(differences, ["addresses and dialects"], "this test gives others");
    assert_eq!(opened(&server, "old").await, "401");
    assert!(get(&server, "/metrics").await.head.starts_with("http/1.1 401 "));
    server.census(|census| census.connections == 0).await;
    let mut one = TcpStream::connect(server.mesh).await.expect("it listens");
    one.write_all(format!("GET /?token=new HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}\r\n").as_bytes()).await.expect("sent");
    let mut status = [0; 12];
    timeout(PATIENCE, one.read_exact(&mut status)).await.expect("it answers").expect("all of it");
    assert_eq!(&status, b"HTTP/1.1 101");
    assert_eq!(opened(&server, "new").await, "429", "the second of its address");
    // The old password is nobody's, the new one makes an allocation, and there may be only one.
    assert_eq!(user.request(ALLOCATE, &[UDP]).await.code(), 401);
    let mut other = TurnClient::new(server.stun).await;
    other.password = "another".to_owned();
    assert_eq!(other.request(ALLOCATE, &[UDP]).await.code(), 508);
    assert_eq!(server.handle.turn().expect("it is on").allocations, 1, "the first one stays");
}

#[tokio::test]
async fn a_reload_names_what_it_cannot_take_over() {
    let first = config(settings());
    let server = running(first.clone()).await;
    type Change = fn(&mut TurnSettings);
    let changes: [Change; 3] = [
        |turn| turn.bandwidth_max = Some(1_000),
        |turn| turn.denied_peers = vec!["192.0.2.0/24".parse().expect("a network")],
        |turn| turn.permissions_max = 1,
    ];
    for change in changes {
        let mut second = first.clone();
        change(second.turn.as_mut().expect("it is on"));
        let differences = server.handle.reload(second).expect("it is right");
        assert_eq!(
            differences,
            ["addresses and dialects", "settings of TURN other than users and numbers of allocations"]
        );
    }
}

#[tokio::test]
async fn a_reload_that_is_wrong_changes_nothing() {
    let mut first = config(settings());
    first.access.tokens = vec!["old".to_owned()];
    let server = running(first.clone()).await;
    let wrong: [fn(&mut Config); 3] = [
        |config| config.access.tokens = vec!["with space".to_owned()],
        |config| config.access.origins = vec!["nonsense".to_owned()],
        |config| config.turn.as_mut().expect("it is on").users = vec![(String::new(), "p".to_owned())],
    ];
    for spoil in wrong {
        let mut second = first.clone();
        second.access.tokens = vec!["new".to_owned()];
        spoil(&mut second);
        assert!(server.handle.reload(second).is_err());
        assert_eq!((opened(&server, "old").await, opened(&server, "new").await), ("101".to_owned(), "401".to_owned()));
    }
    TurnClient::allocated(server.stun).await;
}

#[tokio::test]
async fn a_drain_lets_nobody_in_and_leaves_everyone_alone() {
    let server = running(config(settings())).await;
    let (mut a, mut b) = (Client::join(&server, "r").await, Client::join(&server, "r").await);
    a.next().await;
    let (mut relayed, _) = TurnClient::allocated(server.stun).await;
    assert_eq!(server.handle.clients(), 2);
    server.handle.drain();
    assert_eq!(opened(&server, "").await, "503");
    let health = get(&server, "/healthz").await;
    assert!(health.head.starts_with("http/1.1 503 ") && health.body == r#"{"status":"draining"}"#, "{}", health.body);
    let polling =
        request(server.broadcast, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(polling.starts_with("http/1.1 503 "), "{polling}");
    assert_eq!(TurnClient::new(server.stun).await.request(ALLOCATE, &[UDP]).await.code(), 508);
    // Those who are there go on.
    b.send(r#"{"action":"signal","roomId":"r","type":"offer"}"#).await;
    assert!(a.next().await.contains("offer"));
    assert_eq!(relayed.refresh(600).await.code(), 0);
    drop((a, b));
    server.census(|census| census.members == 0).await;
}

/// A connection with these bytes at its start.
async fn connect(to: SocketAddr, start: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.expect("it listens");
    stream.write_all(start).await.expect("it is connected");
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends");
    String::from_utf8_lossy(&rest).into_owned()
}

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_listed_proxy_names_the_client_whom_the_limits_count() {
    let server = start_with(|config| {
        config.access.proxy_protocol = vec!["127.0.0.1".parse().expect("an address")];
        config.limits.connections_per_address_max = Some(1);
    })
    .await;
    let line = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 5000 80\r\n");
    let _first = connect(server.mesh, format!("{}GET / HTTP/1.1\r\n", line("192.0.2.1")).as_bytes()).await;
    server.census(|census| census.connections == 1).await;
    // The first one is counted once its header has been read.
    while rest(connect(server.mesh, (line("192.0.2.1") + GET).as_bytes()).await).await.starts_with("HTTP/1.1 200") {}
    assert!(rest(connect(server.mesh, (line("192.0.2.1") + GET).as_bytes()).await).await.starts_with("HTTP/1.1 429"));
    assert!(rest(connect(server.mesh, (line("192.0.2.2") + GET).as_bytes()).await).await.starts_with("HTTP/1.1 200"));
    // Version 2, and STUN over TCP sees the client as well.
    let address = [192, 0, 2, 9, 127, 0, 0, 1, 0x13, 0x88, 0, 80];
    let version_2 = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &address].concat();
    let mut stun = connect(server.stun, &[&version_2[..], &message_with_id(0x0001, [1; 12], &[])].concat()).await;
    let mut answer = [0; 44];
    timeout(PATIENCE, stun.read_exact(&mut answer)).await.expect("it answers").expect("all of it");
    assert_eq!(Response::read(&answer).address(0x0020), "192.0.2.9:5000".parse().expect("an address"));
}

#[tokio::test]
async fn without_a_header_a_listed_proxy_gets_nothing_and_others_need_none() {
    let server = start_with(|config| {
        config.access.proxy_protocol = vec!["127.0.0.1".parse().expect("an address")];
        config.limits.head_timeout = Duration::from_millis(300);
    })
    .await;
    // Not understood, cut off, and silent.
    for start in [GET.as_bytes(), b"PROXY TCP4 nobody", b""] {
        for address in [server.mesh, server.stun] {
            let mut stream = connect(address, start).await;
            stream.shutdown().await.expect("it is connected");
            assert_eq!(rest(stream).await, "");
        }
    }
    let silent = connect(server.mesh, b"PROXY TCP4 192.0.2.1 127.0.0.1 5000 ").await;
    assert_eq!(rest(silent).await, "", "after the time for a head");
    server.empty().await;
    let mut direct = crate::access::from("127.0.0.2", server.mesh).await;
    direct.write_all(GET.as_bytes()).await.expect("sent");
    assert!(rest(direct).await.starts_with("HTTP/1.1 200"));
    // Nobody else names a client.
    let mut liar = crate::access::from("127.0.0.2", server.mesh).await;
    liar.write_all(format!("PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n{GET}").as_bytes()).await.expect("sent");
    assert!(rest(liar).await.starts_with("HTTP/1.1 400"));
}
