//! A campaign in short. Its numbers are kept beside its stories, so that asking how far it is costs the same however long
//! it is.

use std::collections::BTreeMap;

use redb::{ReadableTable, StorageError, Table};

use super::{Campaign, Plan, Story};

/// A number, by its kind and a name.
pub(super) type Key = (&'static str, &'static str);

/// What a summary has of single stories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(BTreeMap<(String, String), u64>);

const STORIES: &str = "stories";
const FAILED: &str = "failed";
const FINDING: &str = "finding";
const PROBE: &str = "probe";
const CONNECTED: &str = "connected";
const CORPUS: &str = "corpus";

impl Tally {
    /// Counts a story.
    pub(super) fn count(&mut self, story: &Story, is_new: bool) {
        self.add(STORIES, "");
        if let Some(wrong) = story.wrong.first() {
            self.add(FAILED, "");
            self.add(FINDING, &format!("{}\n{}", wrong.rule, wrong.shape));
        }
        if is_new {
            self.add(CORPUS, "");
        }
        for probe in &story.probes {
            self.add(PROBE, probe);
        }
        for time in &story.connected {
            // Digits in front, so that times are in order.
            self.add(CONNECTED, &format!("{time:010}"));
        }
    }

    fn add(&mut self, kind: &str, name: &str) {
        *self.0.entry((kind.to_owned(), name.to_owned())).or_default() += 1;
    }

    /// Adds these numbers to those of a table.
    pub(super) fn add_to(&self, table: &mut Table<'_, Key, u64>) -> Result<(), StorageError> {
        for ((kind, name), count) in &self.0 {
            let key = (kind.as_str(), name.as_str());
            let before = table.get(key)?.map_or(0, |before| before.value());
            table.insert(key, before + count)?;
        }
        Ok(())
    }

    pub(super) fn read(table: &impl ReadableTable<Key, u64>) -> Result<Self, StorageError> {
        let mut tally = Self::default();
        for entry in table.iter()? {
            let (key, count) = entry?;
            let (kind, name) = key.value();
            tally.0.insert((kind.to_owned(), name.to_owned()), count.value());
        }
        Ok(tally)
    }

    /// Number of stories that were counted.
    pub(super) fn stories(&self) -> u64 {
        self.sum(STORIES)
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        let is_of_kind = move |((own, _), _): &(&(String, String), &u64)| own == kind;
        self.0.iter().filter(is_of_kind).map(|((_, name), count)| (name.as_str(), *count))
    }

    fn sum(&self, kind: &str) -> u64 {
        self.of_kind(kind).map(|(_, count)| count).sum()
    }
}

/// How far a campaign is, and what it has found and reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What it plays.
    pub plan: Plan,
    /// Number of stories.
    pub stories: u64,
    /// Number of stories in which something went wrong.
    pub failed: u64,
    /// Number of findings.
    pub findings: u64,
    /// Number of probes that occurred.
    pub probes: u64,
    /// Number of situations of the oracles' model that were met.
    pub situations: u64,
    /// Number of stories that are kept because they reached something new.
    pub corpus: u64,
    /// How many pairs took so many milliseconds to connect, the shortest time first.
    pub connected: Vec<(u32, u64)>,
    /// Real time of all calls together, milliseconds.
    pub wall_ms: u64,
}

impl Summary {
    pub(super) fn of_tally(plan: Plan, tally: &Tally, situations: u64, wall_ms: u64) -> Self {
        Self {
            plan,
            stories: tally.stories(),
            failed: tally.sum(FAILED),
            findings: tally.of_kind(FINDING).count() as u64,
            probes: tally.of_kind(PROBE).count() as u64,
            situations,
            corpus: tally.sum(CORPUS),
            connected: tally.of_kind(CONNECTED).filter_map(|(time, n)| Some((time.parse().ok()?, n))).collect(),
            wall_ms,
        }
    }

    /// Number of pairs that connected.
    pub(super) fn pairs(&self) -> u64 {
        self.connected.iter().map(|(_, count)| count).sum()
    }

    /// The time within which so many percent of the pairs connected, milliseconds; `None` if no pair did.
    pub(super) fn connected_within(&self, percent: u64) -> Option<u32> {
        let index = self.pairs().checked_sub(1)? * percent / 100;
        let mut before = 0;
        let is_within = |(_, count): &&(u32, u64)| {
            before += count;
            before > index
        };
        self.connected.iter().find(is_within).map(|(time, _)| *time)
    }
}

impl Campaign {
    /// The campaign in short.
    pub fn summary(&self) -> Summary {
        let mut tally = Tally::default();
        self.stories.iter().for_each(|(_, story)| tally.count(story, false));
        let corpus = self.corpus;
        Summary { corpus, ..Summary::of_tally(self.plan.clone(), &tally, self.situations, self.wall_ms) }
    }
}
