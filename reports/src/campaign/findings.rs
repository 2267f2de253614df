//! The failures of a campaign, grouped: the same oracle and a sentence of the same shape are one finding.

use std::collections::BTreeMap;

use sim::hash::digest;

use super::{Campaign, StoryId, Wrong};

/// Stories in which the same went wrong first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What went wrong first in the smallest of them.
    pub wrong: Wrong,
    /// The stories, the smallest first.
    pub stories: Vec<StoryId>,
}

impl Finding {
    /// The smallest seed that shows it, or the smallest varied story if no seed does.
    pub fn first(&self) -> StoryId {
        self.stories[0]
    }

    /// A name that is the same in every campaign: the oracle, and a number for the shape of its sentence.
    pub fn name(&self) -> String {
        format!("{}-{:04x}", self.wrong.rule, digest(self.wrong.shape.as_bytes()) & 0xffff)
    }
}

impl Campaign {
    /// All findings, the most frequent first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut groups: BTreeMap<(&str, &str), Vec<(StoryId, &Wrong)>> = BTreeMap::new();
        for (id, story) in &self.stories {
            if let Some(wrong) = story.wrong.first() {
                groups.entry((&wrong.rule, &wrong.shape)).or_default().push((*id, wrong));
            }
        }
        let finding = |mut stories: Vec<(StoryId, &Wrong)>| {
            stories.sort_by_key(|(id, _)| *id);
            Finding { wrong: stories[0].1.clone(), stories: stories.into_iter().map(|(id, _)| id).collect() }
        };
        let mut findings: Vec<_> = groups.into_values().map(finding).collect();
        findings.sort_by_key(|finding| (usize::MAX - finding.stories.len(), finding.first()));
        findings
    }

    /// Number of stories in which something went wrong.
    pub fn failed(&self) -> usize {
        self.stories.iter().filter(|(_, story)| !story.wrong.is_empty()).count()
    }

    /// In how many stories each probe occurred, and the first of them.
    pub fn probes(&self) -> BTreeMap<&str, (usize, StoryId)> {
        let mut probes: BTreeMap<&str, (usize, StoryId)> = BTreeMap::new();
        for (id, story) in &self.stories {
            for probe in &story.probes {
                let (count, first) = probes.entry(probe).or_insert((0, *id));
                *count += 1;
                *first = (*first).min(*id);
            }
        }
        probes
    }
}
