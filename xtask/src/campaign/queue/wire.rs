//! The messages of the queue, as JSON.

use std::collections::BTreeSet;

use reports::campaign::{Plan, Story, StoryId};
use serde::{Deserialize, Serialize};
use sim::hash::digest;

use crate::campaign::findings;
use crate::campaign::schedule::Job;

/// Stories to be played, with all that a worker must know of their campaign.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::campaign) struct Work {
    /// Of which campaign they are.
    pub(in crate::campaign) campaign: String,
    pub(in crate::campaign) plan: Plan,
    /// Whether each is played twice.
    pub(in crate::campaign) twice: bool,
    /// Whether it is played in a process of its own: workers have died over the batch that it was in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::campaign) alone: bool,
    pub(in crate::campaign) stories: Vec<Task>,
}

/// What every message of this kind has, whichever version of the program wrote it.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) plan: Tool,
}

/// The program that began a campaign.
#[derive(Deserialize)]
pub(super) struct Tool {
    pub(super) tool: String,
}

/// One story to be played.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::campaign) struct Task {
    pub(in crate::campaign) id: StoryId,
    profile: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<u8>>,
}

impl Task {
    pub(in crate::campaign) fn of(job: &Job) -> Self {
        Self { id: job.id, profile: job.profile, bytes: job.bytes.clone() }
    }

    /// The job. Its place among the stories is known to the campaign only.
    pub(in crate::campaign) fn job(&self) -> Job {
        Job { id: self.id, order: 0, profile: self.profile, bytes: self.bytes.clone() }
    }
}

/// A name for a batch of stories: the same stories have the same.
pub(super) fn batch_name(stories: impl IntoIterator<Item = StoryId>, twice: bool) -> String {
    let ids: Vec<_> = stories.into_iter().map(|id| id.to_string()).collect();
    format!("{:016x}", digest(format!("{twice} {}", ids.join(" ")).as_bytes()))
}

/// The subject of a batch of stories.
pub(super) fn subject_of_work(campaign: &str, stories: impl IntoIterator<Item = StoryId>, twice: bool) -> String {
    format!("glare.work.{campaign}.{}", batch_name(stories, twice))
}

/// Stories that were played.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::campaign) struct Results {
    /// Whether each was played twice.
    pub(in crate::campaign) twice: bool,
    pub(in crate::campaign) stories: Vec<Played>,
    /// A story that a worker begins to play, in a process of its own: the worker may die with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::campaign) begun: Option<StoryId>,
}

/// One story that was played.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::campaign) struct Played {
    pub(super) id: StoryId,
    story: Story,
    situations: BTreeSet<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
}

impl Played {
    pub(in crate::campaign) fn of(id: StoryId, result: findings::Result) -> Self {
        let findings::Result { story, situations, unreachable } = result;
        Self { id, story, situations, unreachable }
    }

    pub(in crate::campaign) fn result(self) -> findings::Result {
        let Self { story, situations, unreachable, .. } = self;
        findings::Result { story, situations, unreachable }
    }
}

impl Work {
    pub(super) fn subject(&self) -> String {
        subject_of_work(&self.campaign, self.stories.iter().map(|story| story.id), self.twice)
    }

    /// Each story as work of its own, to be played in a process of its own.
    pub(super) fn divided(&self) -> impl Iterator<Item = Self> + '_ {
        self.stories.iter().map(|story| Self { alone: true, stories: vec![story.clone()], ..self.clone() })
    }

    /// Whether every story has a profile of the plan: whoever can write to the queue may have written this.
    pub(super) fn is_sound(&self) -> bool {
        let profiles = self.plan.profiles.len();
        profiles > 0 && self.stories.iter().all(|story| story.profile < profiles)
    }
}

impl Results {
    /// Whether the names of what went wrong are names: files are called after them.
    pub(super) fn are_sound(&self) -> bool {
        let is_name = |rule: &str| {
            rule.starts_with(|first: char| first.is_ascii_lowercase())
                && rule.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
        };
        self.stories.iter().flat_map(|played| &played.story.wrong).all(|wrong| is_name(&wrong.rule))
    }
}

/// The results of a batch as messages, none longer than `bytes_max` unless a single story is.
pub(super) fn messages(twice: bool, stories: Vec<Played>, bytes_max: usize) -> Vec<Vec<u8>> {
    let results = Results { twice, stories, begun: None };
    let json = serde_json::to_vec(&results).expect("results have a JSON form");
    let Results { mut stories, .. } = results;
    if json.len() <= bytes_max || stories.len() < 2 {
        return vec![json];
    }
    let rest = stories.split_off(stories.len() / 2);
    let mut all = messages(twice, stories, bytes_max);
    all.extend(messages(twice, rest, bytes_max));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(seed: u64) -> Played {
        let story = Story {
            order: 0,
            profile: 0,
            hash: Some("00".to_owned()),
            events: 1,
            wrong: Vec::new(),
            probes: Vec::new(),
            connected: Vec::new(),
        };
        Played { id: StoryId::Seed(seed), story, situations: BTreeSet::from([u64::MAX]), unreachable: None }
    }

    #[test]
    fn long_results_are_divided_and_none_is_lost() {
        let all = messages(true, (0..7).map(played).collect(), 300);
        let read = |json: &Vec<u8>| serde_json::from_slice::<Results>(json).expect("what was written");
        let ids: Vec<_> = all.iter().flat_map(|json| read(json).stories).map(|played| played.id.to_string()).collect();
        assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6"]);
        assert!(all.len() > 1 && all.iter().all(|json| json.len() <= 300 && read(json).twice));
        assert_eq!(messages(false, (0..7).map(played).collect(), 1).len(), 7);
    }

    #[test]
    fn what_is_not_sound_is_told_apart() {
        let of_rule = |rule: &str| {
            let mut played = played(1);
            played.story.add(rule, "ana is not connected", &BTreeSet::new());
            Results { twice: false, stories: vec![played], begun: None }.are_sound()
        };
        assert!(sim::oracle::list().iter().all(|(oracle, ..)| of_rule(oracle)) && of_rule("crash"));
        assert!(["", "../../etc/x", "a/b", "Ana", "-x"].into_iter().all(|rule| !of_rule(rule)));
        let work = |profiles: usize| {
            let profiles = vec![String::new(); profiles];
            let (tool, dialect, program, mutant, guided) = (String::new(), None, None, None, false);
            let plan = Plan { tool, profiles, dialect, program, mutant, guided };
            let task = Task { id: StoryId::Varied(1), profile: 1, bytes: None };
            Work { campaign: String::new(), plan, twice: false, alone: false, stories: vec![task] }
        };
        assert_eq!([0, 1, 2].map(|profiles| work(profiles).is_sound()), [false, false, true]);
    }

    #[test]
    fn a_batch_has_a_name_of_its_own_and_stories_stay_what_they_are() {
        let task = |id: &str| Task { id: id.parse().expect("an id"), profile: 1, bytes: Some(vec![0, 255]) };
        let name = |ids: &[&str], twice| batch_name(ids.iter().map(|id| task(id).id), twice);
        assert_eq!(name(&["1", "v1"], false), name(&["1", "v1"], false));
        let names = BTreeSet::from([name(&["1", "v1"], false), name(&["1", "v1"], true), name(&["v1", "1"], false)]);
        assert_eq!(names.len(), 3);
        let json = serde_json::to_string(&task("v7")).expect("JSON");
        assert_eq!(json, r#"{"id":"v7","profile":1,"bytes":[0,255]}"#);
        let job = serde_json::from_str::<Task>(&json).expect("it was written").job();
        assert_eq!((job.id, job.profile, job.bytes), (StoryId::Varied(7), 1, Some(vec![0, 255])));
        assert!(serde_json::from_str::<Task>(r#"{"id":"x","profile":1}"#).is_err());
    }
}
