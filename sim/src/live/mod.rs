//! A scenario on real sockets and in real time, against any server at a URL.
//!
//! The clients are those of the simulator, on this machine's loopback interface; before the server stands a [`proxy`] for each, which does
//! what the simulated network does there. One thread runs all of a scenario, so the record has one order. **What only the server or a
//! simulated network knows is not judged here**: [`oracle::judge_live`].

mod network;
mod proxy;
mod script;
mod upstream;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use scenarios::{Action, ActorIndex, Machine, Scenario};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::event::{Fault, MachineEvent, NodeId, NodeKind, Record, Recorder, What};
use crate::hash::event_hash;
use crate::oracle;
use crate::orders::{Order, order, programme};
use crate::peer::client::{self, Command};
pub use crate::peer::endpoint::Endpoint;
use crate::run::{Crash, Outcome};
use network::Loopback;
use proxy::{Proxy, Way};
pub use script::{Script, Speech, Unplayable};
pub use upstream::Upstream;

/// How long clients may take to leave.
const TEAR_DOWN_PATIENCE: Duration = Duration::from_secs(3);
/// Two events further apart do not happen in one go …
const PAUSE: Duration = Duration::from_millis(1);
/// … nor does anything so long after the first.
const GO_MAX: Duration = Duration::from_millis(5);
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
    pub speech: Speech,
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
        let request = self.endpoint.request(&client::path(self.speech.role(), self.speech.over, "reach"));
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
    in_one_go(&mut record);
    // What the oracles know of the server is what was said of it.
    let mut scenario = Scenario::clone(&script.scenario);
    scenario.server.heartbeat = target.heartbeat;
    let (violations, probes) = oracle::judge_live(&scenario, &record);
    let hash = event_hash(&record);
    Ok(Outcome { scenario: scenario.into(), seed, record, hash, violations, probes })
}

/// Gives what happens in one go one time, a whole millisecond, as it has in a simulation: the story reads so, too.
fn in_one_go(record: &mut Record) {
    let (mut go, mut last) = (Duration::ZERO, Duration::ZERO);
    for event in &mut record.events {
        if event.at - last > PAUSE || event.at - go > GO_MAX {
            go = Duration::from_millis(u64::try_from(event.at.as_millis()).unwrap_or(u64::MAX));
        }
        last = event.at;
        event.at = go;
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn play(scenario: Arc<Scenario>, target: Target, seed: u64) -> Result<Record, String> {
    let start = Instant::now();
    let mut stage = Stage::set(scenario, target, seed, start).await.map_err(|error| error.to_string())?;
    for (at, action) in programme(&stage.scenario) {
        sleep_until(start + at).await;
        stage.act(&action).await?;
    }
    sleep_until(start + stage.scenario.duration).await;
    stage.tear_down().await?;
    Ok(stage.recorder.take())
}

struct Stage {
    scenario: Arc<Scenario>,
    target: Target,
    seed: u64,
    recorder: Recorder,
    everything: NodeId,
    server: NodeId,
    actors: Vec<Seat>,
}

/// An actor, its proxy, and the client that runs, if one does.
struct Seat {
    node: NodeId,
    proxy: Proxy,
    has_power: bool,
    client: Option<(mpsc::UnboundedSender<Command>, JoinHandle<io::Result<()>>)>,
}

impl Stage {
    async fn set(scenario: Arc<Scenario>, target: Target, seed: u64, start: Instant) -> io::Result<Self> {
        let recorder = Recorder::new(start);
        let everything = recorder.node("world", NodeKind::World);
        let server = recorder.node("server", NodeKind::Machine(Machine::Server));
        let packets = Arc::new(AtomicU32::new(0));
        let mut actors = Vec::new();
        for (index, actor) in scenario.actors.iter().enumerate() {
            let node = recorder.node(&actor.name, NodeKind::Machine(Machine::Actor(index)));
            let (upstream, seed) = (target.upstream.clone(), seed.wrapping_add(index as u64));
            let proxy =
                Proxy::start(recorder.clone(), [node, server], upstream, actor.link, seed, packets.clone()).await?;
            actors.push(Seat { node, proxy, has_power: false, client: None });
        }
        // It was there before.
        recorder.write(server, What::Machine(MachineEvent::Booted));
        Ok(Self { scenario, target, seed, recorder, everything, server, actors })
    }

    async fn act(&mut self, action: &Action) -> Result<(), String> {
        if let Some(Order { actor, command, what }) = order(&self.scenario, action) {
            self.fault(self.actors[actor].node, Fault::Told { what: what.into() });
            self.command(actor, command);
            return Ok(());
        }
        match action {
            Action::Join(actor) => self.start_client(*actor).await?,
            Action::Drop(actor) => {
                self.fault(self.actors[*actor].node, Fault::SignalingDropped);
                self.command(*actor, Command::Drop);
            }
            Action::PowerLoss(Machine::Actor(actor)) => self.lose_power(*actor).await,
            Action::Boot(Machine::Actor(actor)) => {
                self.fault(self.actors[*actor].node, Fault::Boot);
                self.start_client(*actor).await?;
            }
            Action::Partition { from, to, one_way } => {
                let nodes = |side: &[Machine]| side.iter().map(|machine| self.node(*machine)).collect();
                let fault = Fault::Partition { from: nodes(from), to: nodes(to), one_way: *one_way };
                self.fault(self.everything, fault);
                self.part(from, to, Way::ToServer, Way::ToClient);
                if !one_way {
                    self.part(from, to, Way::ToClient, Way::ToServer);
                }
            }
            Action::Heal => {
                self.fault(self.everything, Fault::Heal);
                self.heal();
            }
            Action::Link(Machine::Actor(actor), link) => {
                self.fault(self.actors[*actor].node, Fault::Link);
                self.actors[*actor].proxy.set_link(*link);
            }
            other => unreachable!("no script has {other:?}"),
        }
        Ok(())
    }

    /// Runs an actor's client; nothing happens if it runs already.
    async fn start_client(&mut self, actor: ActorIndex) -> Result<(), String> {
        let (who, seat) = (&self.scenario.actors[actor], &mut self.actors[actor]);
        if seat.client.as_ref().is_some_and(|(commands, _)| !commands.is_closed()) {
            return Ok(());
        }
        if let Some((_, task)) = seat.client.take() {
            well(task.await, &who.name)?;
        }
        if !seat.has_power {
            seat.has_power = true;
            seat.proxy.power_on();
            self.recorder.write(seat.node, What::Machine(MachineEvent::Booted));
        }
        let config = client::Config {
            name: who.name.as_str().into(),
            plays: who.plays,
            over: who.over,
            room: who.room.as_str().into(),
            server: seat.proxy.address.into(),
            endpoint: Some(self.target.endpoint.clone()),
            stun: None,
            heartbeat: self.target.heartbeat,
            webrtc: who.webrtc,
            keys: None,
            seed: self.seed.rotate_left(32) ^ actor as u64,
        };
        let (commands, orders) = mpsc::unbounded_channel();
        let (recorder, node) = (self.recorder.clone(), seat.node);
        let task = tokio::spawn(async move {
            let ended = client::run(Loopback, config, recorder.clone(), node, orders).await;
            recorder.write(node, What::Machine(MachineEvent::Ended));
            ended
        });
        seat.client = Some((commands, task));
        Ok(())
    }

    /// A client's machine dies: its program ends, and the server hears nothing of it.
    async fn lose_power(&mut self, actor: ActorIndex) {
        let seat = &mut self.actors[actor];
        self.recorder.write(seat.node, What::Fault(Fault::PowerLoss));
        if std::mem::take(&mut seat.has_power) {
            self.recorder.write(seat.node, What::Machine(MachineEvent::PowerLost));
            seat.proxy.power_off();
        }
        if let Some((_, task)) = seat.client.take() {
            task.abort();
            // Its sockets close when it is gone, not before.
            let _ = task.await;
        }
    }

    /// Holds back what goes from actors to the server, or the other way.
    fn part(&self, from: &[Machine], to: &[Machine], there: Way, back: Way) {
        for (actors, server, way) in [(from, to, there), (to, from, back)] {
            if !server.contains(&Machine::Server) {
                continue;
            }
            for machine in actors {
                if let Machine::Actor(actor) = machine {
                    self.actors[*actor].proxy.hold(way, true);
                }
            }
        }
    }

    fn heal(&self) {
        for seat in &self.actors {
            seat.proxy.hold(Way::ToServer, false);
            seat.proxy.hold(Way::ToClient, false);
        }
    }

    fn command(&self, actor: ActorIndex, command: Command) {
        if let Some((commands, _)) = &self.actors[actor].client {
            // Nobody hears it where the client has ended by itself.
            let _ = commands.send(command);
        }
    }

    /// Lets everybody leave.
    async fn tear_down(&mut self) -> Result<(), String> {
        self.recorder.write(self.everything, What::TearDown);
        self.heal();
        let deadline = Instant::now() + TEAR_DOWN_PATIENCE;
        for actor in 0..self.actors.len() {
            self.command(actor, Command::Leave);
        }
        for (seat, who) in self.actors.iter_mut().zip(&self.scenario.actors) {
            let Some((_, mut task)) = seat.client.take() else { continue };
            match timeout_at(deadline, &mut task).await {
                Ok(ended) => well(ended, &who.name)?,
                // The server does not answer its farewell.
                Err(_) => task.abort(),
            }
        }
        // What they said last is still on its way.
        let longest = self.scenario.actors.iter().map(|actor| actor.link.latency + actor.link.jitter).max();
        sleep(longest.unwrap_or_default()).await;
        Ok(())
    }

    fn fault(&self, node: NodeId, fault: Fault) {
        self.recorder.write(node, What::Fault(fault));
    }

    fn node(&self, machine: Machine) -> NodeId {
        match machine {
            Machine::Server => self.server,
            Machine::Actor(actor) => self.actors[actor].node,
        }
    }
}

/// Whether a client's program ended as it should.
fn well(ended: Result<io::Result<()>, JoinError>, name: &str) -> Result<(), String> {
    match ended {
        Ok(ended) => ended.map_err(|error| format!("{name}'s client failed to run: {error}")),
        Err(error) => Err(format!("{name}'s client panicked: {error}")),
    }
}
