//! What one client may cost the server, in bytes, messages and time.

use std::time::Duration;

use crate::rate::Rate;

/// The limits of `dialects.md`; each bounds memory or time that a client could otherwise take without end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest text message that is handled, inclusive: 262,144 bytes. `mesh` answers a longer one with an error.
    pub message_bytes_max: usize,
    /// Longest frame or reassembled message that is read at all, inclusive: 1,048,576 bytes. Beyond it: close 1009.
    pub frame_bytes_max: usize,
    /// Messages that may wait for one slow client: 4,096. One more: close 1008.
    pub queue_messages_max: usize,
    /// Bytes of text that may wait for one slow client: 4 MiB. Beyond it: close 1008.
    pub queue_bytes_max: usize,
    /// Open connections, WebSocket or still HTTP: 16,384. A WebSocket beyond them is closed with 1013.
    pub connections_max: usize,
    /// Open connections of one address (IPv6: of one /64): any number. A request on one more is answered with 429.
    pub connections_per_address_max: Option<usize>,
    /// HTTP requests of one address (IPv6: of one /64), upgrades among them: any number. One more is answered with 429.
    pub request_rate: Option<Rate>,
    /// Messages and pings of one connection: any number. One more: close 1008.
    pub message_rate: Option<Rate>,
    /// Rooms of one dialect: any number. Whoever would open one more is closed with 1013.
    pub rooms_max: Option<usize>,
    /// Members of one room: any number. One more is closed with 1013.
    pub room_members_max: Option<usize>,
    /// Time to the first join: 30 s, else close 1008.
    pub join_timeout: Duration,
    /// Time for the TLS handshake, and for one HTTP request head to arrive, also the longest idle time between two: 10 s, else the connection ends.
    pub request_timeout: Duration,
    /// Time a write may make no progress (the peer's window stays shut): 30 s, else the connection is dropped.
    pub write_timeout: Duration,
    /// Time to flush what is queued, the close handshake and the TCP shutdown may take together: 5 s.
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
            rooms_max: None,
            room_members_max: None,
            join_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
        }
    }
}
