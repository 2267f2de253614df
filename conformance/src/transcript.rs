//! Who sent and heard what in a case, over all its clients, with times: the evidence of a finding.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::entry::{Did, Entry};
use crate::redact::Secrets;
use crate::words::cut;

/// A text longer than this is cut when it is recorded.
const TEXT_CHARS_MAX: usize = 1_000;
/// A case that carries more than this is recorded up to here: 32 MiB.
const WIRE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What comes beyond this many lines is only counted: a server that floods must not fill our memory.
const LINES_MAX: usize = 2_000;

/// What happened in one case, in the order it happened.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// The clients' names, in the order they connected.
    pub clients: Vec<String>,
    /// What they did and met.
    pub lines: Vec<Line>,
    /// Lines that were left out because there were too many.
    pub omitted: usize,
    /// The same whole, as it went over the wire; empty unless it was asked for.
    pub wire: Vec<Entry>,
    /// Whether the rest of that was left out because it was too much.
    pub cut: bool,
}

/// One thing that happened to one client.
#[derive(Clone, Debug)]
pub struct Line {
    /// Time since the case began.
    pub at: Duration,
    /// Index into [`Transcript::clients`].
    pub client: usize,
    /// What kind of thing it is.
    pub kind: LineKind,
    /// A message as it is on the wire, or a description in words; cut after 1,000 characters.
    pub text: String,
    /// Length in bytes of the whole text.
    pub bytes: usize,
}

/// Kinds of [`Line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// The client sent a text message.
    Sends,
    /// The client received a text message.
    Hears,
    /// Anything else: opened, closed, control frames, broken frames.
    Note,
}

/// A transcript in the making, shared by the clients of a case.
#[derive(Clone)]
pub(crate) struct Log {
    start: Instant,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    transcript: Transcript,
    /// Bytes that may still be kept of what goes over the wire.
    room: usize,
    notes: Notes,
}

/// What is worth knowing about a case beside its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The server chose what the dialect leaves open.
    pub remarks: Vec<String>,
    /// It does another thing than it should, which is allowed.
    pub choices: Vec<String>,
    /// It does what its dialect declares, and that is not good.
    pub quality: Vec<String>,
}

impl Transcript {
    /// Takes secrets out of every text.
    pub(crate) fn redact(&mut self, secrets: &Secrets) {
        for line in &mut self.lines {
            line.text = secrets.hide(&line.text);
        }
        for entry in &mut self.wire {
            entry.did.reword(&|text| secrets.hide(text));
        }
    }
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), inner: Arc::default() }
    }

    /// The same; if `wire`, what goes over the wire is kept too.
    pub(crate) fn keeping(wire: bool) -> Self {
        let log = Self::new();
        log.lock().room = if wire { WIRE_BYTES_MAX } else { 0 };
        log
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the log")
    }

    /// Enters a client and returns its index.
    pub(crate) fn client(&self, name: &str) -> usize {
        let clients = &mut self.lock().transcript.clients;
        clients.push(name.to_owned());
        clients.len() - 1
    }

    /// The index of the client of this name, which is entered if need be.
    pub(crate) fn named(&self, name: &str) -> usize {
        let known = self.lock().transcript.clients.iter().position(|client| client == name);
        known.unwrap_or_else(|| self.client(name))
    }

    /// Adds a line and returns its index.
    pub(crate) fn push(&self, client: usize, kind: LineKind, text: &str) -> usize {
        let at = self.start.elapsed();
        let transcript = &mut self.lock().transcript;
        if transcript.lines.len() >= LINES_MAX {
            transcript.omitted += 1;
        } else {
            transcript.lines.push(Line {
                at,
                client,
                kind,
                text: cut(text, TEXT_CHARS_MAX).to_owned(),
                bytes: text.len(),
            });
        }
        transcript.lines.len() + transcript.omitted - 1
    }

    /// Keeps what went over the wire, if that is asked for.
    pub(crate) fn keep(&self, client: usize, did: impl FnOnce() -> Did) {
        let at = self.start.elapsed();
        let inner = &mut *self.lock();
        if inner.room == 0 {
            return;
        }
        let did = did();
        inner.room = inner.room.saturating_sub(did.bytes());
        if inner.room == 0 {
            inner.transcript.cut = true;
            return;
        }
        let at_ms = at.as_micros() as f64 / 1e3;
        inner.transcript.wire.push(Entry { at_ms, client, did });
    }

    /// Something worth telling that is no failure.
    pub(crate) fn remark(&self, remark: String) {
        self.lock().notes.remarks.push(remark);
    }

    /// Something that is allowed, and not what is asked.
    pub(crate) fn choice(&self, choice: String) {
        self.lock().notes.choices.push(choice);
    }

    /// Something that is declared, and not good.
    pub(crate) fn quality(&self, finding: String) {
        self.lock().notes.quality.push(finding);
    }

    /// What is there by now.
    pub(crate) fn snapshot(&self) -> (Transcript, Notes) {
        let inner = self.lock();
        (inner.transcript.clone(), inner.notes.clone())
    }
}
