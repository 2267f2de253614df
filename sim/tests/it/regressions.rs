//! Scenarios that once failed: each keeps every promise, with several seeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEEDS: u64 = 5;

fn regressions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/regressions");
    let files = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("readable").path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "toml")).collect();
    files.sort();
    files
}

#[test]
fn what_once_failed_passes() {
    let files = regressions();
    assert!(!files.is_empty());
    for file in files {
        let scenario = scenarios::load(file.to_str().expect("UTF-8")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            Some(scenario.name.as_str()),
            file.file_stem().and_then(|stem| stem.to_str()),
            "the file is called as the scenario"
        );
        assert!(scenario.server.program.is_none(), "{}: the server is of others", scenario.name);
        let scenario = Arc::new(scenario);
        for seed in 0..SEEDS {
            let outcome = sim::run::run(&scenario, seed).unwrap_or_else(|crash| panic!("{crash:?}"));
            assert_eq!(outcome.violations, [], "{}, seed {seed}", scenario.name);
        }
    }
}
