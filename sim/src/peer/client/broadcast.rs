//! The client side of the `broadcast` dialect: every client receives every offer and every answer, including its own,
//! and nothing else.
//!
//! The dialect has no message for candidates, so a description carries them. It is held back until they are gathered,
//! as in implementations that do not trickle (RFC 8838 §3).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Message, PeerName, RoomName, SignalKind};
use crate::peer::client::Dialect;
use crate::peer::client::cx::ClientCx;
use crate::peer::client::wire::{self, Envelope};
use crate::peer::negotiation::OutgoingSignal;

/// How long a description waits for its candidates: enough for a response of the STUN server over a slow path.
const GATHERING: Duration = Duration::from_millis(500);

/// A client in a group without ids.
pub(super) struct Broadcast {
    /// The name that the negotiation uses for the other side.
    other: PeerName,
    /// The description that is held back, its candidates, and until when it waits.
    gathering: Option<(OutgoingSignal, Vec<Arc<str>>, Instant)>,
    /// Payloads that it has sent and not yet received back.
    echoes: VecDeque<Arc<str>>,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self { other: PeerName::Other, gathering: None, echoes: VecDeque::new() }
    }
}

/// The payload of a message: `{"description":…,"candidates":[…]}`, where each part is what a trickling dialect would
/// send by itself.
#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow)]
    description: &'a RawValue,
    #[serde(borrow)]
    candidates: Vec<&'a RawValue>,
}

impl Broadcast {
    /// Sends the description that was held back.
    fn send(&mut self, cx: &mut ClientCx) {
        let Some((OutgoingSignal { kind, payload, .. }, candidates, _)) = self.gathering.take() else { return };
        let payload: Arc<str> =
            format!(r#"{{"description":{payload},"candidates":[{}]}}"#, candidates.join(",")).into();
        let event = if kind == SignalKind::Offer { "send-offer" } else { "send-answer" };
        self.echoes.push_back(payload.clone());
        let text = format!(r#"{{"type":"{event}","data":{payload}}}"#);
        cx.send(text, Message::Signal { room: cx.room(), peer: None, kind, payload });
    }

    fn on_bundle(&mut self, kind: SignalKind, payload: &str, cx: &mut ClientCx) {
        let Ok(Bundle { description, candidates }) = serde_json::from_str(payload) else { return };
        cx.on_signal(&self.other, kind, description.get());
        for candidate in candidates {
            cx.on_signal(&self.other, SignalKind::IceCandidate, candidate.get());
        }
    }
}

impl Dialect for Broadcast {
    fn path(&self, _room: &str) -> String {
        "/".to_owned()
    }

    fn on_connected(&mut self, cx: &mut ClientCx) {
        cx.set_signaling(true);
    }

    fn on_lost(&mut self, _is_over: bool, _cx: &mut ClientCx) {
        self.gathering = None;
        self.echoes.clear();
    }

    fn on_text(&mut self, text: &str, cx: &mut ClientCx) {
        let message = read(text, &cx.room());
        cx.received(&message);
        let Message::Signal { kind, payload, .. } = message else { return };
        if let Some(own) = self.echoes.iter().position(|echo| *echo == payload) {
            self.echoes.remove(own);
            return;
        }
        self.on_bundle(kind, &payload, cx);
    }

    fn send_signal(&mut self, signal: OutgoingSignal, cx: &mut ClientCx) {
        match (signal.kind, &mut self.gathering) {
            (SignalKind::Offer | SignalKind::Answer, _) => {
                self.send(cx);
                self.gathering = Some((signal, Vec::new(), cx.now() + GATHERING));
            }
            (SignalKind::IceCandidate, Some((_, candidates, _))) => candidates.push(signal.payload),
            // The dialect has no message for candidates that are gathered too late, nor for a hangup.
            (SignalKind::IceCandidate | SignalKind::Hangup, _) => {}
        }
    }

    fn known_as(&self, _name: &str) -> Vec<PeerName> {
        vec![self.other.clone()]
    }

    fn deadline(&self) -> Option<Instant> {
        self.gathering.as_ref().map(|(.., until)| *until)
    }

    fn on_time(&mut self, cx: &mut ClientCx) {
        self.send(cx);
    }
}

/// Decodes a message, which is in the envelope of an event.
fn read(text: &str, room: &RoomName) -> Message {
    let Ok(Envelope { r#type, data }) = serde_json::from_str(text) else { return Message::Unknown };
    let kind = match &*r#type {
        "receive-offer" => SignalKind::Offer,
        "receive-answer" => SignalKind::Answer,
        _ => return Message::Unknown,
    };
    wire::signal(room, None, kind, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_read_by_its_meaning() {
        let room = RoomName::from("everybody");
        let payload = r#"{"description":{"z":1,"a":1.0},"candidates":[]}"#;
        let meant =
            Message::Signal { room: room.clone(), peer: None, kind: SignalKind::Answer, payload: payload.into() };
        assert_eq!(read(&format!(r#"{{"type":"receive-answer","data":{payload}}}"#), &room), meant);
        for text in ["", "{}", r#"{"type":"send-offer","data":1}"#] {
            assert_eq!(read(text, &room), Message::Unknown, "{text}");
        }
    }
}
