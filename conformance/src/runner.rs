//! Runs cases: first whether the server is there, then what others need, then side by side what can be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::case::{Body, Case, Cx, Env, Stop};
use crate::client::Peer;
use crate::dial::Dial;
use crate::dialect::Dialect;
use crate::dialect::file::RoomIn;
use crate::framing::adapter::Adapter;
use crate::secrets::Secrets;
use crate::target::{Target, Unreachable, human};
use crate::transcript::{Log, Notes, Transcript};
use crate::verdict::{CaseReport, Report, Verdict};

/// How long the first connection may take, and the first answer.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// Patience is this many round trips …
const PATIENCE_ROUND_TRIPS: u32 = 20;
/// … but not less, or a busy machine fails a correct server …
const PATIENCE_MIN: Duration = Duration::from_secs(3);
/// … nor more, or a dead one takes for ever.
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// A case in which something arrives all the time ends nevertheless, after this many times the patience.
const CASE_PATIENCES: u32 = 6;

/// How long a server that died is waited for: a supervisor starts it again.
const RESTART: Duration = Duration::from_secs(2);

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time for the whole run: 120 s. What it does not reach is not tested.
    pub deadline: Duration,
    /// Cases at the same time: 8.
    pub jobs: usize,
    /// Makes room names unlike those of other runs: give each run its own.
    pub seed: u64,
    /// Whether what goes over the wire is kept whole, for a [`Recording`](crate::Recording): no.
    pub record: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(120), jobs: 8, seed: 0, record: false }
    }
}

/// Asks a server the questions of some cases; they should be complete with what they need, as
/// [`select`](crate::select()) returns them. Must be called inside a tokio runtime with time and I/O.
///
/// # Errors
/// No connection of the dialect's kind can be opened.
pub async fn run(
    dial: impl Dial,
    target: &Target,
    dialect: &Arc<Dialect>,
    cases: &[&'static Case],
    options: &Options,
) -> Result<Report, Unreachable> {
    let start = Instant::now();
    let mut env = Env {
        dial: Arc::new(dial),
        target: target.clone(),
        dialect: Arc::clone(dialect),
        adapter: Adapter::default(),
        patience: FIRST_PATIENCE,
        round_trip: Duration::ZERO,
        seed: options.seed,
        keep: options.record,
        fresh: AtomicUsize::new(0),
    };
    let (probed, round_trip) = reach(env).await?;
    env = probed;
    let server = Duration::from_millis(u64::from(dialect.file.connection.slow_by_ms));
    env.round_trip = round_trip + server;
    env.patience = (env.round_trip * PATIENCE_ROUND_TRIPS).clamp(PATIENCE_MIN, PATIENCE_MAX);
    let patience = env.patience;
    let mut run = Run {
        env: Arc::new(env),
        deadline: start + options.deadline,
        reports: BTreeMap::new(),
        dead_since: None,
        waited: false,
    };
    // Where all clients of a server hear of each other, a recording of one case must not hold another.
    let jobs = if options.record && dialect.file.room.r#in == RoomIn::None { 1 } else { options.jobs };
    let mut depths: BTreeMap<usize, Vec<&'static Case>> = BTreeMap::new();
    for case in cases.iter().filter(|case| !case.alone) {
        depths.entry(depth(case, cases)).or_default().push(case);
    }
    for wave in depths.into_values() {
        run.side_by_side(&wave, jobs).await;
    }
    // One at a time: when the server is dead afterwards, we know of what.
    for case in cases.iter().filter(|case| case.alone) {
        run.side_by_side(&[case], 1).await;
    }
    let reports = cases.iter().filter_map(|case| run.reports.remove(case.slug)).collect();
    Ok(Report {
        url: target.shown(),
        dialect: dialect.name().to_owned(),
        round_trip,
        patience,
        took: start.elapsed(),
        cases: reports,
        requirements: Vec::new(),
    })
}

/// How many cases must come before this one, one after the other.
fn depth(case: &Case, cases: &[&'static Case]) -> usize {
    let needed = cases.iter().filter(|other| case.needs.contains(&other.slug));
    needed.map(|other| 1 + depth(other, cases)).max().unwrap_or_default()
}

/// Connects and measures the time to the answer of a join: at most [`FIRST_PATIENCE`], as if it came then.
async fn reach(env: Env) -> Result<(Env, Duration), Unreachable> {
    let env = Arc::new(env);
    let log = Log::new();
    let cx = Cx::new(Arc::clone(&env), log.clone());
    let room = cx.room();
    let role = cx.file().roles.as_ref().map(|roles| roles.offers.as_str());
    let start = Instant::now();
    let connected = Peer::connect(&env, &log, "probe", &room, role).await;
    let secrets = Secrets::of(&env.target);
    let unreachable = |why: String| Unreachable { url: env.target.shown(), tried: vec![secrets.hide(&why)] };
    let mut probe = connected.map_err(unreachable)?;
    let handshake = start.elapsed();
    let start = Instant::now();
    // Whether it is answered rightly, the cases ask.
    let answer = timeout(FIRST_PATIENCE / 2, probe.join(&room, None)).await;
    let round_trip = match answer {
        Ok(Ok(_)) => start.elapsed().max(handshake),
        _ => handshake,
    };
    drop((probe, cx));
    // An adapter's clients hold their share a moment longer; the rest of the run has its own.
    let env = Env {
        dial: Arc::clone(&env.dial),
        target: env.target.clone(),
        dialect: Arc::clone(&env.dialect),
        adapter: Adapter::default(),
        patience: env.patience,
        round_trip,
        seed: env.seed,
        keep: env.keep,
        fresh: AtomicUsize::new(env.fresh.load(std::sync::atomic::Ordering::Relaxed)),
    };
    Ok((env, round_trip))
}

struct Run {
    env: Arc<Env>,
    deadline: Instant,
    reports: BTreeMap<&'static str, CaseReport>,
    /// The case after which the server no longer answered.
    dead_since: Option<&'static str>,
    /// Whether we have waited for somebody to start it again.
    waited: bool,
}

impl Run {
    async fn side_by_side(&mut self, wave: &[&'static Case], jobs: usize) {
        let mut waiting = wave.iter().copied();
        let mut running = JoinSet::new();
        loop {
            while running.len() < jobs.max(1) {
                let Some(case) = waiting.next() else { break };
                let lacks = case.requires.iter().find_map(|feature| self.env.dialect.lacks(*feature));
                if let Some(lacks) = lacks {
                    self.enter(case, Verdict::Unsupported { why: format!("the dialect {lacks}") });
                    continue;
                }
                match self.not_tested(case).await {
                    Some(why) => self.enter(case, Verdict::NotTested { why }),
                    None => {
                        running.spawn(run_case(Arc::clone(&self.env), case, self.deadline));
                    }
                }
            }
            match running.join_next().await {
                None => return,
                Some(Err(error)) => unreachable!("a case's panic is caught inside: {error}"),
                Some(Ok((report, alive))) => {
                    if !alive && self.dead_since.is_none() {
                        self.dead_since = Some(report.case.slug);
                    }
                    self.reports.insert(report.case.slug, report);
                }
            }
        }
    }

    fn enter(&mut self, case: &'static Case, verdict: Verdict) {
        let (notes, took, transcript) = (Notes::default(), Duration::ZERO, Transcript::default());
        self.reports.insert(case.slug, CaseReport { case, verdict, notes, known: None, took, transcript });
    }

    /// Why a case cannot be asked now.
    async fn not_tested(&mut self, case: &Case) -> Option<String> {
        let fails = |slug: &&&str| self.reports.get(**slug).is_some_and(|report| report.verdict.blocks());
        let failed = case.needs.iter().find(fails);
        if let Some(slug) = failed {
            return Some(format!("needs {slug}, which did not pass"));
        }
        if Instant::now() >= self.deadline {
            return Some("the time for the whole run was over".to_owned());
        }
        if let Some(killer) = self.dead_since {
            // Somebody may start it again; we wait for that once.
            let limit = if self.waited { Instant::now() } else { (Instant::now() + RESTART).min(self.deadline) };
            self.waited = true;
            loop {
                if is_alive(&Cx::new(Arc::clone(&self.env), Log::new()), self.deadline).await.is_ok() {
                    (self.dead_since, self.waited) = (None, false);
                    break;
                }
                if Instant::now() >= limit {
                    return Some(format!("the server does not answer since {killer}"));
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        None
    }
}

/// Runs one case and looks whether the server is alive afterwards.
async fn run_case(env: Arc<Env>, case: &'static Case, deadline: Instant) -> (CaseReport, bool) {
    let start = Instant::now();
    let log = Log::keeping(env.keep);
    let secrets = Secrets::of(&env.target);
    // How long a lifetime is, the server may tell.
    let limit = if case.slow { deadline } else { (start + env.patience * CASE_PATIENCES).min(deadline) };
    // In a task of its own, which catches a panic; in a set, which ends it when its time is over.
    let mut task = JoinSet::new();
    let mut cx = Cx::new(Arc::clone(&env), log.clone());
    let Body::Signaling(run) = case.body else { unreachable!("{} is for another suite", case.slug) };
    task.spawn(async move { run(&mut cx).await });
    let verdict = match timeout(limit - start, task.join_next()).await {
        Ok(Some(Ok(Ok(())))) => Verdict::Pass,
        Ok(Some(Ok(Err(Stop::Fail { why, line })))) => Verdict::Fail { why, line },
        Ok(Some(Ok(Err(Stop::Setup(why))))) => Verdict::NotTested { why },
        Ok(Some(Ok(Err(Stop::Unsupported(why))))) => Verdict::Unsupported { why },
        Ok(Some(Err(panic))) => Verdict::HarnessError { why: format!("the case panicked: {panic}") },
        Ok(None) => unreachable!("one task was spawned"),
        Err(_) if Instant::now() >= deadline => {
            Verdict::NotTested { why: "the time for the whole run was over".to_owned() }
        }
        Err(_) => {
            let why = format!(
                "something arrived all the time, and the case did not come to its end within {}",
                human(limit - start)
            );
            Verdict::Fail { why, line: None }
        }
    };
    drop(task);
    // A case on whose join the server fails says so itself.
    let alive = match &verdict {
        Verdict::Fail { .. } | Verdict::NotTested { .. } if case.needs.is_empty() => Ok(()),
        _ => is_alive(&Cx::new(env, log.clone()), deadline).await,
    };
    let (mut transcript, mut notes) = log.snapshot();
    secrets.hide_in(&mut transcript);
    let verdict = match (verdict, &alive) {
        (Verdict::Pass, Err(why)) => {
            Verdict::Fail { why: format!("afterwards the server is dead to a fresh client: {why}"), line: None }
        }
        (Verdict::Pass, Ok(())) if !notes.choices.is_empty() => Verdict::Acceptable { why: notes.choices.join("; ") },
        // It came to an end before the question because the server did.
        (Verdict::NotTested { why }, Err(_)) if Instant::now() < deadline => {
            Verdict::Fail { why: format!("the server died within the case: {why}"), line: None }
        }
        (verdict, Err(why)) => {
            notes.remarks.push(format!("afterwards the server is dead to a fresh client: {why}"));
            verdict
        }
        (verdict, Ok(())) => verdict,
    };
    (CaseReport { case, verdict, notes, known: None, took: start.elapsed(), transcript }, alive.is_ok())
}

/// A fresh client can use the server.
async fn is_alive(cx: &Cx, deadline: Instant) -> Result<(), String> {
    let joins = async {
        match cx.alive().await {
            Ok(()) => Ok(()),
            Err(Stop::Setup(why) | Stop::Fail { why, .. } | Stop::Unsupported(why)) => Err(why),
        }
    };
    // A little past the deadline, so that the last case is judged fairly.
    let limit = (deadline + Duration::from_secs(1)).saturating_duration_since(Instant::now());
    timeout(limit, joins).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}
