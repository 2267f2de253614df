//! Runs the suite against one server, with or without a mutant.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use conformance::stun::{self, Credential, Service};
use conformance::{Dialect, Options, Report, Selection, Target, Unreachable, Verdict};

use super::broken::{MEMBERS_MAX, Setup, Surface, USERS, setups};
use super::catalogue::Mutant;

/// Time for all cases on one server: a mutant that fails many of them makes each wait.
const DEADLINE: Duration = Duration::from_secs(180);
/// The same for cases that wait for ten minutes.
const LIFETIMES_DEADLINE: Duration = Duration::from_secs(720);

/// The outcome of the suite on one server.
pub(super) struct Outcome {
    /// The report, or why no connection to the server was possible.
    pub(super) report: Result<Report, Unreachable>,
    /// The server's panic message.
    pub(super) panic: Option<String>,
}

/// Starts the servers of a surface, with or without a mutant, and runs every case against them.
///
/// # Errors
/// A server cannot be started.
pub(super) fn test(program: &Path, surface: Surface, planted: Option<&Mutant>) -> io::Result<Outcome> {
    let mut all: Option<Result<Report, Unreachable>> = None;
    let mut panic = None;
    for (nth, setup) in setups(surface).into_iter().enumerate() {
        let server = Process::start(program, surface, nth, planted)?;
        let report = run(surface, &server.address, &setup);
        panic = panic.or(server.stop());
        all = Some(match (all, report) {
            (Some(Ok(all)), Ok(more)) => Ok(merged(all, more, setup.only)),
            (None, report) => report,
            (_, Err(why)) | (Some(Err(why)), _) => Err(why),
        });
    }
    Ok(Outcome { report: all.expect("every surface has a setup"), panic })
}

/// Adds the report of another server of the surface.
fn merged(mut all: Report, more: Report, only: Option<&str>) -> Report {
    for case in more.cases.into_iter().filter(|case| only.is_none_or(|glob| conformance::glob(glob, case.case.slug))) {
        match all.cases.iter_mut().find(|known| known.case.slug == case.case.slug) {
            // A case that fails on one server fails; a case that one server does not support keeps the verdict of
            // another.
            Some(known) if matches!(known.verdict, Verdict::Fail { .. } | Verdict::HarnessError { .. }) => {}
            Some(_) if matches!(case.verdict, Verdict::Unsupported { .. }) => {}
            Some(known) => *known = case,
            None => all.cases.push(case),
        }
    }
    all
}

/// The process of a server, killed on drop.
struct Process {
    child: Child,
    address: String,
    /// Reads standard error to its end, which contains the server's panics.
    panics: Option<JoinHandle<String>>,
}

impl Process {
    fn start(program: &Path, surface: Surface, nth: usize, planted: Option<&Mutant>) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args([surface.name(), &nth.to_string()]).env_remove("GLARE_MUTANT");
        command.envs(planted.map(|mutant| ("GLARE_MUTANT", &mutant.name)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        // Read in parallel, so that the pipe never fills. No simulation runs in this process.
        #[allow(clippy::disallowed_methods)]
        let panics = std::thread::spawn(move || {
            let mut text = String::new();
            _ = stderr.read_to_string(&mut text);
            text
        });
        let mut server = Self { child, address: String::new(), panics: Some(panics) };
        BufReader::new(stdout).read_line(&mut server.address)?;
        server.address.truncate(server.address.trim_end().len());
        if server.address.is_empty() {
            let why = server.stop().unwrap_or_default();
            return Err(io::Error::other(format!("the server did not start: {why}")));
        }
        Ok(server)
    }

    /// Stops the server. Returns its panic message, if any.
    fn stop(mut self) -> Option<String> {
        _ = self.child.kill();
        let panics = self.panics.take()?.join().ok()?;
        Some(panics.trim().to_owned()).filter(|panics| !panics.is_empty())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Runs the cases of a setup against its server.
fn run(surface: Surface, address: &str, setup: &Setup) -> Result<Report, Unreachable> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match dialect(surface, setup) {
            Some(dialect) => run_dialect(address, dialect, setup).await,
            None => run_service(surface, address, setup.only).await,
        }
    })
}

async fn run_dialect(address: &str, dialect: Dialect, setup: &Setup) -> Result<Report, Unreachable> {
    let patterns = setup.only.map(str::to_owned).into_iter().collect();
    let selection = Selection { patterns, slow: true, ..Selection::default() };
    let cases = conformance::select(&selection).expect("there are cases");
    let options = Options { deadline: DEADLINE, ..Options::default() };
    let mut target: Target = address.parse().expect("a good URL");
    if let Some(bearer) = setup.bearer {
        target = target.with_header("Authorization", &format!("Bearer {bearer}")).expect("a good header");
    }
    conformance::run(conformance::dial::Tokio, &target, &Arc::new(dialect), &cases, &options).await
}

/// The cases that wait for a TURN lifetime to expire take minutes and are run separately.
async fn run_service(surface: Surface, address: &str, only: Option<&str>) -> Result<Report, Unreachable> {
    let service = if surface == Surface::Stun { Service::Stun } else { Service::Turn };
    let slow = surface == Surface::TurnLifetimes;
    let users = USERS.map(|(user, password)| Credential { user: user.to_owned(), password: password.to_owned() });
    let target = stun::ServiceTarget::new(service, address).expect("a good address").with_credentials(users.to_vec());
    let selection = Selection { patterns: only.map(str::to_owned).into_iter().collect(), slow, ..Selection::default() };
    let cases = conformance::select_from(conformance::service_cases(service), &selection).expect("there are cases");
    let options = Options { deadline: if slow { LIFETIMES_DEADLINE } else { DEADLINE }, ..Options::default() };
    stun::run(conformance::dial::Tokio, &target, &cases, &options).await
}

/// The dialect of a surface, adapted to its server; `None` for STUN and TURN.
fn dialect(surface: Surface, setup: &Setup) -> Option<Dialect> {
    if matches!(surface, Surface::Stun | Surface::Turn | Surface::TurnLifetimes) {
        return None;
    }
    let text = conformance::shipped_text(surface.name()).expect("the dialect is shipped");
    // These servers wait less than the shipped dialects allow.
    let mut text = text.replace("dead-after-s = 60", "dead-after-s = 2").replace("within-s = 30", "within-s = 5");
    if surface == Surface::Mesh && setup.only.is_some() {
        let limited = format!("[room]\nmembers-max = {MEMBERS_MAX}");
        text = replaced(&text, "[room]", &limited);
    }
    if surface == Surface::SenderViewer && setup.bearer.is_some() {
        text = replaced(&text, "[http.kick]", "[http.kick]\nbearer = true");
    }
    Some(Dialect::parse(&format!("{}.toml", surface.name()), &text).unwrap_or_else(|error| panic!("{error}")))
}

/// A text with one declaration replaced.
fn replaced(text: &str, declared: &str, instead: &str) -> String {
    assert!(text.contains(declared), "the dialect does not contain `{declared}`");
    text.replace(declared, instead)
}
