//! `glare conformance`

mod network;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use conformance::dial::Tokio;
use conformance::stun::{self, Service};
use conformance::{Case, Dialect, Known, Level, Options, Report, Requirements, Selection, Target, select_from};
use reports::model::{self, Opening, Suite};

use network::Network;

/// A pattern matched no case.
const NO_CASE: u8 = 4;
/// The server cannot be reached.
const UNREACHABLE: u8 = 3;
/// Bad usage, or a bad file.
const USAGE: u8 = 2;

/// Ask any signaling server the questions of a dialect, and any STUN or TURN server those of its RFCs.
///
/// Exit codes: 0 all is well, 1 a case fails that is not known to, 2 bad usage or a bad file, 3 the server cannot be
/// reached, 4 no such case.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server: ws://HOST:PORT/PATH, or wss, http, https
    #[arg(long, required_unless_present_any = ["list", "stun", "turn"])]
    url: Option<Target>,
    #[command(flatten)]
    network: Network,
    /// The protocol it speaks: a shipped dialect's name, or a TOML file
    #[arg(long, default_value = "mesh", value_name = "NAME|FILE")]
    dialect: String,
    /// Only cases whose name matches, and what they need: `room/join-once`, `sec/*`
    #[arg(long = "case", value_name = "GLOB", num_args = 1..)]
    cases: Vec<String>,
    /// Only cases of a group: `room`, `ws`
    #[arg(long = "group", value_name = "GROUP", num_args = 1..)]
    groups: Vec<String>,
    /// Only what is at least so binding; what the dialect declares binds like a MUST
    #[arg(long, value_enum)]
    level: Option<AtLeast>,
    /// Also cases that wait out a lifetime
    #[arg(long)]
    slow: bool,
    /// Deviations that are known, with reasons: they still run, and one that passes is told
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Your own requirements, each with the cases that show it
    #[arg(long, value_name = "FILE")]
    requirements: Option<PathBuf>,
    /// Cases at the same time
    #[arg(long, value_name = "N", default_value = "8")]
    jobs: std::num::NonZeroUsize,
    /// Makes names of rooms and users; each run has its own unless told otherwise
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for the result, which `report` renders, and for the report as text
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Sends a header along with every request
    #[arg(long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// Sends `Authorization: Bearer TOKEN` along with every request
    #[arg(long, value_name = "TOKEN")]
    bearer: Option<String>,
    /// Takes any certificate, a self-signed one too
    #[arg(long)]
    insecure: bool,
    /// Seconds that the whole run may take; what it does not reach is not tested
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    deadline: u32,
    /// Lists the cases and asks nothing
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: one JSON object
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AtLeast {
    Must,
    Should,
    May,
}

/// Asks the cases and prints what was found.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let level = arguments.level.map(|level| match level {
        AtLeast::Must => Level::Must,
        AtLeast::Should => Level::Should,
        AtLeast::May => Level::May,
    });
    let selection =
        Selection { patterns: arguments.cases.clone(), groups: arguments.groups.clone(), level, slow: arguments.slow };
    arguments.network.check()?;
    let servers = arguments.network.servers();
    // Without a server the list is of all cases.
    let signaling = arguments.url.is_some() || servers.is_empty();
    let mut all = if signaling { conformance::cases().to_vec() } else { Vec::new() };
    all.extend(servers.iter().flat_map(|(_, cases)| *cases));
    if arguments.list && servers.is_empty() {
        all.extend([Service::Stun, Service::Turn].into_iter().flat_map(stun::cases));
    }
    let selected = match select_from(&all, &selection) {
        Ok(cases) => cases,
        Err(error) => return Ok(refuse(&error, NO_CASE)),
    };
    // What remains of it for one server.
    let of = |cases: &[&'static Case]| -> Vec<&'static Case> {
        selected.iter().filter(|case| cases.iter().any(|other| other.slug == case.slug)).copied().collect()
    };
    if arguments.list {
        let width = selected.iter().map(|case| case.slug.len()).max().unwrap_or_default();
        selected.iter().for_each(|case| anstream::println!("{:<width$}  {:<8}  {}", case.slug, case.level, case.asks));
        return Ok(ExitCode::SUCCESS);
    }
    let dialect = match Dialect::load(&arguments.dialect) {
        Ok(dialect) => Arc::new(dialect),
        Err(error) => return Ok(refuse(&error, USAGE)),
    };
    let (known, requirements) = match (
        arguments.known.as_deref().map(Known::load).transpose(),
        arguments.requirements.as_deref().map(Requirements::load).transpose(),
    ) {
        (Ok(known), Ok(requirements)) => (known, requirements),
        (Err(error), _) | (_, Err(error)) => return Ok(refuse(&error, USAGE)),
    };
    let target = match arguments.url.as_ref().map(|url| target(url, &arguments)).transpose() {
        Ok(target) => target,
        Err(error) => return Ok(refuse(&error, USAGE)),
    };
    let options = Options {
        deadline: Duration::from_secs(arguments.deadline.into()),
        jobs: arguments.jobs.get(),
        seed: arguments.seed.map_or_else(random, Ok)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut reports = Vec::new();
    let cases = of(conformance::cases());
    if let Some(target) = target.filter(|_| !cases.is_empty()) {
        match runtime.block_on(conformance::run(Tokio, &target, &dialect, &cases, &options)) {
            Ok(report) => reports.push((report, again(&arguments, &target), Some(&*arguments.dialect))),
            Err(error) => return Ok(refuse(&error, UNREACHABLE)),
        }
    }
    for (target, cases) in servers {
        let cases = of(cases);
        if cases.is_empty() {
            continue;
        }
        match runtime.block_on(arguments.network.ask(&target, &cases, &options)) {
            Ok(report) => {
                let again = format!("{} conformance {}", crate::program(), arguments.network.again(&target));
                reports.push((report, again, None));
            }
            Err(error) => return Ok(refuse(&error, UNREACHABLE)),
        }
    }
    // A name that still resolves would hold the exit up.
    runtime.shutdown_background();
    let one = reports.len() == 1;
    let mut well = true;
    for (report, again, dialect) in &mut reports {
        if let Some(known) = &known {
            known.mark(report);
        }
        if let Some(requirements) = &requirements {
            requirements.judge(report);
        }
        let text = report.text(again);
        match arguments.format {
            Format::Text => anstream::print!("{text}"),
            Format::Json => println!("{}", report.json()),
        }
        if let Some(dir) = &arguments.out {
            // One server's report is where it always was; of several each has a folder.
            let scheme = report.url.split_once(':').map_or("report", |(scheme, _)| scheme);
            let dir = if one { dir.clone() } else { dir.join(scheme) };
            write(&dir, report, &text, again, *dialect)
                .with_context(|| format!("cannot write to {}", dir.display()))?;
        }
        well &= report.passed() && report.requirements.iter().all(conformance::RequirementReport::met);
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The server, with what is sent along.
fn target(url: &Target, arguments: &Arguments) -> Result<Target, conformance::BadUrl> {
    with_headers(url.clone().insecure(arguments.insecure), &arguments.headers, arguments.bearer.as_deref())
}

/// Adds `NAME:VALUE` and a bearer token to what every request brings.
pub(crate) fn with_headers(
    mut target: Target,
    headers: &[String],
    bearer: Option<&str>,
) -> Result<Target, conformance::BadUrl> {
    for header in headers {
        target = target.with_header_line(header)?;
    }
    match bearer {
        Some(token) => target.with_header("Authorization", &format!("Bearer {token}")),
        None => Ok(target),
    }
}

/// The command that asks again, but for the case. Secrets stay out of it.
fn again(arguments: &Arguments, target: &Target) -> String {
    let mut again = format!("{} conformance --url {}", crate::program(), target.url());
    if arguments.dialect != "mesh" {
        again.push_str(&format!(" --dialect {}", arguments.dialect));
    }
    if arguments.insecure {
        again.push_str(" --insecure");
    }
    if !target.headers().is_empty() {
        again.push_str(" --header …");
    }
    again
}

/// Writes the result's folder. `again` asks one case again, `dialect` is the name or the file that was given.
fn write(dir: &Path, report: &Report, text: &str, again: &str, dialect: Option<&str>) -> std::io::Result<()> {
    let opening = Opening {
        version: model::VERSION,
        suite: Suite::Conformance,
        name: report.dialect.clone(),
        tool: crate::TOOL.to_owned(),
        target: report.url.clone(),
        // Not the arguments as they were given: a header may be a secret.
        command: again.to_owned(),
        started_ms: crate::unix_ms().saturating_sub(u64::try_from(report.took.as_millis()).unwrap_or_default()),
    };
    let file = dialect.map(|dialect| match conformance::shipped().any(|name| name == dialect) {
        true => format!("conformance/dialects/{dialect}.toml"),
        false => dialect.to_owned(),
    });
    let mut writer = reports::Writer::create(dir, &opening)?;
    reports::cases_of_report(report, again, file.as_deref()).into_iter().try_for_each(|case| writer.case(case))?;
    writer.close(report.took)?;
    std::fs::write(dir.join("report.txt"), anstream::adapter::strip_str(text).to_string())
}

/// A seed that no other run has.
pub(crate) fn random() -> anyhow::Result<u64> {
    let mut seed = [0; 8];
    #[allow(clippy::disallowed_methods)] // a real server: its rooms must not be those of another run
    getrandom::fill(&mut seed).context("no randomness for room names")?;
    Ok(u64::from_le_bytes(seed))
}

pub(crate) fn refuse(error: &dyn std::error::Error, code: u8) -> ExitCode {
    anstream::eprintln!("{}error{}: {error}", crate::RED.render(), crate::RED.render_reset());
    ExitCode::from(code)
}
