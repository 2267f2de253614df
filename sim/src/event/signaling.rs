//! A client's signaling connection, and the messages that pass over it, whatever the dialect.

use std::sync::Arc;

use scenarios::MediaKind;
use serde::Serialize;

/// A client's signaling connection, and what passes over it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Signaling {
    /// It dials: the how-manieth time since the last success, from 0.
    Connecting {
        /// Attempts that failed since the last success.
        attempt: u32,
    },
    /// The WebSocket is open.
    Connected,
    /// It is closed.
    Closed {
        /// The close code, if a close frame came or was sent. RFC 6455 §7.4.
        code: Option<u16>,
        /// What ended it.
        reason: Arc<str>,
    },
    /// It will not dial again.
    GaveUp {
        /// Attempts that failed.
        attempts: u32,
    },
    /// A frame left.
    FrameSent(Frame),
    /// A frame came.
    FrameReceived(Frame),
    /// A message left, by its meaning.
    Sent(Message),
    /// A message came, by its meaning.
    Received(Message),
    /// The client is in another state of its dialect; the first is [`ClientState::Init`], a user's [`ClientState::Idle`].
    State {
        /// The state it is in.
        state: ClientState,
    },
}

/// A WebSocket frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "opcode", content = "payload", rename_all = "kebab-case")]
pub enum Frame {
    /// Text.
    Text(Arc<str>),
    /// Binary, its length in bytes.
    Binary(usize),
    /// Ping.
    Ping,
    /// Pong.
    Pong,
    /// Close, with its code.
    Close(Option<u16>),
}

/// What a client of a dialect with states is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientState {
    /// A sender or viewer that has not joined, or a viewer that has no sender yet.
    Init,
    /// A sender or viewer whose partner is missing, or gone.
    Waiting,
    /// A sender that has offered, a viewer that was offered to.
    Active,
    /// A sender or viewer that was refused, or has given up.
    Error,
    /// A user without a call.
    Idle,
    /// A user whose call rings at another.
    Calling,
    /// A user who is called.
    Ringing,
    /// A user in a call.
    InCall,
}

/// A signaling message by its meaning, whatever the dialect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "message", rename_all = "kebab-case")]
pub enum Message {
    /// A client asks to join.
    Join {
        /// The room.
        room: Arc<str>,
    },
    /// The server lets a client in.
    Joined {
        /// The room.
        room: Arc<str>,
        /// The client's own id.
        id: Arc<str>,
        /// Who is there already.
        roster: Vec<Member>,
    },
    /// Somebody else came.
    PeerJoined {
        /// The room.
        room: Arc<str>,
        /// Who.
        member: Member,
    },
    /// A client leaves.
    Leave {
        /// The room.
        room: Arc<str>,
    },
    /// Somebody else is gone.
    PeerLeft {
        /// The room.
        room: Arc<str>,
        /// Their id.
        id: Arc<str>,
    },
    /// Something for another client.
    Signal {
        /// The room.
        room: Arc<str>,
        /// To whom (sent; `None` is everybody else), or from whom (received; `None` where the dialect does not say).
        peer: Option<Arc<str>>,
        /// What it is.
        kind: SignalKind,
        /// The opaque payload, byte for byte.
        payload: Arc<str>,
    },
    /// The server complains.
    Error {
        /// Its words.
        text: Arc<str>,
    },
    /// Something that the dialect does not know.
    Unknown,
    /// The server lets a client in, and does not say who is there.
    Admitted {
        /// The room.
        room: Arc<str>,
        /// The client's own id.
        id: Arc<str>,
    },
    /// The other side of a room of two is there.
    PartnerReady {
        /// The room.
        room: Arc<str>,
    },
    /// The other side of a room of two is gone.
    PartnerLeft {
        /// The room.
        room: Arc<str>,
    },
    /// A step of a call between users.
    Call {
        /// To whom (sent), or from whom (received).
        peer: Arc<str>,
        /// What becomes of it.
        step: CallStep,
    },
}

/// A step of a call between users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum CallStep {
    /// It rings.
    Ring,
    /// It is taken.
    Accept,
    /// It is not taken.
    Reject,
    /// The called one is in another call.
    Busy,
    /// It is over.
    End,
    /// A camera or microphone was turned on or off.
    Media {
        /// Which.
        kind: MediaKind,
        /// Whether it is on.
        enabled: bool,
    },
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Member {
    /// The id by which they are addressed.
    pub id: Arc<str>,
    /// What they call themselves.
    pub name: Option<Arc<str>>,
}

/// What a signal carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalKind {
    /// A session description that proposes. RFC 9429.
    Offer,
    /// A session description that accepts.
    Answer,
    /// A trickled candidate. RFC 8838.
    IceCandidate,
    /// The end of a pair.
    Hangup,
}
