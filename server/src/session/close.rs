//! Why the server closes a WebSocket, and the close codes.

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A reason to close, with its code of RFC 6455 §7.4.1 and a text for traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// 1000: an operator kicked the client.
    Kicked,
    /// 1000: the client closed its Engine.IO session.
    ByClient,
    /// 1001: the server is going away.
    Shutdown,
    /// 1002: the peer violated the framing rules.
    Protocol,
    /// 1002: not a packet of Engine.IO or Socket.IO, or an unexpected one.
    Packet,
    /// 1003: a binary frame.
    Binary,
    /// 1007: a text that is not UTF-8.
    NotUtf8,
    /// 1007: a compressed message that cannot be decompressed.
    NotDeflate,
    /// 1008: the peer reads more slowly than messages for it arrive.
    SlowConsumer,
    /// 1008: no first join in time.
    JoinTimeout,
    /// 1008: pings were not answered.
    HeartbeatMissed,
    /// 1008: a message did not become complete in time.
    MessageTimeout,
    /// 1008: more messages than the rate allows.
    TooFast,
    /// 1008: a room or a name that the client's token does not allow.
    NotAllowed,
    /// 1009: a frame or message over the limit.
    TooLarge,
    /// 1013: too many connections, or too many bytes of unfinished messages.
    OverCapacity,
    /// 1013: had not joined when another connection needed the place.
    Displaced,
    /// 1013: the room has the maximum number of members.
    RoomFull,
    /// 1013: there is the maximum number of rooms.
    TooManyRooms,
}

impl Close {
    /// The close frame.
    pub(crate) fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::Kicked => (CloseCode::Normal, "Kicked by admin"),
            Self::ByClient => (CloseCode::Normal, "Closed by the client"),
            Self::Shutdown => (CloseCode::Away, "Server shutting down"),
            Self::Protocol => (CloseCode::Protocol, "Protocol error"),
            Self::Packet => (CloseCode::Protocol, "Not a packet, or out of turn"),
            Self::Binary => (CloseCode::Unsupported, "Binary frames are not supported"),
            Self::NotUtf8 => (CloseCode::Invalid, "Text is not UTF-8"),
            Self::NotDeflate => (CloseCode::Invalid, "Message cannot be decompressed"),
            Self::SlowConsumer => (CloseCode::Policy, "Slow consumer"),
            Self::JoinTimeout => (CloseCode::Policy, "Join timeout"),
            Self::HeartbeatMissed => (CloseCode::Policy, "Heartbeat missed"),
            Self::MessageTimeout => (CloseCode::Policy, "Message not complete in time"),
            Self::TooFast => (CloseCode::Policy, "Rate limit exceeded"),
            Self::NotAllowed => (CloseCode::Policy, "Not allowed by the token"),
            Self::TooLarge => (CloseCode::Size, "Message too large"),
            Self::OverCapacity | Self::Displaced => (CloseCode::Again, "Over capacity"),
            Self::RoomFull => (CloseCode::Again, "Room is full"),
            Self::TooManyRooms => (CloseCode::Again, "Too many rooms"),
        };
        CloseFrame { code, reason: Utf8Bytes::from_static(reason) }
    }

    /// Whether the client may still be told and heard for a while: not one that is dead or whose place another needs.
    pub(crate) fn has_time(self) -> bool {
        !matches!(self, Self::HeartbeatMissed | Self::Displaced)
    }

    /// Its name in the metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Kicked => "kicked",
            Self::ByClient => "by-client",
            Self::Packet => "packet",
            Self::Shutdown => "shutdown",
            Self::Protocol => "protocol",
            Self::Binary => "binary",
            Self::NotUtf8 => "not-utf8",
            Self::NotDeflate => "not-deflate",
            Self::SlowConsumer => "slow-consumer",
            Self::JoinTimeout => "join-timeout",
            Self::HeartbeatMissed => "heartbeat-missed",
            Self::MessageTimeout => "message-timeout",
            Self::TooFast => "too-fast",
            Self::NotAllowed => "not-allowed",
            Self::TooLarge => "too-large",
            Self::OverCapacity => "over-capacity",
            Self::Displaced => "displaced",
            Self::RoomFull => "room-full",
            Self::TooManyRooms => "too-many-rooms",
        }
    }
}
