//! The suite finds what is planted, and nothing else is planted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use server::mutant::{Mutant, Surface};

use super::play::{play, wanted};

#[test]
fn every_mutant_is_found_and_every_case_finds_one() {
    let matrix = play(&Surface::ALL, Mutant::ALL, None, false).unwrap_or_else(|why| panic!("{why}"));
    assert!(matrix.survivors().is_empty(), "{}", matrix.text());
    assert!(matrix.idle().is_empty(), "{}", matrix.text());
    eprintln!("{}", matrix.text());
}

#[test]
fn what_is_asked_for_is_known_or_the_nearest_name_is_told() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (surfaces, mutants) = wanted(&names(&["relay"]), &names(&["room/echo-*"])).expect("there is one");
    assert_eq!((surfaces, mutants), (vec![Surface::Relay], vec![Mutant::EchoToSender]));
    for (dialects, patterns, says) in [
        (names(&["mash"]), names(&[]), "did you mean `mesh`?"),
        (names(&[]), names(&["room/echo"]), "the nearest is `room/echo-to-sender`"),
        (names(&["call"]), names(&["room/echo-*"]), "no mutant that matches shows in call"),
    ] {
        let error = wanted(&dialects, &patterns).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// What waits for TURN's lifetimes: eleven minutes.
#[test]
#[ignore = "takes eleven minutes"]
fn every_mutant_of_lifetimes_is_found() {
    let matrix = play(&[Surface::TurnLifetimes], Mutant::ALL, None, false).unwrap_or_else(|why| panic!("{why}"));
    assert!(matrix.survivors().is_empty(), "{}", matrix.text());
    eprintln!("{}", matrix.text());
}

#[test]
fn the_catalogue_and_the_sources_agree() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/src");
    let mut planted = BTreeSet::new();
    let mut folders = vec![sources.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source");
            let file = path.strip_prefix(&sources).expect("below").to_str().expect("UTF-8").to_owned();
            let sites = text.split("planted!(").skip(1);
            let names = sites.map(|rest| rest.split([')', ':']).next().unwrap_or_default().to_owned());
            planted.extend(
                names.filter(|_| !file.starts_with("mutant") && file != "planted.rs").map(|name| (name, file.clone())),
            );
        }
    }
    let catalogued: BTreeSet<_> =
        Mutant::ALL.iter().map(|mutant| (format!("{mutant:?}"), mutant.file().to_owned())).collect();
    assert_eq!(planted, catalogued, "left: where one is planted; right: the catalogue in server/src/mutant.rs");
}

#[test]
fn names_are_unique_and_a_defect_is_a_sentence() {
    let names: BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
    assert_eq!(names.len(), Mutant::ALL.len());
    for mutant in Mutant::ALL {
        let kebab = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        assert!(mutant.name().split_once('/').is_some_and(|(area, name)| kebab(area) && kebab(name)), "{mutant:?}");
        assert!(mutant.defect().ends_with('.'), "{mutant:?} is not told in a sentence");
        assert!(!mutant.surfaces().is_empty(), "{mutant:?} shows nowhere");
    }
}

/// Neither the program nor anything that it is built from has the feature, unless it is asked for.
#[test]
fn no_build_for_use_has_mutants() {
    let tree = |features: &[&str]| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["tree", "--offline", "--locked", "--package", "glare", "--edges", "normal,build"]);
        command.args(["--format", "{p} {f}"]);
        let output = command.args(features).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert!(!tree(&[]).contains("mutants"));
    assert!(tree(&["--features", "mutants"]).contains("mutants"));
}
