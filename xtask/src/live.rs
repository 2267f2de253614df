//! `glare conformance --url … --scenario …`

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use conformance::Target;
use reports::model::Suite;
use reports::{Detail, Live};
use sim::live::{Browser, BrowserError, Endpoint, Protocol, Script, Upstream};
use sim::run::{Crash, Outcome};

use crate::conformance::Wait;
use crate::exit::{UNREACHABLE, USAGE, report_error};
use crate::interrupt::Interrupt;
use crate::pool;
use crate::sink::{Sink, cannot_write, opening};

/// A browser that takes longer than this for an answer makes a server look slow.
const LATE: Duration = Duration::from_secs(1);
/// Selects every shipped scenario that can be played.
const ALL: &str = "all";

/// Scenarios to play instead of running cases.
#[derive(clap::Args)]
pub(crate) struct Scenarios {
    /// Play scenarios in real time instead of running cases: names, TOML files, or `all` for every scenario that can be played
    #[arg(long = "scenario", value_name = "NAME|FILE", num_args = 1.., requires = "url",
        conflicts_with_all = ["cases", "groups", "level", "slow", "known", "requirements", "list", "stun", "turn", "deadline", "sim", "record", "repeat"])]
    scenarios: Vec<String>,
    /// Server heartbeat interval in seconds; a vanished client must be detected within four intervals plus 5 s
    #[arg(long, value_name = "SECONDS", default_value_t = 20, requires = "scenarios", conflicts_with = "sim",
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    heartbeat: u32,
    /// Let actors make their WebRTC connections in a browser, each in a tab of its own: `chromium`, or the path of a Chromium or Chrome
    #[arg(long, value_name = "chromium|PATH", requires = "scenarios", conflicts_with = "sim")]
    browser: Option<String>,
    /// Names of the actors that run in the browser; the others are Glare's own clients [default: all actors]
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',', requires = "browser")]
    browser_actors: Vec<String>,
    /// Also print the story of each scenario, step by step, and all violations
    #[arg(long, requires = "scenarios", conflicts_with = "sim")]
    timeline: bool,
}

/// The server, and the output of the result.
pub(crate) struct Setting<'a> {
    pub(crate) target: Target,
    pub(crate) dialect: &'a str,
    pub(crate) seed: u64,
    /// Number of scenarios played in parallel.
    pub(crate) jobs: usize,
    pub(crate) out: Option<&'a Path>,
    /// Whether to print JSON.
    pub(crate) json: bool,
    /// Ends the run early.
    pub(crate) interrupt: Interrupt,
    /// Waits for the server.
    pub(crate) wait: Wait<'a>,
    /// The words of the command that starts the server, if Glare does.
    pub(crate) started: &'a [String],
}

/// A scenario to be played.
struct PlannedRun {
    called: String,
    script: Script,
    seed: u64,
    remarks: Vec<String>,
}

/// A scenario that was played, and how long that took.
struct Played {
    outcome: Result<Outcome, Crash>,
    wall: Duration,
    /// That the browser was late, if it was.
    late: Option<String>,
}

impl Scenarios {
    /// Whether the command line names scenarios.
    pub(crate) fn is_requested(&self) -> bool {
        !self.scenarios.is_empty()
    }

    /// Plays the scenarios and prints the results.
    pub(crate) fn run(&self, mut setting: Setting<'_>) -> anyhow::Result<ExitCode> {
        let protocol = Protocol::load(setting.dialect)?;
        let mut runs = self.planned(&protocol, setting.seed)?;
        let is_one_room = protocol.is_one_room();
        let target = self.target(&setting, protocol)?;
        if let Err(error) = setting.wait.until(|| target.reach()) {
            let ended = setting.wait.ended().map(str::to_owned);
            let tried = std::iter::once(error.to_string()).chain(ended).collect();
            return Ok(report_error(&conformance::Unreachable { url: setting.target.shown(), tried }, UNREACHABLE));
        }
        let setting = &setting;
        if let Some(why) = mismatch(setting)? {
            return Ok(report_error(&why, USAGE));
        }
        let browser = match self.start_browser(&mut runs) {
            Ok(browser) => browser,
            Err(error) => return Ok(report_error(&error, UNREACHABLE)),
        };
        // Without rooms, the clients of parallel scenarios would be in the same room.
        let jobs = if is_one_room { 1 } else { setting.jobs.min(runs.len()) };
        // On a machine that has too much to do, browsers are late, which is not the server's fault.
        let jobs = if browser.is_some() { jobs.min(cores()) } else { jobs };
        announce(&runs, jobs);
        let mut output = Output::open(setting, &runs, self.again(setting, &runs), self.timeline)?;
        let start = crate::now();
        let mut passed = 0;
        let mut is_first = true;
        let play = |run: &&PlannedRun| {
            let (outcome, wall) = crate::timed(|| sim::live::run(&run.script, &target, run.seed));
            let slowest = run.script.browser.as_ref().map(Browser::take_slowest).unwrap_or_default();
            let late = (slowest > LATE).then(|| {
                format!("The browser took {:.1} s for an answer. This machine has too much to do: what fails may be its fault.", slowest.as_secs_f64())
            });
            Played { outcome, wall, late }
        };
        pool::for_each_in_order(runs.iter().take_while(|_| !setting.interrupt.is_set()), jobs, play, |run, played| {
            if !std::mem::take(&mut is_first) && !setting.json {
                outln!();
            }
            passed += usize::from(played.outcome.as_ref().is_ok_and(Outcome::passed));
            output.take(&self.again(setting, [run]), run, &played)
        })?;
        output.sink.close(start.elapsed())?;
        if runs.len() > 1 && !setting.json {
            outln!("\n{passed} of {} scenarios pass", runs.len());
        }
        Ok(setting.interrupt.or(if passed == runs.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
    }

    /// The scenarios to play.
    ///
    /// # Errors
    /// A named scenario cannot be played, or no scenario can.
    fn planned(&self, protocol: &Protocol, seed: u64) -> anyhow::Result<Vec<PlannedRun>> {
        let mut runs = Vec::new();
        let mut refused = Vec::new();
        for called in &self.scenarios {
            let shipped = scenarios::shipped().filter(|_| called == ALL).map(|shipped| shipped.name);
            let named = (called != ALL).then_some(called.as_str());
            for name in shipped.chain(named) {
                // Each scenario has its own seed, so that parallel scenarios use different rooms.
                let seed = seed.wrapping_add(runs.len() as u64);
                match Script::of(&scenarios::load(name)?, protocol, seed) {
                    Ok(script) => runs.push(PlannedRun::of(name, script, seed)),
                    Err(why) if called == ALL => errln!("skipped: {why}"),
                    Err(why) => refused.push(why.to_string()),
                }
            }
        }
        anyhow::ensure!(refused.is_empty(), refused.join("\n"));
        anyhow::ensure!(!runs.is_empty(), "no shipped scenario can be played with this dialect");
        self.choose_actors(&mut runs)?;
        Ok(runs)
    }

    /// Moves the chosen actors into the browser.
    ///
    /// # Errors
    /// A chosen actor is in none of the scenarios.
    fn choose_actors(&self, runs: &mut [PlannedRun]) -> anyhow::Result<()> {
        if self.browser.is_none() {
            return Ok(());
        }
        let known: BTreeSet<_> = runs.iter().flat_map(PlannedRun::actors).map(str::to_owned).collect();
        if let Some(name) = self.browser_actors.iter().find(|name| !known.contains(*name)) {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            anyhow::bail!("--browser-actors: no actor is called `{name}`; there are {}", known.join(", "));
        }
        for run in runs {
            run.script.run_in_chromium(|name| {
                self.browser_actors.is_empty() || self.browser_actors.iter().any(|chosen| chosen == name)
            });
        }
        Ok(())
    }

    /// Starts the browser, if an actor needs one, and gives it to the scripts.
    fn start_browser(&self, runs: &mut [PlannedRun]) -> Result<Option<Browser>, BrowserError> {
        if runs.iter().all(|run| run.script.in_browser().next().is_none()) {
            return Ok(None);
        }
        let browser = Browser::start(self.browser.as_deref().unwrap_or("chromium"))?;
        for run in runs {
            let names: Vec<_> = run.script.in_browser().map(|actor| actor.name.as_str()).collect();
            if !names.is_empty() {
                run.remarks.push(format!("In {}: {}.", browser.version(), names.join(", ")));
                run.script.browser = Some(browser.clone());
            }
        }
        Ok(Some(browser))
    }

    fn target(&self, setting: &Setting<'_>, protocol: Protocol) -> anyhow::Result<sim::live::Target> {
        let target = &setting.target;
        let mut upstream = Upstream::new(target.host(), target.port());
        if let Some(config) = conformance::tls_config(target)? {
            upstream = upstream.with_tls(config)?;
        }
        let endpoint = Endpoint::of_url(target.url(), target.headers().to_vec());
        let endpoint = Arc::new(endpoint.context("the URL has no host: write ws://HOST:PORT/PATH")?);
        let heartbeat = Duration::from_secs(self.heartbeat.into());
        Ok(sim::live::Target { upstream, endpoint, protocol, heartbeat })
    }

    /// The command that plays the scenarios again. Secrets are left out.
    fn again<'r>(&self, setting: &Setting<'_>, runs: impl IntoIterator<Item = &'r PlannedRun>) -> String {
        let target = &setting.target;
        let mut words = vec!["conformance".to_owned(), "--url".to_owned(), target.shown()];
        if setting.dialect != "mesh" {
            words.extend(["--dialect".to_owned(), setting.dialect.to_owned()]);
        }
        if target.is_insecure() {
            words.push("--insecure".to_owned());
        }
        if !target.headers().is_empty() {
            words.extend(["--header", "…"].map(str::to_owned));
        }
        if self.heartbeat != 20 {
            words.extend(["--heartbeat".to_owned(), self.heartbeat.to_string()]);
        }
        if let Some(browser) = &self.browser {
            words.extend(["--browser".to_owned(), browser.clone()]);
        }
        if !self.browser_actors.is_empty() {
            words.extend(["--browser-actors".to_owned(), self.browser_actors.join(",")]);
        }
        words.push("--scenario".to_owned());
        words.extend(runs.into_iter().map(|run| run.called.clone()));
        if !setting.started.is_empty() {
            words.push("--".to_owned());
            words.extend_from_slice(setting.started);
        }
        reports::command_line(&crate::program(), words)
    }
}

impl PlannedRun {
    fn of(called: &str, script: Script, seed: u64) -> Self {
        let mut remarks = Vec::new();
        if !script.absent.is_empty() {
            remarks.push(format!("Absent: {}, because they use another dialect.", script.absent.join(", ")));
        }
        if !script.unasked.is_empty() {
            let probes = script.unasked.join(", ");
            remarks.push(format!("Not checked: {probes}, which only a simulated network can cause."));
        }
        Self { called: called.to_owned(), script, seed, remarks }
    }

    fn actors(&self) -> impl Iterator<Item = &str> {
        self.script.scenario.actors.iter().map(|actor| actor.name.as_str())
    }

    fn seconds(&self) -> f64 {
        self.script.scenario.duration.as_secs_f64()
    }
}

/// The number of processors that this program may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Why a scenario cannot be played in this dialect, if the server speaks another.
fn mismatch(setting: &Setting<'_>) -> anyhow::Result<Option<String>> {
    let dialect = Arc::new(conformance::Dialect::load(setting.dialect)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let found = crate::conformance::mismatch(&runtime, &setting.target, setting.dialect, &dialect, setting.seed);
    runtime.shutdown_background();
    Ok(found)
}

/// Prints how long this will take, because it runs in real time.
fn announce(runs: &[PlannedRun], jobs: usize) {
    let each: Vec<_> = runs.iter().map(|run| format!("{} ({} s)", run.script.scenario.name, run.seconds())).collect();
    // The next scenario goes to the thread that is free first.
    let mut busy = vec![0.0f64; jobs.max(1)];
    for run in runs {
        let first = busy.iter_mut().min_by(|a, b| a.total_cmp(b)).expect("there is a thread");
        *first += run.seconds();
    }
    let longest = busy.iter().copied().fold(0.0, f64::max);
    errln!("playing in real time, {longest} s: {}", each.join(", "));
}

/// Prints and writes the results.
struct Output<'a> {
    sink: Sink,
    setting: &'a Setting<'a>,
    detail: Detail,
}

impl<'a> Output<'a> {
    /// `command` is not the command line as typed: a header may be a secret.
    fn open(setting: &'a Setting<'a>, runs: &[PlannedRun], command: String, is_full: bool) -> anyhow::Result<Self> {
        let names: Vec<_> = runs.iter().map(|run| run.script.scenario.name.as_str()).collect();
        let name = format!("{}: {}", setting.dialect, names.join(", "));
        let opening = opening(Suite::Conformance, name, setting.target.shown(), command);
        let detail = if is_full { Detail::Full } else { Detail::Brief };
        Ok(Self { sink: Sink::open(setting.out, setting.json, &opening)?, setting, detail })
    }

    fn take(&mut self, again: &str, run: &PlannedRun, played: &Played) -> anyhow::Result<()> {
        let remarks: Vec<_> = run.remarks.iter().chain(&played.late).cloned().collect();
        let live = Live {
            scenario: &run.script.scenario,
            called: &run.called,
            played: played.outcome.as_ref(),
            url: &self.setting.target.shown(),
            remarks: &remarks,
            again,
        };
        if !self.setting.json {
            out!("{}", live.text(self.detail, reports::terminal_width()));
        }
        let mut events = None;
        if let Some(dir) = self.sink.dir() {
            let written = live.write(dir).with_context(|| cannot_write(dir));
            let folder = self.sink.accept(written)?.filter(|_| played.outcome.is_ok());
            events = folder.map(|folder| format!("{}/events.jsonl", folder.display()));
        }
        self.sink.case(live.case(played.wall, events))
    }
}
