//! Reads the tables of a TOML document key by key, and reports all problems with their lines.
//!
//! This does not use serde, because serde stops at the first problem and loses the lines of inner values.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Problems, instead, quote};
use crate::value::Parse;

/// Parses a text as TOML and passes the document to `read`. If the syntax is wrong, reports that instead.
pub(crate) fn document<T>(text: &str, problems: &Problems, read: impl FnOnce(&DeTable<'_>) -> Option<T>) -> Option<T> {
    let (document, wrong) = DeTable::parse_recoverable(text);
    if wrong.is_empty() {
        return read(document.get_ref());
    }
    for wrong in wrong {
        let span = wrong.span().unwrap_or_default();
        let key = text.get(span.clone()).filter(|_| wrong.message() == "duplicate key");
        let key = key.map(|key| format!(" {}", quote(key))).unwrap_or_default();
        problems.report(problems.line(&span), format!("not TOML: {}{key}", wrong.message()));
    }
    None
}

/// A value and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lined<T> {
    pub(crate) line: usize,
    pub(crate) value: T,
}

/// A value that can be read from a document.
pub(crate) trait Read: Sized {
    /// A description of valid values, which completes "must be".
    const RIGHT: &'static str;

    /// The value. If it is invalid, reports the problem and returns `None`.
    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self>;
}

impl<T: Parse> Read for T {
    const RIGHT: &'static str = <T as Parse>::RIGHT;

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else { return mistyped::<Self>(value, name, problems) };
        T::parse(text).map_err(|wrong| problems.report(problems.line(&value.span()), format!("`{name}`: {wrong}"))).ok()
    }
}

impl Read for bool {
    const RIGHT: &'static str = "true or false";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        value.get_ref().as_bool().or_else(|| mistyped(value, name, problems))
    }
}

impl Read for u32 {
    const RIGHT: &'static str = "a whole number of at least 1";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let DeValue::Integer(number) = value.get_ref() else { return mistyped(value, name, problems) };
        let read = u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| *number > 0);
        if read.is_none() {
            let message = format!("`{name}`: {} must be from 1 to {}", quote(number.as_str()), u32::MAX);
            problems.report(problems.line(&value.span()), message);
        }
        read
    }
}

/// Reads an array. A problem with one element does not hide problems with others.
impl<T: Read> Read for Vec<Lined<T>> {
    const RIGHT: &'static str = "a list in [ ]";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let DeValue::Array(array) = value.get_ref() else { return mistyped(value, name, problems) };
        let read = |element: &Spanned<DeValue<'_>>| {
            let value = T::read(element, name, problems)?;
            Some(Lined { line: problems.line(&element.span()), value })
        };
        Some(array.iter().filter_map(read).collect())
    }
}

/// Reports that a value is of the wrong type.
pub(crate) fn mistyped<T: Read>(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<T> {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a bare number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    problems.report(problems.line(&value.span()), format!("`{name}` must be {}, not {found}", T::RIGHT));
    None
}

/// A table that is being read. It remembers which keys were read, to report all others as unknown.
pub(crate) struct Table<'a> {
    title: String,
    line: usize,
    entries: &'a DeTable<'a>,
    read: Vec<&'static str>,
    problems: &'a Problems,
}

impl<'a> Table<'a> {
    /// A value as a table. `name` is its name in messages. Reports values of other types.
    pub(crate) fn of<T: Read>(value: &'a Spanned<DeValue<'a>>, name: &str, problems: &'a Problems) -> Option<Self> {
        let DeValue::Table(entries) = value.get_ref() else {
            mistyped::<T>(value, name, problems);
            return None;
        };
        Some(Self::new(entries, format!("`{name}`"), problems.line(&value.span()), problems))
    }

    pub(crate) fn new(entries: &'a DeTable<'a>, title: String, line: usize, problems: &'a Problems) -> Self {
        Self { title, line, entries, read: Vec::new(), problems }
    }

    /// The line on which the table begins.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Changes the name of the table in messages.
    pub(crate) fn rename(&mut self, title: String) {
        self.title = title;
    }

    pub(crate) fn report(&self, line: usize, message: impl ToString) {
        self.problems.report(line, message);
    }

    fn entry(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.iter().find(|(found, _)| found.get_ref() == key).map(|(_, value)| value)
    }

    /// The value of a key that may be missing. Reports an invalid value and returns `None`.
    pub(crate) fn optional<T: Read>(&mut self, key: &'static str) -> Option<Lined<T>> {
        self.read.push(key);
        let value = self.entry(key)?;
        Some(Lined { line: self.problems.line(&value.span()), value: T::read(value, key, self.problems)? })
    }

    /// The value of a required key. Reports a missing or invalid value and returns `None`.
    pub(crate) fn required<T: Read>(&mut self, key: &'static str) -> Option<Lined<T>> {
        if self.entry(key).is_none() {
            self.problems.report(self.line, format!("{} needs `{key}`: {}", self.title, T::RIGHT));
        }
        self.optional(key)
    }

    /// Reports all keys that were not read.
    pub(crate) fn finish(self) {
        self.finish_knowing(|_| None);
    }

    /// Reports all keys that were not read. `known` may return a more specific message for a key.
    pub(crate) fn finish_knowing(self, known: impl Fn(&str) -> Option<String>) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.read.iter().any(|read| key.get_ref() == read)) {
            let message = known(key.get_ref()).unwrap_or_else(|| {
                let instead = instead(key.get_ref(), "keys", self.read.iter().copied());
                format!("unknown key {} in {}{instead}", quote(key.get_ref()), self.title)
            });
            self.problems.report(self.problems.line(&key.span()), message);
        }
    }
}
