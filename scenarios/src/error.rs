//! The problems of a scenario file and their lines.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// Why a scenario could not be loaded: all problems of its file, in order of lines.
///
/// [`Display`](fmt::Display) writes one problem per line, each after `file:line: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The path or name that the caller gave.
    pub file: String,
    /// At least one problem.
    pub problems: Vec<Problem>,
}

/// A problem, and how to solve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1; `None` if the problem concerns the whole file.
    pub line: Option<usize>,
    /// A message in lower case, without file and line.
    pub message: String,
}

impl Error {
    /// An error about the whole file.
    pub(crate) fn whole(file: &str, message: String) -> Self {
        Self { file: file.to_owned(), problems: vec![Problem { line: None, message }] }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file)?;
            if let Some(line) = problem.line {
                write!(f, "{line}:")?;
            }
            write!(f, " {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Collects the problems of a text, and finds the lines of its spans.
#[derive(Debug)]
pub(crate) struct Problems {
    /// Where each line begins, in bytes.
    line_starts: Vec<usize>,
    found: RefCell<Vec<Problem>>,
}

impl Problems {
    pub(crate) fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { line_starts: std::iter::once(0).chain(ends).collect(), found: RefCell::default() }
    }

    /// The line on which a span of bytes begins, counted from 1.
    pub(crate) fn line(&self, span: &Range<usize>) -> usize {
        self.line_starts.partition_point(|start| *start <= span.start).max(1)
    }

    pub(crate) fn report(&self, line: usize, message: impl ToString) {
        self.found.borrow_mut().push(Problem { line: Some(line), message: message.to_string() });
    }

    pub(crate) fn none(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// All reported problems without duplicates, in order of lines.
    pub(crate) fn into_error(self, file: &str) -> Error {
        let mut problems = self.found.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems.dedup();
        Error { file: file.to_owned(), problems }
    }
}

/// Quotes text from outside for a message: on one line, without control characters, and shortened.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut quoted: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        quoted.push('…');
    }
    format!("`{}`", quoted.replace("\\\"", "\"").replace("\\'", "'"))
}

/// The valid words that are similar to a wrong one, and a list of all: `; did you mean …? (what: …)`.
pub fn instead<'a>(wrong: &str, what: &str, right: impl Iterator<Item = &'a str> + Clone) -> String {
    /// A longer list would hide the message.
    const SHOWN: usize = 32;
    let near = nearest(wrong, right.clone());
    let near = if near.is_empty() { String::new() } else { format!("; did you mean {}?", list(near, "or")) };
    let more = right.clone().skip(SHOWN).count();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown: Vec<String> = right.take(SHOWN).map(|word| format!("`{word}`")).collect();
    let shown = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
    format!("{near} ({what}: {shown}{more})")
}

/// The message about a name that does not exist: `unknown actor …`, with a list of the names that exist.
pub(crate) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    format!("unknown {what} {}{}", quote(name), instead(name, &format!("{what}s"), known))
}

/// The words most similar to `wrong`, if they are similar enough to be meant.
fn nearest<'a>(wrong: &str, right: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    // The distance takes quadratic time, and a text longer than this is not a typing error.
    const LONGEST: usize = 64;
    const SHOWN: usize = 3;
    let length = wrong.chars().count();
    if length > LONGEST {
        return Vec::new();
    }
    let wrong = wrong.to_lowercase().replace('_', "-");
    let near: Vec<(usize, &str)> = right
        .map(|word| {
            let distance = strsim::damerau_levenshtein(&wrong, word);
            // The beginning of a word counts as one typing error at most.
            let begins = length >= 3 && word.starts_with(&wrong);
            (if begins { distance.min(1) } else { distance }, word)
        })
        .filter(|(distance, word)| *distance <= (word.chars().count().max(length) * 2 / 5).max(1))
        .collect();
    let least = near.iter().map(|(distance, _)| *distance).min();
    near.into_iter().filter(|(distance, _)| Some(*distance) == least).map(|(_, word)| word).take(SHOWN).collect()
}

/// Lists words: `a`, `b` and `c`. The last two are joined by `and`.
pub(crate) fn list<'a>(words: impl IntoIterator<Item = &'a str>, and: &str) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} {and} {last}", others.join(", ")),
    }
}
