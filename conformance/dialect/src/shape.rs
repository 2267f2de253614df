//! The shape of a message: JSON with variables in it.
//!
//! One notation describes the messages in both directions:
//!
//! | in a shape | sending | matching |
//! |---|---|---|
//! | `"join"`, `5`, `null` | this value | exactly this value |
//! | `$room` | the variable's value | any value that fits the variable, captured |
//! | `"to"?: $to` | left out if there is no value | may be absent or null |
//! | `$kind: …` as a key | the variable's value as the key | the key of that name |
//! | `$members[{"clientId": $id}]` | | a list, each element of which has that shape |
//! | `$members{$id: {"name": $name}}` | | an object, each entry of which has that shape |
//! | `$offers[{"offer": $data}]` | a list with an element of that shape for each offer | a list of that shape |
//! | `{…}` | in this order | other keys are allowed |

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::json::Json;

/// A message's shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A string, number, boolean or null.
    Literal(serde_json::Value),
    /// The value of a variable.
    Variable(String),
    /// An object with these entries; others are allowed.
    Object(Vec<Entry>),
    /// A list that begins with these elements.
    List(Vec<Shape>),
    /// A list whose elements all have one shape. The string is the variable.
    Each(String, Box<Shape>),
    /// An object whose entries all have one shape: the variable, the variable for the keys, and the shape of the
    /// values.
    Keyed(String, String, Box<Shape>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Whether it may be absent.
    pub optional: bool,
    /// The shape of the value.
    pub value: Shape,
}

/// The key of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// This text.
    Literal(String),
    /// The value of a variable.
    Variable(String),
}

/// An error in a shape's text, and the byte where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The byte where it is.
    pub at: usize,
    /// What is wrong, in words.
    pub why: String,
}

/// Values of variables, by name, as JSON texts.
pub type Values = BTreeMap<String, String>;

/// What a match captures. It borrows from the shape and from the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures<'s, 'a> {
    /// Variables and their values, as JSON texts.
    values: Vec<(&'s str, Cow<'a, str>)>,
    /// What each member of a [`Shape::Each`] or [`Shape::Keyed`] captures; `None` if there is no such part.
    pub members: Option<Vec<Captures<'s, 'a>>>,
}

impl<'s, 'a> Captures<'s, 'a> {
    /// The value of a variable, as JSON text. If it is captured more than once, the last value counts.
    pub fn get(&self, variable: &str) -> Option<&str> {
        self.values.iter().rfind(|(name, _)| *name == variable).map(|(_, value)| &**value)
    }

    /// The value of a variable as text: a string without its quotes, any other value as JSON.
    pub fn text(&self, variable: &str) -> Option<Cow<'_, str>> {
        self.get(variable).map(plain_text)
    }

    fn set(&mut self, variable: &'s str, value: Cow<'a, str>) {
        self.values.push((variable, value));
    }
}

/// Why the message for an operation cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// The dialect has no message for the operation.
    NoMessage {
        /// Its name in dialect files.
        operation: &'static str,
    },
    /// A variable of the message has no value.
    Unknown {
        /// Its name, without `$`.
        variable: String,
    },
    /// No object of the message can take further keys.
    NoPlace {
        /// The first of them.
        key: String,
    },
}

impl RenderError {
    fn unknown(variable: &str) -> Self {
        Self::Unknown { variable: variable.to_owned() }
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMessage { operation } => write!(f, "has no `{operation}`"),
            Self::Unknown { variable } => write!(f, "has a message with `${variable}`, for which there is no value"),
            Self::NoPlace { key } => write!(f, "has no object in the message that could take the key `{key}`"),
        }
    }
}

/// Why a message does not match a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It is a different message.
    Other,
    /// It is this message, but a part is absent or has the wrong type; which, in words.
    Lacks(String),
}

/// The meaning of variables when a message is read.
pub trait Variables {
    /// Checks whether a variable can hold a value, which is JSON; the error says what would be right.
    fn fits(&self, variable: &str, value: &str) -> Result<(), Mismatch>;

    /// The value of a variable, if it is captured or follows from what is captured.
    fn follows<'c>(&'c self, variable: &str, captured: &'c Captures<'_, '_>) -> Option<Cow<'c, str>>;
}

/// The meaning of variables, passed down while a message is read.
pub type Fits<'a> = &'a dyn Variables;

const DEPTH_MAX: usize = 16;
/// The variable of a list of offers. Its value, as JSON, has a list with the payload and the session of each.
pub const OFFERS: &str = "offers";

impl Shape {
    /// Parses a shape.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut reader = Reader { text, at: 0 };
        let shape = reader.shape(0)?;
        reader.space();
        if reader.at < text.len() { Err(reader.wrong("nothing may follow")) } else { Ok(shape) }
    }

    /// Calls `visit` with the name of each variable.
    pub fn variables<'a>(&'a self, visit: &mut dyn FnMut(&'a str)) {
        match self {
            Self::Literal(_) => {}
            Self::Variable(name) => visit(name),
            Self::Object(entries) => entries.iter().for_each(|entry| {
                if let Key::Variable(name) = &entry.key {
                    visit(name);
                }
                entry.value.variables(visit);
            }),
            Self::List(items) => items.iter().for_each(|item| item.variables(visit)),
            Self::Each(name, item) => {
                visit(name);
                item.variables(visit);
            }
            Self::Keyed(name, key, value) => {
                visit(name);
                visit(key);
                value.variables(visit);
            }
        }
    }

    /// Whether a variable occurs in the shape.
    pub fn has(&self, variable: &str) -> bool {
        let mut found = false;
        self.variables(&mut |name| found |= name == variable);
        found
    }

    /// Adds to `keys` the keys whose value is this variable.
    pub fn keys_of(&self, variable: &str, keys: &mut Vec<String>) {
        match self {
            Self::Object(entries) => entries.iter().for_each(|entry| match (&entry.key, &entry.value) {
                (Key::Literal(key), Self::Variable(name)) if name == variable => keys.push(key.clone()),
                (_, value) => value.keys_of(variable, keys),
            }),
            Self::List(items) => items.iter().for_each(|item| item.keys_of(variable, keys)),
            Self::Each(_, item) => item.keys_of(variable, keys),
            _ => {}
        }
    }

    /// Whether a variable occurs as a list: `$offers[…]`.
    pub fn lists(&self, variable: &str) -> bool {
        match self {
            Self::Literal(_) | Self::Variable(_) | Self::Keyed(..) => false,
            Self::Object(entries) => entries.iter().any(|entry| entry.value.lists(variable)),
            Self::List(items) => items.iter().any(|item| item.lists(variable)),
            Self::Each(name, item) => name == variable || item.lists(variable),
        }
    }

    /// Whether a variable occurs where it must have a value.
    pub fn requires(&self, variable: &str) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Variable(name) => name == variable,
            Self::Object(entries) => entries.iter().filter(|entry| !entry.optional).any(|entry| {
                matches!(&entry.key, Key::Variable(name) if name == variable) || entry.value.requires(variable)
            }),
            Self::List(items) => items.iter().any(|item| item.requires(variable)),
            Self::Each(name, _) | Self::Keyed(name, _, _) => name == variable,
        }
    }

    /// Writes the message. An object that holds the payload, the receiver or the room also gets the `extra` keys, which
    /// replace its own keys of the same names.
    ///
    /// # Errors
    /// A required variable has no value, or no object takes the `extra` keys.
    pub fn render(&self, values: &Values, extra: &[(&str, String)]) -> Result<String, RenderError> {
        if let Some((key, _)) = extra.first().filter(|_| !self.takes_extra()) {
            return Err(RenderError::NoPlace { key: (*key).to_owned() });
        }
        let mut out = String::new();
        self.put(&|name| values.get(name).map(String::as_str), extra, &mut out)?;
        Ok(out)
    }

    /// Appends the message to `out`. `values` gives the value of a variable, as JSON text.
    ///
    /// # Errors
    /// A required variable has no value. Then `out` has a part of the message.
    pub fn write<'v>(&self, values: &dyn Fn(&str) -> Option<&'v str>, out: &mut String) -> Result<(), RenderError> {
        self.put(values, &[], out)
    }

    fn put<'v>(
        &self,
        values: &dyn Fn(&str) -> Option<&'v str>,
        extra: &[(&str, String)],
        out: &mut String,
    ) -> Result<(), RenderError> {
        match self {
            Self::Literal(value) => write!(out, "{value}").expect("a string takes all that is written"),
            Self::Variable(name) => out.push_str(values(name).ok_or_else(|| RenderError::unknown(name))?),
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    out.push(if index == 0 { '[' } else { ',' });
                    item.put(values, extra, out)?;
                }
                out.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Self::Object(entries) => {
                let speaks = holds_act(entries);
                out.push('{');
                let begin = out.len();
                for Entry { key, optional, value } in entries {
                    let key = match key {
                        Key::Literal(key) => Cow::Borrowed(key.as_str()),
                        Key::Variable(name) => plain_text(values(name).ok_or_else(|| RenderError::unknown(name))?),
                    };
                    let before = out.len();
                    start_entry(&key, begin, out);
                    match value.put(values, extra, out) {
                        Err(_) if *optional => out.truncate(before),
                        written => written?,
                    }
                    if speaks && extra.iter().any(|(other, _)| *other == key) {
                        out.truncate(before);
                    }
                }
                for (key, value) in extra.iter().filter(|_| speaks) {
                    start_entry(key, begin, out);
                    out.push_str(value);
                }
                out.push('}');
            }
            Self::Each(name, item) if name == OFFERS => item.put_offers(values, extra, out)?,
            Self::Each(name, _) | Self::Keyed(name, _, _) => return Err(RenderError::unknown(name)),
        }
        Ok(())
    }

    /// Writes a list with an element of this shape for each offer; without a value of `$offers`, for the one offer whose
    /// payload is `$data`.
    fn put_offers<'v>(
        &self,
        values: &dyn Fn(&str) -> Option<&'v str>,
        extra: &[(&str, String)],
        out: &mut String,
    ) -> Result<(), RenderError> {
        out.push('[');
        match values(OFFERS) {
            None => self.put(values, extra, out)?,
            Some(offers) => {
                let offers = Json::parse(offers).ok_or_else(|| RenderError::unknown(OFFERS))?;
                for (index, offer) in offers.list().unwrap_or_default().iter().enumerate() {
                    let parts = offer.list().unwrap_or_default();
                    let part = |index: usize| parts.get(index).map(Json::text);
                    let own = |name: &str| match name {
                        "data" => part(0),
                        "session" => part(1),
                        _ => values(name),
                    };
                    out.push_str(if index == 0 { "" } else { "," });
                    self.put(&own, extra, out)?;
                }
            }
        }
        out.push(']');
        Ok(())
    }

    /// Whether some object of the message gets the extra keys.
    fn takes_extra(&self) -> bool {
        match self {
            Self::Object(entries) => holds_act(entries) || entries.iter().any(|entry| entry.value.takes_extra()),
            Self::List(items) => items.iter().any(Self::takes_extra),
            Self::Each(_, item) => item.takes_extra(),
            _ => false,
        }
    }

    /// The first element, if the message is a list.
    pub fn first(&self) -> Option<&Self> {
        let Self::List(items) = self else { return None };
        items.first()
    }

    /// Matches a message against the shape.
    ///
    /// # Errors
    /// It is another message, or this one with a part missing or wrong.
    pub fn read<'s, 'a>(&'s self, message: &Json<'a>, fits: Fits<'_>) -> Result<Captures<'s, 'a>, Mismatch> {
        let mut captures = Captures::default();
        self.take(message, fits, &mut captures, true)?;
        Ok(captures)
    }

    fn take<'s, 'a>(
        &'s self,
        value: &Json<'a>,
        fits: Fits<'_>,
        into: &mut Captures<'s, 'a>,
        top: bool,
    ) -> Result<(), Mismatch> {
        match self {
            Self::Literal(literal) => {
                if value.is(literal) {
                    Ok(())
                } else {
                    Err(Mismatch::Other)
                }
            }
            Self::Variable(name) => {
                fits.fits(name, value.text())?;
                into.set(name, Cow::Borrowed(value.text()));
                Ok(())
            }
            Self::List(shapes) => {
                let items = value.list().ok_or_else(|| different(top, "a list"))?;
                let lacks = |index: usize| Mismatch::Lacks(format!("element {}", index + 1));
                let mut wrong = None;
                for (index, shape) in shapes.iter().enumerate() {
                    match items
                        .get(index)
                        .ok_or_else(|| lacks(index))
                        .and_then(|item| shape.take(item, fits, into, false))
                    {
                        Err(Mismatch::Other) => return Err(Mismatch::Other),
                        Err(lacks) => wrong = wrong.or(Some(lacks)),
                        Ok(()) => {}
                    }
                }
                wrong.map_or(Ok(()), Err)
            }
            Self::Object(entries) => {
                let object = value.object().ok_or_else(|| different(top, "an object"))?;
                take_entries(entries, object, fits, into)
            }
            Self::Each(_, item) => {
                let items = value.list().ok_or_else(|| different(top, "a list"))?;
                let members = items.iter().map(|value| item.member(value, fits));
                into.members = Some(members.collect::<Result<_, _>>()?);
                Ok(())
            }
            Self::Keyed(_, key, item) => {
                let items = value.object().ok_or_else(|| different(top, "an object"))?;
                let items: BTreeMap<&str, &Json<'a>> = items.iter().map(|(name, value)| (&**name, value)).collect();
                let members = items.into_iter().map(|(name, value)| {
                    let mut member = item.member(value, fits)?;
                    member.set(key, Cow::Owned(serde_json::Value::from(name).to_string()));
                    Ok(member)
                });
                into.members = Some(members.collect::<Result<_, _>>()?);
                Ok(())
            }
        }
    }

    fn member<'s, 'a>(&'s self, value: &Json<'a>, fits: Fits<'_>) -> Result<Captures<'s, 'a>, Mismatch> {
        let mut member = Captures::default();
        match self.take(value, fits, &mut member, false) {
            Ok(()) => Ok(member),
            Err(Mismatch::Lacks(what)) => Err(Mismatch::Lacks(format!("a list of members, one of them {what}"))),
            Err(Mismatch::Other) => Err(Mismatch::Lacks("a list of members".to_owned())),
        }
    }

    /// Whether this part distinguishes the message from others.
    fn distinguishes_messages(&self) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::Object(entries) => entries.iter().any(|entry| !entry.optional),
            Self::List(items) => items.iter().any(Self::distinguishes_messages),
            Self::Variable(name) => name == "kind",
            Self::Each(..) | Self::Keyed(..) => false,
        }
    }

    /// Whether every message that matches `other` also matches this shape. `wider` decides whether a variable accepts
    /// everything that a shape accepts.
    pub fn covers(&self, other: &Self, wider: &dyn Fn(&str, &Shape) -> bool) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) => a == b,
            (Self::Variable(name), other) => wider(name, other),
            (Self::List(a), Self::List(b)) => a.len() <= b.len() && a.iter().zip(b).all(|(a, b)| a.covers(b, wider)),
            (Self::Object(a), Self::Object(b)) => a.iter().filter(|entry| !entry.optional).all(|entry| {
                let same = |other: &&Entry| other.key == entry.key && !other.optional;
                b.iter().find(same).is_some_and(|other| entry.value.covers(&other.value, wider))
            }),
            (Self::Each(_, a), Self::Each(_, b)) | (Self::Keyed(_, _, a), Self::Keyed(_, _, b)) => a.covers(b, wider),
            _ => false,
        }
    }
}

/// Whether the object holds the payload, the receiver or the room.
fn holds_act(entries: &[Entry]) -> bool {
    let is_act = |name: &str| matches!(name, "data" | "to" | "room");
    entries.iter().any(|entry| matches!(&entry.value, Shape::Variable(name) if is_act(name)))
}

fn different(top: bool, right: &str) -> Mismatch {
    if top { Mismatch::Other } else { Mismatch::Lacks(right.to_owned()) }
}

/// Matches the entries of an object. Literals come first: they identify the message. Entries with a variable key come
/// last, when the value of that variable is known.
fn take_entries<'s, 'a>(
    entries: &'s [Entry],
    object: &[(Cow<'a, str>, Json<'a>)],
    fits: Fits<'_>,
    into: &mut Captures<'s, 'a>,
) -> Result<(), Mismatch> {
    let rank = |entry: &Entry| match (&entry.key, &entry.value) {
        (Key::Literal(_), Shape::Literal(_)) => 0,
        (Key::Literal(_), _) => 1,
        (Key::Variable(_), _) => 2,
    };
    let (mut wrong, mut identified) = (None, false);
    for entry in (0..3).flat_map(|turn| entries.iter().filter(move |entry| rank(entry) == turn)) {
        let key = match &entry.key {
            Key::Literal(key) => Cow::Borrowed(key.as_str()),
            Key::Variable(name) => match fits.follows(name, into) {
                Some(key) => Cow::Owned(key.into_owned()),
                None => return Err(Mismatch::Other),
            },
        };
        let taken = match object.iter().rfind(|(other, _)| *other == key) {
            Some((_, value)) if entry.optional && value.text() == "null" => Ok(()),
            Some((_, value)) => entry.value.take(value, fits, into, false),
            None if entry.optional => Ok(()),
            None if matches!(entry.value, Shape::Literal(_)) => Err(Mismatch::Other),
            None if !identified && entry.value.distinguishes_messages() => Err(Mismatch::Other),
            None => Err(Mismatch::Lacks(format!("without `{key}`"))),
        };
        match taken {
            Err(Mismatch::Other) => return Err(Mismatch::Other),
            Err(Mismatch::Lacks(what)) => {
                let what = if what.starts_with("without") { what } else { format!("whose `{key}` is not {what}") };
                wrong = wrong.or(Some(Mismatch::Lacks(what)));
            }
            Ok(()) => identified |= matches!(entry.value, Shape::Literal(_)),
        }
    }
    wrong.map_or(Ok(()), Err)
}

/// Writes a key, and the comma before it unless it is the first of an object that begins at `begin`.
fn start_entry(key: &str, begin: usize, out: &mut String) {
    if out.len() > begin {
        out.push(',');
    }
    quote(key, out);
    out.push(':');
}

/// Appends a text as a JSON string.
pub fn quote(text: &str, out: &mut String) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// A JSON text for people: a string without its quotes.
pub fn plain(json: &str) -> String {
    plain_text(json).into_owned()
}

/// Like [`plain`], but copied only if the string has an escape.
fn plain_text(json: &str) -> Cow<'_, str> {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|_| json.len() > 1);
    match inner {
        None => Cow::Borrowed(json),
        Some(inner) if !inner.contains(['\\', '"']) && inner.bytes().all(|byte| byte >= b' ') => Cow::Borrowed(inner),
        Some(_) => Cow::Owned(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, why: impl Into<String>) -> Malformed {
        Malformed { at: self.at, why: why.into() }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn next_is(&mut self, wanted: char) -> bool {
        self.space();
        let is = self.rest().starts_with(wanted);
        self.at += if is { wanted.len_utf8() } else { 0 };
        is
    }

    fn expect(&mut self, wanted: char, after: &str) -> Result<(), Malformed> {
        if self.next_is(wanted) { Ok(()) } else { Err(self.wrong(format!("`{wanted}` must follow {after}"))) }
    }

    fn shape(&mut self, depth: usize) -> Result<Shape, Malformed> {
        if depth > DEPTH_MAX {
            return Err(self.wrong(format!("is nested more than {DEPTH_MAX} deep")));
        }
        self.space();
        match self.rest().chars().next() {
            None => Err(self.wrong("ends where a value is expected")),
            Some('{') => self.object(depth),
            Some('[') => {
                self.at += 1;
                let mut items = Vec::new();
                if !self.next_is(']') {
                    loop {
                        items.push(self.shape(depth + 1)?);
                        if !self.next_is(',') {
                            break;
                        }
                    }
                    self.expect(']', "the last element")?;
                }
                Ok(Shape::List(items))
            }
            Some('$') => {
                let name = self.variable()?;
                if self.rest().starts_with('[') {
                    self.at += 1;
                    let item = self.shape(depth + 1)?;
                    self.expect(']', "the shape of a member")?;
                    return Ok(Shape::Each(name, Box::new(item)));
                }
                if self.rest().starts_with('{') {
                    self.at += 1;
                    self.space();
                    let key = self.variable()?;
                    self.expect(':', "the variable of a member's key")?;
                    let item = self.shape(depth + 1)?;
                    self.expect('}', "the shape of a member")?;
                    return Ok(Shape::Keyed(name, key, Box::new(item)));
                }
                Ok(Shape::Variable(name))
            }
            Some('"') => Ok(Shape::Literal(self.string()?.into())),
            Some(_) => {
                let end = self.rest().find([',', '}', ']', ' ', '\n', ':']).unwrap_or(self.rest().len());
                match serde_json::from_str(&self.rest()[..end]) {
                    Ok(value) => {
                        self.at += end;
                        Ok(Shape::Literal(value))
                    }
                    Err(_) => Err(self.wrong("expected a value: a string in double quotes, a number, true, false, null, { }, [ ] or a $variable")),
                }
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Shape, Malformed> {
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        if self.next_is('}') {
            return Ok(Shape::Object(entries));
        }
        loop {
            self.space();
            let key = match self.rest().chars().next() {
                Some('"') => Key::Literal(self.string()?),
                Some('$') => Key::Variable(self.variable()?),
                _ => return Err(self.wrong("expected a key: a string in double quotes or a $variable")),
            };
            if entries.iter().any(|entry| entry.key == key) {
                return Err(self.wrong(format!("the key {key} occurs twice")));
            }
            let optional = self.next_is('?');
            self.expect(':', &format!("the key {key}"))?;
            let value = self.shape(depth + 1)?;
            entries.push(Entry { key, optional, value });
            if !self.next_is(',') {
                break;
            }
        }
        self.expect('}', "the last entry")?;
        Ok(Shape::Object(entries))
    }

    fn variable(&mut self) -> Result<String, Malformed> {
        if !self.rest().starts_with('$') {
            return Err(self.wrong("expected a $variable"));
        }
        let name: String = self.rest()[1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            return Err(self.wrong("a variable's name must follow `$`"));
        }
        self.at += 1 + name.len();
        Ok(name)
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let mut escaped = false;
        let end = self.rest().char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else { return Err(self.wrong("a string is not closed")) };
        let string = serde_json::from_str(&self.rest()[..=end]).map_err(|_| self.wrong("is not a JSON string"))?;
        self.at += end + 1;
        Ok(string)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(key) => write!(f, "`{key}`"),
            Self::Variable(name) => write!(f, "`${name}`"),
        }
    }
}
