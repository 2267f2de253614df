//! Plays the stories, with one process per mutant.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::table::{Table, Verdict};
use crate::mutants::catalogue::{self, Mutant};
use crate::mutants::play::checkout;
use crate::mutants::{Arguments, Format, build};
use crate::pool;
use crate::progress::Progress;

/// The story profiles, which the seeds take in turn. Behind an `@` is the dialect that all clients of the story speak, as with
/// `campaign --mutant`: else few stories have two users who call each other.
const PROFILES: [&str; 11] = [
    "roles",
    "calls",
    "crowd",
    "outages",
    "roaming",
    "roles@call",
    "roles@call-socketio",
    "roles@sender-viewer",
    "outages@call",
    "outages@sender-viewer",
    "outages@relay",
];

/// Stories that are played with a defect of which the catalogue says that none can show it.
const TO_BE_SURE: usize = 10;

/// A story takes a second at most. One that takes so long has come to a standstill.
const STANDSTILL: Duration = Duration::from_secs(60);

/// A story that was played, as the program prints it.
#[derive(Deserialize)]
struct Played {
    seed: u64,
    profile: String,
    /// The hash of its events; none if the run crashed.
    hash: Option<String>,
    /// The first oracle that reports something, and what.
    oracle: Option<String>,
    message: Option<String>,
    /// Without a defect: the mutants in whose functions it has been.
    reached: Vec<String>,
}

/// The stories without a defect.
struct Right {
    hashes: BTreeMap<u64, Option<String>>,
    /// By mutant, the seeds of the stories that reach its functions. All others are the same with it.
    reach: BTreeMap<String, Vec<u64>>,
}

/// Plays so many stories with each of the selected mutants, and prints what was found.
pub(in crate::mutants) fn run(arguments: &Arguments, stories: u64) -> anyhow::Result<ExitCode> {
    let workspace = checkout(arguments.workspace.as_deref())?;
    let server = catalogue::load(&workspace)?;
    let simulator = catalogue::load_simulator(&workspace)?;
    let wanted = wanted(&server, &simulator, arguments)?;
    errln!("building the simulator with {} mutants, from {}", server.len() + simulator.len(), workspace.display());
    let program = build::build_simulator(&workspace, &server, &simulator)?;
    let jobs = arguments.jobs.map_or_else(pool::cores, usize::from);
    let table = play(&program, &wanted, stories, jobs, true)?;
    match arguments.format {
        Format::Text => out!("{}", table.text()),
        Format::Json => outln!("{}", table.json()),
        Format::Markdown => out!("{}", table.markdown()),
    }
    Ok(if table.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The selected mutants: those of the server that show in one of the named dialects, and, if none is named, those of the
/// simulator.
fn wanted<'a>(server: &'a [Mutant], simulator: &'a [Mutant], arguments: &Arguments) -> anyhow::Result<Vec<&'a Mutant>> {
    let of_simulator = simulator.iter().filter(|_| arguments.dialects.is_empty());
    let (_, of_server) = crate::mutants::play::wanted(server, &arguments.dialects, &[])?;
    let is_named = |mutant: &&Mutant| {
        let surfaces = mutant.surfaces.iter().map(|surface| surface.name());
        arguments.dialects.is_empty() || surfaces.into_iter().any(|name| arguments.dialects.iter().any(|d| d == name))
    };
    let all: Vec<_> = of_server.into_iter().filter(is_named).chain(of_simulator).collect();
    let patterns = &arguments.mutants;
    let is_wanted =
        |mutant: &&Mutant| patterns.is_empty() || patterns.iter().any(|glob| conformance::glob(glob, &mutant.name));
    let wanted: Vec<_> = all.iter().copied().filter(is_wanted).collect();
    if wanted.is_empty() {
        let names = all.iter().map(|mutant| mutant.name.as_str());
        bail!("no mutant matches {}{}", patterns.join(" "), scenarios::instead(&patterns[0], "mutants", names));
    }
    Ok(wanted)
}

/// Plays the stories without a defect, then with each mutant.
///
/// # Errors
/// A story fails without a defect, or the program cannot be run.
pub(in crate::mutants) fn play<'a>(
    program: &Path,
    mutants: &[&'a Mutant],
    stories: u64,
    jobs: usize,
    show: bool,
) -> anyhow::Result<Table<'a>> {
    let right = Right::play(program, stories, jobs)?;
    let mut progress = Progress::new(mutants.len() as u64, "mutants", "not found", show);
    let mut table = Table::new(stories);
    let one = |mutant: &&'a Mutant| {
        let Some(seeds) = right.reach.get(&mutant.name) else { return Ok(Verdict::WithoutEffect { reached: 0 }) };
        let mut changed = 0;
        let count_changes =
            |played: &Played| changed += usize::from(right.hashes.get(&played.seed) != Some(&played.hash));
        let most = if mutant.beyond.is_some() { TO_BE_SURE } else { usize::MAX };
        let seeds = &seeds[..seeds.len().min(most)];
        let all = play_one(program, Some(mutant), seeds, count_changes)?;
        let last = all.into_iter().next_back().context("the program played nothing")?;
        anyhow::Ok(match last.oracle {
            Some(oracle) => Verdict::Found {
                oracle,
                message: last.message.unwrap_or_default(),
                profile: last.profile,
                seed: last.seed,
            },
            None if changed > 0 => Verdict::Missed { changed },
            None => Verdict::WithoutEffect { reached: seeds.len() },
        })
    };
    pool::for_each_in_order(mutants.to_vec(), jobs, one, |mutant, verdict| {
        table.enter(mutant, verdict?);
        progress.step(table.missed());
        anyhow::Ok(())
    })?;
    progress.finish();
    Ok(table)
}

impl Right {
    /// Plays the stories of all seeds below `stories`, in several processes.
    ///
    /// # Errors
    /// A story fails, or the program cannot be run.
    fn play(program: &Path, stories: u64, jobs: usize) -> anyhow::Result<Self> {
        let jobs = jobs.clamp(1, stories as usize);
        let shares = (0..jobs).map(|job| (job as u64..stories).step_by(jobs).collect::<Vec<_>>());
        let mut right = Self { hashes: BTreeMap::new(), reach: BTreeMap::new() };
        let play = |seeds: &Vec<u64>| play_one(program, None, seeds, |_| {});
        pool::for_each(shares.collect::<Vec<_>>(), jobs, play, |_, all| {
            all?.into_iter().try_for_each(|played| right.enter(played))
        })?;
        right.reach.values_mut().for_each(|seeds| seeds.sort_unstable());
        Ok(right)
    }

    fn enter(&mut self, played: Played) -> anyhow::Result<()> {
        anyhow::ensure!(
            played.oracle.is_none(),
            "without a defect, the story of `{}` with seed {} fails, so the mutants cannot be judged\n{}",
            played.profile,
            played.seed,
            played.message.unwrap_or_default()
        );
        for mutant in played.reached {
            self.reach.entry(mutant).or_default().push(played.seed);
        }
        self.hashes.insert(played.seed, played.hash);
        Ok(())
    }
}

/// Plays stories in a process with this defect, until one fails, and shows each to `on_story`.
fn play_one(
    program: &Path,
    mutant: Option<&Mutant>,
    seeds: &[u64],
    mut on_story: impl FnMut(&Played),
) -> anyhow::Result<Vec<Played>> {
    let mut command = Command::new(program);
    command.args(PROFILES).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env_remove("GLARE_MUTANT");
    if let Some(mutant) = mutant {
        command.env("GLARE_MUTANT", &mutant.name);
    }
    let name = mutant.map_or("no mutant", |mutant| mutant.name.as_str());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let mut orders = child.stdin.take().expect("it is piped");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (sender, receiver) = channel();
    let list: String = seeds.iter().map(|seed| format!("{seed}\n")).collect();
    // Both end with the process. Nothing is simulated in this one.
    #[expect(clippy::disallowed_methods)]
    std::thread::spawn(move || orders.write_all(list.as_bytes()));
    #[expect(clippy::disallowed_methods)]
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut all: Vec<Played> = Vec::new();
    let ended = loop {
        match receiver.recv_timeout(STANDSTILL) {
            Ok(line) => match serde_json::from_str(&line) {
                Ok(played) => {
                    on_story(&played);
                    all.push(played);
                }
                Err(error) => break Err(anyhow::Error::from(error).context(format!("{name}: not a story: {line}"))),
            },
            Err(RecvTimeoutError::Disconnected) => break Ok(None),
            Err(RecvTimeoutError::Timeout) => break Ok(Some("it came to a standstill".to_owned())),
        }
    };
    let _ = child.kill();
    let status = child.wait()?;
    let ended = ended?;
    // A defect may stop or end the whole process, as a stack overflow does.
    if let Some(&seed) = seeds.get(all.len()).filter(|_| all.last().is_none_or(|played| played.oracle.is_none())) {
        let why = ended.unwrap_or_else(|| format!("it ended: {status}"));
        anyhow::ensure!(mutant.is_some(), "the simulator without a defect, in the story of seed {seed}: {why}");
        let profile = PROFILES[(seed % PROFILES.len() as u64) as usize].to_owned();
        let (oracle, message) = (Some("crash".to_owned()), Some(format!("the simulator: {why}")));
        all.push(Played { seed, profile, hash: None, oracle, message, reached: Vec::new() });
    }
    Ok(all)
}
