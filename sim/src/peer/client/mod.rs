//! The main loop of a client: it connects signaling, socket, clock, recorder and the scenario's commands.
//!
//! Each signaling protocol is a [`Dialect`] in its own file, sans-IO, with a [`ClientCx`].

mod backoff;
mod broadcast;
mod call;
mod cx;
mod mesh;
mod relay;
mod scripted;
mod sender_viewer;
mod signaling;
mod socketio;
mod step;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scenarios::{Framing, MediaKind, Role};
use server::net::{Network, Udp};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::event::{Closed, NodeId, PeerName, Recorder, RoomName, Signaling};
use crate::peer::agent::Agent;
use crate::peer::endpoint::Endpoint;
use crate::peer::gather::Gatherer;
use crate::peer::negotiation::{Negotiation, OutgoingSignal};
use crate::peer::path::Path;
use crate::peer::stack::{KeyLog, RtcFactory};
use cx::{ClientCx, Media};
use scripted::Script;
use signaling::{SignalingClient, SignalingEvent};
use step::NoEffect;
pub use step::StepCommand;

/// Size of the largest datagram that is read, bytes.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// How long a client that was refused waits before it asks to join again. The protocols' documents leave this open.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The settings of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its display name.
    pub name: Arc<str>,
    /// Its role in the signaling protocol.
    pub plays: Role,
    /// How its messages are framed.
    pub over: Framing,
    /// The room it joins.
    pub room: RoomName,
    /// The address of the signaling server, at the port of the role's dialect.
    pub server: SocketAddr,
    /// Host, path and headers of its requests; `None` means `server` with the dialect's own path.
    pub endpoint: Option<Arc<Endpoint>>,
    /// The STUN server; without one there are only host candidates.
    pub stun: Option<SocketAddr>,
    /// Interval between the server's WebSocket pings.
    pub heartbeat: Duration,
    /// Whether it makes real WebRTC connections; if not, a script stands in for them.
    pub webrtc: bool,
    /// The log for the secrets of its DTLS sessions, if they are kept.
    pub keys: Option<KeyLog>,
    /// Determines the STUN transaction ids.
    pub seed: u64,
}

/// The actions that a scenario can order a client to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leave the room, close everything, and end.
    Leave,
    /// Cut the signaling connection.
    Drop,
    /// Send a text to all connected peers.
    Say(Arc<str>),
    /// Hang up on the peer with this name.
    Hangup(Arc<str>),
    /// Restart ICE with the peer with this name.
    IceRestart(Arc<str>),
    /// Send an offer to the peer with this name: for a new connection, or for a change of the existing one.
    Offer(Arc<str>),
    /// Call the user with this name.
    Call(Arc<str>),
    /// Accept the incoming call.
    Accept,
    /// Reject the incoming call.
    Reject,
    /// Turn the camera or the microphone on or off.
    Media(MediaKind, bool),
}

/// The client side of a signaling protocol.
trait Dialect: Send {
    /// The path and query of the endpoint.
    fn path(&self, room: &str) -> String;

    /// Handles a new signaling connection.
    fn on_connected(&mut self, cx: &mut ClientCx);

    /// Handles the loss of the signaling connection. If `is_over`, the client will not dial again.
    fn on_lost(&mut self, is_over: bool, cx: &mut ClientCx);

    /// Handles a text that arrived.
    fn on_text(&mut self, text: &str, cx: &mut ClientCx);

    /// Sends a signal of the WebRTC connections, or of the script that stands in for them.
    fn send_signal(&mut self, signal: OutgoingSignal, cx: &mut ClientCx);

    /// The ids of the peers with this name. A peer that vanished and came back may have two.
    fn known_as(&self, name: &str) -> Vec<PeerName>;

    /// Handles a command that not every dialect supports.
    ///
    /// # Errors
    /// The reason why the command has no effect.
    fn on_command(&mut self, command: &Command, cx: &mut ClientCx) -> Result<(), NoEffect> {
        match command {
            Command::Offer(name) => any(self.known_as(name), |id| cx.renegotiate(id)),
            _ => Err("its role cannot do that"),
        }
    }

    /// When to call [`on_time`](Self::on_time) next.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Handles the deadlines that have passed.
    fn on_time(&mut self, _cx: &mut ClientCx) {}

    /// Sends the last messages before the client leaves and the signaling connection is closed.
    fn leave(&mut self, _cx: &mut ClientCx) {}
}

/// Runs a client until [`Command::Leave`] arrives, or until nothing more can arrive. Then it sends its last messages,
/// drops `commands`, and completes when its signaling connection is closed.
///
/// # Errors
/// The UDP socket cannot be bound, or no certificate can be created.
pub async fn run<N: Network>(
    net: N,
    config: Config,
    recorder: Recorder,
    node: NodeId,
    mut commands: mpsc::UnboundedReceiver<StepCommand>,
) -> io::Result<()> {
    let udp = net.bind_udp("0.0.0.0:0".parse().expect("an address")).await?;
    let base = udp.local_addr()?;
    let media = if config.webrtc {
        Media::WebRtc(Box::new(agent(&config, base, now() - recorder.now())?))
    } else {
        Media::Scripted(Script::new(node, recorder.now()))
    };
    let dialect = dialect(config.plays, config.over);
    let path = dialect.path(&config.room);
    let endpoint = config.endpoint.clone().unwrap_or_else(|| Endpoint::at(config.server, &path).into());
    let request = endpoint.request(&path);
    let signaling = SignalingClient::new(net, config.server, request, config.heartbeat, recorder.clone(), node);
    let cx = ClientCx::new(config, recorder, node, media);
    let mut client = Client { udp, signaling, dialect, cx };
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
    loop {
        client.flush().await;
        let deadline = client.deadline().map(tokio::time::Instant::from_std);
        if let Some(deadline) = deadline
            && deadline != timer.deadline()
        {
            timer.as_mut().reset(deadline);
        }
        tokio::select! { biased;
            command = commands.recv() => {
                let Some(command) = command else { break };
                if *command.command() == Command::Leave {
                    command.done(Ok(()));
                    break;
                }
                let outcome = client.on_command(command.command());
                command.done(outcome);
            },
            received = client.udp.recv_from(&mut datagram) => if let Ok((length, remote)) = received {
                client.cx.on_datagram(Path { remote, base }, &datagram[..length]);
            },
            event = client.signaling.next() => client.on_signaling(event),
            () = &mut timer, if deadline.is_some() => client.on_time(),
        }
        client.send_texts();
    }
    client.leave().await;
    drop(commands);
    client.signaling.closed().await;
    Ok(())
}

/// Calls `act` for each of a client's ids, and succeeds if one call does.
fn any(ids: Vec<PeerName>, mut act: impl FnMut(&PeerName) -> Result<(), NoEffect>) -> Result<(), NoEffect> {
    let outcomes: Vec<_> = ids.iter().map(&mut act).collect();
    let failed = outcomes.iter().copied().find_map(Result::err).unwrap_or("it knows no such client");
    if outcomes.iter().any(Result::is_ok) { Ok(()) } else { Err(failed) }
}

/// The current time of this runtime, virtual or real, in the type that the WebRTC stack uses.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The WebRTC agent of a client with one socket.
fn agent(config: &Config, base: SocketAddr, epoch: Instant) -> io::Result<Agent> {
    let stacks = RtcFactory::new(&config.name, config.keys.as_ref()).map_err(io::Error::other)?;
    let negotiation = Negotiation::new(config.name.clone(), Box::new(stacks), epoch);
    let mut gatherer = Gatherer::new(config.stun, config.seed);
    gatherer.add_socket(base);
    Ok(Agent::new(gatherer, negotiation, now()))
}

/// The protocol of a role in a framing.
fn dialect(plays: Role, over: Framing) -> Box<dyn Dialect> {
    let dialect: Box<dyn Dialect> = match plays {
        Role::Mesh => Box::new(mesh::Mesh::default()),
        Role::Sender | Role::Viewer => Box::new(sender_viewer::SenderViewer::new(plays)),
        Role::User => Box::new(call::User::new()),
        Role::Relay => Box::new(relay::Relay::default()),
        Role::Broadcast => Box::new(broadcast::Broadcast::default()),
    };
    match over {
        Framing::WebSocket => dialect,
        Framing::SocketIo => Box::new(socketio::SocketIo::new(dialect)),
    }
}

/// The path and query with which a role enters a room, according to the dialect's documents.
pub(crate) fn path(plays: Role, over: Framing, room: &str) -> String {
    dialect(plays, over).path(room)
}

struct Client<N: Network> {
    udp: N::Udp,
    signaling: SignalingClient<N>,
    dialect: Box<dyn Dialect>,
    cx: ClientCx,
}

impl<N: Network> Client<N> {
    /// Sends the datagrams and signals that the connections have produced.
    async fn flush(&mut self) {
        for transmit in self.cx.transmits.drain(..) {
            // A full or unreachable network loses datagrams. The stack is designed for that, so errors are ignored.
            let _ = self.udp.send_to(&transmit.bytes, transmit.path.remote).await;
        }
        for signal in std::mem::take(&mut self.cx.signals) {
            self.dialect.send_signal(signal, &mut self.cx);
        }
        self.send_texts();
    }

    /// Sends the texts that the dialect has queued.
    fn send_texts(&mut self) {
        let texts = std::mem::take(&mut self.cx.outbox);
        for (text, message) in texts {
            if self.signaling.is_open() {
                if let Some(message) = message {
                    self.cx.record(Signaling::Sent(message));
                }
                self.signaling.send(&text);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.cx.deadline().into_iter().chain(self.dialect.deadline()).min()
    }

    fn on_time(&mut self) {
        self.cx.on_time();
        if self.dialect.deadline().is_some_and(|deadline| deadline <= now()) {
            self.dialect.on_time(&mut self.cx);
        }
    }

    fn on_signaling(&mut self, event: SignalingEvent) {
        match event {
            SignalingEvent::Connected => self.dialect.on_connected(&mut self.cx),
            SignalingEvent::Lost => self.on_lost(),
            SignalingEvent::Text(text) => self.dialect.on_text(&text, &mut self.cx),
        }
    }

    fn on_lost(&mut self) {
        self.cx.set_signaling(false);
        self.dialect.on_lost(self.signaling.is_over(), &mut self.cx);
    }

    fn on_command(&mut self, command: &Command) -> Result<(), NoEffect> {
        match command {
            Command::Drop => {
                if !self.signaling.tear() {
                    return Err("its signaling connection is not open");
                }
                self.on_lost();
                Ok(())
            }
            Command::Say(text) => self.cx.say(text),
            Command::IceRestart(name) => any(self.dialect.known_as(name), |id| self.cx.restart_ice(id)),
            _ => self.dialect.on_command(command, &mut self.cx),
        }
    }

    async fn leave(&mut self) {
        self.cx.close_all(Closed::Leaving);
        self.flush().await;
        self.dialect.leave(&mut self.cx);
        self.send_texts();
        self.signaling.close();
    }
}
