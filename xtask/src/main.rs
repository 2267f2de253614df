//! The command line: `cargo xtask …` in a checkout, `glare …` once installed.
//!
//! Exit codes: 0 all is well, 1 a promise is broken, 2 bad usage or a bad file; `conformance` and `load` add their own.

mod conformance;
mod dialect;
mod diff;
mod history;
mod live;
mod load;
mod mutants;
mod report;
mod scenarios;
mod serve;
mod shell;
mod sim;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reproduces the failures of WebRTC signaling, and finds them in servers.
#[derive(Parser)]
#[command(name = "glare", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays a scenario in virtual time and judges it
    Sim(sim::Arguments),
    /// Lists the scenarios that can be played by name
    Scenarios,
    /// Runs the reference signaling and STUN server on real sockets
    Serve(Box<serve::Settings>),
    /// Asks any signaling, STUN or TURN server what it should do
    Conformance(Box<conformance::Arguments>),
    /// Says what the suite understands of a dialect file
    Dialect(dialect::Arguments),
    /// Renders a result for people or for CI
    Report(report::Arguments),
    /// Compares a result with one before it
    Diff(diff::Arguments),
    /// Keeps results over time and shows how they went
    History(history::Arguments),
    /// Prints completions for a shell, to be put where it looks for them
    Completions(shell::Completions),
    /// Prints the manual page
    Man,
    /// Puts load on any signaling server and measures it
    Load(Box<load::Arguments>),
    /// Tests the conformance suite itself, with servers that are broken on purpose
    Mutants(mutants::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Sim(arguments) => sim::run(arguments),
        Command::Scenarios => scenarios::run(),
        Command::Serve(settings) => serve::run(*settings),
        Command::Conformance(arguments) => conformance::run(*arguments),
        Command::Dialect(arguments) => dialect::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::History(arguments) => history::run(arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man => shell::man(),
        Command::Load(arguments) => load::run(*arguments),
        Command::Mutants(arguments) => mutants::run(arguments),
    };
    done.unwrap_or_else(|error| {
        anstream::eprintln!("{}error{}: {error:#}", RED.render(), RED.render_reset());
        ExitCode::from(2)
    })
}

const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();

/// How this program was called: what a person pastes to call it again.
fn program() -> String {
    // Cargo names itself to what it runs.
    if std::env::var_os("CARGO").is_some() { "cargo xtask".to_owned() } else { "glare".to_owned() }
}

/// This program and its version, as results name it.
const TOOL: &str = concat!("glare ", env!("CARGO_PKG_VERSION"));

/// This very call, to be pasted.
fn command() -> String {
    reports::command_line(&program(), std::env::args().skip(1))
}

/// The wall clock, milliseconds since 1970.
#[allow(clippy::disallowed_methods)] // when a person called the program, outside of every simulation
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
