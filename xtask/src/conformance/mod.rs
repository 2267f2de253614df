//! `glare conformance`

mod command;
mod evidence;
mod mismatch;
mod network;
mod repeat;
mod replay;
mod server;
mod simulated;
mod wait;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use conformance::stun::Service;
use conformance::{Case, Known, Level, RequirementReport, Requirements, Restart, Selection, Show, Target, select_from};
use reports::Detail;

use crate::arguments::{Format, Requests};
use crate::exit::{UNREACHABLE, USAGE, report_error};
use crate::interrupt::Interrupt;
use crate::last::Unfinished;
use crate::live::Setting;
use crate::random;
use crate::server_program::ServerFlags;
use command::StartedServer;
pub(crate) use command::end_running;
use evidence::Begun;
pub(crate) use mismatch::mismatch;
use network::Network;
use repeat::Series;
use server::{TestedServer, servers};
use simulated::Conditions;
pub(crate) use wait::Wait;

/// The default dialect.
const DIALECT: &str = "mesh";
/// A server program is given without `--sim`.
const NEEDS_SIM: &str =
    "--server runs the program inside the simulator: add --sim, or start it yourself and give --url";
/// How long a server may take to be reachable after its command was started.
const WAIT_FOR_COMMAND: Duration = Duration::from_secs(30);
/// A pattern matched no case.
const NO_CASE: u8 = 4;

/// Test a signaling server against its dialect, and a STUN or TURN server against its RFCs.
///
/// Exit codes: 0 all cases pass, 1 a case fails that is not a known deviation, 2 bad usage or a bad file, 3 the server
/// cannot be reached, 4 no such case.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// URL of the server: ws://HOST:PORT/PATH, or wss, http, https
    #[arg(long, required_unless_present_any = ["list", "stun", "turn", "sim", "server"])]
    url: Option<Target>,
    #[command(flatten)]
    network: Network,
    /// Test the reference server inside the simulator, or with --server a program of yours, in virtual time: the same seed gives the same report, byte for byte
    #[arg(long, conflicts_with_all = ["url", "headers", "bearer", "insecure"])]
    sim: bool,
    #[command(flatten)]
    program: ServerFlags,
    /// Delay of each message in the simulator [default: 1ms]
    #[arg(long, requires = "sim", value_name = "TIME", value_parser = scenarios::time)]
    delay: Option<Duration>,
    /// Share of packets lost in the simulator: `1%`
    #[arg(long, requires = "sim", value_name = "SHARE", value_parser = scenarios::share)]
    loss: Option<u32>,
    /// Protocol of the server: a shipped dialect's name, or a TOML file; with --sim also stun and turn [default: mesh]
    #[arg(long, value_name = "NAME|FILE")]
    dialect: Option<String>,
    /// Run only cases whose name matches, and the cases they need: `room/join-once`, `sec/*`
    #[arg(long = "case", value_name = "GLOB", num_args = 1..)]
    cases: Vec<String>,
    /// Run only cases of a group: `room`, `ws`
    #[arg(long = "group", value_name = "GROUP", num_args = 1..)]
    groups: Vec<String>,
    /// Run only cases at or above this level; rules declared by the dialect count as MUST
    #[arg(long, value_enum)]
    level: Option<AtLeast>,
    /// Also run cases that wait for a lifetime to expire
    #[arg(long)]
    slow: bool,
    /// File of known deviations with reasons; they still run, and an unexpected pass is reported
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// File of your own requirements, each with the cases that verify it
    #[arg(long, value_name = "FILE")]
    requirements: Option<PathBuf>,
    /// Number of cases run in parallel
    #[arg(long, value_name = "N", default_value = "8")]
    jobs: std::num::NonZeroUsize,
    /// Seed for the names of rooms and users [default: a random one]; in the simulator everything random follows from it
    /// [default there: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for the result, which `report` renders, and for the text report
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    requests: Requests,
    /// Time limit of the whole run in seconds; cases that have not started by then are not tested
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    deadline: u32,
    /// Folder for recordings of the wire, one file per case, for `conformance replay`; secrets are left out
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Keep the messages of passing cases in the result too, for `matrix`
    #[arg(long)]
    traces: bool,
    /// Repeat N times and list flaky cases; only the first failing report is shown
    #[arg(long, value_name = "N", default_value = "1")]
    repeat: std::num::NonZeroU64,
    /// Also list the cases that do not apply, with the reasons
    #[arg(long)]
    verbose: bool,
    /// Wait up to this long for the server to be reachable: `30s` [default: not at all; with a command: 30s]
    #[arg(long, value_name = "TIME", value_parser = scenarios::time, conflicts_with_all = ["sim", "list"])]
    wait: Option<Duration>,
    /// Use only ASCII characters in the report
    #[arg(long)]
    ascii: bool,
    /// Shell command that brings the server back after a crash; the crash is reported in the case that caused it, and
    /// the run goes on [default: COMMAND, if there is one]
    #[arg(long, value_name = "CMD", conflicts_with_all = ["sim", "list", "scenarios"])]
    restart: Option<String>,
    /// List the cases without running them
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    live: crate::live::Scenarios,
    /// Command that starts the server, also after a crash; it is ended with all its children after the test
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["sim", "list"])]
    started: Vec<String>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Replay a recorded case, and compare the server's messages with the recording
    Replay(replay::Arguments),
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AtLeast {
    Must,
    Should,
    May,
}

/// Runs the cases and prints the report.
pub(crate) fn run(mut arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Some(Command::Replay(arguments)) = arguments.command.take() {
        return replay::run(arguments);
    }
    let interrupt = Interrupt::listen()?;
    let mut started = match &arguments.started[..] {
        [] => None,
        words => Some(StartedServer::start(words, arguments.url.as_ref())?),
    };
    if let Some(url) = arguments.url.as_ref().filter(|_| arguments.live.is_requested()) {
        return match arguments.requests.to(url) {
            Ok(target) => arguments.live.run(Setting {
                target,
                dialect: arguments.dialect(),
                seed: arguments.seed.map_or_else(random, Ok)?,
                jobs: arguments.jobs.get(),
                out: arguments.out.as_deref(),
                json: arguments.format == Format::Json,
                wait: arguments.wait(&interrupt, started.as_mut()),
                started: &arguments.started,
                interrupt: interrupt.clone(),
            }),
            Err(error) => Ok(report_error(&error, USAGE)),
        };
    }
    arguments.network.check(arguments.sim)?;
    anyhow::ensure!(
        arguments.restart.as_ref().is_none_or(|command| !command.trim().is_empty()),
        "--restart is empty: give a command that starts the server again, at the same address"
    );
    // clap ignores `requires = "sim"` when --url is given, because --url conflicts with --sim.
    let simulated = arguments.delay.is_some() || arguments.loss.is_some();
    anyhow::ensure!(arguments.sim || !simulated, "--delay and --loss have no effect without --sim");
    anyhow::ensure!(arguments.sim || arguments.program.program(None)?.is_none(), NEEDS_SIM);
    let servers = match servers(&arguments) {
        Ok(servers) => servers,
        Err(error) => return Ok(report_error(&*error, USAGE)),
    };
    let all = every_case(&arguments, &servers);
    let selected = match select_from(&all, &arguments.selection()) {
        Ok(cases) => cases,
        Err(error) => return Ok(report_error(&error, NO_CASE)),
    };
    if arguments.list {
        let rows = selected.iter().map(|case| [case.slug.to_owned(), case.level.to_string(), case.rule.to_owned()]);
        out!("{}", reports::list(rows, reports::terminal_width()));
        return Ok(ExitCode::SUCCESS);
    }
    let (known, requirements) = match (
        arguments.known.as_deref().map(Known::load).transpose(),
        arguments.requirements.as_deref().map(Requirements::load).transpose(),
    ) {
        (Ok(known), Ok(requirements)) => (known, requirements),
        (Err(error), _) | (_, Err(error)) => return Ok(report_error(&error, USAGE)),
    };
    let restart = arguments.restart.clone().map(Restart::new).or_else(|| Some(started.as_ref()?.restart()));
    let options = conformance::Options { interrupt: Some(interrupt.flag()), restart, ..arguments.options()? };
    let mut wait = arguments.wait(&interrupt, started.as_mut());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut tested: Vec<(TestedServer, Series)> = Vec::new();
    let mut begun = Begun::default();
    if let Some(out) = &arguments.out {
        let planned: Vec<_> = servers.iter().filter(|server| !server.of(&selected).is_empty()).collect();
        for server in &planned {
            let dir = folder(out, &server.url(), planned.len());
            begun.begin(&dir, server).with_context(|| format!("cannot write to {}", dir.display()))?;
        }
    }
    for server in servers {
        let cases = server.of(&selected);
        if arguments.cases.is_empty() && arguments.groups.is_empty() && !cases.is_empty() {
            let _ = wait.until(|| server.is_reachable());
            if let Some(why) = server.mismatch(&runtime, options.seed) {
                return Ok(report_error(&why, USAGE));
            }
        }
        let mut series: Option<Series> = None;
        for run in 0..if cases.is_empty() { 0 } else { arguments.repeat.get() } {
            let mut report = match wait.until(|| server.test(run, &runtime, &cases, &options)) {
                Ok(report) => report,
                Err(error) => {
                    let ended = wait.ended().map(|ended| format!("\n  {ended}")).unwrap_or_default();
                    return Ok(report_error(&format!("{error}{ended}"), UNREACHABLE));
                }
            };
            if let Some(known) = &known {
                known.mark(&mut report);
            }
            if let Some(requirements) = &requirements {
                requirements.judge(&mut report);
            }
            if arguments.format == Format::Json {
                outln!("{}", report.json());
            }
            let passed = report.passed() && report.requirements.iter().all(RequirementReport::met);
            match &mut series {
                Some(series) => series.add(report, passed),
                None => series = Some(Series::of(report, passed)),
            }
        }
        tested.extend(series.map(|series| (server, series)));
    }
    // A pending name resolution would otherwise delay the exit.
    runtime.shutdown_background();
    begun.keep();
    let last = if arguments.out.is_none() { Unfinished::begin() } else { None };
    let kept = last.as_ref().map(|last| last.folder().to_owned());
    for (server, series) in &tested {
        let folder = |dir: &PathBuf| folder(dir, &series.kept.url, tested.len());
        arguments.show(server, series, folder, kept.as_ref(), !interrupt.is_set())?;
    }
    match (last, &arguments.out) {
        (Some(last), _) => last.keep(),
        (None, Some(out)) => crate::last::point_to(out),
        (None, None) => {}
    }
    if let Some(why) = options.restart.as_ref().and_then(Restart::failure) {
        let whose = if arguments.restart.is_some() { "--restart" } else { "after a crash" };
        return Ok(report_error(&format!("{whose}: {why}"), UNREACHABLE));
    }
    let code = if tested.iter().all(|(_, series)| series.passed()) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok(interrupt.or(code))
}

/// Where the files of one of several servers go: with a single one directly into the folder, otherwise into a subfolder.
fn folder(dir: &Path, url: &str, servers: usize) -> PathBuf {
    let scheme = url.split_once(':').map_or("report", |(scheme, _)| scheme);
    if servers == 1 { dir.to_owned() } else { dir.join(scheme) }
}

/// All cases that can be selected: those of the named servers, or every case if no server is named.
fn every_case(arguments: &Arguments, servers: &[TestedServer]) -> Vec<&'static Case> {
    let mut all: Vec<_> = servers.iter().flat_map(|server| server.cases).copied().collect();
    if servers.is_empty() && arguments.list {
        all.extend(conformance::cases());
        all.extend([Service::Stun, Service::Turn].into_iter().flat_map(conformance::service_cases));
    }
    all
}

impl Arguments {
    /// Prints and writes the results for one server. `last`: where they are kept if the user names no folder.
    /// `is_complete`: whether all cases were run.
    fn show(
        &self,
        server: &TestedServer,
        series: &Series,
        folder: impl Fn(&PathBuf) -> PathBuf,
        last: Option<&PathBuf>,
        is_complete: bool,
    ) -> anyhow::Result<()> {
        let (report, run) = (&series.kept, series.kept_run);
        let record = self.record.as_ref().map(&folder);
        let (again, replay) = (server.again(run), record.as_ref().and_then(|dir| server.replay(run, dir)));
        let show = Show {
            again: &again,
            replay: replay.as_deref(),
            columns: columns(),
            wrap: reports::terminal_width().is_some(),
            ascii: self.ascii,
            verbose: self.verbose,
        };
        if self.format == Format::Text {
            // Of many runs, only the first failing one is shown.
            if self.repeat.get() == 1 || !series.passed() {
                out!("{}", report.text(show));
            }
            if self.repeat.get() > 1 {
                out!("{}", series.text());
            }
        }
        if let Some(dir) = &record {
            evidence::record(dir, report)?;
        }
        let detail = if self.traces { Detail::Full } else { Detail::Brief };
        let dir = self.out.as_ref().or(last).map(folder);
        if let Some(dir) = dir {
            let extent = evidence::Extent { is_named: self.out.is_some(), is_complete, detail };
            let written = evidence::write(&dir, report, show, server, extent);
            if self.out.is_some() {
                written.with_context(|| format!("cannot write to {}", dir.display()))?;
            }
        }
        Ok(())
    }

    /// How long to wait for the server.
    fn wait<'s>(&self, interrupt: &Interrupt, started: Option<&'s mut StartedServer>) -> Wait<'s> {
        let default = if started.is_some() { WAIT_FOR_COMMAND } else { Duration::ZERO };
        Wait::new(self.wait.unwrap_or(default), interrupt, started)
    }

    fn dialect(&self) -> &str {
        self.dialect.as_deref().unwrap_or(DIALECT)
    }

    fn selection(&self) -> Selection {
        let level = self.level.map(|level| match level {
            AtLeast::Must => Level::Must,
            AtLeast::Should => Level::Should,
            AtLeast::May => Level::May,
        });
        Selection { patterns: self.cases.clone(), groups: self.groups.clone(), level, slow: self.slow }
    }

    fn options(&self) -> anyhow::Result<conformance::Options> {
        let seed = if self.sim { Ok(self.conditions().seed) } else { self.seed.map_or_else(random, Ok) };
        Ok(conformance::Options {
            deadline: Duration::from_secs(self.deadline.into()),
            jobs: self.jobs.get(),
            seed: seed?,
            record: self.record.is_some(),
            restart: None,
            interrupt: None,
        })
    }

    /// The conditions of the simulation.
    fn conditions(&self) -> Conditions {
        let delay = self.delay.unwrap_or(simulated::DELAY);
        Conditions { seed: self.seed.unwrap_or(1), delay, loss_ppm: self.loss.unwrap_or_default() }
    }
}

/// The terminal's width; 120 if there is no terminal.
fn columns() -> usize {
    let configured = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let detected = || reports::terminal_width().map(usize::from);
    configured.or_else(detected).unwrap_or(120)
}
