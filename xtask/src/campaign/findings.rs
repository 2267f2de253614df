//! Takes the results of stories: what they reached that nothing reached before, and what goes into the store.

use std::collections::BTreeSet;
use std::sync::Arc;

use reports::campaign::{Kept, Reached, Story};
use scenarios::Scenario;
use sim::campaign::{bytes_of, play};
use sim::event::Record;
use sim::run::{Cause, Crash};

use super::schedule::Job;

/// What a story gave.
pub(super) struct Result {
    pub(super) story: Story,
    pub(super) situations: BTreeSet<u64>,
    /// Why the server program could not be reached.
    pub(super) unreachable: Option<String>,
}

/// Plays a story, twice if wanted.
pub(super) fn result(job: &Job, scenario: Scenario, twice: bool) -> Result {
    let (scenario, seed) = (Arc::new(scenario), job.id.seed());
    let mut story = Story { order: job.order, profile: job.profile, ..unplayed_story() };
    let played = match play(&scenario, seed) {
        Ok(played) => played,
        Err(crash) => return crashed(story, &scenario, &crash),
    };
    let outcome = &played.outcome;
    let names: BTreeSet<&str> = outcome.record.nodes.iter().map(|node| &*node.name).collect();
    for violation in &outcome.violations {
        story.add(violation.oracle, &violation.message, &names);
    }
    if twice {
        match sim::run::run(&scenario, seed) {
            Ok(again) if again.hash == outcome.hash => {}
            Ok(_) => story.add("determinism", "two runs differ", &names),
            Err(crash) => return crashed(story, &scenario, &crash),
        }
    }
    story.hash = Some(outcome.hash.to_string());
    story.events = outcome.record.events.len() as u64;
    story.probes = outcome.probes.keys().map(|probe| (*probe).to_owned()).collect();
    story.connected = connected(&scenario, &outcome.record);
    Result { story, situations: played.situations, unreachable: None }
}

/// The result of a story that gives none, because it ends whatever plays it.
pub(super) fn unplayed(message: &str) -> Result {
    let mut story = unplayed_story();
    story.add(reports::crash_rule(Cause::Glare), message, &BTreeSet::new());
    Result { story, situations: BTreeSet::new(), unreachable: None }
}

fn unplayed_story() -> Story {
    Story { order: 0, profile: 0, hash: None, events: 0, wrong: Vec::new(), probes: Vec::new(), connected: Vec::new() }
}

fn crashed(mut story: Story, scenario: &Scenario, crash: &Crash) -> Result {
    let names = scenario.actors.iter().map(|actor| actor.name.as_str()).collect();
    story.add(reports::crash_rule(crash.cause), &crash.message, &names);
    let unreachable = (crash.cause == Cause::Server).then(|| crash.message.clone());
    Result { story, situations: BTreeSet::new(), unreachable }
}

/// How long pairs took to connect, milliseconds.
fn connected(scenario: &Scenario, record: &Record) -> Vec<u32> {
    let joined = |node: sim::event::NodeId| match record.nodes[usize::from(node.0)].kind {
        sim::event::NodeKind::Machine(scenarios::Machine::Actor(actor)) => scenario.actors[actor].joins,
        _ => None,
    };
    let took = |pair: &sim::pairs::Pair| {
        let later = joined(pair.a)?.max(joined(pair.b)?);
        Some(pair.first_heard?.saturating_sub(later).as_millis() as u32)
    };
    sim::pairs::pairs(record).iter().filter_map(took).collect()
}

/// Adds a result to what was reached. Returns what is to be stored.
pub(super) fn take(reached: &mut Reached, job: Job, result: Result, guided: bool) -> Kept {
    let Job { id, order, profile, bytes } = job;
    let Result { mut story, situations, .. } = result;
    // Whoever has played it need not know its place.
    (story.order, story.profile) = (order, profile);
    let new_situations: Vec<u64> = situations.into_iter().filter(|number| reached.situations.insert(*number)).collect();
    let mut is_new = !new_situations.is_empty();
    for probe in &story.probes {
        is_new |= reached.probes.insert(probe.clone());
    }
    let failed = story.wrong.first();
    if let Some(wrong) = failed {
        reached.failed += 1;
        let first = reached.findings.entry((wrong.rule.clone(), wrong.shape.clone())).or_insert(id);
        *first = id.min(*first);
    }
    reached.played.insert(id);
    // The bytes of a seed's story follow from the seed.
    let is_kept = guided && (is_new || bytes.is_some() && failed.is_some());
    let bytes = is_kept.then(|| bytes.unwrap_or_else(|| bytes_of(id.seed())));
    if let Some(bytes) = bytes.as_ref().filter(|_| is_new) {
        reached.corpus.push((order, profile, bytes.clone()));
    }
    Kept { id, story, bytes, new_situations, is_new }
}
