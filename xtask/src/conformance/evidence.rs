//! Writes the files of a run: the result's folder, and the recordings.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use conformance::{Recording, Report, Show};
use reports::Detail;
use reports::model::{FILE, Suite};

use super::server::TestedServer;
use crate::sink::opening;

/// Results that are not complete, in place of older ones: if the run is cut off, they are what reports find. If the run
/// ends with an error, they are removed.
#[derive(Default)]
pub(super) struct Begun(Vec<PathBuf>);

impl Begun {
    /// Begins a result in this folder.
    pub(super) fn begin(&mut self, dir: &Path, server: &TestedServer) -> std::io::Result<()> {
        let name = server.dialect.clone().unwrap_or_default();
        let opening = opening(Suite::Conformance, name, server.url(), server.again(0));
        self.0.push(dir.join(FILE));
        reports::Writer::create(dir, &opening).map(drop)
    }

    /// All cases were run, or the run was interrupted: the results are written now.
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        for file in &self.0 {
            // It may not have been created.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// How a result is written.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// The user has named the folder, so it stays where it is.
    pub(super) is_named: bool,
    /// All cases were run. Otherwise the result has no closing record, and reports tell that it was cut off.
    pub(super) is_complete: bool,
    /// Whether it has the messages of passing cases.
    pub(super) detail: Detail,
}

/// Writes the result's folder.
pub(super) fn write(
    dir: &Path,
    report: &Report,
    show: Show<'_>,
    server: &TestedServer,
    extent: Extent,
) -> std::io::Result<()> {
    let Extent { is_named, is_complete, detail } = extent;
    // Not the arguments as typed: a header may be a secret.
    let command = show.again.to_owned();
    let mut opening = opening(Suite::Conformance, report.dialect.clone(), report.url.clone(), command);
    let took_ms = u64::try_from(report.took.as_millis()).unwrap_or_default();
    opening.started_ms = opening.started_ms.saturating_sub(took_ms);
    let mut writer = reports::Writer::create(dir, &opening)?;
    let file = match server.dialect.as_deref().map(|dialect| (dialect, conformance::shipped_text(dialect))) {
        None => None,
        Some((dialect, None)) => Some(dialect.to_owned()),
        Some((dialect, Some(text))) => dialect_file(dir, dialect, text, is_named)?,
    };
    let cases = reports::cases_of_report(report, show.again, file.as_deref(), detail);
    cases.into_iter().try_for_each(|case| writer.case(case))?;
    if is_complete {
        writer.close(report.took)?;
    }
    // A file has the default width, whatever the width of the terminal.
    let text = report.text(Show { replay: show.replay, ascii: show.ascii, ..Show::new(show.again) });
    std::fs::write(dir.join("report.txt"), anstream::adapter::strip_str(&text).to_string())
}

/// The file of a shipped dialect, to which reports point: that of the checkout, or a copy in the result's folder.
fn dialect_file(dir: &Path, dialect: &str, text: &str, is_named: bool) -> std::io::Result<Option<String>> {
    let shipped = format!("conformance/dialects/{dialect}.toml");
    if Path::new(&shipped).exists() {
        return Ok(Some(shipped));
    }
    if !is_named {
        return Ok(None);
    }
    let copy = dir.join(format!("{dialect}.toml"));
    std::fs::write(&copy, text)?;
    Ok(Some(copy.display().to_string()))
}

/// Writes one file per case that was recorded.
pub(super) fn record(dir: &Path, report: &Report) -> anyhow::Result<()> {
    let cannot = || format!("cannot write to {}", dir.display());
    std::fs::create_dir_all(dir).with_context(cannot)?;
    for recording in report.cases.iter().filter_map(|case| Recording::of(report, case)) {
        std::fs::write(dir.join(recording.file_name()), recording.lines()).with_context(cannot)?;
    }
    Ok(())
}
