//! `glare report`

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use reports::Results;
use reports::history::History;

/// Render a result: the folder that `sim --out` or `conformance --out` has written.
///
/// Exit codes: 0 it was rendered (whatever its verdict), 2 it cannot be read, or it is cut off and was rendered as far as it goes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folders of results, or result files; `html` and `markdown` take several and compare them side by side
    #[arg(required = true, value_name = "DIR")]
    results: Vec<PathBuf>,
    /// What to make of it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// File to write to [default: report.html in the first folder for `html`, else standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// History whose trend lines `html` shows, as `history add` keeps it
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people, on a terminal
    Text,
    /// One self-contained page
    Html,
    /// JUnit XML, for Jenkins, GitLab and most others
    Junit,
    /// Common Test Report Format, JSON
    Ctrf,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// For a comment on a pull request
    Markdown,
    /// Annotations of GitHub Actions, and the step's summary where GITHUB_STEP_SUMMARY names its file
    Github,
}

/// Renders.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let results: Vec<_> = arguments.results.iter().map(|path| Results::load(path)).collect::<Result<_, _>>()?;
    if arguments.history.is_some() {
        // What a damaged store makes of its database is told as an error.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let history = arguments.history.as_deref().map(History::load).transpose()?.unwrap_or_default();
    let rendered = match arguments.format {
        Format::Text => {
            // A file is as wide as its lines are.
            let width = arguments.output.is_none().then(reports::terminal_width).flatten();
            results.iter().map(|result| reports::summary(result, width)).collect::<Vec<_>>().join("\n")
        }
        Format::Html => reports::html_with_history(&results, &history),
        Format::Junit => reports::junit(&results),
        Format::Ctrf => reports::ctrf(&results),
        Format::Sarif => reports::sarif(&results),
        Format::Markdown => reports::markdown(&results),
        Format::Github => reports::github(&results),
    };
    if let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|_| arguments.format == Format::Github) {
        // Other steps write to the same file.
        let mut summary = std::fs::OpenOptions::new().append(true).create(true).open(&file)?;
        summary.write_all(reports::markdown(&results).as_bytes())?;
    }
    let page = arguments.results.first().filter(|_| arguments.format == Format::Html);
    let beside = page.map(|path| if path.is_dir() { path.join("report.html") } else { path.with_extension("html") });
    match &arguments.output.or(beside) {
        None => anstream::print!("{rendered}"),
        Some(file) => {
            let plain = match arguments.format {
                Format::Text => anstream::adapter::strip_str(&rendered).to_string(),
                _ => rendered,
            };
            std::fs::write(file, plain).with_context(|| format!("cannot write {}", file.display()))?;
            println!("Written to {}", file.display());
        }
    }
    io::stdout().flush()?;
    match results.iter().find(|result| result.closing.is_none()) {
        None => Ok(ExitCode::SUCCESS),
        Some(result) => anyhow::bail!(
            "{} is cut off after {} cases: the program that wrote it did not come to its end",
            result.dir.join(reports::model::FILE).display(),
            result.cases.len()
        ),
    }
}
