//! Shrinking: from a run that breaks a promise to the smallest scenario that breaks it in the same way.
//!
//! A candidate is a smaller scenario. It is written as a file and read back, so that what is played is what a user gets. It
//! replaces the scenario if the same oracle reports the same in its run ([`Failure::is_like`]), and if that still means the
//! same:
//! - without faults and chance, the promise holds, if it holds in the original without them ([`edit::calm`]);
//! - with the reference server, the promise holds, if it holds in the original with it;
//! - nothing is left broken at the end that was not before ([`edit::tidy`]);
//! - if the promise is judged at the end, there is as much time to settle before it as in the original, up to
//!   [`SETTLES`].
//!
//! The draws of chance become the fates of single packets ([`scenarios::PacketFate`]), of which those are kept that the
//! failure needs. From then on, the scenario no longer depends on the seed, which is tried with other seeds.
//!
//! The result depends on nothing but the scenario and the seed, unless the caller ends the search early.

mod ddmin;
pub(super) mod edit;
mod failure;
mod needed;
mod passes;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{Machine, Scenario};

use crate::hash::digest;
use crate::oracle::{Violation, promise};
use crate::run::{self, Cause, Crash};
pub use failure::{CRASH, Failure};

/// How long everything may take to settle before the end, if that is when the promise is judged.
const SETTLES: Duration = Duration::from_secs(30);
/// The oracle of what a scenario expects at certain times.
const EXPECTED: &str = "connected-as-expected";
/// Oracles whose violations mostly follow from others: a step has no effect, because somebody is not there.
const FOLLOW: [&str; 2] = ["steps-take-effect", "expected-probes"];
/// Seeds besides its own with which the result is tried.
const OTHER_SEEDS: u64 = 8;
/// Seeds with which a candidate must fail, once the scenario does not depend on chance.
const SEEDS: u64 = 3;

/// How large a scenario and its run are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Actors.
    pub actors: usize,
    /// Networks, each behind a NAT or a router.
    pub networks: usize,
    /// Steps.
    pub steps: usize,
    /// Packets whose fate is decided.
    pub packets: usize,
    /// Virtual time.
    pub duration: Duration,
    /// Events of the run.
    pub events: usize,
}

impl Size {
    fn of(scenario: &Scenario, events: usize) -> Self {
        Self {
            actors: scenario.actors.len(),
            networks: scenario.networks.len(),
            steps: scenario.steps.len(),
            packets: scenario.packets.len(),
            duration: scenario.duration,
            events,
        }
    }
}

/// How far the search is.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Runs so far.
    pub played: usize,
    /// The smallest scenario so far.
    pub size: Size,
}

/// The smallest scenario that was found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The scenario, as it is read from its [`text`](scenarios::write).
    pub scenario: Arc<Scenario>,
    /// What its run breaks.
    pub failure: Failure,
    /// The size of the original and of the result.
    pub sizes: [Size; 2],
    /// Runs that it took.
    pub played: usize,
    /// Whether nothing smaller could be found. If not, the caller ended the search.
    pub finished: bool,
    /// The faults and packets without which it does not happen, as in the file: `power-loss at 5s`.
    pub needed: Vec<String>,
    /// Of the other seeds with which the result was played, how many break the same, and how many there are.
    pub other_seeds: (u64, u64),
}

/// Why there is nothing to shrink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoFailure {
    /// The run keeps every promise.
    Passes,
    /// The run keeps the promise of the oracle that was asked for. These are the oracles whose promises it breaks.
    OtherOracles(BTreeSet<&'static str>),
    /// The server program could not be started or reached.
    Unreachable(String),
}

/// Shrinks a failing run. `oracle` is the slug of the oracle to look at; `None` is that of the first violation
/// that does not mostly follow from others. `watch` is
/// called before every run and may end the search; then the smallest scenario so far is the result.
///
/// # Errors
/// The run does not fail.
pub fn shrink(
    scenario: &Scenario,
    seed: u64,
    oracle: Option<&str>,
    watch: &mut dyn FnMut(Status) -> ControlFlow<()>,
) -> Result<Shrunk, NoFailure> {
    let first = play(scenario, seed);
    if let Played::Unreachable(why) = first {
        return Err(NoFailure::Unreachable(why));
    }
    let failures = first.failures();
    let wanted = |failure: &&Failure| oracle.is_none_or(|oracle| failure.oracle == oracle);
    let is_cause = |failure: &&Failure| wanted(failure) && !FOLLOW.contains(&failure.oracle);
    let target = failures.iter().find(is_cause).or(failures.iter().find(wanted));
    let Some(target) = target.cloned() else {
        let oracles: BTreeSet<_> = failures.iter().map(|failure| failure.oracle).collect();
        return Err(if oracles.is_empty() { NoFailure::Passes } else { NoFailure::OtherOracles(oracles) });
    };
    let size = Size::of(scenario, first.events());
    let mut search = Search {
        seed,
        watch,
        tried: BTreeSet::new(),
        played: 1,
        ended: false,
        best: scenario.clone(),
        size,
        last: target.clone(),
        found_at: first.found_at(&target),
        seeds: 1,
        is_calm: false,
        has_reference: false,
        left: edit::tidy(&mut scenario.clone()),
        settles: SETTLES.min(scenario.duration.saturating_sub(last_time(scenario))),
        target,
    };
    search.is_calm = search.keeps(&edit::calm(scenario));
    search.has_reference = scenario.server.program.is_some() && search.keeps(&on_reference(scenario));
    passes::all(&mut search);
    let finished = !search.ended;
    let needed = needed::parts(&mut search);
    let other_seeds = search.other_seeds();
    let mut best = search.best;
    best.name = name(&scenario.name);
    best.about = format!("shrunk from {} with seed {seed}: breaks {}", scenario.name, search.last.oracle);
    let best = scenarios::parse("shrunk.toml", &scenarios::write(&best)).unwrap_or(best);
    Ok(Shrunk {
        failure: search.last,
        sizes: [size, search.size],
        played: search.played,
        finished,
        needed,
        other_seeds,
        scenario: Arc::new(best),
    })
}

/// The name of what a scenario is shrunk to.
fn name(from: &str) -> String {
    const SHRUNK: &str = "-shrunk";
    /// The longest name of a scenario.
    const LENGTH_MAX: usize = 50;
    let short: String = from.strip_suffix(SHRUNK).unwrap_or(from).chars().take(LENGTH_MAX - SHRUNK.len()).collect();
    short + SHRUNK
}

impl Shrunk {
    /// The scenario as a file, with a comment that says what is broken, what it needs, and the command that plays it.
    pub fn file(&self, command: &str) -> String {
        let mut comment = format!("{}.\n", self.scenario.about);
        if let Some(promise) = promise(self.failure.oracle) {
            comment.push_str(&format!("{}: {promise}\n", self.failure.oracle));
        }
        comment.push_str(&format!("Here: {}\n", self.failure.message));
        if !self.needed.is_empty() {
            comment.push_str(&format!("It does not happen without: {}.\n", self.needed.join("; ")));
        }
        if self.other_seeds.0 < self.other_seeds.1 {
            comment.push_str(&format!(
                "It depends on the seed: {} of {} others break it.\n",
                self.other_seeds.0, self.other_seeds.1
            ));
        }
        comment.push_str(&format!("Play it: {command}\n"));
        let comment: String = comment.lines().map(|line| format!("# {line}\n")).collect();
        format!("{comment}{}", scenarios::write(&self.scenario))
    }
}

/// When the last actor joins or the last step happens.
fn last_time(scenario: &Scenario) -> Duration {
    let joins = scenario.actors.iter().filter_map(|actor| actor.joins);
    joins.chain(scenario.steps.iter().map(|step| step.at)).max().unwrap_or_default()
}

/// The scenario with the reference server.
fn on_reference(scenario: &Scenario) -> Scenario {
    let mut reference = scenario.clone();
    reference.server.program = None;
    // Only a program can stand still.
    reference.steps.retain(|step| {
        !matches!(
            step.action,
            scenarios::Action::Machine(
                Machine::Server,
                scenarios::MachineAction::Stall(_) | scenarios::MachineAction::ClockJump { .. }
            )
        )
    });
    reference
}

/// What a run showed.
enum Played {
    Judged { failures: Vec<Failure>, found: Vec<Violation>, events: usize },
    Crashed(Failure),
    Unreachable(String),
}

impl Played {
    fn failures(&self) -> Vec<Failure> {
        match self {
            Self::Judged { failures, .. } => failures.clone(),
            Self::Crashed(failure) => vec![failure.clone()],
            Self::Unreachable(_) => Vec::new(),
        }
    }

    fn events(&self) -> usize {
        if let Self::Judged { events, .. } = self { *events } else { 0 }
    }

    fn like(&self, target: &Failure) -> Option<Failure> {
        self.failures().into_iter().find(|failure| failure.is_like(target))
    }

    /// When the failure was found; `None` at the end.
    fn found_at(&self, target: &Failure) -> Option<Duration> {
        let Self::Judged { failures, found, .. } = self else { return None };
        let index = failures.iter().position(|failure| failure.is_like(target))?;
        found[index].event.map(|_| found[index].at)
    }
}

fn play(scenario: &Scenario, seed: u64) -> Played {
    match run::run(&Arc::new(scenario.clone()), seed) {
        Ok(outcome) => Played::Judged {
            failures: Failure::all(&outcome),
            events: outcome.record.events.len(),
            found: outcome.violations,
        },
        Err(crash @ Crash { cause: Cause::Glare, .. }) => Played::Crashed(Failure::crash(&crash)),
        Err(crash) => Played::Unreachable(crash.message),
    }
}

/// The search for smaller scenarios.
struct Search<'a> {
    seed: u64,
    target: Failure,
    watch: &'a mut dyn FnMut(Status) -> ControlFlow<()>,
    /// Digests of the texts of all candidates, so that none is played twice.
    tried: BTreeSet<u64>,
    played: usize,
    /// Whether the caller has ended the search.
    ended: bool,
    best: Scenario,
    size: Size,
    /// What the best one breaks.
    last: Failure,
    /// When the best one breaks it; `None` at the end.
    found_at: Option<Duration>,
    /// With how many seeds, from its own on, a candidate must fail.
    seeds: u64,
    /// Whether the promise holds in the original without faults and chance.
    is_calm: bool,
    /// Whether the promise holds in the original with the reference server.
    has_reference: bool,
    /// What the original leaves broken at the end.
    left: edit::Left,
    /// How long a candidate must have to settle, if the promise is judged at the end.
    settles: Duration,
}

impl Search<'_> {
    /// Makes a candidate the best scenario, if it fails like the original. Returns whether it does.
    fn accept(&mut self, candidate: Scenario) -> bool {
        let Some(candidate) = self.readable(candidate) else { return false };
        let Some((last, size, found_at)) = self.fails(&candidate) else { return false };
        (self.best, self.last, self.size, self.found_at) = (candidate, last, size, found_at);
        true
    }

    /// A candidate as it is read from its file, with what is idle removed. `None` if it was tried before or is no valid
    /// scenario, or if the failure would not mean the same in it.
    fn readable(&mut self, mut candidate: Scenario) -> Option<Scenario> {
        if self.ended || !edit::tidy(&mut candidate).is_within(&self.left) {
            return None;
        }
        let text = scenarios::write(&candidate);
        if candidate.actors.is_empty() || !self.tried.insert(digest(text.as_bytes())) {
            return None;
        }
        let settles = candidate.duration.saturating_sub(last_time(&candidate));
        // A scenario that says when pairs must be connected also says how much time there is.
        if self.target.at_end && self.target.oracle != EXPECTED && settles < self.settles {
            return None;
        }
        scenarios::parse("shrunk.toml", &text).ok()
    }

    /// Whether a candidate fails like the original, with as many seeds as it must.
    fn fails(&mut self, candidate: &Scenario) -> Option<(Failure, Size, Option<Duration>)> {
        let mut first = None;
        for number in 0..self.seeds {
            let seed = self.seed.wrapping_add(number);
            let played = self.play(candidate, seed)?;
            let failure = played.like(&self.target)?;
            let found_at = played.found_at(&self.target);
            first.get_or_insert((failure, Size::of(candidate, played.events()), found_at));
        }
        if self.is_calm && !self.keeps(&edit::calm(candidate)) {
            return None;
        }
        if self.has_reference && !self.keeps(&on_reference(candidate)) {
            return None;
        }
        first
    }

    /// Whether a scenario keeps the promise.
    fn keeps(&mut self, scenario: &Scenario) -> bool {
        let seed = self.seed;
        self.play(scenario, seed).is_some_and(|played| match &played {
            Played::Unreachable(_) => false,
            _ => played.like(&self.target).is_none(),
        })
    }

    /// Plays a scenario, unless the caller ends the search.
    fn play(&mut self, scenario: &Scenario, seed: u64) -> Option<Played> {
        let status = Status { played: self.played, size: self.size };
        if self.ended || (self.watch)(status).is_break() {
            self.ended = true;
            return None;
        }
        self.played += 1;
        Some(play(scenario, seed))
    }

    /// Demands that candidates fail with several seeds, if the best one does.
    fn demand_seeds(&mut self) {
        if self.seeds == SEEDS {
            return;
        }
        let best = self.best.clone();
        let first = self.seed;
        let others = (1..SEEDS).map(|number| first.wrapping_add(number));
        let mut all =
            others.map(|seed| self.play(&best, seed).is_some_and(|played| played.like(&self.target).is_some()));
        if all.all(|fails| fails) {
            self.seeds = SEEDS;
        }
    }

    /// With how many of the other seeds the best scenario fails, and how many there are.
    fn other_seeds(&mut self) -> (u64, u64) {
        let best = self.best.clone();
        let others = (1..=OTHER_SEEDS).map(|number| self.seed.wrapping_add(number));
        let fail = others.filter(|seed| play(&best, *seed).like(&self.target).is_some());
        (fail.count() as u64, OTHER_SEEDS)
    }
}
