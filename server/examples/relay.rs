//! STUN and TURN alone, on one port of the loopback, for measurements: `relay PORT [READERS]`. The user is `u` with the password `p`.

use std::num::NonZeroUsize;

use server::net::Tokio;
use server::{Config, Randomness, Server, TurnSettings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("give a port")?.parse()?;
    let readers: NonZeroUsize = arguments.next().map_or(Ok(NonZeroUsize::MIN), |readers| readers.parse())?;
    let config = Config {
        listen: Vec::new(),
        stun: Some(([127, 0, 0, 1], port).into()),
        udp_readers: readers,
        turn: Some(TurnSettings {
            users: vec![("u".to_owned(), "p".to_owned())],
            allow_private_peers: true,
            ..TurnSettings::default()
        }),
        randomness: Randomness::System,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(readers.get()).enable_all().build()?;
    runtime.block_on(async {
        Server::bind(Tokio, config).await?.run().await;
        Ok(())
    })
}
