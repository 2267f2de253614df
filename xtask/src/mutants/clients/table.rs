//! What became of the clients with each defect.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use scenarios::Scenario;
use serde_json::{Value, json};

use super::aftermath::Differences;
use crate::mutants::catalogue::Mutant;

/// What a defect of the server did to the clients of a scenario.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::mutants) enum Verdict {
    /// The run is the same as without it: what it changes does not happen in the scenario.
    NotMet,
    /// All client programs stayed up.
    Lives { differences: Differences, oracles: Vec<&'static str> },
    /// A client program ended, or came to a standstill.
    Ends { why: Vec<String>, differences: Differences, oracles: Vec<&'static str> },
    /// The simulation could not be played to its end.
    NoRun { why: String },
}

impl Verdict {
    /// The verdict in a word or two, as [`WORDS`] explains.
    pub(in crate::mutants) fn word(&self) -> &'static str {
        match self {
            Self::NotMet => "not met",
            Self::Lives { differences, .. } if !differences.harm.is_empty() => "harmed",
            Self::Lives { differences, .. } if !differences.trouble.is_empty() => "recovers",
            Self::Lives { .. } => "unharmed",
            Self::Ends { .. } => "ends",
            Self::NoRun { .. } => "no run",
        }
    }

    fn differences(&self) -> Option<&Differences> {
        match self {
            Self::Lives { differences, .. } | Self::Ends { differences, .. } => Some(differences),
            Self::NotMet | Self::NoRun { .. } => None,
        }
    }

    fn oracles(&self) -> &[&'static str] {
        match self {
            Self::Lives { oracles, .. } | Self::Ends { oracles, .. } => oracles,
            Self::NotMet | Self::NoRun { .. } => &[],
        }
    }

    /// Why there is no better verdict.
    fn why(&self) -> Vec<String> {
        match self {
            Self::Ends { why, .. } => why.clone(),
            Self::NoRun { why } => vec![why.clone()],
            Self::NotMet | Self::Lives { .. } => Vec::new(),
        }
    }

    /// What happened, line by line.
    fn lines(&self) -> Vec<String> {
        let mut lines = self.why();
        if let Some(differences) = self.differences() {
            lines.extend(differences.harm.iter().chain(&differences.trouble).cloned());
            lines.extend(differences.printed.clone());
        }
        lines
    }
}

/// The verdicts in the order of the table, the worst first, and what they mean.
const WORDS: [(&str, &str); 6] = [
    ("no run", "the simulation could not be played to its end"),
    ("ends", "a client program ended by itself, or came to a standstill"),
    ("harmed", "all stayed up, but in the end connections or texts are missing, or are too many"),
    ("recovers", "in the end all is as with the right server, after more or later connections"),
    ("unharmed", "the clients see something else than with the right server, and all is as with it"),
    ("not met", "the scenario does not reach the defect: the run is the same"),
];

/// Lines that are shown of one verdict.
const LINES_MAX: usize = 4;

/// The verdicts on all mutants.
pub(in crate::mutants) struct Table<'a> {
    scenario: String,
    seed: u64,
    verdicts: BTreeMap<&'a str, (&'a Mutant, Verdict)>,
}

impl<'a> Table<'a> {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        Self { scenario: scenario.name.clone(), seed, verdicts: BTreeMap::new() }
    }

    pub(super) fn enter(&mut self, mutant: &'a Mutant, verdict: Verdict) {
        self.verdicts.insert(&mutant.name, (mutant, verdict));
    }

    /// The verdicts, by the names of the mutants.
    pub(in crate::mutants) fn all(&self) -> impl Iterator<Item = &(&'a Mutant, Verdict)> {
        self.verdicts.values()
    }

    fn of<'t>(&'t self, word: &'t str) -> impl Iterator<Item = &'t (&'a Mutant, Verdict)> {
        self.all().filter(move |(_, verdict)| verdict.word() == word)
    }

    /// Number of mutants that ended a client program.
    pub(super) fn ended(&self) -> usize {
        self.of("ends").count()
    }

    /// Whether the scenario reached a defect, and no defect ended a client program or the simulation.
    pub(in crate::mutants) fn passed(&self) -> bool {
        let stays = |verdict: &Verdict| !matches!(verdict.word(), "ends" | "no run");
        self.all().all(|(_, verdict)| stays(verdict)) && self.of("not met").count() < self.verdicts.len()
    }

    /// The table for people. `program` and `file` are for the command that plays a line of it again.
    pub(in crate::mutants) fn text(&self, program: &str, file: &str) -> String {
        let mut out = String::new();
        let width = self.verdicts.keys().map(|name| name.len()).max().unwrap_or_default();
        for (word, _) in WORDS.iter().filter(|(word, _)| *word != "not met") {
            for (mutant, verdict) in self.of(word) {
                let _ = writeln!(out, "{word:8}  {:width$}  {}", mutant.name, mutant.defect);
                let lines = verdict.lines();
                for line in lines.iter().take(LINES_MAX) {
                    let _ = writeln!(out, "{:10}{line}", "");
                }
                if lines.len() > LINES_MAX {
                    let _ = writeln!(out, "{:10}and {} more", "", lines.len() - LINES_MAX);
                }
                if !verdict.oracles().is_empty() {
                    let _ = writeln!(out, "{:10}broken: {}", "", verdict.oracles().join(", "));
                }
            }
        }
        let not_met: Vec<_> = self.of("not met").map(|(mutant, _)| mutant.name.as_str()).collect();
        if !not_met.is_empty() {
            let _ = writeln!(out, "\nnot met: {}", not_met.join(", "));
        }
        let _ = writeln!(out, "\n{} with {} defects, seed {}:", self.scenario, self.verdicts.len(), self.seed);
        for (word, meaning) in WORDS {
            let count = self.of(word).count();
            if count > 0 {
                let _ = writeln!(out, "{count:4} {word:8}  {meaning}");
            }
        }
        let _ =
            writeln!(out, "\nPlay one: {program} sim --scenario {file} --mutant NAME --seed {} --timeline", self.seed);
        out
    }

    /// The table for programs.
    pub(super) fn json(&self) -> Value {
        let mutants = self.all().map(|(mutant, verdict)| {
            let differences = verdict.differences();
            let list = |of: fn(&Differences) -> &Vec<String>| differences.map(of).cloned().unwrap_or_default();
            json!({
                "mutant": mutant.name, "defect": mutant.defect, "verdict": verdict.word(), "why": verdict.why(),
                "harm": list(|found| &found.harm), "trouble": list(|found| &found.trouble),
                "printed": differences.and_then(|found| found.printed.as_deref()), "broken": verdict.oracles(),
            })
        });
        json!({ "scenario": self.scenario, "seed": self.seed, "mutants": mutants.collect::<Vec<_>>() })
    }
}
