//! Results over time: a line of JSON for each, appended to one file that can be kept with the project.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::{Counts, Suite};
use crate::result::{Overall, Results, Wrong};
use crate::style::{FAIL, FAINT, HEADING, PASS};
use crate::words::text;

/// Entries of one series that are shown.
const SHOWN_MAX: usize = 60;

/// What is kept of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Wall-clock time of its start, milliseconds since 1970.
    pub started_ms: u64,
    /// The revision it is of, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Who judged.
    pub suite: Suite,
    /// What was played or asked.
    pub name: String,
    /// Who was judged.
    pub target: String,
    /// Verdicts.
    pub counts: Counts,
    /// Real time that it took, seconds.
    pub wall: f64,
    /// Median of the times at which pairs had heard from one another, virtual seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<f64>,
}

impl Entry {
    /// What is kept of a result.
    ///
    /// # Errors
    /// The result is cut off, and nobody knows its counts.
    pub fn of(results: &Results, revision: Option<String>) -> Result<Self, String> {
        let Some(closing) = results.closing else {
            return Err("the result is cut off, and would spoil the history: make it anew".to_owned());
        };
        let pairs = results.cases.iter().filter_map(|case| case.simulation.as_ref()).flat_map(|run| &run.pairs);
        let mut heard: Vec<f64> = pairs.filter_map(|pair| pair.first_heard).collect();
        heard.sort_by(f64::total_cmp);
        let opening = &results.opening;
        Ok(Self {
            started_ms: opening.started_ms,
            revision,
            suite: opening.suite,
            name: opening.name.clone(),
            target: opening.target.clone(),
            counts: closing.counts,
            wall: closing.wall,
            connected: heard.get(heard.len().saturating_sub(1) / 2).copied(),
        })
    }

    /// The share of judged cases that pass, 0 to 1.
    pub fn passing(&self) -> f64 {
        let good = self.counts.pass + self.counts.acceptable;
        let judged = good + self.counts.fail + self.counts.harness_error;
        if judged == 0 { 0.0 } else { good as f64 / judged as f64 }
    }

    fn overall(&self) -> Overall {
        if self.counts.fail + self.counts.harness_error > 0 { Overall::Fail } else { Overall::Pass }
    }
}

/// All entries of a file, by what they are of and in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The entries of each suite, name and target.
    pub series: BTreeMap<(Suite, String, String), Vec<Entry>>,
}

/// Appends an entry. One that is there already is not added again; false then.
///
/// # Errors
/// The file cannot be read or written, or has a line that is no entry.
pub fn add(file: &Path, entry: &Entry) -> Result<bool, Wrong> {
    let wrong =
        |error: io::Error| Wrong { file: file.to_owned(), line: None, message: format!("cannot be written: {error}") };
    if file.exists() && History::load(file)?.series.values().flatten().any(|known| known == entry) {
        return Ok(false);
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    let line = serde_json::to_string(entry).expect("an entry has a JSON form") + "\n";
    let mut out = OpenOptions::new().append(true).create(true).open(file).map_err(wrong)?;
    // In one write: two at once do not mix.
    out.write_all(line.as_bytes()).map_err(wrong)?;
    Ok(true)
}

impl History {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or the line that is no entry.
    pub fn load(file: &Path) -> Result<Self, Wrong> {
        let wrong = |line, message| Wrong { file: file.to_owned(), line, message };
        let content = fs::read_to_string(file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => wrong(None, "there is no such file: `history add DIR` makes it".to_owned()),
            _ => wrong(None, format!("cannot be read: {error}")),
        })?;
        let mut series: BTreeMap<(Suite, String, String), Vec<Entry>> = BTreeMap::new();
        for (index, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let entry: Entry = serde_json::from_str(line)
                .map_err(|error| wrong(Some(index + 1), format!("is no entry of a history: {error}")))?;
            series.entry((entry.suite, entry.name.clone(), entry.target.clone())).or_default().push(entry);
        }
        series.values_mut().for_each(|entries| entries.sort_by_key(|entry| entry.started_ms));
        Ok(Self { series })
    }

    /// A paragraph for each series: a bar for each result, the newest last.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for ((suite, name, target), entries) in &self.series {
            let newest = entries.last().expect("a series has an entry");
            let style = if newest.overall() == Overall::Pass { PASS } else { FAIL };
            let shown = &entries[entries.len().saturating_sub(SHOWN_MAX)..];
            let bars: String = shown.iter().map(|entry| bar(entry.passing())).collect();
            let judged =
                newest.counts.pass + newest.counts.acceptable + newest.counts.fail + newest.counts.harness_error;
            let good = newest.counts.pass + newest.counts.acceptable;
            // Writing to a string never fails.
            let _ = writeln!(
                out,
                "{HEADING}{}{HEADING:#}  {FAINT}{} · {}{FAINT:#}",
                text(name),
                suite.word(),
                text(target)
            );
            let _ = write!(out, "  {style}{bars}{style:#}  {good} of {judged} pass");
            if let (Some(first), Some(now)) = (shown[0].connected, newest.connected) {
                let _ = write!(out, ", pairs connected at {now:.2} s ({first:.2} s at first)");
            }
            let revision = newest.revision.as_deref().map(|revision| format!(", newest of {}", text(revision)));
            let results = if entries.len() == 1 { "1 result".to_owned() } else { format!("{} results", entries.len()) };
            let _ = writeln!(out, "  {FAINT}{results}{}{FAINT:#}", revision.unwrap_or_default());
        }
        out
    }
}

/// An eighth for each eighth that passes; only what passes as a whole is full.
fn bar(share: f64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if share >= 1.0 { BARS[7] } else { BARS[((share * 7.0) as usize).min(6)] }
}
