//! `glare history`

use std::path::PathBuf;
use std::process::ExitCode;

use reports::Results;
use reports::history::{self, Entry, History};

/// Keep results over time and show the trend.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Add results to the history
    Add {
        /// Result folders or files
        #[arg(required = true, value_name = "DIR")]
        results: Vec<PathBuf>,
        /// Revision that was tested, such as a commit
        #[arg(long)]
        revision: Option<String>,
        #[command(flatten)]
        store: Store,
    },
    /// Show the trend of each series of results
    Show {
        #[command(flatten)]
        store: Store,
    },
}

#[derive(clap::Args)]
struct Store {
    /// History file
    #[arg(long, value_name = "FILE", default_value = ".glare/history.redb")]
    file: PathBuf,
}

/// Adds results to the history, or prints it.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // A damaged store makes its database panic; that is reported as an error.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments.command {
        Command::Add { results, revision, store } => {
            // All results are read before the first is added, so that an unreadable one changes nothing.
            let results: Vec<_> = results.iter().map(|path| Results::load(path)).collect::<Result<_, _>>()?;
            for result in &results {
                let entry = Entry::of(result, revision.clone())
                    .map_err(|wrong| anyhow::anyhow!("{}: {wrong}", result.dir.join(reports::model::FILE).display()))?;
                let word = if history::add(&store.file, &entry)? { "Added" } else { "Already present" };
                outln!("{word}: {} {}", entry.suite.word(), entry.name);
            }
        }
        Command::Show { store } => out!("{}", History::load(&store.file)?.text(reports::terminal_width())),
    }
    Ok(ExitCode::SUCCESS)
}
