//! `glare nat-probe`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use server::net::Tokio;
use sim::nat_probe::{Findings, Plan, probe};

use crate::exit;

/// The port of STUN (RFC 8489 §18.6).
const STUN_PORT: u16 = 3478;

/// Find out what the NATs of this machine do, with a STUN server on the internet (RFC 5780).
///
/// Exit codes: 0 probed, whatever was found; 2 wrong usage; 3 the server does not answer.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// STUN server; with a second address (OTHER-ADDRESS) it can tell more [default port: 3478]
    #[arg(long, value_name = "HOST:PORT")]
    stun: String,
    /// Also find out how long mappings live, up to this time, such as 200s; the probe takes as long
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    lifetime: Option<Duration>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Plain words
    Text,
    /// The same words as a JSON object
    Json,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let time = scenarios::time(text).map_err(|wrong| wrong.to_string())?;
    let fits = (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&time);
    if fits { Ok(time) } else { Err("must be from 1s to 1h".to_owned()) }
}

/// Probes and prints what was found.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let server = resolve(&arguments.stun)?;
    let local = local_towards(server)?;
    let plan = Plan { server, local, lifetime: arguments.lifetime, seed: crate::random()? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let found = runtime.block_on(probe(&Tokio, plan)).context("cannot open a UDP socket")?;
    let Some(found) = found else {
        let message = format!("{}: no answer over UDP: the server is not there, or UDP is blocked", arguments.stun);
        return Ok(exit::report_error(&message, exit::UNREACHABLE));
    };
    match arguments.format {
        Format::Text => {
            let rows = found.words().into_iter().map(|(subject, words)| [subject.to_owned(), words]);
            out!("{}", reports::list(rows, reports::terminal_width()));
        }
        Format::Json => outln!("{}", json(&found)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The findings as an object, each subject once; what has several parts is joined.
fn json(found: &Findings) -> String {
    let mut object = serde_json::Map::new();
    for (subject, words) in found.words() {
        let key = subject.replace(' ', "-");
        let joined = match object.get(&key).and_then(|before| before.as_str()) {
            Some(before) => format!("{before}; {words}"),
            None => words,
        };
        object.insert(key, joined.into());
    }
    serde_json::Value::Object(object).to_string()
}

/// The address of a server, IPv4 first.
fn resolve(server: &str) -> anyhow::Result<SocketAddr> {
    let has_port = server.parse::<SocketAddr>().is_ok()
        || server.rsplit_once(':').is_some_and(|(host, port)| !host.contains(':') && port.parse::<u16>().is_ok());
    let found = if has_port {
        server.to_socket_addrs()
    } else {
        (server.trim_start_matches('[').trim_end_matches(']'), STUN_PORT).to_socket_addrs()
    };
    let found: Vec<SocketAddr> =
        found.with_context(|| format!("--stun: `{server}` is no HOST or HOST:PORT that can be looked up"))?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().with_context(|| format!("--stun: `{server}` has no address"))
}

/// This machine's address on the way to a server. Nothing is sent.
fn local_towards(server: SocketAddr) -> anyhow::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let local = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(server)?;
        socket.local_addr()
    });
    Ok(local.with_context(|| format!("there is no way to {server}"))?.ip())
}
