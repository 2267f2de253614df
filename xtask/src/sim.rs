//! `glare sim`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reports::model::{Case, Suite};
use reports::{Detail, Frames, Replay, Seed, Sweep};
use scenarios::Scenario;
use sim::run::{Cause, Crash, Outcome};

use crate::arguments::{Format, StackName};
use crate::exhaustive::{self, ExhaustiveFlags};
use crate::exit::UNREACHABLE;
use crate::interrupt::Interrupt;
use crate::mutants;
use crate::pool;
use crate::progress::Progress;
use crate::server_program::{HeartbeatFlag, ServerFlags};
use crate::sink::{Sink, cannot_write, opening};

/// File in a run's folder that maps events to frames of the capture.
const FRAMES_FILE: &str = "frames.jsonl";

/// Play a scenario in virtual time and judge it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A shipped scenario's name, or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    scenario: String,
    /// Dialect that all actors speak: a shipped dialect's name, or a TOML file [default: that of each actor's role]
    #[arg(long, value_name = "NAME|FILE")]
    dialect: Option<String>,
    /// WebRTC stack of all actors, or several that they get in turn, as in `rtc,str0m` [default: those of the scenario]
    #[arg(long, value_name = "STACK", value_enum, value_delimiter = ',')]
    stack: Vec<StackName>,
    #[command(flatten)]
    program: ServerFlags,
    #[command(flatten)]
    heartbeat: HeartbeatFlag,
    /// Plant this defect in the reference server, such as `mesh/leave-not-told`; needs a checkout of Glare
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    mutant: Option<String>,
    /// Seed of the run; the same seed gives the same run, byte for byte
    #[arg(long, default_value_t = 1, conflicts_with = "seeds")]
    seed: u64,
    /// Range of seeds to run; B is not included
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,
    /// Number of parallel runs [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    exhaustive: ExhaustiveFlags,
    /// Run each seed twice; on a mismatch, show the first event that differs
    #[arg(long)]
    check_determinism: bool,
    /// Output format; `json` prints the result as JSON Lines: an opening record, one record per run, a closing record
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print failures only, no progress bar
    #[arg(long, short)]
    quiet: bool,
    /// Also print the story of the run, step by step, and all violations
    #[arg(long, alias = "verbose", conflicts_with = "seeds")]
    timeline: bool,
    /// Folder for the result, which `report` renders, and for the report and events of the run; with --seeds, of failing runs only
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Capture all packets to a pcapng file for Wireshark, one interface per network; the DTLS keys are stored in it and in a file beside it
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    pcap: Option<PathBuf>,
}

/// `A..B`: from A up to, but not including, B.
#[derive(Clone, Debug)]
pub(crate) struct Seeds(Range<u64>);

impl Seeds {
    pub(crate) fn range(&self) -> Range<u64> {
        self.0.clone()
    }
}

impl FromStr for Seeds {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = || anyhow!("`{text}` is not a range of seeds such as `0..1000`");
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let (first, end) = (first.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
        if first < end { Ok(Self(first..end)) } else { Err(anyhow!("`{text}` contains no seed")) }
    }
}

/// The scenario, if its dialect can play it.
pub(crate) fn fitting(scenario: Scenario) -> anyhow::Result<Scenario> {
    match sim::fit::misfit(&scenario) {
        Some(misfit) => {
            let dialect = scenario.server.dialect.as_deref().unwrap_or_default();
            Err(anyhow!("`{}` cannot be played in the dialect `{dialect}`: {misfit}", scenario.name))
        }
        None => Ok(scenario),
    }
}

impl Arguments {
    /// The scenario, with the server program of the command line in place of its own.
    fn scenario(&self) -> anyhow::Result<Scenario> {
        let mut scenario = scenarios::load(&self.scenario)?;
        scenario.server.dialect = self.dialect.clone().or(scenario.server.dialect);
        scenario.server.program = self.program.program(scenario.server.program.take())?;
        self.heartbeat.set(&mut scenario);
        let stacks: Vec<_> = self.stack.iter().map(|stack| stack.stack()).collect();
        scenario.set_stacks(&stacks);
        let mut scenario = fitting(scenario)?;
        if let Some(name) = &self.mutant {
            anyhow::ensure!(
                scenario.server.program.is_none(),
                "`{}` has a server program of its own: --mutant plants a defect in the reference server",
                scenario.name
            );
            mutants::plant(&mut scenario, name)?;
        }
        Ok(scenario)
    }

    /// The words of the command line that change the run.
    fn options(&self) -> Vec<String> {
        let dialect = self.dialect.iter().flat_map(|dialect| ["--dialect".to_owned(), dialect.clone()]);
        let stacks: Vec<_> = self.stack.iter().map(|stack| stack.stack().name()).collect();
        let stacks = Some(stacks.join(",")).filter(|stacks| !stacks.is_empty());
        let stack = stacks.into_iter().flat_map(|stacks| ["--stack".to_owned(), stacks]);
        let mutant = self.mutant.iter().flat_map(|name| ["--mutant".to_owned(), name.clone()]);
        dialect.chain(stack).chain(self.program.words()).chain(self.heartbeat.words()).chain(mutant).collect()
    }
}

/// The outcome of one seed.
enum Verdict {
    Judged(Box<Outcome>),
    Crashed(Crash),
    Mismatch(Box<[Outcome; 2]>),
}

impl Verdict {
    fn passed(&self) -> bool {
        matches!(self, Self::Judged(outcome) if outcome.passed())
    }

    /// Whether the server program could not be reached.
    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Crashed(crash) if crash.cause == Cause::Server)
    }
}

/// Runs one seed or many.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let scenario = Arc::new(arguments.scenario()?);
    sim::run::check_program(&scenario).map_err(|wrong| anyhow!(wrong))?;
    let (called, options) = (arguments.scenario.clone(), arguments.options());
    let replay = Replay { program: crate::program(), scenario: called, options };
    // A panic inside a simulation is a finding, and is reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    if arguments.exhaustive.exhaustive {
        anyhow::ensure!(
            arguments.format == Format::Text,
            "--exhaustive prints text; with --out DIR, DIR has its results"
        );
        return exhaustive::run(&exhaustive::Search {
            flags: &arguments.exhaustive,
            scenario: &scenario,
            seed: arguments.seed,
            jobs: arguments.jobs.map_or_else(pool::cores, usize::from),
            out: arguments.out.as_deref(),
            quiet: arguments.quiet,
        });
    }
    match arguments.seeds.clone() {
        None => one(&arguments, &scenario, &replay),
        Some(Seeds(seeds)) => many(&arguments, &scenario, seeds, &replay),
    }
}

/// The exit code of runs of which `failed` did not pass, and `unreachable` did not reach their server.
fn code(failed: usize, unreachable: usize) -> ExitCode {
    match (failed, unreachable) {
        (_, 1..) => ExitCode::from(UNREACHABLE),
        (1.., _) => ExitCode::FAILURE,
        (0, 0) => ExitCode::SUCCESS,
    }
}

fn one(arguments: &Arguments, scenario: &Arc<Scenario>, replay: &Replay) -> anyhow::Result<ExitCode> {
    let mut runs = Runs::open(arguments, scenario, replay)?;
    let start = crate::now();
    let (verdict, wall) = play(scenario, arguments.seed, arguments.check_determinism);
    // Packets are captured in a second, identical run, so that the time of the first is not affected.
    let wanted = arguments.pcap.as_deref().filter(|_| !matches!(verdict, Verdict::Crashed(_)));
    let captured = wanted.map(|file| {
        let frames = capture(scenario, &verdict, arguments.seed, file)
            .with_context(|| format!("cannot write {}", file.display()));
        frames.map(|frames| (file, frames))
    });
    let captured = captured.transpose()?;
    let written = runs.take(&verdict, wall, captured.as_ref().map(|(file, frames)| (*file, frames)))?;
    runs.sink.close(start.elapsed())?;
    if arguments.format == Format::Text && !(arguments.quiet && verdict.passed()) {
        match &verdict {
            Verdict::Judged(outcome) => {
                let detail = if arguments.timeline { Detail::Full } else { Detail::Brief };
                out!("{}", reports::outcome(outcome, detail, wall, replay, reports::terminal_width()));
                if arguments.check_determinism {
                    outln!("Ran twice: both runs have the hash {}", outcome.hash);
                }
            }
            Verdict::Crashed(crash) => out!("{}", reports::crash(crash, &scenario.name, replay)),
            Verdict::Mismatch(runs) => out!("{}", reports::mismatch(&runs[0], &runs[1], replay)),
        }
        if let Some(written) = written.filter(|_| arguments.out.is_some()) {
            outln!("Written to {}", written.display());
        }
        if let Some((file, _)) = captured {
            outln!("Packets written to {}, DTLS keys to the same file and to {}", file.display(), keys(file).display());
        }
    }
    Ok(code(usize::from(!verdict.passed()), usize::from(verdict.is_unreachable())))
}

fn many(
    arguments: &Arguments,
    scenario: &Arc<Scenario>,
    seeds: Range<u64>,
    replay: &Replay,
) -> anyhow::Result<ExitCode> {
    let jobs = arguments.jobs.map_or_else(pool::cores, usize::from);
    let (first, wanted) = (seeds.start, seeds.end - seeds.start);
    let mut progress = Progress::new(wanted, "seeds", "failed", !arguments.quiet);
    let interrupt = Interrupt::listen()?;
    let mut runs = Runs::open(arguments, scenario, replay)?;
    let start = crate::now();
    let mut sweep = Sweep {
        scenario: scenario.name.clone(),
        seeds: Vec::new(),
        wall: Duration::ZERO,
        twice: arguments.check_determinism,
    };
    let (mut failed, mut unreachable) = (0, 0);
    let play = |seed: &u64| play(scenario, *seed, arguments.check_determinism);
    let seeds = seeds.take_while(|_| !interrupt.is_set());
    pool::for_each(seeds, jobs, play, |seed, (verdict, wall)| {
        let kept = match &verdict {
            Verdict::Judged(outcome) => Seed::of(outcome),
            Verdict::Crashed(crash) => Seed::crashed(crash),
            Verdict::Mismatch(_) => Seed::not_deterministic(seed),
        };
        failed += usize::from(!kept.passed());
        progress.step(failed);
        unreachable += usize::from(verdict.is_unreachable());
        runs.take(&verdict, wall, None)?;
        sweep.seeds.push(kept);
        anyhow::Ok(())
    })?;
    progress.finish();
    sweep.finish(start.elapsed());
    runs.sink.close(sweep.wall)?;
    if arguments.format == Format::Text && !sweep.seeds.is_empty() && !(arguments.quiet && sweep.passed()) {
        out!("{}", sweep.text(replay, reports::terminal_width()));
    }
    if interrupt.is_set() && !sweep.seeds.is_empty() {
        errln!("interrupted: {} of {wanted} seeds, from {first}, were run", sweep.seeds.len());
    }
    Ok(interrupt.or(code(failed, unreachable)))
}

/// Runs a seed, twice if wanted, and measures the time of the first run.
fn play(scenario: &Arc<Scenario>, seed: u64, twice: bool) -> (Verdict, Duration) {
    let (first, wall) = crate::timed(|| sim::run::run(scenario, seed));
    let verdict = match first {
        Err(crash) => Verdict::Crashed(crash),
        Ok(first) if !twice => Verdict::Judged(Box::new(first)),
        Ok(first) => match sim::run::run(scenario, seed) {
            Err(crash) => Verdict::Crashed(crash),
            Ok(second) if second.hash == first.hash => Verdict::Judged(Box::new(first)),
            Ok(second) => Verdict::Mismatch(Box::new([first, second])),
        },
    };
    (verdict, wall)
}

/// The file for the DTLS keys of a capture.
fn keys(capture: &Path) -> PathBuf {
    capture.with_extension("keys")
}

/// Writes all packets of a run; returns which event is which frame.
fn capture(scenario: &Arc<Scenario>, verdict: &Verdict, seed: u64, file: &Path) -> io::Result<Frames> {
    let Ok((outcome, capture)) = sim::run::run_captured(scenario, seed) else {
        return Err(io::Error::other("the run that captured the packets crashed, but the first run did not"));
    };
    let mut out = BufWriter::new(File::create(file)?);
    reports::write_pcap(&mut out, &capture, &outcome.record)?;
    out.flush()?;
    std::fs::write(keys(file), capture.keys.text())?;
    match verdict {
        Verdict::Judged(run) if run.hash == outcome.hash => Ok(Frames::of(&outcome.record, &capture)),
        Verdict::Judged(_) => Err(io::Error::other(
            "the run that captured the packets differs from the first run: use --check-determinism to see where",
        )),
        // The runs differ, so the packets cannot be assigned to either of them.
        Verdict::Mismatch(_) | Verdict::Crashed(_) => Ok(Frames::default()),
    }
}

/// The result, run by run.
struct Runs<'a> {
    sink: Sink,
    scenario: &'a Scenario,
    replay: &'a Replay,
    /// Whether a run that passes is written in full.
    full: bool,
}

impl<'a> Runs<'a> {
    fn open(arguments: &Arguments, scenario: &'a Scenario, replay: &'a Replay) -> anyhow::Result<Self> {
        let target = match &scenario.server.program {
            None => "reference server".to_owned(),
            Some(program) => reports::command_line("", program.run.iter().cloned()).trim_start().to_owned(),
        };
        let name = scenario.name.clone();
        let opening = opening(Suite::Sim, name, target, crate::command());
        let sink = Sink::open(arguments.out.as_deref(), arguments.format == Format::Json, &opening)?;
        Ok(Self { sink, scenario, replay, full: arguments.seeds.is_none() })
    }

    /// Writes a run and the frames of its events. Returns the run's folder, if it has one.
    fn take(
        &mut self,
        verdict: &Verdict,
        wall: Duration,
        captured: Option<(&Path, &Frames)>,
    ) -> anyhow::Result<Option<PathBuf>> {
        if self.sink.is_idle() {
            return Ok(None);
        }
        let (scenario, replay) = (self.scenario, self.replay);
        let full = self.full || !verdict.passed();
        let mut folder = None;
        if let Some(dir) = self.sink.dir().filter(|_| full) {
            let written = match verdict {
                Verdict::Judged(outcome) => reports::write_outcome(dir, outcome, wall, replay),
                Verdict::Mismatch(runs) => reports::write_outcome(dir, &runs[0], wall, replay),
                Verdict::Crashed(crash) => reports::write_crash(dir, &scenario.name, crash, replay),
            };
            let written = written.with_context(|| cannot_write(dir));
            folder = self.sink.accept(written)?;
        }
        let events = folder.as_ref().map(|folder| format!("{}/events.jsonl", folder.display()));
        let detail = if full { Detail::Full } else { Detail::Brief };
        let mut case = match verdict {
            Verdict::Judged(outcome) => reports::case_of_outcome(outcome, wall, replay, detail, events),
            Verdict::Mismatch(runs) => reports::case_of_mismatch(runs, wall, replay),
            Verdict::Crashed(crash) => reports::case_of_crash(scenario, crash, wall, replay),
        };
        let written = self.sink.dir().zip(folder.as_ref()).map(|(dir, folder)| dir.join(folder));
        if let Some((file, frames)) = captured {
            if let Some(dir) = &written {
                let written = write_frames(dir, frames).with_context(|| cannot_write(dir));
                self.sink.accept(written)?;
            }
            let frames_file = folder.map(|folder| format!("{}/{FRAMES_FILE}", folder.display()));
            frames.add_to(&mut case, &file.display().to_string(), frames_file);
        }
        self.place(&mut case)?;
        self.sink.case(case)?;
        Ok(written)
    }
}

impl Runs<'_> {
    /// Lets a case point to a file that the user has: a shipped scenario is one in a checkout only. Otherwise a copy is
    /// written beside the result.
    fn place(&mut self, case: &mut Case) -> anyhow::Result<()> {
        let shipped = scenarios::shipped().find(|shipped| shipped.name == self.replay.scenario);
        let Some(shipped) = shipped.filter(|shipped| !Path::new(&shipped.path()).exists()) else { return Ok(()) };
        let Some(dir) = self.sink.dir().filter(|_| self.sink.is_named()) else {
            case.location = None;
            return Ok(());
        };
        let copy = dir.join(format!("{}.toml", shipped.name));
        if !copy.exists() {
            std::fs::write(&copy, shipped.text).with_context(|| cannot_write(dir))?;
        }
        if let Some(location) = &mut case.location {
            location.file = copy.display().to_string();
        }
        Ok(())
    }
}

fn write_frames(dir: &Path, frames: &Frames) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(dir.join(FRAMES_FILE))?);
    frames.write(&mut out)?;
    out.flush()
}
