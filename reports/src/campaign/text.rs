//! What a campaign shows on a terminal.

use std::fmt::Write as _;
use std::path::Path;

use scenarios::PROBES;

use super::{Campaign, FINDINGS, Finding, Plan, StoryId, Summary};
use crate::replay::Replay;
use crate::style::{FAIL, FAINT, HEADING, PASS};
use crate::table::{Table, Width};
use crate::text::thousands;
use crate::words::text;

/// How many stories of a finding are listed.
const STORIES_LISTED: usize = 8;

impl Summary {
    /// How many stories were played, what went wrong, and what was reached.
    pub fn status(&self, width: Width) -> String {
        let mut out = String::new();
        let Self { stories, failed, findings, probes, situations, corpus, .. } = self;
        let all = counted(*stories as usize, "story");
        let _ = if *failed == 0 {
            writeln!(out, "{PASS}PASS{PASS:#}  {HEADING}{all}{HEADING:#}, no violation")
        } else {
            writeln!(
                out,
                "{FAIL}FAIL{FAIL:#}  {HEADING}{} of {all}{HEADING:#} violate an oracle: {}",
                thousands(*failed as usize),
                counted(*findings as usize, "finding")
            )
        };
        let seconds = self.wall_ms as f64 / 1e3;
        let rate = *stories as f64 / seconds.max(1e-3);
        let _ = writeln!(out, "{FAINT}{seconds:.1} s, {rate:.1} stories a second{FAINT:#}");
        let mut table = Table::indented(0);
        table.row(["Server".to_owned(), text(&self.plan.server())]);
        table.row(["Probes".to_owned(), format!("{probes} of {} occurred", PROBES.len())]);
        table.row(["Situations".to_owned(), format!("{} of the oracles' model", thousands(*situations as usize))]);
        if self.plan.guided {
            table.row(["Corpus".to_owned(), format!("{} reached something new", counted(*corpus as usize, "story"))]);
        }
        if let [Some(median), Some(most), Some(last)] = [50, 99, 100].map(|percent| self.connected_within(percent)) {
            let seconds = |time: u32| f64::from(time) / 1e3;
            table.row([
                "Connecting".to_owned(),
                format!(
                    "{}: median {:.3} s, 99 % within {:.3} s, at most {:.3} s",
                    counted(self.pairs() as usize, "pair"),
                    seconds(median),
                    seconds(most),
                    seconds(last)
                ),
            ]);
        }
        out.push_str(&table.text(width));
        out
    }
}

impl Plan {
    /// The server that is tested, in words.
    pub fn server(&self) -> String {
        match (&self.mutant, &self.program) {
            (Some(mutant), _) => format!("the reference server with the defect {mutant}"),
            (None, Some(program)) => {
                crate::replay::command_line("", program.run.iter().cloned()).trim_start().to_owned()
            }
            (None, None) => "the reference server".to_owned(),
        }
    }
}

impl Campaign {
    /// All findings, each with the line that replays its smallest story. `program` is the name of this program, `dir` the
    /// campaign's folder.
    pub fn failures(&self, program: &str, dir: &Path) -> String {
        let mut out = String::new();
        let findings = self.findings();
        if findings.is_empty() {
            let _ = writeln!(out, "{}, no violation", counted(self.stories.len(), "story"));
        }
        for finding in &findings {
            let count = counted(finding.stories.len(), "story");
            let Finding { wrong, stories } = finding;
            let _ = writeln!(out, "{FAIL}{}{FAIL:#}  {count}: {}", wrong.rule, text(&wrong.message));
            let listed: Vec<_> = stories.iter().take(STORIES_LISTED).map(StoryId::to_string).collect();
            let more = if stories.len() > STORIES_LISTED { ", …" } else { "" };
            let _ = writeln!(out, "  {FAINT}stories {}{more}{FAINT:#}", listed.join(", "));
            let _ = writeln!(out, "  {}", finding.replay(program, dir));
        }
        out
    }

    /// Which rare situations occurred in how many stories, and which in none.
    pub fn probes_table(&self, width: Width) -> String {
        let probes = self.probes();
        let mut out = String::new();
        let mut table = Table::indented(0).right(1);
        let mut missing = Table::indented(0);
        for (name, what) in PROBES {
            match probes.get(name) {
                Some((count, first)) => {
                    table.row([(*name).to_owned(), thousands(*count), format!("first {first}"), (*what).to_owned()]);
                }
                None => missing.row([(*name).to_owned(), (*what).to_owned()]),
            }
        }
        out.push_str(&table.text(width));
        let never = missing.text(width);
        if !never.is_empty() {
            let _ = write!(out, "\n{HEADING}In no story{HEADING:#}\n{never}");
        }
        out
    }
}

impl Finding {
    /// The file with its smallest story, below the campaign's folder.
    pub fn file(&self) -> String {
        format!("{FINDINGS}/{}.toml", self.name())
    }

    /// The line that replays its smallest story.
    pub fn replay(&self, program: &str, dir: &Path) -> String {
        let scenario = dir.join(self.file()).display().to_string();
        Replay { program: program.to_owned(), scenario, options: Vec::new() }.line(self.first().seed())
    }
}

/// `1 story`, `2 stories`
pub fn counted(count: usize, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{} {stem}ies", thousands(count)),
        (_, None) => format!("{} {what}s", thousands(count)),
    }
}
