//! What changed from the first of two results to the second.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::diff::Diff;
use crate::model::Verdict;
use crate::result::Results;
use crate::text::thousands;

/// The changes between two results.
pub(super) struct Changes {
    new: BTreeSet<String>,
    fixed: BTreeSet<String>,
    still_failing: usize,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It fails in the second result only.
    New,
    /// It fails in the first result only.
    Fixed,
}

impl Changes {
    /// The changes, if there are two results and they can be compared.
    pub(super) fn of(results: &[Results]) -> Option<Self> {
        let [before, now] = results else { return None };
        let diff = Diff::of(before, now).ok()?;
        let added = diff.added.iter().filter(|(_, verdict)| *verdict == Verdict::Fail).map(|(id, _)| id.clone());
        Some(Self {
            new: diff.newly_failing.iter().map(|failing| failing.id.clone()).chain(added).collect(),
            fixed: diff.fixed.into_iter().collect(),
            still_failing: diff.still_failing.len(),
        })
    }

    /// What became of a case, seen in result number `number`: a case that is new is not marked in the first result, one that
    /// is fixed in both.
    pub(super) fn of_case(&self, number: usize, id: &str) -> Option<Change> {
        if self.fixed.contains(id) {
            Some(Change::Fixed)
        } else {
            (number == 1 && self.new.contains(id)).then_some(Change::New)
        }
    }

    /// The ids of the cases that changed in one way.
    pub(super) fn ids(&self, change: Change) -> &BTreeSet<String> {
        match change {
            Change::New => &self.new,
            Change::Fixed => &self.fixed,
        }
    }

    /// All of it in one sentence.
    pub(super) fn sentence(&self) -> String {
        let (new, fixed) = (thousands(self.new.len()), thousands(self.fixed.len()));
        let still = thousands(self.still_failing);
        format!("The second result compared with the first: {fixed} fixed, {new} new, {still} still failing")
    }
}

pub(super) fn tag(change: Change) -> Markup {
    match change {
        Change::New => html! { span.change.new { "new" } },
        Change::Fixed => html! { span.change.fixed { "fixed" } },
    }
}
