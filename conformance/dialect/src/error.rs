//! What is wrong with a dialect file, and where.

use std::fmt;
use std::ops::Range;

use crate::words::{instead, quote};

/// Why a dialect could not be loaded: all problems found in one file, in order of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectError {
    /// The file, or the name that was given.
    pub file: String,
    /// At least one problem.
    pub problems: Vec<Problem>,
}

/// One problem, with what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1. `None`: the file as a whole.
    pub line: Option<usize>,
    /// A lowercase fragment, without file and line.
    pub message: String,
}

impl DialectError {
    pub(crate) fn whole(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), problems: vec![Problem { line: None, message: message.into() }] }
    }
}

impl fmt::Display for DialectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { line, message }) in self.problems.iter().enumerate() {
            let gap = if index > 0 { "\n" } else { "" };
            match line {
                Some(line) => write!(f, "{gap}{}:{line}: {message}", self.file)?,
                None => write!(f, "{gap}{}: {message}", self.file)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for DialectError {}

/// Collects the problems of one text and converts positions to lines.
pub(crate) struct Problems<'a> {
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// The line of the byte that is `further` bytes after the start of a span.
    pub(crate) fn line(&self, span: &Range<usize>, further: usize) -> usize {
        let upto = self.text.get(..span.start).unwrap_or_default();
        let inside = self.text.get(span.start..(span.start + further).min(span.end)).unwrap_or_default();
        1 + upto.matches('\n').count() + inside.matches('\n').count()
    }

    pub(crate) fn at(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let line = Some(self.line(span, 0));
        self.found.push(Problem { line, message: message.into() });
    }

    pub(crate) fn inside(&mut self, span: &Range<usize>, further: usize, message: impl Into<String>) {
        let line = Some(self.line(span, further));
        self.found.push(Problem { line, message: message.into() });
    }

    /// Adds a problem of a table: at its heading, or for the whole file if the table is absent.
    pub(crate) fn table(&mut self, heading: &str, message: impl Into<String>) {
        let line = self.text.lines().position(|line| line.trim_start().starts_with(heading)).map(|line| line + 1);
        self.found.push(Problem { line, message: message.into() });
    }

    pub(crate) fn none(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn toml(&mut self, error: &toml::de::Error) {
        let message = words(error.message());
        match error.span() {
            Some(span) => self.at(&span, message),
            None => self.found.push(Problem { line: None, message }),
        }
    }

    /// Fails with all problems in order of lines, without duplicates; succeeds if there are none.
    pub(crate) fn finish(mut self, file: &str) -> Result<(), DialectError> {
        self.found.sort_by_key(|problem| problem.line);
        self.found.dedup();
        if self.found.is_empty() { Ok(()) } else { Err(DialectError { file: file.to_owned(), problems: self.found }) }
    }
}

/// A message about a value of the wrong type, without the names of Rust's types: `"60k" is a string, expected a whole
/// number`.
fn plain(message: &str) -> String {
    let Some((found, expected)) = message.split_once(", expected ") else { return message.to_owned() };
    let Some(found) = found.strip_prefix("invalid type: ").or_else(|| found.strip_prefix("invalid value: ")) else {
        return message.to_owned();
    };
    // serde names the kind of a value before the value.
    let found = ["string ", "integer ", "floating point ", "boolean "].iter().find_map(|kind| {
        let value = found.strip_prefix(kind)?;
        Some(format!("{} is {} {}", value.replace('`', ""), article(kind), kind.trim_end()))
    });
    let found = found.unwrap_or_else(|| format!("a {} is written here", kind_of(message)));
    let whole = |bits: &str| match bits {
        "u8" => Some("a whole number from 0 to 255"),
        "u16" => Some("a whole number from 0 to 65535"),
        "u32" => Some("a whole number from 0 to 4294967295"),
        "usize" | "u64" => Some("a whole number of at least 0"),
        _ => None,
    };
    let expected = match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list in [ ]",
        "a map" => "a table",
        other => other.strip_prefix("struct ").map_or_else(|| whole(other).unwrap_or(other), |_| "a table"),
    };
    format!("{found}, expected {expected}")
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with('i') { "an" } else { "a" }
}

/// The kind of value that a message is about, if it does not show the value.
fn kind_of(message: &str) -> &'static str {
    match () {
        () if message.contains(": map") => "table",
        () if message.contains(": sequence") => "list",
        () => "value",
    }
}

/// An error message of serde, reworded, with the nearest valid name.
fn words(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (kind, what) = if message.starts_with("unknown field") {
        ("unknown key", "keys")
    } else if message.starts_with("unknown variant") {
        ("unknown word", "words")
    } else {
        return format!("not a dialect: {}", plain(message));
    };
    match quoted[..] {
        [wrong, ref right @ ..] => format!("{kind} {}{}", quote(wrong), instead(wrong, what, right.iter().copied())),
        [] => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_is_named_in_plain_words() {
        for (said, meant) in [
            (
                "invalid type: string \"60k\", expected usize",
                "not a dialect: \"60k\" is a string, expected a whole number of at least 0",
            ),
            (
                "invalid value: integer `99999`, expected u16",
                "not a dialect: 99999 is an integer, expected a whole number from 0 to 65535",
            ),
            ("invalid type: integer `1`, expected a boolean", "not a dialect: 1 is an integer, expected true or false"),
            (
                "invalid type: map, expected a sequence",
                "not a dialect: a table is written here, expected a list in [ ]",
            ),
            ("something else", "not a dialect: something else"),
        ] {
            assert_eq!(words(said), meant);
        }
    }
}
