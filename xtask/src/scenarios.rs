//! `glare scenarios`

use std::process::ExitCode;

/// List the shipped scenarios.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Copy, clap::Subcommand)]
enum What {
    /// List the shipped scenarios
    List,
    /// Print the JSON Schema of scenario files, for editors
    Schema,
}

/// Prints the shipped scenarios, one per line, or the schema.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match arguments.what.unwrap_or(What::List) {
        What::List => {
            let rows = scenarios::shipped().map(|scenario| [scenario.name.to_owned(), scenario.about.to_owned()]);
            out!("{}", reports::list(rows, reports::terminal_width()));
        }
        What::Schema => out!("{}", scenarios::SCHEMA),
    }
    Ok(ExitCode::SUCCESS)
}
