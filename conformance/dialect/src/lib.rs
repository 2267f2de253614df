//! Signaling protocols as data. A *dialect* is a TOML file: what clients send, what arrives, and how the server is
//! declared to behave. The conformance suite and the clients of the simulator both read it.
//!
//! - [`Dialect`] is a protocol. [`Dialect::render`] writes the message of an [`Operation`], and [`Dialect::read`] reads
//!   an arriving message as an [`Event`].
//! - [`mod@file`] is the schema of the files, [`shape`] the notation of their messages.
//! - [`Feature`] is what a use of the dialect may need; [`Dialect::lacks`] says why it is missing.

mod audience;
mod compile;
mod error;
pub mod event;
pub mod feature;
pub mod file;
pub mod form;
pub mod json;
mod place;
mod reading;
mod schema;
pub mod shape;
mod shipped;
mod url;
pub mod words;
pub mod wrong;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use regex_lite::Regex;

pub use audience::Audience;
pub use error::{DialectError, Problem};
pub use event::{Act, Event, Id, Meaning, Member, Who};
pub use feature::Feature;
use file::{Addressing, AssignedBy, File, JoinAnswer, KindNames, Sender};
pub use file::{EventName, Kind, Operation};
use json::Json;
pub use reading::Reading;
use shape::{Captures, Mismatch, RenderError, Shape, Values, Variables};
pub use shipped::{read_text, shipped, shipped_text};
use url::Url;

/// A signaling protocol, from a dialect file.
#[derive(Debug)]
pub struct Dialect {
    /// The file, as written.
    pub file: File,
    url: Option<Url>,
    post: Option<Url>,
    send: BTreeMap<Operation, Shape>,
    patterns: Vec<Pattern>,
    /// Messages that the server must not act on.
    pub wrong: Vec<wrong::WrongMessage>,
    /// What the ids that the server assigns look like.
    pub id_pattern: Option<Regex>,
    /// The lines of all tables and keys in the file.
    places: place::Places,
    /// The folder that an adapter's command is relative to.
    pub folder: PathBuf,
}

/// A shape of arriving messages, and what they mean.
#[derive(Debug)]
pub struct Pattern {
    /// What the message means.
    pub event: EventName,
    /// The form of the message.
    pub shape: Shape,
    kind: Option<Kind>,
    role: Option<String>,
    accepted: Option<bool>,
    /// The operation that it answers, if only answers to that one count.
    answers: Option<Operation>,
    /// What a client sends back at once.
    reply: Option<Shape>,
    /// Its line in the dialect file.
    pub line: usize,
}

impl Dialect {
    /// Loads a dialect: a shipped one by its name, such as `mesh`, or a file by its path. A path contains a `/` or ends
    /// in `.toml`.
    ///
    /// # Errors
    /// All problems of the file, each with its line and what would be right. If there is no such dialect, the nearest
    /// name.
    pub fn load(name_or_path: &str) -> Result<Self, DialectError> {
        shipped::load(name_or_path)
    }

    /// Parses the text of a dialect file. `path_for_messages` is its name in errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path_for_messages: &str, text: &str) -> Result<Self, DialectError> {
        compile::compile(path_for_messages, text)
    }

    /// Its name in reports.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// What the dialect is, in one sentence.
    pub fn about(&self) -> &str {
        &self.file.about
    }

    /// The URL of a server, for examples.
    pub fn example(&self) -> &str {
        &self.file.example
    }

    /// The JSON Schema of dialect files.
    pub fn schema() -> String {
        schema::text()
    }

    /// The operation that sends a signal of this kind, if the dialect has one.
    pub fn signal_operation(&self, kind: Kind) -> Option<Operation> {
        let own = kind.operation();
        if self.send.contains_key(&own) {
            return Some(own);
        }
        let named = self.file.kinds.as_ref().is_none_or(|kinds| kinds.contains_key(&kind));
        (named && self.send.contains_key(&Operation::Signal)).then_some(Operation::Signal)
    }

    /// The shape of the message for an operation.
    pub fn shape(&self, operation: Operation) -> Option<&Shape> {
        self.send.get(&operation)
    }

    /// The operations that have a message.
    pub fn operations(&self) -> impl Iterator<Item = Operation> {
        self.send.keys().copied()
    }

    /// The patterns of arriving messages, in the order in which they are tried.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// The names of the events that carry signals, for a framing whose messages are lists with the name first.
    pub fn event_names(&self) -> Vec<String> {
        let name = |kind| match self.shape(self.signal_operation(kind)?)?.first()? {
            Shape::Literal(serde_json::Value::String(name)) => Some(name.clone()),
            Shape::Variable(name) if name == "kind" => self.kind_name(kind).map(str::to_owned),
            Shape::Variable(name) if name == "field" => self.field_name(kind).map(str::to_owned),
            _ => None,
        };
        Kind::ALL.into_iter().filter_map(name).collect()
    }

    /// Whether a client learns its id, so that cases can compare ids.
    pub fn knows_ids(&self) -> bool {
        match self.file.identity.assigned_by {
            AssignedBy::Client | AssignedBy::UserName => true,
            AssignedBy::Server => self.file.join.answer == JoinAnswer::Joined || self.greets_with_id(),
            AssignedBy::Nobody => false,
        }
    }

    /// Whether the server's first message gives a client its id.
    fn greets_with_id(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.event == EventName::Greeting && pattern.shape.has("id"))
    }

    /// Whether every signal names its room.
    pub fn signals_name_rooms(&self) -> bool {
        let mut operations = Kind::ALL.into_iter().filter_map(|kind| self.signal_operation(kind)).peekable();
        operations.peek().is_some()
            && operations.all(|operation| self.shape(operation).is_some_and(|shape| shape.has("room")))
    }

    /// Whether the server delivers a signal by the id of its receiver.
    pub fn delivers_by_id(&self) -> bool {
        let addressing = self.file.signals.addressing;
        matches!(addressing, Addressing::Both | Addressing::Targeted) && self.knows_ids()
    }

    /// Whether a signal arrives in the form in which it was sent: the server adds nothing and need not parse it.
    pub fn relays_as_sent(&self) -> bool {
        let arrives = |operation| {
            let sent = self.shape(operation);
            let mut signals = self.patterns.iter().filter(|pattern| pattern.event == EventName::Signal);
            sent.is_some_and(|sent| signals.any(|pattern| pattern.shape == *sent))
        };
        let mut operations = Kind::ALL.into_iter().filter_map(|kind| self.signal_operation(kind));
        self.file.signals.sender == Sender::Absent && operations.all(arrives)
    }

    /// Whether some message means this event.
    pub fn has_event(&self, event: EventName) -> bool {
        self.patterns.iter().any(|pattern| pattern.event == event)
    }

    /// The name of a kind on the wire, where messages have `$kind`.
    pub fn kind_name(&self, kind: Kind) -> Option<&str> {
        match self.file.kinds.as_ref()?.get(&kind)? {
            KindNames::Both(name) | KindNames::Each { kind: name, .. } => Some(name),
        }
    }

    /// The name of the key with the payload of a kind, where messages have `$field`.
    pub fn field_name(&self, kind: Kind) -> Option<&str> {
        match self.file.kinds.as_ref()?.get(&kind)? {
            KindNames::Both(name) | KindNames::Each { field: name, .. } => Some(name),
        }
    }

    /// The kind with this name on the wire.
    fn kind(&self, name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| self.kind_name(*kind) == Some(name))
    }

    /// The message with what asks for its acknowledgement in front, if the dialect wants one. `number` is unique in the
    /// run.
    pub fn asks_for_ack(&self, operation: Operation, message: String, number: impl FnOnce() -> usize) -> String {
        if !self.file.connection.with_ack.contains(&operation) {
            return message;
        }
        format!("{}{message}", numbered(operation, number()))
    }

    /// The text of a message, in which an acknowledgement has the name of its operation instead of its number:
    /// `["ack", "join", [true]]`.
    pub fn with_named_ack<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.named_ack(text).map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// The value of `$request` in the message of an operation, from which its answer shows what it answers. `number` is
    /// unique in the run. `None` if the message has no such variable.
    pub fn request_of(&self, operation: Operation, number: impl FnOnce() -> usize) -> Option<String> {
        let has_it = self.shape(operation).is_some_and(|shape| shape.has("request"));
        has_it.then(|| numbered(operation, number()).to_string())
    }

    fn named_ack(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix(r#"["ack","#).filter(|_| !self.file.connection.with_ack.is_empty())?;
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: usize = rest[..end].parse().ok()?;
        let operation = Operation::ALL[number % Operation::ALL.len()];
        Some(format!(r#"["ack","{}"{}"#, operation.name(), &rest[end..]))
    }

    /// The message for an operation. `me` holds the values that stay the same in all messages of a client.
    ///
    /// # Errors
    /// The dialect has no message for the operation, or a variable of the message has no value.
    pub fn render(&self, operation: Operation, act: &Act<'_>, me: &Values) -> Result<String, RenderError> {
        let shape = self.send.get(&operation).ok_or(RenderError::NoMessage { operation: operation.name() })?;
        match self.request_of(operation, || 0).filter(|_| !me.contains_key("request")) {
            None => self.render_shape(shape, act, me),
            Some(request) => {
                let mut me = me.clone();
                me.insert("request".to_owned(), request);
                self.render_shape(shape, act, &me)
            }
        }
    }

    /// Like [`render`](Self::render), for any shape.
    ///
    /// # Errors
    /// A variable of the shape has no value.
    pub fn render_shape(&self, shape: &Shape, act: &Act<'_>, me: &Values) -> Result<String, RenderError> {
        let mut values = me.clone();
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                values.insert(name.to_owned(), value);
            }
        };
        set("room", Some(quoted(act.room)));
        set("to", act.to.map(|id| id.0.clone()));
        set("data", act.data.map(str::to_owned));
        set("name", act.name.map(quoted));
        set("role", act.role.map(quoted));
        set("media", act.media.map(|(media, _)| quoted(media)));
        set("enabled", act.media.map(|(_, enabled)| enabled.to_string()));
        let kind = act.kind;
        set("kind", kind.and_then(|kind| self.kind_name(kind)).map(quoted));
        set("field", kind.and_then(|kind| self.field_name(kind)).map(quoted));
        set("wanted", act.data.map(|_| "1".to_owned()));
        if shape.has("request") {
            values.entry("request".to_owned()).or_insert_with(|| numbered(Operation::Signal, 0).to_string());
        }
        shape.render(&values, act.extra)
    }

    /// The URL that a client connects to.
    pub fn url(&self, base: &str, values: &Values) -> String {
        self.url.as_ref().map_or_else(|| base.to_owned(), |url| url.render(base, values))
    }

    /// The URL that a client posts messages to.
    pub fn post_url(&self, base: &str, values: &Values) -> Option<String> {
        self.post.as_ref().map(|url| url.render(base, values))
    }

    /// Whether the URL contains a variable.
    pub fn url_has(&self, variable: &str) -> bool {
        self.url.as_ref().is_some_and(|url| url.has(variable))
    }

    /// Reads an arriving message by the first pattern that matches.
    pub fn read(&self, text: &str) -> Event {
        let text = self.with_named_ack(text);
        let Some(message) = Json::parse(&text) else { return Event::default() };
        match self.find(&message) {
            Ok(reading) => reading.into_event(),
            Err(what) => Event { what, ..Event::default() },
        }
    }

    /// The operation that a client performs with a message, and what the message contains. `None` if the dialect does
    /// not describe it. A message for one kind of signal comes before the message for all.
    pub fn find_sent<'d, 'a>(&'d self, message: &Json<'a>) -> Option<(Operation, Captures<'d, 'a>)> {
        let mut all: Vec<_> = self.send.iter().collect();
        all.sort_by_key(|(operation, _)| **operation == Operation::Signal);
        all.into_iter().find_map(|(operation, shape)| Some((*operation, shape.read(message, self).ok()?)))
    }

    /// The kind of the signal that a client sends with an operation, by what its message contains.
    pub fn sent_kind(&self, operation: Operation, captures: &Captures<'_, '_>) -> Option<Kind> {
        let own = Kind::ALL.into_iter().find(|kind| kind.operation() == operation);
        own.or_else(|| self.kind(&captures.text("kind").or_else(|| captures.text("field"))?))
    }

    /// Finds the first pattern that an arriving message matches. What it captures is not copied. Of a text,
    /// [`with_named_ack`](Self::with_named_ack) must be parsed.
    ///
    /// # Errors
    /// The message is malformed, or the dialect does not describe it.
    pub fn find<'d, 'a>(&'d self, message: &Json<'a>) -> Result<Reading<'d, 'a>, Meaning> {
        let mut broken = None;
        for pattern in &self.patterns {
            match pattern.shape.read(message, self) {
                Ok(captures) if !pattern.is_answered_by(&captures) => {}
                Ok(captures) => return Ok(Reading::new(self, pattern, captures)),
                Err(Mismatch::Lacks(what)) => broken = broken.or(Some((pattern.event, what))),
                Err(Mismatch::Other) => {}
            }
        }
        Err(broken.map_or(Meaning::Other, |(event, what)| Meaning::Broken(event, what)))
    }
}

impl Pattern {
    /// Whether a message that matches is an answer to the right operation.
    fn is_answered_by(&self, captures: &Captures<'_, '_>) -> bool {
        let Some(wanted) = self.answers else { return true };
        let number = captures.get("request").and_then(|number| number.parse::<usize>().ok());
        number.is_some_and(|number| Operation::ALL[number % Operation::ALL.len()] == wanted)
    }
}

/// A number from which the operation follows that it was made for. `number` distinguishes messages of one operation.
fn numbered(operation: Operation, number: usize) -> usize {
    let place = Operation::ALL.iter().position(|other| *other == operation).expect("it is in the list");
    number * Operation::ALL.len() + place
}

impl Variables for Dialect {
    fn fits(&self, name: &str, json: &str) -> Result<(), Mismatch> {
        let text = || serde_json::from_str::<String>(json).ok().filter(|text| !text.is_empty());
        let lacks = |right: &str| Mismatch::Lacks(right.to_owned());
        match name {
            "kind" => text().and_then(|text| self.kind(&text)).map(drop).ok_or(Mismatch::Other),
            "id" | "from" | "to" | "session" if text().is_none() && serde_json::from_str::<f64>(json).is_err() => {
                Err(lacks("an id"))
            }
            "request" if json.parse::<u64>().is_err() => Err(lacks("a number")),
            "room" | "role" | "media" if text().is_none() => Err(lacks("a string")),
            "accepted" | "enabled" if serde_json::from_str::<bool>(json).is_err() => Err(lacks("true or false")),
            _ => Ok(()),
        }
    }

    fn follows<'c>(&'c self, variable: &str, captured: &'c Captures<'_, '_>) -> Option<Cow<'c, str>> {
        match (variable, captured.text(variable)) {
            (_, Some(value)) => Some(value),
            ("field", None) => self.field_name(self.kind(&captured.text("kind")?)?).map(Cow::Borrowed),
            _ => None,
        }
    }
}
