//! Which mutants the stories found, by which oracle, and after how many of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::reach::Beyond;
use crate::mutants::catalogue::Mutant;

/// What stories said about a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mutants) enum Verdict {
    /// An oracle reported it in the story of this seed. No earlier story failed.
    Found { oracle: String, message: String, profile: String, seed: u64 },
    /// So many stories went differently, and no oracle reported any.
    Missed { changed: usize },
    /// No story went differently. So many have been in the functions with the defect; what it changes there did not happen.
    WithoutEffect { reached: usize },
}

/// What a verdict means.
enum Judged {
    Found,
    /// It changes so many stories.
    Missed(usize),
    /// It could show, and what it needs happened in no story.
    Unmet,
    /// It cannot show.
    Beyond(Beyond),
    /// It shows, although the catalogue says that it cannot.
    Wrong,
}

fn judged(mutant: &Mutant, verdict: &Verdict) -> Judged {
    match (verdict, mutant.beyond) {
        (Verdict::WithoutEffect { .. }, Some(why)) => Judged::Beyond(why),
        (Verdict::Missed { .. }, Some(why)) if why.may_change() => Judged::Beyond(why),
        (_, Some(_)) => Judged::Wrong,
        (Verdict::Found { .. }, None) => Judged::Found,
        (Verdict::Missed { changed }, None) => Judged::Missed(*changed),
        (Verdict::WithoutEffect { .. }, None) => Judged::Unmet,
    }
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

    /// Number of mutants that can show and are not found.
    pub(super) fn missed(&self) -> usize {
        self.all()
            .filter(|(mutant, verdict)| matches!(judged(mutant, verdict), Judged::Missed(_) | Judged::Unmet))
            .count()
    }

    /// Whether every mutant that changes a story is found, there is one, and none shows that the catalogue says cannot.
    pub(super) fn passed(&self) -> bool {
        let is_wrong = |judged: &Judged| matches!(judged, Judged::Missed(_) | Judged::Wrong);
        let judged: Vec<_> = self.all().map(|(mutant, verdict)| judged(mutant, verdict)).collect();
        !judged.iter().any(is_wrong) && judged.iter().any(|judged| matches!(judged, Judged::Found))
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
        let mut beyond: BTreeMap<Beyond, Vec<&str>> = BTreeMap::new();
        for (mutant, verdict) in self.all() {
            let Mutant { name, defect, .. } = mutant;
            let line = match (judged(mutant, verdict), verdict) {
                (Judged::Beyond(why), _) => {
                    beyond.entry(why).or_default().push(name);
                    continue;
                }
                (Judged::Wrong, _) => {
                    "WRONG    {}  shows in stories, although the catalogue says that it cannot".to_owned()
                }
                (_, Verdict::Found { oracle, profile, seed, .. }) => {
                    format!("found    {{}}  {oracle}, story {} ({profile})", seed + 1)
                }
                (Judged::Missed(changed), _) => format!("MISSED   {{}}  changes {changed} stories: {defect}"),
                (_, Verdict::WithoutEffect { reached }) => {
                    format!("UNMET    {{}}  runs in {reached} stories and changes none: {defect}")
                }
                (_, Verdict::Missed { .. }) => unreachable!("it is judged above"),
            };
            let _ = writeln!(out, "{}", line.replacen("{}", &format!("{name:width$}"), 1));
        }
        for (why, names) in beyond {
            let _ = writeln!(out, "\nno story can show these: each needs {}\n  {}", why.needs(), names.join(", "));
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
        let _ = writeln!(out, "\n{}", self.summary());
        out
    }

    /// The figures in a sentence.
    fn summary(&self) -> String {
        let efforts = self.efforts();
        let found = efforts.len();
        let can_show = found + self.missed();
        format!(
            "{found} of {can_show} defects that can show in a story are found within {} stories ({:.1} %), half of them within {}",
            self.stories,
            100.0 * found as f64 / can_show.max(1) as f64,
            efforts.get(found / 2).copied().unwrap_or_default(),
        )
    }

    /// The table as a document: what was found, what was not, and what cannot be.
    pub(super) fn markdown(&self) -> String {
        let mut areas: BTreeMap<&str, (Vec<u64>, usize, usize)> = BTreeMap::new();
        let (mut found, mut missed) = (String::new(), String::new());
        let mut beyond: BTreeMap<Beyond, Vec<String>> = BTreeMap::new();
        for (mutant, verdict) in self.all() {
            let Mutant { name, defect, .. } = mutant;
            let area = areas.entry(name.split('/').next().unwrap_or(name)).or_default();
            match (judged(mutant, verdict), verdict) {
                (Judged::Beyond(why), _) => {
                    area.2 += 1;
                    beyond.entry(why).or_default().push(format!("`{name}`"));
                }
                (_, Verdict::Found { oracle, profile, seed, .. }) => {
                    area.0.push(seed + 1);
                    let _ = writeln!(found, "| `{name}` | {defect} | `{oracle}` | {} | {profile} |", seed + 1);
                }
                (_, Verdict::Missed { changed }) => {
                    area.1 += 1;
                    let _ =
                        writeln!(missed, "| `{name}` | {defect} | changes {changed} stories, and no oracle says so |");
                }
                (_, Verdict::WithoutEffect { reached }) => {
                    area.1 += 1;
                    let _ = writeln!(
                        missed,
                        "| `{name}` | {defect} | its code runs in {reached} stories and changes none |"
                    );
                }
            }
        }
        let mut out = format!(
            "{}.\n\n| area | can show | found | half of them within | cannot show |\n|---|---|---|---|---|\n",
            self.summary()
        );
        for (area, (mut efforts, missed, beyond)) in areas {
            efforts.sort_unstable();
            let half = efforts.get(efforts.len() / 2).map_or_else(|| "–".to_owned(), u64::to_string);
            let _ = writeln!(out, "| {area} | {} | {} | {half} | {beyond} |", efforts.len() + missed, efforts.len());
        }
        let _ = write!(out, "\n## Not found\n\n| mutant | defect | why |\n|---|---|---|\n{missed}");
        out.push_str("\n## What no story can show\n\n| it needs | mutants |\n|---|---|\n");
        for (why, names) in beyond {
            let _ = writeln!(out, "| {} | {} |", why.needs(), names.join(", "));
        }
        let _ = write!(
            out,
            "\n## Found\n\n| mutant | defect | oracle | stories | profile |\n|---|---|---|---|---|\n{found}"
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
                json!({
                    "mutant": mutant.name, "verdict": "missed", "changed": changed,
                    "beyond": mutant.beyond.map(Beyond::name),
                })
            }
            Verdict::WithoutEffect { reached } => json!({
                "mutant": mutant.name, "verdict": "no-effect", "reached": reached,
                "beyond": mutant.beyond.map(Beyond::name),
            }),
        });
        json!({ "stories": self.stories, "mutants": mutants.collect::<Vec<_>>() })
    }
}
