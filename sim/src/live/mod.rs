//! A scenario on real sockets and in real time, against any server at a URL.
//!
//! The clients are those of the simulator, on this machine's loopback interface. Each client has its own [`proxy`] in
//! front of the server, which does what the simulated network does in a simulation. One thread runs the whole scenario,
//! so the record has one order. In [`netns`] each machine has a network of its own. The WebRTC connections of
//! an actor can be those of a real [`browser`]. **Promises that depend on facts known only to the server or a simulated network
//! are not judged here**: see [`oracle::judge_live`].

mod browser;
mod ground;
pub mod netns;
mod network;
mod proxy;
mod script;
mod upstream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{Role, Scenario};
use tokio::time::timeout;

use crate::dialects::Dialects;
use crate::event::Record;
use crate::hash::event_hash;
use crate::oracle;
use crate::peer::client;
pub use crate::peer::endpoint::Endpoint;
use crate::run::{Crash, Outcome};
use crate::stage::{self, Ground, StageError};
pub use browser::{Browser, BrowserError};
use ground::Live;
pub use network::Place;
pub use script::{Protocol, Reason, Script, Unplayable};
pub use upstream::{ConnectError, Upstream};

/// Events that are further apart than this belong to different groups.
const PAUSE: Duration = Duration::from_millis(1);
/// An event that is further from the first of a group than this starts a new group.
const GROUP_MAX: Duration = Duration::from_millis(5);
/// Time limit for the first handshake.
const REACH_PATIENCE: Duration = Duration::from_secs(5);

/// A server, and how to connect to it.
#[derive(Clone)]
pub struct Target {
    /// The host and port to connect to.
    pub upstream: Upstream,
    /// The host, path and headers of requests.
    pub endpoint: Arc<Endpoint>,
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// The interval between its pings. It determines how soon the server must notice a client that vanished.
    pub heartbeat: Duration,
}

impl Target {
    /// Opens a WebSocket as the clients will, and closes it.
    ///
    /// # Errors
    /// What was tried and how it failed.
    pub fn reach(&self) -> Result<(), ConnectError> {
        let runtime = runtime().map_err(ConnectError::Machine)?;
        let opened = runtime.block_on(async { timeout(REACH_PATIENCE, self.open()).await });
        opened.unwrap_or(Err(ConnectError::Silence(REACH_PATIENCE)))
    }

    async fn open(&self) -> Result<(), ConnectError> {
        let stream = self.upstream.connect().await?;
        let spoken = self.protocol.spoken();
        let path = client::path(spoken, Role::default(), &"reach".into(), &self.endpoint);
        let mut request = self.endpoint.request(&path);
        if let Some(subprotocol) = &spoken.file.file.connection.subprotocol {
            request = request.with_sub_protocol(subprotocol.as_str());
        }
        let opened = tokio_tungstenite::client_async(request, stream).await;
        let (mut socket, _) = opened.map_err(|error| ConnectError::Upgrade(error.into()))?;
        // The connection worked. Whether the server accepts such an early close does not matter.
        let _ = socket.close(None).await;
        Ok(())
    }
}

/// Runs a script to its end and judges it.
///
/// # Errors
/// This machine has no more sockets, the browser does not work, or a client panicked. The server is not the reason.
pub fn run(script: &Script, target: &Target, seed: u64) -> Result<Outcome, Crash> {
    let played =
        runtime().map_err(StageError::from).and_then(|runtime| runtime.block_on(play(script, target.clone(), seed)));
    let mut record = played.map_err(|error| Crash { seed, message: error.to_string(), cause: error.cause() })?;
    quantize(&mut record);
    // Oracles judge by the heartbeat of the target, not by that of the scenario.
    let mut scenario = Scenario::clone(&script.scenario);
    scenario.server.heartbeat = target.heartbeat;
    let (violations, probes) = oracle::judge_live(&scenario, &record);
    let hash = event_hash(&record);
    Ok(Outcome { scenario: scenario.into(), seed, record, hash, violations, probes })
}

/// Gives all events of a group the same time, a whole millisecond as in a simulation, so that the timeline reads the
/// same.
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

async fn play(script: &Script, target: Target, seed: u64) -> Result<Record, StageError> {
    let scenario = script.scenario.clone();
    let dialects = Dialects::of(&scenario).expect("the protocol has been read");
    let ground = Live::new(script, target, seed).await?;
    let recorder = ground.recorder().clone();
    stage::play(ground, scenario, dialects, seed).await?;
    Ok(recorder.take())
}
