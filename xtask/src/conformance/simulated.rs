//! `glare conformance --sim`: tests the reference server, or a server program of the user, inside the simulator, in
//! virtual time.
//!
//! Each case has its own simulated world, so its outcome follows from the seed and the case alone. It is the same byte
//! for byte whether the case runs alone or with others, on one core or on eight.

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use conformance::dial::Dial;
use conformance::stun::{self, Credential, Datagram, Datagrams, Service, ServiceTarget};
use conformance::{
    Case, CaseReport, Dialect, Options, Recording, Report, Target, Unplayable, Unreachable, Verdict, settle,
};
use futures_util::FutureExt as _;
use scenarios::{ActorIndex, Link, Machine, OneWay, ServerProgram};
use server::net::{Network as _, Udp as _};
use server::{Config, DIALECTS, DialectEntry, Listen, STUN_PORT, Server, TurnSettings};
use sim::event::NodeKind;
use sim::host::Host;
use sim::program::{NotReached, Program};
use sim::socket::{SimStream, SimUdp};
use sim::world::World;

use crate::pool;

/// The server's host name: that of the reference server, or of a program of the user.
pub(super) const NAME: &str = "reference";
pub(super) const PROGRAM_NAME: &str = "simulated";
/// Its address (RFC 5737).
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The clients' address, and the one for cases that need a second client address.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Default delay of each message.
pub(super) const DELAY: Duration = Duration::from_millis(1);
/// Virtual time limit of one case: longer than any case waits, because virtual time costs nothing.
const CASE_TIME: Duration = Duration::from_secs(2 * 3600);
/// Virtual time after which a world counts as hung.
const LIMIT: Duration = Duration::from_secs(3 * 3600);

/// The network between the clients and the server, and the seed of all random choices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) seed: u64,
    /// Delay of each message, in whole milliseconds.
    pub(super) delay: Duration,
    /// Lost packets per million.
    pub(super) loss_ppm: u32,
}

/// A server in the simulated world, with one of its protocols.
#[derive(Clone)]
pub(super) enum SimulatedServer {
    /// Signaling of the reference server.
    Signaling(Target, Arc<Dialect>),
    /// STUN or TURN of the reference server.
    Service(ServiceTarget),
    /// A program of the user.
    Program(Arc<ServerProgram>, Arc<Dialect>),
}

impl SimulatedServer {
    /// The server with a dialect, or as a STUN or TURN server if the name is `stun` or `turn`.
    ///
    /// # Errors
    /// The server does not support this dialect.
    pub(super) fn speaking(dialect: &str) -> anyhow::Result<Self> {
        if let Some(service) = service(dialect) {
            return Ok(Self::serving(service, Vec::new()));
        }
        let dialect = Dialect::load(dialect)?;
        let Some(entry) = DialectEntry::named(dialect.name()) else {
            let names: Vec<_> = DIALECTS.iter().map(|entry| entry.name).collect();
            anyhow::bail!(
                "the reference server has no dialect `{}`; it has {}, stun and turn",
                dialect.name(),
                names.join(", ")
            );
        };
        let url = entry.url(format_args!("{NAME}:{}", entry.port), false);
        Ok(Self::Signaling(url.parse()?, Arc::new(dialect)))
    }

    /// The server as a STUN or TURN server with these users, or with two default users if there are none.
    pub(super) fn serving(service: Service, users: Vec<Credential>) -> Self {
        let target = ServiceTarget::new(service, NAME).expect("it is the name of a host");
        let users = if users.is_empty() { default_users() } else { users };
        Self::Service(target.with_credentials(users))
    }

    /// A server program of the user.
    ///
    /// # Errors
    /// There is no such dialect, or its example is not a URL.
    pub(super) fn program(program: ServerProgram, dialect: &str) -> anyhow::Result<Self> {
        let dialect = Dialect::load(dialect)?;
        at_port(&dialect, 1).parse::<Target>()?;
        Ok(Self::Program(Arc::new(program), Arc::new(dialect)))
    }

    /// The TURN users.
    fn users(&self) -> Vec<Credential> {
        match self {
            Self::Signaling(..) | Self::Program(..) => default_users(),
            Self::Service(target) => target.credentials().to_vec(),
        }
    }

    /// Every case that applies to it.
    pub(super) fn cases(&self) -> &'static [&'static Case] {
        match self {
            Self::Signaling(..) | Self::Program(..) => conformance::cases(),
            Self::Service(target) => conformance::service_cases(target.service()),
        }
    }

    fn dialect(&self) -> Option<&Dialect> {
        match self {
            Self::Signaling(_, dialect) | Self::Program(_, dialect) => Some(dialect),
            Self::Service(_) => None,
        }
    }

    pub(super) fn url(&self) -> String {
        match self {
            Self::Signaling(target, _) => target.url().to_owned(),
            Self::Service(target) => target.to_string(),
            Self::Program(program, dialect) => at_port(dialect, program.port.unwrap_or_default()),
        }
    }

    fn protocol(&self) -> String {
        match self {
            Self::Service(target) => target.service().name().to_owned(),
            Self::Signaling(_, dialect) | Self::Program(_, dialect) => dialect.name().to_owned(),
        }
    }
}

/// The URL of a program of this world: that of the dialect's example, at its port.
fn at_port(dialect: &Dialect, port: u16) -> String {
    let example = dialect.example();
    let (scheme, rest) = example.split_once("://").unwrap_or(("ws", example));
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    format!("{scheme}://{PROGRAM_NAME}:{port}{path}")
}

/// The service that a `--dialect` value names, if it names one.
pub(super) fn service(name: &str) -> Option<Service> {
    match name {
        "stun" => Some(Service::Stun),
        "turn" => Some(Service::Turn),
        _ => None,
    }
}

/// Tests the server with cases, `jobs` worlds at a time. The cases that they need must be among them.
///
/// # Errors
/// No case reached the server, because too many packets were lost.
pub(super) fn test(
    server: &SimulatedServer,
    cases: &[&'static Case],
    options: &Options,
    conditions: Conditions,
) -> Result<Report, Unreachable> {
    let server = &found(server, conditions)?;
    let mut outcomes = BTreeMap::new();
    let run = |case: &&'static Case| one(server, case, options, conditions);
    let done = pool::for_each(cases.iter().copied(), options.jobs.min(pool::cores()), run, |case, outcome| {
        outcomes.insert(case.slug, outcome);
        Ok::<_, Infallible>(())
    });
    match done {
        Ok(()) => gather(server, cases, outcomes),
        Err(never) => match never {},
    }
}

/// The server, with the port of a program whose port is not given: the first on which it listens.
fn found(server: &SimulatedServer, conditions: Conditions) -> Result<SimulatedServer, Unreachable> {
    let SimulatedServer::Program(program, dialect) = server else { return Ok(server.clone()) };
    let tried = program.clone();
    let listens = World::run(conditions.seed, LIMIT, move |world| async move {
        let machine = world.add_machine("server", NodeKind::Machine(Machine::Server), None, SERVER, NEAR);
        Program::start(&world.boot(machine), &tried, conditions.seed).await.map(|(_, port)| port)
    });
    let unreachable = |why| Unreachable {
        url: reports::command_line("", program.run.clone()).trim_start().to_owned(),
        tried: vec![why],
    };
    let port = match listens {
        Ok(Ok(port)) => port,
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Err(panic) => return Err(unreachable(WorldPanic::of(panic).to_string())),
    };
    let program = ServerProgram { port: Some(port), ..ServerProgram::clone(program) };
    Ok(SimulatedServer::Program(Arc::new(program), dialect.clone()))
}

/// The outcome of one case in its world: a report of that case alone.
enum CaseOutcome {
    /// The dialect lacks what it needs: no world was made for it.
    Unsupported(String),
    Tested(Report),
    Unreachable(Unreachable),
    Panicked(WorldPanic),
}

/// A world that panicked, which is a bug in Glare or in a library.
#[derive(Debug)]
struct WorldPanic {
    message: String,
}

impl WorldPanic {
    fn of(panic: Box<dyn Any + Send>) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Self { message: text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default() }
    }
}

impl fmt::Display for WorldPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the simulated world panicked: {}", self.message)
    }
}

impl std::error::Error for WorldPanic {}

/// Runs one case in its own world.
fn one(server: &SimulatedServer, case: &'static Case, options: &Options, conditions: Conditions) -> CaseOutcome {
    if let Some(why) = server.dialect().and_then(|dialect| case.lacking(dialect)) {
        return CaseOutcome::Unsupported(why);
    }
    let options = Options { deadline: CASE_TIME, jobs: 1, ..options.clone() };
    let played = in_a_world(case.slug, conditions, server, async move |clients, server| match server {
        Speaks::Signaling(target, dialect) => conformance::run(clients, &target, &dialect, &[case], &options).await,
        Speaks::Service(target) => stun::run(clients, &target, &[case], &options).await,
    });
    match played {
        Ok(Played { result: Ok(mut report), ended }) => {
            if let (Some(ended), Some(report)) = (ended, report.cases.first_mut()) {
                report.verdict = with_end(&report.verdict, &ended);
            }
            CaseOutcome::Tested(report)
        }
        Ok(Played { result: Err(mut unreachable), ended }) => {
            unreachable.tried.extend(ended);
            CaseOutcome::Unreachable(unreachable)
        }
        Err(panic) => CaseOutcome::Panicked(panic),
    }
}

/// The verdict on a case during which the server's program ended.
fn with_end(verdict: &Verdict, ended: &str) -> Verdict {
    match verdict {
        Verdict::Pass | Verdict::Acceptable { .. } => Verdict::Fail { why: ended.to_owned(), line: None },
        Verdict::Fail { why, line } => Verdict::Fail { why: format!("{why}; {ended}"), line: *line },
        Verdict::NotTested { why } => Verdict::NotTested { why: format!("{why}; {ended}") },
        // It exchanged nothing with the server.
        Verdict::Unsupported { .. } | Verdict::HarnessError { .. } => verdict.clone(),
    }
}

/// Replays a recording of a case in a world like the one in which the case runs.
///
/// # Errors
/// The recording is not one of signaling, the server's program cannot be reached, or the world panicked.
pub(super) fn replay(
    server: &SimulatedServer,
    recording: Recording,
    conditions: Conditions,
) -> anyhow::Result<Result<conformance::Played, Unplayable>> {
    if matches!(server, SimulatedServer::Service(_)) {
        anyhow::bail!("only signaling can be replayed; run the case with --case {0}", recording.head.case);
    }
    let server = found(server, conditions)?;
    let slug = recording.head.case.clone();
    let played = in_a_world(&slug, conditions, &server, async move |clients, server| {
        let Speaks::Signaling(target, dialect) = server else { unreachable!("it was refused above") };
        conformance::replay(clients, &target, &dialect, &recording).await
    });
    Ok(played?.result)
}

/// What the server of a world speaks.
enum Speaks {
    Signaling(Target, Arc<Dialect>),
    Service(ServiceTarget),
}

/// What came of playing something in a world.
struct Played<T> {
    result: T,
    /// Why the server's program did not run any more at the end, if it did not.
    ended: Option<String>,
}

/// Runs something in its own world together with the server.
///
/// # Errors
/// The world panicked.
fn in_a_world<T: Send + 'static>(
    case: &str,
    conditions: Conditions,
    server: &SimulatedServer,
    play: impl AsyncFnOnce(Simulated, Speaks) -> T + Send + 'static,
) -> Result<Played<T>, WorldPanic> {
    // With the same random numbers, either all worlds would lose their first packet, or none would.
    let seed = conditions.seed ^ hash(case);
    let server = server.clone();
    let played = World::run(seed, LIMIT, move |world| async move {
        let (clients, machine) = set_up(&world, conditions);
        let (program, speaks) = serve(&machine, server, conditions.seed).await;
        let result = play(clients, speaks).await;
        let ended = match program {
            Some(Ok(program)) => program.ended(),
            Some(Err(error)) => Some(error.to_string()),
            None => None,
        };
        Played { result, ended }
    });
    played.map_err(WorldPanic::of)
}

/// FNV-1a: the same in every process.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A link without any delay or fault.
const NEAR: Link = Link::both(OneWay::with_latency(Duration::ZERO));

/// The machines of the clients, and that of the server.
fn set_up(world: &World, conditions: Conditions) -> (Simulated, Host) {
    let far = Link::both(OneWay { loss_ppm: conditions.loss_ppm, ..OneWay::with_latency(conditions.delay) });
    let machine = world.add_machine("server", NodeKind::Machine(Machine::Server), None, SERVER, NEAR);
    let clients = world.add_machine("clients", NodeKind::Machine(Machine::Actor(ActorIndex(0))), None, CLIENTS, far);
    let elsewhere =
        world.add_machine("elsewhere", NodeKind::Machine(Machine::Actor(ActorIndex(1))), None, ELSEWHERE, far);
    let machine = world.boot(machine);
    (Simulated { clients: world.boot(clients), elsewhere: world.boot(elsewhere) }, machine)
}

/// Starts the server on its machine. Returns its program, if it is one, or why that cannot be reached.
async fn serve(machine: &Host, server: SimulatedServer, seed: u64) -> (Option<Result<Program, NotReached>>, Speaks) {
    let users = server.users();
    let speaks = match server {
        SimulatedServer::Program(program, dialect) => {
            let started = Program::start(machine, &program, seed).await;
            let url = at_port(&dialect, program.port.unwrap_or_default());
            let target = url.parse().expect("it was checked");
            return (Some(started.map(|(program, _)| program)), Speaks::Signaling(target, dialect));
        }
        SimulatedServer::Signaling(target, dialect) => Speaks::Signaling(target, dialect),
        SimulatedServer::Service(target) => Speaks::Service(target),
    };
    let server = Server::bind(machine.clone(), config(seed, users)).await;
    machine.spawn(server.expect("the server's machine has these ports to itself").run());
    (None, speaks)
}

fn config(seed: u64, users: Vec<Credential>) -> Config {
    let at = |port| SocketAddr::from((SERVER, port));
    let users = users.into_iter().map(|Credential { user, password }| (user, password)).collect();
    let turn = TurnSettings { users, allow_private_peers: true, ..TurnSettings::default() };
    Config {
        listen: Listen::each(DIALECTS.iter().map(|entry| entry.name), |entry| at(entry.port)),
        stun: Some(at(STUN_PORT)),
        turn: Some(turn),
        seed,
        ..Config::default()
    }
}

/// The TURN users if the command line gives none.
fn default_users() -> Vec<Credential> {
    let user = |(name, password): (&str, &str)| Credential { user: name.to_owned(), password: password.to_owned() };
    [("ana", "simulated-1"), ("ben", "simulated-2")].map(user).to_vec()
}

/// Combines all outcomes in one report. As on a real server, a case is not tested if a case that it needs fails.
fn gather(
    server: &SimulatedServer,
    cases: &[&'static Case],
    mut outcomes: BTreeMap<&'static str, CaseOutcome>,
) -> Result<Report, Unreachable> {
    let mut all = Report {
        url: server.url(),
        dialect: server.protocol(),
        round_trip: Duration::ZERO,
        patience: Duration::ZERO,
        took: Duration::ZERO,
        cases: Vec::new(),
        requirements: Vec::new(),
    };
    let mut unreachable = None;
    let mut found = BTreeMap::new();
    for &case in cases {
        let report = match outcomes.remove(case.slug).expect("every case ran") {
            CaseOutcome::Tested(report) => {
                all.round_trip = all.round_trip.max(report.round_trip);
                all.patience = all.patience.max(report.patience);
                all.took += report.took;
                report.cases.into_iter().next().expect("one case ran")
            }
            CaseOutcome::Unsupported(why) => CaseReport::without_exchange(case, Verdict::Unsupported { why }),
            CaseOutcome::Unreachable(error) => {
                let why = error.tried.join("; ");
                unreachable.get_or_insert(error);
                CaseReport::without_exchange(case, Verdict::NotTested { why })
            }
            CaseOutcome::Panicked(panic) => {
                CaseReport::without_exchange(case, Verdict::HarnessError { why: panic.to_string() })
            }
        };
        found.insert(case.slug, report);
    }
    all.cases = settle(cases, found);
    match unreachable {
        Some(error) if all.took.is_zero() => Err(error),
        _ => Ok(all),
    }
}

/// Simulated machines as the suite's network.
#[derive(Clone)]
struct Simulated {
    clients: Host,
    /// The machine for clients that need a second address.
    elsewhere: Host,
}

impl Dial for Simulated {
    type Stream = SimStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<SimStream> {
        self.clients.connect(SocketAddr::new(address(host)?, port)).await
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.clients.spawn(task);
    }
}

impl Datagrams for Simulated {
    type Socket = Socket;

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::new(address(host)?, port)])
    }

    async fn source(&self, _: SocketAddr) -> io::Result<IpAddr> {
        Ok(self.clients.address())
    }

    async fn bind(&self, local: SocketAddr) -> io::Result<Socket> {
        let machine = if local.ip() == ELSEWHERE { &self.elsewhere } else { &self.clients };
        Ok(Socket(machine.bind_udp(local).await?))
    }

    fn another(&self, than: IpAddr) -> Option<IpAddr> {
        Some(if than == CLIENTS { ELSEWHERE } else { CLIENTS }.into())
    }
}

/// The addresses behind the host names of this world.
fn address(host: &str) -> io::Result<IpAddr> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("this world has no host `{host}`"));
    if [NAME, PROGRAM_NAME].contains(&host) { Ok(SERVER.into()) } else { host.parse().map_err(|_| unknown()) }
}

struct Socket(SimUdp);

impl Datagram for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.0.send_to(bytes, to).now_or_never().expect("a simulated send is immediate").map(drop)
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer).await
    }
}
