//! A client that is a program of others, as its signaling messages show it: what it says and hears, in the terms of the
//! record.
//!
//! What arrives goes through the same [`engine`] that decides what Glare's own clients do. It records what the messages
//! mean; what it would answer itself is dropped.

use dialect::json::Json;
use dialect::{EventName, Operation};
use scenarios::{Framing, MediaKind};

use super::cx::{ClientCx, Media};
use super::engine::{self, Engine};
use super::layer::{self, LayerEvent};
use super::scripted::Script;
use super::{Config, codec};
use crate::event::{CallStep, Message, NodeId, PeerName, Recorder, SignalKind};

/// A signal between the program and a peer.
pub(crate) struct Signal {
    pub(crate) peer: PeerName,
    pub(crate) kind: SignalKind,
    /// The payload, as JSON.
    pub(crate) payload: String,
}

/// The signaling of a program.
pub(crate) struct Observed {
    engine: Box<dyn Engine>,
    over: Framing,
    cx: ClientCx,
    /// Peers that have left, according to the server.
    left: Vec<PeerName>,
}

impl Observed {
    /// A program that has not connected yet.
    pub(crate) fn new(config: Config, recorder: Recorder, node: NodeId) -> Self {
        let engine = engine::engine(&config, 0);
        let over = config.spoken.framing().unwrap_or_default();
        let script = Media::Scripted(Script::new(node, recorder.now()));
        Self { engine, over, cx: ClientCx::new(config, recorder, node, script), left: Vec::new() }
    }

    /// The WebSocket is open.
    pub(crate) fn opened(&mut self) {
        if layer::is_ready_when_open(self.over) {
            self.engine.on_connected(&mut self.cx);
            self.drop_answers();
        }
    }

    /// The WebSocket is closed.
    pub(crate) fn lost(&mut self) {
        self.engine.on_lost(false, &mut self.cx);
        self.drop_answers();
    }

    /// The meaning of a text that the program has sent, and the signal in it.
    pub(crate) fn sent(&mut self, text: &str) -> Option<(Message, Option<Signal>)> {
        let LayerEvent::Message(text) = layer::unwrap(self.over, text) else { return None };
        let json = Json::parse(&text)?;
        let spoken = self.cx.config.spoken.clone();
        let Some((operation, captures)) = spoken.file.find_sent(&json) else {
            // Whether a client may say what its dialect does not describe is for the server to judge.
            return None;
        };
        let room = self.cx.room();
        let peer = captures.text("to").filter(|to| *to != "null").map(|to| to.into_owned().into());
        let call = |step| peer.clone().map(|peer| Message::Call { peer, step });
        let message = match operation {
            Operation::Join | Operation::Open => Some(Message::Join { room }),
            Operation::Leave => Some(Message::Leave { room }),
            Operation::Call => call(CallStep::Ring),
            Operation::Accept => call(CallStep::Accept),
            Operation::Reject => call(CallStep::Reject),
            Operation::End => call(CallStep::End),
            Operation::Media => {
                let kind = captures
                    .text("media")
                    .map(|kind| if kind == "audio" { MediaKind::Audio } else { MediaKind::Video });
                let enabled = captures.get("enabled") == Some("true");
                kind.and_then(|kind| call(CallStep::Media { kind, enabled }))
            }
            Operation::Announce | Operation::Ping | Operation::Pong => None,
            _ => spoken.file.sent_kind(operation, &captures).map(|kind| Message::Signal {
                room,
                peer: peer.clone(),
                kind: codec::signal_kind(kind),
                payload: captures.get("data").unwrap_or("null").into(),
            }),
        }?;
        let signal = match (&message, peer) {
            (Message::Signal { kind, payload, .. }, Some(peer)) => {
                Some(Signal { peer: peer.into(), kind: *kind, payload: payload.to_string() })
            }
            _ => None,
        };
        Some((message, signal))
    }

    /// Records the meaning of a text that has arrived. Returns the signal in it.
    pub(crate) fn received(&mut self, text: &str) -> Option<Signal> {
        let signal = match layer::unwrap(self.over, text) {
            LayerEvent::Message(text) => {
                let signal = self.signal_in(&text);
                self.engine.on_text(&text, false, &mut self.cx);
                signal
            }
            LayerEvent::Report(text) => {
                self.engine.on_text(&text, true, &mut self.cx);
                None
            }
            LayerEvent::Connected(report) => {
                self.engine.on_connected(&mut self.cx);
                if let Some(text) = report {
                    self.engine.on_text(&text, true, &mut self.cx);
                }
                None
            }
            LayerEvent::Answer(_) | LayerEvent::Nothing => None,
        };
        self.drop_answers();
        signal
    }

    fn signal_in(&mut self, text: &str) -> Option<Signal> {
        let json = Json::parse(text)?;
        let spoken = self.cx.config.spoken.clone();
        let reading = spoken.file.find(&json).ok()?;
        let codec = &mut self.engine.speaker_mut().codec;
        if reading.event() == EventName::MemberLeft {
            self.left.extend(codec.id_in(&reading, "id").map(PeerName::from));
        }
        if reading.event() != EventName::Signal {
            return None;
        }
        let (to, own) = (codec.id_in(&reading, "to"), codec.own_id());
        let Message::Signal { peer, kind, payload, .. } = codec.signal_in(&reading)? else { return None };
        let is_for_another = to.is_some() && to != own;
        Some(Signal { peer: peer.filter(|_| !is_for_another)?.into(), kind, payload: payload.to_string() })
    }

    /// Takes the peers of which the server has said that they left.
    pub(crate) fn left(&mut self) -> Vec<PeerName> {
        std::mem::take(&mut self.left)
    }

    /// The ids of the peers with this name.
    pub(crate) fn known_as(&self, name: &str) -> Vec<PeerName> {
        self.engine.known_as(name, &self.cx)
    }

    fn drop_answers(&mut self) {
        self.cx.outbox.clear();
        self.cx.signals.clear();
    }
}
