//! Tests the selected mutants, several in parallel.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reports::model::{self, Opening, Suite};

use super::broken::Surface;
use super::catalogue::{self, Mutant};
use super::matrix::Matrix;
use super::promises::{self, Promise};
use super::stage::{self, Outcome};
use super::{Arguments, Format, build, clients, stories};
use crate::exit::report_error;
use crate::pool;
use crate::progress::Progress;

/// Parallel servers per core. A server mostly waits: on two cores, all 671 took 441 s with 8 per core, 172 s with 24, and
/// 162 s with 48, which loads the cores fully.
const JOBS_PER_CORE: usize = 24;

/// Tests the mutants and prints the matrix.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Some(stories) = arguments.stories {
        return stories::run(&arguments, stories);
    }
    anyhow::ensure!(arguments.format != Format::Markdown, "`--format markdown` needs --stories");
    if let Some(scenario) = &arguments.scenario {
        return clients::run(&arguments, scenario);
    }
    let workspace = &checkout(arguments.workspace.as_deref())?;
    let catalogue = catalogue::load(workspace)?;
    let promises = promises::load(workspace, &catalogue)?;
    let (surfaces, mutants) = wanted(&catalogue, &arguments.dialects, &arguments.mutants)?;
    errln!("building the server with {} mutants, from {}", catalogue.len(), workspace.display());
    let program = build::build(workspace, &catalogue)?;
    let started_ms = crate::unix_ms();
    let jobs = arguments.jobs.map_or_else(jobs, usize::from);
    let is_whole = mutants.len() == catalogue.len() && surfaces.len() == Surface::ALL.len();
    let played = play(&program, &surfaces, &mutants, &promises, jobs, is_whole, true);
    let matrix = match played {
        Ok(matrix) => matrix,
        Err(why) => {
            return Ok(report_error(&why, 1));
        }
    };
    match arguments.format {
        Format::Text | Format::Markdown => out!("{}", matrix.text()),
        Format::Json => outln!("{}", matrix.json()),
    }
    if let Some(dir) = &arguments.out {
        let opening = Opening {
            version: model::VERSION,
            suite: Suite::Mutants,
            name: "mutants".to_owned(),
            tool: crate::sink::TOOL.to_owned(),
            target: "reference server".to_owned(),
            command: crate::command(),
            started_ms,
        };
        let write = || {
            let mut writer = reports::Writer::create(dir, &opening)?;
            matrix.cases(&crate::program()).into_iter().try_for_each(|case| writer.case(case))?;
            writer.close(matrix.took)
        };
        write().with_context(|| format!("cannot write to {}", dir.display()))?;
    }
    Ok(if matrix.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The checkout to build from: the named one, or the one that contains the current folder.
pub(super) fn checkout(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let is_checkout = |folder: &Path| folder.join("server/mutants").is_dir() && folder.join("Cargo.lock").exists();
    if let Some(named) = named {
        anyhow::ensure!(is_checkout(named), "--workspace {}: this folder is no checkout of Glare", named.display());
        return Ok(named.to_owned());
    }
    let current = std::env::current_dir().context("there is no current folder")?;
    let found = current.ancestors().find(|folder| is_checkout(folder)).map(Path::to_owned);
    found.context(
        "this command builds the server with defects, so it needs a checkout of Glare: run `cargo xtask mutants` in one, or \
         name it with --workspace DIR",
    )
}

/// The default number of parallel servers.
pub(super) fn jobs() -> usize {
    pool::cores() * JOBS_PER_CORE
}

/// The selected surfaces and mutants; all of them if none are named.
pub(super) fn wanted<'a>(
    catalogue: &'a [Mutant],
    dialects: &[String],
    patterns: &[String],
) -> anyhow::Result<(Vec<Surface>, Vec<&'a Mutant>)> {
    fn near<'n>(name: &str, all: impl Iterator<Item = &'n str>) -> &'n str {
        all.max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b))).unwrap_or_default()
    }
    for name in dialects {
        anyhow::ensure!(
            Surface::named(name).is_some(),
            "there is no dialect or service `{name}` with mutants; did you mean `{}`?",
            near(name, Surface::every().map(Surface::name))
        );
    }
    for pattern in patterns {
        let names = catalogue.iter().map(|mutant| mutant.name.as_str());
        anyhow::ensure!(
            names.clone().any(|name| conformance::glob(pattern, name)),
            "no mutant matches `{pattern}`; the nearest is `{}`",
            near(pattern, names)
        );
    }
    let is_wanted =
        |mutant: &&Mutant| patterns.is_empty() || patterns.iter().any(|glob| conformance::glob(glob, &mutant.name));
    let mutants: Vec<_> = catalogue.iter().filter(is_wanted).collect();
    let surfaces = Surface::every().filter(|surface| {
        // This surface takes eleven minutes, so it runs only if it is named.
        let named = if dialects.is_empty() {
            *surface != Surface::TurnLifetimes
        } else {
            dialects.iter().any(|name| name == surface.name())
        };
        // Without a pattern, surfaces without a mutant run too: their cases are reported as detecting nothing.
        named && (patterns.is_empty() || mutants.iter().any(|mutant| mutant.surfaces.contains(surface)))
    });
    let surfaces: Vec<_> = surfaces.collect();
    anyhow::ensure!(!surfaces.is_empty(), "no matching mutant shows in {}", dialects.join(", "));
    Ok((surfaces, mutants))
}

/// Tests the unmodified server on each surface, then the mutants on their surfaces. `promises` are checked with them.
///
/// # Errors
/// The unmodified server fails, or the suite itself.
pub(super) fn play<'a>(
    program: &Path,
    surfaces: &[Surface],
    mutants: &[&'a Mutant],
    promises: &'a [Promise],
    jobs: usize,
    is_whole: bool,
    show: bool,
) -> anyhow::Result<Matrix<'a>> {
    let start = crate::now();
    // The unmodified servers run first: if one fails, the mutants are not run.
    let mut servers: Vec<_> = surfaces.iter().map(|surface| (*surface, None)).collect();
    for mutant in mutants {
        servers.extend(mutant.surfaces.iter().filter(|on| surfaces.contains(on)).map(|on| (*on, Some(*mutant))));
    }
    let mut progress = Progress::new(servers.len() as u64, "servers", "mutants not detected", show);
    let mut matrix = Matrix::new(promises, is_whole);
    for_each(program, servers, jobs, |surface, mutant, outcome, took| {
        let Some(mutant) = mutant else {
            let fails = |why| anyhow!("the unmodified server fails, so the mutants cannot be judged\n{why}");
            progress.step(matrix.survivors().len());
            return matrix.unmodified(surface, &outcome).map_err(fails);
        };
        matrix.enter(mutant, surface, outcome, took)?;
        progress.step(matrix.survivors().len());
        Ok(())
    })?;
    progress.finish();
    matrix.took = start.elapsed();
    Ok(matrix)
}

/// Runs the suite against servers, `jobs` at a time. Calls `done` with the outcome and duration of each as it finishes.
///
/// # Errors
/// `done` fails, or a server cannot be started.
pub(super) fn for_each<'a>(
    program: &Path,
    servers: Vec<(Surface, Option<&'a Mutant>)>,
    jobs: usize,
    mut done: impl FnMut(Surface, Option<&'a Mutant>, Outcome, Duration) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let test =
        |(surface, mutant): &(Surface, Option<&Mutant>)| crate::timed(|| stage::test(program, *surface, *mutant));
    pool::for_each(servers, jobs, test, |(surface, mutant), (outcome, took)| done(surface, mutant, outcome?, took))
}
