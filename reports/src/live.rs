//! A scenario that was played on real sockets: its text report, its case of a result, and its files.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scenarios::Scenario;
use sim::run::{Crash, Outcome};

use crate::from_sim::{Detail, case_of_crash, case_of_outcome};
use crate::model::{Case, Verdict};
use crate::replay::Replay;
use crate::style::{FAIL, FAINT, HEADING, ODD};
use crate::table::Width;
use crate::text::{body, headline};
use crate::words::text as words;
use crate::write::{plain, write_events};

/// The oracles that report which situations a scenario aims at and did not reach, and which of its steps did nothing.
const MISSED: [&str; 2] = ["expected-probes", "steps-take-effect"];

/// A scenario that was played against a server at a URL.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The name or path of the scenario as given.
    pub called: &'a str,
    /// The outcome.
    pub played: Result<&'a Outcome, &'a Crash>,
    /// The server's URL.
    pub url: &'a str,
    /// What was left out of the scenario, and why.
    pub remarks: &'a [String],
    /// The command that replays it.
    pub again: &'a str,
}

impl Live<'_> {
    /// Whether the scenario reached the situation that it aims at, or found a violation. A real server may be too fast
    /// for the situation, which is not a fault.
    fn is_tested(&self) -> bool {
        let aims = |outcome: &&Outcome| outcome.violations.iter().any(|violation| !MISSED.contains(&violation.oracle));
        self.played.as_ref().map_or(true, |outcome| outcome.passed() || aims(outcome))
    }

    /// The report: verdict, connections, violations, and the replay command; with [`Detail::Full`] also the story.
    pub fn text(&self, detail: Detail, width: Width) -> String {
        let mut out = String::new();
        self.write_text(&mut out, detail, width).expect("writing to a string cannot fail");
        out
    }

    fn write_text(&self, out: &mut String, detail: Detail, width: Width) -> fmt::Result {
        let Scenario { name, about, duration, .. } = self.scenario;
        match self.played {
            Ok(outcome) => {
                let verdict = if self.is_tested() {
                    headline(outcome)
                } else {
                    let missed = &outcome.violations[0].message;
                    format!("{ODD}NOT TESTED{ODD:#}  {HEADING}{name}{HEADING:#}: {missed}")
                };
                writeln!(out, "{verdict}")?;
                let (url, seconds) = (words(self.url), duration.as_secs_f64());
                writeln!(out, "{FAINT}{about} · against {url} · {seconds} s in real time{FAINT:#}")?;
                self.remarks.iter().try_for_each(|remark| writeln!(out, "{FAINT}{remark}{FAINT:#}"))?;
                body(out, outcome, detail, width)?;
                writeln!(out, "\n{HEADING}Replay{HEADING:#}  {}", self.again)?;
                writeln!(out, "{verdict}")
            }
            Err(Crash { message, .. }) => {
                writeln!(out, "{FAIL}CRASH{FAIL:#}  {HEADING}{name}{HEADING:#}: {message}")?;
                writeln!(out, "The problem is in Glare, a library or this machine, not in the server.")?;
                writeln!(out, "\n{HEADING}Replay{HEADING:#}  {}", self.again)
            }
        }
    }

    /// The case of a result, `live/SCENARIO`. `wall` is the real time it took, `events_file` the path of its events.
    pub fn case(&self, wall: Duration, events_file: Option<String>) -> Case {
        let replay = Replay { program: String::new(), scenario: self.called.to_owned(), options: Vec::new() };
        let mut case = match self.played {
            Ok(outcome) => case_of_outcome(outcome, wall, &replay, Detail::Full, events_file),
            Err(crash) => case_of_crash(self.scenario, crash, wall, &replay),
        };
        if !self.is_tested() {
            case.verdict = Verdict::NotTested;
        }
        (case.id, case.group) = (format!("live/{}", self.scenario.name), "live".to_owned());
        case.replay = self.again.to_owned();
        case.remarks = self.remarks.to_vec();
        if let Some(simulation) = &mut case.simulation {
            // Two real runs never have equal hashes, and the network was not the simulated one.
            (simulation.hash, simulation.topology) = (None, None);
        }
        case
    }

    /// Writes `report.txt`, and `events.jsonl` unless it crashed, into `DIR/SCENARIO`. Returns the folder's name.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        let name = PathBuf::from(&self.scenario.name);
        let dir = dir.join(&name);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("report.txt"), plain(&self.text(Detail::Full, None)))?;
        self.played.map_or(Ok(()), |outcome| write_events(&dir, outcome))?;
        Ok(name)
    }
}
