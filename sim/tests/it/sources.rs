//! A rule for which there is no lint: every `select!` that a simulation can reach polls its branches in order.

use std::fs;
use std::path::Path;

#[test]
fn every_select_is_biased() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut seen = 0;
    for member in ["server", "sim", "conformance", "xtask"] {
        look(&workspace.join(member).join("src"), &mut seen);
    }
    assert!(seen > 3, "only {seen} `select!` found: is the search still right?");
}

fn look(folder: &Path, seen: &mut usize) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            look(&path, seen);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            for (_, after) in text.match_indices("select! {").map(|(at, found)| (at, &text[at + found.len()..])) {
                *seen += 1;
                assert!(after.trim_start().starts_with("biased;"), "{}: a `select!` without `biased;`", path.display());
            }
        }
    }
}
