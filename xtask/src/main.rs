//! The command line: `cargo xtask …` in a checkout, `glare …` once installed.
//!
//! Exit codes: 0 everything passed, 1 a check failed, 2 bad usage or a bad file; `conformance` and `load` have more.

#[macro_use]
mod output;

mod arguments;
mod ask;
mod campaign;
mod conformance;
mod dialect;
mod diff;
mod exhaustive;
mod exit;
mod history;
mod interrupt;
mod last;
mod live;
mod load;
mod matrix;
mod mutants;
mod nat_matrix;
mod nat_probe;
mod pool;
mod progress;
mod report;
mod scenarios;
mod serve;
mod server_program;
mod shell;
mod shrink;
mod sim;
mod sink;
mod usage;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Reproduce WebRTC signaling failures, and find them in servers.
#[derive(Parser)]
#[command(name = "glare", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play a scenario in virtual time and judge it
    Sim(sim::Arguments),
    /// Search for violations with generated stories
    Campaign(Box<campaign::Arguments>),
    /// Play the stories of campaigns that wait in a queue
    Worker(campaign::WorkerArguments),
    /// Shrink a failing run to the smallest scenario that fails in the same way
    Shrink(shrink::Arguments),
    /// Find events in stored runs, and events that others precede or follow
    Ask(ask::Arguments),
    /// List the shipped scenarios
    Scenarios(scenarios::Arguments),
    /// Run the reference signaling, STUN and TURN server on real sockets
    Serve(Box<serve::Settings>),
    /// Test a signaling, STUN or TURN server against its specification
    Conformance(Box<conformance::Arguments>),
    /// Check a dialect file and explain how the suite reads it
    Dialect(dialect::Arguments),
    /// Render a result for people or for CI
    Report(report::Arguments),
    /// Compare a result with an earlier one
    Diff(diff::Arguments),
    /// Show which servers pass which cases, as one page
    Matrix(matrix::Arguments),
    /// Connect two peers behind each pair of NAT profiles, and compare with the prediction
    NatMatrix(nat_matrix::Arguments),
    /// Find out what the NATs of this machine do, with a STUN server
    NatProbe(nat_probe::Arguments),
    /// Keep results over time and show the trend
    History(history::Arguments),
    /// Print a completion script for a shell
    Completions(shell::Completions),
    /// Print the manual page
    Man,
    /// Put load on a signaling server and measure it
    Load(Box<load::Arguments>),
    /// Test the conformance suite itself, with servers that are broken on purpose
    Mutants(mutants::Arguments),
}

fn main() -> ExitCode {
    // Only this program calls it, so neither help nor completions have it.
    if std::env::args_os().nth(1).is_some_and(|word| word == campaign::PLAY_ALONE) {
        return campaign::play_alone().unwrap_or_else(|error| exit::report_error(&error, exit::USAGE));
    }
    let arguments = Arguments::try_parse().unwrap_or_else(|error| usage::exit(&serve::without_secrets(error)));
    let done = match arguments.command {
        Command::Sim(arguments) => sim::run(arguments),
        Command::Campaign(arguments) => campaign::run(*arguments),
        Command::Worker(arguments) => campaign::worker(&arguments),
        Command::Shrink(arguments) => shrink::run(&arguments),
        Command::Ask(arguments) => ask::run(&arguments),
        Command::Scenarios(arguments) => scenarios::run(&arguments),
        Command::Serve(settings) => serve::run(*settings),
        Command::Conformance(arguments) => conformance::run(*arguments),
        Command::Dialect(arguments) => dialect::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Matrix(arguments) => matrix::run(arguments),
        Command::NatMatrix(arguments) => nat_matrix::run(arguments),
        Command::NatProbe(arguments) => nat_probe::run(arguments),
        Command::History(arguments) => history::run(arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man => shell::man(),
        Command::Load(arguments) => load::run(*arguments),
        Command::Mutants(arguments) => mutants::run(arguments),
    };
    done.unwrap_or_else(|error| exit::report_error(&error, exit::USAGE))
}

/// The name under which this program was called, for commands to paste.
fn program() -> String {
    // A launcher sets this variable where the program is not in PATH.
    if let Ok(name) = std::env::var("GLARE_PROGRAM") {
        return name;
    }
    // Cargo sets this variable for the programs that it runs.
    if std::env::var_os("CARGO").is_some() { "cargo xtask".to_owned() } else { "glare".to_owned() }
}

/// The command line of this call, in a form to paste.
fn command() -> String {
    reports::command_line(&program(), std::env::args().skip(1))
}

/// The wall clock, milliseconds since 1970.
#[allow(clippy::disallowed_methods)] // the time of the call, outside of every simulation
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The real clock.
#[allow(clippy::disallowed_methods)] // for durations outside of every simulation
fn now() -> Instant {
    Instant::now()
}

/// Runs a function and measures how long it takes.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = now();
    (work(), start.elapsed())
}

/// A random seed.
fn random() -> anyhow::Result<u64> {
    let mut seed = [0; 8];
    #[allow(clippy::disallowed_methods)] // a real server: the rooms of two runs must differ
    getrandom::fill(&mut seed).context("the system provides no randomness for room names")?;
    Ok(u64::from_le_bytes(seed))
}
