//! One server, broken or not, and the suite that asks it.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use conformance::stun::{self, Credential, Service};
use conformance::{Dialect, Options, Report, Selection, Unreachable, Verdict};
use server::mutant::{self, Mutant, Surface};
use server::net::Tokio;
use server::socketio::SocketIoSettings;
use server::{Config, DialectEntry, Heartbeat, Limits, Listen, Server, TurnSettings};

/// Time for all cases on one server: a mutant that fails many of them makes each wait.
const DEADLINE: Duration = Duration::from_secs(180);
/// The same where cases wait for ten minutes.
const LIFETIMES_DEADLINE: Duration = Duration::from_secs(720);
/// What silent clients get, so that nobody waits for a minute: they are given up after 1.8 s.
const HEARTBEAT: Heartbeat = Heartbeat { interval: Duration::from_millis(600), missed_max: 2 };
/// The same under Socket.IO.
const PING_INTERVAL: Duration = Duration::from_millis(600);
const PING_TIMEOUT: Duration = Duration::from_millis(2400);
/// Members of a room where there is a limit.
const MEMBERS_MAX: usize = 4;
/// Allocations of a user where there are few.
const ALLOCATIONS_MAX: usize = 8;
/// Users of TURN, with their passwords.
const USERS: [(&str, &str); 2] = [("u", "p"), ("v", "q")];

/// What the suite found of one server.
pub(super) struct Answers {
    /// Or why it could not be asked: nothing could connect.
    pub(super) report: Result<Report, String>,
    /// What the server panicked of.
    pub(super) panic: Option<String>,
}

/// A server and what is asked of it.
struct Exam {
    config: Config,
    /// None where the protocol is no file.
    dialect: Option<Dialect>,
    /// The cases, if not all.
    only: Option<&'static str>,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps a server's panic for the one who asks it, and off the terminal.
pub(super) fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| PANIC.set(Some(panic.to_string()))));
}

/// Runs servers in this thread and asks them every case of a surface.
pub(super) fn ask(surface: Surface, planted: Option<Mutant>) -> Answers {
    PANIC.take();
    let mut report: Option<Result<Report, String>> = None;
    for exam in exams(surface) {
        mutant::plant(planted);
        let (only, answers) = (exam.only, sit(surface, exam));
        report = Some(match (report, answers) {
            (Some(Ok(all)), Ok(more)) => Ok(merged(all, more, only)),
            (None, answers) => answers,
            (_, Err(why)) | (Some(Err(why)), _) => Err(why),
        });
    }
    Answers { report: report.expect("every surface has an exam"), panic: PANIC.take() }
}

/// What an exam adds to what was asked before.
fn merged(mut all: Report, more: Report, only: Option<&str>) -> Report {
    for case in more.cases.into_iter().filter(|case| only.is_none_or(|glob| conformance::glob(glob, case.case.slug))) {
        match all.cases.iter_mut().find(|known| known.case.slug == case.case.slug) {
            // What fails on one server fails, and what one can be asked is asked.
            Some(known) if matches!(known.verdict, Verdict::Fail { .. } | Verdict::HarnessError { .. }) => {}
            Some(_) if matches!(case.verdict, Verdict::Unsupported { .. }) => {}
            Some(known) => *known = case,
            None => all.cases.push(case),
        }
    }
    all
}

/// Runs a server as long as it is asked.
fn sit(surface: Surface, exam: Exam) -> Result<Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = Server::bind(Tokio, exam.config).await.map_err(|error| error.to_string())?;
        let stun = || server.address("stun").map(|address| address.to_string());
        let address = server.url(surface.name()).or_else(stun).expect("asked for");
        let handle = server.handle();
        mutant::on_crash(move || handle.shutdown());
        tokio::spawn(server.run());
        let report = match exam.dialect {
            Some(dialect) => question(&address, dialect, exam.only).await,
            None => question_network(surface, &address, exam.only).await,
        };
        report.map_err(|unreachable| unreachable.to_string())
    })
}

async fn question(address: &str, dialect: Dialect, only: Option<&str>) -> Result<Report, Unreachable> {
    let selection =
        Selection { patterns: only.map(str::to_owned).into_iter().collect(), slow: true, ..Selection::default() };
    let cases = conformance::select(&selection).expect("there are cases");
    let options = Options { deadline: DEADLINE, ..Options::default() };
    let target = address.parse().expect("a good URL");
    conformance::run(conformance::dial::Tokio, &target, &Arc::new(dialect), &cases, &options).await
}

/// The cases that wait out a lifetime of TURN, which is minutes, are asked by themselves.
async fn question_network(surface: Surface, address: &str, only: Option<&str>) -> Result<Report, Unreachable> {
    let service = if surface == Surface::Stun { Service::Stun } else { Service::Turn };
    let slow = surface == Surface::TurnLifetimes;
    let users = USERS.map(|(user, password)| Credential { user: user.to_owned(), password: password.to_owned() });
    let target = stun::ServiceTarget::new(service, address).expect("a good address").with_credentials(users.to_vec());
    let selection = Selection { patterns: only.map(str::to_owned).into_iter().collect(), slow, ..Selection::default() };
    let cases = conformance::select_from(conformance::service_cases(service), &selection).expect("there are cases");
    let options = Options { deadline: if slow { LIFETIMES_DEADLINE } else { DEADLINE }, ..Options::default() };
    stun::run(conformance::dial::Tokio, &target, &cases, &options).await
}

/// Servers that serve what the surface needs and nothing else. The first exam is of everything.
fn exams(surface: Surface) -> Vec<Exam> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let name = DialectEntry::named(surface.name()).map(|entry| entry.name);
    let socketio =
        SocketIoSettings { ping_interval: PING_INTERVAL, ping_timeout: PING_TIMEOUT, ..SocketIoSettings::default() };
    let config = Config {
        listen: Listen::each(name, |_| free),
        stun: None,
        heartbeat: HEARTBEAT,
        socketio,
        seed: 1,
        ..Config::default()
    };
    let config = match surface {
        Surface::SenderViewer => {
            let turn = TurnSettings { secret: Some("secret".to_owned()), ..TurnSettings::default() };
            Config { stun: Some(free), turn: Some(turn), ..config }
        }
        Surface::Stun => Config { stun: Some(free), ..config },
        Surface::Turn | Surface::TurnLifetimes => {
            let users = USERS.map(|(user, password)| (user.to_owned(), password.to_owned())).to_vec();
            let turn = TurnSettings { users, allow_private_peers: true, ..TurnSettings::default() };
            Config { stun: Some(free), turn: Some(turn), ..config }
        }
        Surface::Mesh | Surface::Relay | Surface::Call | Surface::CallSocketIo | Surface::Broadcast => config,
    };
    match surface {
        Surface::Mesh => {
            // As soon as this server's heartbeat notices.
            let quick = mesh("dead-after-s = 60", "dead-after-s = 2");
            let few = mesh("code-points-max = 64", &format!("code-points-max = 64\nmembers-max = {MEMBERS_MAX}"));
            let limits = Limits { room_members_max: Some(MEMBERS_MAX), ..Limits::default() };
            let limited = Config { limits, ..config.clone() };
            vec![
                Exam { config, dialect: Some(quick), only: None },
                Exam { config: limited, dialect: Some(few), only: Some("room/capacity-race") },
            ]
        }
        Surface::Stun => {
            let [v6, alternate] = [(Ipv6Addr::LOCALHOST, 0).into(), (Ipv4Addr::new(127, 0, 0, 2), 0).into()];
            let four = Config { stun_alternate: Some(alternate), ..config.clone() };
            let over_v6 = Config { stun: Some(v6), ..config.clone() };
            let mut exams = vec![
                Exam { config, dialect: None, only: None },
                Exam { config: four, dialect: None, only: Some("*/*") },
            ];
            // Not every machine has IPv6.
            if std::net::UdpSocket::bind(v6).is_ok() {
                exams.push(Exam { config: over_v6, dialect: None, only: Some("stun/xor-v6") });
            }
            exams
        }
        Surface::Turn => {
            let turn = config.turn.clone().expect("it was set");
            let with = |turn| Config { turn: Some(turn), ..config.clone() };
            let few = with(TurnSettings { allocations_per_user_max: ALLOCATIONS_MAX, ..turn.clone() });
            let public = with(TurnSettings { allow_private_peers: false, ..turn });
            vec![
                Exam { config, dialect: None, only: None },
                Exam { config: few, dialect: None, only: Some("turn/486") },
                Exam { config: public, dialect: None, only: Some("turn/peer-loopback") },
            ]
        }
        Surface::TurnLifetimes => vec![Exam { config, dialect: None, only: None }],
        _ => {
            let dialect = Dialect::load(surface.name()).unwrap_or_else(|error| panic!("{error}"));
            vec![Exam { config, dialect: Some(dialect), only: None }]
        }
    }
}

/// The dialect `mesh` that declares something else.
fn mesh(declared: &str, instead: &str) -> Dialect {
    let text = include_str!("../../../conformance/dialects/mesh.toml");
    assert!(text.contains(declared), "the dialect does not say `{declared}`");
    Dialect::parse("mesh.toml", &text.replace(declared, instead)).unwrap_or_else(|error| panic!("{error}"))
}
