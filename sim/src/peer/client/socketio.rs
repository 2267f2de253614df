//! Socket.IO 5 on a client's side, over a WebSocket from the first: a dialect's `{"type":T,"data":D}` goes as the event `["T",D]`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;
use server::socketio::{engine, packet};

use crate::peer::client::desk::{Desk, quoted};
use crate::peer::client::{Command, Dialect};
use crate::peer::negotiation::Outgoing;

/// A dialect in events of Socket.IO.
pub(super) struct SocketIo {
    dialect: Box<dyn Dialect>,
}

impl SocketIo {
    pub(super) fn new(dialect: Box<dyn Dialect>) -> Self {
        Self { dialect }
    }

    /// Lets the dialect act, and frames what it says.
    fn framed(&mut self, desk: &mut Desk, act: impl FnOnce(&mut dyn Dialect, &mut Desk)) {
        let said = desk.outbox.len();
        act(&mut *self.dialect, desk);
        for (text, _) in &mut desk.outbox[said..] {
            *text = event_of(text);
        }
    }

    fn on_packet(&mut self, text: &str, desk: &mut Desk) {
        match packet::Packet::parse(text) {
            Ok(packet) if packet.kind == packet::Kind::Connect => {
                self.framed(desk, |dialect, desk| dialect.on_connected(desk));
            }
            Ok(packet) if packet.kind == packet::Kind::Event => {
                let Ok(event) = packet::Event::parse(packet.data) else { return };
                let data = event.argument.map_or("null", RawValue::get);
                let text = format!(r#"{{"type":{},"data":{data}}}"#, quoted(&event.name));
                self.framed(desk, |dialect, desk| dialect.on_text(&text, desk));
            }
            _ => {}
        }
    }
}

impl Dialect for SocketIo {
    fn path(&self, _room: &str) -> String {
        "/socket.io/?EIO=4&transport=websocket".to_owned()
    }

    /// The server speaks first.
    fn on_connected(&mut self, _desk: &mut Desk) {}

    fn on_lost(&mut self, is_over: bool, desk: &mut Desk) {
        self.dialect.on_lost(is_over, desk);
    }

    fn on_text(&mut self, text: &str, desk: &mut Desk) {
        match engine::Packet::parse(text) {
            Ok(engine::Packet::Open(_)) => {
                let connect = packet::message(&packet::Packet::new(packet::Kind::Connect, ""));
                desk.say_framing(connect.as_str().to_owned());
            }
            Ok(engine::Packet::Ping(data)) => desk.say_framing(engine::Packet::Pong(data).to_string()),
            Ok(engine::Packet::Message(text)) => self.on_packet(text, desk),
            _ => {}
        }
    }

    fn send_signal(&mut self, signal: Outgoing, desk: &mut Desk) {
        self.framed(desk, |dialect, desk| dialect.send_signal(signal, desk));
    }

    fn known_as(&self, name: &str) -> Vec<Arc<str>> {
        self.dialect.known_as(name)
    }

    fn on_command(&mut self, command: &Command, desk: &mut Desk) {
        self.framed(desk, |dialect, desk| dialect.on_command(command, desk));
    }

    fn deadline(&self) -> Option<Instant> {
        self.dialect.deadline()
    }

    fn on_time(&mut self, desk: &mut Desk) {
        self.framed(desk, |dialect, desk| dialect.on_time(desk));
    }

    fn leave(&mut self, desk: &mut Desk) {
        self.framed(desk, |dialect, desk| dialect.leave(desk));
    }
}

/// The event that a message goes as; a flat one is its own data.
fn event_of(text: &str) -> String {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
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
