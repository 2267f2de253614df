//! The `broadcast` dialect on a client's side: everybody hears every offer and every answer, their own too, and there is nothing else.
//!
//! Without a message for candidates a description takes them along: it waits until they are gathered, as it does where nothing trickles
//! (RFC 8838 §3).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Message, SignalKind};
use crate::peer::client::desk::Desk;
use crate::peer::client::{Command, Dialect};
use crate::peer::negotiation::Outgoing;
use crate::peer::now;

/// How long a description waits for its candidates: an answer of the STUN server over a slow path.
const GATHERING: Duration = Duration::from_millis(500);

/// A client among others whom nobody names.
pub(super) struct Broadcast {
    /// What the negotiation calls the other side.
    other: Arc<str>,
    /// The description that waits, its candidates, and until when.
    gathering: Option<(Outgoing, Vec<Arc<str>>, Instant)>,
    /// What it has said and not yet heard itself.
    echoes: VecDeque<Arc<str>>,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self { other: "other".into(), gathering: None, echoes: VecDeque::new() }
    }
}

/// What goes through the dialect: `{"description":…,"candidates":[…]}`, each as it would have gone alone.
#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow)]
    description: &'a RawValue,
    #[serde(borrow)]
    candidates: Vec<&'a RawValue>,
}

impl Broadcast {
    /// Sends the description that waits.
    fn send(&mut self, desk: &mut Desk) {
        let Some((Outgoing { kind, payload, .. }, candidates, _)) = self.gathering.take() else { return };
        let payload: Arc<str> =
            format!(r#"{{"description":{payload},"candidates":[{}]}}"#, candidates.join(",")).into();
        let event = if kind == SignalKind::Offer { "send-offer" } else { "send-answer" };
        self.echoes.push_back(payload.clone());
        let text = format!(r#"{{"type":"{event}","data":{payload}}}"#);
        desk.say(text, Message::Signal { room: desk.room(), peer: None, kind, payload });
    }

    fn on_bundle(&mut self, kind: SignalKind, payload: &str, desk: &mut Desk) {
        let Ok(Bundle { description, candidates }) = serde_json::from_str(payload) else { return };
        match &mut desk.media {
            Some(media) => {
                media.on_signal(&self.other, kind, description.get(), now());
                for candidate in candidates {
                    media.on_signal(&self.other, SignalKind::IceCandidate, candidate.get(), now());
                }
            }
            None => self.send_signals(desk.script.answer(&self.other, kind), desk),
        }
    }
}

impl Dialect for Broadcast {
    fn path(&self, _room: &str) -> String {
        "/".to_owned()
    }

    fn on_connected(&mut self, desk: &mut Desk) {
        if let Some(media) = &mut desk.media {
            media.set_signaling(true);
        }
    }

    fn on_lost(&mut self, _is_over: bool, _desk: &mut Desk) {
        self.gathering = None;
        self.echoes.clear();
    }

    fn on_text(&mut self, text: &str, desk: &mut Desk) {
        let message = read(text, &desk.room());
        desk.received(&message);
        let Message::Signal { kind, payload, .. } = message else { return };
        if let Some(own) = self.echoes.iter().position(|echo| *echo == payload) {
            self.echoes.remove(own);
            return;
        }
        self.on_bundle(kind, &payload, desk);
    }

    fn send_signal(&mut self, signal: Outgoing, desk: &mut Desk) {
        match (signal.kind, &mut self.gathering) {
            (SignalKind::Offer | SignalKind::Answer, _) => {
                self.send(desk);
                self.gathering = Some((signal, Vec::new(), now() + GATHERING));
            }
            (SignalKind::IceCandidate, Some((_, candidates, _))) => candidates.push(signal.payload),
            // What is gathered too late has no message to go in, nor has a hangup.
            (SignalKind::IceCandidate | SignalKind::Hangup, _) => {}
        }
    }

    fn known_as(&self, _name: &str) -> Vec<Arc<str>> {
        vec![self.other.clone()]
    }

    fn on_command(&mut self, command: &Command, desk: &mut Desk) {
        if let (Command::Offer(_), Some(media)) = (command, &mut desk.media) {
            media.renegotiate(&self.other, now());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.gathering.as_ref().map(|(.., until)| *until)
    }

    fn on_time(&mut self, desk: &mut Desk) {
        self.send(desk);
    }
}

/// Reads what comes, in the envelope of an event.
fn read(text: &str, room: &Arc<str>) -> Message {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let Ok(Envelope { r#type, data }) = serde_json::from_str(text) else { return Message::Unknown };
    let kind = match &*r#type {
        "receive-offer" => SignalKind::Offer,
        "receive-answer" => SignalKind::Answer,
        _ => return Message::Unknown,
    };
    Message::Signal { room: room.clone(), peer: None, kind, payload: data.map_or("null", RawValue::get).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_read_by_its_meaning() {
        let room = "everybody".into();
        let payload = r#"{"description":{"z":1,"a":1.0},"candidates":[]}"#;
        let meant =
            Message::Signal { room: Arc::clone(&room), peer: None, kind: SignalKind::Answer, payload: payload.into() };
        assert_eq!(read(&format!(r#"{{"type":"receive-answer","data":{payload}}}"#), &room), meant);
        for text in ["", "{}", r#"{"type":"send-offer","data":1}"#] {
            assert_eq!(read(text, &room), Message::Unknown, "{text}");
        }
    }
}
