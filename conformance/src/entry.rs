//! What clients do and meet on the wire: the entries of a [`Recording`](crate::Recording).

use serde::{Deserialize, Serialize};

use crate::redact::query;

/// One thing that a client did or met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Time since the case began.
    pub at_ms: f64,
    /// Which client, a place in [`Head::clients`].
    pub client: usize,
    /// What.
    #[serde(flatten)]
    pub did: Did,
}

/// What a client did or met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Did {
    /// It asked for a connection.
    Connects(Connects),
    /// The connection is open.
    Connected,
    /// There is no connection, and why.
    Fails(String),
    /// It sent a message, as the dialect has it.
    Sends(String),
    /// It sent bytes that are no message: a broken frame, a datagram.
    SendsBytes(Octets),
    /// It sent a WebSocket ping.
    Pings(String),
    /// It sent a close frame.
    Closes(u16),
    /// It stopped reading, or reads again.
    Deaf(bool),
    /// It let TCP end.
    HangsUp,
    /// A message came.
    Hears(String),
    /// Bytes came that are no message: a binary frame, a datagram.
    HearsBytes(Octets),
    /// A pong came.
    Pong(String),
    /// The server's side ended the connection.
    Ended(Ended),
    /// It sent a request over plain HTTP.
    Request(HttpRequest),
    /// The answer to its request came.
    Response(HttpResponse),
    /// Anything else.
    Note(String),
}

/// A request over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query; a secret's value is left out.
    pub path: String,
    /// The body, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// An answer over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpResponse {
    /// The status: 200, 404 …
    pub status: u16,
    /// The body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// How a connection was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connects {
    /// How messages stand in it.
    pub framing: Framed,
    /// Path and query; a secret's value is left out.
    pub path: String,
    /// Where messages are posted to, if that is somewhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    /// Whether the user's headers were left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// What an adapter is told about the client, as JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(String, String)>,
}

/// How messages stand in a connection.
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
    /// A program of the user's.
    Adapter,
}

/// Bytes, with words for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Octets {
    /// Two digits a byte.
    pub hex: String,
    /// What they are.
    pub words: String,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The code of a close frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// `closed`, `lost`, or what rule the server broke.
    pub how: String,
}

impl Octets {
    pub(crate) fn new(bytes: &[u8], words: impl Into<String>) -> Self {
        Self { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect(), words: words.into() }
    }

    /// The bytes, if the digits are some.
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
    /// The Engine.IO session, opened over plain HTTP, that the connection continues.
    pub(crate) fn session(&self) -> Option<&str> {
        let session = query(&self.path).into_iter().find(|(key, _)| *key == "sid");
        session.map(|(_, id)| id)
    }
}

impl Did {
    /// Bytes that it takes to keep it, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Sends(text) | Self::Hears(text) | Self::Note(text) | Self::Fails(text) => text.len(),
            Self::SendsBytes(octets) | Self::HearsBytes(octets) => octets.hex.len(),
            Self::Request(request) => request.path.len() + request.body.as_ref().map_or(0, String::len),
            Self::Response(response) => response.body.len(),
            _ => 64,
        }
    }

    /// Changes every text in it.
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

    /// Answers over plain HTTP were notes in older recordings.
    pub(crate) fn modernize(&mut self) {
        const ANSWER: &str = "is answered HTTP ";
        let Self::Note(text) = self else { return };
        let Some(answer) = text.strip_prefix(ANSWER) else { return };
        let (status, body) = answer.split_once(": ").unwrap_or((answer, ""));
        if let Ok(status) = status.parse() {
            *self = Self::Response(HttpResponse { status, body: body.to_owned() });
        }
    }

    /// Whether it came from the server, on a connection.
    pub(crate) fn is_arrival(&self) -> bool {
        matches!(self, Self::Hears(_) | Self::HearsBytes(_) | Self::Pong(_) | Self::Ended(_))
    }
}
