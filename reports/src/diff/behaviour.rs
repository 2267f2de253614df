//! Changed behavior: the first event, or step of the story, in which two runs differ.

use std::fs::File;
use std::io::{BufRead, BufReader};

use crate::model::Case;
use crate::result::Results;

/// Number of equal lines shown before the first difference.
const CONTEXT: usize = 3;
/// Maximum length of an event's line; longer ones are cut.
const LINE_BYTES_MAX: usize = 2_000;

/// The first difference of two runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideBySide {
    /// The number of the event, or of the step, from 0.
    pub index: usize,
    /// `event` or `step`.
    pub of: &'static str,
    /// The equal lines before it.
    pub common: Vec<String>,
    /// The line of the old run; `None` if that run had ended.
    pub before: Option<String>,
    /// The line of the new run; `None` if that run had ended.
    pub now: Option<String>,
}

/// Whether two passing cases behave the same, as far as their results show.
pub(super) fn is_same(before: &Case, now: &Case) -> bool {
    let hash = |case: &Case| case.simulation.as_ref().and_then(|simulation| simulation.hash.clone());
    match (hash(before), hash(now)) {
        (Some(old), Some(new)) => old == new,
        _ => before.verdict == now.verdict && measured(before).eq(measured(now)),
    }
}

/// A case's remarks without their figures, because measurements on a real network always differ.
fn measured(case: &Case) -> impl Iterator<Item = String> + '_ {
    case.remarks.iter().map(|remark| remark.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect())
}

/// The first difference of the events if both files exist, otherwise of the stories, otherwise of the remarks.
pub(super) fn first_difference(before: (&Results, &Case), now: (&Results, &Case)) -> Option<SideBySide> {
    in_events(before, now).or_else(|| in_stories(before.1, now.1)).or_else(|| in_remarks(before.1, now.1))
}

fn in_events(before: (&Results, &Case), now: (&Results, &Case)) -> Option<SideBySide> {
    let open = |(results, case): (&Results, &Case)| {
        let file = case.simulation.as_ref()?.events_file.as_ref()?;
        let inside =
            std::path::Path::new(file).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let file = inside.then(|| File::open(results.dir.join(file)).ok())??;
        Some(BufReader::new(file).lines().map_while(Result::ok))
    };
    first("event", open(before)?, open(now)?)
}

fn in_stories(before: &Case, now: &Case) -> Option<SideBySide> {
    if before.story.is_empty() || now.story.is_empty() {
        return None;
    }
    let lines = |case: &Case| {
        let name = |party: &usize| case.parties.get(*party).map_or("?", |party| party.name.as_str());
        let line = |step: &crate::model::Step| {
            let who: Vec<_> = step.who.iter().map(name).collect();
            let to = step.to.as_ref().map(|to| format!(" → {}", name(to))).unwrap_or_default();
            // Conformance runs have real times, which always differ. Only the times of a simulation are compared.
            let at = if case.simulation.is_some() { format!("{:.3} s  ", step.at) } else { String::new() };
            format!("{at}{}{to}  {}", who.join(", "), step.text)
        };
        case.story.iter().map(line).collect::<Vec<_>>()
    };
    first("step", lines(before).into_iter(), lines(now).into_iter())
}

fn in_remarks(before: &Case, now: &Case) -> Option<SideBySide> {
    // A changed verdict is already reported.
    if before.verdict.is_failure() != now.verdict.is_failure() {
        return None;
    }
    let lines =
        |case: &Case| std::iter::once(case.verdict.word().to_owned()).chain(case.remarks.clone()).collect::<Vec<_>>();
    first("remark", lines(before).into_iter(), lines(now).into_iter())
}

fn first(
    of: &'static str,
    mut before: impl Iterator<Item = String>,
    mut now: impl Iterator<Item = String>,
) -> Option<SideBySide> {
    let mut common: Vec<String> = Vec::new();
    for index in 0.. {
        match (before.next(), now.next()) {
            (None, None) => return None,
            (old, new) if old == new => {
                if common.len() == CONTEXT {
                    common.remove(0);
                }
                common.extend(old.map(cut));
            }
            (old, new) => return Some(SideBySide { index, of, common, before: old.map(cut), now: new.map(cut) }),
        }
    }
    None
}

fn cut(line: String) -> String {
    match line.char_indices().nth(LINE_BYTES_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
