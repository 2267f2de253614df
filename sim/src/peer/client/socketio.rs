//! The client side of Socket.IO 5, over a WebSocket from the start: a dialect's `{"type":T,"data":D}` is sent as the
//! event `["T",D]`.

use std::time::Instant;

use serde_json::value::RawValue;
use server::socketio::{engine, packet};

use crate::event::PeerName;
use crate::peer::client::cx::ClientCx;
use crate::peer::client::step::NoEffect;
use crate::peer::client::wire::{Envelope, quoted};
use crate::peer::client::{Command, Dialect};
use crate::peer::negotiation::OutgoingSignal;

/// A dialect whose messages are sent as Socket.IO events.
pub(super) struct SocketIo {
    dialect: Box<dyn Dialect>,
}

impl SocketIo {
    pub(super) fn new(dialect: Box<dyn Dialect>) -> Self {
        Self { dialect }
    }

    /// Calls `act` with the dialect, and frames the messages that it sends.
    fn framed<T>(&mut self, cx: &mut ClientCx, act: impl FnOnce(&mut dyn Dialect, &mut ClientCx) -> T) -> T {
        let before = cx.outbox.len();
        let result = act(&mut *self.dialect, cx);
        for (text, _) in &mut cx.outbox[before..] {
            *text = event_of(text);
        }
        result
    }

    fn on_packet(&mut self, text: &str, cx: &mut ClientCx) {
        match packet::Packet::parse(text) {
            Ok(packet) if packet.kind == packet::Kind::Connect => {
                self.framed(cx, |dialect, cx| dialect.on_connected(cx));
            }
            Ok(packet) if packet.kind == packet::Kind::Event => {
                let Ok(event) = packet::Event::parse(packet.data) else { return };
                let data = event.argument.map_or("null", RawValue::get);
                let text = format!(r#"{{"type":{},"data":{data}}}"#, quoted(&event.name));
                self.framed(cx, |dialect, cx| dialect.on_text(&text, cx));
            }
            _ => {}
        }
    }
}

impl Dialect for SocketIo {
    fn path(&self, _room: &str) -> String {
        "/socket.io/?EIO=4&transport=websocket".to_owned()
    }

    /// Does nothing: in Socket.IO the server sends first.
    fn on_connected(&mut self, _cx: &mut ClientCx) {}

    fn on_lost(&mut self, is_over: bool, cx: &mut ClientCx) {
        self.dialect.on_lost(is_over, cx);
    }

    fn on_text(&mut self, text: &str, cx: &mut ClientCx) {
        match engine::Packet::parse(text) {
            Ok(engine::Packet::Open(_)) => {
                let connect = packet::message(&packet::Packet::new(packet::Kind::Connect, ""));
                cx.send_framing(connect.as_str().to_owned());
            }
            Ok(engine::Packet::Ping(data)) => cx.send_framing(engine::Packet::Pong(data).to_string()),
            Ok(engine::Packet::Message(text)) => self.on_packet(text, cx),
            _ => {}
        }
    }

    fn send_signal(&mut self, signal: OutgoingSignal, cx: &mut ClientCx) {
        self.framed(cx, |dialect, cx| dialect.send_signal(signal, cx));
    }

    fn known_as(&self, name: &str) -> Vec<PeerName> {
        self.dialect.known_as(name)
    }

    fn on_command(&mut self, command: &Command, cx: &mut ClientCx) -> Result<(), NoEffect> {
        self.framed(cx, |dialect, cx| dialect.on_command(command, cx))
    }

    fn deadline(&self) -> Option<Instant> {
        self.dialect.deadline()
    }

    fn on_time(&mut self, cx: &mut ClientCx) {
        self.framed(cx, |dialect, cx| dialect.on_time(cx));
    }

    fn leave(&mut self, cx: &mut ClientCx) {
        self.framed(cx, |dialect, cx| dialect.leave(cx));
    }
}

/// The event for a message. A flat message is its own data.
fn event_of(text: &str) -> String {
    let envelope: Envelope<'_> = serde_json::from_str(text).expect("a dialect writes objects with a type");
    let data = envelope.data.map_or(text, RawValue::get);
    let event = format!("[{},{data}]", quoted(&envelope.r#type));
    packet::message(&packet::Packet::new(packet::Kind::Event, &event)).as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_as_an_event_with_its_data_byte_for_byte() {
        assert_eq!(event_of(r#"{"type":"call","data":{"z":1,"a":1.0}}"#), r#"42["call",{"z":1,"a":1.0}]"#);
        let flat = r#"{"type":"video-offer","name":"ana","target":"ben","sdp":{}}"#;
        assert_eq!(event_of(flat), format!(r#"42["video-offer",{flat}]"#));
    }
}
