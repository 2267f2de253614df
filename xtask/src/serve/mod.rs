//! `glare serve`

mod activation;
mod file;
mod memory;
mod secrets;
mod settings;
mod systemd;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{Args, FromArgMatches};
use server::faults::{Endpoint, Faults, FaultyNetwork};
use server::net::{Network, Tokio};
use server::{Config, DIALECTS, Handle, Randomness, Server};
use tokio::signal::unix::{self, SignalKind};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use activation::Activated;
use settings::LogFormat;
pub(crate) use settings::Settings;

/// How often to look whether everyone has left.
const DRAIN_INTERVAL: Duration = Duration::from_millis(100);

/// Serves until Ctrl-C.
pub(crate) fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let settings = if settings.config.is_some() { read()? } else { settings };
    log(&settings)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.threads {
        runtime.worker_threads(threads.into());
    }
    runtime.enable_all().build()?.block_on(serve(&settings))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the settings from the command line, the environment and the file.
///
/// # Errors
/// The file, or what it says with the others, is invalid.
fn read() -> anyhow::Result<Settings> {
    let given = command().try_get_matches_from(own_arguments()).map_err(without_secrets)?;
    let command = match given.get_one::<PathBuf>("config") {
        Some(path) => file::apply(command(), path, &given)?,
        None => command(),
    };
    let matches = command.try_get_matches_from(own_arguments()).map_err(without_secrets)?;
    Ok(Settings::from_arg_matches(&matches)?)
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

/// The configuration of these settings for this process.
fn config(settings: &Settings) -> anyhow::Result<Config> {
    // As many descriptors as the system allows: each connection and each TURN allocation needs one.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).context("the limit for open files cannot be read")?;
    Ok(Config {
        randomness: Randomness::System,
        descriptors: Some(usize::try_from(descriptors).unwrap_or(usize::MAX)),
        ..settings.config()?
    })
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let config = config(settings)?;
    memory::tell(&config);
    let passed = Activated::from_systemd()?;
    let Some(ordered) = settings.faults()? else {
        return serve_on(passed.clone(), &passed, settings, config, None).await;
    };
    let (faults, is_given) = (Faults::default(), ordered.token.is_some());
    let token = ordered.token.map_or_else(random_token, Ok)?;
    let endpoint = Endpoint::bind(Tokio, ordered.port, faults.clone(), token.clone()).await?;
    let mut lines = vec![format!("faults  http://{}/faults", endpoint.address())];
    if !is_given {
        lines.push(format!("faults-token  {token}"));
    }
    tokio::spawn(endpoint.serve());
    let net = FaultyNetwork::new(passed.clone(), faults, config.stun);
    serve_on(net, &passed, settings, config, Some(lines)).await
}

/// A token that nobody can guess.
fn random_token() -> anyhow::Result<String> {
    Ok(format!("{:016x}{:016x}", crate::random()?, crate::random()?))
}

/// Serves on a network, which takes the sockets that systemd has passed. `more` are lines to print before the server is
/// ready.
async fn serve_on<N: Network>(
    net: N,
    passed: &Activated,
    settings: &Settings,
    config: Config,
    more: Option<Vec<String>>,
) -> anyhow::Result<()> {
    let (listens, tls, has_pages) = (config.listen.clone(), config.tls.clone(), config.pages.served);
    let server = Server::bind(net, config).await?;
    passed.check_that_all_are_used()?;
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
    if let Some(address) = server.address("stun-tls") {
        let scheme = if server.address("turn").is_some() { "turns" } else { "stuns" };
        outln!("{scheme}  {scheme}:{address}");
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
    for line in more.into_iter().flatten() {
        outln!("{line}");
    }
    // From here on, a signal stops the server gracefully. Scripts may send one as soon as they read the next line.
    let mut signals = Signals::catch()?;
    outln!("ready, Ctrl-C ends it");
    systemd::ready();
    let handle = server.handle();
    let ended = tokio::spawn(server.run());
    let helpers = [tokio::spawn(memory::give_back(handle.clone())), tokio::spawn(systemd::feed_watchdog())];
    while let Signal::Reload = signals.next().await {
        systemd::reloading();
        reload(&handle);
        systemd::ready();
    }
    systemd::stopping();
    if let Some(time) = settings.drain {
        drain(&handle, time, &mut signals).await;
    }
    handle.shutdown();
    let ended = ended.await.context("the server panicked");
    helpers.iter().for_each(JoinHandle::abort);
    ended
}

/// Handles SIGHUP: reads the settings and the certificate again.
fn reload(handle: &Handle) {
    let reloaded = read().and_then(|settings| config(&settings)).and_then(|config| Ok(handle.reload(config)?));
    match reloaded {
        Ok(differences) => {
            tracing::info!("SIGHUP: reloaded tokens, users, limits and the TLS certificate");
            if !differences.is_empty() {
                let what = differences.join(", ");
                tracing::warn!("SIGHUP: these settings have changed, but need a restart: {what}");
            }
        }
        Err(why) => {
            tracing::error!(error = %format!("{why:#}").trim(), "SIGHUP: failed to reload, everything stays as it was");
        }
    }
}

/// Lets nobody new in, and waits until everyone has left, at most this long, or until another signal to stop.
async fn drain(handle: &Handle, time: Duration, signals: &mut Signals) {
    handle.drain();
    let gone = async {
        while handle.clients() > 0 || handle.turn().is_some_and(|turn| turn.allocations > 0) {
            sleep(DRAIN_INTERVAL).await;
        }
    };
    let stopped = async { while let Signal::Reload = signals.next().await {} };
    tokio::select! { biased;
        () = stopped => {}
        gone = timeout(time, gone) => if gone.is_err() {
            tracing::warn!(clients = handle.clients(), "these have not left in time");
        }
    }
}

/// A signal to the process.
enum Signal {
    /// SIGINT (Ctrl-C), or SIGTERM, which supervisors send.
    Stop,
    /// SIGHUP: settings or the certificate may have changed. Without a handler it would end the process.
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
