//! Results over time: a summary of each, in one file that several programs may write to.

mod store;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::model::{Counts, Suite};
use crate::result::{Overall, Results};
use crate::style::{FAIL, FAINT, HEADING, PASS};
use crate::table::{Table, Width};
use crate::words::text;

pub use store::add;

/// Maximum number of entries drawn per series, if the terminal is wide enough.
const BARS_MAX: usize = 60;

/// The result has no closing record: the program that wrote it did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the result is truncated and would distort the history: run it again")
    }
}

impl std::error::Error for Truncated {}

/// The summary of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Wall-clock time of its start, milliseconds since 1970.
    pub started_ms: u64,
    /// The revision that was tested, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The suite.
    pub suite: Suite,
    /// The scenario or dialect.
    pub name: String,
    /// The tested server.
    pub target: String,
    /// Number of cases per verdict.
    pub counts: Counts,
    /// Real time that it took, seconds.
    pub wall: f64,
    /// Median of the virtual times, in seconds, at which both sides of a pair had first received data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<f64>,
}

impl Entry {
    /// Summarizes a result.
    ///
    /// # Errors
    /// The result is truncated, so its counts are unknown.
    pub fn of(results: &Results, revision: Option<String>) -> Result<Self, Truncated> {
        let closing = results.closing.ok_or(Truncated)?;
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

    /// The share of cases with a verdict that pass, 0 to 1.
    pub fn passing(&self) -> f64 {
        let good = self.counts.pass + self.counts.acceptable;
        let judged = good + self.counts.fail + self.counts.harness_error;
        if judged == 0 { 0.0 } else { good as f64 / judged as f64 }
    }

    /// `7 of 8 pass`.
    fn passed(&self) -> String {
        let good = self.counts.pass + self.counts.acceptable;
        format!("{good} of {} pass", good + self.counts.fail + self.counts.harness_error)
    }

    /// Connecting times of the newest and the first result, the number of results, and the newest revision.
    fn details(&self, first: &Self, results: &str) -> String {
        let connected = first.connected.zip(self.connected);
        let connected =
            connected.map(|(first, now)| format!("pairs connected at {now:.2} s ({first:.2} s at first), "));
        let revision = self.revision.as_deref().map(|revision| format!(", newest of {}", text(revision)));
        format!("{}{FAINT}{results}{}{FAINT:#}", connected.unwrap_or_default(), revision.unwrap_or_default())
    }

    fn overall(&self) -> Overall {
        if self.counts.fail + self.counts.harness_error > 0 { Overall::Fail } else { Overall::Pass }
    }
}

/// All entries of a store, grouped into series and sorted by time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The entries of each suite, name and target.
    pub series: BTreeMap<(Suite, String, String), Vec<Entry>>,
}

impl History {
    /// Groups and sorts entries.
    fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut series: BTreeMap<(Suite, String, String), Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            series.entry((entry.suite, entry.name.clone(), entry.target.clone())).or_default().push(entry);
        }
        series.values_mut().for_each(|entries| entries.sort_by_key(|entry| entry.started_ms));
        Self { series }
    }

    /// A paragraph per series: its name, a bar per result with the newest last, and the details of the newest.
    pub fn text(&self, width: Width) -> String {
        let bars = width.map_or(BARS_MAX, |width| usize::from(width).saturating_sub(4).clamp(8, BARS_MAX));
        let mut out = String::new();
        for ((suite, name, target), entries) in &self.series {
            let newest = entries.last().expect("a series has an entry");
            let style = if newest.overall() == Overall::Pass { PASS } else { FAIL };
            let shown = &entries[entries.len().saturating_sub(bars)..];
            // Writing to a string never fails.
            let (name, target) = (text(name), text(target));
            let _ = writeln!(out, "{HEADING}{name}{HEADING:#}  {FAINT}{} · {target}{FAINT:#}", suite.word());
            let drawn: String = shown.iter().map(|entry| bar(entry.passing())).collect();
            let _ = writeln!(out, "  {style}{drawn}{style:#}");
            let mut table = Table::indented(2);
            let results = if entries.len() == 1 { "1 result".to_owned() } else { format!("{} results", entries.len()) };
            table.row([format!("{style}{}{style:#}", newest.passed()), newest.details(&shown[0], &results)]);
            out.push_str(&table.text(width));
        }
        out
    }
}

/// A bar whose height is the share that passes, in eighths; the full bar means that everything passes.
fn bar(share: f64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if share >= 1.0 { BARS[7] } else { BARS[((share * 7.0) as usize).min(6)] }
}
