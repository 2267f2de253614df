//! Invalid messages, derived from the shapes of valid ones.

use crate::file::WrongCase;
use crate::shape::{Entry, Key, Shape};

/// A message that the server must not handle like a valid one.
#[derive(Debug)]
pub struct WrongMessage {
    /// The case that sends it.
    pub case: WrongCase,
    /// What is wrong with it, in words.
    pub what: String,
    /// The form of the message.
    pub shape: Shape,
    /// The reason that the error must give.
    pub reason: Option<String>,
    /// Whether it is sent instead of a join.
    pub joining: bool,
}

/// Derives invalid messages from a signal: its type replaced or left out, and an empty object.
pub(crate) fn made_of(signal: &Shape) -> Vec<WrongMessage> {
    let text = |text: &str| Shape::Literal(text.into());
    let number = Shape::Literal(5.into());
    let list = Shape::List(vec![text("signal")]);
    let null = Shape::Literal(serde_json::Value::Null);
    let changes = [
        (WrongCase::UnknownType, "an unknown type `zzz`", Some(text("zzz"))),
        (WrongCase::UnknownType, "an empty type", Some(text(""))),
        (WrongCase::MissingField, "no type", None),
        (WrongCase::WrongType, "a number as type", Some(number)),
        (WrongCase::WrongType, "a list as type", Some(list)),
        (WrongCase::WrongType, "null as type", Some(null)),
    ];
    let made = changes.into_iter().filter_map(|(case, what, with)| {
        let shape = with_type(signal, with)?;
        Some(WrongMessage { case, what: what.to_owned(), shape, reason: None, joining: false })
    });
    let empty = WrongMessage {
        case: WrongCase::MissingField,
        what: "an empty object".to_owned(),
        shape: Shape::Object(Vec::new()),
        reason: None,
        joining: false,
    };
    made.chain([empty]).collect()
}

/// The shape with its type replaced, or left out if `with` is `None`. The type is the first string or kind in an
/// object, the only key of an object, or the first element of a list.
fn with_type(shape: &Shape, with: Option<Shape>) -> Option<Shape> {
    match shape {
        Shape::Object(entries) => {
            let is_type = |entry: &Entry| match &entry.value {
                Shape::Literal(value) => value.is_string(),
                Shape::Variable(name) => name == "kind",
                _ => false,
            };
            let mut entries = entries.clone();
            if let Some(index) = entries.iter().position(is_type) {
                match with {
                    Some(with) => entries[index].value = with,
                    None => drop(entries.remove(index)),
                }
                return Some(Shape::Object(entries));
            }
            let [only] = &mut entries[..] else { return None };
            match with {
                Some(Shape::Literal(serde_json::Value::String(name))) => only.key = Key::Literal(name),
                Some(with) => only.value = with,
                None => return None,
            }
            Some(Shape::Object(entries))
        }
        Shape::List(items) => {
            let mut items = items.clone();
            match with {
                Some(with) => *items.first_mut()? = with,
                None => items.clear(),
            }
            Some(Shape::List(items))
        }
        _ => None,
    }
}
