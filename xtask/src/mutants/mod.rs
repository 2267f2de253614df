//! `glare mutants`: the suite against servers that are broken on purpose.
//!
//! No shipped source has a defect. `server/mutants/*.toml` lists them as edits of the server; [`build`] lays all of them over
//! a copy, and `stage` runs the copy in a process of its own for each server, with the name of the one mutant that it has.

mod broken;
mod build;
mod catalogue;
mod matrix;
mod patch;
mod play;
#[cfg(test)]
mod regressions;
mod stage;
#[cfg(test)]
mod tests;

pub(crate) use play::run;

use std::path::PathBuf;

/// Plant every defect of a catalogue in the reference server, one at a time, and see whether the suite finds it.
///
/// Prints which cases find which mutant. Exit codes: 0 every mutant is found and every case finds one, 1 not so, or the unbroken
/// server fails, 2 bad usage.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only where it shows in these: `mesh`, `relay`, `stun` …
    #[arg(long = "dialect", value_name = "NAME", num_args = 1..)]
    dialects: Vec<String>,
    /// Only mutants whose name matches: `mesh/*`
    #[arg(long = "mutant", value_name = "GLOB", num_args = 1..)]
    mutants: Vec<String>,
    /// Checkout of Glare that the server is built from [default: the one this program was built from]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Servers at the same time: each mostly waits [default: eight per core]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Folder for the result, which `report` renders
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: one JSON object
    Json,
}
