//! `glare dialect`

use std::process::ExitCode;
use std::sync::Arc;

use conformance::dial::Tokio;
use conformance::{Dialect, Target};

use crate::conformance::{random, refuse};

/// Look into a dialect file: what the suite understands of it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Says what the suite understands of a dialect, and tries it on a server if there is one
    Check {
        /// A shipped dialect's name, or a TOML file
        #[arg(value_name = "NAME|FILE")]
        dialect: String,
        /// A server to try it on
        #[arg(long)]
        url: Option<Target>,
        /// Takes any certificate, a self-signed one too
        #[arg(long)]
        insecure: bool,
    },
    /// Lists the dialects that come with the suite
    List,
    /// Prints the JSON Schema of dialect files, for editors
    Schema,
}

/// Explains.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.what {
        What::Check { dialect, url, insecure } => check(&dialect, url.map(|url| url.insecure(insecure))),
        What::List => {
            let row = |name: &str| Dialect::load(name).map(|dialect| [name.to_owned(), dialect.about().to_owned()]);
            let rows: Vec<_> = conformance::shipped().map(row).collect::<Result<_, _>>()?;
            anstream::print!("{}", reports::list(rows, reports::terminal_width()));
            Ok(ExitCode::SUCCESS)
        }
        What::Schema => {
            print!("{}", Dialect::schema());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(dialect: &str, url: Option<Target>) -> anyhow::Result<ExitCode> {
    let dialect = match Dialect::load(dialect) {
        Ok(dialect) => Arc::new(dialect),
        Err(error) => return Ok(refuse(&error, 2)),
    };
    anstream::print!("{}", dialect.explain());
    let Some(url) = url else {
        anstream::println!("\n  With --url {} two clients try it on a server.", dialect.example());
        return Ok(ExitCode::SUCCESS);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let trial = runtime.block_on(conformance::trial(Tokio, &url, &dialect, random()?));
    runtime.shutdown_background();
    match trial {
        Err(error) => Ok(refuse(&error, 3)),
        Ok(trial) => {
            anstream::print!("{}", trial.text());
            Ok(if trial.works() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
