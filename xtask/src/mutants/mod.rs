//! `glare mutants`: runs the suite against servers that are broken on purpose.
//!
//! The shipped source contains none of these defects. `server/mutants/*.toml` lists them as edits of the server.
//! [`build`] applies all of them to a copy, and `stage` runs each server as a separate process with at most one active
//! mutant. `stories` plays generated stories instead, also with the defects of clients and of the network in
//! `sim/mutants/*.toml`; `clients` plays a scenario, and looks what becomes of its clients.

mod broken;
mod build;
mod catalogue;
mod clients;
mod matrix;
mod patch;
mod planted;
mod play;
mod promises;
#[cfg(test)]
mod regressions;
mod stage;
mod stories;
#[cfg(test)]
mod tests;

pub(crate) use planted::{plant, planted};
pub(crate) use play::run;

use std::path::PathBuf;

/// Plant each known defect in the reference server, one at a time, and check whether the suite detects it.
///
/// Needs a checkout of Glare and a Rust toolchain, because it builds the server with the defects.
/// Prints which cases detect which mutant. Exit codes: 0 every mutant is detected, every case detects one, and every
/// promise is proven; with --stories, every mutant that changes a story is found; with --scenario, no mutant ends a
/// program of the scenario; 1 otherwise, or if the unmodified server fails; 2 bad usage.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Test only these dialects or services: `mesh`, `relay`, `stun` …
    #[arg(long = "dialect", value_name = "NAME", num_args = 1..)]
    dialects: Vec<String>,
    /// Test only mutants whose name matches, such as `mesh/*`
    #[arg(long = "mutant", value_name = "GLOB", num_args = 1..)]
    mutants: Vec<String>,
    /// Checkout of Glare to build the server from [default: the one that contains the current folder]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Number of parallel servers; each one mostly waits [default: 24 per core; with --stories or --scenario one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Play so many generated stories in the simulator with each defect, in place of the suite; also plant the defects
    /// of clients and of the network
    #[arg(long, value_name = "N", conflicts_with = "out", value_parser = clap::value_parser!(u64).range(1..))]
    stories: Option<u64>,
    /// Play a scenario with each defect, in place of the suite: what becomes of its clients, such as a program of yours?
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["out", "stories", "dialects"])]
    scenario: Option<String>,
    /// Seed of the scenario's runs
    #[arg(long, default_value_t = 1, requires = "scenario")]
    seed: u64,
    /// Folder for the result, which `report` renders
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Text for people
    Text,
    /// One JSON object for programs
    Json,
    /// The tables of a document; with --stories only
    Markdown,
}
