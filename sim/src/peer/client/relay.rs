//! The client side of the `relay` dialect: two clients in a room, without ids. Connecting is joining, and every message
//! comes from the other client.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Message, PeerName, RoomName, SignalKind};
use crate::peer::client::Dialect;
use crate::peer::client::cx::ClientCx;
use crate::peer::client::wire;
use crate::peer::negotiation::OutgoingSignal;

/// A client that exchanges messages with the only other client in its room.
pub(super) struct Relay {
    /// The name that the negotiation uses for the other side.
    other: PeerName,
}

impl Default for Relay {
    fn default() -> Self {
        Self { other: PeerName::Other }
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

    fn on_connected(&mut self, cx: &mut ClientCx) {
        cx.set_signaling(true);
    }

    fn on_lost(&mut self, _is_over: bool, _cx: &mut ClientCx) {}

    fn on_text(&mut self, text: &str, cx: &mut ClientCx) {
        let message = read(text, &cx.config.room);
        cx.received(&message);
        let Message::Signal { kind, payload, .. } = message else { return };
        cx.on_signal(&self.other, kind, &payload);
    }

    fn send_signal(&mut self, OutgoingSignal { kind, payload, .. }: OutgoingSignal, cx: &mut ClientCx) {
        let key = match kind {
            SignalKind::Offer => "offer",
            SignalKind::Answer => "answer",
            SignalKind::IceCandidate => "candidate",
            // The dialect has no hangup: the other side times out by itself.
            SignalKind::Hangup => return,
        };
        let text = format!(r#"{{"type":"{key}","{key}":{payload}}}"#);
        cx.send(text, Message::Signal { room: cx.room(), peer: None, kind, payload });
    }

    fn known_as(&self, _name: &str) -> Vec<PeerName> {
        vec![self.other.clone()]
    }
}

/// Decodes a message that arrives in `room`: the other client's message, or an error of the server.
fn read(text: &str, room: &RoomName) -> Message {
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
    match &*wire.r#type {
        "offer" => wire::signal(room, None, SignalKind::Offer, wire.offer),
        "answer" => wire::signal(room, None, SignalKind::Answer, wire.answer),
        "candidate" => wire::signal(room, None, SignalKind::IceCandidate, wire.candidate),
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
