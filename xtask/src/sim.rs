//! `glare sim`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use reports::model::{self, Opening, Suite};
use reports::{Detail, Frames, Replay, Seed, Sweep, Writer};
use scenarios::Scenario;
use sim::run::{Crash, Outcome};

/// In a run's folder, which event is which frame of its capture.
const FRAMES_FILE: &str = "frames.jsonl";

/// Play a scenario in virtual time and judge it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A shipped scenario's name, or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    scenario: String,
    /// Seed of the run: the same seed gives the same run, byte for byte
    #[arg(long, default_value_t = 1, conflicts_with = "seeds")]
    seed: u64,
    /// Seeds of many runs, the first and the one after the last
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,
    /// Runs at the same time [default: one a core]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Runs each seed twice; on a mismatch shows the first differing event
    #[arg(long)]
    check_determinism: bool,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Prints nothing but what is wrong, and no progress
    #[arg(long, short)]
    quiet: bool,
    /// Folder for the result, which `report` renders, and for report and events of the run; of many seeds, of those that fail
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// File for all packets of the run, pcapng: an interface a network, for Wireshark; the keys of its DTLS are in it and beside it
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    pcap: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: the result as JSON Lines, an opening record, one a run, a closing record
    Json,
}

/// `A..B`, A being the first and B the one after the last.
#[derive(Clone, Debug)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a range of seeds such as `0..1000`");
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let (first, end) = (first.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
        if first < end { Ok(Self(first..end)) } else { Err(format!("`{text}` has no seed in it")) }
    }
}

/// What came of one seed.
enum Verdict {
    Judged(Box<Outcome>),
    Crashed(Crash),
    Mismatch(Box<[Outcome; 2]>),
}

impl Verdict {
    fn passed(&self) -> bool {
        matches!(self, Self::Judged(outcome) if outcome.passed())
    }
}

/// Plays one seed or many.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let scenario = Arc::new(scenarios::load(&arguments.scenario)?);
    let replay = Replay { program: crate::program(), scenario: arguments.scenario.clone() };
    // A panic inside a simulation is a finding, and is reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    let passed = match arguments.seeds.clone() {
        None => one(&arguments, &scenario, &replay)?,
        Some(Seeds(seeds)) => many(&arguments, &scenario, seeds, &replay)?,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(arguments: &Arguments, scenario: &Arc<Scenario>, replay: &Replay) -> anyhow::Result<bool> {
    let mut sink = Sink::open(arguments, scenario)?;
    let start = now();
    let (verdict, wall) = play(scenario, arguments.seed, arguments.check_determinism);
    // Packets are kept in a run of its own, which is the same: the time of the first is what a person waits for.
    let wanted = arguments.pcap.as_deref().filter(|_| !matches!(verdict, Verdict::Crashed(_)));
    let captured = wanted.map(|file| {
        let frames = capture(scenario, &verdict, arguments.seed, file)
            .with_context(|| format!("cannot write {}", file.display()));
        frames.map(|frames| (file, frames))
    });
    let captured = captured.transpose()?;
    let written =
        sink.take(scenario, &verdict, wall, replay, captured.as_ref().map(|(file, frames)| (*file, frames)))?;
    sink.close(start.elapsed())?;
    if arguments.format == Format::Text && !(arguments.quiet && verdict.passed()) {
        match &verdict {
            Verdict::Judged(outcome) => {
                anstream::print!("{}", reports::outcome(outcome, wall, replay, reports::terminal_width()));
                if arguments.check_determinism {
                    anstream::println!("Played twice: both runs have hash {}", outcome.hash);
                }
            }
            Verdict::Crashed(crash) => anstream::print!("{}", reports::crash(crash, &scenario.name, replay)),
            Verdict::Mismatch(runs) => anstream::print!("{}", reports::mismatch(&runs[0], &runs[1], replay)),
        }
        if let Some(written) = written {
            anstream::println!("Written to {}", written.display());
        }
        if let Some((file, _)) = captured {
            anstream::println!(
                "Packets written to {}, the keys of DTLS in it and in {}",
                file.display(),
                keys(file).display()
            );
        }
    }
    Ok(verdict.passed())
}

fn many(arguments: &Arguments, scenario: &Arc<Scenario>, seeds: Range<u64>, replay: &Replay) -> anyhow::Result<bool> {
    let jobs = arguments.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from);
    let bar = if arguments.quiet { ProgressBar::hidden() } else { ProgressBar::new(seeds.end - seeds.start) };
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left{msg}").expect("a valid template"),
    );
    let mut sink = Sink::open(arguments, scenario)?;
    let start = now();
    let next = AtomicU64::new(seeds.start);
    let (results, rest) = std::sync::mpsc::channel();
    let mut sweep = Sweep {
        scenario: scenario.name.clone(),
        seeds: Vec::new(),
        wall: Duration::ZERO,
        twice: arguments.check_determinism,
    };
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for _ in 0..jobs {
            let (results, next, end) = (results.clone(), &next, seeds.end);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= end {
                        return;
                    }
                    let (verdict, wall) = play(scenario, seed, arguments.check_determinism);
                    if results.send((seed, verdict, wall)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let mut failed = 0;
        for (seed, verdict, wall) in rest {
            let kept = match &verdict {
                Verdict::Judged(outcome) => Seed::of(outcome),
                Verdict::Crashed(crash) => Seed::crashed(crash),
                Verdict::Mismatch(_) => Seed::not_deterministic(seed),
            };
            if !kept.passed() {
                failed += 1;
                bar.set_message(format!(", {failed} failed"));
            }
            sink.take(scenario, &verdict, wall, replay, None)?;
            sweep.seeds.push(kept);
            bar.inc(1);
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    sweep.finish(start.elapsed());
    sink.close(sweep.wall)?;
    if arguments.format == Format::Text && !(arguments.quiet && sweep.passed()) {
        anstream::print!("{}", sweep.text(replay, reports::terminal_width()));
    }
    Ok(sweep.passed())
}

/// Plays a seed, twice if asked, and takes the time of the first.
fn play(scenario: &Arc<Scenario>, seed: u64, twice: bool) -> (Verdict, Duration) {
    let start = now();
    let first = sim::run::run(scenario, seed);
    let wall = start.elapsed();
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

/// Where the keys of a capture are written to.
fn keys(capture: &Path) -> PathBuf {
    capture.with_extension("keys")
}

/// Writes all packets of a run, and says which event of it is which.
fn capture(scenario: &Arc<Scenario>, verdict: &Verdict, seed: u64, file: &Path) -> io::Result<Frames> {
    let Ok((outcome, capture)) = sim::run::run_captured(scenario, seed) else {
        return Err(io::Error::other("the run that keeps its packets crashed, and the one before did not"));
    };
    let mut out = BufWriter::new(File::create(file)?);
    reports::write_pcap(&mut out, &capture, &outcome.record)?;
    out.flush()?;
    std::fs::write(keys(file), capture.keys.text())?;
    match verdict {
        Verdict::Judged(run) if run.hash == outcome.hash => Ok(Frames::of(&outcome.record, &capture)),
        Verdict::Judged(_) => {
            Err(io::Error::other("these are the packets of another run: --check-determinism shows where the two part"))
        }
        // Of two runs that differ nobody knows whose packets these are.
        Verdict::Mismatch(_) | Verdict::Crashed(_) => Ok(Frames::default()),
    }
}

/// Where runs are written to: a folder, standard output, both or neither.
struct Sink {
    dir: Option<(PathBuf, Writer<BufWriter<File>>)>,
    stdout: Option<Writer<io::Stdout>>,
    /// Whether everything is kept of a run that passes.
    full: bool,
}

impl Sink {
    fn open(arguments: &Arguments, scenario: &Scenario) -> anyhow::Result<Self> {
        let opening = Opening {
            version: model::VERSION,
            suite: Suite::Sim,
            name: scenario.name.clone(),
            tool: crate::TOOL.to_owned(),
            target: "reference server".to_owned(),
            command: crate::command(),
            started_ms: crate::unix_ms(),
        };
        let dir = arguments.out.as_ref().map(|dir| {
            let writer = Writer::create(dir, &opening).with_context(|| format!("cannot write to {}", dir.display()));
            writer.map(|writer| (dir.clone(), writer))
        });
        let stdout = (arguments.format == Format::Json).then(|| Writer::new(io::stdout(), &opening));
        Ok(Self { dir: dir.transpose()?, stdout: stdout.transpose()?, full: arguments.seeds.is_none() })
    }

    /// Writes a run, and of which frames of a capture its events are; returns its own folder, if it has one.
    fn take(
        &mut self,
        scenario: &Scenario,
        verdict: &Verdict,
        wall: Duration,
        replay: &Replay,
        captured: Option<(&Path, &Frames)>,
    ) -> anyhow::Result<Option<PathBuf>> {
        if self.dir.is_none() && self.stdout.is_none() {
            return Ok(None);
        }
        let full = self.full || !verdict.passed();
        let mut folder = None;
        if let Some((dir, _)) = self.dir.as_ref().filter(|_| full) {
            let written = match verdict {
                Verdict::Judged(outcome) => reports::write_outcome(dir, outcome, wall, replay),
                Verdict::Mismatch(runs) => reports::write_outcome(dir, &runs[0], wall, replay),
                Verdict::Crashed(crash) => reports::write_crash(dir, &scenario.name, crash, replay),
            };
            folder = Some(written.with_context(|| format!("cannot write to {}", dir.display()))?);
        }
        let events = folder.as_ref().map(|folder| format!("{}/events.jsonl", folder.display()));
        let detail = if full { Detail::Full } else { Detail::Brief };
        let mut case = match verdict {
            Verdict::Judged(outcome) => reports::case_of_outcome(outcome, wall, replay, detail, events),
            Verdict::Mismatch(runs) => reports::case_of_mismatch(runs, wall, replay),
            Verdict::Crashed(crash) => reports::case_of_crash(scenario, crash, wall, replay),
        };
        let written = self.dir.as_ref().zip(folder.as_ref()).map(|((dir, _), folder)| dir.join(folder));
        if let Some((file, frames)) = captured {
            if let Some(dir) = &written {
                write_frames(dir, frames).with_context(|| format!("cannot write to {}", dir.display()))?;
            }
            let frames_file = folder.map(|folder| format!("{}/{FRAMES_FILE}", folder.display()));
            frames.tell(&mut case, &file.display().to_string(), frames_file);
        }
        if let Some(stdout) = &mut self.stdout {
            stdout.case(case.clone())?;
        }
        if let Some((dir, writer)) = &mut self.dir {
            writer.case(case).with_context(|| format!("cannot write to {}", dir.display()))?;
        }
        Ok(written)
    }

    fn close(self, wall: Duration) -> anyhow::Result<()> {
        if let Some(stdout) = self.stdout {
            stdout.close(wall)?;
        }
        if let Some((dir, writer)) = self.dir {
            writer.close(wall).with_context(|| format!("cannot write to {}", dir.display()))?;
        }
        Ok(())
    }
}

fn write_frames(dir: &Path, frames: &Frames) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(dir.join(FRAMES_FILE))?);
    frames.write(&mut out)?;
    out.flush()
}

#[allow(clippy::disallowed_methods)] // the time that a person waits, outside of every simulation
fn now() -> Instant {
    Instant::now()
}
