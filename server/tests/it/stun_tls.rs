//! STUN and TURN over TLS (RFC 8656 §2.1), at a port of its own.

use std::net::SocketAddr;
use std::time::Duration;

use server::net::{Network, Tokio, Udp};
use server::{Config, Handle, Server, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::client::PATIENCE;
use crate::tls::Files;
use crate::turn::settings;
use crate::turn_client::{ALLOCATE, CHANNEL_BIND, UDP, channel_data, receive};
use crate::wire::{Response, key, message_with_id, with_integrity, xor_address};

struct Secure {
    stun: SocketAddr,
    tls: SocketAddr,
    handle: Handle,
}

async fn start(files: &Files, handshake_timeout: Duration) -> Secure {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config {
        listen: Vec::new(),
        stun: Some(any_port),
        stun_tls: Some(any_port),
        tls: Some(Tls::load(&files.certificate, &files.key).expect("a pair")),
        turn: Some(settings()),
        ..Config::default()
    };
    config.limits.handshake_timeout = handshake_timeout;
    let server = Server::bind(Tokio, config).await.expect("port 0 is free");
    let [stun, tls] = ["stun", "stun-tls"].map(|name| server.address(name).expect("asked for"));
    let handle = server.handle();
    tokio::spawn(server.run());
    Secure { stun, tls, handle }
}

async fn message<S: AsyncReadExt + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut header = vec![0; 4];
    timeout(PATIENCE, stream.read_exact(&mut header)).await.expect("it answers").expect("all of it");
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let more = if header[0] & 0xc0 == 0x40 { length.next_multiple_of(4) } else { 16 + length };
    header.resize(4 + more, 0);
    timeout(PATIENCE, stream.read_exact(&mut header[4..])).await.expect("it goes on").expect("all of it");
    header
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &[u8]) -> Response {
    stream.write_all(request).await.expect("it is open");
    stream.flush().await.expect("it is open");
    Response::read(&message(stream).await)
}

async fn ends(handle: &Handle) {
    #[allow(clippy::disallowed_methods)] // tokio's clock may stand still
    let start = std::time::Instant::now();
    while handle.census().connections > 0 || handle.turn().is_some_and(|turn| turn.allocations > 0) {
        assert!(start.elapsed() < PATIENCE, "it stays at {:?}", handle.census());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_relays_over_tls_and_a_tcp_connection_from_the_same_port_is_another_client() {
    let files = Files::new("stun");
    let server = start(&files, PATIENCE).await;
    // RFC 7443 has a name for it, which clients need not offer.
    drop(files.connect(server.tls, &["stun.turn"]).await.expect("a handshake"));
    assert!(files.connect(server.tls, &["http/1.1"]).await.is_err());
    let mut stream = files.connect(server.tls, &[]).await.expect("a handshake");
    let own = stream.get_ref().0.local_addr().expect("it is connected");
    let binding = ask(&mut stream, &message_with_id(0x0001, [1; 12], &[])).await;
    assert_eq!(binding.address(0x0020), own);

    let challenge = ask(&mut stream, &message_with_id(ALLOCATE, [2; 12], &[UDP])).await;
    let (realm, nonce) = (challenge.text(0x0014), challenge.text(0x0015));
    let sign = |kind, id, attributes: &[(u16, &[u8])]| {
        let credential = [(0x0006, &b"u"[..]), (0x0014, realm.as_bytes()), (0x0015, nonce.as_bytes())];
        with_integrity(message_with_id(kind, id, &[attributes, &credential].concat()), &key("u", &realm, "p"))
    };
    let allocated = ask(&mut stream, &sign(ALLOCATE, [3; 12], &[UDP])).await;
    assert_eq!(allocated.code(), 0, "{allocated:?}");
    let relayed = allocated.address(0x0016);
    let peer = Tokio.bind_udp(([127, 0, 0, 1], 0).into()).await.expect("port 0 is free");
    let address = xor_address(peer.local_addr().expect("it is bound"), [4; 12]);
    let bound = ask(&mut stream, &sign(CHANNEL_BIND, [4; 12], &[(0x000c, &[0x40, 0, 0, 0]), (0x0012, &address)])).await;
    assert_eq!(bound.code(), 0, "{bound:?}");

    // Twenty at once, there and back, each with its padding.
    let there: Vec<Vec<u8>> = (0..20_u8).map(|n| vec![n; 5]).collect();
    for data in &there {
        let mut framed = channel_data(0x4000, data);
        framed.resize(framed.len().next_multiple_of(4), 0);
        stream.write_all(&framed).await.expect("it is open");
    }
    stream.flush().await.expect("it is open");
    for data in &there {
        assert_eq!(receive(&peer).await, Some((data.clone(), relayed)));
        peer.send_to(data, relayed).await.expect("loopback");
    }
    for data in &there {
        assert_eq!(message(&mut stream).await[..9], channel_data(0x4000, data));
    }
    // The same client port over TCP alone is another 5-tuple.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an option");
    if socket.bind(&own.into()).is_ok() {
        socket.connect(&server.stun.into()).expect("it listens");
        socket.set_nonblocking(true).expect("an option");
        let mut plain = TcpStream::from_std(socket.into()).expect("a stream");
        plain.write_all(&sign(0x0004, [5; 12], &[])).await.expect("it is open");
        assert_eq!(Response::read(&message(&mut plain).await).code(), 437, "it has no allocation");
    }
    drop(stream);
    ends(&server.handle).await;
}

#[tokio::test]
async fn those_who_make_no_handshake_are_dropped() {
    let files = Files::new("stun-refuses");
    let server = start(&files, Duration::from_millis(200)).await;
    for bytes in [&message_with_id(0x0001, [1; 12], &[])[..], &[0x16, 3, 1, 2, 0, 1], &[]] {
        let mut stream = TcpStream::connect(server.tls).await.expect("it listens");
        stream.write_all(bytes).await.expect("it is open");
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends");
        assert!(!rest.starts_with(&[1, 1]), "{rest:?}");
    }
    ends(&server.handle).await;
}

#[tokio::test]
async fn without_a_certificate_there_is_none() {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { stun: Some(any_port), stun_tls: Some(any_port), ..Config::default() };
    let error = Server::bind(Tokio, config).await.err().expect("it needs one").to_string();
    assert!(error.ends_with("there is no certificate"), "{error}");
}
