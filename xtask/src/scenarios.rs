//! `glare scenarios`

use std::process::ExitCode;

/// Lists the shipped scenarios, a line each.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let shipped: Vec<_> = scenarios::shipped().collect();
    let width = shipped.iter().map(|scenario| scenario.name.len()).max().unwrap_or_default();
    for scenario in shipped {
        anstream::println!("{:<width$}  {}", scenario.name, scenario.about);
    }
    Ok(ExitCode::SUCCESS)
}
