//! Clients that connect, join, leave and disconnect, at a given rate per second.

use std::sync::Arc;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::{CrowdError, Unreachable};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::plan::Plan;
use super::process::{Use, Watch};
use super::shared::latencies;
use super::stop::Stop;

/// Clients at the same time. If the server does not keep up, the next ones wait, and their latency includes the wait.
const AT_ONCE: usize = 1000;

/// The measured values.
pub(super) struct Churn {
    pub(super) visits: u64,
    pub(super) failed: u64,
    pub(super) first_failure: Option<String>,
    /// From the time at which a client was due to connect, to the answer to its join.
    pub(super) latencies_ns: Histogram<u64>,
    pub(super) used: Use,
}

/// Connects and disconnects clients at the given rate.
///
/// # Errors
/// The server cannot be reached. `None`: it was stopped before anything was measured.
pub(super) async fn run(plan: &Plan, per_second: f64, stop: &Stop) -> Result<Option<Churn>, Unreachable> {
    let crowd = Arc::new(plan.crowd(Tokio, 0));
    let Some(reached) = stop.unless(crowd.reach()).await else { return Ok(None) };
    reached?;
    let watch = Watch::start(plan.processes.clone());
    let start = Instant::now();
    let (mut visits, mut failed, mut first_failure, mut latencies_ns) = (0, 0, None, latencies());
    let mut count = |visit: Result<Duration, CrowdError>| match visit {
        Ok(took) => {
            visits += 1;
            latencies_ns.saturating_record((took.as_nanos() as u64).max(1));
        }
        Err(error) => {
            failed += 1;
            first_failure.get_or_insert(error.why);
        }
    };
    let (mut visiting, mut room) = (JoinSet::new(), String::new());
    for number in 0.. {
        let due = start + Duration::from_secs_f64(number as f64 / per_second);
        if due >= start + plan.time || stop.unless(sleep_until(due)).await.is_none() {
            break;
        }
        while visiting.len() >= AT_ONCE {
            let Some(Some(visit)) = stop.unless(visiting.join_next()).await else { break };
            count(visit.expect("a visitor does not panic"));
        }
        let place = number % plan.members;
        if place == 0 {
            room = crowd.room_name();
        }
        let (crowd, room) = (Arc::clone(&crowd), room.clone());
        visiting.spawn(async move {
            let waited = due.elapsed();
            crowd.visit(&room, place).await.map(|took| waited + took)
        });
        while let Some(visit) = visiting.try_join_next() {
            count(visit.expect("a visitor does not panic"));
        }
    }
    // Each visit has its own time limit.
    while let Some(visit) = visiting.join_next().await {
        count(visit.expect("a visitor does not panic"));
    }
    let used = watch.finish();
    Ok(Some(Churn { visits, failed, first_failure, latencies_ns, used }))
}
