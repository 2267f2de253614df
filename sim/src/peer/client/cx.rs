//! What a dialect's client works with: its connections, its record, and a place for what it sends.

use std::sync::Arc;
use std::time::Instant;

use super::Config;
use super::scripted::Script;
use crate::event::{ClientState, Closed, Message, NodeId, Recorder, SignalKind, Signaling, What};
use crate::peer::agent::Agent;
use crate::peer::negotiation::{Negotiation, OutgoingSignal, Output};
use crate::peer::path::{Path, Transmit};

/// What signals come from and go to.
pub(super) enum Media {
    WebRtc(Box<Agent>),
    /// Only the signaling is played.
    Scripted(Script),
}

pub(super) struct ClientCx {
    pub(super) config: Config,
    recorder: Recorder,
    node: NodeId,
    media: Media,
    /// Datagrams to send.
    pub(super) transmits: Vec<Transmit>,
    /// Signals that the dialect is to put on the wire.
    pub(super) signals: Vec<OutgoingSignal>,
    /// Texts to send, each with its meaning if it is the dialect's. Dropped where the signaling is not open.
    pub(super) outbox: Vec<(String, Option<Message>)>,
    state: ClientState,
}

impl ClientCx {
    pub(super) fn new(config: Config, recorder: Recorder, node: NodeId, media: Media) -> Self {
        let state = if config.plays == scenarios::Role::User { ClientState::Idle } else { ClientState::Init };
        let (transmits, signals, outbox) = (Vec::new(), Vec::new(), Vec::new());
        Self { config, recorder, node, media, transmits, signals, outbox, state }
    }

    /// The room it is in, or wants to be in.
    pub(super) fn room(&self) -> Arc<str> {
        self.config.room.clone()
    }

    /// Virtual or real time, whichever this runtime has.
    pub(super) fn now(&self) -> Instant {
        super::now()
    }

    // ---- the record

    pub(super) fn record(&self, event: Signaling) {
        self.recorder.write(self.node, What::Signaling(event));
    }

    /// Records what a text that came means.
    pub(super) fn received(&self, message: &Message) {
        self.record(Signaling::Received(message.clone()));
    }

    /// Records that the client is in another state.
    pub(super) fn enter(&mut self, state: ClientState) {
        if self.state != state {
            self.state = state;
            self.record(Signaling::State { state });
        }
    }

    // ---- what to send

    pub(super) fn send(&mut self, text: String, message: Message) {
        self.outbox.push((text, Some(message)));
    }

    /// Sends what belongs to the framing alone.
    pub(super) fn send_framing(&mut self, text: String) {
        self.outbox.push((text, None));
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

    /// Time has passed.
    pub(super) fn on_time(&mut self) {
        self.agent(Agent::on_time);
    }

    /// A datagram came.
    pub(super) fn on_datagram(&mut self, path: Path, datagram: &[u8]) {
        self.agent(|agent, now| agent.on_datagram(path, datagram, now));
    }

    /// Signals can, or cannot, be sent.
    pub(super) fn set_signaling(&mut self, up: bool) {
        self.webrtc(|connections, _| connections.set_signaling(up));
    }

    /// Offers a connection to a peer.
    pub(super) fn offer(&mut self, peer: &Arc<str>) {
        match &mut self.media {
            Media::WebRtc(_) => self.webrtc(|connections, now| connections.offer(peer, now)),
            Media::Scripted(script) => self.signals.extend(script.offer(peer)),
        }
    }

    /// Sends a text to every peer with an open data channel.
    pub(super) fn say(&mut self, text: &str) {
        self.webrtc(|connections, now| connections.say(text, now));
    }

    /// Restarts ICE with a peer.
    pub(super) fn restart_ice(&mut self, peer: &Arc<str>) {
        self.webrtc(|connections, now| connections.restart_ice(peer, now));
    }

    /// Offers a change of the connection to a peer, or a connection.
    pub(super) fn renegotiate(&mut self, peer: &Arc<str>) {
        self.webrtc(|connections, now| connections.renegotiate(peer, now));
    }

    /// A signal came.
    pub(super) fn on_signal(&mut self, from: &Arc<str>, kind: SignalKind, payload: &str) {
        match &mut self.media {
            Media::WebRtc(_) => self.webrtc(|connections, now| connections.on_signal(from, kind, payload, now)),
            Media::Scripted(script) => self.signals.extend(script.answer(from, kind)),
        }
    }

    /// Hangs up on a peer.
    pub(super) fn hangup(&mut self, peer: &Arc<str>) {
        self.webrtc(|connections, now| connections.hangup(peer, now));
    }

    /// Ends all connections.
    pub(super) fn close_all(&mut self, why: Closed) {
        self.webrtc(|connections, now| connections.close_all(why, now));
    }

    /// Ends the connection to a peer, and forgets what was counted of it.
    pub(super) fn end(&mut self, peer: &Arc<str>, why: Closed) {
        self.webrtc(|connections, now| connections.end(peer, why, now));
    }

    /// Acts on the WebRTC connections, if there are any.
    fn webrtc(&mut self, act: impl FnOnce(&mut Negotiation, Instant)) {
        self.agent(|agent, now| act(&mut agent.negotiation, now));
    }

    /// Acts, and takes what comes of it at once: the record is in the order in which things happened.
    fn agent(&mut self, act: impl FnOnce(&mut Agent, Instant)) {
        let now = self.now();
        let Media::WebRtc(agent) = &mut self.media else { return };
        act(agent, now);
        while let Some(output) = agent.poll_output(now) {
            match output {
                Output::Transmit(transmit) => self.transmits.push(transmit),
                Output::Signal(signal) => self.signals.push(signal),
                Output::Event(event) => self.recorder.write(self.node, What::Peer(event)),
            }
        }
    }
}
