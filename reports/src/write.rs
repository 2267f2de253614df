//! A result's folder: `result.jsonl`, and for runs written in full a folder with the report and all events.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sim::run::{Crash, Outcome};

use crate::from_sim::Detail;
use crate::replay::Replay;
use crate::text;

/// Writes `report.txt` and `events.jsonl` of a run into `DIR/SCENARIO-SEED`. Returns the folder's name.
///
/// # Errors
/// A file cannot be written.
pub fn write_outcome(dir: &Path, outcome: &Outcome, wall: Duration, replay: &Replay) -> io::Result<PathBuf> {
    let name = PathBuf::from(format!("{}-{}", outcome.scenario.name, outcome.seed));
    let dir = dir.join(&name);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("report.txt"), plain(&text::outcome(outcome, Detail::Full, wall, replay, None)))?;
    write_events(&dir, outcome)?;
    Ok(name)
}

/// Writes `events.jsonl` of a run into a folder.
pub(crate) fn write_events(dir: &Path, outcome: &Outcome) -> io::Result<()> {
    let mut events = BufWriter::new(fs::File::create(dir.join("events.jsonl"))?);
    for event in &outcome.record.events {
        writeln!(events, "{}", outcome.record.json_line(event))?;
    }
    events.flush()
}

/// Writes `report.txt` of a run that crashed.
///
/// # Errors
/// The file cannot be written.
pub fn write_crash(dir: &Path, scenario: &str, crash: &Crash, replay: &Replay) -> io::Result<PathBuf> {
    let name = PathBuf::from(format!("{scenario}-{}", crash.seed));
    let dir = dir.join(&name);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("report.txt"), plain(&text::crash(crash, scenario, replay)))?;
    Ok(name)
}

pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
