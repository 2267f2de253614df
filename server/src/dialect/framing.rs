//! The framing of a dialect with named events, over WebSocket and over Socket.IO.

use serde::Serialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::json::serialise;
use crate::socketio::packet::{self, Packet};

/// How the messages of a dialect are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Messages of a WebSocket. A named event is the text `{"type":name,"data":data}`.
    WebSocket,
    /// Events of Socket.IO 5: `42[name,data]`, over a WebSocket or long-polling.
    SocketIo,
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    #[serde(rename = "type")]
    name: &'a str,
    data: D,
}

impl Framing {
    /// An event, serialized for a queue.
    pub(crate) fn event(self, name: &str, data: &impl Serialize) -> Utf8Bytes {
        match self {
            Self::WebSocket => serialise(&Envelope { name, data }),
            Self::SocketIo => {
                let data = serialise(&(name, data));
                packet::message(&Packet::new(packet::Kind::Event, &data))
            }
        }
    }
}
