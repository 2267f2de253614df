//! A campaign: many generated stories, what went wrong in them, and what they reached. It is kept in one file, which the
//! program that plays the stories writes, and this crate reads.

mod findings;
mod page;
mod shape;
mod store;
mod summary;
mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use scenarios::ServerProgram;
use serde::{Deserialize, Serialize};

pub use findings::Finding;
pub use shape::shape;
pub use store::{Kept, Reached, Store};
pub use summary::Summary;
pub use text::counted;

/// The file of a campaign in its folder.
pub const FILE: &str = "campaign.redb";
/// The folder beside it with one story of each finding.
pub const FINDINGS: &str = "findings";
/// Violations of one story that are kept: the first ones, from which the others follow.
const WRONG_MAX: usize = 10;

/// What a campaign plays. It is the same for all its stories, so a story follows from it and the story's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Program and version: another version may draw other stories.
    pub tool: String,
    /// The texts of the story profiles. Seeds take them in turn.
    pub profiles: Vec<String>,
    /// The dialect of all actors; `None`: each speaks the one of its role.
    pub dialect: Option<String>,
    /// The program in place of the reference server.
    pub program: Option<ServerProgram>,
    /// The defect that is planted in the server.
    pub mutant: Option<String>,
    /// Whether stories that reach something new are varied.
    pub guided: bool,
}

impl Plan {
    /// In what two plans differ, in words.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let differing = [
            (self.tool != other.tool, "the version of this program"),
            (self.profiles != other.profiles, "the story profiles"),
            (self.dialect != other.dialect, "the dialect"),
            (self.mutant != other.mutant, "the planted defect"),
            (self.program != other.program, "the server program"),
            (self.guided != other.guided, "whether a range of seeds or a time is given"),
        ];
        differing.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what)
    }
}

/// What identifies a story within its campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StoryId {
    /// The story of a seed.
    Seed(u64),
    /// A varied story.
    Varied(u64),
}

impl StoryId {
    /// The seed with which it is played.
    pub fn seed(self) -> u64 {
        match self {
            Self::Seed(number) | Self::Varied(number) => number,
        }
    }
}

impl fmt::Display for StoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(seed) => write!(f, "{seed}"),
            Self::Varied(number) => write!(f, "v{number}"),
        }
    }
}

impl FromStr for StoryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("`{text}` is not a story: write a seed such as `7`, or `v7` for a varied story");
        match text.strip_prefix('v') {
            Some(number) => number.parse().map(Self::Varied).map_err(wrong),
            None => text.parse().map(Self::Seed).map_err(wrong),
        }
    }
}

impl TryFrom<String> for StoryId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<StoryId> for String {
    fn from(id: StoryId) -> Self {
        id.to_string()
    }
}

/// A violation in a story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// The oracle's slug; `crash` or `determinism` if no oracle could judge.
    pub rule: String,
    /// The sentence.
    pub message: String,
    /// The sentence without names and numbers.
    pub shape: String,
}

/// A story that was played.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// How many stories of the campaign were played before it.
    pub order: u64,
    /// Which of the plan's profiles it has.
    pub profile: usize,
    /// The hash of its events; `None` if it crashed.
    pub hash: Option<String>,
    /// Number of its events.
    pub events: u64,
    /// The first violations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<Wrong>,
    /// The rare situations that occurred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<String>,
    /// When each pair of clients had first received data from each other, milliseconds of virtual time after the later
    /// of the two had joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connected: Vec<u32>,
}

impl Story {
    /// A violation of this story, whose scenario has nodes of these names.
    pub fn add(&mut self, rule: &str, message: &str, names: &BTreeSet<&str>) {
        if self.wrong.len() < WRONG_MAX {
            let shape = shape(message, names);
            self.wrong.push(Wrong { rule: rule.to_owned(), message: message.to_owned(), shape });
        }
    }
}

/// A campaign that was read from its file.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// What it plays.
    pub plan: Plan,
    /// Its stories, in the order in which they were played.
    pub stories: Vec<(StoryId, Story)>,
    /// Number of situations of the oracles' model that were met.
    pub situations: u64,
    /// Number of stories that are kept because they reached something new.
    pub corpus: u64,
    /// Real time of all calls together, milliseconds.
    pub wall_ms: u64,
}
