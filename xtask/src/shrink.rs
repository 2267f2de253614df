//! `glare shrink`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reports::Replay;
use sim::campaign::shrink::{NoFailure, Shrunk, Size, Status, shrink};

use crate::arguments::minutes;
use crate::exit::UNREACHABLE;
use crate::interrupt::Interrupt;
use crate::progress::StatusLine;
use crate::server_program::{HeartbeatFlag, ServerFlags};

/// Shrink a failing run to the smallest scenario that fails in the same way.
///
/// Every attempt is one run, so it takes as long as some hundred runs; a server program may need a second for each. The
/// result is a scenario file that depends on no seed if it can be had without.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A shipped scenario's name, or a TOML file
    #[arg(value_name = "NAME|FILE", required_unless_present = "scenario", conflicts_with = "scenario")]
    file: Option<String>,
    /// The same, as in `sim`
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// Dialect that all actors speak: a shipped dialect's name, or a TOML file [default: that of each actor's role]
    #[arg(long, value_name = "NAME|FILE")]
    dialect: Option<String>,
    #[command(flatten)]
    program: ServerFlags,
    #[command(flatten)]
    heartbeat: HeartbeatFlag,
    /// Seed of the failing run
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Oracle whose promise must stay broken [default: that of the first violation]
    #[arg(long, value_name = "NAME")]
    oracle: Option<String>,
    /// Most time to search; then the smallest scenario so far is written
    #[arg(long, value_name = "N", default_value = "1", value_parser = minutes)]
    minutes: Duration,
    /// File for the result [default: NAME-shrunk.toml]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// No progress line
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let called = arguments.file.as_ref().or(arguments.scenario.as_ref()).context("name a scenario")?;
    let mut scenario = scenarios::load(called)?;
    scenario.server.dialect = arguments.dialect.clone().or(scenario.server.dialect);
    scenario.server.program = arguments.program.program(scenario.server.program.take())?;
    arguments.heartbeat.set(&mut scenario);
    let scenario = crate::sim::fitting(scenario)?;
    sim::run::check_program(&scenario).map_err(|wrong| anyhow!(wrong))?;
    if let Some(oracle) = arguments.oracle.as_deref().filter(|oracle| sim::oracle::promise(oracle).is_none()) {
        bail!("there is no oracle `{oracle}`: `sim` names the oracle of each violation");
    }
    // A panic inside a simulation is a finding, and is reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    let interrupt = Interrupt::listen()?;
    let mut line = StatusLine::on_terminal(!arguments.quiet);
    let start = crate::now();
    let mut watch = |status: Status| {
        line.say(|| format!("{} runs · {}", status.played, size(&status.size)));
        let is_over = interrupt.is_set() || start.elapsed() >= arguments.minutes;
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let shrunk = shrink(&scenario, arguments.seed, arguments.oracle.as_deref(), &mut watch);
    line.finish();
    let shrunk = match shrunk {
        Ok(shrunk) => shrunk,
        Err(NoFailure::Unreachable(why)) => return Ok(crate::exit::report_error(&why, UNREACHABLE)),
        Err(why) => {
            errln!("{}", nothing(&scenario.name, arguments, &why));
            return Ok(ExitCode::FAILURE);
        }
    };
    let file = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.toml", shrunk.scenario.name)));
    let scenario = file.display().to_string();
    let replay = Replay { program: crate::program(), scenario, options: Vec::new() }.line(arguments.seed);
    write(&file, &shrunk.file(&replay))?;
    out!("{}", text(&scenario_name(called), &shrunk, start.elapsed()));
    if !shrunk.finished {
        let why = if interrupt.is_set() { "Ctrl-C" } else { "--minutes" };
        outln!("The search was ended by {why}: a longer one may find something smaller.");
    }
    outln!("Written to {}\nReplay  {replay}", file.display());
    Ok(interrupt.or(ExitCode::SUCCESS))
}

fn scenario_name(called: &str) -> String {
    Path::new(called).file_stem().map_or_else(|| called.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Why there is nothing to shrink.
fn nothing(name: &str, arguments: &Arguments, why: &NoFailure) -> String {
    let seed = arguments.seed;
    match (why, &arguments.oracle) {
        (NoFailure::OtherOracles(broken), Some(oracle)) => {
            let broken: Vec<_> = broken.iter().map(|oracle| format!("`{oracle}`")).collect();
            format!("{name} does not break `{oracle}` with seed {seed}, but {}: nothing to shrink", broken.join(", "))
        }
        _ => format!(
            "{name} breaks no promise with seed {seed}: nothing to shrink; `sim --seeds A..B` looks for a seed that does"
        ),
    }
}

/// Writes the result. A file that is not the result of an earlier call is not overwritten.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    const BEGINNING: &str = "# shrunk from ";
    debug_assert!(text.starts_with(BEGINNING));
    let is_others = |before: String| !before.starts_with(BEGINNING);
    if std::fs::read_to_string(file).is_ok_and(is_others) {
        bail!("{} is there already and was not written by `shrink`: name another file with --out", file.display());
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn text(from: &str, shrunk: &Shrunk, wall: Duration) -> String {
    let [before, after] = &shrunk.sizes;
    let Shrunk { failure, played, .. } = shrunk;
    let fewer = 100.0 * (1.0 - after.events as f64 / before.events.max(1) as f64);
    let mut text = format!("SHRUNK  {from}: {}\n{}\n\n", failure.oracle, failure.message);
    text += &format!("from  {}\nto    {}\n", size(before), size(after));
    text += &format!("{fewer:.1} % fewer events, after {played} runs in {:.0} s\n", wall.as_secs_f64());
    if !shrunk.needed.is_empty() {
        text += "\nIt does not happen without\n";
        text.extend(shrunk.needed.iter().map(|part| format!("  {part}\n")));
    }
    let (fail, all) = shrunk.other_seeds;
    text += &match fail == all {
        true => format!("\nIt depends on no seed: all of {all} others break it, too.\n"),
        false => format!("\nIt depends on the seed: {fail} of {all} others break it.\n"),
    };
    text
}

/// `2 actors, 1 network, 3 steps, 1 packet, 20s, 1234 events`
fn size(size: &Size) -> String {
    let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let packets = (size.packets > 0).then(|| count(size.packets, "packet"));
    let parts = [count(size.actors, "actor"), count(size.networks, "network"), count(size.steps, "step")];
    let end = [scenarios::show_time(size.duration), count(size.events, "event")];
    parts.into_iter().chain(packets).chain(end).collect::<Vec<_>>().join(", ")
}
