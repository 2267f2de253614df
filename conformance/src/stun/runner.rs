//! Runs cases against a STUN or TURN server: first whether it is there, then side by side what can be.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::client::Client;
use super::cx::{Cx, Env, Sentinel};
use super::net::Datagrams;
use super::peers::find_peers;
use super::suite::{Service, Target};
use crate::case::{Body, Case, Stop};
use crate::target::{Unreachable, human};
use crate::transcript::{Log, Notes, Transcript};
use crate::verdict::{CaseReport, Report, Verdict};

/// How long the first answer may take.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// Patience is this many round trips …
const PATIENCE_ROUND_TRIPS: u32 = 20;
/// … but not less, or a busy machine fails a correct server …
const PATIENCE_MIN: Duration = Duration::from_secs(3);
/// … nor more, or a dead one takes for ever.
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// A request is sent again after this many round trips …
const RTO_ROUND_TRIPS: u32 = 4;
/// … but not sooner: what a busy machine answers late is not lost.
const RTO_MIN: Duration = Duration::from_millis(300);
/// What is assumed where the first answer is no answer.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(50);
/// How often a case is asked that fails where datagrams may be lost.
const ATTEMPTS: usize = 4;
/// A case in which something arrives all the time ends nevertheless, after this many times the patience.
const CASE_PATIENCES: u32 = 6;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time for the whole run: 60 s. What it does not reach is not tested.
    pub deadline: Duration,
    /// Cases at the same time: 8.
    pub jobs: usize,
    /// Makes transaction ids unlike those of other runs: give each run its own.
    pub seed: u64,
    /// Whether what goes over the wire is kept whole, for a [`Recording`](crate::Recording): no.
    pub record: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(60), jobs: 8, seed: 0, record: false }
    }
}

/// Asks a server the questions of some cases; they should be complete with what they need, as
/// [`select_from`](crate::select_from()) returns them. Must be called inside a tokio runtime with time and I/O.
///
/// # Errors
/// Nothing answers there.
pub async fn run(
    net: impl Datagrams,
    target: &Target,
    cases: &[&'static Case],
    options: &Options,
) -> Result<Report, Unreachable> {
    let start = Instant::now();
    let (env, round_trip) = reach(net, target, options).await?;
    let patience = env.patience;
    let mut run =
        Run { env: Arc::new(env), deadline: start + options.deadline, reports: BTreeMap::new(), dead_since: None };
    let mut depths: BTreeMap<usize, Vec<&'static Case>> = BTreeMap::new();
    // What waits out a lifetime begins at once and waits beside the others.
    let (slow, quick): (Vec<_>, Vec<_>) = cases.iter().copied().partition(|case| case.slow);
    for case in quick.iter().filter(|case| !case.alone) {
        depths.entry(depth(case, cases)).or_default().push(case);
    }
    for wave in depths.into_values() {
        run.side_by_side(&wave, options.jobs).await;
    }
    for case in quick.iter().filter(|case| case.alone) {
        run.side_by_side(&[case], 1).await;
    }
    run.side_by_side(&slow, slow.len()).await;
    let reports = cases.iter().filter_map(|case| run.reports.remove(case.slug)).collect();
    Ok(Report {
        url: target.to_string(),
        dialect: target.service.name().to_owned(),
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

/// Finds an address at which the server answers, and how fast.
async fn reach(net: impl Datagrams, target: &Target, options: &Options) -> Result<(Env, Duration), Unreachable> {
    let mut tried = Vec::new();
    let resolving = timeout(FIRST_PATIENCE, net.resolve(&target.host, target.port)).await;
    let addresses = match resolving {
        Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
        Ok(Ok(_)) => return Err(unreachable(target, vec![format!("{} has no address", target.host)])),
        Ok(Err(error)) => return Err(unreachable(target, vec![format!("resolve {}: {error}", target.host)])),
        Err(_) => return Err(unreachable(target, vec![format!("resolve {}: no answer", target.host)])),
    };
    let net = Arc::new(net);
    for server in &addresses {
        let source = match net.source(*server).await {
            Ok(source) => source,
            Err(error) => {
                tried.push(format!("UDP to {server}: {error}"));
                continue;
            }
        };
        let mut env = Env {
            net: net.clone(),
            dial: net.clone(),
            server: *server,
            addresses: addresses.clone(),
            source,
            credentials: target.credentials.clone(),
            sentinel: Sentinel::Binding,
            peers: None,
            rto: RTO_MIN,
            patience: FIRST_PATIENCE / 2,
            seed: options.seed,
            keep: options.record,
            fresh: AtomicU64::new(0),
            taken: Mutex::default(),
        };
        let sentinels = match target.service {
            Service::Stun => &[Sentinel::Binding][..],
            Service::Turn => &[Sentinel::Binding, Sentinel::Allocate],
        };
        for sentinel in sentinels {
            env.sentinel = *sentinel;
            let shared = Arc::new(env);
            let answered = first_answer(&shared).await;
            env = Arc::try_unwrap(shared).unwrap_or_else(|_| unreachable!("the probe has dropped its share"));
            match answered {
                Ok(round_trip) => {
                    env.rto = (round_trip * RTO_ROUND_TRIPS).max(RTO_MIN);
                    env.patience = (round_trip * PATIENCE_ROUND_TRIPS).clamp(PATIENCE_MIN, PATIENCE_MAX);
                    if target.service == Service::Turn {
                        env = find_peers(env).await;
                    }
                    return Ok((env, round_trip));
                }
                Err(why) => tried.push(format!("UDP to {server}: {why}")),
            }
        }
    }
    Err(unreachable(target, tried))
}

fn unreachable(target: &Target, tried: Vec<String>) -> Unreachable {
    Unreachable { url: target.to_string(), tried }
}

/// The time of one round trip, the least of three, so that a busy moment does not count.
async fn first_answer(env: &Arc<Env>) -> Result<Duration, String> {
    let log = Log::new();
    let client = Client::open(env, &log, "probe", (env.source, 0).into()).await;
    let mut client = client.map_err(words)?;
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let sentinel = env.sentinel();
        let answer = client.ask(&sentinel).await;
        match answer {
            Ok(_) => least = least.min(start.elapsed()),
            // Whether it is right, the cases ask.
            Err(_) if client.heard_anything() => return Ok(UNKNOWN_ROUND_TRIP),
            Err(stop) => return Err(words(stop)),
        }
    }
    Ok(least)
}

fn words(stop: Stop) -> String {
    match stop {
        Stop::Fail { why, .. } | Stop::Setup(why) | Stop::Unsupported(why) => why,
    }
}

struct Run {
    env: Arc<Env>,
    deadline: Instant,
    reports: BTreeMap<&'static str, CaseReport>,
    /// The case after which the server no longer answered.
    dead_since: Option<&'static str>,
}

impl Run {
    async fn side_by_side(&mut self, wave: &[&'static Case], jobs: usize) {
        let mut waiting = wave.iter().copied();
        let mut running = JoinSet::new();
        loop {
            while running.len() < jobs.max(1) {
                let Some(case) = waiting.next() else { break };
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
        if let Some(slug) = case.needs.iter().find(fails) {
            return Some(format!("needs {slug}, which did not pass"));
        }
        if Instant::now() >= self.deadline {
            return Some("the time for the whole run was over".to_owned());
        }
        if let Some(killer) = self.dead_since {
            // Somebody may have started it again.
            match is_alive(&self.env, &Log::new(), self.deadline).await {
                Ok(()) => self.dead_since = None,
                Err(_) => return Some(format!("the server does not answer since {killer}")),
            }
        }
        None
    }
}

/// Runs one case. What fails on another machine's server may have lost a datagram that nobody sends again, so it is asked again.
async fn run_case(env: Arc<Env>, case: &'static Case, deadline: Instant) -> (CaseReport, bool) {
    let near = env.source == env.server.ip() || env.server.ip().is_loopback();
    let attempts = if near || case.slow { 1 } else { ATTEMPTS };
    let (mut first, mut alive) = attempt(&env, case, deadline).await;
    for number in 2..=attempts {
        let Verdict::Fail { why, .. } = &first.verdict else { break };
        if Instant::now() >= deadline {
            break;
        }
        let (mut next, is_alive) = attempt(&env, case, deadline).await;
        alive = is_alive;
        if matches!(next.verdict, Verdict::Pass | Verdict::Acceptable { .. }) {
            next.notes
                .remarks
                .push(format!("so it is in attempt {number}, as where datagrams are lost; before: {why}"));
            return (next, alive);
        }
        if number == attempts {
            first
                .notes
                .remarks
                .push(format!("it fails in each of {attempts} attempts, so no lost datagram is the reason"));
        }
    }
    (first, alive)
}

/// Asks a case once and looks whether the server is alive afterwards.
async fn attempt(env: &Arc<Env>, case: &'static Case, deadline: Instant) -> (CaseReport, bool) {
    let start = Instant::now();
    let log = Log::keeping(env.keep);
    let limit = if case.slow { deadline } else { (start + env.patience * CASE_PATIENCES).min(deadline) };
    let Body::Network(body) = case.body else { unreachable!("{} is for another suite", case.slug) };
    // In a task of its own, which catches a panic; in a set, which ends it when its time is over.
    let mut task = JoinSet::new();
    let mut cx = Cx { env: Arc::clone(env), log: log.clone() };
    task.spawn(async move { body(&mut cx).await });
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
            let limit = human(limit - start);
            Verdict::Fail { why: format!("the case did not come to its end within {limit}"), line: None }
        }
    };
    drop(task);
    let alive = is_alive(env, &log, deadline).await;
    let (transcript, mut notes) = log.snapshot();
    let verdict = match (verdict, &alive) {
        (Verdict::Pass, Err(why)) => {
            Verdict::Fail { why: format!("afterwards the server is dead to a fresh client: {why}"), line: None }
        }
        (Verdict::Pass, Ok(())) if !notes.choices.is_empty() => Verdict::Acceptable { why: notes.choices.join("; ") },
        (verdict, Err(why)) => {
            notes.remarks.push(format!("afterwards the server is dead to a fresh client: {why}"));
            verdict
        }
        (verdict, Ok(())) => verdict,
    };
    (CaseReport { case, verdict, notes, known: None, took: start.elapsed(), transcript }, alive.is_ok())
}

/// The server answers a fresh client, rightly or not: what is right, the cases ask.
async fn is_alive(env: &Arc<Env>, log: &Log, deadline: Instant) -> Result<(), String> {
    let answered = async {
        let mut client = Client::open(env, log, "alive?", (env.source, 0).into()).await.map_err(words)?;
        match client.ask(&env.sentinel()).await {
            Ok(_) => Ok(()),
            Err(_) if client.heard_anything() => Ok(()),
            Err(stop) => Err(words(stop)),
        }
    };
    // A little past the deadline, so that the last case is judged fairly.
    let limit = (deadline + Duration::from_secs(1)).saturating_duration_since(Instant::now());
    timeout(limit, answered).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}
