//! `glare dialect`

use std::process::ExitCode;
use std::sync::Arc;

use conformance::dial::Tokio;
use conformance::{Dialect, Target};

use crate::exit::{UNREACHABLE, USAGE, report_error};
use crate::random;

/// Check a dialect file and explain how the suite reads it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Explain how the suite reads a dialect; with --url, try it on a server
    Check {
        /// A shipped dialect's name, or a TOML file
        #[arg(value_name = "NAME|FILE")]
        dialect: String,
        /// URL of a server to try it on
        #[arg(long)]
        url: Option<Target>,
        /// Accept any certificate, including self-signed ones
        #[arg(long)]
        insecure: bool,
    },
    /// List the shipped dialects
    List,
    /// Print the JSON Schema of dialect files, for editors
    Schema,
}

/// Runs the subcommand.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.what {
        What::Check { dialect, url, insecure } => check(&dialect, url.map(|url| url.insecure(insecure))),
        What::List => {
            let row = |name: &str| Dialect::load(name).map(|dialect| [name.to_owned(), dialect.about().to_owned()]);
            let rows: Vec<_> = conformance::shipped().map(row).collect::<Result<_, _>>()?;
            out!("{}", reports::list(rows, reports::terminal_width()));
            Ok(ExitCode::SUCCESS)
        }
        What::Schema => {
            out!("{}", Dialect::schema());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(dialect: &str, url: Option<Target>) -> anyhow::Result<ExitCode> {
    let dialect = match Dialect::load(dialect) {
        Ok(dialect) => Arc::new(dialect),
        Err(error) => return Ok(report_error(&error, USAGE)),
    };
    out!("{}", conformance::explain(&dialect));
    let Some(url) = url else {
        outln!("\n  To try it on a server with two clients, add --url {}", dialect.example());
        return Ok(ExitCode::SUCCESS);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let trial = runtime.block_on(conformance::trial(Tokio, &url, &dialect, random()?));
    runtime.shutdown_background();
    match trial {
        Err(error) => Ok(report_error(&error, UNREACHABLE)),
        Ok(trial) => {
            out!("{}", trial.text());
            Ok(if trial.works() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
