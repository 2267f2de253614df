//! Plays every wanted mutant, several at the same time.

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use reports::model::{self, Opening, Suite};
use server::mutant::{Mutant, Surface};

use super::matrix::Matrix;
use super::stage::{self, Answers};
use super::{Arguments, Format};
use crate::exit::refuse;

/// Servers at the same time for each core, as they mostly wait.
const JOBS_PER_CORE: usize = 8;

/// Plays the mutants and prints what was found.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (surfaces, mutants) = wanted(&arguments.dialects, &arguments.mutants)?;
    stage::keep_panics();
    let started_ms = crate::unix_ms();
    let played = play(&surfaces, &mutants, arguments.jobs.map(usize::from), true);
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

/// The surfaces and mutants that are asked for; all for none.
pub(super) fn wanted(dialects: &[String], patterns: &[String]) -> anyhow::Result<(Vec<Surface>, Vec<Mutant>)> {
    let near = |name: &str, all: &mut dyn Iterator<Item = &'static str>| {
        all.max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b))).unwrap_or_default()
    };
    for name in dialects {
        let mut names = Surface::ALL.into_iter().chain([Surface::TurnLifetimes]).map(Surface::name);
        anyhow::ensure!(
            names.clone().any(|known| known == name),
            "mutants show in no dialect `{name}`; did you mean `{}`?",
            near(name, &mut names)
        );
    }
    for pattern in patterns {
        let mut names = Mutant::ALL.iter().map(|mutant| mutant.name());
        anyhow::ensure!(
            names.clone().any(|name| conformance::glob(pattern, name)),
            "no mutant matches `{pattern}`; the nearest is `{}`",
            near(pattern, &mut names)
        );
    }
    let is_wanted =
        |mutant: &&Mutant| patterns.is_empty() || patterns.iter().any(|glob| conformance::glob(glob, mutant.name()));
    let mutants: Vec<_> = Mutant::ALL.iter().filter(is_wanted).copied().collect();
    let surfaces = Surface::ALL.into_iter().chain([Surface::TurnLifetimes]).filter(|surface| {
        // Who waits for eleven minutes says so.
        let named = if dialects.is_empty() {
            *surface != Surface::TurnLifetimes
        } else {
            dialects.iter().any(|name| name == surface.name())
        };
        // Without a pattern also those without a mutant: their cases find nothing.
        named && (patterns.is_empty() || mutants.iter().any(|mutant| mutant.surfaces().contains(surface)))
    });
    let surfaces: Vec<_> = surfaces.collect();
    anyhow::ensure!(!surfaces.is_empty(), "no mutant that matches shows in {}", dialects.join(", "));
    Ok((surfaces, mutants))
}

/// Asks the unbroken server on each surface, then plays the mutants where they show.
///
/// # Errors
/// The unbroken server fails, or the suite does.
pub(super) fn play(
    surfaces: &[Surface],
    mutants: &[Mutant],
    jobs: Option<usize>,
    show: bool,
) -> Result<Matrix, String> {
    let start = now();
    let jobs = jobs.unwrap_or_else(|| available_parallelism().map_or(1, usize::from) * JOBS_PER_CORE);
    // The unbroken ones first: if they fail, the rest is spared.
    let mut servers: Vec<_> = surfaces.iter().map(|surface| (*surface, None)).collect();
    for mutant in mutants {
        servers.extend(mutant.surfaces().iter().filter(|on| surfaces.contains(on)).map(|on| (*on, Some(*mutant))));
    }
    let bar = if show { ProgressBar::new(servers.len() as u64) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} servers, {elapsed}{msg}");
    bar.set_style(style.expect("a valid template"));
    let whole = mutants.len() == Mutant::ALL.len() && surfaces.len() == Surface::ALL.len();
    let mut matrix = Matrix::new(whole);
    for_each(servers, jobs, |surface, mutant, answers, took| {
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

/// Plays servers, so many at the same time, and hands each on as it ends.
pub(super) fn for_each(
    servers: Vec<(Surface, Option<Mutant>)>,
    jobs: usize,
    mut done: impl FnMut(Surface, Option<Mutant>, Answers, Duration) -> Result<(), String>,
) -> Result<(), String> {
    let waiting = Mutex::new(servers.into_iter());
    let (results, ended) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (results, waiting) = (results.clone(), &waiting);
            scope.spawn(move || {
                let next = || waiting.lock().expect("nothing panics while it holds them").next();
                while let Some((surface, mutant)) = next() {
                    let start = now();
                    let answers = stage::ask(surface, mutant);
                    if results.send((surface, mutant, answers, start.elapsed())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        // Dropped with an error, so that no further server is started.
        let ended = ended;
        ended.iter().try_for_each(|(surface, mutant, answers, took)| done(surface, mutant, answers, took))
    })
}

#[allow(clippy::disallowed_methods)] // the time that a person waits, outside of every simulation
fn now() -> Instant {
    Instant::now()
}
