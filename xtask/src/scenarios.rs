//! `glare scenarios`

use std::process::ExitCode;

/// Prints the shipped scenarios, one per line.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let rows = scenarios::shipped().map(|scenario| [scenario.name.to_owned(), scenario.about.to_owned()]);
    anstream::print!("{}", reports::list(rows, reports::terminal_width()));
    Ok(ExitCode::SUCCESS)
}
