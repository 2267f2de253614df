//! `glare diff`

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use reports::diff::{self, Diff};
use reports::{Results, Writer};

/// Compare a result with an earlier one.
///
/// Exit codes: 0 no regression (flaky cases and timings are reported, but do not fail the build), 1 regression, 2 the
/// results cannot be read or compared.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The old and the new result: folders, files, or REVISION:PATH of a file in git; with --baseline only the new one
    #[arg(required = true, num_args = 1..=2, value_name = "RESULT")]
    results: Vec<String>,
    /// File with the old result
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Save the new result as the baseline, whatever the differences; a regression still exits with 1
    #[arg(long, requires = "baseline")]
    update: bool,
}

/// Prints the differences, and updates the baseline on request.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (before, now) = match (&arguments.baseline, &arguments.results[..]) {
        (Some(baseline), [now]) => (baseline.exists().then(|| Results::load(baseline)).transpose()?, now),
        (None, [before, now]) => (Some(load(before)?), now),
        (Some(_), _) => anyhow::bail!("with --baseline, name one result"),
        (None, _) => anyhow::bail!("name two results, the old one first, or one result and --baseline FILE"),
    };
    let now = load(now)?;
    let mut regression = false;
    match (&before, &arguments.baseline) {
        (Some(before), _) => {
            let diff = Diff::of(before, &now)?;
            out!("{}", diff.text(reports::terminal_width()));
            regression = diff.is_regression();
        }
        (None, Some(file)) if !arguments.update => {
            anyhow::bail!("{} does not exist: create it with --update", file.display());
        }
        _ => {}
    }
    if let Some(file) = arguments.baseline.filter(|_| arguments.update) {
        keep(&file, now).with_context(|| format!("cannot write {}", file.display()))?;
        outln!("Saved as {}", file.display());
    }
    Ok(if regression { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Loads a result from a path, or from a file in a revision: `main:results/base.jsonl`.
fn load(what: &str) -> anyhow::Result<Results> {
    let path = Path::new(what);
    if path.exists() || !what.contains(':') {
        return Ok(Results::load(path)?);
    }
    // After `--end-of-options` git never takes the user's text for an option.
    let shown = Command::new("git").args(["show", "--end-of-options", what]).output().context("cannot run git")?;
    let said = String::from_utf8_lossy(&shown.stderr);
    anyhow::ensure!(shown.status.success(), "{what} is not a file, and git reports: {}", said.trim());
    Results::parse(&shown.stdout, PathBuf::new()).map_err(|wrong| anyhow::anyhow!("{what}:{wrong}"))
}

/// Writes a result without the details that only people read. A temporary file is written first, so that a baseline is
/// never half written.
fn keep(file: &Path, results: Results) -> std::io::Result<()> {
    let partial = file.with_extension("partial");
    let mut writer = Writer::new(std::io::BufWriter::new(std::fs::File::create(&partial)?), &results.opening)?;
    results.cases.into_iter().try_for_each(|case| writer.case(diff::brief(case)))?;
    let wall = results.closing.map_or(0.0, |closing| closing.wall);
    writer.close(Duration::try_from_secs_f64(wall).unwrap_or_default())?;
    std::fs::rename(partial, file)
}
