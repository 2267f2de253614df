//! NAT behaviour discovery (RFC 5780) on real sockets: 127.0.0.1 and 127.0.0.2.

use std::net::SocketAddr;

use server::net::Tokio;
use server::{Config, Server};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::client::{PATIENCE, start_with};
use crate::wire::{ID, Response, message, xor_address};

async fn ask(socket: &UdpSocket, to: SocketAddr, attributes: &[(u16, &[u8])]) -> (Response, SocketAddr) {
    socket.send_to(&message(0x0001, attributes), to).await.expect("loopback takes it");
    receive(socket).await
}

async fn receive(socket: &UdpSocket) -> (Response, SocketAddr) {
    let mut answer = [0; 4096];
    let (length, from) = timeout(PATIENCE, socket.recv_from(&mut answer)).await.expect("it answers").expect("received");
    (Response::read(&answer[..length]), from)
}

/// A value as in MAPPED-ADDRESS.
fn plain(address: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(address) = address else { panic!("IPv4 here") };
    [&[0, 1], &address.port().to_be_bytes()[..], &address.ip().octets()].concat()
}

//= https://www.rfc-editor.org/rfc/rfc5780#section-6.1
#[tokio::test]
async fn change_request_chooses_the_source_from_table_1() {
    let server = start_with(|config| config.stun_alternate = Some(([127, 0, 0, 2], 0).into())).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("port 0 is free");
    let own = socket.local_addr().expect("it is bound");
    let a1p1 = server.stun;
    let other = ask(&socket, a1p1, &[]).await.0.get(0x802c).expect("OTHER-ADDRESS").to_vec();
    let a2p2: SocketAddr = ([127, 0, 0, 2], u16::from_be_bytes([other[2], other[3]])).into();
    assert_eq!((plain(a2p2), a2p2.port() != a1p1.port()), (other, true));
    let at = |ip: SocketAddr, port: SocketAddr| SocketAddr::new(ip.ip(), port.port());
    for da in [a1p1, a2p2] {
        for dp in [a1p1, a2p2] {
            let (to, ca, cp) = (at(da, dp), if da == a1p1 { a2p2 } else { a1p1 }, if dp == a1p1 { a2p2 } else { a1p1 });
            for (flags, origin) in [(0, to), (4, at(ca, dp)), (2, at(da, cp)), (6, at(ca, cp))] {
                let (response, from) = ask(&socket, to, &[(0x0003, &[0, 0, 0, flags])]).await;
                assert_eq!((response.kind, from), (0x0101, origin), "to {to}, flags {flags}");
                let attribute = |kind| response.get(kind).map(<[u8]>::to_vec);
                assert_eq!(attribute(0x802b), Some(plain(origin)), "RESPONSE-ORIGIN");
                assert_eq!(attribute(0x802c), Some(plain(at(ca, cp))), "OTHER-ADDRESS");
                assert_eq!(attribute(0x0001), Some(plain(own)), "MAPPED-ADDRESS");
                assert_eq!(attribute(0x0020), Some(xor_address(own, ID)), "XOR-MAPPED-ADDRESS");
            }
        }
    }
}

#[tokio::test]
async fn response_port_and_padding_are_obeyed_but_not_together() {
    let server = start_with(|config| config.stun_alternate = Some(([127, 0, 0, 2], 0).into())).await;
    let (x, y) =
        (UdpSocket::bind("127.0.0.1:0").await.expect("free"), UdpSocket::bind("127.0.0.1:0").await.expect("free"));
    let (x_at, y_at) = (x.local_addr().expect("bound"), y.local_addr().expect("bound"));
    let port = [&x_at.port().to_be_bytes()[..], &[0, 0]].concat();
    y.send_to(&message(0x0001, &[(0x0027, &port)]), server.stun).await.expect("loopback takes it");
    let response = receive(&x).await.0;
    assert_eq!(response.get(0x0020), Some(&xor_address(y_at, ID)[..]), "y asked, x hears");
    // As long as the request's, at most an Ethernet frame.
    for (asked, got) in [(0, 0), (100, 100), (1500, 1500), (4000, 1500)] {
        let response = ask(&x, server.stun, &[(0x0026, &vec![b'x'; asked])]).await.0;
        assert_eq!((response.kind, response.get(0x0026).map(<[u8]>::len)), (0x0101, Some(got)));
    }
    assert_eq!(ask(&x, server.stun, &[]).await.0.get(0x0026), None);
    for bad in [&[(0x0026, &[0; 4][..]), (0x0027, &port)][..], &[(0x0027, &[1])], &[(0x0003, &[0; 3])]] {
        assert_eq!(ask(&x, server.stun, bad).await.0.code(), 400, "{bad:?}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc5780#section-6
#[tokio::test]
async fn a_server_with_one_address_refuses_with_420_and_names_no_other() {
    let server = start_with(|_| {}).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("port 0 is free");
    for (kind, value) in [(0x0003_u16, &[0, 0, 0, 6][..]), (0x0003, &[0; 4]), (0x0026, b""), (0x0027, &[0, 9, 0, 0])] {
        let response = ask(&socket, server.stun, &[(kind, value)]).await.0;
        assert_eq!((response.code(), response.get(0x000a)), (420, Some(&kind.to_be_bytes()[..])));
    }
    let response = ask(&socket, server.stun, &[]).await.0;
    assert_eq!((response.get(0x802b), response.get(0x802c)), (None, None));
}

#[tokio::test]
async fn an_alternate_that_cannot_serve_is_refused_by_name() {
    for (first, alternate, why) in [
        ("127.0.0.1:3478", "127.0.0.1:3479", "the IP addresses must differ"),
        ("127.0.0.1:3478", "127.0.0.2:3478", "the ports must differ"),
        ("127.0.0.1:3478", "[::1]:3479", "both must be IPv4 or both IPv6"),
        ("0.0.0.0:3478", "127.0.0.1:3479", "not a wildcard"),
    ] {
        let (first, alternate): (SocketAddr, SocketAddr) =
            (first.parse().expect("one"), alternate.parse().expect("one"));
        let config =
            Config { listen: Vec::new(), stun: Some(first), stun_alternate: Some(alternate), ..Config::default() };
        let error = Server::bind(Tokio, config).await.err().expect("it cannot serve").to_string();
        assert!(error.contains(&alternate.to_string()) && error.contains(why), "{error}");
    }
}
