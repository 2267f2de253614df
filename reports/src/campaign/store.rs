//! The file of a campaign: an embedded database. Stories are added in batches; a batch is there as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
};

use super::summary::{Key, Summary, Tally};
use super::{Campaign, FILE, Plan, Story, StoryId};
use crate::database::{Kind, Wrong, read, write};
use crate::result::BadFile;

const KIND: Kind = Kind {
    what: "a campaign",
    made_by: "`campaign --out DIR`",
    about: TableDefinition::new("glare-campaign"),
    version: 1,
};
/// The plan as JSON, under the key `plan`.
const PLAN: TableDefinition<'_, &str, &str> = TableDefinition::new("plan");
/// Stories as JSON.
const STORIES: TableDefinition<'_, (u8, u64), &str> = TableDefinition::new("stories");
/// A story's order, its profile, whether it reached something new, and its bytes.
type BytesEntry = (u64, u64, bool, &'static [u8]);
/// The bytes of the stories that are kept.
const BYTES: TableDefinition<'_, (u8, u64), BytesEntry> = TableDefinition::new("bytes");
/// Situations of the oracles' model that were met.
const SITUATIONS: TableDefinition<'_, u64, ()> = TableDefinition::new("situations");
/// Numbers under a name: the real time, milliseconds, and what the caller keeps.
const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");
const WALL: &str = "wall-ms";
/// The summary. An older program does not write it.
const TALLY: TableDefinition<'_, Key, u64> = TableDefinition::new("tally");

fn key(id: StoryId) -> (u8, u64) {
    match id {
        StoryId::Seed(seed) => (0, seed),
        StoryId::Varied(number) => (1, number),
    }
}

fn id((kind, number): (u8, u64)) -> StoryId {
    if kind == 0 { StoryId::Seed(number) } else { StoryId::Varied(number) }
}

/// A campaign in a folder. The file is open only while it is read or written, so that others can read it meanwhile.
#[derive(Clone, Debug)]
pub struct Store {
    file: PathBuf,
}

/// What the stories of a campaign have reached so far.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// The stories that were played.
    pub played: BTreeSet<StoryId>,
    /// Probes that occurred.
    pub probes: BTreeSet<String>,
    /// Situations that were met.
    pub situations: BTreeSet<u64>,
    /// The stories that reached something new, in order: their order, their profile and their bytes.
    pub corpus: Vec<(u64, usize, Vec<u8>)>,
    /// Number of stories in which something went wrong.
    pub failed: usize,
    /// The rule and the shape of each finding, and its smallest story.
    pub findings: BTreeMap<(String, String), StoryId>,
    /// Real time of all calls so far, milliseconds.
    pub wall_ms: u64,
}

/// A story for the store.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Which story it is.
    pub id: StoryId,
    /// What happened.
    pub story: Story,
    /// Its bytes, if they are kept.
    pub bytes: Option<Vec<u8>>,
    /// The situations that it was the first to meet.
    pub new_situations: Vec<u64>,
    /// Whether it reached something new.
    pub is_new: bool,
}

impl Store {
    fn existing(dir: &Path) -> Result<Self, BadFile> {
        let store = Self { file: dir.join(FILE) };
        if store.file.exists() {
            return Ok(store);
        }
        let message = "there is no campaign here: `campaign --out DIR` begins one".to_owned();
        Err(BadFile { file: dir.to_owned(), line: None, message })
    }

    /// The store of a folder, with this plan. A store that exists must have the same plan.
    ///
    /// # Errors
    /// The file cannot be read or written, is not a campaign, comes from a newer program, or has another plan.
    pub fn begin(dir: &Path, plan: &Plan) -> Result<(Self, Reached), BadFile> {
        let store = Self { file: dir.join(FILE) };
        let wrong = |message| BadFile { file: store.file.clone(), line: None, message };
        fs::create_dir_all(dir).map_err(|error| wrong(format!("cannot be written: {error}")))?;
        let reached = KIND.with(&store.file, || {
            let database = KIND.create(&store.file)?;
            store.claim(&database, plan)?;
            reached(&database.begin_read().map_err(read)?)
        })?;
        Ok((store, reached))
    }

    fn claim(&self, database: &Database, plan: &Plan) -> Result<(), Wrong> {
        let json = serde_json::to_string(plan).expect("a plan has a JSON form");
        let writing = database.begin_write().map_err(write)?;
        KIND.claim(&writing)?;
        {
            let mut plans = writing.open_table(PLAN).map_err(write)?;
            let before = plans.get("plan").map_err(write)?.map(|plan| plan.value().to_owned());
            match before {
                None => drop(plans.insert("plan", json.as_str()).map_err(write)?),
                Some(before) => {
                    let before: Plan = serde_json::from_str(&before).map_err(Wrong::Entry)?;
                    if let Some(what) = before.difference(plan) {
                        return Err(Wrong::Other(format!(
                            "is a campaign that differs in {what}: give the same as before, or another folder"
                        )));
                    }
                }
            }
            // All tables exist from the beginning.
            writing.open_table(STORIES).map_err(write)?;
            writing.open_table(BYTES).map_err(write)?;
            writing.open_table(SITUATIONS).map_err(write)?;
            writing.open_table(COUNTS).map_err(write)?;
            writing.open_table(TALLY).map_err(write)?;
        }
        writing.commit().map_err(write)
    }

    /// Adds stories, and the real time that passed meanwhile.
    ///
    /// # Errors
    /// The file cannot be written, for example because the disk is full. What was added before remains.
    pub fn add(&self, stories: &[Kept], wall_ms: u64) -> Result<(), BadFile> {
        KIND.with(&self.file, || {
            let database = KIND.create(&self.file)?;
            let writing = database.begin_write().map_err(write)?;
            KIND.claim(&writing)?;
            {
                let mut table = writing.open_table(STORIES).map_err(write)?;
                let mut bytes = writing.open_table(BYTES).map_err(write)?;
                let mut situations = writing.open_table(SITUATIONS).map_err(write)?;
                let mut tally = Tally::default();
                for kept in stories {
                    let json = serde_json::to_string(&kept.story).expect("a story has a JSON form");
                    let before = table.insert(key(kept.id), json.as_str()).map_err(write)?;
                    if before.is_none() {
                        tally.count(&kept.story, kept.is_new);
                    }
                    if let Some(text) = &kept.bytes {
                        let Story { order, profile, .. } = kept.story;
                        let value = (order, profile as u64, kept.is_new, text.as_slice());
                        bytes.insert(key(kept.id), value).map_err(write)?;
                    }
                    for situation in &kept.new_situations {
                        situations.insert(situation, ()).map_err(write)?;
                    }
                }
                tally.add_to(&mut writing.open_table(TALLY).map_err(write)?).map_err(write)?;
                let mut counts = writing.open_table(COUNTS).map_err(write)?;
                let before = counts.get(WALL).map_err(write)?.map_or(0, |count| count.value());
                counts.insert(WALL, before + wall_ms).map_err(write)?;
            }
            writing.commit().map_err(write)
        })
    }

    /// A number of the campaign under this name: `new`, if there is none yet.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn number(&self, name: &str, new: u64) -> Result<u64, BadFile> {
        KIND.with(&self.file, || {
            let database = KIND.create(&self.file)?;
            let writing = database.begin_write().map_err(write)?;
            KIND.claim(&writing)?;
            let number = {
                let mut counts = writing.open_table(COUNTS).map_err(write)?;
                let before = counts.get(name).map_err(write)?.map(|count| count.value());
                if before.is_none() {
                    counts.insert(name, new).map_err(write)?;
                }
                before.unwrap_or(new)
            };
            writing.commit().map_err(write)?;
            Ok(number)
        })
    }

    /// The bytes of a story that are kept, and its profile.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bytes(&self, story: StoryId) -> Result<Option<(usize, Vec<u8>)>, BadFile> {
        KIND.with(&self.file, || {
            let database = KIND.open(&self.file)?;
            let reading = database.begin_read().map_err(read)?;
            let table = reading.open_table(BYTES).map_err(read)?;
            let found = table.get(key(story)).map_err(read)?;
            Ok(found.map(|found| {
                let (_, profile, _, bytes) = found.value();
                (profile as usize, bytes.to_vec())
            }))
        })
    }
}

impl Campaign {
    /// Reads the campaign in a folder.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it comes from a newer program.
    pub fn load(dir: &Path) -> Result<(Store, Self), BadFile> {
        let store = Store::existing(dir)?;
        let campaign = KIND.with(&store.file, || {
            let database = KIND.open(&store.file)?;
            let reading = database.begin_read().map_err(read)?;
            let plan = plan(&reading)?;
            let mut stories = stories(&reading)?;
            stories.sort_by_key(|(_, story)| story.order);
            let mut corpus = 0;
            for entry in reading.open_table(BYTES).map_err(read)?.iter().map_err(read)? {
                corpus += u64::from(entry.map_err(read)?.1.value().2);
            }
            let situations = reading.open_table(SITUATIONS).map_err(read)?.iter().map_err(read)?.count() as u64;
            Ok(Self { plan, stories, situations, corpus, wall_ms: wall_ms(&reading)? })
        })?;
        Ok((store, campaign))
    }
}

impl Summary {
    /// Reads the summary of the campaign in a folder.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it comes from a newer program.
    pub fn load(dir: &Path) -> Result<Self, BadFile> {
        let store = Store::existing(dir)?;
        let summary = KIND.with(&store.file, || {
            let database = KIND.open(&store.file)?;
            let reading = database.begin_read().map_err(read)?;
            let plan = plan(&reading)?;
            let Ok(table) = reading.open_table(TALLY) else { return Ok(None) };
            let tally = Tally::read(&table).map_err(read)?;
            let stories = reading.open_table(STORIES).map_err(read)?.len().map_err(read)?;
            if tally.stories() != stories {
                return Ok(None);
            }
            let situations = reading.open_table(SITUATIONS).map_err(read)?.len().map_err(read)?;
            Ok(Some(Self::of_tally(plan, &tally, situations, wall_ms(&reading)?)))
        })?;
        match summary {
            Some(summary) => Ok(summary),
            // An older program has played some of it.
            None => Ok(Campaign::load(dir)?.1.summary()),
        }
    }
}

fn plan(reading: &ReadTransaction) -> Result<Plan, Wrong> {
    KIND.recognise(reading)?;
    let plans = reading.open_table(PLAN).map_err(read)?;
    let plan = plans.get("plan").map_err(read)?.ok_or(Wrong::OtherKind)?;
    serde_json::from_str(plan.value()).map_err(Wrong::Entry)
}

fn wall_ms(reading: &ReadTransaction) -> Result<u64, Wrong> {
    let counts = reading.open_table(COUNTS).map_err(read)?;
    Ok(counts.get(WALL).map_err(read)?.map_or(0, |count| count.value()))
}

fn stories(reading: &ReadTransaction) -> Result<Vec<(StoryId, Story)>, Wrong> {
    let mut stories = Vec::new();
    for entry in reading.open_table(STORIES).map_err(read)?.iter().map_err(read)? {
        let (key, json) = entry.map_err(read)?;
        stories.push((id(key.value()), serde_json::from_str(json.value()).map_err(Wrong::Entry)?));
    }
    Ok(stories)
}

fn reached(reading: &ReadTransaction) -> Result<Reached, Wrong> {
    let mut reached = Reached { wall_ms: wall_ms(reading)?, ..Reached::default() };
    for (id, story) in stories(reading)? {
        reached.played.insert(id);
        reached.probes.extend(story.probes);
        if let Some(wrong) = story.wrong.into_iter().next() {
            reached.failed += 1;
            let first = reached.findings.entry((wrong.rule, wrong.shape)).or_insert(id);
            *first = id.min(*first);
        }
    }
    for entry in reading.open_table(SITUATIONS).map_err(read)?.iter().map_err(read)? {
        reached.situations.insert(entry.map_err(read)?.0.value());
    }
    for entry in reading.open_table(BYTES).map_err(read)?.iter().map_err(read)? {
        let (_, value) = entry.map_err(read)?;
        let (order, profile, is_new, bytes) = value.value();
        if is_new {
            reached.corpus.push((order, profile as usize, bytes.to_vec()));
        }
    }
    reached.corpus.sort();
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan() -> Plan {
        Plan {
            tool: "glare 1".to_owned(),
            profiles: vec!["name = \"a\"".to_owned()],
            dialect: None,
            program: None,
            mutant: None,
            guided: false,
        }
    }

    fn kept(id: StoryId, order: u64, wrong: &[&str]) -> Kept {
        let mut story = Story {
            order,
            profile: 0,
            hash: Some("00".to_owned()),
            events: 5,
            wrong: Vec::new(),
            probes: vec!["glare".to_owned()],
            connected: vec![800],
        };
        for message in wrong {
            story.add("everyone-connected", message, &BTreeSet::from(["ana", "ben"]));
        }
        Kept { id, story, bytes: Some(vec![1, 2, order as u8]), new_situations: vec![order, 7], is_new: order == 0 }
    }

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("glare-campaign-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn what_was_added_is_read_again_and_counted_once() {
        let dir = folder("again");
        let (store, reached) = Store::begin(&dir, &plan()).expect("a new store");
        assert!(reached.played.is_empty());
        let [one, two, three] = [
            kept(StoryId::Seed(3), 0, &["ana is not connected"]),
            kept(StoryId::Varied(1), 1, &["ben is not connected"]),
            kept(StoryId::Seed(4), 2, &[]),
        ];
        store.add(&[one.clone(), two], 10).expect("it is written");
        store.add(&[one, three], 5).expect("it is written");
        let (_, reached) = Store::begin(&dir, &plan()).expect("the same store");
        assert_eq!(reached.played.len(), 3);
        assert_eq!(reached.corpus, [(0, 0, vec![1, 2, 0])]);
        assert_eq!((reached.failed, reached.findings.len(), reached.situations.len()), (2, 1, 4));
        let (store, campaign) = Campaign::load(&dir).expect("it is read");
        assert_eq!((campaign.stories.len(), campaign.corpus, campaign.situations, campaign.wall_ms), (3, 1, 4, 15));
        let summary = Summary::load(&dir).expect("it is read");
        assert_eq!(summary, campaign.summary());
        assert_eq!(
            (summary.stories, summary.failed, summary.findings, summary.probes, summary.corpus),
            (3, 2, 1, 1, 1)
        );
        assert_eq!(summary.connected, [(800, 3)]);
        // Without its own numbers, as an older program leaves it, it is the same.
        let database = Database::create(dir.join(FILE)).expect("it opens");
        let writing = database.begin_write().expect("it is written");
        writing.delete_table(TALLY).expect("it was there");
        writing.commit().expect("it is written");
        drop(database);
        assert_eq!(Summary::load(&dir).expect("it is read"), summary);
        let findings = campaign.findings();
        assert_eq!((findings.len(), findings[0].first(), findings[0].stories.len()), (1, StoryId::Seed(3), 2));
        assert_eq!(store.bytes(StoryId::Varied(1)).expect("it is read"), Some((0, vec![1, 2, 1])));
        assert_eq!([7, 8].map(|new| store.number("mine", new).expect("it is kept")), [7, 7]);
        let other = Plan { mutant: Some("mesh/x".to_owned()), ..plan() };
        let wrong = Store::begin(&dir, &other).expect_err("another plan").to_string();
        assert!(wrong.contains("differs in the planted defect"), "{wrong}");
        fs::remove_dir_all(dir).expect("it is there");
    }

    #[test]
    fn a_file_that_is_no_campaign_and_one_of_a_newer_program_are_refused_and_stay_as_they_are() {
        let dir = folder("other");
        fs::create_dir_all(&dir).expect("a folder");
        let file = dir.join(FILE);
        fs::write(&file, "something else").expect("it is written");
        let wrong = Store::begin(&dir, &plan()).expect_err("no store").to_string();
        assert!(wrong.contains("is not a campaign"), "{wrong}");
        assert_eq!(fs::read(&file).expect("it is there"), b"something else");
        fs::remove_file(&file).expect("it is there");
        Store::begin(&dir, &plan()).expect("a new store");
        let database = Database::create(&file).expect("it opens");
        let writing = database.begin_write().expect("it is written");
        writing.open_table(KIND.about).expect("a table").insert("version", 2).expect("an entry");
        writing.commit().expect("it is written");
        drop(database);
        for wrong in [
            Store::begin(&dir, &plan()).expect_err("newer").to_string(),
            Campaign::load(&dir).expect_err("newer").to_string(),
        ] {
            assert!(wrong.contains("has version 2, but this program reads up to version 1"), "{wrong}");
        }
        // A damaged page.
        let mut bytes = fs::read(&file).expect("it is there");
        let length = bytes.len();
        bytes[length / 8..].fill(0xa5);
        fs::write(&file, bytes).expect("it is written");
        assert!(Campaign::load(&dir).is_err());
        fs::remove_dir_all(dir).expect("it is there");
    }
}
