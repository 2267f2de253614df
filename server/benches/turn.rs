//! Measures the cost of relaying, including the sockets: a window of datagrams in both directions on loopback, in one
//! thread.

use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use server::net::Tokio;
use server::{Config, Server, TurnSettings};
use sha1::Sha1;

const WINDOW: usize = 64;
const BYTES: usize = 200;

/// A STUN message with padded attributes.
fn message(kind: u16, id: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = kind.to_be_bytes().to_vec();
    message.extend([0, 0, 0x21, 0x12, 0xa4, 0x42]);
    message.extend([id; 12]);
    for (kind, value) in attributes {
        message.extend(kind.to_be_bytes());
        message.extend((value.len() as u16).to_be_bytes());
        message.extend(*value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = (message.len() - 20) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    message
}

fn attribute(message: &[u8], wanted: u16) -> &[u8] {
    let be = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let mut at = 20;
    while be(at) != wanted {
        at += 4 + usize::from(be(at + 2)).next_multiple_of(4);
    }
    &message[at + 4..at + 4 + usize::from(be(at + 2))]
}

fn ask(socket: &UdpSocket, request: &[u8]) -> Vec<u8> {
    let mut answer = [0; 1500];
    socket.send(request).expect("loopback takes it");
    let length = socket.recv(&mut answer).expect("it answers");
    answer[..length].to_vec()
}

/// A socket with an allocation and channel 0x4000 bound to the peer.
fn client(server: SocketAddr, peer: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("port 0 is free");
    socket.connect(server).expect("loopback");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a duration");
    let udp = (0x0019, &[17, 0, 0, 0][..]);
    let challenge = ask(&socket, &message(0x0003, 1, &[udp]));
    let key = Md5::digest(b"u:glare:p");
    let credential =
        [(0x0006, &b"u"[..]), (0x0014, attribute(&challenge, 0x0014)), (0x0015, attribute(&challenge, 0x0015))];
    let signed = |kind, id, attributes: &[(u16, &[u8])]| {
        let attributes = [attributes, &credential].concat();
        let mut covered = message(kind, id, &attributes);
        let length = (covered.len() - 20 + 24) as u16;
        covered[2..4].copy_from_slice(&length.to_be_bytes());
        let mac = Hmac::<Sha1>::new_from_slice(&key).expect("any length").chain_update(&covered).finalize();
        message(kind, id, &[&attributes[..], &[(0x0008, &mac.into_bytes())]].concat())
    };
    assert_eq!(ask(&socket, &signed(0x0003, 2, &[udp]))[..2], [0x01, 0x03]);
    let SocketAddr::V4(peer) = peer else { unreachable!("loopback is IPv4 here") };
    let ip = u32::from(*peer.ip()) ^ 0x2112_a442;
    let xor_peer = [&[0, 1][..], &(peer.port() ^ 0x2112).to_be_bytes(), &ip.to_be_bytes()].concat();
    let bound = ask(&socket, &signed(0x0009, 3, &[(0x000c, &[0x40, 0, 0, 0]), (0x0012, &xor_peer)]));
    assert_eq!(bound[..2], [0x01, 0x09]);
    socket
}

fn channel(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let settings = TurnSettings {
        users: vec![("u".to_owned(), "p".to_owned())],
        allow_private_peers: true,
        ..TurnSettings::default()
    };
    let config = Config {
        listen: Vec::new(),
        stun: Some(([127, 0, 0, 1], 0).into()),
        turn: Some(settings),
        ..Config::default()
    };
    let server = runtime.block_on(Server::bind(Tokio, config)).expect("port 0 is free");
    let address = server.address("stun").expect("asked for");
    runtime.spawn(server.run());
    let peer = UdpSocket::bind("127.0.0.1:0").expect("port 0 is free");
    peer.set_read_timeout(Some(Duration::from_secs(5))).expect("a duration");
    let client = client(address, peer.local_addr().expect("it is bound"));
    let datagram = [&[0x40, 0, 0, BYTES as u8][..], &[0xa5; BYTES]].concat();
    let mut buffer = [0; 1500];
    let mut group = c.benchmark_group("turn");
    group.throughput(Throughput::Elements(2 * WINDOW as u64));
    group.bench_function("channel data, there and back", |b| {
        b.iter(|| {
            for _ in 0..WINDOW {
                client.send(black_box(&datagram)).expect("loopback takes it");
            }
            for _ in 0..WINDOW {
                let (length, from) = peer.recv_from(&mut buffer).expect("it relays");
                peer.send_to(&buffer[..length], from).expect("loopback takes it");
            }
            for _ in 0..WINDOW {
                assert_eq!(client.recv(&mut buffer).expect("it relays"), datagram.len());
            }
        });
    });
}

criterion_group!(benches, channel);
criterion_main!(benches);
