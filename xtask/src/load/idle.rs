//! Connections that join and then stay idle: the cost of one connection on the server.

use std::future::poll_fn;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::{Arrival, Unreachable, Wire};
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::plan::Plan;
use super::process::{Use, Watch};
use super::stop::Stop;

/// Clients that join at the same time.
const AT_ONCE: usize = 64;
/// Time between the last join and the measurement of the server's memory.
const SETTLE: Duration = Duration::from_millis(500);

/// The measured values.
pub(super) struct Idle {
    pub(super) joined: usize,
    /// Why no further client could join.
    pub(super) refused: Option<String>,
    pub(super) joining: Duration,
    /// Usage from before the first connection to the end.
    pub(super) used: Use,
    /// How connections ended that ended early.
    pub(super) ended: Vec<String>,
}

/// Joins clients, keeps them connected for the plan's time, and disconnects them.
///
/// # Errors
/// The server cannot be reached. `None`: it was stopped before anything was measured.
pub(super) async fn run(plan: &Plan, clients: usize, stop: &Stop) -> Result<Option<Idle>, Unreachable> {
    let crowd = &plan.crowd(Tokio, 0);
    let Some(reached) = stop.unless(crowd.reach()).await else { return Ok(None) };
    reached?;
    let rooms: Vec<String> = (0..clients.div_ceil(plan.members)).map(|_| crowd.room_name()).collect();
    let watch = Watch::start(plan.processes.clone());
    let start = Instant::now();
    let (mut staying, mut joined, mut refused) = (JoinSet::new(), 0, None);
    let join = |number: usize| crowd.join(&rooms[number / plan.members], number % plan.members);
    let mut joining = futures_util::stream::iter((0..clients).map(join)).buffer_unordered(AT_ONCE);
    loop {
        match stop.unless(joining.next()).await {
            None | Some(None) => break,
            Some(Some(Ok(wire))) => {
                joined += 1;
                staying.spawn(stay(wire, stop.clone(), plan.time));
            }
            Some(Some(Err(error))) => {
                refused = Some(error.why);
                break;
            }
        }
    }
    drop(joining);
    let joining = start.elapsed();
    stop.pause(SETTLE).await;
    let used = watch.finish();
    let mut ended = Vec::new();
    while let Some(end) = staying.join_next().await {
        ended.extend(end.expect("a client does not panic"));
    }
    Ok(Some(Idle { joined, refused, joining, used, ended }))
}

/// Keeps a connection alive. Returns how it ended if it ended early.
async fn stay(mut wire: Wire, stop: Stop, time: Duration) -> Option<String> {
    let listening = poll_fn(|cx| {
        loop {
            match wire.poll_next(cx) {
                std::task::Poll::Ready(Arrival::Message(message)) => drop(wire.take_in(&message)),
                std::task::Poll::Ready(Arrival::End(how)) => return std::task::Poll::Ready(how),
                std::task::Poll::Pending => break,
            }
        }
        let _ = wire.poll_flush(cx);
        std::task::Poll::Pending
    });
    let ended = tokio::select! { biased;
        how = listening => Some(how),
        () = stop.pause(SETTLE + time) => None,
    };
    if ended.is_none() {
        wire.close(Duration::from_secs(1)).await;
    }
    ended
}
