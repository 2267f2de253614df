//! `glare serve`

mod file;
mod memory;
mod secrets;
mod settings;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{Args, FromArgMatches};
use server::net::Tokio;
use server::{Config, DIALECTS, Randomness, Server, Tls};
use tokio::signal::unix::{self, SignalKind};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use settings::LogFormat;
pub(crate) use settings::Settings;

/// Serves until Ctrl-C.
pub(crate) fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let settings = match &settings.config {
        Some(path) => {
            let given = command().get_matches_from(own_arguments());
            let command = file::apply(command(), path, &given)?;
            Settings::from_arg_matches(&command.get_matches_from(own_arguments()))?
        }
        None => settings,
    };
    log(&settings)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.threads {
        runtime.worker_threads(threads.into());
    }
    runtime.enable_all().build()?.block_on(serve(&settings))?;
    Ok(ExitCode::SUCCESS)
}

/// The settings as a separate command, whose defaults a file can change.
fn command() -> clap::Command {
    Settings::augment_args(clap::Command::new("serve").no_binary_name(true))
}

/// The error of a command line, without the value of any secret setting of `serve`.
pub(crate) fn without_secrets(error: clap::Error) -> clap::Error {
    let command = command();
    let arguments: Vec<_> = own_arguments().map(|argument| argument.to_string_lossy().into_owned()).collect();
    match secrets::split_value(&command, &arguments) {
        Some(flag) if matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidValue) => {
            secrets::split_error(flag)
        }
        _ => secrets::hidden(error, command.get_arguments()),
    }
}

/// The arguments after `serve` on the command line.
fn own_arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip_while(|argument| argument != "serve").skip(1)
}

fn log(settings: &Settings) -> anyhow::Result<()> {
    let levels = &settings.log;
    let levels: Targets = levels.parse().with_context(|| {
        format!("--log (RUST_LOG): `{levels}` is invalid: write levels such as `info,server=debug`")
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(levels)).init();
    Ok(())
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    // As many descriptors as the system allows: each connection and each TURN allocation needs one.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).context("the limit for open files cannot be read")?;
    let config = Config {
        randomness: Randomness::System,
        descriptors: Some(usize::try_from(descriptors).unwrap_or(usize::MAX)),
        ..settings.config()?
    };
    memory::tell(&config);
    let (listens, tls, has_pages) = (config.listen.clone(), config.tls.clone(), config.pages.served);
    let server = Server::bind(Tokio, config).await?;
    let api = server.address("api");
    let http = if tls.is_some() { "https" } else { "http" };
    for listen in &listens {
        for entry in DIALECTS.iter().filter(|entry| listen.dialects.contains(&entry.name)) {
            let url = server.url(entry.name).expect("it is served");
            outln!("{}  {}", entry.dialect, if entry.path == "/" { url.trim_end_matches('/') } else { &url });
        }
        if let Some(address) = api.filter(|_| listen.pages) {
            outln!("api  {http}://{address}/api");
        }
    }
    if let Some(address) = server.address("stun") {
        outln!("stun  stun:{address}");
    }
    if let Some(address) = server.address("turn") {
        outln!("turn  turn:{address}?transport=udp");
    }
    if let Some(address) = api {
        outln!("metrics  {http}://{address}/metrics");
    }
    if let Some(address) = server.address("metrics") {
        outln!("metrics  http://{address}/metrics");
    }
    if let Some(address) = api.filter(|_| has_pages) {
        outln!("pages  {http}://{address}/");
    }
    // From here on, a signal stops the server gracefully. Scripts may send one as soon as they read the next line.
    let mut signals = Signals::catch()?;
    outln!("ready, Ctrl-C ends it");
    let handle = server.handle();
    let ended = tokio::spawn(server.run());
    let giving_back = tokio::spawn(memory::give_back(handle.clone()));
    while let Signal::Reload = signals.next().await {
        reload(tls.as_ref());
    }
    giving_back.abort();
    handle.shutdown();
    ended.await.context("the server panicked")
}

/// Handles SIGHUP: reads certificate and key again.
fn reload(tls: Option<&Tls>) {
    match tls.map(Tls::reload) {
        None => tracing::info!("SIGHUP: nothing to reload without TLS"),
        Some(Ok(())) => tracing::info!("SIGHUP: reloaded the TLS certificate"),
        Some(Err(why)) => {
            tracing::error!(error = %why, "SIGHUP: failed to reload the TLS certificate, the old one stays")
        }
    }
}

/// A signal to the process.
enum Signal {
    /// SIGINT (Ctrl-C), or SIGTERM, which supervisors send.
    Stop,
    /// SIGHUP: certificate or key may have changed. Without a handler it would end the process.
    Reload,
}

struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! { biased;
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}
