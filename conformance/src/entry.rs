//! What clients do and receive on the wire: the entries of a [`Recording`](crate::Recording).

use serde::{Deserialize, Serialize};

use crate::framing::browser::Opening;
use crate::redact::query;

/// One thing that a client did or received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Time since the case began, in milliseconds.
    pub at_ms: f64,
    /// Which client: an index into [`Head::clients`].
    pub client: usize,
    /// What happened.
    #[serde(flatten)]
    pub did: Did,
}

/// What a client did or received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Did {
    /// It started to connect.
    Connects(Connects),
    /// The connection is open.
    Connected,
    /// The connection could not be opened, and why.
    Fails(String),
    /// It sent a message of the dialect.
    Sends(String),
    /// It sent bytes that are not a message: a broken frame, a datagram.
    SendsBytes(Octets),
    /// It sent a WebSocket ping.
    Pings(String),
    /// It sent a close frame.
    Closes(u16),
    /// It stopped reading (`true`) or started again (`false`).
    Deaf(bool),
    /// It ended TCP without a close frame.
    HangsUp,
    /// A message arrived.
    Hears(String),
    /// Bytes arrived that are not a message: a binary frame, a datagram.
    HearsBytes(Octets),
    /// A pong arrived.
    Pong(String),
    /// The server ended the connection, or it was lost.
    Ended(Ended),
    /// It sent a request over plain HTTP.
    Request(HttpRequest),
    /// The response to its request arrived.
    Response(HttpResponse),
    /// Anything else, in words.
    Note(String),
}

/// A request over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query, without the values of secrets.
    pub path: String,
    /// The body, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A response over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpResponse {
    /// The status code: 200, 404 …
    pub status: u16,
    /// The body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// How a connection is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connects {
    /// How messages are framed on it.
    pub framing: Framed,
    /// Path and query, without the values of secrets.
    pub path: String,
    /// Where messages are posted to, if not to `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    /// Whether the user's headers are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// How the handshake of a WebSocket is written.
    #[serde(default, skip_serializing_if = "Opening::is_plain")]
    pub opening: Opening,
    /// What an adapter is given about the client, as JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(String, String)>,
}

/// How messages are framed on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framed {
    /// WebSocket text frames.
    #[default]
    Text,
    /// WebSocket binary frames.
    Binary,
    /// Socket.IO over a WebSocket.
    SocketIo,
    /// Server-sent events and POST.
    Sse,
    /// A program supplied by the user.
    Adapter,
}

/// Bytes, with a description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Octets {
    /// The bytes as hexadecimal digits, two per byte.
    pub hex: String,
    /// What the bytes are, in words.
    pub words: String,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The code of the close frame, if one came with a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// `closed`, `lost`, or the rule that the server broke.
    pub how: String,
}

impl Octets {
    pub(crate) fn new(bytes: &[u8], words: impl Into<String>) -> Self {
        Self { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect(), words: words.into() }
    }

    /// The bytes; `None` if `hex` is not valid.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let digits = self.hex.as_bytes();
        let pairs = digits.chunks(2).map(|pair| match pair {
            [_, _] => u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok(),
            _ => None,
        });
        pairs.collect()
    }
}

impl Connects {
    /// The Engine.IO session, opened over plain HTTP, that this connection continues.
    pub(crate) fn session(&self) -> Option<&str> {
        let session = query(&self.path).into_iter().find(|(key, _)| *key == "sid");
        session.map(|(_, id)| id)
    }
}

impl Did {
    /// Memory that the entry takes, roughly, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Sends(text) | Self::Hears(text) | Self::Note(text) | Self::Fails(text) => text.len(),
            Self::SendsBytes(octets) | Self::HearsBytes(octets) => octets.hex.len(),
            Self::Request(request) => request.path.len() + request.body.as_ref().map_or(0, String::len),
            Self::Response(response) => response.body.len(),
            _ => 64,
        }
    }

    /// Applies `reword` to every text in it.
    pub(crate) fn reword(&mut self, reword: &dyn Fn(&str) -> String) {
        match self {
            Self::Sends(text)
            | Self::Hears(text)
            | Self::Note(text)
            | Self::Fails(text)
            | Self::Pings(text)
            | Self::Pong(text) => *text = reword(text),
            Self::Connects(connects) => {
                connects.path = reword(&connects.path);
                connects.post = connects.post.as_deref().map(reword);
                connects.values.iter_mut().for_each(|(_, value)| *value = reword(value));
            }
            Self::SendsBytes(octets) | Self::HearsBytes(octets) => octets.words = reword(&octets.words),
            Self::Request(request) => {
                request.path = reword(&request.path);
                request.body = request.body.as_deref().map(reword);
            }
            Self::Response(response) => response.body = reword(&response.body),
            Self::Ended(ended) => ended.how = reword(&ended.how),
            Self::Connected | Self::Closes(_) | Self::Deaf(_) | Self::HangsUp => {}
        }
    }

    /// Converts an entry of an older recording: responses over plain HTTP used to be notes.
    pub(crate) fn modernize(&mut self) {
        const ANSWER: &str = "is answered HTTP ";
        let Self::Note(text) = self else { return };
        let Some(answer) = text.strip_prefix(ANSWER) else { return };
        let (status, body) = answer.split_once(": ").unwrap_or((answer, ""));
        if let Ok(status) = status.parse() {
            *self = Self::Response(HttpResponse { status, body: body.to_owned() });
        }
    }

    /// Whether it came from the server over a connection.
    pub(crate) fn is_arrival(&self) -> bool {
        matches!(self, Self::Hears(_) | Self::HearsBytes(_) | Self::Pong(_) | Self::Ended(_))
    }
}
