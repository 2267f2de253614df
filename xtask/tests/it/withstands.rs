//! `docs/withstands.md` lists every attack that is tested, and `server/SECURITY.md` the defaults as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// The cells of each row of the tables in a text.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").collect())
}

/// The names of the tests in a file.
fn tests(path: &str) -> Vec<String> {
    let text = read(path);
    let mut names = Vec::new();
    for part in text.split("test").filter(|part| part.starts_with(['(', ']'])) {
        let name = part.split_once("fn ").and_then(|(_, rest)| rest.split_once("()")).map(|(name, _)| name);
        names.extend(name.map(str::to_owned));
    }
    names
}

#[test]
fn every_attack_is_in_the_table_and_every_row_has_a_test() {
    let mut tested = BTreeSet::from_iter(tests("xtask/tests/it/attacks.rs"));
    for file in ["connections", "memory", "queues", "relays"] {
        tested.extend(tests(&format!("server/tests/it/attacks/{file}.rs")));
    }
    let text = read("docs/withstands.md");
    let listed: BTreeSet<String> =
        rows(&text).filter_map(|cells| cells.get(3)?.strip_prefix('`')?.strip_suffix('`').map(str::to_owned)).collect();
    assert!(listed.len() > 20, "{listed:?}");
    assert_eq!(listed, tested, "the left ones are in docs/withstands.md, the right ones are tests");
}

#[test]
fn the_defaults_in_the_threat_model_are_those_of_the_settings() {
    let (security, readme) = (read("server/SECURITY.md"), read("server/README.md"));
    let settings: Vec<_> = rows(&readme).collect();
    let mut count = 0;
    for cells in rows(&security).filter(|cells| cells[0].starts_with("`--")) {
        let setting = settings.iter().find(|setting| setting[0] == cells[0]);
        let setting = setting.unwrap_or_else(|| panic!("{} is no setting", cells[0]));
        assert_eq!(setting[2], cells[1], "the default of {}", cells[0]);
        count += 1;
    }
    assert!(count > 10);
}
