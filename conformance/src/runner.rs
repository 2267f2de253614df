//! Runs cases against any kind of server: checks that the server is there, then runs one wave of cases after another.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::case::Case;
use crate::restart::Restart;
use crate::schedule::{Terms, Wave, blocked, waves};
use crate::stop::{Running, Stop};
use crate::target::Unreachable;
use crate::transcript::{LineKind, Log, Transcript};
use crate::verdict::{CaseReport, Report, Verdict};
use crate::words::{cut, human};

/// Limit for the first connection, and for the first answer.
pub(crate) const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// The patience is this many round trips …
const PATIENCE_ROUND_TRIPS: u32 = 20;
/// … but at least this, or a busy machine would fail a correct server …
const PATIENCE_MIN: Duration = Duration::from_secs(3);
/// … and at most this, or a dead server would take for ever.
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// How the report says that the server is dead.
const AFTERWARDS: &str = "afterwards the server does not serve a new client";
/// A longer frame is cut where the report names the one that crashed the server.
const FRAME_CHARS_MAX: usize = 120;
/// A case in which messages keep arriving ends after this many times the patience.
const CASE_PATIENCES: u32 = 6;
/// How often a failing case runs at most if chance may be the reason.
const ATTEMPTS_BY_CHANCE: usize = 3;

/// How to run the cases.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time limit for the whole run. Cases that it does not reach are not tested. Default: 120 s.
    pub deadline: Duration,
    /// Number of cases that run in parallel. Default: 8.
    pub jobs: usize,
    /// Makes names and transaction ids differ between runs: give each run a seed of its own.
    pub seed: u64,
    /// Whether to record everything that goes over the wire, for a [`Recording`](crate::Recording). Default: no.
    pub record: bool,
    /// Brings the server back when it has crashed; then the run goes on. Default: the rest is not tested.
    pub restart: Option<Restart>,
    /// Ends the run early when it is set: cases that have not started by then are not tested.
    pub interrupt: Option<Arc<AtomicBool>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(120), jobs: 8, seed: 0, record: false, restart: None, interrupt: None }
    }
}

/// A server that was reached. Each kind of server (signaling; STUN and TURN) implements this.
pub(crate) trait Subject: Sized + Send + Sync + 'static {
    /// Where such a server is and how to talk to it.
    type Address: Send;
    /// How long to wait for a dead server to come back: a supervisor may restart it.
    const RESTART: Duration;
    /// Whether slow cases run last and all in parallel.
    const SLOW_TOGETHER: bool;
    /// Whether a new client joins before it does anything else. If so, a case that needs no other case shows by itself
    /// whether the server is alive, and the server is to blame if no case can be set up any more.
    const JOINS: bool;

    /// Connects and measures the round trip.
    fn reach(address: Self::Address, options: &Options) -> impl Future<Output = Result<Self, Unreachable>> + Send;

    /// The facts about the server for the report.
    fn facts(&self) -> Facts;

    /// What a case needs and the server, as declared, lacks.
    fn lacks(&self, case: &Case) -> Option<String>;

    /// How many cases of a parallel wave run at the same time.
    fn jobs(&self, options: &Options) -> usize;

    /// How often a failing case runs at most: more than once where the network may lose a datagram that nobody
    /// retransmits.
    fn attempts(&self, case: &Case) -> usize;

    /// Runs a case for this kind of server.
    fn run(&self, case: &'static Case, log: &Log) -> Running<'static>;

    /// Checks that a new client can use the server.
    fn alive(&self, log: &Log) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Removes secrets from what is shown and recorded.
    fn redact(&self, transcript: &mut Transcript);
}

/// The facts about a server that a report shows.
pub(crate) struct Facts {
    pub(crate) url: String,
    pub(crate) protocol: String,
    /// Time from a message to its answer.
    pub(crate) round_trip: Duration,
    /// How long to wait for an answer.
    pub(crate) patience: Duration,
}

/// How long to wait for an answer from a server with this round-trip time.
pub(crate) fn patience(round_trip: Duration) -> Duration {
    (round_trip * PATIENCE_ROUND_TRIPS).clamp(PATIENCE_MIN, PATIENCE_MAX)
}

/// Runs cases. The list should include every case that they need.
pub(crate) async fn run<S: Subject>(
    address: S::Address,
    cases: &[&'static Case],
    options: &Options,
) -> Result<Report, Unreachable> {
    let start = Instant::now();
    let subject = S::reach(address, options).await?;
    let terms = Terms { jobs: subject.jobs(options), slow_together: S::SLOW_TOGETHER };
    let Facts { url, protocol, round_trip, patience } = subject.facts();
    let runner = Runner {
        subject,
        deadline: start + options.deadline,
        limit: patience * CASE_PATIENCES,
        keep: options.record,
        restart: options.restart.clone(),
        interrupt: options.interrupt.clone(),
    };
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
    /// The case after which the server stopped answering.
    dead_since: Option<&'static str>,
    /// Whether we have already waited for a restart.
    waited: bool,
}

impl<S: Subject> Run<S> {
    async fn wave(&mut self, wave: Wave) {
        let mut waiting = wave.cases.into_iter();
        let mut running = JoinSet::new();
        // Cases that ran when the server died, if a restart can tell which of them killed it.
        let mut suspects: Vec<Ended> = Vec::new();
        loop {
            while running.len() < wave.jobs && suspects.is_empty() {
                let Some(case) = waiting.next() else { break };
                if let Some(verdict) = self.cannot_run(case).await {
                    self.reports.insert(case.slug, CaseReport::without_exchange(case, verdict));
                    continue;
                }
                let runner = Arc::clone(&self.runner);
                running.spawn(async move { runner.case(case).await });
            }
            match running.join_next().await {
                None if !suspects.is_empty() => self.after_crash(std::mem::take(&mut suspects)).await,
                None => return,
                Some(Err(error)) => unreachable!("a case's panic is caught inside: {error}"),
                Some(Ok(ended)) if self.can_restart() && (ended.dead.is_some() || !suspects.is_empty()) => {
                    suspects.push(ended);
                }
                Some(Ok(Ended { report, dead, .. })) => {
                    if dead.is_some() && self.dead_since.is_none() {
                        self.dead_since = Some(report.case.slug);
                    }
                    self.reports.insert(report.case.slug, report);
                }
            }
        }
    }

    /// Whether there is a command that brings the server back, and it has not failed yet.
    fn can_restart(&self) -> bool {
        self.runner.restart.as_ref().is_some_and(|restart| restart.failure().is_none())
    }

    /// Brings the server back, and finds the case that killed it: of several that ran at that time, each runs again
    /// alone.
    async fn after_crash(&mut self, suspects: Vec<Ended>) {
        let (harmless, mut suspects): (Vec<_>, Vec<_>) =
            suspects.into_iter().partition(|ended| !ended.report.verdict.blocks() && ended.dead.is_none());
        self.enter(harmless);
        if let [_] = suspects[..] {
            let culprit = suspects.remove(0);
            return self.crashed(culprit).await;
        }
        let slugs: Vec<_> = suspects.iter().map(|ended| ended.report.case.slug).collect();
        let (mut found, mut first) = (false, true);
        for suspect in suspects {
            if !self.can_restart() || (std::mem::take(&mut first) && !self.restarts(suspect.report.case.slug).await) {
                self.enter([suspect]);
                continue;
            }
            let again = self.runner.case(suspect.report.case).await;
            if again.dead.is_some() {
                found = true;
                self.crashed(again).await;
            } else {
                self.enter([again]);
            }
        }
        if !found
            && self.can_restart()
            && let Some(report) = slugs.first().and_then(|slug| self.reports.get_mut(slug))
        {
            let why = format!(
                "the server crashed while these cases ran at the same time, and not when each ran alone: {}",
                slugs.join(", ")
            );
            report.verdict = Verdict::Fail { why, line: None };
        }
    }

    /// Reports a crash in the case that caused it, and brings the server back.
    async fn crashed(&mut self, mut culprit: Ended) {
        culprit.blame();
        let slug = culprit.report.case.slug;
        self.enter([culprit]);
        self.restarts(slug).await;
    }

    /// Runs the restart command after this case.
    async fn restarts(&mut self, slug: &'static str) -> bool {
        let runner = &self.runner;
        let Some(restart) = &runner.restart else { return false };
        let is_alive = move || async move { runner.is_alive(&Log::new()).await.is_ok() };
        let url = runner.subject.facts().url;
        let back = Instant::now() < runner.deadline && restart.run(&url, is_alive).await;
        self.dead_since = (!back).then_some(slug);
        back
    }

    fn enter(&mut self, ended: impl IntoIterator<Item = Ended>) {
        self.reports.extend(ended.into_iter().map(|ended| (ended.report.case.slug, ended.report)));
    }

    /// The verdict on a case that cannot run at this point.
    async fn cannot_run(&mut self, case: &Case) -> Option<Verdict> {
        if let Some(why) = self.runner.subject.lacks(case) {
            return Some(Verdict::Unsupported { why });
        }
        if let Some(verdict) = blocked(case, &self.reports) {
            return Some(verdict);
        }
        if self.runner.interrupt.as_ref().is_some_and(|interrupt| interrupt.load(Ordering::Relaxed)) {
            return Some(Verdict::NotTested { why: "the run was interrupted".to_owned() });
        }
        if Instant::now() >= self.runner.deadline {
            return Some(time_is_over());
        }
        let last_case = self.dead_since?;
        // A supervisor may restart the server; we wait for that once.
        let restart = if self.waited { Duration::ZERO } else { S::RESTART };
        let limit = (Instant::now() + restart).min(self.runner.deadline);
        self.waited = true;
        while self.runner.is_alive(&Log::new()).await.is_err() {
            if Instant::now() >= limit {
                return Some(Verdict::NotTested { why: format!("the server has not answered since {last_case}") });
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
    /// Time limit for one case.
    limit: Duration,
    keep: bool,
    restart: Option<Restart>,
    interrupt: Option<Arc<AtomicBool>>,
}

/// The report of a case that ran.
struct Ended {
    report: CaseReport,
    /// Why the server does not serve a new client afterwards, if it does not.
    dead: Option<String>,
    /// What happened by chance that a failure may come from.
    chance: Option<&'static str>,
}

impl Ended {
    /// Turns the verdict into the crash that the case caused, with what the server received last.
    fn blame(&mut self) {
        let dead = self.dead.as_deref().unwrap_or_default();
        let what = if dead.contains("connection refused") { "crashed" } else { "stopped answering" };
        let before = match self.report.verdict.words() {
            ("fail" | "not-tested", Some(why)) => why.to_owned(),
            _ => dead.to_owned(),
        };
        let line = self.report.transcript.last_in_flight();
        let after = line.map(|at| &self.report.transcript.lines[at]).map(|line| {
            let who = self.report.transcript.clients.get(line.client).map_or("a client", String::as_str);
            let did = if line.kind == LineKind::Sends { "sent " } else { "" };
            let text = if line.text.is_empty() { "an empty text" } else { &*line.text };
            format!(" after {who} {did}{}", cut(text, FRAME_CHARS_MAX))
        });
        let why = format!("the server {what}{}: {before}", after.unwrap_or_default());
        self.report.verdict = Verdict::Fail { why, line };
        self.report.notes.remarks.retain(|remark| !remark.starts_with(AFTERWARDS));
    }
}

impl<S: Subject> Runner<S> {
    /// Runs one case; retries a failure that the network or chance may have caused.
    async fn case(&self, case: &'static Case) -> Ended {
        let mut first = self.attempt(case).await;
        let by_chance = if first.chance.is_some() && !case.slow { ATTEMPTS_BY_CHANCE } else { 1 };
        let attempts = self.subject.attempts(case).max(by_chance);
        let reason = first.chance.unwrap_or("datagrams were lost");
        for number in 2..=attempts {
            let Verdict::Fail { why, .. } = &first.report.verdict else { break };
            if Instant::now() >= self.deadline {
                break;
            }
            let mut next = self.attempt(case).await;
            if matches!(next.report.verdict, Verdict::Pass | Verdict::Acceptable { .. }) {
                let remark = format!(
                    "attempt {number} passed, so the failure before probably came about because {reason}: {why}"
                );
                next.report.notes.remarks.push(remark);
                return next;
            }
            first.dead = next.dead;
            if number == attempts {
                let remark = format!("all {attempts} attempts failed, so it is not because {reason}");
                first.report.notes.remarks.push(remark);
            }
        }
        first
    }

    /// Runs a case once and checks whether the server is alive afterwards.
    async fn attempt(&self, case: &'static Case) -> Ended {
        let start = Instant::now();
        let log = Log::keeping(self.keep);
        // A slow case waits out a lifetime, whose length the server may choose.
        let limit = if case.slow { self.deadline } else { (start + self.limit).min(self.deadline) };
        // A task of its own catches a panic; dropping the set ends the task when its time is up.
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
                let why = format!("messages kept arriving, and the case did not end within {limit}");
                Verdict::Fail { why, line: None }
            }
        };
        drop(task);
        // One rule for all cases: what cannot be sent cannot be tested. Taken, so that it does not count for the check
        // below that the server is alive.
        let verdict = match (verdict, log.take_unsupported()) {
            (verdict @ Verdict::HarnessError { .. }, _) | (verdict, None) => verdict,
            (_, Some(why)) => Verdict::Unsupported { why },
        };
        // If the server fails at such a case's join, the case itself reports that.
        let reports_it = S::JOINS && case.needs.is_empty() && self.restart.is_none();
        let alive = match &verdict {
            Verdict::Fail { .. } | Verdict::NotTested { .. } if reports_it => Ok(()),
            _ => self.is_alive(&log).await.map_err(Stop::into_why),
        };
        let (mut transcript, mut notes) = log.snapshot();
        self.subject.redact(&mut transcript);
        let dead = |why: &str| format!("{AFTERWARDS}: {why}");
        let verdict = match (verdict, &alive) {
            (Verdict::Pass, Err(why)) => Verdict::Fail { why: dead(why), line: None },
            (Verdict::Pass, Ok(())) if !notes.choices.is_empty() => {
                Verdict::Acceptable { why: notes.choices.join("; ") }
            }
            // The case never reached its test because the server died.
            (Verdict::NotTested { why }, Err(_)) if S::JOINS && Instant::now() < self.deadline => {
                Verdict::Fail { why: format!("the server stopped answering during the case: {why}"), line: None }
            }
            (verdict, Err(why)) => {
                notes.remarks.push(dead(why));
                verdict
            }
            (verdict, Ok(())) => verdict,
        };
        let report = CaseReport { case, verdict, notes, known: None, took: start.elapsed(), transcript };
        Ended { report, dead: alive.err(), chance: log.chance() }
    }

    /// Checks that a new client can use the server.
    async fn is_alive(&self, log: &Log) -> Result<(), Stop> {
        // A little past the deadline, so that the last case is judged fairly.
        let limit = (self.deadline + Duration::from_secs(1)).saturating_duration_since(Instant::now());
        match timeout(limit, self.subject.alive(log)).await {
            // The dialect has nothing to ask the server with, which says nothing about the server.
            Ok(Err(Stop::Unsupported(_))) => Ok(()),
            Ok(Err(_)) if log.unsupported().is_some() => Ok(()),
            Ok(alive) => alive,
            Err(_) => Err(Stop::fail("no answer")),
        }
    }
}

fn time_is_over() -> Verdict {
    Verdict::NotTested { why: "the deadline of the whole run was reached".to_owned() }
}
