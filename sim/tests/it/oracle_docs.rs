//! `docs/oracles.md` lists the oracles, and each has a test that it turns red.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sim::oracle::{Judges, list};

const NOT_JUDGED: &str = "\nNo oracle judges how long a server's queues get. From outside, a message that waits in a queue looks like one that the \
    server has not handled yet, and\nthe few messages of a story never fill a queue. The case `load/slow-consumer` of `glare conformance` does fill one, on real sockets \
    and with `--sim`: the others\nmust be served meanwhile, and the server must not queue messages without limit.\n";

fn page() -> String {
    let mut page =
        "# Oracles\n\nWhat Glare judges a run by. Each oracle keeps one promise; `violation` in a report names it. \
        A slug never changes its meaning.\n\nGenerated: `UPDATE_DOCS=1 cargo test -p sim oracle_docs` writes it.\n\n\
        | oracle | promise | judges |\n|---|---|---|\n"
            .to_owned();
    let mut all = list();
    all.sort_by_key(|(slug, ..)| *slug);
    for (slug, promise, judges) in all {
        let judges = match judges {
            Judges::Both => "simulations and real sockets",
            Judges::Simulations => "simulations",
            Judges::RealSockets => "real sockets",
        };
        writeln!(page, "| `{slug}` | {promise} | {judges} |").expect("a string");
    }
    page + NOT_JUDGED
}

/// `UPDATE_DOCS=1` writes the page.
#[test]
fn the_page_lists_every_oracle() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/oracles.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, page()).expect("docs can be written");
    }
    let written = fs::read_to_string(&path).expect("the page is there");
    assert!(written == page(), "docs/oracles.md is old: UPDATE_DOCS=1 cargo test -p sim oracle_docs");
}

/// A test names the oracle that it turns red.
#[test]
fn every_oracle_has_a_test_that_turns_it_red() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut tests = String::new();
    for entry in fs::read_dir(folder).expect("the tests are there") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            tests += &fs::read_to_string(path).expect("UTF-8");
        }
    }
    let untested: Vec<_> = list().into_iter().map(|(slug, ..)| slug).filter(|slug| !is_named(&tests, slug)).collect();
    assert_eq!(untested, [""; 0]);
}

fn is_named(tests: &str, slug: &str) -> bool {
    tests.contains(&format!("\"{slug}\"")) || tests.contains(&format!("fn {}_sees", slug.replace('-', "_")))
}
