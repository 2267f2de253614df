//! The layer between a dialect's messages and the texts of a WebSocket: none, or Socket.IO 5 over a WebSocket from the
//! start.

use std::borrow::Cow;

use scenarios::Framing;
use server::socketio::{engine, packet};

use super::codec::quoted;

/// What an arriving text means to the layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LayerEvent<'a> {
    /// The connection can carry messages. The layer may report this as a message too.
    Connected(Option<String>),
    /// A message of the dialect.
    Message(Cow<'a, str>),
    /// A message that the layer itself reports. The dialect need not describe it.
    Report(String),
    /// The layer answers with this text.
    Answer(String),
    Nothing,
}

/// Whether an open WebSocket can carry messages at once.
pub(super) fn is_ready_when_open(over: Framing) -> bool {
    over == Framing::WebSocket
}

/// The text that carries a message.
pub(super) fn wrap(over: Framing, message: String) -> String {
    match over {
        Framing::WebSocket => message,
        // The message may begin with the number of the acknowledgement that it asks for.
        Framing::SocketIo => format!("42{message}"),
    }
}

/// What an arriving text means.
pub(super) fn unwrap(over: Framing, text: &str) -> LayerEvent<'_> {
    if over == Framing::WebSocket {
        return LayerEvent::Message(Cow::Borrowed(text));
    }
    match engine::Packet::parse(text) {
        Ok(engine::Packet::Open(_)) => {
            let connect = packet::message(&packet::Packet::new(packet::Kind::Connect, ""));
            LayerEvent::Answer(connect.as_str().to_owned())
        }
        Ok(engine::Packet::Ping(data)) => LayerEvent::Answer(engine::Packet::Pong(data).to_string()),
        Ok(engine::Packet::Message(text)) => packet::Packet::parse(text).map_or(LayerEvent::Nothing, of_packet),
        _ => LayerEvent::Nothing,
    }
}

fn of_packet(packet: packet::Packet<'_>) -> LayerEvent<'_> {
    let report =
        |name: &str| format!("[{},{}]", quoted(name), if packet.data.is_empty() { "null" } else { packet.data });
    match packet.kind {
        packet::Kind::Connect => LayerEvent::Connected(Some(report("connect"))),
        packet::Kind::ConnectError => LayerEvent::Report(report("connect_error")),
        packet::Kind::Event => LayerEvent::Message(Cow::Borrowed(packet.data)),
        packet::Kind::Ack => {
            packet.id.map_or(LayerEvent::Nothing, |id| LayerEvent::Report(format!(r#"["ack",{id},{}]"#, packet.data)))
        }
        packet::Kind::Disconnect => LayerEvent::Nothing,
    }
}

/// The path and query of the request that opens the WebSocket.
pub(super) fn path(over: Framing, path: String) -> String {
    match over {
        Framing::WebSocket => path,
        Framing::SocketIo => {
            let mark = if path.contains('?') { '&' } else { '?' };
            format!("{path}{mark}EIO=4&transport=websocket")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_as_an_event_and_comes_back_byte_for_byte() {
        let event = r#"["call",{"z":1,"a":1.0}]"#;
        let text = wrap(Framing::SocketIo, event.to_owned());
        assert_eq!(text, r#"42["call",{"z":1,"a":1.0}]"#);
        assert_eq!(unwrap(Framing::SocketIo, &text), LayerEvent::Message(event.into()));
        assert_eq!(unwrap(Framing::WebSocket, event), LayerEvent::Message(event.into()));
    }

    #[test]
    fn the_layer_of_socket_io_opens_itself_and_reports_acknowledgements() {
        let unwrap = |text| unwrap(Framing::SocketIo, text);
        assert_eq!(unwrap(r#"0{"sid":"x"}"#), LayerEvent::Answer("40".to_owned()));
        assert_eq!(unwrap("2"), LayerEvent::Answer("3".to_owned()));
        assert_eq!(unwrap(r#"40{"sid":"x"}"#), LayerEvent::Connected(Some(r#"["connect",{"sid":"x"}]"#.to_owned())));
        assert_eq!(unwrap("4317[true]"), LayerEvent::Report(r#"["ack",17,[true]]"#.to_owned()));
        assert_eq!(unwrap("zzz"), LayerEvent::Nothing);
    }

    #[test]
    fn only_socket_io_adds_to_the_query() {
        assert_eq!(path(Framing::WebSocket, "/relay?room=r".to_owned()), "/relay?room=r");
        assert_eq!(path(Framing::SocketIo, "/socket.io/".to_owned()), "/socket.io/?EIO=4&transport=websocket");
        assert_eq!(path(Framing::SocketIo, "/s?a=b".to_owned()), "/s?a=b&EIO=4&transport=websocket");
    }
}
