//! The corpus: generated stories that together reach every probe that stories can reach. `campaign corpus` chose them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use scenarios::{PROBES, Scenario};

/// The seed with which the stories were chosen.
const SEED: u64 = 1;

/// Probes that no generated story reaches, and why.
const UNREACHED: &[(&str, &str)] = &[
    ("media-silent", "the clients of stories send no audio or video"),
    ("packet-congested", "the links of stories have no bandwidth"),
    ("packet-corrupted", "the links of stories flip no bits"),
    ("packet-fragmented", "the links of stories take packets of any length"),
    ("packet-oversized", "the links of stories take packets of any length"),
    ("ports-exhausted", "the NATs of stories have ports for all"),
    ("receive-buffer-full", "the clients of stories send too little at once"),
    ("table-full", "the NATs of stories have room for all mappings"),
];

fn corpus() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/corpus");
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("it is there").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let load = |path: &std::path::PathBuf| {
        let name = path.display().to_string();
        let scenario = scenarios::load(&name).unwrap_or_else(|error| panic!("{error}"));
        (name, scenario)
    };
    files.iter().map(load).collect()
}

#[test]
fn every_story_of_the_corpus_passes_and_reaches_what_it_was_chosen_for() {
    let corpus = corpus();
    assert!(corpus.len() >= 5, "{} stories", corpus.len());
    let next = AtomicUsize::new(0);
    let play = || {
        let mut wrong = Vec::new();
        while let Some((file, scenario)) = corpus.get(next.fetch_add(1, Ordering::Relaxed)) {
            assert!(!scenario.expect.probes.is_empty(), "{file}: it was chosen for nothing");
            let outcome =
                sim::run::run(&Arc::new(scenario.clone()), SEED).unwrap_or_else(|crash| panic!("{file}: {crash:?}"));
            wrong.extend(outcome.violations.iter().map(|violation| format!("{file}: {violation:?}")));
        }
        wrong
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        #[allow(clippy::disallowed_methods)] // each run has a thread of its own
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(play)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corpus_reaches_every_probe_that_stories_can_reach() {
    let corpus = corpus();
    let reached: BTreeSet<&str> =
        corpus.iter().flat_map(|(_, scenario)| scenario.expect.probes.iter().map(String::as_str)).collect();
    let unreached: BTreeSet<&str> = UNREACHED.iter().map(|(probe, _)| *probe).collect();
    let missing: Vec<_> = PROBES
        .iter()
        .map(|(probe, _)| *probe)
        .filter(|probe| !reached.contains(probe) && !unreached.contains(probe))
        .collect();
    assert!(missing.is_empty(), "no story reaches {missing:?}, and nothing says why");
    let odd: Vec<_> = unreached.intersection(&reached).collect();
    assert!(odd.is_empty(), "a story reaches {odd:?}");
}
