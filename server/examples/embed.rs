//! How to embed the signaling and STUN server in your own program: `cargo run -p server --example embed`.
//!
//! The example serves two dialects and STUN on free ports of this machine. It prints their addresses, and every second
//! the server's counts. Ctrl-C stops it gracefully.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use server::net::Tokio;
use server::{Config, Limits, Listen, Randomness, Server};

#[tokio::main]
async fn main() -> io::Result<()> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config {
        // `relay` is served at the shared HTTP address, which also has `/api/*` and `/metrics`.
        listen: Listen::each(["mesh", "relay"], |_| any_port),
        stun: Some(any_port),
        limits: Limits { room_members_max: Some(8), ..Limits::default() },
        // Nobody must be able to guess a client's id.
        randomness: Randomness::System,
        ..Config::default()
    };
    let server = Server::bind(Tokio, config).await?;
    for dialect in ["mesh", "relay"] {
        println!("{dialect}  {}", server.url(dialect).expect("it is served"));
    }
    println!("stun  {}", server.address("stun").expect("it is served"));

    let handle = server.handle();
    let mut running = tokio::spawn(server.run());
    loop {
        tokio::select! {
            biased;
            ended = &mut running => return ended.map_err(io::Error::other),
            // Every WebSocket is closed with 1001; then `run` returns.
            interrupt = tokio::signal::ctrl_c() => interrupt.map(|()| handle.shutdown())?,
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                let census = handle.census();
                println!("{} connections, {} rooms, {} members", census.connections, census.rooms, census.members);
            }
        }
    }
}
