//! The JSON Schema of scenario files says the same as the loader.

use std::collections::BTreeSet;

use scenarios::{PROBES, SCHEMA, load, parse, profiles, shipped};
use serde_json::{Value, json};

/// A scenario that is valid, to which a test adds something.
const BASE: &str =
    "name = 'x'\nduration = '10s'\n[[actor]]\nname = 'ana'\nnat = 'home-linux'\n[[actor]]\nname = 'ben'\n";

#[test]
fn every_shipped_scenario_fits_and_names_the_schema() {
    for shipped in shipped() {
        assert!(shipped.text.starts_with("#:schema ../schema.json\n"), "{}", shipped.name);
        let wrong: Vec<_> = validator().iter_errors(&document(shipped.text)).map(|wrong| wrong.to_string()).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", shipped.name);
        let written = scenarios::write(&load(shipped.name).expect("it is valid"));
        assert!(validator().is_valid(&document(&written)), "{}: {written}", shipped.name);
    }
}

#[test]
fn it_knows_exactly_the_keys_of_the_loader() {
    let tables = [
        ("", "zzz = 1\n", "/properties"),
        ("[server]\n", "", "/$defs/server/properties"),
        ("[server.turn]\n", "", "/$defs/turn/anyOf/1/properties"),
        ("[[ice-server]]\nname = 'turn'\n", "", "/$defs/ice-server/properties"),
        ("[link]\n", "", "/$defs/link/properties"),
        ("[lan]\n", "", "/$defs/link/properties"),
        ("[link.up]\n", "", "/$defs/one-way/properties"),
        ("[lan.down]\n", "", "/$defs/one-way/properties"),
        ("[link.jitter]\n", "", "/$defs/jitter/anyOf/1/properties"),
        ("[link.gilbert-elliott]\n", "", "/$defs/gilbert-elliott/anyOf/1/properties"),
        ("[expect]\n", "", "/$defs/expect/properties"),
        ("[population]\n", "", "/$defs/population/properties"),
        ("[[actor]]\nname = 'c'\n[actor.media]\n", "", "/$defs/actor/properties/media/anyOf/1/properties"),
        ("[[network]]\n", "", "/$defs/network/properties"),
        ("[[packet]]\n", "", "/$defs/packet/properties"),
        ("[[actor]]\n", "", "/$defs/actor/properties"),
        ("[[actor]]\nname = 'c'\nnat = 'symmetric'\n[actor.override]\n", "", "/$defs/nat-keys/properties"),
        ("[expect]\n[[expect.connected]]\n", "", "/$defs/expect/properties/connected/items/properties"),
    ];
    for (table, first, place) in tables {
        let text = format!("{first}{BASE}{table}{}", if first.is_empty() { "zzz = 1\n" } else { "" });
        let known: BTreeSet<_> =
            schema().pointer(place).and_then(Value::as_object).expect(place).keys().cloned().collect();
        assert_eq!(keys_of_the_loader(&text), known, "{table}{first}");
    }
}

#[test]
fn it_knows_exactly_the_words_of_the_loader() {
    let words = |place: &str| -> BTreeSet<String> {
        let words = schema().pointer(place).and_then(Value::as_array).expect(place).clone();
        words.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
    };
    assert_eq!(words("/$defs/profile/enum"), profiles().map(|profile| profile.name).collect());
    let probes = PROBES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(words("/$defs/expect/properties/probes/items/enum"), probes);
    let told = |text: &str, before: &str| -> BTreeSet<String> {
        let error = parse("x.toml", &format!("{BASE}{text}")).expect_err("it is wrong").to_string();
        quoted(error.split_once(before).unwrap_or_else(|| panic!("{error}")).1)
    };
    assert_eq!(words("/$defs/step/properties/do/enum"), told("[[step]]\nat = '1s'\ndo = 'zzz'\n", "(verbs: "));
    assert_eq!(words("/$defs/packet/properties/kind/enum"), told("[[packet]]\nkind = 'zzz'\n", "(words: "));
    assert_eq!(words("/$defs/packet/properties/fate/enum"), told("[[packet]]\nfate = 'zzz'\n", "(words: "));
    assert_eq!(words("/$defs/actor/properties/plays/enum"), told("[[actor]]\nname = 'c'\nplays = 'zzz'\n", "(roles: "));
}

/// For each verb, the keys that the schema requires are those that the loader misses, and the schema allows no others.
#[test]
fn each_verb_has_its_keys() {
    for verb in schema()["$defs"]["step"]["allOf"].as_array().expect("a list") {
        let name = verb["if"]["properties"]["do"]["const"].as_str().expect("a verb");
        let then = &verb["then"];
        let text = format!("{BASE}[[step]]\nat = '1s'\ndo = '{name}'\nzzz = 1\n");
        let known: BTreeSet<_> = then["properties"].as_object().expect("keys").keys().cloned().collect();
        assert_eq!(keys_of_the_loader(&text), known, "{name}");
        let error = parse("x.toml", &text).expect_err("it has an unknown key").to_string();
        let needed =
            error.lines().filter_map(|line| line.split_once(" needs `")?.1.split_once('`')).map(|(key, _)| key);
        let needed: BTreeSet<_> = needed.map(str::to_owned).collect();
        let required = then["required"].as_array().into_iter().flatten().map(|key| key.as_str().expect("a key"));
        // `link` needs one of two keys.
        let needed: BTreeSet<_> =
            needed.into_iter().filter(|key| !(name == "link" && key.starts_with("either"))).collect();
        assert_eq!(required.map(str::to_owned).collect::<BTreeSet<_>>(), needed, "{name}: {error}");
    }
}

#[test]
fn every_key_is_described() {
    let mut undescribed = Vec::new();
    walk("", &schema(), &mut undescribed);
    assert_eq!(undescribed, Vec::<String>::new());
}

#[test]
fn what_is_wrong_does_not_fit() {
    for wrong in [
        json!({}),
        json!({ "name": "x", "duration": "10s", "actor": [] }),
        json!({ "name": "x", "duration": "10 s", "actor": [{ "name": "ana" }] }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "Ana" }] }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana", "nat": "symetric" }] }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "step": [{ "at": "1s", "do": "say", "actor": "ana" }] }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "step": [{ "at": "1s", "do": "heal", "actor": "ana" }] }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "packet": [{ "from": "ana", "to": "server", "kind": "datagram", "number": 1, "fate": "late" }] }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "packet": [{ "from": "ana", "to": "server", "kind": "datagram", "number": 0, "fate": "lost" }] }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "packet": [{ "from": "ana", "to": "server", "kind": "datagram", "number": 1, "fate": "lost", "by": "1s" }] }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "expect": { "connected": [["ana", "ben"]] } }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "server": { "port": 0 } }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "link": { "mtu": 10 } }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "link": { "up": { "down": {} } } }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "link": { "queue": "64KB" } }),
        json!({ "name": "x", "duration": "10s", "actor": [{ "name": "ana" }], "link": { "gilbert-elliott": { "p": "1%" } } }),
    ] {
        assert!(!validator().is_valid(&wrong), "{wrong}");
    }
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("JSON")
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&schema()).expect("a JSON schema")
}

fn document(text: &str) -> Value {
    let table: toml::Table = text.parse().expect("TOML");
    serde_json::to_value(table).expect("no value of TOML is foreign to JSON here")
}

/// The keys that the loader lists when it meets an unknown one.
fn keys_of_the_loader(text: &str) -> BTreeSet<String> {
    let error = parse("x.toml", text).expect_err("it has an unknown key").to_string();
    let line = error.lines().find(|line| line.contains("unknown key `zzz`")).unwrap_or_else(|| panic!("{error}"));
    quoted(line.split_once("(keys: ").unwrap_or_else(|| panic!("{line}")).1)
}

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The places of properties without a description.
fn walk(place: &str, value: &Value, undescribed: &mut Vec<String>) {
    let Value::Object(object) = value else {
        if let Value::Array(list) = value {
            list.iter().enumerate().for_each(|(index, value)| walk(&format!("{place}/{index}"), value, undescribed));
        }
        return;
    };
    for (key, value) in object {
        let inner = format!("{place}/{key}");
        let is_condition = place.ends_with("/if") || place.ends_with("/then");
        if let ("properties", Value::Object(properties), false) = (key.as_str(), value, is_condition) {
            let bare = properties.iter().filter(|(_, value)| value.get("description").is_none());
            undescribed.extend(bare.map(|(name, _)| format!("{inner}/{name}")));
        }
        walk(&inner, value, undescribed);
    }
}
