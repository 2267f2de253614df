//! The settings of Engine.IO.

use std::time::Duration;

/// How the Socket.IO endpoints behave. The handshake sends the first three settings to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketIoSettings {
    /// Time from the handshake or a pong to the next ping, in whole milliseconds. Default: 25 s.
    pub ping_interval: Duration,
    /// Time limit for a pong, in whole milliseconds. Default: 20 s. Then the session is closed, on a WebSocket with
    /// 1008.
    pub ping_timeout: Duration,
    /// Maximum length of a polling payload, a WebSocket message, or an event with its attachments, inclusive. Default:
    /// 1,000,000 bytes. Beyond it: HTTP 413, or close 1009.
    pub payload_bytes_max: usize,
    /// Time limit for the upgrade to a WebSocket, from its opening on. Default: 10 s. Then the session continues to
    /// poll.
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
