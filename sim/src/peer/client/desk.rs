//! What a dialect's client has at hand: its connections, its record, and a place for what it has to say.

use std::sync::Arc;

use crate::event::{ClientState, Message, NodeId, Recorder, Signaling, What};
use crate::peer::client::Config;
use crate::peer::negotiation::Negotiation;
use crate::peer::scripted::Script;

pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) recorder: Recorder,
    pub(super) node: NodeId,
    /// Its WebRTC connections; `None` where only the signaling is played.
    pub(super) media: Option<Negotiation>,
    /// What it says in their stead.
    pub(super) script: Script,
    /// Texts to send, each with its meaning if it is the dialect's. Dropped where the signaling is not open.
    pub(super) outbox: Vec<(String, Option<Message>)>,
    state: ClientState,
}

impl Desk {
    pub(super) fn new(config: Config, recorder: Recorder, node: NodeId, media: Option<Negotiation>) -> Self {
        let state = if config.plays == scenarios::Role::User { ClientState::Idle } else { ClientState::Init };
        let script = Script::new(node, recorder.now());
        Self { config, recorder, node, media, script, outbox: Vec::new(), state }
    }

    /// The room it is in, or wants to be in.
    pub(super) fn room(&self) -> Arc<str> {
        self.config.room.clone()
    }

    pub(super) fn say(&mut self, text: String, message: Message) {
        self.outbox.push((text, Some(message)));
    }

    /// Says what belongs to the framing alone.
    pub(super) fn say_framing(&mut self, text: String) {
        self.outbox.push((text, None));
    }

    /// Records what a text that came means.
    pub(super) fn received(&self, message: &Message) {
        self.recorder.write(self.node, What::Signaling(Signaling::Received(message.clone())));
    }

    /// Records that the client is in another state.
    pub(super) fn enter(&mut self, state: ClientState) {
        if self.state != state {
            self.state = state;
            self.recorder.write(self.node, What::Signaling(Signaling::State { state }));
        }
    }
}

/// Text in a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("every string has a JSON form")
}
