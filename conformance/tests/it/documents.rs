//! What the documents say about the suite is true.

use std::fs;
use std::path::Path;

use conformance::{Dialect, catalogue, shipped};

fn docs(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance").join(file)
}

#[test]
fn the_list_of_cases_is_generated() {
    let (path, list) = (docs("cases.md"), catalogue());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &list).expect("the folder is there");
    }
    let written = fs::read_to_string(&path).expect("it is there");
    assert!(written == list, "docs/conformance/cases.md is old: UPDATE_DOCS=1 cargo test -p conformance documents");
}

/// The dialect that *Write a dialect* builds up is valid, and the page explains every key of the schema.
#[test]
fn the_example_of_a_dialect_works_and_every_key_is_explained() {
    let text = fs::read_to_string(docs("write-a-dialect.md")).expect("it is there");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("there is one");
    let dialect = Dialect::parse("write-a-dialect.md", example).unwrap_or_else(|error| panic!("{error}"));
    assert!(conformance::explain(&dialect).contains("answered `joined`"), "{}", conformance::explain(&dialect));
    let schema: serde_json::Value = serde_json::from_str(&Dialect::schema()).expect("JSON");
    let tables = schema["$defs"].as_object().expect("an object").values();
    let keys = tables.chain([&schema]).filter_map(|table| table["properties"].as_object());
    for key in keys.flat_map(|properties| properties.keys()) {
        assert!(text.contains(&format!("`{key}`")), "write-a-dialect.md does not explain `{key}`");
    }
}

/// `UPDATE_DOCS=1` writes the table, from the first lines of the dialect files.
#[test]
fn the_table_of_dialects_is_generated() {
    let (path, mut table) =
        (docs("test-your-server.md"), "| dialect | protocol | example |\n|---|---|---|\n".to_owned());
    for name in shipped() {
        let dialect = Dialect::load(name).unwrap_or_else(|error| panic!("{error}"));
        let about = dialect.about().trim_end_matches('.');
        table += &format!("| `{name}` | {about} | `{}` |\n", dialect.example());
    }
    let text = fs::read_to_string(&path).expect("it is there");
    let (before, rest) = text.split_once("| dialect |").expect("there is a table");
    let (_, after) = rest.split_once("\n\n").expect("text follows it");
    let generated = format!("{before}{table}\n{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).expect("it can be written");
    }
    let written = fs::read_to_string(&path).expect("it is there");
    let old = "docs/conformance/test-your-server.md is old: UPDATE_DOCS=1 cargo test -p conformance documents";
    assert!(written == generated, "{old}");
}
