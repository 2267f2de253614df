//! The `relay` dialect on a client's side: one of two in a room that names nobody. Connecting is joining, and what comes is the other's.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Message, SignalKind};
use crate::peer::client::desk::Desk;
use crate::peer::client::{Command, Dialect};
use crate::peer::negotiation::Outgoing;
use crate::peer::now;

/// A client that talks to whoever else is there.
pub(super) struct Relay {
    /// What the negotiation calls the other side.
    other: Arc<str>,
}

impl Default for Relay {
    fn default() -> Self {
        Self { other: "other".into() }
    }
}

impl Dialect for Relay {
    fn path(&self, room: &str) -> String {
        let mut path = "/relay?room=".to_owned();
        for byte in room.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => path.push(byte.into()),
                _ => write!(path, "%{byte:02X}").expect("a string takes all that is written"),
            }
        }
        path
    }

    fn on_connected(&mut self, desk: &mut Desk) {
        if let Some(media) = &mut desk.media {
            media.set_signaling(true);
        }
    }

    fn on_lost(&mut self, _is_over: bool, _desk: &mut Desk) {}

    fn on_text(&mut self, text: &str, desk: &mut Desk) {
        let message = read(text, &desk.config.room);
        desk.received(&message);
        let Message::Signal { kind, payload, .. } = message else { return };
        match &mut desk.media {
            Some(media) => media.on_signal(&self.other, kind, &payload, now()),
            None => self.send_signals(desk.script.answer(&self.other, kind), desk),
        }
    }

    fn send_signal(&mut self, Outgoing { kind, payload, .. }: Outgoing, desk: &mut Desk) {
        let key = match kind {
            SignalKind::Offer => "offer",
            SignalKind::Answer => "answer",
            SignalKind::IceCandidate => "candidate",
            // The dialect has none: the other side loses patience by itself.
            SignalKind::Hangup => return,
        };
        let text = format!(r#"{{"type":"{key}","{key}":{payload}}}"#);
        desk.say(text, Message::Signal { room: desk.room(), peer: None, kind, payload });
    }

    fn known_as(&self, _name: &str) -> Vec<Arc<str>> {
        vec![self.other.clone()]
    }

    fn on_command(&mut self, command: &Command, desk: &mut Desk) {
        if let (Command::Offer(_), Some(media)) = (command, &mut desk.media) {
            media.renegotiate(&self.other, now());
        }
    }
}

/// Reads what comes to somebody in `room`: what another sent, or the server's error.
fn read(text: &str, room: &Arc<str>) -> Message {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        offer: Option<&'a RawValue>,
        #[serde(borrow)]
        answer: Option<&'a RawValue>,
        #[serde(borrow)]
        candidate: Option<&'a RawValue>,
        #[serde(borrow)]
        message: Option<Cow<'a, str>>,
    }
    let Ok(wire) = serde_json::from_str::<Wire<'_>>(text) else { return Message::Unknown };
    let signal = |kind, payload: Option<&RawValue>| Message::Signal {
        room: room.clone(),
        peer: None,
        kind,
        payload: payload.map_or("null", RawValue::get).into(),
    };
    match &*wire.r#type {
        "offer" => signal(SignalKind::Offer, wire.offer),
        "answer" => signal(SignalKind::Answer, wire.answer),
        "candidate" => signal(SignalKind::IceCandidate, wire.candidate),
        "error" => wire.message.map_or(Message::Unknown, |text| Message::Error { text: text.into() }),
        _ => Message::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_percent_encoded() {
        assert_eq!(Relay::default().path("r-1"), "/relay?room=r-1");
        assert_eq!(Relay::default().path("a b&é"), "/relay?room=a%20b%26%C3%A9");
    }

    #[test]
    fn what_comes_is_read_by_its_meaning() {
        let payload = r#"{"z":1,"a":1.0}"#;
        for (key, kind) in
            [("offer", SignalKind::Offer), ("answer", SignalKind::Answer), ("candidate", SignalKind::IceCandidate)]
        {
            let meant = Message::Signal { room: "r".into(), peer: None, kind, payload: payload.into() };
            assert_eq!(read(&format!(r#"{{"type":"{key}","{key}":{payload}}}"#), &"r".into()), meant);
        }
        for text in ["", "null", "{}", r#"{"type":"zzz"}"#, r#"{"type":"error"}"#] {
            assert_eq!(read(text, &"r".into()), Message::Unknown, "{text}");
        }
    }
}
