//! `glare matrix`, and `conformance --traces`, which makes what it shows.

use std::fs;
use std::path::{Path, PathBuf};

use crate::glare;
use crate::server::Server;

#[test]
fn the_results_of_two_servers_become_a_page_with_their_traces() {
    let dir = scratch("matrix-two");
    let mut server = Server::start(&["--dialects", "mesh", "--port", "0", "--no-stun"]);
    let mesh = format!("ws://{}", server.address("mesh  ws://"));
    for (name, more) in [("one 1.0", &["--traces"][..]), ("nested/two 2.0", &[])] {
        let out = dir.join(name);
        let wanted = ["conformance", "--url", &mesh, "--case", "room/join-ack", "--out"];
        let run = glare(&[&wanted[..], &[path(&out)], more].concat());
        assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
        let text = fs::read_to_string(out.join("result.jsonl")).expect("a result");
        assert_eq!(text.contains("\"story\""), !more.is_empty(), "messages of a passing case, if asked for: {text}");
    }
    let run = glare(&["matrix", path(&dir.join("one 1.0")), path(&dir.join("nested")), "-o", "-"]);
    assert_eq!(run.code(), 0, "{}", run.err());
    for words in ["one 1.0", "two 2.0", "Signaling servers"] {
        assert!(run.out().contains(words), "{words}");
    }
    let run = glare(&["matrix", path(&dir)]);
    assert_eq!((run.code(), run.out()), (0, format!("Written to {}/matrix.html\n", dir.display())), "{}", run.err());
    let page = fs::read_to_string(dir.join("matrix.html")).expect("a page");
    assert!(page.contains("one 1.0") && page.contains("nested"), "a folder in the folder has the server’s name");
}

#[test]
fn what_is_no_result_for_a_matrix_is_named() {
    let dir = scratch("matrix-bad");
    let (empty, newer, sim) = (dir.join("empty"), dir.join("newer/a"), dir.join("sim"));
    for folder in [&empty, &newer, &sim] {
        fs::create_dir_all(folder).expect("a scratch folder");
    }
    let opening = r#"{"record":"opening","version":3,"suite":"conformance"}"#;
    fs::write(newer.join("result.jsonl"), opening).expect("a scratch file");
    let run = glare(&["sim", "--scenario", "same-lan", "--quiet", "--out", path(&sim)]);
    assert_eq!(run.code(), 0, "{}", run.err());
    for (given, says) in [
        (dir.join("nowhere"), "nowhere: there is no such file or folder"),
        (empty, "empty: there is no result in this folder or in those inside it: `conformance --traces --out DIR`"),
        (dir.join("newer"), "newer/a/result.jsonl:1: has version 3, but this program reads up to version 2"),
        (sim, "result.jsonl: is a result of `sim`: a matrix shows results of `conformance --out DIR`"),
    ] {
        let run = glare(&["matrix", path(&given), "-o", "-"]);
        assert_eq!(run.code(), 2, "{}", run.out());
        assert!(run.err().contains(says), "{says} in {}", run.err());
    }
    assert_eq!(glare(&["matrix"]).code(), 2, "at least one folder");
}

/// The page in the repository is of the servers that its script names, and these are the versions that the tests install.
#[test]
fn the_page_in_the_repository_is_what_its_script_makes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (page, script, tests) =
        (read("docs/matrix/index.html"), read("docs/matrix/build"), read("conformance/tests/it/installed.rs"));
    let list = tests.split_once("const PACKAGES").expect("the list of packages").1.split_once("];").expect("its end").0;
    let packages: Vec<_> =
        list.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.strip_suffix("\"),")).collect();
    assert!(packages.len() >= 9, "{list}");
    for package in packages {
        let (name, version) = package.split_once("\", \"").expect("a name and a version");
        assert!(
            script.contains(&format!("{name}@{version}")),
            "docs/matrix/build installs another {name} than the tests"
        );
        let is_on_page = page.contains(&format!(" {version}</span>"));
        assert!(is_on_page, "docs/matrix/index.html has another {name} than {version}: run docs/matrix/build");
    }
    let folders = ["home", "root", "tmp"].map(|folder| format!("/{folder}/"));
    for place in folders.iter().map(String::as_str).chain(["node_modules"]) {
        assert!(!page.contains(place), "docs/matrix/index.html names a place of the machine that made it: {place}");
    }
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a scratch folder");
    dir
}
