//! `glare conformance --repeat N`: differences between runs that should be identical.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use conformance::{Report, Verdict};

const PASS: Style = AnsiColor::Green.on_default().bold();
const FAIL: Style = AnsiColor::Red.on_default().bold();
const ODD: Style = AnsiColor::Yellow.on_default().bold();

/// Runs of the same cases on one server.
pub(super) struct Series {
    /// The first run that failed, or else the last run.
    pub(super) kept: Report,
    /// The number of that run, from 0.
    pub(super) kept_run: u64,
    kept_passed: bool,
    runs: u64,
    runs_passed: u64,
    tallies: BTreeMap<&'static str, Tally>,
    took: Vec<Duration>,
}

/// The verdicts of one case over all runs.
#[derive(Default)]
struct Tally {
    failed: u64,
    /// The first run in which it failed, and why.
    first: Option<(u64, String)>,
}

impl Series {
    pub(super) fn of(first: Report, passed: bool) -> Self {
        let mut series = Self {
            kept: first.clone(),
            kept_run: 0,
            kept_passed: passed,
            runs: 0,
            runs_passed: 0,
            tallies: BTreeMap::new(),
            took: Vec::new(),
        };
        series.add(first, passed);
        series
    }

    pub(super) fn add(&mut self, report: Report, passed: bool) {
        for case in report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. })) {
            let tally = self.tallies.entry(case.case.slug).or_default();
            if !case.is_well() {
                tally.failed += 1;
                let (verdict, why) = case.verdict.words();
                tally.first.get_or_insert((self.runs, format!("{verdict}: {}", why.unwrap_or("it is known to fail"))));
            }
        }
        self.took.push(report.took);
        if self.kept_passed {
            (self.kept, self.kept_run, self.kept_passed) = (report, self.runs, passed);
        }
        self.runs += 1;
        self.runs_passed += u64::from(passed);
    }

    /// Whether every run passed.
    pub(super) fn passed(&self) -> bool {
        self.runs == self.runs_passed
    }

    /// A summary of the runs in a few lines.
    pub(super) fn text(&self) -> String {
        let mut took = self.took.clone();
        took.sort_unstable();
        let seconds = |at: usize| took[at.min(took.len() - 1)].as_secs_f64();
        let url = &self.kept.url;
        let mut out = if self.passed() {
            format!("{PASS}PASS{PASS:#}  {} runs of {} cases on {url}: none fails", self.runs, self.tallies.len())
        } else {
            format!("{FAIL}FAIL{FAIL:#}  {} of {} runs on {url} fail", self.runs - self.runs_passed, self.runs)
        };
        let (least, middle, most) = (seconds(0), seconds(took.len() / 2), seconds(took.len() - 1));
        let _ = writeln!(out, "; a run takes {middle:.2} s ({least:.2} to {most:.2} s)");
        for (slug, tally) in self.tallies.iter().filter(|(_, tally)| tally.failed > 0) {
            let (style, word) = if tally.failed == self.runs { (FAIL, "fails") } else { (ODD, "flaky") };
            let (run, why) = tally.first.clone().unwrap_or_default();
            let _ = writeln!(
                out,
                "  {style}{word}{style:#}  {slug}: in {} of {} runs, first in run {}: {why}",
                tally.failed,
                self.runs,
                run + 1
            );
        }
        out
    }
}
