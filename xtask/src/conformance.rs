//! `glare conformance`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use conformance::dial::Tokio;
use conformance::{Dialect, Options, Target};

/// A pattern matched no case.
const NO_CASE: u8 = 4;
/// No WebSocket could be opened.
const UNREACHABLE: u8 = 3;

/// Ask any signaling server the questions of a dialect.
///
/// Exit codes: 0 all cases pass, 1 one does not, 2 bad usage, 3 the server cannot be reached, 4 no such case.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server: ws://HOST:PORT/PATH
    #[arg(long)]
    url: Target,
    /// The protocol it speaks
    #[arg(long, default_value = "mesh")]
    dialect: Dialect,
    /// Only cases whose name matches, and what they need: `room/join-once`, `sec/*`
    #[arg(long = "case", value_name = "GLOB", num_args = 1..)]
    cases: Vec<String>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Seconds that the whole run may take; what it does not reach is not tested
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    deadline: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: one JSON object
    Json,
}

/// Asks the cases and prints what was found.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let cases = match conformance::select(arguments.dialect, &arguments.cases) {
        Ok(cases) => cases,
        Err(error) => return Ok(refuse(&error, NO_CASE)),
    };
    let mut seed = [0; 8];
    #[allow(clippy::disallowed_methods)] // a real server: its rooms must not be those of another run
    getrandom::fill(&mut seed).context("no randomness for room names")?;
    let deadline = Duration::from_secs(arguments.deadline.into());
    let options = Options { deadline, seed: u64::from_le_bytes(seed), ..Options::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(conformance::run(Tokio, &arguments.url, arguments.dialect, &cases, &options));
    let report = match report {
        Ok(report) => report,
        Err(error) => return Ok(refuse(&error, UNREACHABLE)),
    };
    // A name that still resolves would hold the exit up.
    runtime.shutdown_background();
    match arguments.format {
        Format::Text => {
            let again = format!("{} conformance --url {}", crate::program(), arguments.url.url());
            anstream::print!("{}", report.text(&again));
        }
        Format::Json => println!("{}", report.json()),
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn refuse(error: &dyn std::error::Error, code: u8) -> ExitCode {
    anstream::eprintln!("{}error{}: {error}", crate::RED.render(), crate::RED.render_reset());
    ExitCode::from(code)
}
