//! The result file: what is written keeps to the published schema, and what is read is complete or refused by name.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use reports::model::{Case, Opening, Suite, VERSION, Verdict};
use reports::{BadLine, Detail, Overall, Results, Writer};
use sim::run::{Cause, Crash};

use crate::{FRIENDS, WALL, avoided, play, replay, wrong};

/// A pair that its NATs keep apart, and one whose connection has ended.
const APART: &str = r#"
name = "apart"
duration = "10s"
[[actor]]
name = "ana"
nat = "symmetric"
[[actor]]
name = "ben"
nat = "symmetric"
[[actor]]
name = "cam"
[actor.link]
gilbert-elliott = { p = "0.1%", r = "50%" }
corrupt = "0.1%"
jitter = { distribution = "normal", mean = "5ms", deviation = "1ms" }
bandwidth = "2Mbit"
mtu = 1400
down = { latency = "9ms", queue = "64kB" }
[[step]]
at = "5s"
do = "leave"
actor = "cam"
[expect]
unconnected = [["ana", "ben"]]
"#;

/// The text of a shipped scenario.
fn shipped(name: &str) -> &'static str {
    scenarios::shipped().find(|shipped| shipped.name == name).expect("it is shipped").text
}

/// The same with another WebRTC stack of the first actor.
fn of_two_stacks() -> String {
    FRIENDS.replacen("[[actor]]", "[[actor]]\nstack = \"str0m\"", 1)
}

#[test]
fn another_stack_is_in_the_report_and_in_the_drawing() {
    let outcome = play(&of_two_stacks(), 1);
    let name = outcome.scenario.actors[0].name.clone();
    let text = reports::outcome(&outcome, Detail::Brief, WALL, &replay(), None);
    assert!(text.contains(&format!("str0m of {name}")), "{text}");
    let case = reports::case_of_outcome(&outcome, WALL, &replay(), Detail::Full, None);
    let topology = case.simulation.as_ref().and_then(|simulation| simulation.topology.as_ref());
    let machines = &topology.expect("a simulation has one").machines;
    let stacks: Vec<_> = machines.iter().map(|machine| machine.stack.as_deref()).collect();
    assert_eq!((stacks[0], stacks[1]), (Some("str0m"), None));
}

#[test]
fn whatever_a_simulation_writes_keeps_to_the_schema() {
    let mut different = play(FRIENDS, 1);
    different.record.events.remove(5);
    let passing = play(FRIENDS, 1);
    let (outcome, capture) = crate::pcap::captured("same-lan");
    let mut followed = reports::case_of_outcome(&outcome, WALL, &replay(), Detail::Full, None);
    reports::Frames::of(&outcome.record, &capture).add_to(&mut followed, "run.pcapng", Some("frames.jsonl".to_owned()));
    let crash = Crash { seed: 9, message: "the simulation hangs at 3s".to_owned(), cause: Cause::Glare };
    let cases = vec![
        reports::case_of_outcome(&passing, WALL, &replay(), Detail::Full, Some("friends-1/events.jsonl".to_owned())),
        reports::case_of_outcome(&play(FRIENDS, 2), WALL, &replay(), Detail::Brief, None),
        reports::case_of_outcome(&play(&wrong(), 3), WALL, &replay(), Detail::Full, None),
        reports::case_of_crash(&passing.scenario, &crash, WALL, &replay()),
        reports::case_of_mismatch(&[passing, different], WALL, &replay()),
        reports::case_of_outcome(&play(APART, 1), WALL, &replay(), Detail::Full, None),
        reports::case_of_outcome(&play(&of_two_stacks(), 1), WALL, &replay(), Detail::Full, None),
        reports::case_of_outcome(&play(shipped("call-with-media"), 1), WALL, &replay(), Detail::Full, None),
        reports::case_of_outcome(&play(shipped("internet-100"), 1), WALL, &replay(), Detail::Full, None),
        reports::case_of_outcome(&play(crate::html::LOST, 1), WALL, &replay(), Detail::Full, None),
        reports::case_of_outcome(&avoided(), WALL, &replay(), Detail::Full, None),
        followed,
    ];
    let text = written(cases);
    for line in text.lines() {
        assert_valid(line);
    }
    // The schema has a place for every field, and every place of it is used: what is written is all that it describes.
    let (written, published) = (fields_of(&text), fields_of_schema());
    let unused: Vec<_> = published.difference(&written).collect();
    let by_conformance_alone =
        ["acceptable", "level", "known", "quote", "remarks", "step", "steps_omitted", "bytes", "behind"];
    let unused: Vec<_> = unused.into_iter().filter(|field| !by_conformance_alone.contains(&field.as_str())).collect();
    assert!(unused.is_empty(), "the schema describes what nobody writes: {unused:?}");
}

#[test]
fn whatever_the_conformance_suite_writes_keeps_to_the_schema() {
    let text = written_by(&Opening { suite: Suite::Conformance, ..opening() }, conformance_cases());
    text.lines().for_each(assert_valid);
    let results = read(&text).expect("a result");
    assert_eq!(results.verdict(), Overall::Fail);
    let failed = results.with(Verdict::Fail).next().expect("one failed");
    assert_eq!(failed.story[failed.findings[0].step.expect("a line shows it")].text, JOINED);
    assert!(failed.replay.ends_with(&format!("--case {}", failed.id)));
}

#[test]
fn a_schema_that_would_take_anything_is_no_test() {
    for wrong in [
        r#"{"record":"case"}"#,
        r#"{"record":"closing","cases":-1}"#,
        r#"{"record":"opening","version":3,"suite":"sim","name":"","tool":"","target":"","command":"","started_ms":1}"#,
        "[]",
    ] {
        let value = serde_json::from_str(wrong).expect("JSON");
        assert!(!schema().is_valid(&value), "{wrong}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let case = full_case();
    let results = read(&written(vec![case.clone()])).expect("a result");
    assert_eq!(results.cases, [case]);
    assert_eq!(results.opening, opening());
    assert_eq!(results.verdict(), Overall::Fail);
    assert_eq!(results.closing.expect("it is complete").cases, 1);
}

#[test]
fn seeds_stand_in_order_whatever_the_order_in_which_they_ended() {
    let brief = |seed| reports::case_of_outcome(&play(FRIENDS, seed), WALL, &replay(), Detail::Brief, None);
    let results = read(&written(vec![brief(10), brief(9), brief(1)])).expect("a result");
    let ids: Vec<_> = results.cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids, ["friends/1", "friends/9", "friends/10"]);
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_noticed_and_read_as_far_as_it_goes() {
    let text = written(vec![full_case()]);
    let closing = text.trim_end().rfind('\n').expect("three lines") + 1;
    let first = text.find('\n').expect("three lines") + 1;
    for end in (first..text.len() - 1).step_by(97).chain([first, closing, text.len() - 2]) {
        let mut end = end;
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let results = read(&text[..end]).unwrap_or_else(|wrong| panic!("cut at {end}: {wrong:?}"));
        assert_eq!(results.closing, None, "cut at {end}");
        assert!(matches!(results.verdict(), Overall::CutOff | Overall::Fail), "cut at {end}");
        assert_eq!(results.cases.len(), usize::from(end >= closing), "cut at {end}");
    }
}

#[test]
fn what_is_no_result_is_refused_with_its_line() {
    let good = written(vec![full_case()]);
    let lines: Vec<_> = good.lines().collect();
    let newer = good.replacen("\"version\":2", "\"version\":3", 1);
    let doubled = format!("{}\n{}\n{}\n{}\n", lines[0], lines[1], lines[1], lines[2]);
    let broken = format!("{}\n{{\"record\":\"case\",\n{}\n", lines[0], lines[2]);
    let more = format!("{good}{}\n", lines[1]);
    let twice = format!("{}\n{}\n", lines[0], lines[0]);
    for (text, line, hint) in [
        ("", 1, "is empty"),
        ("hello\n", 1, "opening record"),
        ("{\"version\":1,\"scenario\":\"mesh-3\"}\n", 1, "version 1"),
        (newer.as_str(), 1, "version 3, but this program reads up to version 2"),
        (doubled.as_str(), 4, "counts 1 cases"),
        (broken.as_str(), 2, "is not a record of a result"),
        (more.as_str(), 4, "follows the closing record"),
        (twice.as_str(), 2, "second opening"),
    ] {
        let wrong = read(text).expect_err("it is no result");
        assert_eq!(wrong.line, line, "{wrong:?}");
        assert!(wrong.message.contains(hint), "{wrong:?} and not {hint}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no-result");
    std::fs::create_dir_all(&dir).expect("a scratch folder");
    let wrong = Results::load(&dir).expect_err("there is none").to_string();
    assert!(wrong.contains("no-result/result.jsonl: there is no result in this folder"), "{wrong}");
    let wrong = Results::load(&dir.join("nowhere")).expect_err("there is none").to_string();
    assert!(wrong.contains("nowhere: there is no such file or folder"), "{wrong}");
}

#[test]
fn a_failing_result_on_the_terminal() {
    let results = read(&written(vec![full_case()])).expect("a result");
    insta::assert_snapshot!(crate::plain(&reports::summary(&results, None)));
}

#[test]
fn nothing_in_a_result_moves_the_cursor_or_turns_a_line_round() {
    let mut case = full_case();
    case.title = "\u{1b}[2Jgone\u{202e}back".to_owned();
    case.findings[0].message = "bell\u{7} and \r return".to_owned();
    let results = read(&written(vec![case])).expect("a result");
    let text = crate::plain(&reports::summary(&results, None));
    assert!(text.contains(r"\u{1b}[2Jgone\u{202e}back"), "{text}");
    assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
}

/// What the server answers to a join.
const JOINED: &str = r#"{"action":"joined","roomId":"r","clientId":"a","peers":[]}"#;

/// A case of each verdict.
pub(crate) fn conformance_cases() -> Vec<Case> {
    use conformance::verdict::Verdict as Found;
    use conformance::{CaseReport, Report, Transcript, transcript};
    let verdicts = [
        Found::Pass,
        Found::Fail { why: "the roster is empty".to_owned(), line: Some(1) },
        Found::NotTested { why: "it needs a case that fails".to_owned() },
        Found::HarnessError { why: "a panic".to_owned() },
    ];
    let line = |kind, text: &str| transcript::Line {
        at: Duration::from_millis(12),
        client: 0,
        kind,
        text: text.to_owned(),
        bytes: text.len(),
    };
    let transcript = Transcript {
        clients: vec!["ana".to_owned()],
        lines: vec![
            line(transcript::LineKind::Sends, "{\"type\":\"join\"}"),
            line(transcript::LineKind::Hears, JOINED),
        ],
        ..Transcript::default()
    };
    let asked = conformance::select(&conformance::Selection::default()).expect("cases");
    let found = asked.iter().copied().zip(verdicts);
    let cases = found.map(|(case, verdict)| CaseReport {
        case,
        verdict,
        notes: transcript::Notes { remarks: vec!["it closes rather than answers".to_owned()], ..Default::default() },
        known: None,
        took: Duration::from_millis(7),
        transcript: transcript.clone(),
    });
    let report = Report {
        url: "ws://127.0.0.1:8787/".to_owned(),
        dialect: "mesh".to_owned(),
        round_trip: Duration::from_millis(1),
        patience: Duration::from_secs(3),
        took: Duration::from_millis(30),
        cases: cases.collect(),
        requirements: Vec::new(),
    };
    reports::cases_of_report(
        &report,
        "glare conformance --url ws://127.0.0.1:8787/",
        Some("conformance/dialects/mesh.toml"),
        Detail::Brief,
    )
}

/// A run that breaks a promise.
pub(crate) fn full_case() -> Case {
    let case = reports::case_of_outcome(&play(&wrong(), 1), WALL, &replay(), Detail::Full, None);
    assert_eq!(case.verdict, Verdict::Fail);
    case
}

pub(crate) fn opening() -> Opening {
    Opening {
        version: VERSION,
        suite: Suite::Sim,
        name: "friends".to_owned(),
        tool: "glare 0.1.0".to_owned(),
        target: "reference server".to_owned(),
        command: "glare sim --scenario friends.toml".to_owned(),
        started_ms: 1_700_000_000_000,
    }
}

pub(crate) fn written(cases: Vec<Case>) -> String {
    written_by(&opening(), cases)
}

pub(crate) fn written_by(opening: &Opening, cases: Vec<Case>) -> String {
    let mut writer = Writer::new(Vec::new(), opening).expect("memory");
    cases.into_iter().try_for_each(|case| writer.case(case)).expect("memory");
    String::from_utf8(writer.close(Duration::from_millis(80)).expect("memory")).expect("UTF-8")
}

pub(crate) fn read(text: &str) -> Result<Results, BadLine> {
    Results::parse(text.as_bytes(), PathBuf::new())
}

fn schema() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| jsonschema::validator_for(&schema_json()).expect("a JSON schema"))
}

fn schema_json() -> serde_json::Value {
    serde_json::from_str(include_str!("../../schema/result.schema.json")).expect("JSON")
}

pub(crate) fn assert_valid(line: &str) {
    let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
    if let Err(error) = schema().validate(&value) {
        // `oneOf` alone says little: ask the kind of record that it is.
        let mut kind = schema_json();
        kind["oneOf"] = serde_json::json!([{ "$ref": format!("#/$defs/{}", value["record"].as_str().unwrap_or("?")) }]);
        let why = jsonschema::validator_for(&kind).expect("a JSON schema");
        let why: Vec<_> =
            why.iter_errors(&value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
        panic!("{error}: {why:#?}");
    }
}

/// Names of all fields in JSON lines.
fn fields_of(text: &str) -> std::collections::BTreeSet<String> {
    fn walk(value: &serde_json::Value, into: &mut std::collections::BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    into.insert(name.clone());
                    walk(value, into);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, into)),
            _ => {}
        }
    }
    let mut into = Default::default();
    text.lines().for_each(|line| walk(&serde_json::from_str(line).expect("JSON"), &mut into));
    into
}

/// Names of all properties in the schema.
fn fields_of_schema() -> std::collections::BTreeSet<String> {
    fn walk(value: &serde_json::Value, into: &mut std::collections::BTreeSet<String>) {
        if let Some(properties) = value["properties"].as_object() {
            into.extend(properties.keys().cloned());
        }
        match value {
            serde_json::Value::Object(fields) => fields.values().for_each(|value| walk(value, into)),
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, into)),
            _ => {}
        }
    }
    let mut into = Default::default();
    walk(&schema_json(), &mut into);
    into
}
