//! `glare sim --exhaustive`

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use reports::Replay;
use scenarios::Scenario;
use serde::{Deserialize, Serialize};
use sim::campaign::exhaustive::{Explored, Kind, Plan, plan};

use crate::exit::NOTHING;
use crate::interrupt::Interrupt;
use crate::pool;
use crate::progress::Progress;
use crate::sink::cannot_write;

/// File in the folder of a search that lists the units that are done.
const DONE_FILE: &str = "worlds.jsonl";
/// Failing worlds that are printed, for each oracle.
const SHOWN_MAX: usize = 3;

/// The flags of an exhaustive search.
#[derive(clap::Args)]
pub(crate) struct ExhaustiveFlags {
    /// Play every loss of one or two packets, every duplicate, every swap of neighbours and every crash of the server between two messages; with --out, a search that was ended is continued
    #[arg(long, conflicts_with_all = ["seeds", "check_determinism", "timeline", "pcap"])]
    pub(crate) exhaustive: bool,
    /// Kinds of changes to play [default: all]
    #[arg(long, value_name = "KIND,…", requires = "exhaustive", value_delimiter = ',', value_parser = kind)]
    worlds: Vec<Kind>,
}

fn kind(text: &str) -> Result<Kind, String> {
    let names = || Kind::ALL.map(Kind::name).join(", ");
    Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("must be one of {}", names()))
}

impl ExhaustiveFlags {
    fn kinds(&self) -> Vec<Kind> {
        if self.worlds.is_empty() { Kind::ALL.to_vec() } else { self.worlds.clone() }
    }
}

/// What is known of a unit, as a line of a file.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Done {
    unit: String,
    worlds: usize,
    failed: Vec<Failed>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Failed {
    what: String,
    oracle: String,
    message: String,
    /// The scenario file of the world, if there is a folder for it.
    file: Option<PathBuf>,
}

/// The first line of the file: which scenario it is about.
#[derive(Deserialize, PartialEq, Serialize)]
struct Head {
    version: u32,
    scenario: String,
    seed: u64,
}

const VERSION: u32 = 1;

/// What is explored, and how.
pub(crate) struct Search<'a> {
    pub(crate) flags: &'a ExhaustiveFlags,
    pub(crate) scenario: &'a Scenario,
    pub(crate) seed: u64,
    pub(crate) jobs: usize,
    pub(crate) out: Option<&'a Path>,
    pub(crate) quiet: bool,
}

pub(crate) fn run(search: &Search<'_>) -> anyhow::Result<ExitCode> {
    let plan = match plan(search.scenario, search.seed, &search.flags.kinds()) {
        Ok(plan) => plan,
        Err(why) => {
            errln!("{} with seed {} cannot be explored: {why}", search.scenario.name, search.seed);
            return Ok(ExitCode::FAILURE);
        }
    };
    let interrupt = Interrupt::listen()?;
    let mut log = search.out.map(|dir| Log::open(dir, search)).transpose()?;
    let mut done: BTreeMap<String, Done> = log.as_mut().map(|log| std::mem::take(&mut log.before)).unwrap_or_default();
    let start = crate::now();
    let names: BTreeSet<&str> = plan.units.iter().map(|unit| unit.name.as_str()).collect();
    done.retain(|unit, _| names.contains(unit.as_str()));
    let left: Vec<_> = plan.units.iter().filter(|unit| !done.contains_key(&unit.name)).collect();
    let mut progress = Progress::new(left.len() as u64, "units", "worlds failed", !search.quiet);
    let mut failed: usize = done.values().map(|done| done.failed.len()).sum();
    let is_over = || interrupt.is_set();
    let explore = |unit: &&_| plan.explore(unit, &is_over);
    pool::for_each(left.into_iter().take_while(|_| !interrupt.is_set()), search.jobs, explore, |unit, explored| {
        let Some(explored) = explored else { return anyhow::Ok(()) };
        let unit = Done { unit: unit.name.clone(), worlds: explored.worlds, failed: kept(search, explored)? };
        failed += unit.failed.len();
        progress.step(failed);
        if let Some(log) = &mut log {
            log.add(&unit)?;
        }
        done.insert(unit.unit.clone(), unit);
        Ok(())
    })?;
    progress.finish();
    out!("{}", text(search, &plan, &done));
    outln!("Played in {:.0} s with {} jobs", start.elapsed().as_secs_f64(), search.jobs);
    if interrupt.is_set() {
        let how =
            if search.out.is_some() { "the same command continues" } else { "with --out DIR it could be continued" };
        errln!("interrupted: {} of {} units were played; {how}", done.len(), plan.units.len());
    }
    let worlds: usize = done.values().map(|done| done.worlds).sum();
    let code = match failed {
        0 if worlds == 0 => ExitCode::from(NOTHING),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    };
    Ok(interrupt.or(code))
}

/// The failing worlds of a unit, each with its file.
fn kept(search: &Search<'_>, explored: Explored) -> anyhow::Result<Vec<Failed>> {
    let mut kept = Vec::new();
    for world in explored.failed {
        let file = search.out.map(|dir| {
            let file = dir.join(format!("world-{:016x}.toml", sim::hash::digest(world.what.as_bytes())));
            let text = format!(
                "# {}: {}.\n# {}: {}\n{}",
                search.scenario.name,
                world.what,
                world.oracle,
                world.message.replace('\n', " "),
                scenarios::write(&world.scenario)
            );
            fs::write(&file, text).with_context(|| cannot_write(dir)).map(|()| file)
        });
        let file = file.transpose()?;
        kept.push(Failed { what: world.what, oracle: world.oracle.to_owned(), message: world.message, file });
    }
    Ok(kept)
}

/// The file of what is done.
struct Log {
    file: File,
    dir: PathBuf,
    before: BTreeMap<String, Done>,
}

impl Log {
    /// Opens the file in a folder, and reads what was done before. A last line that was cut off is dropped.
    fn open(dir: &Path, search: &Search<'_>) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| cannot_write(dir))?;
        let path = dir.join(DONE_FILE);
        let head = Head { version: VERSION, scenario: scenarios::write(search.scenario), seed: search.seed };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => bail!("cannot read {}: {error}", path.display()),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = whole.lines().enumerate();
        let is_other =
            lines.next().is_some_and(|(_, line)| serde_json::from_str::<Head>(line).ok().as_ref() != Some(&head));
        if is_other {
            bail!(
                "{} is of another scenario, seed or version of Glare: name another folder with --out, or remove the file",
                path.display()
            );
        }
        let mut before = BTreeMap::new();
        for (number, line) in lines {
            let done: Done = serde_json::from_str(line).with_context(|| {
                format!("{}:{}: not a line that `sim --exhaustive` wrote: remove the file", path.display(), number + 1)
            })?;
            before.insert(done.unit.clone(), done);
        }
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let cut = opened.and_then(|file| file.set_len(whole.len() as u64).map(|()| file));
        let file = cut.with_context(|| cannot_write(dir))?;
        let mut log = Self { file, dir: dir.to_owned(), before };
        if whole.is_empty() {
            log.line(&head)?;
        }
        Ok(log)
    }

    fn add(&mut self, done: &Done) -> anyhow::Result<()> {
        self.line(done)
    }

    fn line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let line = serde_json::to_string(value)? + "\n";
        self.file.write_all(line.as_bytes()).with_context(|| cannot_write(&self.dir))
    }
}

fn text(search: &Search<'_>, plan: &Plan, done: &BTreeMap<String, Done>) -> String {
    let of_kind = |kind: Kind| {
        let units = plan.units.iter().filter(move |unit| unit.kind == kind);
        units.filter_map(|unit| done.get(&unit.name))
    };
    let worlds: usize = done.values().map(|done| done.worlds).sum();
    let failed: Vec<&Failed> =
        plan.units.iter().filter_map(|unit| done.get(&unit.name)).flat_map(|done| &done.failed).collect();
    let name = &search.scenario.name;
    let left = plan.units.len() - done.len();
    let mut text = match failed.len() {
        0 if worlds == 0 => format!("NOTHING  {name}: no world was played, so this says nothing\n"),
        0 if left > 0 => format!("UNFINISHED  {name}: every promise is kept in the {worlds} worlds so far\n"),
        0 => format!("PASS  {name}: every promise is kept in all of {worlds} worlds\n"),
        failed => format!("FAIL  {name}: a promise is broken in {failed} of {worlds} worlds\n"),
    };
    for kind in search.flags.kinds() {
        let worlds: usize = of_kind(kind).map(|done| done.worlds).sum();
        let failed: usize = of_kind(kind).map(|done| done.failed.len()).sum();
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        text += &format!("  {:40}  {worlds:>6} worlds{failed}\n", kind.about());
    }
    let mut by_oracle: BTreeMap<&str, Vec<&Failed>> = BTreeMap::new();
    for world in failed {
        by_oracle.entry(&world.oracle).or_default().push(world);
    }
    for (oracle, worlds) in by_oracle {
        text += &format!("\n{oracle}: {} worlds, such as\n", worlds.len());
        for world in worlds.iter().take(SHOWN_MAX) {
            text += &format!("  {}\n    {}\n", world.what, world.message);
            if let Some(file) = &world.file {
                let scenario = file.display().to_string();
                let replay = Replay { program: crate::program(), scenario, options: Vec::new() };
                text += &format!("    {}\n", replay.line(search.seed));
            }
        }
    }
    text
}
