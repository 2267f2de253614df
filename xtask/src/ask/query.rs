//! Questions over the events of a run, such as `closed of X not preceded by opened of X within 60s`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{anyhow, bail, ensure};
use serde_json::{Map, Value};

/// An event, as a line of `events.jsonl` has it.
pub(super) type Event = Map<String, Value>;

const GRAMMAR: &str = "write EVENT, or EVENT [not] preceded by EVENT [within TIME], or EVENT [not] followed by EVENT [within TIME]; an EVENT is a \
    name, then `of NODE` and KEY=VALUE as wanted, where a word in capitals stands for anything, the same in both";

/// Words that are no names.
const WORDS: [&str; 6] = ["of", "not", "preceded", "followed", "by", "within"];
/// Events happen at whole milliseconds, but their times are sums of fractions.
const ROUNDING: f64 = 1e-6;

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    pub(super) about: Pattern,
    pub(super) relation: Option<Relation>,
}

/// What must be before or after an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Relation {
    is_wanted: bool,
    is_before: bool,
    pub(super) other: Pattern,
    within: Option<Duration>,
}

/// Which events are meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    /// An event, a message or a layer.
    pub(super) name: String,
    pub(super) fields: Vec<(String, Term)>,
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Value(String),
    /// Anything, but the same wherever the variable stands.
    Variable(String),
}

/// What is found in a run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answers {
    /// Which events.
    pub(super) found: Vec<usize>,
    /// Events that cannot be judged, because the run ends within the time in which something must follow.
    pub(super) open: usize,
}

impl FromStr for Query {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let words = shlex::split(text).ok_or_else(|| anyhow!("are all quotes closed?"))?;
        let mut words = words.iter().map(String::as_str).peekable();
        let about = Pattern::parse(&mut words)?;
        let Some(first) = words.next() else { return Ok(Self { about, relation: None }) };
        let is_wanted = first != "not";
        let which = if is_wanted { first } else { words.next().unwrap_or_default() };
        let is_before = match which {
            "preceded" => true,
            "followed" => false,
            "within" => bail!("`within` needs an event before it that is near: {GRAMMAR}"),
            other => bail!("`{other}` is not understood: {GRAMMAR}"),
        };
        ensure!(words.next() == Some("by"), "after `{which}` comes `by`: {GRAMMAR}");
        let other = Pattern::parse(&mut words)?;
        let within = match (words.next(), words.next()) {
            (None, _) => None,
            (Some("within"), Some(time)) => Some(scenarios::time(time)?),
            (Some("within"), None) => bail!("after `within` comes a time, such as `60s`"),
            (Some(word), _) => bail!("`{word}` is not understood: {GRAMMAR}"),
        };
        if let Some(word) = words.next() {
            bail!("`{word}` is one word too many: {GRAMMAR}");
        }
        Ok(Self { about, relation: Some(Relation { is_wanted, is_before, other, within }) })
    }
}

impl Pattern {
    fn parse<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> anyhow::Result<Self> {
        let name = words.next().ok_or_else(|| anyhow!("an event is missing: {GRAMMAR}"))?;
        ensure!(
            !name.contains('=') && !WORDS.contains(&name),
            "`{name}` stands where the name of an event must be: {GRAMMAR}"
        );
        let mut fields = Vec::new();
        while let Some(word) = words.peek().copied() {
            if word == "of" {
                words.next();
                let node = words.next().ok_or_else(|| anyhow!("after `of` comes a node, or a word in capitals"))?;
                fields.push(("node".to_owned(), Term::of(node)));
            } else if let Some((key, value)) = word.split_once('=') {
                words.next();
                fields.push((key.to_owned(), Term::of(value)));
            } else {
                break;
            }
        }
        Ok(Self { name: name.to_owned(), fields })
    }

    /// Whether an event has the name.
    pub(super) fn is_named(&self, event: &Event) -> bool {
        ["event", "message", "layer"]
            .iter()
            .any(|key| event.get(*key).is_some_and(|value| *value == self.name.as_str()))
    }

    /// Whether it is one of these events. Adds what its variables stand for to those that are known.
    fn matches<'a>(&'a self, event: &Event, known: &mut BTreeMap<&'a str, String>) -> bool {
        let has_field = |(key, term): &'a (String, Term)| {
            let Some(found) = field(event, key) else { return false };
            match term {
                Term::Value(value) => *value == found,
                Term::Variable(name) => *known.entry(name).or_insert_with(|| found.clone()) == found,
            }
        };
        self.is_named(event) && self.fields.iter().all(has_field)
    }
}

impl Term {
    fn of(word: &str) -> Self {
        let is_variable = word.starts_with(|first: char| first.is_ascii_uppercase())
            && word.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit());
        if is_variable { Self::Variable(word.to_owned()) } else { Self::Value(word.to_owned()) }
    }
}

/// A field of an event in words; `candidate.kind` is a field of a field.
pub(super) fn field(event: &Event, key: &str) -> Option<String> {
    let mut parts = key.split('.');
    let first = event.get(parts.next()?)?;
    let found = parts.try_fold(first, |value, part| value.get(part))?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

/// When an event happened, in seconds of virtual time.
pub(super) fn at(event: &Event) -> f64 {
    event.get("at").and_then(Value::as_f64).unwrap_or_default()
}

impl Query {
    /// The events of a run that are asked for.
    pub(super) fn answers(&self, events: &[Event]) -> Answers {
        let mut answers = Answers::default();
        let end = events.last().map_or(0.0, at);
        for (index, event) in events.iter().enumerate() {
            let mut known = BTreeMap::new();
            if !self.about.matches(event, &mut known) {
                continue;
            }
            let Some(Relation { is_wanted, is_before, other, within }) = &self.relation else {
                answers.found.push(index);
                continue;
            };
            let span = within.map_or(f64::INFINITY, |within| within.as_secs_f64() + ROUNDING);
            let is_near = |other: &&Event| (at(other) - at(event)).abs() <= span;
            let is_other = |event: &Event| other.matches(event, &mut known.clone());
            let is_there = if *is_before {
                events[..index].iter().rev().take_while(is_near).any(is_other)
            } else {
                events[index + 1..].iter().take_while(is_near).any(is_other)
            };
            if !is_before && !is_there && within.is_some() && at(event) + span > end + 2.0 * ROUNDING {
                answers.open += 1;
            } else if is_there == *is_wanted {
                answers.found.push(index);
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"{"at":0.0,"node":"ana","layer":"signaling","event":"connected"}
{"at":1.0,"node":"ana","layer":"signaling","event":"received","message":"joined","id":"a1","n":3}
{"at":2.0,"node":"ben","layer":"signaling","event":"received","message":"joined","id":"b1","pair":{"kind":"host"}}
{"at":62.0,"node":"ben","layer":"peer","event":"closed","peer":"a1"}
{"at":62.001,"node":"cam","layer":"peer","event":"closed","peer":"a1"}
{"at":70.0,"node":"world","layer":"tear-down"}"#;

    fn ask(query: &str) -> (Vec<usize>, usize) {
        let events: Vec<Event> = RUN.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let query: Query = query.parse().unwrap_or_else(|error| panic!("{query}: {error}"));
        let Answers { found, open } = query.answers(&events);
        (found, open)
    }

    #[test]
    fn events_are_found_by_name_node_and_fields() {
        assert_eq!(ask("joined").0, [1, 2]);
        assert_eq!(ask("received of ana").0, [1]);
        assert_eq!(ask("joined of X id=b1").0, [2]);
        assert_eq!(ask("joined n=3").0, [1]);
        assert_eq!(ask("joined pair.kind=host").0, [2]);
        assert_eq!(ask("peer peer=a1").0, [3, 4]);
        assert_eq!(ask("tear-down").0, [5]);
        assert_eq!(ask("joined of X id=X").0, [0; 0]);
    }

    #[test]
    fn what_is_before_or_after_is_looked_for_within_the_time() {
        assert_eq!(ask("closed of X preceded by joined of X").0, [3]);
        assert_eq!(ask("closed of X not preceded by joined of X").0, [4]);
        assert_eq!(ask("closed of X preceded by joined of X within 60s").0, [3]);
        assert_eq!(ask("closed of X not preceded by joined of X within 59999ms").0, [3, 4]);
        assert_eq!(ask("joined id=P followed by closed peer=P").0, [1]);
        assert_eq!(ask("joined id=P not followed by closed peer=P within 61s").0, [2]);
    }

    #[test]
    fn the_end_of_a_run_is_no_answer() {
        assert_eq!(ask("closed of X not followed by connected of X within 7s"), (vec![3, 4], 0));
        assert_eq!(ask("closed of X not followed by connected of X within 7999ms"), (vec![3, 4], 0));
        assert_eq!(ask("closed of X not followed by connected of X within 9s"), (vec![], 2));
        assert_eq!(ask("closed of X not followed by connected of X").0, [3, 4]);
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        for (query, says) in [
            ("", "an event is missing"),
            ("of", "`of`"),
            ("a=b", "where the name of an event must be"),
            ("left of", "after `of` comes a node"),
            ("left after joined", "`after` is not understood"),
            ("left not by", "`by` is not understood"),
            ("left not preceded joined", "after `preceded` comes `by`"),
            ("left within 3s", "`within` needs an event"),
            ("left preceded by", "an event is missing"),
            ("left preceded by joined within", "after `within` comes a time"),
            ("left preceded by joined within soon", "soon"),
            ("left preceded by joined within 3s or so", "`or` is one word too many"),
            ("left 'x", "are all quotes closed?"),
        ] {
            let wrong = query.parse::<Query>().map(|query| format!("{query:?}")).map_err(|error| format!("{error:#}"));
            assert!(wrong.as_ref().is_err_and(|wrong| wrong.contains(says)), "{query}: {wrong:?}");
        }
    }
}
