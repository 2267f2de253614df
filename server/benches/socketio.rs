//! Measures the cost of a broadcast event over Socket.IO. `cargo bench -p server --bench socketio`
//!
//! Server and clients share one thread and loopback sockets, so the figures include the clients' part: compare them
//! with earlier ones, not with the server's CPU time. Each event also goes to its sender.

#![allow(missing_docs)] // criterion's macros write undocumented items

use std::net::{Ipv4Addr, SocketAddr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{SinkExt, StreamExt};
use server::net::Tokio;
use server::socketio::engine;
use server::socketio::packet::{Event, Packet};
use server::{Config, Listen, Server};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Number of connected clients. All receive what one sends.
const CLIENTS: usize = 6;
/// Events sent before any client waits for deliveries.
const BURST: usize = 64;

type Client = WebSocketStream<TcpStream>;

fn socketio(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("socketio");
    let mut clients = runtime.block_on(async {
        let address = serve().await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(connect(address).await);
        }
        clients
    });
    let said = format!(r#"42["send-offer",{{"type":"offer","sdp":"{:x<300}"}}]"#, "");
    group.throughput(Throughput::Elements((BURST * CLIENTS) as u64));
    group.bench_function("deliveries of broadcast events of 300 bytes to 6", |bench| {
        bench.iter(|| {
            runtime.block_on(async {
                for _ in 0..BURST {
                    clients[0].feed(Message::text(said.as_str())).await.expect("it is connected");
                }
                clients[0].flush().await.expect("it is connected");
                for client in &mut clients {
                    for _ in 0..BURST {
                        hear(client).await;
                    }
                }
            });
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("an event of 300 bytes read, and written again", |bench| {
        bench.iter(|| {
            let Ok(engine::Packet::Message(text)) = engine::Packet::parse(&said) else { panic!("a message") };
            let packet = Packet::parse(text).expect("a packet");
            let event = Event::parse(packet.data).expect("an event");
            let data = Event { name: "receive-offer".into(), ..event }.to_string();
            server::socketio::packet::message(&Packet { data: &data, ..packet })
        });
    });
    group.finish();
}

/// Starts a server that runs as long as the runtime. Returns the address of its broadcast dialect.
async fn serve() -> SocketAddr {
    let listen = Listen::each(["broadcast"], |_| (Ipv4Addr::LOCALHOST, 0).into());
    let config = Config { listen, stun: None, ..Config::default() };
    let server = Server::bind(Tokio, config).await.expect("port 0 is free");
    let address = server.address("broadcast").expect("asked for");
    tokio::spawn(server.run());
    address
}

async fn connect(address: SocketAddr) -> Client {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("it is connected");
    let url = "ws://glare.test/socket.io/?EIO=4&transport=websocket";
    let mut client = tokio_tungstenite::client_async(url, stream).await.expect("it upgrades").0;
    hear(&mut client).await;
    client.send(Message::text("40")).await.expect("it is connected");
    hear(&mut client).await;
    client
}

/// The next packet that is not a ping.
async fn hear(client: &mut Client) {
    loop {
        match client.next().await.expect("it is connected").expect("a frame") {
            Message::Text(text) if text == "2" => client.send(Message::text("3")).await.expect("it is connected"),
            Message::Text(_) => return,
            other => panic!("{other:?} is no packet"),
        }
    }
}

criterion_group!(benches, socketio);
criterion_main!(benches);
