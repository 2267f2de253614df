//! Our own Socket.IO 5 over Engine.IO 4, on a WebSocket: the default namespace, text packets.
//!
//! A message of the dialect is a list, event name first. The layer's own events are `connect`, `connect_error` and
//! `ack`; applications may not use these names.

/// State of one connection.
#[derive(Debug, Default)]
pub(crate) struct SocketIo {
    connected: bool,
    /// Packets that wait until the namespace is connected.
    waiting: Vec<String>,
}

/// The meaning of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SocketIoEvent {
    /// A message of the dialect.
    Message(String),
    /// A packet to send back at once.
    Reply(String),
    Nothing,
}

/// The packet for an event, once the namespace is connected.
pub(crate) fn packet(event: &str) -> String {
    format!("42{event}")
}

/// The URL of the WebSocket transport.
pub(crate) fn url(base: &str) -> String {
    let gap = if base.contains('?') { '&' } else { '?' };
    format!("{base}{gap}EIO=4&transport=websocket")
}

impl SocketIo {
    /// The packet for an event if it may be sent now; otherwise it waits for [`released`](Self::released).
    pub(crate) fn encode(&mut self, event: &str) -> Option<String> {
        let packet = format!("42{event}");
        if self.connected {
            return Some(packet);
        }
        self.waiting.push(packet);
        None
    }

    /// The waiting packets, once they may be sent.
    pub(crate) fn released(&mut self) -> Vec<String> {
        if self.connected { std::mem::take(&mut self.waiting) } else { Vec::new() }
    }

    /// Handles a packet.
    pub(crate) fn decode(&mut self, packet: &str) -> SocketIoEvent {
        let (kind, rest) = packet.split_at_checked(1).unwrap_or(("", ""));
        match kind {
            "0" => SocketIoEvent::Reply("40".to_owned()),
            "2" => SocketIoEvent::Reply(format!("3{rest}")),
            "4" => {
                let (kind, rest) = rest.split_at_checked(1).unwrap_or(("", ""));
                match kind {
                    "0" if !self.connected => {
                        self.connected = true;
                        SocketIoEvent::Message(format!(r#"["connect",{}]"#, if rest.is_empty() { "{}" } else { rest }))
                    }
                    "2" => SocketIoEvent::Message(rest.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned()),
                    "3" => {
                        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                        SocketIoEvent::Message(format!(r#"["ack",{},{}]"#, &rest[..end], &rest[end..]))
                    }
                    "4" => SocketIoEvent::Message(format!(r#"["connect_error",{rest}]"#)),
                    _ => SocketIoEvent::Nothing,
                }
            }
            _ => SocketIoEvent::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_become_messages() {
        let mut socket = SocketIo::default();
        assert_eq!(socket.encode(r#"["early"]"#), None);
        assert_eq!(socket.decode(r#"0{"sid":"a"}"#), SocketIoEvent::Reply("40".to_owned()));
        assert_eq!(socket.decode(r#"40{"sid":"b"}"#), SocketIoEvent::Message(r#"["connect",{"sid":"b"}]"#.to_owned()));
        assert_eq!(socket.released(), [r#"42["early"]"#]);
        assert_eq!(socket.decode("2"), SocketIoEvent::Reply("3".to_owned()));
        assert_eq!(socket.decode(r#"42["a",1]"#), SocketIoEvent::Message(r#"["a",1]"#.to_owned()));
        assert_eq!(socket.decode(r#"4217["a",1]"#), SocketIoEvent::Message(r#"["a",1]"#.to_owned()));
        assert_eq!(socket.decode(r#"437[]"#), SocketIoEvent::Message(r#"["ack",7,[]]"#.to_owned()));
        assert_eq!(socket.decode("é"), SocketIoEvent::Nothing);
        assert_eq!(socket.encode(r#"["a"]"#).as_deref(), Some(r#"42["a"]"#));
    }
}
