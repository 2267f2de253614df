//! The program that an actor runs.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{Actor, Timing};
use server::net::Network;
use tokio::sync::{mpsc, oneshot};

use super::StageError;
use crate::capture::KeyLog;
use crate::dialects::Spoken;
use crate::event::{MachineEvent, NodeId, Recorder, What};
use crate::peer::client::{self, Directory, Families, StepCommand};
use crate::peer::endpoint::Endpoint;
use crate::peer::gather::IceServer;
use crate::peer::stack::{MediaSections, StackFactory};

/// What the program of an actor receives at its start.
pub(crate) struct ProgramConfig {
    /// The actor that it plays.
    pub(crate) actor: Actor,
    /// The dialect that it speaks.
    pub(crate) spoken: Arc<Spoken>,
    /// The names of the other actors that may join its room.
    pub(crate) contacts: Vec<Arc<str>>,
    /// The ids of all clients of the run.
    pub(crate) directory: Directory,
    pub(crate) servers: Servers,
    /// Where it records what it does and sees; `node` is its own node.
    pub(crate) recorder: Recorder,
    pub(crate) node: NodeId,
    /// Whether other actors are programs that are not part of Glare.
    pub(crate) beside_programs: bool,
    /// The media sections of its connections.
    pub(crate) sections: MediaSections,
    /// When its connections send ICE checks.
    pub(crate) timing: Timing,
    /// Determines its random numbers.
    pub(crate) seed: u64,
}

impl ProgramConfig {
    /// The settings of a client of this crate.
    pub(crate) fn into_client(self) -> client::Config {
        let Self { actor, spoken, contacts, directory, servers, beside_programs, sections, timing, seed, .. } = self;
        client::Config {
            name: actor.name.as_str().into(),
            plays: actor.plays,
            spoken,
            room: actor.room.as_str().into(),
            contacts,
            directory,
            families: Families { ipv4: actor.ipv4, ipv6: actor.ipv6 },
            server: servers.signaling,
            endpoint: servers.endpoint,
            ice_servers: servers.ice,
            config: servers.config,
            ice_transport_policy: actor.ice_transport_policy,
            heartbeat: servers.heartbeat,
            webrtc: actor.webrtc,
            media: actor.media,
            sections,
            keys: servers.keys,
            beside_programs,
            timing,
            stack: actor.stack,
            seed,
        }
    }
}

/// How a program reaches the servers.
pub(crate) struct Servers {
    /// The address at which it dials the signaling server.
    pub(crate) signaling: SocketAddr,
    /// Host, path and headers of its requests; `None` means `signaling` with the dialect's own path.
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    /// The STUN and TURN servers.
    pub(crate) ice: Vec<IceServer>,
    /// Where it requests them instead.
    pub(crate) config: Option<SocketAddr>,
    /// The interval between the signaling server's pings.
    pub(crate) heartbeat: Duration,
    /// The log for the secrets of DTLS sessions, if they are kept.
    pub(crate) keys: Option<KeyLog>,
}

/// The program of an actor, from its start until it has left. It records what it does and sees.
///
/// It ends when it is ordered to leave, when it is dropped, or when its machine loses power. A program that leaves
/// sends its last messages, and ends when its connection is closed.
pub(crate) trait Program {
    /// Passes a command to the program. It has no effect if the program is leaving or has ended.
    fn command(&mut self, command: StepCommand);

    /// Waits until it has sent its last messages.
    fn left(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// Makes the record of a program that is leaving end here, as if it had ended. Its connection is still closed, but
    /// nobody observes that, as with a page that is replaced by another.
    fn detach(&self);

    /// Whether it has ended.
    fn has_ended(&mut self) -> bool;

    /// Waits until it has ended. Must be called only once.
    ///
    /// # Errors
    /// The program failed.
    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Result<(), StageError>> + '_>>;
}

/// The client of this crate, run as a task of this process.
pub(crate) struct InProcess {
    name: String,
    recorder: Recorder,
    node: NodeId,
    commands: mpsc::UnboundedSender<StepCommand>,
    ended: oneshot::Receiver<std::io::Result<()>>,
    /// The result, once it has been received.
    result: Option<Result<(), StageError>>,
}

impl InProcess {
    /// Starts the client on the network `net`. `stacks` creates its WebRTC connections; without it they are those of the
    /// actor's stack.
    pub(crate) fn start<N: Network>(net: &N, config: ProgramConfig, stacks: Option<Box<dyn StackFactory>>) -> Self {
        let (name, recorder, node) = (config.actor.name.clone(), config.recorder.closable(), config.node);
        let config = config.into_client();
        let (commands, receiver) = mpsc::unbounded_channel();
        let (report, ended) = oneshot::channel();
        let (task_net, task_recorder) = (net.clone(), recorder.clone());
        net.spawn(async move {
            let result = client::run(task_net, config, stacks, task_recorder.clone(), node, receiver).await;
            task_recorder.write(node, What::Machine(MachineEvent::Ended));
            // The receiver may be gone: after the end of the scenario the result is not needed.
            let _ = report.send(result);
        });
        Self { name, recorder, node, commands, ended, result: None }
    }

    fn read(&self, result: Option<std::io::Result<()>>) -> Result<(), StageError> {
        match result {
            Some(result) => result.map_err(|error| StageError::Client { actor: self.name.clone(), error }),
            None => Err(StageError::ClientPanicked { actor: self.name.clone() }),
        }
    }
}

impl Program for InProcess {
    fn command(&mut self, command: StepCommand) {
        // A command that cannot be sent is dropped, which records that it has no effect.
        let _ = self.commands.send(command);
    }

    fn left(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(self.commands.closed())
    }

    fn detach(&self) {
        self.recorder.write(self.node, What::Machine(MachineEvent::Ended));
        self.recorder.close();
    }

    fn has_ended(&mut self) -> bool {
        if self.result.is_none() {
            self.result = match self.ended.try_recv() {
                Ok(result) => Some(self.read(Some(result))),
                Err(oneshot::error::TryRecvError::Closed) => Some(self.read(None)),
                Err(oneshot::error::TryRecvError::Empty) => None,
            };
        }
        self.result.is_some()
    }

    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Result<(), StageError>> + '_>> {
        Box::pin(async move {
            match self.result.take() {
                Some(result) => result,
                None => {
                    let result = (&mut self.ended).await.ok();
                    self.read(result)
                }
            }
        })
    }
}
