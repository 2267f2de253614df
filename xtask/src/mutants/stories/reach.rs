//! Why no generated story can show a defect, as the catalogue says it of some.
//!
//! **The rule**: clients of stories do what their protocol lets them do, and nothing else. A defect cannot show if it takes
//! a client that does more than that, or something that no profile draws at all. It is decided by what the defect needs, not by
//! whether it was found: a story that shows such a defect proves the entry wrong.

/// What a defect needs that no story has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::mutants) enum Beyond {
    Api,
    Frames,
    Handshake,
    Messages,
    Names,
    Polling,
    Settings,
    Stun,
    Lifetimes,
    Form,
}

impl Beyond {
    pub(in crate::mutants) const ALL: [Self; 10] = [
        Self::Api,
        Self::Frames,
        Self::Handshake,
        Self::Messages,
        Self::Names,
        Self::Polling,
        Self::Settings,
        Self::Stun,
        Self::Lifetimes,
        Self::Form,
    ];

    /// Its name in the catalogue.
    pub(in crate::mutants) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Frames => "frames",
            Self::Handshake => "handshake",
            Self::Messages => "messages",
            Self::Names => "names",
            Self::Polling => "polling",
            Self::Settings => "settings",
            Self::Stun => "stun",
            Self::Lifetimes => "lifetimes",
            Self::Form => "form",
        }
    }

    /// What it needs, behind "it needs".
    pub(in crate::mutants) fn needs(self) -> &'static str {
        match self {
            Self::Api => {
                "an HTTP request other than that for ICE servers, or something that only a page reads in its answer"
            }
            Self::Frames => "WebSocket frames that clients do not send: broken, binary, too long, or pongs unasked",
            Self::Handshake => "another WebSocket handshake than that of the clients, or another URL",
            Self::Messages => {
                "a message that no client sends: malformed, forged, of a kind or with a value that these clients do not make, \
                 or at a moment at which they send none, such as a second join"
            }
            Self::Names => "a room or a user with a name that no story has: empty, too long, with capitals or spaces",
            Self::Polling => "Socket.IO over polling, or packets that its clients do not send",
            Self::Settings => "a limit that no story reaches, or a setting or an address that its servers do not have",
            Self::Stun => {
                "a STUN or TURN message that clients do not send: malformed, forged, or with an option that they do not use"
            }
            Self::Lifetimes => "more time than a story has",
            Self::Form => {
                "somebody who reads what no client of a story reads: the form of an id, the words of an error, a header"
            }
        }
    }

    /// Whether stories may go differently with the defect, byte by byte. What needs something that does not happen changes none.
    pub(in crate::mutants) fn may_change(self) -> bool {
        self == Self::Form
    }

    pub(in crate::mutants) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|beyond| beyond.name() == name)
    }
}
