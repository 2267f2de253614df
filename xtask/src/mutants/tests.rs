//! The suite detects every mutant, and every mutant applies to the server's sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::broken::Surface;
use super::catalogue::{self, Mutant};
use super::matrix::Matrix;
use super::play::{jobs, play, wanted};
use super::promises::{self, Promise};
use super::{build, patch};

/// This checkout.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(super) fn catalogue() -> &'static [Mutant] {
    static CATALOGUE: LazyLock<Vec<Mutant>> =
        LazyLock::new(|| catalogue::load(&workspace()).unwrap_or_else(|why| panic!("{why:#}")));
    &CATALOGUE
}

fn promises() -> &'static [Promise] {
    static PROMISES: LazyLock<Vec<Promise>> =
        LazyLock::new(|| promises::load(&workspace(), catalogue()).unwrap_or_else(|why| panic!("{why:#}")));
    &PROMISES
}

/// The server with all mutants, built once for all tests.
pub(super) fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> =
        LazyLock::new(|| build::build(&workspace(), catalogue()).unwrap_or_else(|why| panic!("{why:#}")));
    &PROGRAM
}

fn played(surfaces: &[Surface], is_whole: bool) -> Matrix<'static> {
    let mutants: Vec<_> = catalogue().iter().collect();
    let matrix =
        play(program(), surfaces, &mutants, promises(), jobs(), is_whole, false).unwrap_or_else(|why| panic!("{why}"));
    assert!(matrix.passed(), "{}", matrix.text());
    eprintln!("{}", matrix.text());
    matrix
}

/// The message names each edit that no longer applies, with its file and the missing text.
#[test]
fn every_mutant_applies_to_the_sources() {
    let sources = build::sources(&workspace()).unwrap_or_else(|why| panic!("{why:#}"));
    patch::patch(catalogue(), &sources).unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    assert!(catalogue().len() >= 238, "{} mutants", catalogue().len());
}

#[test]
fn the_shipped_source_has_no_trace_of_mutants() {
    let sources = build::sources(&workspace()).unwrap_or_else(|why| panic!("{why:#}"));
    for (file, text) in sources {
        let text = text.to_lowercase();
        assert!(!text.contains("mutant") && !text.contains("planted"), "server/src/{file}");
    }
}

#[test]
fn every_mutant_is_detected_every_case_detects_one_and_every_promise_is_proven() {
    let matrix = played(&Surface::ALL, true);
    assert!(matrix.survivors().is_empty() && matrix.never_detecting().is_empty() && matrix.unproven().is_empty());
}

#[test]
fn the_table_of_promises_is_generated() {
    let (path, table) = (workspace().join("docs/conformance/promises.md"), promises::markdown(promises()));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &table).expect("the folder is there");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == table, "docs/conformance/promises.md is old: UPDATE_DOCS=1 cargo test -p glare promises");
}

/// The cases that wait for TURN lifetimes, which takes eleven minutes.
#[test]
#[ignore = "takes eleven minutes"]
fn every_mutant_of_lifetimes_is_detected() {
    played(&[Surface::TurnLifetimes], false);
}

#[test]
fn an_unknown_name_is_rejected_with_the_nearest_known_one() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (surfaces, mutants) = wanted(catalogue(), &names(&["relay"]), &names(&["room/echo-*"])).expect("there is one");
    let mutants: Vec<_> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
    assert_eq!((surfaces, mutants), (vec![Surface::Relay], vec!["room/echo-to-sender"]));
    for (dialects, patterns, says) in [
        (names(&["mash"]), names(&[]), "did you mean `mesh`?"),
        (names(&[]), names(&["room/echo"]), "the nearest is `room/echo-to-sender`"),
        (names(&["call"]), names(&["room/echo-*"]), "no matching mutant shows in call"),
    ] {
        let error = wanted(catalogue(), &dialects, &patterns).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}
