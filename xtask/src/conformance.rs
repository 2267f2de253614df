//! `glare conformance`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use conformance::dial::Tokio;
use conformance::{Dialect, Known, Level, Options, Report, Requirements, Selection, Target};
use reports::model::{self, Opening, Suite};

/// A pattern matched no case.
const NO_CASE: u8 = 4;
/// The server cannot be reached.
const UNREACHABLE: u8 = 3;
/// Bad usage, or a bad file.
const USAGE: u8 = 2;

/// Ask any signaling server the questions of a dialect.
///
/// Exit codes: 0 all is well, 1 a case fails that is not known to, 2 bad usage or a bad file, 3 the server cannot be
/// reached, 4 no such case.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server: ws://HOST:PORT/PATH, or wss, http, https
    #[arg(long, required_unless_present = "list")]
    url: Option<Target>,
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
    let cases = match conformance::select(&selection) {
        Ok(cases) => cases,
        Err(error) => return Ok(refuse(&error, NO_CASE)),
    };
    if arguments.list {
        let width = cases.iter().map(|case| case.slug.len()).max().unwrap_or_default();
        cases.iter().for_each(|case| anstream::println!("{:<width$}  {:<8}  {}", case.slug, case.level, case.asks));
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
    let target = match target(&arguments) {
        Ok(target) => target,
        Err(error) => return Ok(refuse(&error, USAGE)),
    };
    let options = Options {
        deadline: Duration::from_secs(arguments.deadline.into()),
        jobs: arguments.jobs.get(),
        seed: arguments.seed.map_or_else(random, Ok)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(conformance::run(Tokio, &target, &dialect, &cases, &options));
    let mut report = match report {
        Ok(report) => report,
        Err(error) => return Ok(refuse(&error, UNREACHABLE)),
    };
    // A name that still resolves would hold the exit up.
    runtime.shutdown_background();
    if let Some(known) = known {
        known.mark(&mut report);
    }
    if let Some(requirements) = requirements {
        requirements.judge(&mut report);
    }
    let again = again(&arguments, &target);
    let text = report.text(&again);
    match arguments.format {
        Format::Text => anstream::print!("{text}"),
        Format::Json => println!("{}", report.json()),
    }
    if let Some(dir) = &arguments.out {
        write(dir, &report, &text, &again, &arguments.dialect)
            .with_context(|| format!("cannot write to {}", dir.display()))?;
    }
    let met = report.requirements.iter().all(conformance::RequirementReport::met);
    Ok(if report.passed() && met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The server, with what is sent along.
fn target(arguments: &Arguments) -> Result<Target, conformance::BadUrl> {
    let url = arguments.url.clone().expect("clap requires it");
    let mut target = url.insecure(arguments.insecure);
    for header in &arguments.headers {
        let (name, value) = header.split_once(':').unwrap_or((header, "\n"));
        target = target.with_header(name, value)?;
    }
    if let Some(token) = &arguments.bearer {
        target = target.with_header("Authorization", &format!("Bearer {token}"))?;
    }
    Ok(target)
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
fn write(dir: &Path, report: &Report, text: &str, again: &str, dialect: &str) -> std::io::Result<()> {
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
    let shipped = conformance::shipped().any(|name| name == dialect);
    let file = if shipped { format!("conformance/dialects/{dialect}.toml") } else { dialect.to_owned() };
    let mut writer = reports::Writer::create(dir, &opening)?;
    reports::cases_of_report(report, again, &file).into_iter().try_for_each(|case| writer.case(case))?;
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
