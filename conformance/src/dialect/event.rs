//! What a client does and receives, independent of the dialect.

use std::fmt;

use super::file::{EventName, Kind, Operation};

/// The id of a client or user, as JSON, because numbers are ids too.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) String);

impl Id {
    pub(crate) fn of(name: &str) -> Self {
        Self(serde_json::Value::from(name).to_string())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::shape::plain(&self.0))
    }
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) id: Id,
    pub(crate) name: Option<String>,
}

/// The arguments of an operation of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Act<'a> {
    pub(crate) room: &'a str,
    pub(crate) to: Option<&'a Id>,
    /// The payload: JSON, sent unchanged.
    pub(crate) data: Option<&'a str>,
    pub(crate) kind: Option<Kind>,
    pub(crate) name: Option<&'a str>,
    pub(crate) role: Option<&'a str>,
    pub(crate) media: Option<(&'a str, bool)>,
    /// Keys that every object with a payload, receiver or room also gets, whatever the dialect says.
    pub(crate) extra: &'a [(&'a str, String)],
}

/// An arriving message, as the dialect reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) what: Meaning,
    pub(crate) room: Option<String>,
    pub(crate) id: Option<Id>,
    pub(crate) name: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) from: Option<Id>,
    pub(crate) to: Option<Id>,
    pub(crate) kind: Option<Kind>,
    /// The payload, byte for byte as it arrived.
    pub(crate) data: Option<String>,
    pub(crate) members: Option<Vec<Member>>,
    pub(crate) accepted: Option<bool>,
    pub(crate) reason: Option<String>,
    /// The session, as JSON.
    pub(crate) session: Option<String>,
    /// Values that the client's later messages contain, as JSON.
    pub(crate) nonce: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) media: Option<String>,
    pub(crate) enabled: Option<bool>,
}

/// What an arriving message means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Meaning {
    Is(EventName),
    /// It is this event of the dialect but malformed; how, in words.
    Broken(EventName, String),
    /// The dialect does not describe the message. Clients skip it.
    #[default]
    Other,
}

impl Event {
    pub(crate) fn is(&self, name: EventName) -> bool {
        self.what == Meaning::Is(name)
    }

    /// Whether it is a signal, from any sender.
    pub(crate) fn is_signal(&self) -> bool {
        self.is(EventName::Signal)
    }

    pub(crate) fn is_error(&self) -> bool {
        self.is(EventName::Error)
    }

    /// Whether it is a signal whose payload is this word.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.is_signal()
            && self
                .data
                .as_ref()
                .is_some_and(|data| serde_json::from_str::<String>(data).is_ok_and(|data| data == word))
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Offer, Self::Answer, Self::Candidate, Self::Hangup];

    /// The operation that sends signals of this kind only. A dialect need not have it.
    pub(crate) fn operation(self) -> Operation {
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
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Joined => "joined",
            Self::MemberJoined => "member-joined",
            Self::MemberLeft => "member-left",
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
    pub(crate) const ALL: [Self; 17] = [
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
        Self::Ping,
        Self::Pong,
    ];

    /// Its name in dialect files.
    pub(crate) fn name(self) -> &'static str {
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
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }
}
