//! A JSON text that is parsed one level at a time, and each level once, however many shapes are compared with it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A JSON value in a text that it borrows.
#[derive(Debug)]
pub struct Json<'a> {
    text: &'a str,
    parts: OnceCell<Parts<'a>>,
}

#[derive(Debug)]
enum Parts<'a> {
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    List(Vec<Json<'a>>),
    /// A string, number, boolean or null.
    Scalar,
}

impl<'a> Json<'a> {
    /// The value of a text; `None` if the text is not JSON.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        let parts = match text.as_bytes().first()? {
            b'{' | b'[' => Parts::of(text)?,
            _ => serde_json::from_str::<&RawValue>(text).ok().map(|_| Parts::Scalar)?,
        };
        Some(Self { text, parts: OnceCell::from(parts) })
    }

    fn of(value: &'a RawValue) -> Self {
        Self { text: value.get(), parts: OnceCell::new() }
    }

    /// The text, without space around it.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The elements of a list; `None` if it is not a list.
    pub fn list(&self) -> Option<&[Self]> {
        match self.parts() {
            Parts::List(items) => Some(items),
            Parts::Object(_) | Parts::Scalar => None,
        }
    }

    /// The entries of an object, in the order of the text; `None` if it is not an object. If a key occurs more than
    /// once, its last value counts.
    pub fn object(&self) -> Option<&[(Cow<'a, str>, Self)]> {
        match self.parts() {
            Parts::Object(entries) => Some(entries),
            Parts::List(_) | Parts::Scalar => None,
        }
    }

    /// Whether it is this value.
    pub fn is(&self, value: &serde_json::Value) -> bool {
        match value {
            // Without an escape, a string is its own text.
            serde_json::Value::String(right) if !self.text.contains('\\') => {
                let inner = self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                inner == Some(right)
            }
            _ => serde_json::from_str::<serde_json::Value>(self.text).is_ok_and(|own| own == *value),
        }
    }

    fn parts(&self) -> &Parts<'a> {
        self.parts.get_or_init(|| Parts::of(self.text).expect("the text around it is JSON"))
    }
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        Some(match text.as_bytes().first()? {
            b'{' => {
                let Entries(entries) = serde_json::from_str(text).ok()?;
                Self::Object(entries.into_iter().map(|(key, value)| (key, Json::of(value))).collect())
            }
            b'[' => {
                let items: Vec<&'a RawValue> = serde_json::from_str(text).ok()?;
                Self::List(items.into_iter().map(Json::of).collect())
            }
            _ => Self::Scalar,
        })
    }
}

/// The entries of an object in order, which no collection of serde keeps without a copy.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut entries = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_parsed_level_by_level_without_a_copy() {
        let text = r#" {"type":"offer","data":{"z":[1.0,"\u00e9"],"a":null},"type":"answer"} "#;
        let json = Json::parse(text).expect("JSON");
        let entries = json.object().expect("an object");
        let keys: Vec<_> = entries.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, ["type", "data", "type"]);
        assert!(entries.iter().all(|(key, _)| matches!(key, Cow::Borrowed(_))));
        let data = &entries[1].1;
        assert_eq!(data.text(), r#"{"z":[1.0,"\u00e9"],"a":null}"#);
        let list = data.object().expect("an object")[0].1.list().expect("a list");
        assert!(list[0].is(&serde_json::json!(1.0)) && list[1].is(&serde_json::json!("é")));
        assert!(list[0].list().is_none() && data.list().is_none() && json.list().is_none());
    }

    #[test]
    fn what_is_not_json_is_none() {
        for text in ["", " ", "{", "{\"a\":1", "[1,]", "{} {}", "nul", "\"a", "{\"a\":1}x", "[[[", "{\"a\":tru}"] {
            assert!(Json::parse(text).is_none(), "{text}");
        }
        for text in ["0", "null", "\"a\"", "[]", "{}", " \t\r\n7 "] {
            assert!(Json::parse(text).is_some(), "{text}");
        }
    }
}
