//! Replays a recording against a server: the same clients send the same messages in the same order. Each message is
//! sent once everything that had arrived before it in the recording has arrived again. Each arrival is compared with
//! the recorded one.
//!
//! The server assigns different ids this time. The dialect knows which values are ids, so new ids replace the recorded
//! ones in what clients send.

mod show;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::dial::Dial;
use crate::dialect::file::{AssignedBy, Framing};
use crate::dialect::{Dialect, Event, EventName, Meaning};
use crate::entry::{Did, Entry, Octets};
use crate::env::Env;
use crate::framing::browser::Opening;
use crate::framing::cookies::Jar;
use crate::framing::error::TransportError;
use crate::framing::link::{Command, Link, LinkEvent};
use crate::framing::net::Net;
use crate::framing::websocket::frame;
use crate::recording::{BadRecording, Head, Recording};
use crate::redact::with_values;
use crate::target::{Target, Unreachable};
use crate::transcript::Log;

/// How much longer than in the recording to wait for an arrival.
const PATIENCE: Duration = Duration::from_secs(3);
/// How much longer to wait once an arrival has failed to come: the rest is unlikely to come either.
const PATIENCE_THEN: Duration = Duration::from_millis(300);
/// How long to watch at the end for messages that were not in the recording.
const AFTERWARDS: Duration = Duration::from_millis(100);
/// Limit for the whole replay, beyond the recording's length.
const LIMIT: Duration = Duration::from_secs(60);

/// The result of a replay.
#[derive(Clone, Debug)]
pub struct Played {
    /// The head of the recording that was replayed.
    pub head: Head,
    /// The server's URL.
    pub url: String,
    /// What clients did and received, each beside its counterpart in the recording.
    pub steps: Vec<Step>,
    /// Messages that arrived beyond those in the recording, each with its client.
    pub further: Vec<(usize, String)>,
    /// Number of requests over plain HTTP in the recording; they are not repeated.
    pub skipped: usize,
    /// The first step after which clients raced: they sent while nothing determined in which order the server would
    /// handle their messages. A later difference may only be another outcome of the race.
    pub raced: Option<usize>,
}

/// One entry of a recording, and what happened this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which client: an index into [`Head::clients`].
    pub client: usize,
    /// Whether the client did it; otherwise the server did.
    pub does: bool,
    /// What happened in the recording.
    pub then: String,
    /// What happened this time. `None`: nothing arrived.
    pub now: Option<String>,
    /// Whether the two are equal apart from ids.
    pub same: bool,
}

/// Why a recording cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplayable {
    /// It does not fit the dialect, or contains something that cannot be replayed.
    Bad(BadRecording),
    /// No connection can be opened.
    Unreachable(Unreachable),
}

/// Replays a recording. Must be called inside a tokio runtime with time and I/O.
///
/// # Errors
/// The recording belongs to another dialect, contains no connection, or continues a session that was opened over plain
/// HTTP; or no connection of the dialect's kind can be opened.
pub async fn replay(
    dial: impl Dial,
    target: &Target,
    dialect: &Arc<Dialect>,
    recording: &Recording,
) -> Result<Played, Unplayable> {
    let bad = |why: String| Err(Unplayable::Bad(BadRecording(why)));
    if recording.head.dialect != dialect.name() {
        return bad(format!("it is a recording of `{}`, not of `{}`", recording.head.dialect, dialect.name()));
    }
    let slug = &recording.head.case;
    let continues = |entry: &Entry| matches!(&entry.did, Did::Connects(connects) if connects.session().is_some());
    if recording.entries.iter().any(continues) {
        return bad(format!("it continues a session that was opened over plain HTTP: run the case with --case {slug}"));
    }
    if !recording.entries.iter().any(|entry| matches!(entry.did, Did::Connects(_))) {
        return bad(format!(
            "no client of {slug} opened a connection that could be opened again: run the case with --case {slug}"
        ));
    }
    let net = Net { dial: Arc::new(dial), target: target.clone(), patience: PATIENCE, opening: Opening::default() };
    let env = Arc::new(Env::new(net, dialect, Duration::ZERO, 0));
    let mut player = Player {
        anonymous: Arc::new(env.anonymous()),
        env,
        log: Log::new(),
        clients: recording.head.clients.iter().map(|_| Client::default()).collect(),
        entries: &recording.entries,
        awaited: Vec::new(),
        ids: BTreeMap::new(),
        steps: Vec::new(),
        sender: None,
        raced: None,
        patience: PATIENCE,
        until: Instant::now() + LIMIT + length(&recording.entries),
    };
    let played = player.play().await;
    played.map_err(|error| {
        let why = target.secrets().hide(&error.to_string());
        Unplayable::Unreachable(Unreachable { url: target.shown(), tried: vec![why] })
    })?;
    let further = player.further().await;
    let is_answer = |entry: &&Entry| matches!(&entry.did, Did::Response(_));
    let skipped = recording.entries.iter().filter(is_answer).count();
    let (head, url, raced) = (recording.head.clone(), target.shown(), player.raced);
    Ok(Played { head, url, steps: player.steps, further, skipped, raced })
}

/// The positions of the payload bytes in a series of masked frames, without control frames. `None` if the bytes are not
/// such frames.
fn payload(bytes: &[u8]) -> Option<Vec<usize>> {
    let mut places = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let [first, second] = bytes.get(at..at + 2)?.try_into().ok()?;
        let header = match second {
            0x80..0xfe => 2,
            0xfe => 4,
            0xff => 10,
            _ => return None,
        };
        let length = match bytes.get(at + 2..at + header)? {
            [] => usize::from(second & 0x7f),
            long => long.iter().fold(0usize, |length, byte| length.wrapping_shl(8) | usize::from(*byte)),
        };
        let begin = at + header + 4;
        let end = begin.checked_add(length).filter(|end| *end <= bytes.len())?;
        if first & 0x08 == 0 {
            places.extend(begin..end);
        }
        at = end;
    }
    Some(places)
}

/// How long the recording lasted.
fn length(entries: &[Entry]) -> Duration {
    let last = entries.last().map_or(0.0, |entry| entry.at_ms);
    Duration::try_from_secs_f64(last / 1e3).unwrap_or_default()
}

/// One client of the recording, as replayed.
#[derive(Default)]
struct Client {
    link: Option<Link>,
    /// A connection that is being opened.
    connecting: Option<oneshot::Receiver<Result<Link, TransportError>>>,
}

struct Player<'a> {
    env: Arc<Env>,
    /// The same server for clients without the user's headers.
    anonymous: Arc<Env>,
    log: Log,
    clients: Vec<Client>,
    entries: &'a [Entry],
    /// Recorded arrivals that come before the next action and have not been waited for yet, as indices.
    awaited: Vec<usize>,
    /// Recorded ids and their new counterparts, as JSON.
    ids: BTreeMap<String, String>,
    steps: Vec<Step>,
    /// The client that sent last, if any has sent since the last arrival.
    sender: Option<usize>,
    raced: Option<usize>,
    patience: Duration,
    until: Instant,
}

impl Player<'_> {
    /// # Errors
    /// The first connection cannot be opened.
    async fn play(&mut self) -> Result<(), TransportError> {
        let entries = self.entries;
        for (index, entry) in entries.iter().enumerate() {
            match &entry.did {
                Did::Note(_) | Did::Request(_) | Did::Response(_) => {}
                Did::Connects(_) => self.connect(entry).await,
                Did::Connected | Did::Fails(_) => {
                    self.settle().await;
                    let opened = self.opened(entry.client).await;
                    if matches!(entry.did, Did::Connected) && self.is_first_connection(index) {
                        opened?;
                        self.connected(entry, None);
                    } else {
                        self.connected(entry, opened.err());
                    }
                }
                did if did.is_arrival() => self.awaited.push(index),
                _ => self.send(entry).await,
            }
        }
        self.settle().await;
        Ok(())
    }

    fn is_first_connection(&self, index: usize) -> bool {
        !self.entries[..index].iter().any(|entry| matches!(entry.did, Did::Connected))
    }

    async fn connect(&mut self, entry: &Entry) {
        self.settle().await;
        self.sender = None;
        let Did::Connects(connects) = &entry.did else { return };
        let env = if connects.anonymous { &self.anonymous } else { &self.env };
        let mut connects = connects.clone();
        connects.path = self.with_new_ids(&with_values(&connects.path, env.net.target.url()));
        // In the background: the other clients went on meanwhile, too.
        let (opened, connecting) = oneshot::channel();
        let (env, log) = (Arc::clone(env), self.log.clone());
        let dial = Arc::clone(&env.net.dial);
        dial.spawn_boxed(Box::pin(async move {
            let client = log.client("");
            let _ = opened.send(env.connector.open(&log, client, &connects, &Jar::default(), None).await);
        }));
        self.clients[entry.client].connecting = Some(connecting);
    }

    /// Waits for the result of an attempt to connect.
    async fn opened(&mut self, client: usize) -> Result<(), TransportError> {
        let client = &mut self.clients[client];
        let Some(connecting) = client.connecting.take() else { return Ok(()) };
        client.link = Some(connecting.await.unwrap_or(Err(TransportError::TaskEnded))?);
        Ok(())
    }

    fn connected(&mut self, entry: &Entry, error: Option<TransportError>) {
        let then = match &entry.did {
            Did::Fails(why) => format!("cannot connect: {why}"),
            _ => "is connected".to_owned(),
        };
        let same = error.is_none() == matches!(entry.did, Did::Connected);
        let now = error.map_or_else(|| "is connected".to_owned(), |error| format!("cannot connect: {error}"));
        self.steps.push(Step { client: entry.client, does: false, then, now: Some(now), same });
    }

    /// Repeats a client's action, once everything recorded before it has arrived.
    async fn send(&mut self, entry: &Entry) {
        if !self.awaited.is_empty() {
            self.sender = None;
        }
        self.settle().await;
        // A client that only hangs up or stops reading does not race the others.
        let speaks = !matches!(entry.did, Did::HangsUp | Did::Deaf(_));
        if speaks && self.sender.replace(entry.client).is_some_and(|other| other != entry.client) {
            self.raced.get_or_insert(self.steps.len());
        }
        let (command, then, now) = match &entry.did {
            Did::Sends(text) => {
                let now = self.with_new_ids(text);
                (Some(Command::Text(now.clone())), text.clone(), now)
            }
            Did::SendsBytes(octets) => {
                let words = format!("({})", octets.words);
                (Some(Command::Raw(self.bytes(octets).into(), "the same bytes")), words.clone(), words)
            }
            Did::Pings(text) => {
                let words = format!("pings: {text}");
                (Some(Command::Raw(frame(0x89, text.as_bytes()), "a ping")), words.clone(), words)
            }
            Did::Closes(code) => {
                let words = format!("closes with {code}");
                (Some(Command::Close(*code)), words.clone(), words)
            }
            Did::Deaf(deaf) => {
                let words = if *deaf { "stops reading" } else { "reads again" };
                (Some(Command::Deaf(*deaf)), words.to_owned(), words.to_owned())
            }
            _ => (None, "hangs up".to_owned(), "hangs up".to_owned()),
        };
        let client = &mut self.clients[entry.client];
        match (command, &client.link) {
            // The connection may be closed already, as it may have been in the recording.
            (Some(command), Some(link)) => drop(link.commands.send(command)),
            (Some(_), None) => {}
            (None, _) => client.link = None,
        }
        self.steps.push(Step { client: entry.client, does: true, then, now: Some(now), same: true });
    }

    /// The bytes of frames, with new ids in place of recorded ones of the same length. An id may be spread over
    /// fragments.
    fn bytes(&self, octets: &Octets) -> Vec<u8> {
        let mut bytes = octets.bytes().expect("checked when it was read");
        let places = payload(&bytes).unwrap_or_else(|| (0..bytes.len()).collect());
        let then: Vec<u8> = places.iter().map(|place| bytes[*place]).collect();
        for (old, new) in self.ids.iter().filter(|(old, new)| old.len() == new.len()) {
            for (at, _) in then.windows(old.len()).enumerate().filter(|(_, window)| *window == old.as_bytes()) {
                places[at..].iter().zip(new.bytes()).for_each(|(place, byte)| bytes[*place] = byte);
            }
        }
        bytes
    }

    /// Waits for all arrivals recorded up to here.
    async fn settle(&mut self) {
        for index in std::mem::take(&mut self.awaited) {
            let entries = self.entries;
            let entry = &entries[index];
            let before = entries[..index].last().map_or(0.0, |before| before.at_ms);
            let gap = Duration::try_from_secs_f64((entry.at_ms - before) / 1e3).unwrap_or_default();
            let left = self.until.saturating_duration_since(Instant::now());
            let limit = (self.patience + gap * 2).min(left);
            let arrival = match &mut self.clients[entry.client].link {
                Some(link) => timeout(limit, link.events.recv()).await.ok().flatten(),
                None => None,
            };
            if arrival.is_none() {
                self.patience = PATIENCE_THEN;
            }
            self.arrived(entry, arrival.map(|arrival| arrival.event));
        }
    }

    fn arrived(&mut self, entry: &Entry, event: Option<LinkEvent>) {
        let then = shown(&entry.did);
        let arrival = event.map(|event| match event {
            LinkEvent::Text(text) => Did::Hears(text),
            LinkEvent::Binary => Did::HearsBytes(Octets::new(&[], "a binary frame")),
            LinkEvent::Pong(payload) => Did::Pong(String::from_utf8_lossy(&payload).into_owned()),
            LinkEvent::End(end) => end.kept(),
        });
        let same = match (&entry.did, &arrival) {
            (Did::Hears(then), Some(Did::Hears(now))) => {
                self.learn(then, now);
                self.is_same(then, now)
            }
            (Did::HearsBytes(_), Some(Did::HearsBytes(_))) => true,
            (then, Some(now)) => then == now,
            (_, None) => false,
        };
        let now = arrival.as_ref().map(shown);
        self.steps.push(Step { client: entry.client, does: false, then, now, same });
    }

    /// Messages that arrived beyond those in the recording.
    async fn further(&mut self) -> Vec<(usize, String)> {
        let until = Instant::now() + AFTERWARDS;
        let mut further = Vec::new();
        for (client, played) in self.clients.iter_mut().enumerate() {
            let Some(link) = &mut played.link else { continue };
            while let Ok(Some(arrival)) = tokio::time::timeout_at(until, link.events.recv()).await {
                if let LinkEvent::Text(text) = arrival.event {
                    further.push((client, text));
                }
            }
        }
        further
    }

    // ---- ids

    /// Learns which new id corresponds to which recorded one, from two messages that correspond.
    fn learn(&mut self, then: &str, now: &str) {
        let dialect = Arc::clone(&self.env.dialect);
        let (a, b) = (dialect.read(then), dialect.read(now));
        let mut pairs: Vec<(Option<String>, Option<String>)> = Vec::new();
        if a.what == b.what && a.what != Meaning::Other {
            if dialect.file.identity.assigned_by == AssignedBy::Server {
                let ids = |event: &Event| {
                    let own = [&event.id, &event.from, &event.to].map(|id| id.as_ref().map(|id| id.0.clone()));
                    let members = event.members.iter().flatten().map(|member| Some(member.id.0.clone()));
                    own.into_iter().chain(members).collect::<Vec<_>>()
                };
                pairs.extend(ids(&a).into_iter().zip(ids(&b)));
            }
            pairs.extend([(a.session, b.session), (a.nonce, b.nonce), (a.token, b.token)]);
        }
        if dialect.file.connection.framing == Framing::SocketIo {
            pairs.push((socket_id(then), socket_id(now)));
        }
        for (old, new) in pairs.into_iter().filter_map(|(old, new)| Some((old?, new?))) {
            let is_new = !self.ids.contains_key(&old) && !self.ids.values().any(|known| *known == new);
            if old.starts_with('"') && is_new {
                self.ids.insert(old, new);
            }
        }
    }

    /// A recorded message with the new ids.
    fn with_new_ids(&self, text: &str) -> String {
        // In one pass: otherwise a new id that equals a recorded one would be replaced again.
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('"') {
            let after = &rest[open..];
            let close = after[1..].find('"').map(|close| close + 2);
            match close.and_then(|close| Some((close, self.ids.get(&after[..close])?))) {
                Some((close, new)) => {
                    out.push_str(&rest[..open]);
                    out.push_str(new);
                    rest = &after[close..];
                }
                None => {
                    out.push_str(&rest[..=open]);
                    rest = &rest[open + 1..];
                }
            }
        }
        out + rest
    }

    /// Whether two messages mean the same once ids are replaced. The wording of a reason and the order of keys and
    /// members do not matter.
    fn is_same(&self, then: &str, now: &str) -> bool {
        let then = self.with_new_ids(then);
        if then == now {
            return true;
        }
        let (a, b) = (meaning(&self.env.dialect, &then), meaning(&self.env.dialect, now));
        match &a.what {
            Meaning::Is(EventName::Ignored) => a.what == b.what,
            Meaning::Is(_) => a == b,
            _ if a.what != b.what => false,
            _ => {
                let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
                json(&then).is_some_and(|then| json(now) == Some(then))
            }
        }
    }
}

/// The meaning of a message, without the parts that may differ.
fn meaning(dialect: &Dialect, text: &str) -> Event {
    let mut event = dialect.read(text);
    event.reason = None;
    if let Some(members) = &mut event.members {
        members.sort();
    }
    event
}

/// For Socket.IO: the session id in the packet that opens a session or confirms a connection, as JSON.
fn socket_id(text: &str) -> Option<String> {
    let json = &text[text.find('{')?..];
    let value: serde_json::Value = serde_json::from_str(json.trim_end_matches(']')).ok()?;
    value.get("sid").map(serde_json::Value::to_string)
}

/// An arrival, as the comparison shows it.
fn shown(did: &Did) -> String {
    match did {
        Did::Hears(text) => text.clone(),
        Did::HearsBytes(octets) => format!("({})", octets.words),
        Did::Pong(text) => format!("a pong: {text}"),
        Did::Ended(ended) => match (ended.how.as_str(), ended.code) {
            ("closed", Some(code)) => format!("the connection is closed with {code}"),
            ("closed", None) => "the connection is closed without a code".to_owned(),
            ("lost", _) => "the connection ends without a close frame".to_owned(),
            (how, _) => format!("the connection ends: {how}"),
        },
        _ => String::new(),
    }
}
