//! A WebSocket together with its codec and heartbeat.

use std::fmt;
use std::time::Duration;

use tokio::time::Interval;
use tokio_tungstenite::WebSocketStream;

use super::deflate::Deflater;
use super::socketio::SocketIo;
use crate::dial::Stream;

/// How messages of the dialect go into WebSocket frames.
#[derive(Debug)]
pub(crate) enum Codec {
    Text,
    Binary,
    SocketIo(SocketIo),
}

/// The heartbeat of a client: the message and how often it is sent.
pub(crate) struct Beat {
    pub(crate) every: Duration,
    pub(crate) ping: String,
}

/// A WebSocket, its codec, and its heartbeat.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<Box<dyn Stream>>,
    pub(crate) codec: Codec,
    /// Compresses messages, if the server agreed.
    pub(crate) deflater: Option<Deflater>,
    pub(crate) beat: Option<(Interval, String)>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a WebSocket of {:?}", self.codec)
    }
}
