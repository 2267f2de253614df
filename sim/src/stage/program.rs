//! The program that an actor runs.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use scenarios::Actor;
use server::net::Network;
use tokio::sync::{mpsc, oneshot};

use super::StageError;
use crate::capture::KeyLog;
use crate::event::{MachineEvent, NodeId, Recorder, What};
use crate::peer::client::{self, Command};
use crate::peer::endpoint::Endpoint;

/// What the program of an actor receives at its start.
pub(crate) struct ProgramConfig {
    /// The actor that it plays.
    pub(crate) actor: Actor,
    pub(crate) servers: Servers,
    /// Where it records what it does and sees; `node` is its own node.
    pub(crate) recorder: Recorder,
    pub(crate) node: NodeId,
    /// Determines its random numbers.
    pub(crate) seed: u64,
}

/// How a program reaches the servers.
pub(crate) struct Servers {
    /// The address at which it dials the signaling server.
    pub(crate) signaling: SocketAddr,
    /// Host, path and headers of its requests; `None` means `signaling` with the dialect's own path.
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    /// The STUN server, if there is one.
    pub(crate) stun: Option<SocketAddr>,
    /// The interval between the signaling server's pings.
    pub(crate) heartbeat: Duration,
    /// The log for the secrets of DTLS sessions, if they are kept.
    pub(crate) keys: Option<KeyLog>,
}

/// The program of an actor, from its start until it has left. It records what it does and sees.
///
/// It ends when it is ordered to leave, when it is dropped, or when its machine loses power.
pub(crate) trait Program {
    /// Passes a command to the program. It has no effect after the program has ended.
    fn command(&mut self, command: Command);

    /// Whether it has ended.
    fn has_ended(&self) -> bool;

    /// Waits until it has ended. Must be called only once.
    ///
    /// # Errors
    /// The program failed.
    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Result<(), StageError>> + '_>>;
}

/// The client of this crate, run as a task of this process.
pub(crate) struct InProcess {
    name: String,
    commands: mpsc::UnboundedSender<Command>,
    ended: oneshot::Receiver<std::io::Result<()>>,
}

impl InProcess {
    /// Starts the client on the network `net`.
    pub(crate) fn start<N: Network>(net: &N, config: ProgramConfig) -> Self {
        let ProgramConfig { actor, servers, recorder, node, seed } = config;
        let config = client::Config {
            name: actor.name.as_str().into(),
            plays: actor.plays,
            over: actor.over,
            room: actor.room.as_str().into(),
            server: servers.signaling,
            endpoint: servers.endpoint,
            stun: servers.stun,
            heartbeat: servers.heartbeat,
            webrtc: actor.webrtc,
            keys: servers.keys,
            seed,
        };
        let (commands, receiver) = mpsc::unbounded_channel();
        let (report, ended) = oneshot::channel();
        let task_net = net.clone();
        net.spawn(async move {
            let result = client::run(task_net, config, recorder.clone(), node, receiver).await;
            recorder.write(node, What::Machine(MachineEvent::Ended));
            // The receiver may be gone: after the end of the scenario the result is not needed.
            let _ = report.send(result);
        });
        Self { name: actor.name, commands, ended }
    }
}

impl Program for InProcess {
    fn command(&mut self, command: Command) {
        let _ = self.commands.send(command);
    }

    fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }

    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Result<(), StageError>> + '_>> {
        Box::pin(async move {
            match (&mut self.ended).await {
                Ok(result) => result.map_err(|error| StageError::Client { actor: self.name.clone(), error }),
                Err(_) => Err(StageError::ClientPanicked { actor: self.name.clone() }),
            }
        })
    }
}
