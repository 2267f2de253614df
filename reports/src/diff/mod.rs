//! What changed between two results: what newly fails, what is mended, what behaves otherwise though it passes.
//!
//! A case may stand in a result several times: repeats decide whether it is flaky. Only what passed before and fails now is a regression;
//! flaky cases and timings are told and fail no build, for a build that is red without a reason is soon ignored.

mod behaviour;
mod text;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::{Case, Verdict};
use crate::result::Results;

pub use behaviour::SideBySide;
pub use timing::Timing;

/// What changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    /// Passed, fails now; or fails by a rule that it kept before.
    pub newly_failing: Vec<Failing>,
    /// Failed, passes now.
    pub fixed: Vec<String>,
    /// Failed and fails.
    pub still_failing: Vec<String>,
    /// Passes and fails by turns, in either result.
    pub flaky: Vec<Flaky>,
    /// Was judged, is not any more: not tested, or unsupported.
    pub no_longer_tested: Vec<(String, Verdict)>,
    /// Only in the new result, with its verdict.
    pub added: Vec<(String, Verdict)>,
    /// Only in the old result.
    pub removed: Vec<String>,
    /// Passes as before, but something else happens.
    pub behaviour: Vec<Behaviour>,
    /// Took longer or shorter by more than its noise.
    pub timing: Vec<Timing>,
    /// Cases that are in both.
    pub compared: usize,
}

/// A case that newly fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Failing {
    /// Which case.
    pub id: String,
    /// The rules that it breaks and did not break before, each with what is wrong.
    pub rules: Vec<(String, String)>,
    /// The command that plays it again.
    pub replay: String,
    /// What happens otherwise, and first.
    pub first: Option<SideBySide>,
}

/// A case whose repeats disagree.
#[derive(Clone, Debug, PartialEq)]
pub struct Flaky {
    /// Which case.
    pub id: String,
    /// How often it failed, of how many times, before and now.
    pub before: (usize, usize),
    /// The same in the new result.
    pub now: (usize, usize),
}

/// A case that passes as before and behaves otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// Which case.
    pub id: String,
    /// What happens otherwise, and first; `None` if neither result has kept it.
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

/// Behaviours that are looked into: reading the events of each run takes time.
const LOOKED_INTO_MAX: usize = 20;

impl Diff {
    /// Compares a result with one before it.
    ///
    /// # Errors
    /// They are of different suites, one is cut off, or they have no case in common.
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
                "they have no case in common: one is of {}, the other of {}",
                before.opening.name, now.opening.name
            )));
        }
        diff.timing = timing::compare(before, now);
        Ok(diff)
    }

    /// Whether something that was right is wrong.
    pub fn is_regression(&self) -> bool {
        !self.newly_failing.is_empty()
    }

    /// Whether nothing at all changed.
    pub fn is_empty(&self) -> bool {
        *self == Self { compared: self.compared, still_failing: self.still_failing.clone(), ..Self::default() }
    }

    fn compare(&mut self, id: &str, (before, old): (&Results, &[&Case]), (now, new): (&Results, &[&Case])) {
        let id_of = || id.to_owned();
        match (Standing::of(old), Standing::of(new)) {
            (Standing::Unjudged, Standing::Good | Standing::Unjudged) => {}
            (Standing::Good | Standing::Bad | Standing::Mixed, Standing::Unjudged) => {
                self.no_longer_tested.push((id_of(), worst(new)));
            }
            (Standing::Good, Standing::Good) => self.behaves(id, (before, old[0]), (now, new[0])),
            (Standing::Bad, Standing::Good) => self.fixed.push(id_of()),
            (Standing::Good | Standing::Unjudged, Standing::Bad) => self.fails((before, old), (now, new)),
            (Standing::Bad, Standing::Bad) => {
                let known = rules(old);
                if rules(new).keys().any(|rule| !known.contains_key(rule)) {
                    self.fails((before, old), (now, new));
                } else {
                    self.still_failing.push(id_of());
                }
            }
            // It never failed before, and mostly fails now: that is more than a flake.
            (Standing::Good, Standing::Mixed) if 2 * failures(new) > new.len() => self.fails((before, old), (now, new)),
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

/// How all repeats of a case ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    Bad,
    Mixed,
    Unjudged,
}

impl Standing {
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

/// The rules that cases break, each with what is wrong the first time.
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

/// A result without what only a person reads: what is kept as a baseline, an order of magnitude smaller.
pub fn brief(mut case: Case) -> Case {
    case.story.clear();
    case.parties.clear();
    for finding in &mut case.findings {
        (finding.steps, finding.step, finding.parties, finding.evidence) = (Vec::new(), None, Vec::new(), None);
    }
    if let Some(simulation) = &mut case.simulation {
        (simulation.topology, simulation.events_file, simulation.capture) = (None, None, None);
        simulation.pairs.iter_mut().for_each(|pair| pair.candidates = None);
    }
    case
}

/// Ids of a list, in groups: `mesh-6/{0, 1, 2}`.
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
