//! An arriving message as a dialect reads it, without a copy of its parts.

use std::borrow::Cow;

use crate::event::{Event, Id, Meaning, Member};
use crate::file::{EventName, Kind};
use crate::shape::Captures;
use crate::{Dialect, Pattern};

/// A message that matches a pattern of its dialect.
#[derive(Debug)]
pub struct Reading<'d, 'a> {
    dialect: &'d Dialect,
    pattern: &'d Pattern,
    captures: Captures<'d, 'a>,
}

impl<'d, 'a> Reading<'d, 'a> {
    pub(crate) fn new(dialect: &'d Dialect, pattern: &'d Pattern, captures: Captures<'d, 'a>) -> Self {
        Self { dialect, pattern, captures }
    }

    /// What the message means.
    pub fn event(&self) -> EventName {
        self.pattern.event
    }

    /// The value of a variable, as JSON text.
    pub fn json(&self, variable: &str) -> Option<&str> {
        self.captures.get(variable)
    }

    /// The value of a variable as text: a string without its quotes, any other value as JSON.
    pub fn text(&self, variable: &str) -> Option<Cow<'_, str>> {
        self.captures.text(variable)
    }

    /// The kind of a signal.
    pub fn kind(&self) -> Option<Kind> {
        let named = self.text("kind").and_then(|name| self.dialect.kind(&name));
        named.or(self.pattern.kind)
    }

    /// The role that the message is about.
    pub fn role(&self) -> Option<Cow<'_, str>> {
        self.text("role").or_else(|| self.pattern.role.as_deref().map(Cow::Borrowed))
    }

    /// Whether a call was accepted.
    pub fn accepted(&self) -> Option<bool> {
        self.flag("accepted").or(self.pattern.accepted)
    }

    /// The value of a variable that is true or false.
    pub fn flag(&self, variable: &str) -> Option<bool> {
        self.json(variable)?.parse().ok()
    }

    /// What the client sends back at once, if the server asks for an answer.
    pub fn reply(&self) -> Option<String> {
        let mut text = String::new();
        self.pattern.reply.as_ref()?.write(&|name| self.json(name), &mut text).ok()?;
        Some(text)
    }

    /// The members that the message lists: the id of each as JSON text, and its display name. `None` if the message
    /// has no list.
    pub fn members(&self) -> Option<impl Iterator<Item = (&str, Option<Cow<'_, str>>)>> {
        let members = self.captures.members.as_ref()?;
        Some(members.iter().filter_map(|member| {
            let is_named = member.get("name").is_some_and(|name| name != "null");
            Some((member.get("id")?, member.text("name").filter(|_| is_named)))
        }))
    }

    /// The message as an event that owns its parts.
    pub fn into_event(self) -> Event {
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let json = |name: &str| self.json(name).map(str::to_owned);
        // Equal ids have equal texts, however they are escaped.
        let id_of = |json: &str| Some(Id(serde_json::from_str::<serde_json::Value>(json).ok()?.to_string()));
        let id = |name: &str| self.json(name).and_then(id_of);
        let members = self.members().map(|members| {
            members.filter_map(|(id, name)| Some(Member { id: id_of(id)?, name: owned(name) })).collect()
        });
        Event {
            what: Meaning::Is(self.event()),
            room: owned(self.text("room")),
            id: id("id"),
            name: owned(self.text("name")),
            role: owned(self.role()),
            from: id("from"),
            to: id("to"),
            kind: self.kind(),
            data: json("data"),
            members,
            accepted: self.accepted(),
            reason: owned(self.text("reason")),
            session: json("session"),
            nonce: json("nonce"),
            token: json("token"),
            media: owned(self.text("media")),
            enabled: self.flag("enabled"),
            reply: self.reply(),
        }
    }
}
