//! Whatever happens for a while, some time later every promise holds again.

use std::env;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use scenarios::{Scenario, StoryProfile};
use sim::campaign::{Target, adapted, generate};
use sim::hash::first_difference;

/// The seed of the first scenario, to try other scenarios. Without it every run uses the same ones, so that results
/// depend only on the change under test.
const FIRST_SEED: &str = "GLARE_FIRST_SEED";

#[test]
fn webrtc_peers_settle_after_any_trouble() {
    all_settle("calls", 200);
}

#[test]
fn signaling_settles_after_any_trouble() {
    all_settle("crowd", 400);
}

#[test]
fn every_role_settles_after_any_trouble() {
    all_settle("roles", 400);
}

#[test]
fn long_outages_settle() {
    all_settle("outages", 150);
}

#[test]
fn peers_that_move_and_send_media_settle() {
    all_settle("roaming", 60);
}

#[test]
fn every_generated_scenario_reads_back_as_it_was_written() {
    for name in StoryProfile::names() {
        for seed in seeds(400) {
            let scenario = story(name, seed);
            let text = scenarios::write(&scenario);
            let again = scenarios::parse("written.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(without_lines(again), scenario, "{text}");
        }
    }
}

/// In these stories an oracle or a client was wrong. Each file's name ends in the seed with which it was found.
#[test]
fn stories_that_found_mistakes_settle() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/found");
    let files: Vec<_> = fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("a file").path()).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let name = file.file_stem().and_then(|name| name.to_str()).expect("UTF-8");
        let (_, seed) = name.rsplit_once('-').expect("a seed");
        let scenario = scenarios::load(&file.display().to_string()).unwrap_or_else(|error| panic!("{error}"));
        settles(&Arc::new(scenario), seed.parse().expect("a number"))
            .unwrap_or_else(|wrong| panic!("{}: {wrong}", file.display()));
    }
}

/// A file that a campaign writes shows what the campaign saw.
#[test]
fn a_generated_scenario_plays_the_same_from_its_file() {
    for name in StoryProfile::names() {
        for seed in seeds(5) {
            let drawn = story(name, seed);
            let read = scenarios::parse("written.toml", &scenarios::write(&drawn)).expect("it reads back");
            let hash = |scenario| sim::run::run(&Arc::new(scenario), seed).expect("no crash").hash;
            assert_eq!(hash(read), hash(drawn), "{name} of seed {seed}");
        }
    }
}

/// Removes the line numbers of the file, because a generated scenario has none.
fn without_lines(mut scenario: Scenario) -> Scenario {
    scenario.actors.iter_mut().for_each(|actor| actor.line = 0);
    scenario.steps.iter_mut().for_each(|step| step.line = 0);
    scenario.expect.line = 0;
    scenario
}

fn seeds(count: u64) -> Range<u64> {
    let first = env::var(FIRST_SEED).map_or(1, |text| text.parse().expect("a seed is a number"));
    first..first + count
}

/// The story of a seed, as campaigns play it against the reference server.
fn story(profile: &str, seed: u64) -> Scenario {
    let profile = StoryProfile::load(profile).expect("it is shipped");
    let target = Target::default();
    generate(seed, &adapted(&profile, &target).expect("every role has a dialect"), &target)
}

fn all_settle(profile: &str, count: u64) {
    for seed in seeds(count) {
        let scenario = Arc::new(story(profile, seed));
        if let Err(wrong) = settles(&scenario, seed) {
            let text = scenarios::write(&scenario);
            panic!(
                "{wrong}\n\n{text}\nSave it as {0}.toml, and play it with\n    glare sim --scenario {0}.toml --seed {seed}\n",
                scenario.name
            );
        }
    }
}

/// Runs the scenario twice: nothing crashes, no promise is broken, and both runs are equal.
fn settles(scenario: &Arc<Scenario>, seed: u64) -> Result<(), String> {
    let play = || sim::run::run(scenario, seed).map_err(|crash| format!("{crash:?}"));
    let once = play()?;
    let again = play()?;
    if !once.passed() {
        let wrong: Vec<_> = once.violations.iter().map(|violation| format!("{violation:?}")).collect();
        return Err(wrong.join("\n"));
    }
    if once.hash != again.hash {
        let (place, one, other) = first_difference(&once.record, &again.record).expect("the hashes differ");
        let line = |event: Option<&_>| event.map_or("no more".to_owned(), |event| once.record.json_line(event));
        return Err(format!("not deterministic: event {place} is {} and then {}", line(one), line(other)));
    }
    Ok(())
}
