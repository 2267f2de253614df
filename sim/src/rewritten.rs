//! JSON as a server may rewrite it: the same value in other bytes.

use serde_json::Value;

/// A text that is equal for equal JSON: keys in one order, and numbers as most servers keep them, with 53 bits. `None`
/// if the text is not JSON.
pub(crate) fn canonical(json: &str) -> Option<String> {
    let mut value = serde_json::from_str(json).ok()?;
    round(&mut value);
    Some(value.to_string())
}

/// Whether two texts are equal as JSON.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one == other || canonical(one).is_some_and(|one| Some(one) == canonical(other))
}

fn round(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(rounded) = number.as_f64().and_then(serde_json::Number::from_f64) {
                *number = rounded;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(entries) => entries.values_mut().for_each(round),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_writes_again_is_the_same() {
        let sent = r#"{"type":"answer","n":1.0,"big":9007199254740993,"note":"\u00e9\/"}"#;
        assert!(is_same(sent, r#"{"big":9007199254740992,"type":"answer","n":1,"note":"é/"}"#));
        assert!(!is_same(sent, r#"{"type":"answer","n":2,"big":9007199254740993,"note":"é/"}"#));
        assert!(!is_same(sent, r#"{"type":"answer","n":1}"#));
        assert!(!is_same("x", "y") && is_same("x", "x"));
    }
}
