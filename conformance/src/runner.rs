//! Runs cases against a server of any kind: first whether it is there, then one wave of cases after the other.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::case::Case;
use crate::schedule::{Terms, Wave, blocked, waves};
use crate::stop::{Running, Stop};
use crate::target::Unreachable;
use crate::transcript::{Log, Transcript};
use crate::verdict::{CaseReport, Report, Verdict};
use crate::words::human;

/// How long the first connection may take, and the first answer.
pub(crate) const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// Patience is this many round trips …
const PATIENCE_ROUND_TRIPS: u32 = 20;
/// … but not less, or a busy machine fails a correct server …
const PATIENCE_MIN: Duration = Duration::from_secs(3);
/// … nor more, or a dead server takes for ever.
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// A case in which something arrives all the time ends nevertheless, after this many times the patience.
const CASE_PATIENCES: u32 = 6;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time for the whole run: 120 s. What it does not reach is not tested.
    pub deadline: Duration,
    /// Cases at the same time: 8.
    pub jobs: usize,
    /// Makes names and transaction ids unlike those of other runs: give each run its own.
    pub seed: u64,
    /// Whether what goes over the wire is kept whole, for a [`Recording`](crate::Recording): no.
    pub record: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(120), jobs: 8, seed: 0, record: false }
    }
}

/// A server that was reached, of one kind: what differs between kinds.
pub(crate) trait Subject: Sized + Send + Sync + 'static {
    /// Where such a server is, and how it is spoken to.
    type Address: Send;
    /// How long a server that died is given to come back: a supervisor may start it again.
    const RESTART: Duration;
    /// Whether slow cases run last and all at the same time.
    const SLOW_TOGETHER: bool;
    /// Whether a fresh client joins before it does anything. Then a case that needs no other shows itself whether the server is
    /// alive, and where no case can be set up any more the server is to blame.
    const JOINS: bool;

    /// Connects and measures.
    fn reach(address: Self::Address, options: &Options) -> impl Future<Output = Result<Self, Unreachable>> + Send;

    /// What the report says about the server.
    fn facts(&self) -> Facts;

    /// What the server, as it is declared, lacks for a case.
    fn lacks(&self, case: &Case) -> Option<String>;

    /// How many of the cases that may run at the same time do so.
    fn jobs(&self, options: &Options) -> usize;

    /// How often a case runs at most that fails: more than once where the network may have lost something that nobody repeats.
    fn attempts(&self, case: &Case) -> usize;

    /// Runs a case that belongs to this kind of server.
    fn run(&self, case: &'static Case, log: &Log) -> Running<'static>;

    /// A fresh client can use the server.
    fn alive(&self, log: &Log) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Takes secrets out of what is shown and kept.
    fn redact(&self, transcript: &mut Transcript);
}

/// What a report says about a server.
pub(crate) struct Facts {
    pub(crate) url: String,
    pub(crate) protocol: String,
    /// Time from a message to its answer.
    pub(crate) round_trip: Duration,
    /// How long an answer is waited for.
    pub(crate) patience: Duration,
}

/// How long to wait for an answer of a server that is so far away.
pub(crate) fn patience(round_trip: Duration) -> Duration {
    (round_trip * PATIENCE_ROUND_TRIPS).clamp(PATIENCE_MIN, PATIENCE_MAX)
}

/// Runs cases, which should be complete with what they need.
pub(crate) async fn run<S: Subject>(
    address: S::Address,
    cases: &[&'static Case],
    options: &Options,
) -> Result<Report, Unreachable> {
    let start = Instant::now();
    let subject = S::reach(address, options).await?;
    let terms = Terms { jobs: subject.jobs(options), slow_together: S::SLOW_TOGETHER };
    let Facts { url, protocol, round_trip, patience } = subject.facts();
    let runner =
        Runner { subject, deadline: start + options.deadline, limit: patience * CASE_PATIENCES, keep: options.record };
    let mut run = Run { runner: Arc::new(runner), reports: BTreeMap::new(), dead_since: None, waited: false };
    for wave in waves(cases, terms) {
        run.wave(wave).await;
    }
    Ok(Report {
        url,
        dialect: protocol,
        round_trip,
        patience,
        took: start.elapsed(),
        cases: cases.iter().filter_map(|case| run.reports.remove(case.slug)).collect(),
        requirements: Vec::new(),
    })
}

/// A run in progress.
struct Run<S> {
    runner: Arc<Runner<S>>,
    reports: BTreeMap<&'static str, CaseReport>,
    /// The case after which the server no longer answered.
    dead_since: Option<&'static str>,
    /// Whether we have waited for somebody to start it again.
    waited: bool,
}

impl<S: Subject> Run<S> {
    async fn wave(&mut self, wave: Wave) {
        let mut waiting = wave.cases.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < wave.jobs {
                let Some(case) = waiting.next() else { break };
                if let Some(verdict) = self.cannot_run(case).await {
                    self.reports.insert(case.slug, CaseReport::without_exchange(case, verdict));
                    continue;
                }
                let runner = Arc::clone(&self.runner);
                running.spawn(async move { runner.case(case).await });
            }
            match running.join_next().await {
                None => return,
                Some(Err(error)) => unreachable!("a case's panic is caught inside: {error}"),
                Some(Ok(Ended { report, alive })) => {
                    if !alive && self.dead_since.is_none() {
                        self.dead_since = Some(report.case.slug);
                    }
                    self.reports.insert(report.case.slug, report);
                }
            }
        }
    }

    /// The verdict on a case that cannot run now.
    async fn cannot_run(&mut self, case: &Case) -> Option<Verdict> {
        if let Some(why) = self.runner.subject.lacks(case) {
            return Some(Verdict::Unsupported { why });
        }
        if let Some(verdict) = blocked(case, &self.reports) {
            return Some(verdict);
        }
        if Instant::now() >= self.runner.deadline {
            return Some(time_is_over());
        }
        let killer = self.dead_since?;
        // Somebody may start it again; we wait for that once.
        let restart = if self.waited { Duration::ZERO } else { S::RESTART };
        let limit = (Instant::now() + restart).min(self.runner.deadline);
        self.waited = true;
        while self.runner.is_alive(&Log::new()).await.is_err() {
            if Instant::now() >= limit {
                return Some(Verdict::NotTested { why: format!("the server does not answer since {killer}") });
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.dead_since = None;
        self.waited = false;
        None
    }
}

/// What the cases of a run share.
struct Runner<S> {
    subject: S,
    /// When the whole run ends.
    deadline: Instant,
    /// How long one case may take.
    limit: Duration,
    keep: bool,
}

/// A case that ran, and whether the server was alive afterwards.
struct Ended {
    report: CaseReport,
    alive: bool,
}

impl<S: Subject> Runner<S> {
    /// Runs one case; a failure is tried again where it may be the network's.
    async fn case(&self, case: &'static Case) -> Ended {
        let attempts = self.subject.attempts(case);
        let mut first = self.attempt(case).await;
        for number in 2..=attempts {
            let Verdict::Fail { why, .. } = &first.report.verdict else { break };
            if Instant::now() >= self.deadline {
                break;
            }
            let mut next = self.attempt(case).await;
            if matches!(next.report.verdict, Verdict::Pass | Verdict::Acceptable { .. }) {
                let remark = format!("so it is in attempt {number}, as where datagrams are lost; before: {why}");
                next.report.notes.remarks.push(remark);
                return next;
            }
            first.alive = next.alive;
            if number == attempts {
                let remark = format!("it fails in each of {attempts} attempts, so no lost datagram is the reason");
                first.report.notes.remarks.push(remark);
            }
        }
        first
    }

    /// Runs a case once and looks whether the server is alive afterwards.
    async fn attempt(&self, case: &'static Case) -> Ended {
        let start = Instant::now();
        let log = Log::keeping(self.keep);
        // How long a lifetime is, the server may tell.
        let limit = if case.slow { self.deadline } else { (start + self.limit).min(self.deadline) };
        // In a task of its own, which catches a panic; in a set, which ends it when its time is over.
        let mut task = JoinSet::new();
        task.spawn(self.subject.run(case, &log));
        let verdict = match timeout(limit - start, task.join_next()).await {
            Ok(Some(Ok(Ok(())))) => Verdict::Pass,
            Ok(Some(Ok(Err(Stop::Fail { why, line })))) => Verdict::Fail { why, line },
            Ok(Some(Ok(Err(Stop::Setup(why))))) => Verdict::NotTested { why },
            Ok(Some(Ok(Err(Stop::Unsupported(why))))) => Verdict::Unsupported { why },
            Ok(Some(Err(panic))) => Verdict::HarnessError { why: format!("the case panicked: {panic}") },
            Ok(None) => unreachable!("one task was spawned"),
            Err(_) if Instant::now() >= self.deadline => time_is_over(),
            Err(_) => {
                let limit = human(limit - start);
                let why = format!("the case did not end within {limit}, though no single answer was late");
                Verdict::Fail { why, line: None }
            }
        };
        drop(task);
        // A case on whose join the server fails says so itself.
        let says_so = S::JOINS && case.needs.is_empty();
        let alive = match &verdict {
            Verdict::Fail { .. } | Verdict::NotTested { .. } if says_so => Ok(()),
            _ => self.is_alive(&log).await.map_err(Stop::into_why),
        };
        let (mut transcript, mut notes) = log.snapshot();
        self.subject.redact(&mut transcript);
        let dead = |why: &str| format!("afterwards the server is dead to a fresh client: {why}");
        let verdict = match (verdict, &alive) {
            (Verdict::Pass, Err(why)) => Verdict::Fail { why: dead(why), line: None },
            (Verdict::Pass, Ok(())) if !notes.choices.is_empty() => {
                Verdict::Acceptable { why: notes.choices.join("; ") }
            }
            // It came to an end before the question because the server did.
            (Verdict::NotTested { why }, Err(_)) if S::JOINS && Instant::now() < self.deadline => {
                Verdict::Fail { why: format!("the server died within the case: {why}"), line: None }
            }
            (verdict, Err(why)) => {
                notes.remarks.push(dead(why));
                verdict
            }
            (verdict, Ok(())) => verdict,
        };
        let report = CaseReport { case, verdict, notes, known: None, took: start.elapsed(), transcript };
        Ended { report, alive: alive.is_ok() }
    }

    /// A fresh client can use the server.
    async fn is_alive(&self, log: &Log) -> Result<(), Stop> {
        // A little past the deadline, so that the last case is judged fairly.
        let limit = (self.deadline + Duration::from_secs(1)).saturating_duration_since(Instant::now());
        timeout(limit, self.subject.alive(log)).await.unwrap_or_else(|_| Err(Stop::fail("no answer")))
    }
}

fn time_is_over() -> Verdict {
    Verdict::NotTested { why: "the time for the whole run was over".to_owned() }
}
