//! Writes the files of a run: the result's folder, and the recordings.

use std::path::Path;

use anyhow::Context as _;
use conformance::{Recording, Report, Show};
use reports::model::Suite;

use super::server::TestedServer;
use crate::sink::opening;

/// Writes the result's folder.
pub(super) fn write(dir: &Path, report: &Report, show: Show<'_>, server: &TestedServer) -> std::io::Result<()> {
    // Not the arguments as typed: a header may be a secret.
    let command = show.again.to_owned();
    let mut opening = opening(Suite::Conformance, report.dialect.clone(), report.url.clone(), command);
    let took_ms = u64::try_from(report.took.as_millis()).unwrap_or_default();
    opening.started_ms = opening.started_ms.saturating_sub(took_ms);
    let file = server.dialect.as_deref().map(|dialect| match conformance::shipped().any(|name| name == dialect) {
        true => format!("conformance/dialects/{dialect}.toml"),
        false => dialect.to_owned(),
    });
    let mut writer = reports::Writer::create(dir, &opening)?;
    reports::cases_of_report(report, show.again, file.as_deref()).into_iter().try_for_each(|case| writer.case(case))?;
    writer.close(report.took)?;
    // A file has the default width, whatever the width of the terminal.
    let text = report.text(Show { columns: Show::new("").columns, ..show });
    std::fs::write(dir.join("report.txt"), anstream::adapter::strip_str(&text).to_string())
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
