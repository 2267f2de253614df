//! The servers given on the command line, and the commands that test them again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::stun::{self, Service, ServiceTarget};
use conformance::{Case, Dialect, Options, Report, Target, Unreachable};
use tokio::runtime::Runtime;

use super::Arguments;
use super::simulated::{self, Conditions, SimulatedServer};

/// Extra time for cases that wait for a lifetime to expire.
const SLOW: Duration = Duration::from_secs(1200);

/// A server to test, and every case that applies to it.
pub(super) struct TestedServer {
    kind: ServerKind,
    pub(super) cases: &'static [&'static Case],
    /// The command that tests it again, without case and seed, and at its end the one that starts the server. Secrets of
    /// requests are left out.
    again: String,
    /// The dialect as given: a name or a file.
    pub(super) dialect: Option<String>,
}

enum ServerKind {
    Signaling(Target, Arc<Dialect>),
    Service(ServiceTarget),
    Simulated(SimulatedServer, Conditions),
}

/// The servers given on the command line.
///
/// # Errors
/// A dialect or a header is invalid.
pub(super) fn servers(arguments: &Arguments) -> Result<Vec<TestedServer>, Box<dyn std::error::Error>> {
    if arguments.sim {
        return Ok(simulated(arguments)?);
    }
    let mut servers = Vec::new();
    if let Some(url) = &arguments.url {
        let dialect = Arc::new(Dialect::load(arguments.dialect())?);
        let target = arguments.requests.to(url)?;
        servers.push(TestedServer {
            again: again(arguments, &target),
            kind: ServerKind::Signaling(target, dialect),
            cases: conformance::cases(),
            dialect: Some(arguments.dialect().to_owned()),
        });
    }
    for target in arguments.network.servers() {
        let (service, shown) = (target.service(), target.to_string());
        let (_, address) = shown.split_once(':').expect("a scheme and an address");
        let again = format!("{} conformance {}", crate::program(), arguments.network.again(service, address));
        let cases = conformance::service_cases(service);
        servers.push(TestedServer { kind: ServerKind::Service(target), cases, again, dialect: None });
    }
    Ok(servers)
}

/// The reference server, once for the dialect and once for each service; by default for the dialect `mesh`.
fn simulated(arguments: &Arguments) -> anyhow::Result<Vec<TestedServer>> {
    if let Some(program) = arguments.program.program(None)? {
        anyhow::ensure!(
            arguments.network.services().next().is_none(),
            "--server is a signaling server: test STUN and TURN servers with --stun HOST:PORT and --turn HOST:PORT"
        );
        let server = SimulatedServer::program(program, arguments.dialect())?;
        let flags = reports::command_line("", arguments.program.words());
        let again = format!("{}{flags}", dialect_flag(arguments));
        return Ok(vec![arguments.simulated_server(server, &again, Some(arguments.dialect().to_owned()))]);
    }
    let by_dialect = arguments.dialect.as_deref().and_then(simulated::service);
    let named = arguments.network.services().filter(|service| Some(*service) != by_dialect);
    let services: Vec<Service> = named.collect();
    let mut servers = Vec::new();
    if arguments.dialect.is_some() || services.is_empty() {
        let name = arguments.dialect();
        let server = match by_dialect {
            Some(service) => SimulatedServer::serving(service, arguments.network.users()),
            None => SimulatedServer::speaking(name)?,
        };
        let dialect = by_dialect.is_none().then(|| name.to_owned());
        let mut again = dialect_flag(arguments);
        if by_dialect == Some(Service::Turn) && arguments.network.services().any(|service| service == Service::Turn) {
            again = format!(" {}", arguments.network.again(Service::Turn, ""));
        }
        servers.push(arguments.simulated_server(server, &again, dialect));
    }
    for service in services {
        let server = SimulatedServer::serving(service, arguments.network.users());
        let again = format!(" {}", arguments.network.again(service, ""));
        servers.push(arguments.simulated_server(server, &again, None));
    }
    Ok(servers)
}

fn again(arguments: &Arguments, target: &Target) -> String {
    let mut again = format!("{} conformance --url {}{}", crate::program(), target.shown(), dialect_flag(arguments));
    if target.is_insecure() {
        again.push_str(" --insecure");
    }
    if !target.headers().is_empty() {
        again.push_str(" --header …");
    }
    if !arguments.started.is_empty() {
        again.push_str(" --");
        again.push_str(&reports::command_line("", arguments.started.iter().cloned()));
    }
    again
}

fn dialect_flag(arguments: &Arguments) -> String {
    match arguments.dialect() {
        super::DIALECT => String::new(),
        other => format!(" --dialect {other}"),
    }
}

impl Arguments {
    fn simulated_server(&self, server: SimulatedServer, flags: &str, dialect: Option<String>) -> TestedServer {
        let mut again = format!("{} conformance --sim{flags}", crate::program());
        if let Some(delay) = self.delay {
            again.push_str(&format!(" --delay {}ms", delay.as_millis()));
        }
        if let Some(ppm) = self.loss {
            again.push_str(&format!(" --loss {}%", f64::from(ppm) / 1e4));
        }
        let (cases, conditions) = (server.cases(), self.conditions());
        TestedServer { kind: ServerKind::Simulated(server, conditions), cases, again, dialect }
    }
}

impl TestedServer {
    /// The selected cases that apply to this server.
    pub(super) fn of(&self, selected: &[&'static Case]) -> Vec<&'static Case> {
        selected.iter().filter(|case| self.cases.iter().any(|other| other.slug == case.slug)).copied().collect()
    }

    /// Its URL, as reports show it.
    pub(super) fn url(&self) -> String {
        match &self.kind {
            ServerKind::Signaling(target, _) => target.shown(),
            ServerKind::Service(target) => target.to_string(),
            ServerKind::Simulated(server, _) => server.url(),
        }
    }

    /// The command that repeats a run, without the case.
    pub(super) fn again(&self, run: u64) -> String {
        match &self.kind {
            ServerKind::Simulated(_, conditions) => {
                format!("{} --seed {}", self.again, conditions.seed.wrapping_add(run))
            }
            _ => self.again.clone(),
        }
    }

    /// The command that replays a recording of a run; `FILE` stands for its name.
    pub(super) fn replay(&self, run: u64, dir: &Path) -> Option<String> {
        let file = reports::command_line("", [format!("{}/FILE", dir.display())]);
        let again = self.again(run);
        // The flags are the same as for the run, except that the recording contains the name of a shipped dialect.
        let (program, rest) = again.split_once(" conformance ")?;
        // `replay` starts no server.
        let rest = rest.split_once(" -- ").map_or(rest, |(rest, _)| rest);
        let named = self.dialect.as_deref().filter(|dialect| conformance::shipped().any(|name| name == *dialect));
        let rest = named.map_or_else(|| rest.to_owned(), |name| rest.replace(&format!(" --dialect {name}"), ""));
        matches!(
            &self.kind,
            ServerKind::Signaling(..)
                | ServerKind::Simulated(SimulatedServer::Signaling(..) | SimulatedServer::Program(..), _)
        )
        .then(|| format!("{program} conformance replay {} {rest}", file.trim()))
    }

    /// Whether something accepts connections at a signaling server's address. Others show it when they are tested.
    ///
    /// # Errors
    /// Nothing does.
    pub(super) fn is_reachable(&self) -> std::io::Result<()> {
        let ServerKind::Signaling(target, _) = &self.kind else { return Ok(()) };
        std::net::TcpStream::connect((target.host(), target.port())).map(drop)
    }

    /// Why a signaling server cannot be tested in this dialect, if it speaks another.
    pub(super) fn mismatch(&self, runtime: &Runtime, seed: u64) -> Option<String> {
        let ServerKind::Signaling(target, dialect) = &self.kind else { return None };
        // A server that is not there at all is reported by the test.
        self.is_reachable().ok()?;
        super::mismatch(runtime, target, self.dialect.as_deref().unwrap_or_default(), dialect, seed)
    }

    /// Tests the server with cases as run number `run`. The cases that they need must be among them.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(super) fn test(
        &self,
        run: u64,
        runtime: &Runtime,
        cases: &[&'static Case],
        options: &Options,
    ) -> Result<Report, Unreachable> {
        let slow = if cases.iter().any(|case| case.slow) { SLOW } else { Duration::ZERO };
        let (seed, deadline) = (options.seed.wrapping_add(run), options.deadline + slow);
        let options = &Options { seed, deadline, ..options.clone() };
        match &self.kind {
            ServerKind::Signaling(target, dialect) => {
                runtime.block_on(conformance::run(Tokio, target, dialect, cases, options))
            }
            ServerKind::Service(target) => runtime.block_on(stun::run(Tokio, target, cases, options)),
            ServerKind::Simulated(server, conditions) => {
                let conditions = Conditions { seed: options.seed, ..*conditions };
                simulated::test(server, cases, options, conditions)
            }
        }
    }
}
