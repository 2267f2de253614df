//! `glare diff`

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use reports::diff::{self, Diff};
use reports::{Results, Writer};

/// Compare a result with one before it.
///
/// Exit codes: 0 nothing that was right is wrong (flaky cases and timings are told, and fail no build), 1 regression, 2 the results
/// cannot be read or compared.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The old result and the new one: folders, files, or REVISION:PATH of a file that git keeps; with --baseline the new one alone
    #[arg(required = true, num_args = 1..=2, value_name = "RESULT")]
    results: Vec<String>,
    /// A file that keeps the old result
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Keeps the new result as the baseline, whatever the differences; regressions exit with 1 still
    #[arg(long, requires = "baseline")]
    update: bool,
}

/// Compares.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (before, now) = match (&arguments.baseline, &arguments.results[..]) {
        (Some(baseline), [now]) => (baseline.exists().then(|| Results::load(baseline)).transpose()?, now),
        (None, [before, now]) => (Some(load(before)?), now),
        (Some(_), _) => anyhow::bail!("with --baseline there is one result to compare with it"),
        (None, _) => anyhow::bail!("name two results, the old one first, or a file by --baseline"),
    };
    let now = load(now)?;
    let mut regression = false;
    match (&before, &arguments.baseline) {
        (Some(before), _) => {
            let diff = Diff::of(before, &now)?;
            anstream::print!("{}", diff.text(reports::terminal_width()));
            regression = diff.is_regression();
        }
        (None, Some(file)) if !arguments.update => {
            anyhow::bail!("{} is not there: --update makes it", file.display());
        }
        _ => {}
    }
    if let Some(file) = arguments.baseline.filter(|_| arguments.update) {
        keep(&file, now).with_context(|| format!("cannot write {}", file.display()))?;
        println!("Kept as {}", file.display());
    }
    Ok(if regression { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A result of a path, or of a file in a revision: `main:results/base.jsonl`.
fn load(what: &str) -> anyhow::Result<Results> {
    let path = Path::new(what);
    if path.exists() || !what.contains(':') {
        return Ok(Results::load(path)?);
    }
    // `--end-of-options`: what a person names is never an option of git.
    let shown = Command::new("git").args(["show", "--end-of-options", what]).output().context("cannot run git")?;
    let said = String::from_utf8_lossy(&shown.stderr);
    anyhow::ensure!(shown.status.success(), "{what} is no file, and git says: {}", said.trim());
    Results::parse(&shown.stdout, PathBuf::new()).map_err(|(line, wrong)| anyhow::anyhow!("{what}:{line}: {wrong}"))
}

/// Writes a result without what only a person reads, beside the file first: a baseline is never half written.
fn keep(file: &Path, results: Results) -> std::io::Result<()> {
    let partial = file.with_extension("partial");
    let mut writer = Writer::new(std::io::BufWriter::new(std::fs::File::create(&partial)?), &results.opening)?;
    results.cases.into_iter().try_for_each(|case| writer.case(diff::brief(case)))?;
    let wall = results.closing.map_or(0.0, |closing| closing.wall);
    writer.close(Duration::try_from_secs_f64(wall).unwrap_or_default())?;
    std::fs::rename(partial, file)
}
