//! `glare nat-matrix`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use reports::{NatCell, NatMatrix};
use scenarios::Stack;
use sim::nat_matrix::{pair, play, predicted};

use crate::arguments::StackName;
use crate::pool;

/// Let two peers behind each pair of NAT profiles connect, and compare with what is worked out from the NATs alone.
///
/// Exit codes: 0 every pair is as predicted; 1 some pair is not; 2 wrong usage.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Profiles, separated by commas; each with each, both as the first and the second peer [default: all that are shipped]
    #[arg(long, value_name = "A,B…", value_delimiter = ',')]
    profiles: Vec<String>,
    /// Give the peers a TURN server, over UDP and TCP
    #[arg(long)]
    turn: bool,
    /// WebRTC stack of the peers, or two: that of the row's peer, which offers, and that of the column's
    #[arg(long, value_name = "STACK", value_enum, value_delimiter = ',', default_value = "rtc")]
    stack: Vec<StackName>,
    /// Seed of each run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Output file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Number of runs at a time [default: number of cores]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A table for a terminal
    Text,
    /// JSON
    Json,
    /// One self-contained HTML page with a heat map
    Html,
}

/// Plays all pairs and renders the matrix.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let profiles = profiles(&arguments.profiles)?;
    let stacks = stacks(&arguments.stack)?;
    // All pairs have the same stacks.
    let some = pair(&profiles[0], &profiles[0], false, stacks)?;
    sim::run::check_program(&some).map_err(|wrong| anyhow::anyhow!(wrong))?;
    let pairs: Vec<(&str, &str)> = profiles.iter().flat_map(|a| profiles.iter().map(|b| (&**a, &**b))).collect();
    let mut cells = Vec::with_capacity(pairs.len());
    pool::for_each_in_order(
        pairs,
        arguments.jobs.unwrap_or_else(pool::cores),
        |(a, b)| {
            let scenario = Arc::new(pair(a, b, arguments.turn, stacks)?);
            let found = play(&scenario, arguments.seed);
            let found = found.map_err(|crash| anyhow::anyhow!("{a} with {b} cannot be played: {}", crash.message))?;
            anyhow::Ok(NatCell::new(a, b, found, predicted(&scenario)))
        },
        |_, cell| {
            cells.push(cell?);
            anyhow::Ok(())
        },
    )?;
    let matrix = NatMatrix {
        tool: concat!("glare ", env!("CARGO_PKG_VERSION")).to_owned(),
        command: crate::command(),
        seed: arguments.seed,
        turn: arguments.turn,
        stacks: stacks.map(|stack| stack.name()),
        profiles,
        cells,
    };
    let text = match arguments.format {
        Format::Text => matrix.text(),
        Format::Json => matrix.json() + "\n",
        Format::Html => matrix.html(),
    };
    match arguments.output.filter(|file| file != Path::new("-")) {
        None => out!("{text}"),
        Some(file) => {
            // A file has no colors.
            let text = anstream::adapter::strip_str(&text).to_string();
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    let differs = matrix.differing().next().is_some();
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The stacks of both peers.
fn stacks(asked: &[StackName]) -> anyhow::Result<[Stack; 2]> {
    match asked {
        [both] => Ok([both.stack(); 2]),
        [row, column] => Ok([row.stack(), column.stack()]),
        _ => anyhow::bail!("--stack: two peers have two stacks at most: remove {}", asked.len() - 2),
    }
}

/// The profiles that are asked for, or all.
fn profiles(asked: &[String]) -> anyhow::Result<Vec<String>> {
    let shipped: Vec<String> = scenarios::profiles().map(|profile| profile.name).collect();
    if asked.is_empty() {
        return Ok(shipped);
    }
    for (index, name) in asked.iter().enumerate() {
        if !shipped.contains(name) {
            let instead = scenarios::instead(name, "profiles", shipped.iter().map(String::as_str));
            anyhow::bail!("--profiles: there is no NAT profile `{name}`{instead}");
        }
        anyhow::ensure!(!asked[..index].contains(name), "--profiles: `{name}` is listed twice: remove one");
    }
    Ok(asked.to_vec())
}
