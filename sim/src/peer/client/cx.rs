//! The context of a dialect's client: its connections, its recorder, and its outgoing messages.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::Config;
use super::scripted::Script;
use super::step::NoEffect;
use super::streams::FromServer;
use crate::event::{
    ClientState, Closed, Message, NodeId, PeerChange, PeerEvent, PeerName, Recorder, RoomName, SignalKind, Signaling,
    TrackKind, What,
};
use crate::peer::agent::Agent;
use crate::peer::gather::IceServer;
use crate::peer::negotiation::{Negotiation, OutgoingSignal, Output};
use crate::peer::path::{Path, Transmit};

/// Where signals come from and go to.
pub(super) enum Media {
    WebRtc(Box<Agent>),
    /// A script, if only the signaling is simulated.
    Scripted(Script),
}

/// Something to send to the signaling server.
pub(super) enum Outgoing {
    /// A text, with its decoded message if it belongs to the dialect.
    Text(String, Option<Message>),
    /// What the text before it contains in addition.
    Part(Message),
}

pub(super) struct ClientCx {
    pub(super) config: Config,
    recorder: Recorder,
    node: NodeId,
    media: Media,
    /// Datagrams to send.
    pub(super) transmits: Vec<Transmit>,
    /// Messages to send to servers over TCP, and whether TLS is on it.
    pub(super) streams: Vec<(SocketAddr, bool, BytesMut)>,
    /// Signals that the dialect must encode and send.
    pub(super) signals: Vec<OutgoingSignal>,
    /// What to send. It is dropped while the signaling connection is not open.
    pub(super) outbox: Vec<Outgoing>,
    state: ClientState,
}

impl ClientCx {
    pub(super) fn new(config: Config, recorder: Recorder, node: NodeId, media: Media) -> Self {
        let state = config.spoken.descriptor.first_state;
        let (transmits, streams, signals, outbox) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { config, recorder, node, media, transmits, streams, signals, outbox, state }
    }

    /// The room that it is in, or wants to join.
    pub(super) fn room(&self) -> RoomName {
        self.config.room.clone()
    }

    /// The current time of this runtime, virtual or real.
    pub(super) fn now(&self) -> Instant {
        super::now()
    }

    // ---- the record

    pub(super) fn record(&self, event: Signaling) {
        self.recorder.write(self.node, What::Signaling(event));
    }

    /// Records something about WebRTC that concerns no peer.
    pub(super) fn record_peer(&self, change: PeerChange) {
        let event = PeerEvent { peer: PeerName::None, attempt: 0, change };
        self.recorder.write(self.node, What::Peer(event));
    }

    /// Records a message that arrived.
    pub(super) fn received(&self, message: &Message) {
        if let Message::Joined { id, .. } | Message::Admitted { id, .. } = message {
            self.config.directory.enter(&self.config.name, id);
        }
        self.record(Signaling::Received(message.clone()));
    }

    /// Records that the client's state changed.
    pub(super) fn enter(&mut self, state: ClientState) {
        if self.state != state {
            self.state = state;
            self.record(Signaling::State { state });
        }
    }

    // ---- what to send

    pub(super) fn send(&mut self, text: String, message: Message) {
        self.outbox.push(Outgoing::Text(text, Some(message)));
    }

    /// Notes that the text that was queued last contains this message too.
    pub(super) fn also_sends(&mut self, message: Message) {
        self.outbox.push(Outgoing::Part(message));
    }

    /// Sends a message without meaning for the scenario, such as a heartbeat.
    pub(super) fn send_framing(&mut self, text: String) {
        self.outbox.push(Outgoing::Text(text, None));
    }

    // ---- the connections

    pub(super) fn is_webrtc(&self) -> bool {
        matches!(self.media, Media::WebRtc(_))
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.media {
            Media::WebRtc(agent) => agent.deadline(),
            Media::Scripted(_) => None,
        }
    }

    /// Handles the deadlines that have passed.
    pub(super) fn on_time(&mut self) {
        self.agent(Agent::on_time);
    }

    /// Handles a datagram that arrived.
    pub(super) fn on_datagram(&mut self, path: Path, datagram: &[u8]) {
        self.agent(|agent, now| agent.on_datagram(path, datagram, now));
    }

    /// Handles what comes from a server over TCP.
    pub(super) fn on_stream(&mut self, server: SocketAddr, from: &FromServer) {
        self.agent(|agent, now| match from {
            FromServer::Message(message) => agent.on_stream(server, message, now),
            FromServer::Ended => agent.on_stream_end(server),
        });
    }

    /// Notes that the client has other sockets, and other servers.
    pub(super) fn moved(&mut self, servers: Vec<IceServer>, bases: &[SocketAddr]) {
        self.agent(|agent, now| agent.moved(servers, bases, now));
    }

    /// Handles what the connections have sent and reported by themselves.
    pub(super) fn on_stacks(&mut self) {
        self.webrtc(Negotiation::on_stacks);
    }

    /// Whether there is a connection to a peer, finished or not.
    pub(super) fn is_connecting(&self, peer: &PeerName) -> bool {
        match &self.media {
            Media::WebRtc(agent) => agent.negotiation.has_connection(peer),
            Media::Scripted(_) => false,
        }
    }

    /// Notes whether signals can be sent.
    pub(super) fn set_signaling(&mut self, up: bool) {
        self.webrtc(|connections, _| connections.set_signaling(up));
    }

    /// Opens a connection to a peer by sending an offer.
    pub(super) fn offer(&mut self, peer: &PeerName) {
        match &mut self.media {
            Media::WebRtc(_) => self.webrtc(|connections, now| connections.offer(peer, now)),
            Media::Scripted(script) => self.signals.extend(script.offer(peer)),
        }
    }

    /// Opens a connection by an offer to nobody in particular. `open` stands for the peer until it is known.
    pub(super) fn offer_openly(&mut self, open: &PeerName) {
        match &mut self.media {
            Media::WebRtc(_) => self.webrtc(|connections, now| connections.offer_openly(open, now)),
            Media::Scripted(script) => self.signals.extend(script.offer(open)),
        }
    }

    /// A peer has answered an open offer. Returns whether the answer is to be taken.
    pub(super) fn adopt(&mut self, open: &PeerName, peer: &PeerName, answer: &str) -> bool {
        let mut adopted = !self.is_webrtc();
        self.webrtc(|connections, now| adopted = connections.adopt(open, peer, answer, now));
        adopted
    }

    /// Whether a description comes from another life of a peer than the connection to it.
    pub(super) fn is_of_other_life(&mut self, peer: &PeerName, description: &str) -> bool {
        let mut is_other = false;
        self.webrtc(|connections, _| is_other = connections.is_of_other_life(peer, description));
        is_other
    }

    /// Sends a text to every peer with an open data channel.
    pub(super) fn say(&mut self, text: &str) -> Result<(), NoEffect> {
        self.command(|connections, now| connections.say(text, now))
    }

    /// Restarts ICE with a peer.
    pub(super) fn restart_ice(&mut self, peer: &PeerName) -> Result<(), NoEffect> {
        self.command(|connections, now| connections.command_ice_restart(peer, now))
    }

    /// Sends a new offer on the connection to a peer, or opens a connection.
    pub(super) fn renegotiate(&mut self, peer: &PeerName) -> Result<(), NoEffect> {
        self.command(|connections, now| connections.renegotiate(peer, now))
    }

    /// Turns a track on or off.
    pub(super) fn switch_track(&mut self, kind: TrackKind, on: bool) -> Result<(), NoEffect> {
        self.command(|connections, _| connections.switch_track(kind, on))
    }

    /// Sends another track to every peer.
    pub(super) fn add_track(&mut self, kind: TrackKind) -> Result<(), NoEffect> {
        self.command(|connections, now| connections.add_track(kind, now))
    }

    /// Handles a signal that arrived.
    pub(super) fn on_signal(&mut self, from: &PeerName, kind: SignalKind, payload: &str) {
        match &mut self.media {
            Media::WebRtc(_) => self.webrtc(|connections, now| connections.on_signal(from, kind, payload, now)),
            Media::Scripted(script) => self.signals.extend(script.answer(from, kind)),
        }
    }

    /// Hangs up on a peer.
    pub(super) fn hangup(&mut self, peer: &PeerName) -> Result<(), NoEffect> {
        self.command(|connections, now| connections.hangup(peer, now))
    }

    /// Ends all connections.
    pub(super) fn close_all(&mut self, why: Closed) {
        self.webrtc(|connections, now| connections.close_all(why, now));
    }

    /// Deletes what the client has at TURN servers.
    pub(super) fn release(&mut self) {
        self.agent(Agent::release);
    }

    /// Ends the connection to a peer, and forgets its number of attempts and failures.
    pub(super) fn end(&mut self, peer: &PeerName, why: Closed) {
        self.webrtc(|connections, now| connections.end(peer, why, now));
    }

    /// Calls `act` with the WebRTC connections, if the client makes any.
    fn webrtc(&mut self, act: impl FnOnce(&mut Negotiation, Instant)) {
        self.agent(|agent, now| act(&mut agent.negotiation, now));
    }

    /// Calls `act` with the WebRTC connections, for a command of the scenario.
    fn command(&mut self, act: impl FnOnce(&mut Negotiation, Instant) -> Result<(), NoEffect>) -> Result<(), NoEffect> {
        let mut outcome = Err("it makes no WebRTC connections");
        self.webrtc(|connections, now| outcome = act(connections, now));
        outcome
    }

    /// Calls `act`, and collects its outputs at once, so that events are recorded in the order in which they happen.
    fn agent(&mut self, act: impl FnOnce(&mut Agent, Instant)) {
        let now = self.now();
        let Media::WebRtc(agent) = &mut self.media else { return };
        act(agent, now);
        while let Some(output) = agent.poll_output(now) {
            match output {
                Output::Transmit(transmit) => self.transmits.push(transmit),
                Output::Stream { server, tls, message } => self.streams.push((server, tls, message)),
                Output::Signal(signal) => self.signals.push(signal),
                Output::Event(event) => self.recorder.write(self.node, What::Peer(event)),
            }
        }
    }
}
