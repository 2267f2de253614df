//! A scenario on real sockets and in real time, against any server at a URL.
//!
//! The clients are those of the simulator, on this machine's loopback interface; before the server stands a [`proxy`] for each, which does
//! what the simulated network does there. One thread runs all of a scenario, so the record has one order. **What only the server or a
//! simulated network knows is not judged here**: [`oracle::judge_live`].

mod ground;
mod network;
mod proxy;
mod script;
mod upstream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use scenarios::Scenario;
use tokio::time::timeout;

use crate::event::Record;
use crate::hash::event_hash;
use crate::oracle;
use crate::peer::client;
pub use crate::peer::endpoint::Endpoint;
use crate::run::{Crash, Outcome};
use crate::stage::{self, Ground};
use ground::Live;
pub use script::{Protocol, Script, Unplayable};
pub use upstream::Upstream;

/// Two events further apart do not belong to one group …
const PAUSE: Duration = Duration::from_millis(1);
/// … nor does an event so long after the first of the group.
const GROUP_MAX: Duration = Duration::from_millis(5);
/// How long the first handshake may take.
const REACH_PATIENCE: Duration = Duration::from_secs(5);

/// A server, and how it is to be spoken to.
#[derive(Clone)]
pub struct Target {
    /// Where its bytes go.
    pub upstream: Upstream,
    /// What its requests name.
    pub endpoint: Arc<Endpoint>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Time between its pings: how long a client without a word may stay unnoticed follows from it.
    pub heartbeat: Duration,
}

impl Target {
    /// Opens a WebSocket as the clients will, and closes it.
    ///
    /// # Errors
    /// What was tried, and what came of it.
    pub fn reach(&self) -> Result<(), String> {
        let runtime = runtime().map_err(|error| error.to_string())?;
        runtime.block_on(async {
            timeout(REACH_PATIENCE, self.open())
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {} s", REACH_PATIENCE.as_secs())))
        })
    }

    async fn open(&self) -> Result<(), String> {
        let stream = self.upstream.connect().await?;
        let request = self.endpoint.request(&client::path(self.protocol.role(), self.protocol.over, "reach"));
        let opened = tokio_tungstenite::client_async(request, stream).await;
        let (mut socket, _) = opened.map_err(|error| format!("TCP is accepted; the WebSocket handshake: {error}"))?;
        // Whether it likes to be left so soon is not the question.
        let _ = socket.close(None).await;
        Ok(())
    }
}

/// Plays a script to its end and judges it.
///
/// # Errors
/// This machine has no sockets to spare, or a client panicked: the fault is Glare's, or a library's.
pub fn run(script: &Script, target: &Target, seed: u64) -> Result<Outcome, Crash> {
    let played = runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(play(script.scenario.clone(), target.clone(), seed)));
    let mut record = played.map_err(|message| Crash { seed, message })?;
    quantize(&mut record);
    // What the oracles know of the server is what was said of it.
    let mut scenario = Scenario::clone(&script.scenario);
    scenario.server.heartbeat = target.heartbeat;
    let (violations, probes) = oracle::judge_live(&scenario, &record);
    let hash = event_hash(&record);
    Ok(Outcome { scenario: scenario.into(), seed, record, hash, violations, probes })
}

/// Gives all events of a group one time, a whole millisecond, as in a simulation: so the timeline reads the same.
fn quantize(record: &mut Record) {
    let mut group = Duration::ZERO;
    let mut last = Duration::ZERO;
    for event in &mut record.events {
        if event.at - last > PAUSE || event.at - group > GROUP_MAX {
            group = Duration::from_millis(u64::try_from(event.at.as_millis()).unwrap_or(u64::MAX));
        }
        last = event.at;
        event.at = group;
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn play(scenario: Arc<Scenario>, target: Target, seed: u64) -> Result<Record, String> {
    let ground = Live::new(scenario.clone(), target, seed).await.map_err(|error| error.to_string())?;
    let recorder = ground.recorder().clone();
    stage::play(ground, scenario, seed).await?;
    Ok(recorder.take())
}
