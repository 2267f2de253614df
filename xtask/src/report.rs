//! `glare report`

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use reports::Results;
use reports::history::History;

/// Render a result for people or for CI: the folder that `sim --out` or `conformance --out` wrote.
///
/// Exit codes: 0 rendered, whatever the verdict; 2 the result cannot be read, or it is truncated and was rendered up to that point.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Result folders or files; `html` and `markdown` show several side by side
    #[arg(required = true, value_name = "DIR")]
    results: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Output file [default: report.html in the first folder for `html`, otherwise standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// History file of `history add`; `html` shows its trend lines
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Text for a terminal
    Text,
    /// One self-contained HTML page
    Html,
    /// JUnit XML, for Jenkins, GitLab and most other CI systems
    Junit,
    /// Common Test Report Format, JSON
    Ctrf,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Markdown for a comment on a pull request
    Markdown,
    /// GitHub Actions annotations; also writes the step summary if GITHUB_STEP_SUMMARY is set
    Github,
}

/// Renders results in the wanted format and prints or writes them.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let results: Vec<_> = arguments.results.iter().map(|path| Results::load(path)).collect::<Result<_, _>>()?;
    if arguments.history.is_some() {
        // A damaged store makes its database panic; that is reported as an error.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let history = arguments.history.as_deref().map(History::load).transpose()?.unwrap_or_default();
    let rendered = match arguments.format {
        Format::Text => {
            // A file has no width limit.
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
            "{} is truncated after {} cases: the program that wrote it did not finish",
            result.dir.join(reports::model::FILE).display(),
            result.cases.len()
        ),
    }
}
