//! Plays every wanted mutant, several at the same time.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use reports::model::{self, Opening, Suite};

use super::broken::Surface;
use super::catalogue::{self, Mutant};
use super::matrix::Matrix;
use super::stage::{self, Answers};
use super::{Arguments, Format, build};
use crate::exit::refuse;
use crate::pool;

/// Servers at the same time for each core, as they mostly wait.
const JOBS_PER_CORE: usize = 8;

/// Plays the mutants and prints what was found.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = arguments.workspace.as_deref().unwrap_or(&built_from);
    let catalogue = catalogue::load(workspace)?;
    let (surfaces, mutants) = wanted(&catalogue, &arguments.dialects, &arguments.mutants)?;
    let program = build::build(workspace, &catalogue)?;
    let started_ms = crate::unix_ms();
    let jobs = arguments.jobs.map_or_else(jobs, usize::from);
    let is_whole = mutants.len() == catalogue.len() && surfaces.len() == Surface::ALL.len();
    let played = play(&program, &surfaces, &mutants, jobs, is_whole, true);
    let matrix = match played {
        Ok(matrix) => matrix,
        Err(why) => {
            return Ok(refuse(&why, 1));
        }
    };
    match arguments.format {
        Format::Text => anstream::print!("{}", matrix.text()),
        Format::Json => println!("{}", matrix.json()),
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

/// Servers at the same time, unless somebody says.
pub(super) fn jobs() -> usize {
    pool::cores() * JOBS_PER_CORE
}

/// The surfaces and mutants that are asked for; all for none.
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
            "mutants show in no dialect `{name}`; did you mean `{}`?",
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
        // Who waits for eleven minutes says so.
        let named = if dialects.is_empty() {
            *surface != Surface::TurnLifetimes
        } else {
            dialects.iter().any(|name| name == surface.name())
        };
        // Without a pattern also those without a mutant: their cases find nothing.
        named && (patterns.is_empty() || mutants.iter().any(|mutant| mutant.surfaces.contains(surface)))
    });
    let surfaces: Vec<_> = surfaces.collect();
    anyhow::ensure!(!surfaces.is_empty(), "no mutant that matches shows in {}", dialects.join(", "));
    Ok((surfaces, mutants))
}

/// Asks the unbroken server on each surface, then plays the mutants where they show.
///
/// # Errors
/// The unbroken server fails, or the suite does.
pub(super) fn play<'a>(
    program: &Path,
    surfaces: &[Surface],
    mutants: &[&'a Mutant],
    jobs: usize,
    is_whole: bool,
    show: bool,
) -> Result<Matrix<'a>, String> {
    let start = crate::now();
    // The unbroken ones first: if they fail, the rest is spared.
    let mut servers: Vec<_> = surfaces.iter().map(|surface| (*surface, None)).collect();
    for mutant in mutants {
        servers.extend(mutant.surfaces.iter().filter(|on| surfaces.contains(on)).map(|on| (*on, Some(*mutant))));
    }
    let bar = if show { ProgressBar::new(servers.len() as u64) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} servers, {elapsed}{msg}");
    bar.set_style(style.expect("a valid template"));
    let mut matrix = Matrix::new(is_whole);
    for_each(program, servers, jobs, |surface, mutant, answers, took| {
        bar.inc(1);
        let Some(mutant) = mutant else {
            let fails = |why| format!("the unbroken server fails, so mutants say nothing\n{why}");
            return matrix.unbroken(surface, &answers).map_err(fails);
        };
        matrix.enter(mutant, surface, answers, took)?;
        let survivors = matrix.survivors().len();
        if survivors > 0 {
            bar.set_message(format!(", {survivors} not found"));
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    matrix.took = start.elapsed();
    Ok(matrix)
}

/// Runs the suite against servers, `jobs` at a time, and hands over what it found of each as it ends, with the time that it took.
///
/// # Errors
/// The first of `done`, or a server cannot be started.
pub(super) fn for_each<'a>(
    program: &Path,
    servers: Vec<(Surface, Option<&'a Mutant>)>,
    jobs: usize,
    mut done: impl FnMut(Surface, Option<&'a Mutant>, Answers, Duration) -> Result<(), String>,
) -> Result<(), String> {
    let ask = |(surface, mutant): &(Surface, Option<&Mutant>)| crate::timed(|| stage::ask(program, *surface, *mutant));
    pool::for_each(servers, jobs, ask, |(surface, mutant), (answers, took)| done(surface, mutant, answers?, took))
}
