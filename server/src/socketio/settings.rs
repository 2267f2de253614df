//! What an embedder chooses about Engine.IO.

use std::time::Duration;

/// How the Socket.IO endpoints behave; clients are told the first three in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketIoSettings {
    /// Time from the handshake or a pong to the next ping: 25 s, in whole milliseconds.
    pub ping_interval: Duration,
    /// Time a client has for a pong: 20 s, in whole milliseconds; else the session is closed, on a WebSocket with 1008.
    pub ping_timeout: Duration,
    /// Longest polling payload, WebSocket message, or event with its attachments, inclusive: 1,000,000 bytes. Beyond it HTTP
    /// 413, or close 1009.
    pub payload_bytes_max: usize,
    /// Time from the opening of a WebSocket to the end of the change over to it: 10 s, else the session goes on polling.
    pub upgrade_timeout: Duration,
}

impl Default for SocketIoSettings {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            payload_bytes_max: 1_000_000,
            upgrade_timeout: Duration::from_secs(10),
        }
    }
}
