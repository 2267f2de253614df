//! Plays generated stories on a simulator and a server with at most one defect, and prints a line for each. `build.rs` copies
//! this file as `main.rs` into the simulator with the mutants.

use std::io::Write as _;
use std::sync::Arc;

use scenarios::StoryProfile;
use serde_json::json;
use sim::campaign::{Target, adapted, generate};

/// Plays the stories of the seeds from 0 up to the number in the first argument; the others name the story profiles, which
/// the seeds take in turn. Ends at the first story that fails.
fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().and_then(|count| count.parse().ok()).expect("a number of stories");
    let target = Target::default();
    let load = |name: String| {
        let profile = StoryProfile::load(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
        adapted(&profile, &target).expect("every role has a dialect")
    };
    let profiles: Vec<StoryProfile> = arguments.map(load).collect();
    // A crash is a finding, and is printed as one.
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = std::io::stdout().lock();
    for seed in 0..count {
        server::mutant::forget();
        let profile = &profiles[(seed % profiles.len() as u64) as usize];
        let scenario = Arc::new(generate(seed, profile, &target));
        let (hash, wrong) = match sim::run::run(&scenario, seed) {
            Ok(outcome) => {
                let first = outcome.violations.first().map(|violation| (violation.oracle, violation.message.clone()));
                (Some(outcome.hash.to_string()), first)
            }
            Err(crash) => (None, Some(("crash", crash.message))),
        };
        let (oracle, message) = wrong.unzip();
        let line = json!({ "seed": seed, "profile": profile.name, "hash": hash, "oracle": oracle, "message": message });
        // Nobody reads any more.
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() || oracle.is_some() {
            return;
        }
    }
}
