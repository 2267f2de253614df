//! What a client does and receives, independent of the dialect.

use std::fmt;

use crate::file::{EventName, Kind, Operation};

/// The id of a client or user, as JSON, because numbers are ids too.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(
    /// The id as JSON text: `"a7"`, or `7`.
    pub String,
);

impl Id {
    /// The id that is this text.
    pub fn of(name: &str) -> Self {
        Self(serde_json::Value::from(name).to_string())
    }

    /// Whether it stands for no id.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::shape::plain(&self.0))
    }
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its id.
    pub id: Id,
    /// Its display name.
    pub name: Option<String>,
}

/// The arguments of an operation of a client.
#[derive(Clone, Debug, Default)]
pub struct Act<'a> {
    /// The room that the operation is about.
    pub room: &'a str,
    /// The receiver; `None` is everybody.
    pub to: Option<&'a Id>,
    /// The payload: JSON, sent unchanged.
    pub data: Option<&'a str>,
    /// The kind of a signal.
    pub kind: Option<Kind>,
    /// The display name to join with.
    pub name: Option<&'a str>,
    /// The role to join with.
    pub role: Option<&'a str>,
    /// The media that is on or off: `audio` or `video`.
    pub media: Option<(&'a str, bool)>,
    /// Keys that every object with a payload, receiver or room also gets, whatever the dialect says.
    pub extra: &'a [(&'a str, String)],
}

/// An arriving message, as the dialect reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Which event it is.
    pub what: Meaning,
    /// The room that it is about.
    pub room: Option<String>,
    /// The client that it is about, or the receiver's own id.
    pub id: Option<Id>,
    /// The display name of the client that it is about.
    pub name: Option<String>,
    /// The role that it is about.
    pub role: Option<String>,
    /// The sender.
    pub from: Option<Id>,
    /// The receiver.
    pub to: Option<Id>,
    /// The kind of a signal.
    pub kind: Option<Kind>,
    /// The payload, byte for byte as it arrived.
    pub data: Option<String>,
    /// The members of the room.
    pub members: Option<Vec<Member>>,
    /// Whether a call was accepted.
    pub accepted: Option<bool>,
    /// The reason of an error or of an answer.
    pub reason: Option<String>,
    /// The session, as JSON.
    pub session: Option<String>,
    /// Values that the client's later messages contain, as JSON.
    pub nonce: Option<String>,
    /// See `nonce`.
    pub token: Option<String>,
    /// The media that is on or off.
    pub media: Option<String>,
    /// Whether it is on.
    pub enabled: Option<bool>,
    /// What the client sends back at once, if the server asks for an answer.
    pub reply: Option<String>,
}

/// What notices call a client: an id or a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its id; empty if it has none.
    pub id: Id,
    /// Its role, if the dialect has roles.
    pub role: Option<String>,
}

/// What an arriving message means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// It is this event of the dialect.
    Is(EventName),
    /// It is this event of the dialect but malformed; how, in words.
    Broken(EventName, String),
    /// The dialect does not describe the message. Clients skip it.
    #[default]
    Other,
}

impl Event {
    /// Whether the event is about this client.
    pub fn about(&self, who: &Who) -> bool {
        match &self.id {
            Some(id) => *id == who.id,
            None => self.role.is_some() && self.role == who.role,
        }
    }

    /// Whether the event reports that this client has left.
    pub fn is_left(&self, who: &Who) -> bool {
        self.is(EventName::MemberLeft) && self.about(who)
    }

    /// Whether the event reports that this client has joined.
    pub fn is_joined(&self, who: &Who) -> bool {
        self.is(EventName::MemberJoined) && self.about(who)
    }

    /// Whether it is this event, well-formed.
    pub fn is(&self, name: EventName) -> bool {
        self.what == Meaning::Is(name)
    }

    /// Whether it is a signal, from any sender.
    pub fn is_signal(&self) -> bool {
        self.is(EventName::Signal)
    }

    /// Whether it is an error, whatever its reason.
    pub fn is_error(&self) -> bool {
        self.is(EventName::Error)
    }

    /// Whether it is a signal whose payload is this word.
    pub fn has_word(&self, word: &str) -> bool {
        self.is_signal()
            && self
                .data
                .as_ref()
                .is_some_and(|data| serde_json::from_str::<String>(data).is_ok_and(|data| data == word))
    }
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Offer, Self::Answer, Self::Candidate, Self::Hangup];

    /// The operation that sends signals of this kind only. A dialect need not have it.
    pub fn operation(self) -> Operation {
        match self {
            Self::Offer => Operation::Offer,
            Self::Answer => Operation::Answer,
            Self::Candidate => Operation::Candidate,
            Self::Hangup => Operation::Hangup,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Candidate => "candidate",
            Self::Hangup => "hangup",
        })
    }
}

impl EventName {
    /// Its name in dialect files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Joined => "joined",
            Self::MemberJoined => "member-joined",
            Self::MemberLeft => "member-left",
            Self::Announced => "announced",
            Self::Roster => "roster",
            Self::Ready => "ready",
            Self::Signal => "signal",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Ended => "ended",
            Self::Media => "media",
            Self::Description => "description",
            Self::Error => "error",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Ignored => "ignored",
        }
    }
}

impl Operation {
    /// All operations. The place of one in this list is part of the number that asks for its acknowledgement.
    pub const ALL: [Self; 18] = [
        Self::Join,
        Self::Open,
        Self::Leave,
        Self::Signal,
        Self::Offer,
        Self::Answer,
        Self::Candidate,
        Self::Hangup,
        Self::Call,
        Self::Accept,
        Self::Reject,
        Self::End,
        Self::Media,
        Self::OfferByName,
        Self::AnswerByName,
        Self::Announce,
        Self::Ping,
        Self::Pong,
    ];

    /// Its name in dialect files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Open => "open",
            Self::Leave => "leave",
            Self::Signal => "signal",
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Candidate => "candidate",
            Self::Hangup => "hangup",
            Self::Call => "call",
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::End => "end",
            Self::Media => "media",
            Self::OfferByName => "offer-by-name",
            Self::AnswerByName => "answer-by-name",
            Self::Announce => "announce",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }
}
