//! The main loop of a client: it connects signaling, socket, clock, recorder and the scenario's commands.
//!
//! What the client says and does, its [`engine`] decides by the file of its dialect, sans-IO, with a [`ClientCx`].

mod backoff;
mod bundles;
mod carried;
mod codec;
mod config;
mod cx;
mod directory;
mod engine;
mod events;
mod layer;
pub(crate) mod meeting;
pub(crate) mod observed;
mod scripted;
mod signaling;
mod sockets;
mod speaker;
mod step;
mod streams;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dialect::Operation;
use scenarios::{Framing, IceTransportPolicy, MediaKind, Role, Timing, Tracks};
use server::net::Network;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::dialects::Spoken;
use crate::event::{Closed, NodeId, PeerChange, PeerName, Recorder, RoomName, Signaling};
use crate::peer::agent::Agent;
use crate::peer::endpoint::Endpoint;
use crate::peer::gather::{Gatherer, IceServer};
use crate::peer::negotiation::Negotiation;
use crate::peer::stack::{self, KeyLog, MediaSections, StackFactory};
use codec::Codec;
use cx::{ClientCx, Media, Outgoing};
pub use directory::Directory;
use engine::Engine;
use layer::LayerEvent;
use scripted::Script;
use signaling::{SignalingClient, SignalingEvent, Way};
pub use sockets::Families;
use sockets::Sockets;
use step::NoEffect;
pub use step::StepCommand;
use streams::Streams;

/// The settings of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its display name.
    pub name: Arc<str>,
    /// Its role in the signaling protocol.
    pub plays: Role,
    /// The dialect that it speaks.
    pub(crate) spoken: Arc<Spoken>,
    /// The room it joins.
    pub room: RoomName,
    /// The names of the others that may join that room.
    pub contacts: Vec<Arc<str>>,
    /// The ids of all clients of the run.
    pub directory: Directory,
    /// Which families of addresses its machine has.
    pub families: Families,
    /// The address of the signaling server, at the port of the role's dialect.
    pub server: SocketAddr,
    /// Host, path and headers of its requests; `None` means `server` with the path that the dialect documents.
    pub endpoint: Option<Arc<Endpoint>>,
    /// The STUN and TURN servers; without one there are only host candidates.
    pub(crate) ice_servers: Vec<IceServer>,
    /// Where it requests them instead, before it joins.
    pub config: Option<SocketAddr>,
    /// Which candidates it uses.
    pub ice_transport_policy: IceTransportPolicy,
    /// Interval between the server's WebSocket pings.
    pub heartbeat: Duration,
    /// Whether it makes real WebRTC connections; if not, a script stands in for them.
    pub webrtc: bool,
    /// The tracks that it sends.
    pub media: Option<Tracks>,
    /// The media sections of its connections.
    pub(crate) sections: MediaSections,
    /// The log for the secrets of its DTLS sessions, if they are kept.
    pub keys: Option<KeyLog>,
    /// Whether programs of others may be its peers, which expect more of candidates than Glare's own clients do.
    pub beside_programs: bool,
    /// When its connections send ICE checks.
    pub timing: Timing,
    /// The library of which its WebRTC connections are made.
    pub stack: scenarios::Stack,
    /// Determines the transaction ids of STUN and TURN.
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
    /// Send another track to every peer.
    AddTrack(MediaKind),
    /// Stand still until it is resumed.
    Suspend,
    /// Go on after it was suspended.
    Resume,
    /// Not a step for the client itself, but what its system tells it: the machine has other addresses.
    Moved(Box<Moved>),
}

/// What a client learns when its machine has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Which families of addresses the machine has now.
    pub families: Families,
    /// The address at which it dials the signaling server from there.
    pub signaling: SocketAddr,
    /// The STUN and TURN servers that it reaches from there.
    pub(crate) ice: Vec<IceServer>,
}

/// Runs a client until [`Command::Leave`] arrives, or until nothing more can arrive. Then it sends its last messages,
/// drops `commands`, and completes when its signaling connection is closed. `stacks` creates its WebRTC connections; without
/// it they are those of the stack in its settings.
///
/// # Errors
/// The UDP socket cannot be bound, or no certificate can be created.
pub(crate) async fn run<N: Network>(
    net: N,
    config: Config,
    stacks: Option<Box<dyn StackFactory>>,
    recorder: Recorder,
    node: NodeId,
    mut commands: mpsc::UnboundedReceiver<StepCommand>,
) -> io::Result<()> {
    let sockets = Sockets::bind(&net, config.families).await?;
    let changed = stacks.as_ref().and_then(|stacks| stacks.changed());
    let (acts_alone, changed) = (changed.is_some(), changed.unwrap_or_default());
    let media = if config.webrtc {
        Media::WebRtc(Box::new(agent(&config, stacks, &sockets.bases(), now() - recorder.now())?))
    } else {
        Media::Scripted(Script::new(node, recorder.now()))
    };
    let over = config.spoken.framing().expect("a dialect that no client can speak is refused before the run");
    let engine = engine::engine(&config, u64::try_from(recorder.now().as_micros()).unwrap_or(u64::MAX));
    let endpoint = config.endpoint.clone().unwrap_or_else(|| endpoint(config.server, &config.spoken).into());
    let mut request = endpoint.request(&layer::path(over, engine.speaker().codec.path(endpoint.base())));
    if let Some(subprotocol) = &config.spoken.file.file.connection.subprotocol {
        request = request.with_sub_protocol(subprotocol.as_str());
    }
    let streams = Streams::new(net.clone());
    let way = way(&config.spoken, &engine.speaker().codec, endpoint.base());
    let signaling =
        SignalingClient::new(net.clone(), config.server, request, way, config.heartbeat, recorder.clone(), node);
    let mut fetching = config.config.map(|server| config::fetch(net.clone(), server));
    let cx = ClientCx::new(config, recorder, node, media);
    let mut client = Client { sockets, streams, signaling, engine, over, fetched: Vec::new(), cx };
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
                match command.command() {
                    Command::Leave => {
                        command.done(Ok(()));
                        break;
                    }
                    Command::Moved(moved) => client.on_moved(&net, moved).await?,
                    Command::Suspend => {
                        command.done(Ok(()));
                        match suspended(&mut commands).await {
                            After::Resume(None) => {}
                            After::Resume(Some(moved)) => client.on_moved(&net, &moved).await?,
                            After::Leave => break,
                        }
                    }
                    order => {
                        let outcome = client.on_command(order);
                        command.done(outcome);
                    }
                }
            },
            (path, datagram) = client.sockets.receive() => client.cx.on_datagram(path, datagram),
            (server, from) = client.streams.next() => client.cx.on_stream(server, &from),
            found = config::next(&mut fetching), if fetching.is_some() => {
                fetching = None;
                client.on_config(found);
            }
            event = client.signaling.next(), if fetching.is_none() => client.on_signaling(event),
            () = changed.notified(), if acts_alone => client.cx.on_stacks(),
            () = &mut timer, if deadline.is_some() => client.on_time(),
        }
        client.send_texts();
    }
    client.leave().await;
    // The connections end when they have sent what is queued.
    let Client { streams, mut signaling, .. } = client;
    drop((streams, commands));
    signaling.closed().await;
    Ok(())
}

/// What ends the time for which a client is suspended.
enum After {
    /// It goes on, at most with what it has to know of its machine's last move.
    Resume(Option<Moved>),
    Leave,
}

/// Waits until a suspended client is resumed, or ordered to leave. Nothing else has an effect on it; its machine receives
/// what its sockets have room for.
async fn suspended(commands: &mut mpsc::UnboundedReceiver<StepCommand>) -> After {
    let mut last = None;
    while let Some(command) = commands.recv().await {
        match command.command() {
            Command::Resume => {
                command.done(Ok(()));
                return After::Resume(last);
            }
            Command::Leave => {
                command.done(Ok(()));
                return After::Leave;
            }
            Command::Moved(moved) => last = Some((**moved).clone()),
            _ => command.done(Err("it is suspended")),
        }
    }
    After::Leave
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

/// The WebRTC agent of a client with these sockets. The connections of `stacks` have sockets of their own.
fn agent(
    config: &Config,
    stacks: Option<Box<dyn StackFactory>>,
    bases: &[SocketAddr],
    epoch: Instant,
) -> io::Result<Agent> {
    let has_sockets = stacks.is_some();
    let Config { name, keys, timing, ice_transport_policy: policy, sections, .. } = config;
    let stacks = match stacks {
        Some(stacks) => stacks,
        None => stack::factory(config.stack, name, keys.as_ref(), *timing, *policy, sections.clone())?,
    };
    let mut negotiation = Negotiation::new(config.name.clone(), stacks, epoch);
    if config.beside_programs {
        negotiation.name_sections();
    }
    if meeting::Meeting::of(&config.spoken.file) == Some(meeting::Meeting::Offered) {
        negotiation.offers_openly_only();
    }
    if let Some(tracks) = &config.media {
        negotiation.send_tracks(tracks.clone());
    }
    let mut gatherer = Gatherer::new(config.ice_servers.clone(), config.ice_transport_policy, config.seed);
    if !has_sockets {
        gatherer.add_sockets(bases);
    }
    Ok(Agent::new(gatherer, negotiation, now()))
}

/// What carries the messages of a client to a server, whose URL has this path.
fn way(spoken: &Spoken, codec: &Codec, base: &str) -> Way {
    match codec.post_path(base) {
        Some(post) => Way::Events { post },
        None if spoken.file.file.connection.framing == dialect::file::Framing::WebSocketBinary => Way::Binary,
        None => Way::Text,
    }
}

/// The endpoint of a server at an address, with the path that the dialect documents.
fn endpoint(server: SocketAddr, spoken: &Spoken) -> Endpoint {
    let url = spoken.file.example();
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("/", |at| &after_scheme[at..]);
    Endpoint::at(server, path)
}

/// The path and query with which a client enters a room of the server at an endpoint.
pub(crate) fn path(spoken: &Arc<Spoken>, plays: Role, room: &RoomName, endpoint: &Endpoint) -> String {
    let over = spoken.framing().unwrap_or_default();
    layer::path(over, Codec::new(spoken.clone(), "reach", plays, room, 0).path(endpoint.base()))
}

/// The path and query with which the client of this name connects to a server, which serves the dialect at its
/// documented path.
pub(crate) fn path_of(spoken: &Arc<Spoken>, name: &str, plays: Role, room: &str, server: SocketAddr) -> String {
    let over = spoken.framing().unwrap_or_default();
    let endpoint = endpoint(server, spoken);
    layer::path(over, Codec::new(spoken.clone(), name, plays, &room.into(), 0).path(endpoint.base()))
}

struct Client<N: Network> {
    sockets: Sockets<N>,
    streams: Streams<N>,
    signaling: SignalingClient<N>,
    engine: Box<dyn Engine>,
    over: Framing,
    /// The ICE servers that it has requested.
    fetched: Vec<IceServer>,
    cx: ClientCx,
}

impl<N: Network> Client<N> {
    /// Sends the datagrams and signals that the connections have produced.
    async fn flush(&mut self) {
        for transmit in self.cx.transmits.drain(..) {
            self.sockets.send(&transmit).await;
        }
        for (server, tls, message) in self.cx.streams.drain(..) {
            self.streams.send(server, tls, message);
        }
        for signal in std::mem::take(&mut self.cx.signals) {
            self.engine.send_signal(signal, &mut self.cx);
        }
        self.send_texts();
    }

    /// Sends the messages that the engine has queued.
    fn send_texts(&mut self) {
        let texts = std::mem::take(&mut self.cx.outbox);
        if !self.signaling.is_open() {
            return;
        }
        for outgoing in texts {
            match outgoing {
                Outgoing::Text(text, message) => {
                    if let Some(message) = message {
                        self.cx.record(Signaling::Sent(message));
                    }
                    self.signaling.send(&layer::wrap(self.over, text));
                }
                Outgoing::Part(message) => self.cx.record(Signaling::Sent(message)),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.cx.deadline().into_iter().chain(self.engine.deadline()).min()
    }

    fn on_time(&mut self) {
        self.cx.on_time();
        if self.engine.deadline().is_some_and(|deadline| deadline <= now()) {
            self.engine.on_time(&mut self.cx);
        }
    }

    fn on_signaling(&mut self, event: SignalingEvent) {
        match event {
            SignalingEvent::Connected if layer::is_ready_when_open(self.over) => {
                self.engine.on_connected(&mut self.cx);
            }
            // The layer opens itself first, at the server's word.
            SignalingEvent::Connected => {}
            SignalingEvent::Lost => self.on_lost(),
            SignalingEvent::Text(text) => self.on_text(&text),
        }
    }

    fn on_text(&mut self, text: &str) {
        match layer::unwrap(self.over, text) {
            LayerEvent::Message(message) => self.engine.on_text(&message, false, &mut self.cx),
            LayerEvent::Report(message) => self.engine.on_text(&message, true, &mut self.cx),
            LayerEvent::Connected(report) => {
                self.engine.on_connected(&mut self.cx);
                if let Some(message) = report {
                    self.engine.on_text(&message, true, &mut self.cx);
                }
            }
            LayerEvent::Answer(text) => {
                if self.signaling.is_open() {
                    self.signaling.send(&text);
                }
            }
            LayerEvent::Nothing => {}
        }
    }

    fn on_lost(&mut self) {
        self.cx.set_signaling(false);
        self.engine.on_lost(self.signaling.is_over(), &mut self.cx);
    }

    /// Handles the answer to the request for ICE servers.
    fn on_config(&mut self, found: Result<Vec<IceServer>, Arc<str>>) {
        let change = match &found {
            Ok(servers) => {
                let relays = servers.iter().filter(|server| server.turn.is_some()).count();
                PeerChange::IceServers { servers: servers.len() as u16, relays: relays as u16 }
            }
            Err(why) => PeerChange::NoIceServers { why: why.clone() },
        };
        self.cx.record_peer(change);
        self.fetched = found.unwrap_or_default();
        self.cx.moved(self.usable(), &self.sockets.bases());
    }

    /// The requested servers that its machine can reach.
    fn usable(&self) -> Vec<IceServer> {
        let bases = self.sockets.bases();
        let has_family = |server: &&IceServer| bases.iter().any(|base| base.is_ipv4() == server.address.is_ipv4());
        self.fetched.iter().filter(has_family).cloned().collect()
    }

    /// Binds new sockets after a move, offers what is there as candidates, and dials the server anew.
    async fn on_moved(&mut self, net: &N, moved: &Moved) -> io::Result<()> {
        self.sockets = Sockets::bind(net, moved.families).await?;
        let ice = if self.cx.config.config.is_some() { self.usable() } else { moved.ice.clone() };
        self.cx.moved(ice, &self.sockets.bases());
        if self.signaling.moved(moved.signaling) {
            self.on_lost();
        }
        Ok(())
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
            Command::Resume => Err("it is not suspended"),
            Command::Media(kind, on) => self.switch(*kind, *on, command),
            Command::AddTrack(kind) => self.cx.add_track((*kind).into()),
            Command::Say(text) => self.cx.say(text),
            Command::IceRestart(name) => any(self.engine.known_as(name, &self.cx), |id| self.cx.restart_ice(id)),
            _ => self.engine.on_command(command, &mut self.cx),
        }
    }

    /// Turns a track on or off. If the dialect has a message for it, the other side is told, and it is no mistake if there
    /// is no such track: then the users only say so.
    fn switch(&mut self, kind: MediaKind, on: bool, command: &Command) -> Result<(), NoEffect> {
        if !self.engine.speaker().codec.speaks(Operation::Media) {
            return self.cx.switch_track(kind.into(), on);
        }
        self.engine.on_command(command, &mut self.cx)?;
        let _ = self.cx.switch_track(kind.into(), on);
        Ok(())
    }

    async fn leave(&mut self) {
        self.cx.close_all(Closed::Leaving);
        self.cx.release();
        self.flush().await;
        self.engine.leave(&mut self.cx);
        self.send_texts();
        self.signaling.close();
    }
}
