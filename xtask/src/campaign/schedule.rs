//! Which stories are played, in which order.
//!
//! With a range of seeds, these are the stories of the seeds and nothing else, so that a range can be divided among
//! machines and gives the same results on any number of them. With a time instead, every second story is varied from
//! those that reached something new. That happens in rounds: a round varies only what was kept before it began, so the
//! stories do not depend on the number of jobs, nor on where a campaign was interrupted.

use std::ops::Range;

use reports::campaign::{Reached, StoryId};
use scenarios::Scenario;
use sim::campaign::{bytes_of, vary};

use super::setup::Setup;

/// Stories of a round.
const ROUND: u64 = 64;

/// A story to be played.
pub(super) struct Job {
    pub(super) id: StoryId,
    /// How many stories were played before it.
    pub(super) order: u64,
    pub(super) profile: usize,
    /// The bytes of a varied story.
    pub(super) bytes: Option<Vec<u8>>,
}

impl Job {
    pub(super) fn scenario(&self, setup: &Setup) -> Scenario {
        match &self.bytes {
            None => setup.story(self.id.seed()),
            Some(bytes) => setup.varied(self.id.seed(), self.profile, bytes).expect("the profile is one of the setup"),
        }
    }
}

/// The seeds of a range that were not played yet.
pub(super) fn of_seeds<'a>(
    seeds: Range<u64>,
    reached: &'a Reached,
    setup: &'a Setup,
) -> impl Iterator<Item = Job> + 'a {
    let first = reached.played.len() as u64;
    let left = seeds.map(StoryId::Seed).filter(|id| !reached.played.contains(id));
    left.enumerate().map(move |(number, id)| Job {
        id,
        order: first + number as u64,
        profile: setup.profile_of(id.seed()),
        bytes: None,
    })
}

/// What is left of the round that begins or continues after the stories that were played.
pub(super) fn of_round(reached: &Reached, setup: &Setup) -> Vec<Job> {
    let played = reached.played.len() as u64;
    let begin = played - played % ROUND;
    let known = reached.corpus.partition_point(|(order, ..)| *order < begin);
    (played..begin + ROUND).map(|order| of_order(order, &reached.corpus[..known], setup)).collect()
}

fn of_order(order: u64, corpus: &[(u64, usize, Vec<u8>)], setup: &Setup) -> Job {
    let number = order / 2;
    if order.is_multiple_of(2) {
        return Job { id: StoryId::Seed(number), order, profile: setup.profile_of(number), bytes: None };
    }
    // The choice of the parents must not depend on anything else.
    let draw = |salt: u64| {
        let bytes = bytes_of(number ^ salt << 56);
        u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize
    };
    let pick = |salt| match corpus.len() {
        0 => (setup.profile_of(number), bytes_of(number)),
        count => {
            // Half of the parents are among the newest, which had the least time to be varied.
            let newest = count.min(16);
            let index =
                if draw(salt + 2).is_multiple_of(2) { draw(salt) % count } else { count - 1 - draw(salt) % newest };
            let (_, profile, bytes) = &corpus[index];
            (*profile, bytes.clone())
        }
    };
    let (profile, bytes) = pick(1);
    let (_, other) = pick(4);
    Job { id: StoryId::Varied(number), order, profile, bytes: Some(vary(&bytes, &other, number)) }
}
