//! Plays the stories of a campaign on all jobs, and stores the results batch by batch.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use reports::campaign::{Campaign, Kept, Reached, Store, StoryId, counted};
use scenarios::PROBES;

use super::alone::{self, Playing};
use super::findings::{Result, result, take};
use super::queue::{Queue, Trouble};
use super::schedule::{Job, of_round, of_seeds};
use super::setup::Setup;
use super::{Play, folder};
use crate::exit::{UNREACHABLE, report_error};
use crate::interrupt::Interrupt;
use crate::pool;
use crate::progress::StatusLine;

/// Results are stored when this much time has passed, so that a killed program loses no more than that.
const BATCH: Duration = Duration::from_secs(1);
/// Results are stored when there are so many.
const BATCH_MAX: usize = 1_000;
/// Seeds of a campaign for which neither seeds nor a time are given.
const SEEDS: std::ops::Range<u64> = 0..1_000;

/// Plays a campaign.
pub(super) fn run(arguments: &Play) -> anyhow::Result<ExitCode> {
    let dir = arguments.out.as_deref().expect("clap requires it");
    let setup = Setup::of(arguments)?;
    let (store, reached) = Store::begin(dir, &setup.plan)?;
    let mut players = match Queue::open(&arguments.queue, dir, &store)? {
        None => {
            let (playing, suspects) = Playing::begin(dir)?;
            let suspects: BTreeSet<_> = suspects.into_iter().filter(|id| !reached.played.contains(id)).collect();
            tell_of(&suspects);
            Players::Here { jobs: arguments.jobs.map_or_else(pool::cores, usize::from), playing, suspects }
        }
        Some(Ok(queue)) => Players::Queue(Box::new(queue)),
        Some(Err(Trouble::Away(why))) => return Ok(report_error(&why, UNREACHABLE)),
        Some(Err(Trouble::Unfit(why))) => bail!(why),
    };
    let interrupt = Interrupt::listen()?;
    let mut campaign = Running::new(arguments, &setup, &store, reached, &interrupt);
    let end = match arguments.minutes {
        None => {
            let seeds = arguments.seeds.as_ref().map_or(SEEDS, crate::sim::Seeds::range);
            campaign.play_seeds(seeds, &mut players)?
        }
        Some(minutes) => campaign.play_for(minutes, &mut players)?,
    };
    campaign.store()?;
    campaign.line.finish();
    match players {
        Players::Here { playing, .. } => playing.end(),
        Players::Queue(mut queue) => queue.close(matches!(end, End::Done) && !interrupt.is_set()),
    }
    if let End::Unreachable(why) = end {
        return Ok(report_error(&why, UNREACHABLE));
    }
    conclude(dir, &setup, arguments.quiet, &interrupt)
}

/// Who plays the stories.
enum Players {
    /// So many threads of this program. The suspects are the stories that an earlier call played when it died.
    Here { jobs: usize, playing: Playing, suspects: BTreeSet<StoryId> },
    /// Workers, wherever they are.
    Queue(Box<Queue>),
}

/// Says which stories may have ended an earlier call.
fn tell_of(suspects: &BTreeSet<StoryId>) {
    let listed: Vec<_> = suspects.iter().map(|id| format!("`{id}`")).collect();
    if !listed.is_empty() {
        let listed = listed.join(", ");
        errln!("an earlier call died while it played {listed}: what it played then gets a process of its own");
    }
}

/// Writes the story of each finding, and prints what was found.
fn conclude(dir: &Path, setup: &Setup, quiet: bool, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let (store, campaign) = Campaign::load(dir)?;
    folder::write_findings(dir, &store, setup, &campaign)?;
    let failed = campaign.failed() > 0;
    if !quiet {
        out!("{}", campaign.summary().status(reports::terminal_width()));
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
pub(super) enum Stop {
    FirstFailure,
    /// The server program, or the queue.
    Unreachable(String),
    Failed(anyhow::Error),
}

/// A campaign that is being played.
pub(super) struct Running<'a> {
    pub(super) arguments: &'a Play,
    pub(super) setup: &'a Setup,
    store: &'a Store,
    interrupt: &'a Interrupt,
    pub(super) reached: Reached,
    waiting: Vec<Kept>,
    stored: Instant,
    start: Instant,
    /// Stories that this call has taken.
    taken: u64,
    line: StatusLine,
}

impl<'a> Running<'a> {
    fn new(
        arguments: &'a Play,
        setup: &'a Setup,
        store: &'a Store,
        reached: Reached,
        interrupt: &'a Interrupt,
    ) -> Self {
        let (now, line) = (crate::now(), StatusLine::new(!arguments.quiet));
        Self {
            arguments,
            setup,
            store,
            interrupt,
            reached,
            waiting: Vec::new(),
            stored: now,
            start: now,
            taken: 0,
            line,
        }
    }

    fn play_seeds(&mut self, seeds: std::ops::Range<u64>, players: &mut Players) -> anyhow::Result<End> {
        let before = Reached { played: self.reached.played.clone(), ..Reached::default() };
        let (setup, interrupt) = (self.setup, self.interrupt);
        let left = of_seeds(seeds, &before, setup);
        self.play(left, &|| interrupt.is_set(), players).map(|end| end.unwrap_or(End::Done))
    }

    fn play_for(&mut self, time: Duration, players: &mut Players) -> anyhow::Result<End> {
        let (start, before) = (crate::now(), Duration::from_millis(self.reached.wall_ms));
        let interrupt = self.interrupt;
        let is_over = || interrupt.is_set() || start.elapsed() + before >= time;
        while !is_over() {
            let round = of_round(&self.reached, self.setup);
            if let Some(end) = self.play(round.into_iter(), &is_over, players)? {
                return Ok(end);
            }
        }
        Ok(End::Done)
    }

    /// Plays stories. Results are taken in the order of the stories, whichever is ready first: so what is stored is the
    /// same for any number of jobs, and of workers.
    fn play(
        &mut self,
        stories: impl Iterator<Item = Job> + Send,
        is_over: &(dyn Fn() -> bool + Sync),
        players: &mut Players,
    ) -> anyhow::Result<Option<End>> {
        let (setup, twice) = (self.setup, self.arguments.check_determinism);
        let ended = match players {
            Players::Here { jobs, playing, suspects } => {
                let work = |job: &Job| {
                    playing.note(job.id, || match suspects.contains(&job.id) {
                        true => alone::result(&setup.plan, job, twice),
                        false => Ok(result(job, job.scenario(setup), twice)),
                    })
                };
                let stories = stories.take_while(|_| !is_over());
                pool::for_each_in_order(stories, *jobs, work, |job, result| {
                    let id = job.id;
                    self.take(job, result.map_err(Stop::Failed)?)?;
                    if suspects.contains(&id) {
                        self.store().map_err(Stop::Failed)?;
                        playing.forget(id);
                    }
                    if self.is_store_due() { self.store().map_err(Stop::Failed) } else { Ok(()) }
                })
            }
            Players::Queue(queue) => queue.play(self, stories, is_over),
        };
        match ended {
            Ok(()) => Ok(None),
            Err(Stop::FirstFailure) => Ok(Some(End::Done)),
            Err(Stop::Unreachable(why)) => Ok(Some(End::Unreachable(why))),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    pub(super) fn take(&mut self, job: Job, result: Result) -> std::result::Result<(), Stop> {
        // If the first story of all does not reach the server, no other will.
        if let Some(why) = result.unreachable.as_ref().filter(|_| self.reached.played.is_empty()) {
            return Err(Stop::Unreachable(format!("the server program cannot be reached: {why}")));
        }
        let has_failed = !result.story.wrong.is_empty();
        self.waiting.push(take(&mut self.reached, job, result, self.setup.plan.guided));
        self.taken += 1;
        let Self { reached, taken, start, line, .. } = self;
        line.say(|| status(reached, *taken, start.elapsed()));
        if has_failed && self.arguments.fail_fast { Err(Stop::FirstFailure) } else { Ok(()) }
    }

    /// Whether results have waited long enough, or are enough.
    pub(super) fn is_store_due(&self) -> bool {
        self.stored.elapsed() >= BATCH || self.waiting.len() >= BATCH_MAX
    }

    /// Stores the results that wait.
    pub(super) fn store(&mut self) -> anyhow::Result<()> {
        let now = crate::now();
        let passed = now.duration_since(self.stored).as_millis() as u64;
        let dir = self.arguments.out.as_deref().expect("clap requires it");
        folder::write_new_findings(dir, self.setup, &self.reached, &self.waiting)?;
        self.store.add(&self.waiting, passed)?;
        self.stored = now;
        self.waiting.clear();
        Ok(())
    }
}

/// How far a campaign is.
fn status(reached: &Reached, taken: u64, time: Duration) -> String {
    let rate = taken as f64 / time.as_secs_f64().max(1e-3);
    format!(
        "{}, {rate:.1} a second, {} failed, {}, {} of {} probes, {}",
        counted(reached.played.len(), "story"),
        reached.failed,
        counted(reached.findings.len(), "finding"),
        reached.probes.len(),
        PROBES.len(),
        counted(reached.situations.len(), "situation")
    )
}
