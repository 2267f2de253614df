//! Files of a run: what a person reads, what a program reads, and every event.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sim::run::{Crash, Outcome};

use crate::replay::Replay;
use crate::{json, text};

/// Writes `result.json`, `report.txt` and `events.jsonl` into `DIR/SCENARIO-SEED`, which is returned.
///
/// # Errors
/// A file cannot be written.
pub fn write_outcome(dir: &Path, outcome: &Outcome, wall: Duration, replay: &Replay) -> io::Result<PathBuf> {
    let dir = folder(dir, &outcome.scenario.name, outcome.seed)?;
    fs::write(dir.join("result.json"), json::result_json(outcome, wall, replay) + "\n")?;
    let report = text::outcome(outcome, wall, replay);
    fs::write(dir.join("report.txt"), plain(&report))?;
    let mut events = BufWriter::new(fs::File::create(dir.join("events.jsonl"))?);
    for event in &outcome.record.events {
        writeln!(events, "{}", outcome.record.json_line(event))?;
    }
    events.flush()?;
    Ok(dir)
}

/// Writes `report.txt` of a run that did not come to its end.
///
/// # Errors
/// The file cannot be written.
pub fn write_crash(dir: &Path, scenario: &str, crash: &Crash, replay: &Replay) -> io::Result<PathBuf> {
    let dir = folder(dir, scenario, crash.seed)?;
    fs::write(dir.join("report.txt"), plain(&text::crash(crash, scenario, replay)))?;
    Ok(dir)
}

fn folder(dir: &Path, scenario: &str, seed: u64) -> io::Result<PathBuf> {
    let dir = dir.join(format!("{scenario}-{seed}"));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
