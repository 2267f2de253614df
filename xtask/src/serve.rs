//! `glare serve`

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Context;
use server::net::Tokio;
use server::{Config, Server};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The reference server: the mesh dialect over WebSocket and STUN over UDP; the other dialects where a port is given for them.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Address to listen on
    #[arg(long, env = "HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// TCP port of the mesh dialect; 0 takes a free one
    #[arg(long, env = "PORT", default_value_t = 8787)]
    port: u16,
    /// TCP port of sender-viewer at /ws, relay at /relay and the HTTP API at /api (the documents say 8080) [default: not served]
    #[arg(long, env = "HTTP_PORT", value_name = "PORT")]
    http_port: Option<u16>,
    /// TCP port of the call dialect (the documents say 3000) [default: not served]
    #[arg(long, value_name = "PORT")]
    call_port: Option<u16>,
    /// TCP port of the call dialect over Socket.IO (the documents say 3001) [default: not served]
    #[arg(long, value_name = "PORT")]
    call_socketio_port: Option<u16>,
    /// TCP port of the broadcast dialect over Socket.IO (the documents say 5001) [default: not served]
    #[arg(long, value_name = "PORT")]
    broadcast_port: Option<u16>,
    /// UDP port of STUN; 0 takes a free one
    #[arg(long, env = "STUN_PORT", default_value_t = 3478)]
    stun_port: u16,
    /// Serves no STUN
    #[arg(long)]
    no_stun: bool,
}

/// Serves until Ctrl-C.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let levels = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let levels: Targets =
        levels.parse().with_context(|| format!("RUST_LOG: `{levels}` is not such as `info,server=debug`"))?;
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines.with_filter(levels)).init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(arguments))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let mut seed = [0; 8];
    #[allow(clippy::disallowed_methods)] // a real server: ids must not be guessed
    getrandom::fill(&mut seed).context("no randomness for client ids")?;
    let config = Config {
        mesh: Some(SocketAddr::new(arguments.host, arguments.port)),
        http: arguments.http_port.map(|port| SocketAddr::new(arguments.host, port)),
        call: arguments.call_port.map(|port| SocketAddr::new(arguments.host, port)),
        call_socketio: arguments.call_socketio_port.map(|port| SocketAddr::new(arguments.host, port)),
        broadcast: arguments.broadcast_port.map(|port| SocketAddr::new(arguments.host, port)),
        stun: (!arguments.no_stun).then(|| SocketAddr::new(arguments.host, arguments.stun_port)),
        seed: u64::from_le_bytes(seed),
        ..Config::default()
    };
    let server = Server::bind(Tokio, config).await?;
    if let Some(address) = server.mesh_addr() {
        println!("mesh  ws://{address}");
    }
    if let Some(address) = server.http_addr() {
        println!("sender-viewer  ws://{address}/ws");
        println!("relay  ws://{address}/relay");
    }
    if let Some(address) = server.call_addr() {
        println!("call  ws://{address}");
    }
    for (name, address) in [("call", server.call_socketio_addr()), ("broadcast", server.broadcast_addr())] {
        if let Some(address) = address {
            println!("{name}  http://{address}/socket.io/");
        }
    }
    if let Some(address) = server.stun_addr() {
        println!("stun  stun:{address}");
    }
    println!("ready, Ctrl-C ends it");
    let handle = server.handle();
    let ended = tokio::spawn(server.run());
    stop_signal().await?;
    handle.shutdown();
    ended.await.context("the server panicked")
}

/// Waits for Ctrl-C, or for what a supervisor sends.
async fn stop_signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! { biased;
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
