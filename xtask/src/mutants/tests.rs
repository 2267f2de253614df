//! The suite detects every mutant, and every mutant applies to the server's sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use clap::Parser as _;
use scenarios::StoryProfile;
use sim::campaign::{Target, adapted, generate};

use super::broken::{STORY_HEARTBEAT, Surface};
use super::catalogue::{self, Mutant};
use super::matrix::Matrix;
use super::planted::simulated;
use super::play::{jobs, play, wanted};
use super::promises::{self, Promise};
use super::stories::{self, Verdict};
use super::{build, clients, patch};

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

/// The same stories pass on the server without a defect, as a program in the simulated world.
#[test]
fn generated_stories_find_planted_defects() {
    let profile = StoryProfile::load("roles").expect("it is shipped");
    let failing = |dialect: &str, mutant: Option<&str>| {
        let program = Some(simulated(program(), dialect, mutant, STORY_HEARTBEAT));
        let target = Target { dialect: Some(dialect.to_owned()), program };
        let profile = adapted(&profile, &target).expect("the server speaks it");
        let seeds = if mutant.is_some() { 150 } else { 30 };
        (0..seeds).find(|seed| {
            let played = sim::run::run(&Arc::new(generate(*seed, &profile, &target)), *seed);
            !played.unwrap_or_else(|crash| panic!("{dialect} of seed {seed}: {crash:?}")).passed()
        })
    };
    for (dialect, mutant) in [("mesh", "mesh/leave-not-told"), ("call", "call/reject-untold")] {
        assert_eq!(failing(dialect, None), None, "{dialect}");
        assert!(failing(dialect, Some(mutant)).is_some(), "{mutant}");
    }
}

/// The folder with the peer on npm `werift`; `None` if npm does not work.
fn werift() -> Option<PathBuf> {
    let target = std::env::current_exe().expect("it runs").ancestors().nth(3).map(Path::to_path_buf);
    let folder = target.expect("cargo keeps tests three folders below its target").join("tmp/werift");
    fs::create_dir_all(&folder).expect("the target folder is ours");
    for name in ["mesh.mjs", "package.json"] {
        fs::copy(workspace().join("sim/tests/peers").join(name), folder.join(name)).expect("it is shipped");
    }
    if !folder.join("installed").exists() {
        let mut npm = std::process::Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&folder);
        if !npm.output().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "npm cannot install werift");
            eprintln!("SKIPPED: npm cannot install werift");
            return None;
        }
        fs::write(folder.join("installed"), "").expect("the folder is ours");
    }
    Some(folder)
}

/// A defect that the scenario does not reach, one that nobody can make good, and one after which the client is as before.
#[test]
fn a_client_program_is_tested_with_planted_defects() {
    let Some(folder) = werift() else { return };
    let file = workspace().join("sim/tests/peers/two-origins.toml");
    let mut scenario = scenarios::load(file.to_str().expect("UTF-8")).unwrap_or_else(|error| panic!("{error}"));
    for program in scenario.actors.iter_mut().filter_map(|actor| actor.program.as_mut()) {
        program.directory = Some(folder.clone());
    }
    let expected = [
        ("mesh/foreign-leave-believed", "not met"),
        ("mesh/join-not-told", "harmed"),
        ("mesh/leave-told-twice", "unharmed"),
    ];
    let named = |name: &str| catalogue().iter().find(|mutant| mutant.name == name).expect("there is this mutant");
    let mutants: Vec<_> = expected.iter().map(|(name, _)| named(name)).collect();
    let hook = std::panic::take_hook();
    let table = clients::play(program(), &scenario, &mutants, 1, 2, false);
    std::panic::set_hook(hook);
    let table = table.unwrap_or_else(|why| panic!("{why:#}"));
    let words: Vec<_> = table.all().map(|(mutant, verdict)| (mutant.name.as_str(), verdict.word())).collect();
    assert_eq!(words, expected, "{}", table.text("glare", "two-origins.toml"));
    assert!(table.passed());
}

/// What a person sees: the story of the finding is a file that begins with what is wrong, and plays the same.
#[test]
fn a_campaign_keeps_the_story_that_shows_a_planted_defect() {
    program();
    let dir = std::env::temp_dir().join(format!("glare-planted-{}", std::process::id()));
    let out = dir.to_str().expect("UTF-8");
    let words = ["glare", "campaign", "--quiet", "--fail-fast", "--mutant", "call/reject-untold", "--out", out];
    let crate::Command::Campaign(arguments) = crate::Arguments::parse_from(words).command else {
        panic!("it is that command")
    };
    // The command silences panics, which other tests must not.
    let hook = std::panic::take_hook();
    let code = crate::campaign::run(*arguments);
    std::panic::set_hook(hook);
    let code = code.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(code, std::process::ExitCode::FAILURE);
    let (_, campaign) = reports::campaign::Campaign::load(&dir).expect("it was stored");
    let [finding] = &campaign.findings()[..] else { panic!("{:?}", campaign.findings()) };
    let file = dir.join(finding.file());
    let text = fs::read_to_string(&file).expect("it was written");
    assert!(text.starts_with(&format!("# {}: ", finding.wrong.rule)), "{text}");
    let scenario = scenarios::load(file.to_str().expect("UTF-8")).unwrap_or_else(|error| panic!("{error}"));
    let outcome = sim::run::run(&Arc::new(scenario), finding.first().seed()).expect("no crash");
    let first = outcome.violations.first().expect("it fails again");
    assert_eq!((first.oracle, &first.message), (finding.wrong.rule.as_str(), &finding.wrong.message));
    fs::remove_dir_all(dir).expect("it is there");
}

/// The message names each edit that no longer applies, with its file and the missing text.
#[test]
fn every_mutant_applies_to_the_sources() {
    let sources = build::sources(&workspace()).unwrap_or_else(|why| panic!("{why:#}"));
    patch::patch(catalogue(), &sources, "server/src").unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    assert!(catalogue().len() >= 238, "{} mutants", catalogue().len());
    let simulator = catalogue::load_simulator(&workspace()).unwrap_or_else(|why| panic!("{why:#}"));
    let sources = build::simulator_sources(&workspace()).unwrap_or_else(|why| panic!("{why:#}"));
    patch::patch(&simulator, &sources, "sim/src").unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
}

/// An oracle reports nearly each defect of a client or of the network that changes a story.
#[test]
#[ignore = "builds the simulator again, which takes minutes"]
fn stories_find_every_mutant_of_clients_and_of_the_network() {
    let simulator = catalogue::load_simulator(&workspace()).unwrap_or_else(|why| panic!("{why:#}"));
    let program = build::build_simulator(&workspace(), catalogue(), &simulator).unwrap_or_else(|why| panic!("{why:#}"));
    let all: Vec<_> = simulator.iter().collect();
    let table = stories::play(&program, &all, 600, crate::pool::cores(), false).unwrap_or_else(|why| panic!("{why:#}"));
    let missed = table.all().filter(|(_, verdict)| matches!(verdict, Verdict::Missed { .. }));
    let missed: Vec<_> = missed.map(|(mutant, _)| mutant.name.as_str()).collect();
    // A lost candidate may be found again as a peer-reflexive one; a datagram without a trace counts as in flight.
    assert_eq!(missed, ["client/early-candidates-dropped", "network/vanishes-without-a-word"]);
    let found = table.all().filter(|(_, verdict)| matches!(verdict, Verdict::Found { .. })).count();
    assert!(found >= 23, "{found} found");
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
