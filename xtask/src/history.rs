//! `glare history`

use std::path::PathBuf;
use std::process::ExitCode;

use reports::Results;
use reports::history::{self, Entry, History};

/// Keep results over time and show how they went.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Adds results to the history
    Add {
        /// Folders of results, or result files
        #[arg(required = true, value_name = "DIR")]
        results: Vec<PathBuf>,
        /// What the results are of, such as a commit
        #[arg(long)]
        revision: Option<String>,
        #[command(flatten)]
        store: Store,
    },
    /// Shows how results went
    Show {
        #[command(flatten)]
        store: Store,
    },
}

#[derive(clap::Args)]
struct Store {
    /// The file that keeps the history
    #[arg(long, value_name = "FILE", default_value = ".glare/history.redb")]
    file: PathBuf,
}

/// Adds or shows.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // What a damaged store makes of its database is told as an error.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments.command {
        Command::Add { results, revision, store } => {
            // All are read before the first is added.
            let results: Vec<_> = results.iter().map(|path| Results::load(path)).collect::<Result<_, _>>()?;
            for result in &results {
                let entry = Entry::of(result, revision.clone())
                    .map_err(|wrong| anyhow::anyhow!("{}: {wrong}", result.dir.join(reports::model::FILE).display()))?;
                let word = if history::add(&store.file, &entry)? { "Added" } else { "Already there" };
                println!("{word}: {} {}", entry.suite.word(), entry.name);
            }
        }
        Command::Show { store } => anstream::print!("{}", History::load(&store.file)?.text(reports::terminal_width())),
    }
    Ok(ExitCode::SUCCESS)
}
