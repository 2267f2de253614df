//! Why the server closes a WebSocket, and the close code that says so.

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A reason to close, with its code of RFC 6455 §7.4.1 and a text for whoever reads the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// 1000: an operator asked for it.
    Kicked,
    /// 1000: the client said so, below the WebSocket's own close.
    ByClient,
    /// 1001: the server is going away.
    Shutdown,
    /// 1002: the peer broke the framing rules.
    Protocol,
    /// 1002: not a packet of Engine.IO or Socket.IO, or one out of turn.
    Packet,
    /// 1003: a binary frame.
    Binary,
    /// 1007: a text that is not UTF-8.
    NotUtf8,
    /// 1008: the peer reads more slowly than others write to it.
    SlowConsumer,
    /// 1008: no first join in time.
    JoinTimeout,
    /// 1008: pings stayed unanswered.
    HeartbeatMissed,
    /// 1009: a frame or message over the hard limit.
    TooLarge,
    /// 1013: too many connections.
    OverCapacity,
}

impl Close {
    /// The frame that goes on the wire.
    pub(crate) fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::Kicked => (CloseCode::Normal, "Kicked by admin"),
            Self::ByClient => (CloseCode::Normal, "Closed by the client"),
            Self::Shutdown => (CloseCode::Away, "Server shutting down"),
            Self::Protocol => (CloseCode::Protocol, "Protocol error"),
            Self::Packet => (CloseCode::Protocol, "Not a packet, or out of turn"),
            Self::Binary => (CloseCode::Unsupported, "Binary frames are not supported"),
            Self::NotUtf8 => (CloseCode::Invalid, "Text is not UTF-8"),
            Self::SlowConsumer => (CloseCode::Policy, "Slow consumer"),
            Self::JoinTimeout => (CloseCode::Policy, "Join timeout"),
            Self::HeartbeatMissed => (CloseCode::Policy, "Heartbeat missed"),
            Self::TooLarge => (CloseCode::Size, "Message too large"),
            Self::OverCapacity => (CloseCode::Again, "Over capacity"),
        };
        CloseFrame { code, reason: Utf8Bytes::from_static(reason) }
    }
}
