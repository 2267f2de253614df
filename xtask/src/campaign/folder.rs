//! The files beside a campaign's store: a story for each finding, and a corpus.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use reports::campaign::{Campaign, FINDINGS, Finding, Kept, Reached, Store, StoryId};
use scenarios::Scenario;

use super::setup::Setup;
use crate::sink::cannot_write;

/// The seed with which the stories of a corpus are played.
const CORPUS_SEED: u64 = 1;

/// A story of a campaign.
///
/// # Errors
/// The store cannot be read, or the bytes of a varied story were not kept.
pub(super) fn scenario(store: &Store, setup: &Setup, story: StoryId) -> anyhow::Result<Scenario> {
    match story {
        StoryId::Seed(seed) => Ok(setup.story(seed)),
        StoryId::Varied(number) => {
            let kept = store.bytes(story)?;
            let (profile, bytes) = kept.with_context(|| {
                format!("the varied story {story} was not kept: only those are that failed or reached something new")
            })?;
            setup.varied(number, profile, &bytes)
        }
    }
}

/// Writes the smallest story of each finding, as a scenario file that says what is wrong.
pub(super) fn write_findings(dir: &Path, store: &Store, setup: &Setup, campaign: &Campaign) -> anyhow::Result<()> {
    for finding in campaign.findings() {
        write_finding(dir, &finding, &scenario(store, setup, finding.first())?)?;
    }
    Ok(())
}

/// Writes the stories among these that are the smallest of their findings, before the store has them: whoever reads of a
/// finding can play it at once, and however a campaign ends.
pub(super) fn write_new_findings(dir: &Path, setup: &Setup, reached: &Reached, stories: &[Kept]) -> anyhow::Result<()> {
    for Kept { id, story, bytes, .. } in stories {
        let Some(wrong) = story.wrong.first() else { continue };
        if reached.findings.get(&(wrong.rule.clone(), wrong.shape.clone())) != Some(id) {
            continue;
        }
        let scenario = match (id, bytes) {
            (StoryId::Varied(number), Some(bytes)) => setup.varied(*number, story.profile, bytes)?,
            _ => setup.story(id.seed()),
        };
        write_finding(dir, &Finding { wrong: wrong.clone(), stories: vec![*id] }, &scenario)?;
    }
    Ok(())
}

fn write_finding(dir: &Path, finding: &Finding, scenario: &Scenario) -> anyhow::Result<()> {
    let wrong = &finding.wrong;
    let text = format!(
        "# {}: {}\n# {}\n{}",
        wrong.rule,
        on_one_line(&wrong.message),
        finding.replay(&crate::program(), dir),
        scenarios::write(scenario)
    );
    let write = || {
        fs::create_dir_all(dir.join(FINDINGS))?;
        fs::write(dir.join(finding.file()), text)
    };
    write().with_context(|| cannot_write(dir))
}

fn on_one_line(text: &str) -> String {
    text.split(char::is_control).collect::<Vec<_>>().join(" ")
}

/// Writes stories that together reach every probe that the campaign has reached. Each is a scenario file that expects the
/// probes for which it was chosen, when it is played with the default seed.
pub(super) fn write_corpus(dir: &Path, into: &Path) -> anyhow::Result<()> {
    let (store, campaign) = Campaign::load(dir)?;
    let setup = Setup::of_plan(&campaign.plan)?;
    let mut missing: BTreeSet<&str> = campaign.probes().into_keys().collect();
    fs::create_dir_all(into).with_context(|| cannot_write(into))?;
    let all = missing.len();
    // The stories with the most probes that are still missing come first. One that does not reach them with the seed
    // of the corpus is no help.
    let mut useless: BTreeSet<StoryId> = BTreeSet::new();
    let mut written = 0;
    while !missing.is_empty() {
        let gain = |probes: &[String]| probes.iter().filter(|probe| missing.contains(probe.as_str())).count();
        let candidates = campaign.stories.iter().filter(|(id, story)| story.wrong.is_empty() && !useless.contains(id));
        let best = candidates.max_by_key(|(id, story)| (gain(&story.probes), std::cmp::Reverse((story.events, *id))));
        let Some((id, _)) = best.filter(|(_, story)| gain(&story.probes) > 0) else { break };
        useless.insert(*id);
        // A varied story that reached nothing new was not kept.
        let Ok(mut scenario) = scenario(&store, &setup, *id) else { continue };
        let Ok(outcome) = sim::run::run(&Arc::new(scenario.clone()), CORPUS_SEED) else { continue };
        let mut found: Vec<&str> = outcome.probes.keys().copied().filter(|probe| missing.contains(probe)).collect();
        if !outcome.passed() || found.is_empty() {
            continue;
        }
        found.sort_unstable();
        for probe in &found {
            missing.remove(probe);
        }
        scenario.expect.probes = found.iter().map(|probe| (*probe).to_owned()).collect();
        scenario.about = format!("generated: reaches {}", found.join(", "));
        let file = into.join(format!("{}.toml", scenario.name));
        fs::write(&file, scenarios::write(&scenario)).with_context(|| cannot_write(into))?;
        written += 1;
    }
    outln!("{written} stories reach {} of {all} probes", all - missing.len());
    if !missing.is_empty() {
        outln!("none was found that reaches, with the seed {CORPUS_SEED}: {}", Vec::from_iter(missing).join(", "));
    }
    Ok(())
}
