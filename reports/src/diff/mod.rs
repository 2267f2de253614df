//! Differences between two results: new failures, fixed cases, and passing cases that behave differently.
//!
//! A case may occur in a result several times; the repeats decide whether it is flaky. Only a case that passed before
//! and fails now is a regression. Flaky cases and timings are reported but fail no build, because a build that fails
//! without a reason is soon ignored.

mod behaviour;
mod text;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::{Case, Verdict};
use crate::result::Results;

pub use behaviour::SideBySide;
pub use timing::Timing;

/// The differences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    /// Cases that passed and fail now, or that break a rule that they did not break before.
    pub newly_failing: Vec<Failing>,
    /// Cases that failed and pass now.
    pub fixed: Vec<String>,
    /// Cases that failed and still fail.
    pub still_failing: Vec<String>,
    /// Cases whose repeats both pass and fail in one of the results.
    pub flaky: Vec<Flaky>,
    /// Cases that had a verdict and are now not tested or unsupported.
    pub no_longer_tested: Vec<(String, Verdict)>,
    /// Cases that are only in the new result, with their verdicts.
    pub added: Vec<(String, Verdict)>,
    /// Cases that are only in the old result.
    pub removed: Vec<String>,
    /// Cases that pass as before but behave differently.
    pub behaviour: Vec<Behaviour>,
    /// Timings that changed by more than their noise.
    pub timing: Vec<Timing>,
    /// Number of cases that are in both results.
    pub compared: usize,
}

/// A case that newly fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Failing {
    /// The case.
    pub id: String,
    /// The rules that it newly breaks, each with the finding's message.
    pub rules: Vec<(String, String)>,
    /// The command that replays it.
    pub replay: String,
    /// The first difference in behavior.
    pub first: Option<SideBySide>,
}

/// A case whose repeats disagree.
#[derive(Clone, Debug, PartialEq)]
pub struct Flaky {
    /// Which case.
    pub id: String,
    /// How often it failed in the old result, and how often it ran.
    pub before: (usize, usize),
    /// The same in the new result.
    pub now: (usize, usize),
}

/// A case that passes as before but behaves differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// Which case.
    pub id: String,
    /// The first difference in behavior; `None` if the results do not contain the details.
    pub first: Option<SideBySide>,
}

/// Two results that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomparable(String);

impl fmt::Display for Incomparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Incomparable {}

/// Maximum number of changed behaviors whose events are read, because that takes time.
const LOOKED_INTO_MAX: usize = 20;

impl Diff {
    /// Compares a result with an earlier one.
    ///
    /// # Errors
    /// They are from different suites, one is truncated, or they have no case in common.
    pub fn of(before: &Results, now: &Results) -> Result<Self, Incomparable> {
        comparable(before, now)?;
        let (old, new) = (by_id(before), by_id(now));
        let mut diff = Self::default();
        for (id, cases) in &new {
            match old.get(id) {
                None => diff.added.push(((*id).to_owned(), worst(cases))),
                Some(earlier) => {
                    diff.compared += 1;
                    diff.compare(id, (before, earlier), (now, cases));
                }
            }
        }
        diff.removed = old.keys().filter(|id| !new.contains_key(*id)).map(|id| (*id).to_owned()).collect();
        if diff.compared == 0 {
            return Err(Incomparable(format!(
                "they have no case in common: one is for {}, the other for {}",
                before.opening.name, now.opening.name
            )));
        }
        diff.timing = timing::compare(before, now);
        Ok(diff)
    }

    /// Whether something that passed now fails.
    pub fn is_regression(&self) -> bool {
        !self.newly_failing.is_empty()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self { compared: self.compared, still_failing: self.still_failing.clone(), ..Self::default() }
    }

    fn compare(&mut self, id: &str, (before, old): (&Results, &[&Case]), (now, new): (&Results, &[&Case])) {
        let id_of = || id.to_owned();
        match (RepeatVerdict::of(old), RepeatVerdict::of(new)) {
            (RepeatVerdict::Unjudged, RepeatVerdict::Good | RepeatVerdict::Unjudged) => {}
            (RepeatVerdict::Good | RepeatVerdict::Bad | RepeatVerdict::Mixed, RepeatVerdict::Unjudged) => {
                self.no_longer_tested.push((id_of(), worst(new)));
            }
            (RepeatVerdict::Good, RepeatVerdict::Good) => self.behaves(id, (before, old[0]), (now, new[0])),
            (RepeatVerdict::Bad, RepeatVerdict::Good) => self.fixed.push(id_of()),
            (RepeatVerdict::Good | RepeatVerdict::Unjudged, RepeatVerdict::Bad) => {
                self.fails((before, old), (now, new))
            }
            (RepeatVerdict::Bad, RepeatVerdict::Bad) => {
                let known = rules(old);
                if rules(new).keys().any(|rule| !known.contains_key(rule)) {
                    self.fails((before, old), (now, new));
                } else {
                    self.still_failing.push(id_of());
                }
            }
            // It never failed before and mostly fails now, so it is not merely flaky.
            (RepeatVerdict::Good, RepeatVerdict::Mixed) if 2 * failures(new) > new.len() => {
                self.fails((before, old), (now, new))
            }
            _ => self.flaky.push(Flaky {
                id: id_of(),
                before: (failures(old), old.len()),
                now: (failures(new), new.len()),
            }),
        }
    }

    fn fails(&mut self, (before, old): (&Results, &[&Case]), (now, new): (&Results, &[&Case])) {
        let known = rules(old);
        let wrong = new.iter().copied().find(|case| case.verdict.is_failure()).unwrap_or(new[0]);
        let first = (self.newly_failing.len() < LOOKED_INTO_MAX)
            .then(|| behaviour::first_difference((before, old[0]), (now, wrong)))
            .flatten();
        self.newly_failing.push(Failing {
            id: wrong.id.clone(),
            rules: rules(new).into_iter().filter(|(rule, _)| !known.contains_key(rule)).collect(),
            replay: wrong.replay.clone(),
            first,
        });
    }

    fn behaves(&mut self, id: &str, before: (&Results, &Case), now: (&Results, &Case)) {
        if behaviour::is_same(before.1, now.1) {
            return;
        }
        let look = self.behaviour.len() < LOOKED_INTO_MAX;
        let first = look.then(|| behaviour::first_difference(before, now)).flatten();
        self.behaviour.push(Behaviour { id: id.to_owned(), first });
    }
}

fn comparable(before: &Results, now: &Results) -> Result<(), Incomparable> {
    let (old, new) = (&before.opening, &now.opening);
    if old.suite != new.suite {
        let (old, new) = (old.suite.word(), new.suite.word());
        return Err(Incomparable(format!(
            "one is a result of {old}, the other of {new}: compare results of the same suite"
        )));
    }
    for (which, result) in [("old", before), ("new", now)] {
        if result.closing.is_none() {
            let cases = result.cases.len();
            return Err(Incomparable(format!("the {which} result is truncated after {cases} cases: run it again")));
        }
    }
    Ok(())
}

/// The combined verdict of all repeats of a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RepeatVerdict {
    Good,
    Bad,
    Mixed,
    Unjudged,
}

impl RepeatVerdict {
    fn of(cases: &[&Case]) -> Self {
        let judged =
            cases.iter().filter(|case| !matches!(case.verdict, Verdict::NotTested | Verdict::Unsupported)).count();
        match failures(cases) {
            _ if judged == 0 => Self::Unjudged,
            0 => Self::Good,
            bad if bad == judged => Self::Bad,
            _ => Self::Mixed,
        }
    }
}

fn failures(cases: &[&Case]) -> usize {
    cases.iter().filter(|case| case.verdict.is_failure()).count()
}

fn worst(cases: &[&Case]) -> Verdict {
    let bad = cases.iter().map(|case| case.verdict).find(|verdict| verdict.is_failure());
    bad.or_else(|| cases.iter().map(|case| case.verdict).max()).unwrap_or(Verdict::NotTested)
}

/// The rules that cases break, each with the message of its first finding.
fn rules(cases: &[&Case]) -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    for finding in cases.iter().filter(|case| case.verdict.is_failure()).flat_map(|case| &case.findings) {
        rules.entry(finding.rule.clone()).or_insert_with(|| finding.message.clone());
    }
    rules
}

fn by_id(results: &Results) -> BTreeMap<&str, Vec<&Case>> {
    let mut cases: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in &results.cases {
        cases.entry(&case.id).or_default().push(case);
    }
    cases
}

/// A case without the details that only people read, as stored in a baseline: about a tenth of the size.
pub fn brief(mut case: Case) -> Case {
    case.story.clear();
    case.parties.clear();
    for finding in &mut case.findings {
        (finding.steps, finding.step, finding.parties, finding.evidence) = (Vec::new(), None, Vec::new(), None);
        finding.causes.clear();
    }
    if let Some(simulation) = &mut case.simulation {
        (simulation.topology, simulation.events_file, simulation.capture) = (None, None, None);
        simulation.pairs.iter_mut().for_each(|pair| pair.candidates = None);
    }
    case
}

/// Ids, grouped: `mesh-6/{0, 1, 2}`.
fn grouped<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut groups: BTreeMap<&str, BTreeSet<(u64, &str)>> = BTreeMap::new();
    for id in ids {
        let (group, rest) = id.rsplit_once('/').unwrap_or(("", id));
        groups.entry(group).or_default().insert((rest.parse().unwrap_or(u64::MAX), rest));
    }
    let shown = |(group, members): (&str, BTreeSet<(u64, &str)>)| {
        const MEMBERS_MAX: usize = 12;
        let all = members.len();
        let names: Vec<_> = members.iter().take(MEMBERS_MAX).map(|(_, name)| *name).collect();
        let more = if all > MEMBERS_MAX { format!(", … {all} in all") } else { String::new() };
        match (group, all) {
            ("", 1) => names[0].to_owned(),
            ("", _) => format!("{}{more}", names.join(", ")),
            (group, 1) => format!("{group}/{}", names[0]),
            (group, _) => format!("{group}/{{{}{more}}}", names.join(", ")),
        }
    };
    groups.into_iter().map(shown).collect()
}
