//! Plays generated stories on a simulator and a server with at most one defect, and prints a line for each. `build.rs` copies
//! this file as `main.rs` into the simulator with the mutants.

use std::io::Write as _;
use std::sync::Arc;

use scenarios::StoryProfile;
use serde_json::json;
use sim::campaign::{Target, adapted, generate};

/// Plays the stories of the seeds that standard input lists, one a line. The arguments name the story profiles, which the
/// seeds take in turn, some with the dialect of all clients. Ends at the first story that fails. Without a defect, also prints in whose functions the story
/// has been.
fn main() {
    let load = |name: String| {
        let (profile, dialect) = name.split_once('@').map_or((&*name, None), |(profile, dialect)| (profile, Some(dialect)));
        let target = Target { dialect: dialect.map(str::to_owned), program: None };
        let profile = StoryProfile::load(profile).unwrap_or_else(|error| panic!("{name}: {error}"));
        let profile = adapted(&profile, &target).unwrap_or_else(|misfit| panic!("{name}: {misfit:?}"));
        (name, profile, target)
    };
    let profiles: Vec<(String, StoryProfile, Target)> = std::env::args().skip(1).map(load).collect();
    if std::env::var_os("GLARE_MUTANT").is_none() {
        server::mutant::watch();
    }
    // A crash is a finding, and is printed as one.
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lines() {
        let seed: u64 = line.expect("it can be read").parse().expect("the seed of a story");
        server::mutant::forget();
        let (name, profile, target) = &profiles[(seed % profiles.len() as u64) as usize];
        let scenario = Arc::new(generate(seed, profile, target));
        let (hash, wrong) = match sim::run::run(&scenario, seed) {
            Ok(outcome) => {
                let first = outcome.violations.first().map(|violation| (violation.oracle, violation.message.clone()));
                (Some(outcome.hash.to_string()), first)
            }
            Err(crash) => (None, Some(("crash", crash.message))),
        };
        let (oracle, message) = wrong.unzip();
        let line = json!({
            "seed": seed, "profile": name, "hash": hash, "oracle": oracle, "message": message,
            "reached": server::mutant::asked(),
        });
        // Nobody reads any more.
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() || oracle.is_some() {
            return;
        }
    }
}
