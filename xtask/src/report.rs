//! `glare report`

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use reports::Results;
use reports::campaign::{self, Campaign};
use reports::history::History;

/// Render a result for people or for CI: the folder that `sim`, `conformance` or `campaign` wrote with --out, or what ran last.
///
/// Exit codes: 0 rendered, whatever the verdict; 2 the result cannot be read, or it is truncated and was rendered up to that point.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Result folders or files; `html` and `markdown` show several side by side [default: what ran last]
    #[arg(value_name = "DIR")]
    results: Vec<PathBuf>,
    /// Write the page, and open it in a browser
    #[arg(long, conflicts_with = "format")]
    open: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Output file, or `-` for standard output [default: report.html in the first folder for `html`, otherwise `-`]
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
    let paths = if arguments.results.is_empty() { last()? } else { arguments.results };
    let format = if arguments.open { Format::Html } else { arguments.format };
    let to_stdout = arguments.output.as_deref() == Some(Path::new("-"));
    anyhow::ensure!(
        !(arguments.open && to_stdout),
        "--open needs a file: standard output cannot be opened in a browser"
    );
    if let [dir] = &paths[..]
        && dir.join(campaign::FILE).exists()
    {
        let rendered = of_campaign(dir, format)?;
        let beside = (format == Format::Html).then(|| dir.join("report.html"));
        emit(rendered, format, arguments.output.or(beside).filter(|_| !to_stdout), arguments.open)?;
        return Ok(ExitCode::SUCCESS);
    }
    let results: Vec<_> = paths.iter().map(|path| Results::load(path)).collect::<Result<_, _>>()?;
    if arguments.history.is_some() {
        // A damaged store makes its database panic; that is reported as an error.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let history = arguments.history.as_deref().map(History::load).transpose()?.unwrap_or_default();
    let rendered = match format {
        Format::Text => {
            // A file has no width limit.
            let width = (arguments.output.is_none() || to_stdout).then(reports::terminal_width).flatten();
            results.iter().map(|result| reports::summary(result, width)).collect::<Vec<_>>().join("\n")
        }
        Format::Html => reports::html_with_history(&results, &history),
        Format::Junit => reports::junit(&results),
        Format::Ctrf => reports::ctrf(&results),
        Format::Sarif => reports::sarif(&results),
        Format::Markdown => reports::markdown(&results),
        Format::Github => reports::github(&results),
    };
    if let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|_| format == Format::Github) {
        // Other steps write to the same file.
        let mut summary = std::fs::OpenOptions::new().append(true).create(true).open(&file)?;
        summary.write_all(reports::markdown(&results).as_bytes())?;
    }
    let page = paths.first().filter(|_| format == Format::Html);
    let beside = page.map(|path| if path.is_dir() { path.join("report.html") } else { path.with_extension("html") });
    emit(rendered, format, arguments.output.or(beside).filter(|_| !to_stdout), arguments.open)?;
    match results.iter().find(|result| result.closing.is_none()) {
        None => Ok(ExitCode::SUCCESS),
        Some(result) => anyhow::bail!(
            "{} is truncated after {} cases: the program that wrote it did not finish",
            result.dir.join(reports::model::FILE).display(),
            result.cases.len()
        ),
    }
}

/// Prints what was rendered, or writes it to a file and opens that if wanted.
fn emit(rendered: String, format: Format, file: Option<PathBuf>, opens: bool) -> anyhow::Result<()> {
    let Some(file) = file else {
        out!("{rendered}");
        return Ok(());
    };
    let plain = match format {
        Format::Text => anstream::adapter::strip_str(&rendered).to_string(),
        _ => rendered,
    };
    std::fs::write(&file, plain).with_context(|| format!("cannot write {}", file.display()))?;
    outln!("Written to {}", file.display());
    if opens { open(&file) } else { Ok(()) }
}

/// Renders a campaign.
fn of_campaign(dir: &Path, format: Format) -> anyhow::Result<String> {
    // A damaged store makes its database panic; that is reported as an error.
    std::panic::set_hook(Box::new(|_| {}));
    let (_, campaign) = Campaign::load(dir)?;
    match format {
        Format::Html => Ok(campaign.html(&crate::program(), dir)),
        Format::Text => {
            Ok(campaign.summary().status(reports::terminal_width()) + &campaign.failures(&crate::program(), dir))
        }
        _ => anyhow::bail!("a campaign can be rendered as `html` or `text`"),
    }
}

/// The results of what ran last: one, or one for each server.
fn last() -> anyhow::Result<Vec<PathBuf>> {
    let none = || anyhow::anyhow!("nothing has been run yet: name the folder of a result");
    let folder = crate::last::folder().filter(|folder| folder.exists()).ok_or_else(none)?;
    if folder.join(reports::model::FILE).exists() {
        return Ok(vec![folder]);
    }
    let inner = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut inner: Vec<_> = inner.flatten().map(|entry| entry.path()).collect();
    inner.retain(|path| path.join(reports::model::FILE).exists());
    inner.sort();
    if inner.is_empty() { Err(none()) } else { Ok(inner) }
}

/// Opens a page in the browser. Without one, names its address.
fn open(page: &Path) -> anyhow::Result<()> {
    let page = std::path::absolute(page)?;
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let has_screen = set("DISPLAY").is_some() || set("WAYLAND_DISPLAY").is_some();
    let opener = set("BROWSER").or_else(|| has_screen.then(|| "xdg-open".into()));
    let started = opener.is_some_and(|opener| {
        let mut command = Command::new(opener);
        command.arg(&page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A browser may run until its window is closed: it is not waited for.
        command.spawn().is_ok()
    });
    if !started {
        outln!("Open it in a browser: file://{}", page.display());
    }
    Ok(())
}
