//! Recordings: everything that went over the wire in a case, as a file of JSON lines that people can read and the suite
//! can replay.
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

pub use crate::entry::{Connects, Did, Ended, Entry, Framed, HttpRequest, HttpResponse, Octets};
pub use crate::framing::browser::{Browser, Opening};
use crate::verdict::{CaseReport, Report};

/// The format version that this suite writes and reads.
const VERSION: u32 = 1;
/// Everything that went over the wire in one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Which case, and on which server.
    pub head: Head,
    /// What its clients did and received, in order.
    pub entries: Vec<Entry>,
}

/// The first line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The format version.
    recording: u32,
    /// The dialect's name, or the name of the STUN or TURN service.
    pub dialect: String,
    /// The slug of the case.
    pub case: String,
    /// The name of the verdict.
    pub verdict: String,
    /// The reason, if the verdict has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The server's URL, without the values of its query.
    pub url: String,
    /// The clients' names; entries refer to them by index.
    pub clients: Vec<String>,
    /// Whether the rest was cut: more than 32 MiB went over the wire.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// A file that is not a valid recording, with where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecording(pub(crate) String);

impl Recording {
    /// The recording of a case in a run; `None` if nothing was recorded.
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

    /// The file name to store it under.
    pub fn file_name(&self) -> String {
        format!("{}.jsonl", self.head.case.replace('/', "."))
    }

    /// The text of its file: one JSON object per line.
    pub fn lines(&self) -> String {
        let json = |line: serde_json::Result<String>| line.expect("keys are strings and no number is infinite") + "\n";
        let entries = self.entries.iter().map(|entry| json(serde_json::to_string(entry)));
        std::iter::once(json(serde_json::to_string(&self.head))).chain(entries).collect()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a valid recording: the error gives the line and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, BadRecording> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path);
        Self::parse(&file, &text.map_err(|error| BadRecording(format!("{file}: cannot be read: {error}")))?)
    }

    /// Parses the text of a recording. `file` is its name in errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(file: &str, text: &str) -> Result<Self, BadRecording> {
        let wrong = |line: usize, why: String| BadRecording(format!("{file}:{line}: {why}"));
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, first) = lines.next().ok_or_else(|| wrong(1, "the file is empty".to_owned()))?;
        let head: Head = serde_json::from_str(first)
            .map_err(|error| wrong(1, format!("is not a recording written by `--record DIR`: {error}")))?;
        if head.recording != VERSION {
            return Err(wrong(1, format!("is a recording of version {}; this suite reads {VERSION}", head.recording)));
        }
        let mut entries = Vec::new();
        for (index, line) in lines {
            let mut entry: Entry = serde_json::from_str(line).map_err(|error| wrong(index + 1, error.to_string()))?;
            entry.did.modernize();
            if entry.client >= head.clients.len() {
                let why = format!("client {} of {}: the first is 0", entry.client, head.clients.len());
                return Err(wrong(index + 1, why));
            }
            if let Did::SendsBytes(octets) = &entry.did
                && octets.bytes().is_none()
            {
                return Err(wrong(index + 1, "`hex` does not have two digits for each byte".to_owned()));
            }
            entries.push(entry);
        }
        Ok(Self { head, entries })
    }
}

impl BadRecording {
    /// The same error, with the name of the file.
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
