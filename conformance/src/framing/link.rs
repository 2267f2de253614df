//! The two ends of a connection's task: a client sends commands, and the task reports events.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::socket::Socket;
use crate::entry::{Did, Ended};
use crate::transcript::{LineKind, Log};

/// More messages than any correct server sends to one client in a case.
pub(crate) const MESSAGES_MAX: usize = 20_000;
/// More bytes than any correct server sends to one client in a case.
pub(crate) const BYTES_MAX: usize = 32 * 1024 * 1024;

/// A command to a connection.
#[derive(Debug)]
pub(crate) enum Command {
    Text(String),
    /// A message in several frames, one of them empty, with a ping between them.
    Fragments(String),
    Binary(Bytes),
    Ping(&'static [u8]),
    Close(u16),
    /// Carries out these commands in turn, and passes all that they write to TCP at once. A framing that cannot do that
    /// writes one after the other, without waiting for an answer.
    Together(Vec<Command>),
    /// Posts messages to this path from here on, where messages are posted.
    PostTo(String),
    /// Writes bytes that bypass the framing; with a description.
    Raw(Bytes, &'static str),
    /// Stops reading (`true`) or starts again (`false`).
    Deaf(bool),
    /// Notifies the sender once everything before it is written.
    Written(oneshot::Sender<()>),
    /// Hands the socket over once everything is written; then the task ends. Only WebSockets can do this.
    HandOver(oneshot::Sender<Socket>),
}

impl Command {
    /// The single commands, in turn.
    pub(crate) fn apart(self) -> Vec<Self> {
        match self {
            Self::Together(commands) => commands.into_iter().flat_map(Self::apart).collect(),
            single => vec![single],
        }
    }
}

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Text(String),
    Binary,
    Pong(Bytes),
    /// The connection is over; nothing follows.
    End(End),
}

/// An event, and the line of the transcript that shows it.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) line: usize,
    pub(crate) event: LinkEvent,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A close frame arrived, with or without a code, and then TCP ended.
    Closed(Option<u16>),
    /// TCP ended or broke without a close frame.
    Lost,
    /// The server broke the framing rules.
    Broken(String),
    /// The server sent more than a client accepts.
    Flood,
}

impl End {
    /// The entry for a recording.
    pub(crate) fn kept(&self) -> Did {
        let (code, how) = match self {
            Self::Closed(code) => (*code, "closed".to_owned()),
            Self::Lost => (None, "lost".to_owned()),
            Self::Broken(why) => (None, why.clone()),
            Self::Flood => (None, "a flood".to_owned()),
        };
        Did::Ended(Ended { code, how })
    }
}

/// The client's end. Dropping it ends the connection without a close.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) commands: UnboundedSender<Command>,
    pub(crate) events: UnboundedReceiver<Logged>,
    /// The reason in the close frame that has arrived.
    pub(crate) close_reason: Arc<OnceLock<String>>,
    /// Whether the server agreed to permessage-deflate: then messages are sent compressed.
    pub(crate) deflates: bool,
}

/// The task's end: the commands to carry out.
pub(crate) type Commands = UnboundedReceiver<Command>;

/// The task's end: reports events.
#[derive(Clone)]
pub(crate) struct Reporter {
    log: Log,
    client: usize,
    events: UnboundedSender<Logged>,
    close_reason: Arc<OnceLock<String>>,
}

/// Both ends for a connection of a client, given as an index into the log.
pub(crate) fn link(log: &Log, client: usize) -> (Link, Commands, Reporter) {
    let (commands, their_commands) = unbounded_channel();
    let (their_events, events) = unbounded_channel();
    let close_reason = Arc::default();
    let reporter = Reporter { log: log.clone(), client, events: their_events, close_reason: Arc::clone(&close_reason) };
    (Link { commands, events, close_reason, deflates: false }, their_commands, reporter)
}

impl Reporter {
    /// Adds a line to the transcript and returns its index.
    pub(crate) fn line(&self, kind: LineKind, text: &str) -> usize {
        self.log.push(self.client, kind, text)
    }

    pub(crate) fn note(&self, text: &str) -> usize {
        self.line(LineKind::Note, text)
    }

    /// Records what went over the wire, if recording is on.
    pub(crate) fn keep(&self, did: impl FnOnce() -> Did) {
        self.log.keep(self.client, did);
    }

    /// Reports an event that a transcript line shows. Does nothing if the client is gone.
    pub(crate) fn report(&self, line: usize, event: LinkEvent) {
        let _ = self.events.send(Logged { line, event });
    }

    /// Logs that a message was sent.
    pub(crate) fn sent(&self, text: &str) {
        self.line(LineKind::Sends, text);
        self.keep(|| Did::Sends(text.to_owned()));
    }

    /// Logs and reports that a message arrived.
    pub(crate) fn received(&self, text: String) {
        let line = self.line(LineKind::Hears, &text);
        self.keep(|| Did::Hears(text.clone()));
        self.report(line, LinkEvent::Text(text));
    }

    /// Keeps the reason of a close frame. Of several, the first one counts.
    pub(crate) fn closes_with(&self, reason: &str) {
        let _ = self.close_reason.set(reason.to_owned());
    }

    /// Logs and reports that the connection ended.
    pub(crate) fn ended(&self, end: End, words: &str) {
        let line = self.note(words);
        self.keep(|| end.kept());
        self.report(line, LinkEvent::End(end));
    }
}
