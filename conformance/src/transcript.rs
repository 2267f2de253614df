//! What each client of a case sent and received, with times: the evidence for a finding.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::entry::{Did, Entry};
use crate::redact::Secrets;
use crate::words::cut;

/// Longer texts are cut in the transcript.
const TEXT_CHARS_MAX: usize = 1_000;
/// Bytes recorded of one case at most: 32 MiB. The rest is left out.
const WIRE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Further lines are only counted, so that a server that floods clients cannot fill our memory.
const LINES_MAX: usize = 2_000;

/// What happened in one case, in order.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// The clients' names, in the order they connected.
    pub clients: Vec<String>,
    /// What the clients did and received.
    pub lines: Vec<Line>,
    /// Lines that were left out because there were too many.
    pub omitted: usize,
    /// The uncut entries for a recording; empty unless recording is on.
    pub wire: Vec<Entry>,
    /// Whether the recording was cut because it exceeded 32 MiB.
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
    /// A message as on the wire, or a description in words; cut after 1,000 characters.
    pub text: String,
    /// Length of the uncut text in bytes.
    pub bytes: usize,
}

/// Kinds of [`Line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// The client sent a text message.
    Sends,
    /// The client received a text message.
    Hears,
    /// Anything else: connection opened or closed, control frames, broken frames.
    Note,
}

/// The transcript of a running case, shared by its clients.
#[derive(Clone)]
pub(crate) struct Log {
    start: Instant,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    transcript: Transcript,
    /// Bytes that may still be recorded.
    room: usize,
    notes: Notes,
    /// Why the case does not apply after all: something that it needs cannot be sent.
    unsupported: Option<String>,
    /// What happened by chance, so that the case may end differently when it runs again.
    chance: Option<&'static str>,
}

/// Observations about a case that go with its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// What the server chose where the dialect leaves the choice open.
    pub remarks: Vec<String>,
    /// Where the server deviates in an allowed way.
    pub choices: Vec<String>,
    /// Where the server does what its dialect declares, but that is bad practice.
    pub quality: Vec<String>,
}

impl Transcript {
    /// The line that shows what a server that died received last. Of what clients sent together at the end, it is the
    /// first thing that did not arrive anywhere.
    pub(crate) fn last_in_flight(&self) -> Option<usize> {
        let probe = |line: &Line| self.clients.get(line.client).is_some_and(|name| name.starts_with("alive"));
        let sent = |line: &Line| {
            line.kind == LineKind::Sends || (line.kind == LineKind::Note && line.text.starts_with("sends "))
        };
        let lines: Vec<_> = self.lines.iter().enumerate().filter(|(_, line)| !probe(line)).collect();
        // What is sent after the first connection was lost cannot be the cause. A client may see the end of another
        // one's connection before that of its own.
        let answered = lines.iter().rposition(|(_, line)| line.kind == LineKind::Hears).map_or(0, |at| at + 1);
        let is_lost = |line: &Line| line.kind == LineKind::Note && line.text.starts_with("TCP ends");
        let lost = lines[answered..].iter().position(|(_, line)| is_lost(line)).map(|at| answered + at);
        let last_sent = |until: usize| lines[..until].iter().rposition(|(_, line)| sent(line));
        let last = lost.and_then(last_sent).or_else(|| last_sent(lines.len()))?;
        let first = lines[..last].iter().rposition(|(_, line)| !sent(line)).map_or(0, |before| before + 1);
        let arrived = |sent: &Line| {
            let is_word = |word: &&str| word.rsplit_once('-').is_some_and(|(_, number)| number.parse::<u32>().is_ok());
            let mut words = sent.text.split('"').filter(is_word);
            let received = || lines.iter().filter(|(_, line)| line.kind == LineKind::Hears);
            words.any(|word| received().any(|(_, line)| line.text.contains(word)))
        };
        let unanswered = lines[first..=last].iter().find(|(_, line)| !arrived(line));
        unanswered.or(lines.get(last)).map(|(at, _)| *at)
    }

    /// Removes secrets from every text.
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

    /// A new log; with `wire`, it also records what goes over the wire.
    pub(crate) fn keeping(wire: bool) -> Self {
        let log = Self::new();
        log.lock().room = if wire { WIRE_BYTES_MAX } else { 0 };
        log
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the log")
    }

    /// Adds a client and returns its index.
    pub(crate) fn client(&self, name: &str) -> usize {
        let clients = &mut self.lock().transcript.clients;
        clients.push(name.to_owned());
        clients.len() - 1
    }

    /// The index of the client with this name; adds it if it is new.
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

    /// Records an entry, if recording is on and there is room.
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

    /// Notes an observation that is not a failure.
    pub(crate) fn remark(&self, remark: String) {
        self.lock().notes.remarks.push(remark);
    }

    /// Notes an allowed deviation.
    pub(crate) fn choice(&self, choice: String) {
        self.lock().notes.choices.push(choice);
    }

    /// Notes declared behaviour that is bad practice.
    pub(crate) fn quality(&self, finding: String) {
        self.lock().notes.quality.push(finding);
    }

    /// Notes that something that the case needs cannot be sent, so that its result says nothing about the server.
    pub(crate) fn cannot_send(&self, why: String) {
        self.lock().unsupported.get_or_insert(why);
    }

    /// Why the case does not apply, if something that it needs cannot be sent.
    pub(crate) fn unsupported(&self) -> Option<String> {
        self.lock().unsupported.clone()
    }

    /// Like [`unsupported`](Self::unsupported), and forgets it.
    pub(crate) fn take_unsupported(&self) -> Option<String> {
        self.lock().unsupported.take()
    }

    /// Notes that something happened by chance which a failure may come from.
    pub(crate) fn by_chance(&self, what: &'static str) {
        self.lock().chance.get_or_insert(what);
    }

    /// What happened by chance, if anything did.
    pub(crate) fn chance(&self) -> Option<&'static str> {
        self.lock().chance
    }

    /// The transcript and the notes so far.
    pub(crate) fn snapshot(&self) -> (Transcript, Notes) {
        let inner = self.lock();
        (inner.transcript.clone(), inner.notes.clone())
    }
}
