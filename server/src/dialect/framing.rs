//! How a dialect of named events speaks over WebSocket and over Socket.IO.

use serde::Serialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::json::serialise;
use crate::socketio::packet::{self, Packet};

/// What one client's events are framed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `{"type":name,"data":data}`
    WebSocket,
    /// `42[name,data]`
    SocketIo,
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    #[serde(rename = "type")]
    name: &'a str,
    data: D,
}

impl Framing {
    /// An event as it goes into a queue.
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
