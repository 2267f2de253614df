//! The JSON Schema of dialect files, in a form whose errors a person understands.
//!
//! A list of words is an `enum`, so that an error lists the words and not `oneOf`. TOML has no null, so a key that may be
//! missing does not allow it.

use serde_json::{Map, Value, json};

use crate::file::File;

/// The schema as text.
pub(crate) fn text() -> String {
    let mut schema = schemars::schema_for!(File).to_value();
    simplify(&mut schema);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

fn simplify(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(simplify),
        Value::Object(object) => {
            words(object);
            without_null(object);
            object.values_mut().for_each(simplify);
        }
        _ => {}
    }
}

/// Turns a choice of constants into a list of words, with their descriptions for editors.
fn words(object: &mut Map<String, Value>) {
    let Some(choice) = object.get("oneOf").and_then(Value::as_array) else { return };
    let mut words = Vec::new();
    let mut descriptions = Vec::new();
    for variant in choice {
        let description = variant.get("description").cloned().unwrap_or_else(|| json!(""));
        match (variant.get("const"), variant.get("enum").and_then(Value::as_array)) {
            (Some(word), _) => {
                words.push(word.clone());
                descriptions.push(description);
            }
            (None, Some(several)) => {
                descriptions.extend(several.iter().map(|_| description.clone()));
                words.extend(several.iter().cloned());
            }
            (None, None) => return,
        }
    }
    object.remove("oneOf");
    object.insert("type".to_owned(), json!("string"));
    object.insert("enum".to_owned(), json!(words));
    object.insert("x-taplo".to_owned(), json!({ "docs": { "enumValues": descriptions } }));
}

fn without_null(object: &mut Map<String, Value>) {
    let null = json!({ "type": "null" });
    if let Some(Value::Array(choice)) = object.get_mut("anyOf") {
        choice.retain(|variant| *variant != null);
        if let [only] = &mut choice[..] {
            let only = only.take();
            object.remove("anyOf");
            if let Value::Object(only) = only {
                object.extend(only.into_iter().filter(|(key, _)| key != "description"));
            }
        }
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| *kind != "null");
        if let [only] = &mut types[..] {
            let only = only.take();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
}
