//! `glare conformance replay`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::{BadRecording, Dialect, Played, Recording, Target, Unplayable};

use super::simulated::{self, Conditions, SimulatedServer};
use crate::arguments::Requests;
use crate::exit::{UNREACHABLE, USAGE, report_error};
use crate::server_program::ServerFlags;

/// Replay a recorded case, and compare the server's messages with the recording.
///
/// Exit codes: 0 no difference, 1 a difference, 2 bad usage or a bad file, 3 the server cannot be reached.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Recording that `conformance --record` wrote
    file: PathBuf,
    /// URL of the server to test [default: the recorded one]
    #[arg(long)]
    url: Option<Target>,
    /// Test the reference server inside the simulator, or with --server a program of yours
    #[arg(long, conflicts_with_all = ["url", "headers", "bearer", "insecure"])]
    sim: bool,
    /// Seed of the simulation
    #[arg(long, requires = "sim", default_value_t = 1)]
    seed: u64,
    /// Delay of each message in the simulator [default: 1ms]
    #[arg(long, requires = "sim", value_name = "TIME", value_parser = scenarios::time)]
    delay: Option<Duration>,
    /// Share of packets lost in the simulator: `1%`
    #[arg(long, requires = "sim", value_name = "SHARE", value_parser = scenarios::share)]
    loss: Option<u32>,
    /// Dialect of the recording: a shipped dialect's name, or a TOML file [default: the shipped dialect with the
    /// recorded name]
    #[arg(long, value_name = "NAME|FILE")]
    dialect: Option<String>,
    #[command(flatten)]
    program: ServerFlags,
    #[command(flatten)]
    requests: Requests,
}

/// Replays a recording.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let recording = match Recording::load(&arguments.file) {
        Ok(recording) => recording,
        Err(error) => return Ok(report_error(&error, USAGE)),
    };
    let played = match play(&arguments, recording) {
        Ok(played) => played,
        Err(error) => return Ok(report_error(&*error, USAGE)),
    };
    match played {
        Ok(played) => {
            out!("{}", played.text());
            Ok(if played.differs().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(Unplayable::Bad(error)) => {
            Ok(report_error(&BadRecording::of(&arguments.file.display().to_string(), &error), USAGE))
        }
        Err(error) => Ok(report_error(&error, UNREACHABLE)),
    }
}

/// # Errors
/// A dialect, URL or header is not valid.
fn play(arguments: &Arguments, recording: Recording) -> Result<Result<Played, Unplayable>, Box<dyn std::error::Error>> {
    let name = arguments.dialect.clone().unwrap_or_else(|| recording.head.dialect.clone());
    if arguments.dialect.is_none() && !conformance::shipped().any(|shipped| shipped == name) {
        let hint = "only signaling can be replayed; if it is your own dialect, give its file: --dialect FILE";
        return Err(anyhow::anyhow!(
            "{}: a recording of `{name}`, which is not a shipped dialect: {hint}",
            arguments.file.display()
        )
        .into());
    }
    let simulated = arguments.delay.is_some() || arguments.loss.is_some();
    if simulated && !arguments.sim {
        return Err(anyhow::anyhow!("--delay and --loss have no effect without --sim").into());
    }
    if arguments.program.program(None)?.is_some() && !arguments.sim {
        return Err(anyhow::anyhow!(super::NEEDS_SIM).into());
    }
    let recorded = || recording.head.url.split('?').next().unwrap_or_default().parse::<Target>();
    if arguments.url.is_none() && !arguments.sim && recorded()?.host() == simulated::PROGRAM_NAME {
        return Err(anyhow::anyhow!(
            "the recording is of a server program in the simulated world: name it with --sim --server"
        )
        .into());
    }
    if arguments.sim || (arguments.url.is_none() && recorded()?.host() == simulated::NAME) {
        let server = match arguments.program.program(None)? {
            Some(program) => SimulatedServer::program(program, &name)?,
            None => SimulatedServer::speaking(&name)?,
        };
        let delay = arguments.delay.unwrap_or(simulated::DELAY);
        let conditions = Conditions { seed: arguments.seed, delay, loss_ppm: arguments.loss.unwrap_or_default() };
        return Ok(simulated::replay(&server, recording, conditions)?);
    }
    let dialect = Arc::new(Dialect::load(&name)?);
    let url = arguments.url.clone().map_or_else(recorded, Ok)?;
    let target = arguments.requests.to(&url)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let played = runtime.block_on(conformance::replay(Tokio, &target, &dialect, &recording));
    runtime.shutdown_background();
    Ok(played)
}
