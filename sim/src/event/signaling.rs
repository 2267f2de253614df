//! A client's signaling connection, and the messages that it carries, in terms that fit every dialect.

use std::sync::Arc;

use scenarios::MediaKind;
use serde::Serialize;

use crate::event::names::{ClientId, RoomName};

/// An event of a client's signaling connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Signaling {
    /// The client dials; `attempt` counts from 0 since the last success.
    Connecting {
        /// Number of attempts that failed since the last success.
        attempt: u32,
    },
    /// The WebSocket connection is open.
    Connected,
    /// The connection is closed.
    Closed {
        /// The close code, if a close frame was received or sent. RFC 6455 §7.4.
        code: Option<u16>,
        /// Why it was closed.
        reason: Arc<str>,
    },
    /// The client stops dialling for good.
    GaveUp {
        /// Number of attempts that failed.
        attempts: u32,
    },
    /// A frame was sent.
    FrameSent(Frame),
    /// A frame was received.
    FrameReceived(Frame),
    /// A message was sent, decoded.
    Sent(Message),
    /// A message was received, decoded.
    Received(Message),
    /// The client's state in its dialect changed. The first state is [`ClientState::Init`], or [`ClientState::Idle`]
    /// for a user of calls.
    State {
        /// The new state.
        state: ClientState,
    },
}

/// A WebSocket frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "opcode", content = "payload", rename_all = "kebab-case")]
pub enum Frame {
    /// A text frame, with its text.
    Text(Arc<str>),
    /// A binary frame, with its length in bytes.
    Binary(usize),
    /// A ping frame.
    Ping,
    /// A pong frame.
    Pong,
    /// A close frame, with its close code.
    Close(Option<u16>),
}

/// The state of a client, in dialects that have states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientState {
    /// A sender or viewer that has not joined, or a viewer that has no sender yet.
    Init,
    /// A sender or viewer whose partner has not joined, or has left.
    Waiting,
    /// A sender that has sent an offer, or a viewer that has received one.
    Active,
    /// A sender or viewer that was refused, or has stopped dialling.
    Error,
    /// A user who has no call.
    Idle,
    /// A user who calls another and waits for an answer.
    Calling,
    /// A user who is being called.
    Ringing,
    /// A user in a call.
    InCall,
}

/// A decoded signaling message, in terms that fit every dialect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "message", rename_all = "kebab-case")]
pub enum Message {
    /// A client asks to join.
    Join {
        /// The room.
        room: RoomName,
    },
    /// The server admits a client.
    Joined {
        /// The room.
        room: RoomName,
        /// The client's own id.
        id: ClientId,
        /// The members that are in the room already.
        roster: Vec<Member>,
    },
    /// The server announces that another client joined.
    PeerJoined {
        /// The room.
        room: RoomName,
        /// The new member.
        member: Member,
    },
    /// A client leaves.
    Leave {
        /// The room.
        room: RoomName,
    },
    /// The server announces that another client left.
    PeerLeft {
        /// The room.
        room: RoomName,
        /// That client's id.
        id: ClientId,
    },
    /// A message from one client to another.
    Signal {
        /// The room.
        room: RoomName,
        /// The receiver in a sent message; `None` addresses everybody else. The sender in a received one; `None` if the
        /// dialect does not name it.
        peer: Option<ClientId>,
        /// The kind of signal.
        kind: SignalKind,
        /// The opaque payload, byte for byte.
        payload: Arc<str>,
    },
    /// The server reports an error.
    Error {
        /// The error's message.
        text: Arc<str>,
    },
    /// A message that the dialect does not define.
    Unknown,
    /// The server admits a client, without a list of the members.
    Admitted {
        /// The room.
        room: RoomName,
        /// The client's own id.
        id: ClientId,
    },
    /// The server announces that the other side of a two-party room is there.
    PartnerReady {
        /// The room.
        room: RoomName,
    },
    /// The server announces that the other side of a two-party room has left.
    PartnerLeft {
        /// The room.
        room: RoomName,
    },
    /// A step of a call between users.
    Call {
        /// The receiver of a sent message, or the sender of a received one.
        peer: ClientId,
        /// The step.
        step: CallStep,
    },
    /// The server refuses what the client asked for, in one of the ways that oracles judge. Every other error is an
    /// [`Error`](Self::Error).
    Refused {
        /// Why, independent of the server's wording.
        why: Refused,
        /// The error's message.
        text: Arc<str>,
    },
}

/// Why a server refuses what a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refused {
    /// A join: another client holds the role in that room.
    RoleTaken,
    /// A join: another client holds the name.
    NameTaken,
    /// A call: no user has that name.
    NoSuchUser,
    /// A call: the caller has a call already. It may be on its way to the caller, who then rings too late.
    Busy,
}

impl Refused {
    /// Whether it is a join that was refused.
    pub fn is_join(self) -> bool {
        matches!(self, Self::RoleTaken | Self::NameTaken)
    }
}

/// A step of a call between users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum CallStep {
    /// A user calls another.
    Ring,
    /// The called user accepts.
    Accept,
    /// The called user rejects the call.
    Reject,
    /// The called user is in another call.
    Busy,
    /// Either user ends the call.
    End,
    /// A camera or microphone was turned on or off.
    Media {
        /// Camera or microphone.
        kind: MediaKind,
        /// Whether it is on.
        enabled: bool,
    },
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Member {
    /// The id by which other clients address it.
    pub id: ClientId,
    /// Its display name.
    pub name: Option<Arc<str>>,
}

/// What a signal carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalKind {
    /// An SDP offer. RFC 9429.
    Offer,
    /// An SDP answer.
    Answer,
    /// A trickled candidate. RFC 8838.
    IceCandidate,
    /// The sender ends the connection between the two.
    Hangup,
}
