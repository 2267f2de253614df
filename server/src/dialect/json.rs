//! Reads a message's envelope and leaves its payload alone.
//!
//! Values are borrowed unparsed, as [`RawValue`]s, so that a payload is relayed byte for byte.
//! Skipping a value does not recurse, so a payload's depth or size cannot exhaust the stack.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Why a text is not an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Not JSON.
    NotJson,
    /// A JSON value other than an object, such as `null`.
    NotAnObject,
}

/// The unparsed values of the named fields of a JSON object. Other fields are ignored; of duplicate fields the last one
/// counts, as in JavaScript.
///
/// # Errors
/// The text is not a JSON object.
pub(crate) fn fields<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], Malformed> {
    let mut json = serde_json::Deserializer::from_str(text);
    if let Ok(fields) = Fields(names).deserialize(&mut json)
        && json.end().is_ok()
    {
        return Ok(fields);
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Err(Malformed::NotAnObject),
        Err(_) => Err(Malformed::NotJson),
    }
}

/// The text of a JSON string; `None` if the value is something else or is not Unicode (a lone surrogate).
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

/// The first `code_points` of a text, to echo it in an error.
pub(crate) fn cut(text: &str, code_points: usize) -> &str {
    text.char_indices().nth(code_points).map_or(text, |(at, _)| &text[..at])
}

/// Serializes a message for a queue.
pub(crate) fn serialise(message: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(message).expect("keys are strings and nothing in it fails").into()
}

struct Fields<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Fields<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Fields<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [None; N];
        while let Some(known) = map.next_key_seed(Key(self.0))? {
            match known {
                Some(index) => values[index] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(values)
    }
}

/// Finds a key's index among the names.
struct Key<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        // As bytes, because a key with a lone surrogate is valid JSON although it is not Unicode.
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| name.as_bytes() == key))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        self.visit_bytes(key.as_bytes())
    }
}

struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Result<[Option<&str>; 2], Malformed> {
        fields(text, &["a", "b"]).map(|values| values.map(|value| value.map(RawValue::get)))
    }

    #[test]
    fn values_keep_their_bytes() {
        assert_eq!(
            get(" { \"b\" : {\"z\":1, \"a\":1.0e+400 ,\"z\":\"\\u00e9\"} , \"c\":[] }\n"),
            Ok([None, Some("{\"z\":1, \"a\":1.0e+400 ,\"z\":\"\\u00e9\"}")])
        );
        assert_eq!(get(r#"{"a":1,"\u0061":null}"#), Ok([Some("null"), None]));
        assert_eq!(get(r#"{"\ud800":1,"a":"\udfff","b":2}"#), Ok([Some(r#""\udfff""#), Some("2")]));
        assert_eq!(get(r#"{"__proto__":1,"":2,"a ":3}"#), Ok([None, None]));
    }

    #[test]
    fn texts_that_are_not_objects_are_classified() {
        for text in ["", "{", "{}}", "{'a':1}", "{\"a\":1,}", "nul", "\u{feff}{}", "{\"a\":01}"] {
            assert_eq!(get(text), Err(Malformed::NotJson), "{text:?}");
        }
        for text in ["[]", "5", "\"\"", "true", "null", " null ", "[{\"a\":1}]", "\"\\ud800\""] {
            assert_eq!(get(text), Err(Malformed::NotAnObject), "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_is_safe() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let message = format!("{{\"x\":{deep},\"a\":{deep}}}");
        assert_eq!(get(&message), Ok([Some(deep.as_str()), None]));
        assert_eq!(get(&deep), Err(Malformed::NotAnObject));
        assert_eq!(get(&"[".repeat(100_000)), Err(Malformed::NotJson));
    }

    #[test]
    fn texts_are_unescaped_and_cut_between_code_points() {
        let raw = |json| serde_json::from_str::<&RawValue>(json).expect("JSON");
        assert_eq!(text(raw(r#""a\u00e9""#)).as_deref(), Some("aé"));
        for other in ["5", "null", r#""\ud800""#, "{}"] {
            assert_eq!(text(raw(other)), None);
        }
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
