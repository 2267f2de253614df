//! Plays the stories of a campaign on all jobs, and stores the results batch by batch.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use reports::campaign::{Campaign, Kept, Reached, Store};
use scenarios::PROBES;

use super::findings::{Result, result, take};
use super::schedule::{Job, of_round, of_seeds};
use super::setup::Setup;
use super::{Play, folder};
use crate::exit::{UNREACHABLE, report_error};
use crate::interrupt::Interrupt;
use crate::pool;

/// Results are stored when this much time has passed, so that a killed program loses no more than that.
const BATCH: Duration = Duration::from_secs(1);
/// Results are stored when there are so many.
const BATCH_MAX: usize = 1_000;
/// Without a terminal, a line of progress is printed this often.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Seeds of a campaign for which neither seeds nor a time are given.
const SEEDS: std::ops::Range<u64> = 0..1_000;

/// Plays a campaign.
pub(super) fn run(arguments: &Play) -> anyhow::Result<ExitCode> {
    let dir = arguments.out.as_deref().expect("clap requires it");
    let setup = Setup::of(arguments)?;
    let (store, reached) = Store::begin(dir, &setup.plan)?;
    let interrupt = Interrupt::listen()?;
    let jobs = arguments.jobs.map_or_else(pool::cores, usize::from);
    let mut campaign = Running::new(arguments, &setup, &store, reached, &interrupt);
    let end = match arguments.minutes {
        None => {
            let seeds = arguments.seeds.as_ref().map_or(SEEDS, crate::sim::Seeds::range);
            campaign.play_seeds(seeds, jobs)?
        }
        Some(minutes) => campaign.play_for(minutes, jobs)?,
    };
    campaign.store()?;
    campaign.progress.bar.finish_and_clear();
    if let End::Unreachable(why) = end {
        return Ok(report_error(&anyhow!("the server program cannot be reached: {why}"), UNREACHABLE));
    }
    conclude(dir, &setup, arguments.quiet, &interrupt)
}

/// Writes the story of each finding, and prints what was found.
fn conclude(dir: &Path, setup: &Setup, quiet: bool, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let (store, campaign) = Campaign::load(dir)?;
    folder::write_findings(dir, &store, setup, &campaign)?;
    let failed = campaign.failed() > 0;
    if !quiet {
        out!("{}", campaign.status(reports::terminal_width()));
    }
    if failed {
        out!("{}", campaign.failures(&crate::program(), dir));
    }
    if interrupt.is_set() {
        errln!("interrupted: the same command goes on");
    }
    Ok(interrupt.or(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }))
}

/// Why no further story is played.
enum End {
    Done,
    Unreachable(String),
}

/// Ends the loop over the results early.
enum Stop {
    FirstFailure,
    Unreachable(String),
    Failed(anyhow::Error),
}

/// A campaign that is being played.
struct Running<'a> {
    arguments: &'a Play,
    setup: &'a Setup,
    store: &'a Store,
    interrupt: &'a Interrupt,
    reached: Reached,
    waiting: Vec<Kept>,
    stored: Instant,
    progress: Progress,
}

impl<'a> Running<'a> {
    fn new(
        arguments: &'a Play,
        setup: &'a Setup,
        store: &'a Store,
        reached: Reached,
        interrupt: &'a Interrupt,
    ) -> Self {
        let progress = Progress::new(!arguments.quiet);
        Self { arguments, setup, store, interrupt, reached, waiting: Vec::new(), stored: crate::now(), progress }
    }

    fn play_seeds(&mut self, seeds: std::ops::Range<u64>, jobs: usize) -> anyhow::Result<End> {
        let before = Reached { played: self.reached.played.clone(), ..Reached::default() };
        let setup = self.setup;
        let left = of_seeds(seeds, &before, setup);
        let interrupt = self.interrupt;
        self.play(left.take_while(|_| !interrupt.is_set()), jobs).map(|end| end.unwrap_or(End::Done))
    }

    fn play_for(&mut self, time: Duration, jobs: usize) -> anyhow::Result<End> {
        let (start, before) = (crate::now(), Duration::from_millis(self.reached.wall_ms));
        let interrupt = self.interrupt;
        let is_over = || interrupt.is_set() || start.elapsed() + before >= time;
        while !is_over() {
            let round = of_round(&self.reached, self.setup);
            if let Some(end) = self.play(round.into_iter().take_while(|_| !is_over()), jobs)? {
                return Ok(end);
            }
        }
        Ok(End::Done)
    }

    /// Plays stories. Results are taken in the order of the stories, whichever is ready first: so what is stored is the
    /// same for any number of jobs.
    fn play(&mut self, stories: impl Iterator<Item = Job> + Send, jobs: usize) -> anyhow::Result<Option<End>> {
        let (setup, twice) = (self.setup, self.arguments.check_determinism);
        let work = |job: &Job| result(job, job.scenario(setup), twice);
        let ended = pool::for_each_in_order(stories, jobs, work, |job, result| self.take(job, result));
        match ended {
            Ok(()) => Ok(None),
            Err(Stop::FirstFailure) => Ok(Some(End::Done)),
            Err(Stop::Unreachable(why)) => Ok(Some(End::Unreachable(why))),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn take(&mut self, job: Job, result: Result) -> std::result::Result<(), Stop> {
        // If the first story of all does not reach the server, no other will.
        if let Some(why) = result.unreachable.as_ref().filter(|_| self.reached.played.is_empty()) {
            return Err(Stop::Unreachable(why.clone()));
        }
        let has_failed = !result.story.wrong.is_empty();
        self.waiting.push(take(&mut self.reached, job, result, self.setup.plan.guided));
        self.progress.step(&self.reached);
        if self.stored.elapsed() >= BATCH || self.waiting.len() >= BATCH_MAX {
            self.store().map_err(Stop::Failed)?;
        }
        if has_failed && self.arguments.fail_fast { Err(Stop::FirstFailure) } else { Ok(()) }
    }

    /// Stores the results that wait.
    fn store(&mut self) -> anyhow::Result<()> {
        let now = crate::now();
        let passed = now.duration_since(self.stored).as_millis() as u64;
        self.store.add(&self.waiting, passed)?;
        self.stored = now;
        self.waiting.clear();
        Ok(())
    }
}

/// What is shown while stories are played: a line that changes on a terminal, or a line now and then.
struct Progress {
    bar: ProgressBar,
    /// Whether lines are printed instead.
    lines: bool,
    start: Instant,
    printed: Instant,
    played: u64,
}

impl Progress {
    fn new(is_shown: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = if is_shown && is_terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a valid template"));
        let now = crate::now();
        Self { bar, lines: is_shown && !is_terminal, start: now, printed: now, played: 0 }
    }

    fn step(&mut self, reached: &Reached) {
        self.played += 1;
        self.bar.inc(1);
        if self.bar.is_hidden() && !(self.lines && self.printed.elapsed() >= LINE_EVERY) {
            return;
        }
        let rate = self.played as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        let line = format!(
            "{} stories, {rate:.1} a second, {} failed, {} findings, {} of {} probes, {} situations",
            reached.played.len(),
            reached.failed,
            reached.findings.len(),
            reached.probes.len(),
            PROBES.len(),
            reached.situations.len()
        );
        if self.lines {
            errln!("{line}");
            self.printed = crate::now();
        } else {
            self.bar.set_message(line);
        }
    }
}
