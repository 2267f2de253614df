//! Runs one simulation: a shipped scenario, or a file, with a seed. Prints the timeline and the verdict.
//!
//! ```sh
//! cargo run -p sim --example run_one -- mesh-3 42
//! ```

use std::process::ExitCode;
use std::sync::Arc;

use sim::timeline::Timeline;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "mesh-3".to_owned());
    let Ok(seed) = arguments.next().map_or(Ok(1), |seed| seed.parse()) else {
        eprintln!("usage: run_one [SCENARIO [SEED]]; a seed is a number from 0 to 18446744073709551615");
        return ExitCode::from(2);
    };
    let scenario = match scenarios::load(&name) {
        Ok(scenario) => Arc::new(scenario),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    // A crash is a bug in Glare or in a library. Faults of the server or the peers are violations.
    let outcome = match sim::run::run(&scenario, seed) {
        Ok(outcome) => outcome,
        Err(crash) => {
            eprintln!("seed {} crashed: {}", crash.seed, crash.message);
            return ExitCode::from(2);
        }
    };

    print!("{}", Timeline::of(&outcome.record));
    for violation in &outcome.violations {
        println!("{:>9.3} s  {}: {}", violation.at.as_secs_f64(), violation.oracle, violation.message);
    }
    let verdict = if outcome.passed() { "passed" } else { "FAILED" };
    println!("{name}, seed {seed}: {verdict}, {} events, hash {}", outcome.record.events.len(), outcome.hash);
    ExitCode::from(u8::from(!outcome.passed()))
}
