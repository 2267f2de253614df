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

/// Plant each known defect in the reference server, one at a time, and check whether the suite detects it.
///
/// Prints which cases detect which mutant. Exit codes: 0 every mutant is detected and every case detects one; 1 otherwise, or if the
/// unbroken server fails; 2 bad usage.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only test these dialects or services: `mesh`, `relay`, `stun` …
    #[arg(long = "dialect", value_name = "NAME", num_args = 1..)]
    dialects: Vec<String>,
    /// Only mutants whose name matches, such as `mesh/*`
    #[arg(long = "mutant", value_name = "GLOB", num_args = 1..)]
    mutants: Vec<String>,
    /// Checkout of Glare to build the server from [default: the one this program was built from]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Number of parallel servers; each one mostly waits [default: eight per core]
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
