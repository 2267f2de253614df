//! `glare serve`

mod file;
mod settings;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, FromArgMatches};
use server::net::Tokio;
use server::{Config, HTTP_DIALECTS, Server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use settings::LogFormat;
pub(crate) use settings::Settings;

/// Serves until Ctrl-C.
pub(crate) fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let settings = match &settings.config {
        Some(path) => {
            let command = file::apply(command(), path)?;
            Settings::from_arg_matches(&command.get_matches_from(own_arguments()))?
        }
        None => settings,
    };
    log(&settings)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(&settings))?;
    Ok(ExitCode::SUCCESS)
}

/// The settings as a command of their own, which a file can give other defaults.
fn command() -> clap::Command {
    Settings::augment_args(clap::Command::new("serve").no_binary_name(true))
}

/// What follows `serve` on the command line.
fn own_arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip_while(|argument| argument != "serve").skip(1)
}

fn log(settings: &Settings) -> anyhow::Result<()> {
    let levels = &settings.log;
    let levels: Targets =
        levels.parse().with_context(|| format!("--log (RUST_LOG): `{levels}` is not such as `info,server=debug`"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(levels)).init();
    Ok(())
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let mut seed = [0; 8];
    #[allow(clippy::disallowed_methods)] // a real server: ids must not be guessed
    getrandom::fill(&mut seed).context("no randomness for client ids")?;
    let config = Config { seed: u64::from_le_bytes(seed), ..settings.config()? };
    let http_dialects = config.http_dialects.clone();
    let is_secure = config.tls.is_some();
    let server = Server::bind(Tokio, config).await?;
    let say = |what: &str, plain: &str, secure: &str, address: Option<SocketAddr>, path: &str| {
        if let Some(address) = address {
            println!("{what}  {}://{address}{path}", if is_secure { secure } else { plain });
        }
    };
    let http = server.http_addr();
    say("mesh", "ws", "wss", server.mesh_addr(), "");
    for line in HTTP_DIALECTS.iter().filter(|line| http_dialects.contains(&line.name)) {
        say(line.name, "ws", "wss", http, line.path);
    }
    say("api", "http", "https", http, "/api");
    say("call", "ws", "wss", server.call_addr(), "");
    say("call", "http", "https", server.call_socketio_addr(), "/socket.io/");
    say("broadcast", "http", "https", server.broadcast_addr(), "/socket.io/");
    if let Some(address) = server.stun_addr() {
        println!("stun  stun:{address}");
        if server.handle().turn().is_some() {
            println!("turn  turn:{address}?transport=udp");
        }
    }
    say("metrics", "http", "https", http, "/metrics");
    say("metrics", "http", "http", server.metrics_addr(), "/metrics");
    // From here on it can be ended well: whoever waits for the next line may do so at once.
    let stop = stop_signal()?;
    println!("ready, Ctrl-C ends it");
    let handle = server.handle();
    let ended = tokio::spawn(server.run());
    stop.await;
    handle.shutdown();
    ended.await.context("the server panicked")
}

/// Catches Ctrl-C and what a supervisor sends, and waits for either.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! { biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
