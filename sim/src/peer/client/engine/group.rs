//! Clients that have neither ids nor roles: each hears what the others in its room send. Which of them offers, the
//! scenario says.

use dialect::file::JoinBy;
use dialect::{EventName, Operation, Reading};

use super::Engine;
use crate::event::{Message, PeerName};
use crate::peer::client::codec::Args;
use crate::peer::client::cx::ClientCx;
use crate::peer::client::speaker::Speaker;

/// A client in a group without names.
pub(super) struct Client {
    speaker: Speaker,
    /// The name that the negotiation uses for the other side.
    other: PeerName,
}

impl Client {
    pub(super) fn new(speaker: Speaker) -> Self {
        Self { speaker, other: PeerName::Other }
    }
}

impl Engine for Client {
    fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    fn speaker_mut(&mut self) -> &mut Speaker {
        &mut self.speaker
    }

    fn join(&mut self, cx: &mut ClientCx) {
        if self.speaker.codec.file().join.by == JoinBy::Message {
            let message = Message::Join { room: cx.room() };
            self.speaker.send(Operation::Join, &Args::default(), message, cx);
        }
        cx.set_signaling(true);
    }

    fn on_lost(&mut self, _is_over: bool, _cx: &mut ClientCx) {
        self.speaker.lost();
    }

    fn on_message(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        match reading.event() {
            EventName::Signal => {
                let message = self.speaker.codec.signal_in(reading).unwrap_or(Message::Unknown);
                cx.received(&message);
                let Message::Signal { kind, payload, .. } = message else { return };
                if !self.speaker.is_echo(&payload) {
                    self.speaker.take_signal(&self.other, kind, &payload, cx);
                }
            }
            EventName::Error => cx.received(&self.speaker.codec.error_in(reading)),
            _ => {}
        }
    }

    fn known_as(&self, _name: &str, _cx: &ClientCx) -> Vec<PeerName> {
        vec![self.other.clone()]
    }
}
