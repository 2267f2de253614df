//! `glare load`

mod churn;
mod client;
mod idle;
mod pacer;
mod plan;
mod process;
mod receipts;
mod report;
mod run;
mod shared;
mod stop;
mod token;

use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use conformance::{Dialect, Target, Unreachable};

use crate::arguments::{Format, Requests};
use crate::exit::{UNREACHABLE, USAGE, report_error};
use crate::random;
use plan::{Mode, Pace, Plan};
use report::Report;
use stop::Stop;

/// Ctrl-C before anything was measured.
const INTERRUPTED: u8 = 130;

/// Put load on a signaling server and measure it.
///
/// Without --rate, --idle, --stalled or --churn this is a closed loop: each sender keeps --window messages in flight.
///
/// Exit codes: 0 done, 1 messages were lost, duplicated, reordered or misdelivered, 2 bad usage or a bad file, 3 the
/// server cannot be reached, 130 Ctrl-C before anything was measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// URL of the server: ws://HOST:PORT/PATH, or wss, http, https
    #[arg(long)]
    url: Target,
    /// Protocol of the server: a shipped dialect's name, or a TOML file
    #[arg(long, default_value = "mesh", value_name = "NAME|FILE")]
    dialect: String,
    /// Closed loop: messages in flight per sender; each delivery to the next peer releases one more [default: 8]
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    window: Option<NonZeroU32>,
    /// Open loop: messages per second over all senders; latency is measured from when each was due
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Connect and join N idle clients; with --pid, report memory per connection
    #[arg(long, value_name = "N", group = "mode", conflicts_with_all = ["window", "rate"])]
    idle: Option<NonZeroUsize>,
    /// Second phase: N more clients join and stop reading, to measure the impact on the others; an open loop [default
    /// rate: 2000]
    #[arg(long, value_name = "N", group = "mode", conflicts_with = "window")]
    stalled: Option<NonZeroUsize>,
    /// Connect, join, leave and close N clients per second
    #[arg(long, value_name = "N", group = "mode", conflicts_with_all = ["window", "rate"], value_parser = positive, allow_negative_numbers = true)]
    churn: Option<f64>,
    /// Number of rooms [default: 10, or 1 if the dialect has no rooms]
    #[arg(long, value_name = "N")]
    rooms: Option<NonZeroUsize>,
    /// Members per room [default: 6, or as many as the dialect allows; 60 if the dialect has no rooms]
    #[arg(long, value_name = "N")]
    members: Option<NonZeroUsize>,
    /// Size of a message's payload, as JSON
    #[arg(long, value_name = "BYTES", default_value_t = 300)]
    bytes: usize,
    /// Length of each measured phase
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds, allow_negative_numbers = true)]
    seconds: f64,
    /// Warm-up before the first phase
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds, allow_negative_numbers = true)]
    warm_up: f64,
    /// Process IDs of the server, if it runs on this machine; report its CPU per delivery and its memory
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',')]
    pids: Vec<u32>,
    /// Number of threads of the load generator
    #[arg(long, value_name = "N", default_value = "1")]
    threads: NonZeroUsize,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    requests: Requests,
}

fn positive(text: &str) -> anyhow::Result<f64> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0 && *number <= 1e9);
    number.context("is not a number greater than 0")
}

fn seconds(text: &str) -> anyhow::Result<f64> {
    let number = text.parse().ok().filter(|number: &f64| (0.0..=86_400.0).contains(number));
    number.context("is not a number of seconds from 0 to 86400")
}

/// Puts load on a server and prints what was measured.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let dialect = match Dialect::load(&arguments.dialect) {
        Ok(dialect) => dialect,
        Err(error) => return Ok(report_error(&error, USAGE)),
    };
    let target = match arguments.requests.to(&arguments.url) {
        Ok(target) => target,
        Err(error) => return Ok(report_error(&error, USAGE)),
    };
    let plan = Plan::new(&arguments, target, dialect, random()?)?;
    // 64 more than the connections, for the program's own files and an adapter's pipes.
    let files = plan.connections() as u64 + 64;
    match rlimit::increase_nofile_limit(files) {
        Ok(limit) if limit < files => {
            anyhow::bail!("{files} open files are needed, but the system allows {limit}: see `ulimit -Hn`")
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(plan.threads).enable_all().build()?;
    let report = runtime.block_on(async {
        let stop = Stop::on_ctrl_c();
        tokio::spawn(async move { (measure(&plan, &stop).await, plan) }).await
    });
    let (report, plan) = report?;
    // A pending name resolution would otherwise delay the exit.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match report {
        Err(error) => Ok(report_error(&error, UNREACHABLE)),
        Ok(None) => {
            errln!("stopped before anything was measured");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Ok(Some(report)) => {
            match arguments.format {
                Format::Text => out!("{}", report.text(&plan)),
                Format::Json => outln!("{}", report.json(&plan)),
            }
            Ok(if report.kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

async fn measure(plan: &Plan, stop: &Stop) -> Result<Option<Report>, Unreachable> {
    Ok(match plan.mode {
        Mode::Talk(pace) => run::run(plan, pace, 0, stop).await?.map(Report::Talk),
        Mode::Stalled { clients, per_second } => {
            run::run(plan, Pace::Open { per_second }, clients, stop).await?.map(Report::Talk)
        }
        Mode::Idle { clients } => idle::run(plan, clients, stop).await?.map(Report::Idle),
        Mode::Churn { per_second } => churn::run(plan, per_second, stop).await?.map(Report::Churn),
    })
}
