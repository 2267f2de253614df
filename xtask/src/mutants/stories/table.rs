//! Which mutants the stories found, by which oracle, and after how many of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::mutants::catalogue::Mutant;

/// What stories said about a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mutants) enum Verdict {
    /// An oracle reported it in the story of this seed. No earlier story failed.
    Found { oracle: String, message: String, profile: String, seed: u64 },
    /// So many stories went differently, and no oracle reported any.
    Missed { changed: usize },
    /// No story went differently: what the defect changes does not happen in them.
    WithoutEffect,
}

/// The verdicts on all mutants.
pub(in crate::mutants) struct Table<'a> {
    stories: u64,
    verdicts: BTreeMap<&'a str, (&'a Mutant, Verdict)>,
}

impl<'a> Table<'a> {
    pub(super) fn new(stories: u64) -> Self {
        Self { stories, verdicts: BTreeMap::new() }
    }

    pub(super) fn enter(&mut self, mutant: &'a Mutant, verdict: Verdict) {
        self.verdicts.insert(&mutant.name, (mutant, verdict));
    }

    /// Number of mutants that change stories and are not found.
    pub(super) fn missed(&self) -> usize {
        self.all().filter(|(_, verdict)| matches!(verdict, Verdict::Missed { .. })).count()
    }

    /// Whether every mutant that changes a story is found, and there is one.
    pub(super) fn passed(&self) -> bool {
        self.missed() == 0 && self.all().any(|(_, verdict)| *verdict != Verdict::WithoutEffect)
    }

    /// The verdicts, by the names of the mutants.
    pub(in crate::mutants) fn all(&self) -> impl Iterator<Item = &(&'a Mutant, Verdict)> {
        self.verdicts.values()
    }

    /// Numbers of stories that it took to find the mutants that were found, sorted.
    fn efforts(&self) -> Vec<u64> {
        let seeds = self.all().filter_map(|(_, verdict)| match verdict {
            Verdict::Found { seed, .. } => Some(seed + 1),
            _ => None,
        });
        let mut efforts: Vec<_> = seeds.collect();
        efforts.sort_unstable();
        efforts
    }

    /// The table for people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let width = self.verdicts.keys().map(|name| name.len()).max().unwrap_or_default();
        for (mutant, verdict) in self.all() {
            let _ = match verdict {
                Verdict::Found { oracle, profile, seed, .. } => {
                    writeln!(out, "found    {:width$}  {oracle}, story {} ({profile})", mutant.name, seed + 1)
                }
                Verdict::Missed { changed } => {
                    writeln!(out, "MISSED   {:width$}  changes {changed} stories: {}", mutant.name, mutant.defect)
                }
                Verdict::WithoutEffect => Ok(()),
            };
        }
        let without: Vec<_> = self.all().filter(|(_, verdict)| *verdict == Verdict::WithoutEffect).collect();
        if !without.is_empty() {
            let names: Vec<_> = without.iter().map(|(mutant, _)| mutant.name.as_str()).collect();
            let _ = writeln!(out, "\nno effect in any story: {}", names.join(", "));
        }
        let mut oracles: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, verdict) in self.all() {
            if let Verdict::Found { oracle, .. } = verdict {
                *oracles.entry(oracle).or_default() += 1;
            }
        }
        let mut oracles: Vec<_> = oracles.into_iter().collect();
        oracles.sort_by_key(|(oracle, count)| (std::cmp::Reverse(*count), *oracle));
        let oracles: Vec<_> = oracles.into_iter().map(|(oracle, count)| format!("{oracle} {count}")).collect();
        if !oracles.is_empty() {
            let _ = writeln!(out, "\nfound by: {}", oracles.join(", "));
        }
        let efforts = self.efforts();
        let (found, missed) = (efforts.len(), self.missed());
        let _ = writeln!(
            out,
            "\n{} of {} mutants that change one of {} stories are found ({:.1} %), half of them within {} stories; \
             {} change none",
            found,
            found + missed,
            self.stories,
            100.0 * found as f64 / (found + missed).max(1) as f64,
            efforts.get(found / 2).copied().unwrap_or_default(),
            without.len()
        );
        out
    }

    /// The table for programs.
    pub(super) fn json(&self) -> Value {
        let mutants = self.all().map(|(mutant, verdict)| match verdict {
            Verdict::Found { oracle, message, profile, seed } => json!({
                "mutant": mutant.name, "verdict": "found", "oracle": oracle, "message": message,
                "profile": profile, "seed": seed, "stories": seed + 1,
            }),
            Verdict::Missed { changed } => {
                json!({ "mutant": mutant.name, "verdict": "missed", "changed": changed })
            }
            Verdict::WithoutEffect => json!({ "mutant": mutant.name, "verdict": "no-effect" }),
        });
        json!({ "stories": self.stories, "mutants": mutants.collect::<Vec<_>>() })
    }
}
