//! What went over the wire in a case, whole: a file of lines that is kept, read by people and played again.
//!
//! ```text
//! {"recording":1,"dialect":"mesh","case":"mesh/unicast","verdict":"fail","url":"ws://h:8787/","clients":["ana","ben"]}
//! {"at_ms":0.2,"client":0,"connects":{"framing":"text","path":"/"}}
//! {"at_ms":0.9,"client":0,"sends":"{\"action\":\"join\",\"roomId\":\"r\"}"}
//! {"at_ms":1.4,"client":0,"hears":"{\"action\":\"joined\",…}"}
//! ```

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::verdict::{CaseReport, Report};

/// The form of the file that this suite writes and reads.
const VERSION: u32 = 1;
/// What stands instead of a secret.
pub(crate) const SECRET: &str = "…";
/// A case that carries more than this is kept up to here: 32 MiB.
pub(crate) const BYTES_MAX: usize = 32 * 1024 * 1024;

/// A case as it went over the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Which case, of which server.
    pub head: Head,
    /// What its clients did and met, in order.
    pub entries: Vec<Entry>,
}

/// The first line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The version of this form.
    recording: u32,
    /// The dialect's name, or what a service is called.
    pub dialect: String,
    /// The case's name.
    pub case: String,
    /// What came of it.
    pub verdict: String,
    /// Why, if it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The server's URL, without the values of its query.
    pub url: String,
    /// The clients' names, which entries give by place.
    pub clients: Vec<String>,
    /// Whether the rest was left out: more than 32 MiB went over the wire.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

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
    /// Anything else, such as an HTTP request.
    Note(String),
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

/// A file that is no recording, and where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecording(pub(crate) String);

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

impl Did {
    /// Bytes that it takes to keep it, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Sends(text) | Self::Hears(text) | Self::Note(text) | Self::Fails(text) => text.len(),
            Self::SendsBytes(octets) | Self::HearsBytes(octets) => octets.hex.len(),
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
            Self::Ended(ended) => ended.how = reword(&ended.how),
            Self::Connected | Self::Closes(_) | Self::Deaf(_) | Self::HangsUp => {}
        }
    }

    /// Whether it came from the server.
    pub(crate) fn is_arrival(&self) -> bool {
        matches!(self, Self::Hears(_) | Self::HearsBytes(_) | Self::Pong(_) | Self::Ended(_))
    }
}

impl Recording {
    /// What was kept of a case of a run, if something was.
    pub fn of(report: &Report, case: &CaseReport) -> Option<Self> {
        let transcript = &case.transcript;
        let (verdict, why) = case.verdict.words();
        let head = Head {
            recording: VERSION,
            dialect: report.dialect.clone(),
            case: case.case.slug.to_owned(),
            verdict: verdict.to_owned(),
            why: why.map(str::to_owned),
            url: report.url.clone(),
            clients: transcript.clients.clone(),
            cut: transcript.cut,
        };
        (!transcript.wire.is_empty()).then(|| Self { head, entries: transcript.wire.clone() })
    }

    /// The name of its file.
    pub fn file_name(&self) -> String {
        format!("{}.jsonl", self.head.case.replace('/', "."))
    }

    /// The lines of its file.
    pub fn lines(&self) -> String {
        let json = |line: serde_json::Result<String>| line.expect("keys are strings and no number is infinite") + "\n";
        let entries = self.entries.iter().map(|entry| json(serde_json::to_string(entry)));
        std::iter::once(json(serde_json::to_string(&self.head))).chain(entries).collect()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no recording: the line and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, BadRecording> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path);
        Self::parse(&file, &text.map_err(|error| BadRecording(format!("{file}: cannot be read: {error}")))?)
    }

    /// Reads a file's text. `file` is what errors call it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(file: &str, text: &str) -> Result<Self, BadRecording> {
        let wrong = |line: usize, why: String| BadRecording(format!("{file}:{line}: {why}"));
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, first) = lines.next().ok_or_else(|| wrong(1, "there is nothing in it".to_owned()))?;
        let head: Head = serde_json::from_str(first)
            .map_err(|error| wrong(1, format!("is no recording that `--record DIR` has written: {error}")))?;
        if head.recording != VERSION {
            return Err(wrong(1, format!("is a recording of version {}; this suite reads {VERSION}", head.recording)));
        }
        let mut entries = Vec::new();
        for (index, line) in lines {
            let entry: Entry = serde_json::from_str(line).map_err(|error| wrong(index + 1, error.to_string()))?;
            if entry.client >= head.clients.len() {
                let why = format!("client {} of {}: the first is 0", entry.client, head.clients.len());
                return Err(wrong(index + 1, why));
            }
            if let Did::SendsBytes(octets) = &entry.did
                && octets.bytes().is_none()
            {
                return Err(wrong(index + 1, "`hex` has no two digits for each byte".to_owned()));
            }
            entries.push(entry);
        }
        Ok(Self { head, entries })
    }
}

impl BadRecording {
    /// The same, said of a file.
    #[must_use]
    pub fn of(file: &str, error: &Self) -> Self {
        Self(format!("{file}: {}", error.0))
    }
}

impl fmt::Display for BadRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRecording {}
