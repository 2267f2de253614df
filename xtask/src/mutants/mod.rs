//! `glare mutants`: the suite against servers that are broken on purpose.
//!
//! No shipped build has a defect, so there the command only calls itself again, in a build with the feature `mutants`.

#[cfg(not(any(test, feature = "mutants")))]
mod again;
#[cfg(any(test, feature = "mutants"))]
mod matrix;
#[cfg(any(test, feature = "mutants"))]
mod play;
#[cfg(test)]
mod regressions;
#[cfg(any(test, feature = "mutants"))]
mod stage;
#[cfg(test)]
mod tests;

#[cfg(not(any(test, feature = "mutants")))]
pub(crate) use again::run;
#[cfg(any(test, feature = "mutants"))]
pub(crate) use play::run;

use std::path::PathBuf;

/// Plant every defect of a catalogue in the reference server, one at a time, and see whether the suite finds it.
///
/// Prints which cases find which mutant. Exit codes: 0 every mutant is found and every case finds one, 1 not so, or the unbroken
/// server fails, 2 bad usage.
#[derive(clap::Args)]
#[cfg_attr(not(any(test, feature = "mutants")), allow(dead_code))] // handed on as they were given
pub(crate) struct Arguments {
    /// Only where it shows in these: `mesh`, `relay`, `stun` …
    #[arg(long = "dialect", value_name = "NAME", num_args = 1..)]
    dialects: Vec<String>,
    /// Only mutants whose name matches: `mesh/*`
    #[arg(long = "mutant", value_name = "GLOB", num_args = 1..)]
    mutants: Vec<String>,
    /// Servers at the same time: each mostly waits [default: eight a core]
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
