//! A WebSocket with what a client knows about it.

use std::fmt;
use std::time::Duration;

use tokio::time::Interval;
use tokio_tungstenite::WebSocketStream;

use super::socketio::SocketIo;
use crate::dial::Stream;

/// How messages stand in frames.
#[derive(Debug)]
pub(crate) enum Codec {
    Text,
    Binary,
    SocketIo(SocketIo),
}

/// A heartbeat that a client sends by itself: the message and how often.
pub(crate) struct Beat {
    pub(crate) every: Duration,
    pub(crate) ping: String,
}

/// A WebSocket, its codec, and the messages that keep it alive.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<Box<dyn Stream>>,
    pub(crate) codec: Codec,
    pub(crate) beat: Option<(Interval, String)>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a WebSocket of {:?}", self.codec)
    }
}
