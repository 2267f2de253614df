//! `glare report`

use std::fs;
use std::path::PathBuf;

use crate::glare;

#[test]
fn a_result_is_rendered_as_text() {
    let dir = result("report-text", "mesh-3");
    let run = glare(&["report", &dir]);
    assert_eq!(run.code(), 0, "{}", run.err());
    assert!(run.out().starts_with("PASS  mesh-3: the run passes\n"), "{}", run.out());
    assert!(run.out().ends_with(&format!("Made by  glare sim --scenario mesh-3 --out {dir}\n")), "{}", run.out());
}

#[test]
fn every_format_is_written_where_it_is_asked_for() {
    let dir = result("report-formats", "same-lan");
    let run = glare(&["report", &dir, "--format", "html"]);
    assert_eq!((run.code(), run.out()), (0, format!("Written to {dir}/report.html\n")), "{}", run.err());
    for (format, begin) in [
        ("html", "<!DOCTYPE html>"),
        ("junit", "<?xml"),
        ("ctrf", "{\n  \"generatedBy\""),
        ("sarif", "{\n  \"$schema\""),
        ("markdown", "### ✅ same-lan"),
        ("github", "::notice title=PASS same-lan::the run passes"),
        ("text", "PASS  same-lan"),
    ] {
        let file = format!("{dir}/out.{format}");
        let run = glare(&["report", &dir, "--format", format, "--output", &file]);
        assert_eq!(run.code(), 0, "{format}: {}", run.err());
        let text = fs::read_to_string(&file).expect("it is written");
        assert!(text.starts_with(begin), "{format}: {text:.200}");
        if format != "html" {
            assert_eq!(glare(&["report", &dir, "--format", format]).out(), text, "{format} on standard output");
        }
    }
}

#[test]
fn a_result_that_is_cut_off_is_rendered_and_exits_with_2() {
    let dir = result("report-cut", "same-lan");
    let file = PathBuf::from(&dir).join("result.jsonl");
    let text = fs::read_to_string(&file).expect("a result");
    fs::write(&file, &text[..text.len() - 30]).expect("a scratch file");
    let run = glare(&["report", &dir]);
    assert_eq!(run.code(), 2, "{}", run.out());
    assert!(run.out().starts_with("TRUNCATED  same-lan"), "{}", run.out());
    assert!(run.err().contains("result.jsonl is truncated after 1 cases"), "{}", run.err());
}

#[test]
fn what_is_no_result_is_named() {
    for (arguments, hint) in [
        (["report", "/nowhere/at/all"], "there is no such file or folder"),
        (["report", env!("CARGO_MANIFEST_DIR")], "there is no result in this folder"),
        (["report", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")], "Cargo.toml:1: is not the opening record"),
    ] {
        let run = glare(&arguments);
        assert_eq!(run.code(), 2, "{arguments:?}: {}", run.out());
        assert!(run.err().contains(hint), "{arguments:?}: {}", run.err());
    }
}

/// The folder of a scenario's result.
pub(crate) fn result(name: &str, scenario: &str) -> String {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let dir = dir.to_str().expect("UTF-8").to_owned();
    let run = glare(&["sim", "--scenario", scenario, "--out", &dir]);
    assert_eq!(run.code(), 0, "{}", run.err());
    dir
}
