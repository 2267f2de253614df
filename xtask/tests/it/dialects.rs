//! CONTRIBUTING's walk-through "A new dialect" is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use conformance::Dialect;
use server::DIALECTS;

/// The smallest dialect is named in the files of the walk-through, and nowhere else in the server, the suite and the command line.
#[test]
fn a_dialect_is_four_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut naming = BTreeSet::new();
    for folder in ["server/src", "conformance/src", "conformance/dialects", "xtask/src"] {
        for file in files(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let name = file.strip_prefix(&root).expect("it is below").display().to_string();
            if text.contains("\"relay\"") && !name.contains("tests") && !name.contains("mutant") {
                naming.insert(name);
            }
        }
    }
    let expected = ["conformance/dialects/relay.toml", "server/src/dialect/mod.rs", "server/src/dialect/relay.rs"];
    assert_eq!(naming, expected.map(str::to_owned).into());
    let promises = "conformance/promises/relay.toml";
    assert!(root.join(promises).is_file());
    let contributing = fs::read_to_string(root.join("CONTRIBUTING.md")).expect("it is there");
    for file in expected.iter().chain([&promises]) {
        let file = file.replace("relay", "NAME");
        assert!(contributing.contains(&format!("`{file}`")), "the walk-through does not name {file}");
    }
}

/// What the suite says of a dialect's usual address is what the server's table says.
#[test]
fn every_dialect_of_the_server_can_be_tested_where_it_listens() {
    for entry in DIALECTS.iter().filter(|entry| entry.name != "echo") {
        let dialect = Dialect::load(entry.name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(dialect.example(), entry.url(format_args!("127.0.0.1:{}", entry.port), false));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a folder that can be read").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
