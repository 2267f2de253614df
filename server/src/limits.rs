//! Limits for one client, in bytes, messages and time.

use std::time::Duration;

use crate::rate::Rate;

/// Limits for clients. Each bounds memory or time that a client could otherwise use without limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of a text message, inclusive. Default: 262,144 bytes. `mesh` answers a longer one with an error.
    pub message_bytes_max: usize,
    /// Maximum length of a frame or reassembled message, inclusive. Default: 1,048,576 bytes. Beyond it: close 1009.
    pub frame_bytes_max: usize,
    /// Maximum number of messages queued for a client. Default: 4,096. One more: close 1008.
    pub queue_messages_max: usize,
    /// Maximum bytes of text queued for a client. Default: 4 MiB. Beyond it: close 1008.
    pub queue_bytes_max: usize,
    /// Maximum number of open connections, WebSocket or HTTP, and of Engine.IO sessions. Default: 16,384. One more ends the oldest that has not
    /// joined, of the address with the most of those. If all have joined, a WebSocket beyond it is closed with 1013.
    pub connections_max: usize,
    /// Maximum number of open connections per address (IPv6: per /64), and of Engine.IO sessions. Default: none. A
    /// request on one more gets 429.
    pub connections_per_address_max: Option<usize>,
    /// Rate of HTTP requests per address (IPv6: per /64), including upgrades. Default: no limit. One more gets 429.
    pub request_rate: Option<Rate>,
    /// Rate of messages and pings per connection. Default: no limit. One more: close 1008.
    pub message_rate: Option<Rate>,
    /// Maximum bytes that all clients together may make the server hold: queues, unfinished messages and request bodies.
    /// Default: 1 GiB. When half of it is used, a client that holds more than an equal share of the rest loses its connection: 1008 for a full queue, 1013
    /// for an unfinished message.
    pub buffered_bytes_max: usize,
    /// Maximum number of rooms per dialect. Default: none. A client that would open one more is closed with 1013.
    pub rooms_max: Option<usize>,
    /// Maximum number of members per room. Default: none. One more is closed with 1013.
    pub room_members_max: Option<usize>,
    /// Time limit for the first join. Default: 30 s. Then: close 1008.
    pub join_timeout: Duration,
    /// Time limit for the TLS handshake. Default: 10 s. Then the connection ends.
    pub handshake_timeout: Duration,
    /// Time limit for an HTTP request head, from its first byte; for the first head, from the start of the connection.
    /// Default: 10 s. Then the connection ends.
    pub head_timeout: Duration,
    /// Time limit for a pause in a request body. Default: 10 s. Then: 408. A body must also arrive at 500 bytes per
    /// second on average, after a start of this length.
    pub body_timeout: Duration,
    /// Time limit for the pause between a response and the next request. Default: 75 s, because load balancers keep
    /// connections for 60 to 75 s. Then the connection ends.
    pub keep_alive_timeout: Duration,
    /// Time limit for a message from its first byte to its last. Default: 30 s. Then: close 1008.
    pub message_timeout: Duration,
    /// Time limit for a write without progress (the peer's window stays closed). Default: 30 s. Then the connection is
    /// dropped.
    pub write_timeout: Duration,
    /// Time limit for flushing the queue, the close handshake and the TCP shutdown together. Default: 5 s.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 256 * 1024,
            frame_bytes_max: 1024 * 1024,
            queue_messages_max: 4096,
            queue_bytes_max: 4 * 1024 * 1024,
            connections_max: 16_384,
            connections_per_address_max: None,
            request_rate: None,
            message_rate: None,
            buffered_bytes_max: 1024 * 1024 * 1024,
            rooms_max: None,
            room_members_max: None,
            join_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            message_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
        }
    }
}
