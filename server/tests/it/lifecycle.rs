//! Start, shutdown, and what is left.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use server::net::{Network, Tokio};
use server::{Config, Listen, Server};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Client, PATIENCE, start, start_with};
use crate::clock::{hold, passing};
use crate::socketio_client::{Poller, request};

#[tokio::test]
async fn shutdown_closes_everyone_with_1001_and_leaves_nothing() {
    let server = start().await;
    let (mut a, mut b) = (Client::join(&server, "r").await, Client::connect(&server).await);
    let _still_http = TcpStream::connect(server.mesh).await.expect("it listens");
    server.census(|census| census.connections == 3).await;
    server.handle.shutdown();
    tokio::join!(a.is_closed(1001), b.is_closed(1001));
    drop((a, b));
    timeout(PATIENCE, server.task).await.expect("it ends").expect("without a panic");
    let census = server.handle.census();
    assert_eq!((census.connections, census.rooms, census.members), (0, 0, 0), "{census:?}");
    assert!(TcpStream::connect(server.mesh).await.is_err());
    server.handle.shutdown();
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_client_that_does_not_answer() {
    let _clock = hold();
    let server = start_with(|config| config.limits.close_timeout = Duration::from_millis(200)).await;
    let _mute = Client::join(&server, "r").await;
    server.handle.shutdown();
    let (ended, waited) = passing(timeout(PATIENCE, server.task)).await;
    ended.expect("it ends").expect("without a panic");
    assert!((200..=210).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(server.handle.census().connections, 0);
}

/// More than TCP takes at once, so that part of it is still in the queue when the server shuts down.
#[tokio::test]
async fn what_waits_is_delivered_before_the_close() {
    let server = start_with(|config| config.limits.queue_bytes_max = usize::MAX).await;
    let (mut a, mut b) = (Client::join(&server, "r").await, Client::join(&server, "r").await);
    let padding = "x".repeat(100_000);
    for n in 0..200 {
        a.send(&format!(r#"{{"action":"signal","roomId":"r","type":"offer","data":[{n},"{padding}"]}}"#)).await;
    }
    a.next().await;
    a.hears_nothing().await;
    assert!(server.handle.census().queued_bytes > 1_000_000, "{:?}", server.handle.census());
    server.handle.shutdown();
    for n in 0..200 {
        let signal = b.next().await;
        assert!(signal.contains(&format!(r#""data":[{n},"#)), "not {n}: {}", &signal[..100]);
    }
    // Whether a's leaving is still told depends on who is closed first.
    b.is_closed(1001).await;
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = start().await;
    for (config, service, address) in [
        (
            Config { listen: Listen::each(["mesh"], |_| server.mesh), stun: None, ..Config::default() },
            "mesh",
            server.mesh,
        ),
        (Config { listen: Vec::new(), stun: Some(server.stun), ..Config::default() }, "stun", server.stun),
    ] {
        let error = Server::bind(Tokio, config).await.err().expect("it is in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let message = error.to_string();
        assert!(message.starts_with(&format!("open {service} on {address}: ")), "{message}");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids() {
    let mut ids = Vec::new();
    for seed in [5, 5, 6] {
        let server = start_with(|config| config.seed = seed).await;
        ids.push(Client::join(&server, "r").await.id);
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
}

/// As for a name that has several addresses: they are one service, so a session goes on at another of them.
#[tokio::test]
async fn a_service_has_several_addresses_and_one_port() {
    let also = ["127.0.0.2", "127.0.0.3"].map(|ip| SocketAddr::new(ip.parse().expect("an address"), 0));
    let server = start_with(|config| config.listen.iter_mut().for_each(|listen| listen.also_at = also.to_vec())).await;
    let mut clients = Vec::new();
    for ip in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        let address = SocketAddr::new(ip.parse().expect("an address"), server.mesh.port());
        let mut client = Client::open(address, "/").await;
        client.joins("r").await;
        clients.push(client);
    }
    assert_eq!((server.handle.census().rooms, server.handle.census().members), (1, 3));
    let polling = Poller::connect(server.broadcast).await;
    let other = SocketAddr::new("127.0.0.3".parse().expect("an address"), server.broadcast.port());
    request(other, "POST", &polling.target(), b"420[\"sentinel\"]").await.is(200, "ok");
}

#[tokio::test]
async fn of_several_addresses_one_that_is_not_there_is_left_out() {
    let bind = async |at: [u8; 4], also_at: [u8; 4]| {
        let also_at = vec![SocketAddr::from((also_at, 0))];
        let listen = vec![Listen { at: (at, 0).into(), also_at, dialects: vec!["mesh"], pages: false }];
        Server::bind(Only127001, Config { listen, stun: None, ..Config::default() }).await
    };
    let (here, nowhere) = ([127, 0, 0, 1], [192, 0, 2, 1]);
    for (at, also_at) in [(here, nowhere), (nowhere, here)] {
        let server = bind(at, also_at).await.expect("one of them is there");
        assert_eq!(server.address("mesh").map(|address| address.ip()), Some(here.into()));
    }
    let error = bind(nowhere, nowhere).await.err().expect("none of them is there").to_string();
    assert!(error.starts_with("open mesh on 192.0.2.1:0: "), "{error}");
}

/// A host with a single address, whatever the machine of the test has.
#[derive(Clone)]
struct Only127001;

impl Network for Only127001 {
    type Stream = TcpStream;
    type Listener = <Tokio as Network>::Listener;
    type Udp = <Tokio as Network>::Udp;

    async fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener> {
        if address.ip() == Ipv4Addr::LOCALHOST {
            Tokio.listen(address).await
        } else {
            Err(io::ErrorKind::AddrNotAvailable.into())
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        Tokio.connect(address).await
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<Self::Udp> {
        Tokio.bind_udp(address).await
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        Tokio.spawn(task);
    }
}
