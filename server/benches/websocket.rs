//! Measures the cost of a message and of a connection over WebSocket. `cargo bench -p server --bench websocket`
//!
//! Server and clients share one thread and loopback sockets, so the figures include the clients' part: compare them
//! with earlier ones, not with the server's CPU time.

#![allow(missing_docs)] // criterion's macros write undocumented items

use std::net::{Ipv4Addr, SocketAddr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{SinkExt, StreamExt};
use server::net::Tokio;
use server::{Config, Listen, Server};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Number of members of the room. The others receive what one sends.
const MEMBERS: usize = 6;
/// Messages sent before any client waits for deliveries.
const BURST: usize = 64;

type Client = WebSocketStream<TcpStream>;

fn websocket(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("websocket");
    let (mesh, http) = runtime.block_on(serve());

    let mut room = runtime.block_on(async {
        let mut room = Vec::new();
        for number in 0..MEMBERS {
            let mut member = open(mesh, "/").await;
            say(&mut member, r#"{"action":"join","roomId":"bench"}"#).await;
            hear(&mut member).await;
            for earlier in &mut room[..number] {
                hear(earlier).await;
            }
            room.push(member);
        }
        room
    });
    let said = format!(r#"{{"action":"signal","roomId":"bench","type":"offer","data":"{:x<300}"}}"#, "");
    group.throughput(Throughput::Elements((BURST * (MEMBERS - 1)) as u64));
    group.bench_function("deliveries of mesh signals of 300 bytes to 5 others", |bench| {
        bench.iter(|| fan_out(&runtime, &mut room, &said));
    });

    let mut pair = runtime.block_on(async { [open(http, "/relay").await, open(http, "/relay").await] });
    let said = format!(r#"{{"type":"candidate","candidate":"{:x<100}"}}"#, "");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("deliveries of relay candidates of 100 bytes to the other", |bench| {
        bench.iter(|| fan_out(&runtime, &mut pair, &said));
    });

    group.throughput(Throughput::Elements(1));
    group.bench_function("connect, join an empty room, close", |bench| {
        bench.iter(|| {
            runtime.block_on(async {
                let mut client = open(mesh, "/").await;
                say(&mut client, r#"{"action":"join","roomId":"brief"}"#).await;
                hear(&mut client).await;
                client.close(None).await.expect("it is connected");
                while client.next().await.is_some() {}
            });
        });
    });
    group.finish();
}

/// Starts a server that runs as long as the runtime. Returns the addresses of its mesh dialect and its HTTP port.
async fn serve() -> (SocketAddr, SocketAddr) {
    let listen = Listen::each(["mesh", "sender-viewer", "relay"], |_| (Ipv4Addr::LOCALHOST, 0).into());
    let config = Config { listen, ..Config::default() };
    let server = Server::bind(Tokio, config).await.expect("port 0 is free");
    let addresses = (server.address("mesh").expect("asked for"), server.address("api").expect("asked for"));
    tokio::spawn(server.run());
    addresses
}

/// The first client sends a burst, and every other one receives all of it.
fn fan_out(runtime: &Runtime, clients: &mut [Client], said: &str) {
    runtime.block_on(async {
        let (speaker, listeners) = clients.split_first_mut().expect("somebody is there");
        for _ in 0..BURST {
            speaker.feed(Message::text(said)).await.expect("it is connected");
        }
        speaker.flush().await.expect("it is connected");
        for listener in listeners {
            for _ in 0..BURST {
                hear(listener).await;
            }
        }
    });
}

async fn open(address: SocketAddr, target: &str) -> Client {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("it is connected");
    tokio_tungstenite::client_async(format!("ws://glare.test{target}"), stream).await.expect("it upgrades").0
}

async fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).await.expect("it is connected");
}

async fn hear(client: &mut Client) {
    loop {
        match client.next().await.expect("it is connected").expect("a frame") {
            Message::Text(_) => return,
            // The server's heartbeat, which tungstenite answers.
            Message::Ping(_) => {}
            other => panic!("{other:?} is no message"),
        }
    }
}

criterion_group!(benches, websocket);
criterion_main!(benches);
