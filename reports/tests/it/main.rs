//! What a person reads, what a program reads, and what becomes of it.

mod ci;
mod diff;
mod evidence;
mod frames;
mod history;
mod html;
mod matrix;
mod model;
mod nat_matrix;
mod pcap;
mod text;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use reports::Replay;
use scenarios::Scenario;
use sim::run::Outcome;

/// The wall time of every run here.
const WALL: Duration = Duration::from_millis(40);

/// Two friends behind full-cone NATs.
const FRIENDS: &str = r#"
name = "friends"
about = "two peers behind friendly NATs"
spec = ["RFC 4787 §4.1"]
duration = "10s"
[[actor]]
name = "ana"
nat = "full-cone"
[[actor]]
name = "ben"
nat = "full-cone"
joins = "100ms"
"#;

/// The same, expected not to connect: a promise that is broken.
fn wrong() -> String {
    format!("{FRIENDS}[expect]\nunconnected = [[\"ana\", \"ben\"]]\n")
}

fn play(text: &str, seed: u64) -> Outcome {
    let scenario: Arc<Scenario> = Arc::new(scenarios::parse("friends.toml", text).expect("a valid scenario"));
    sim::run::run(&scenario, seed).expect("no crash")
}

/// A run in which a server program did not bring about what the scenario aims at.
fn avoided() -> Outcome {
    let mut outcome = play(FRIENDS, 1);
    let scenario = Arc::make_mut(&mut outcome.scenario);
    scenario.expect.probes.push("reconnected".to_owned());
    scenario.server.program = Some(scenarios::ServerProgram::default());
    outcome
}

fn replay() -> Replay {
    Replay { program: "glare".to_owned(), scenario: "friends.toml".to_owned(), options: Vec::new() }
}

/// Without colours, and without hashes: they change with anything that happens, the rest only with what a person would see.
fn plain(text: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    let is_hash = |word: &str| word.len() == 16 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = text.split_inclusive([' ', '\n', '"']);
    words
        .map(|word| if is_hash(&word[..word.len() - 1]) { word.replace(&word[..16], "HASH") } else { word.to_owned() })
        .collect()
}
