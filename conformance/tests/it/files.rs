//! Dialect files: the shipped ones are valid, and errors in others are reported with their line.

use std::time::Duration;

use conformance::transcript::{Notes, Transcript};
use conformance::{CaseReport, Dialect, Known, Report, Verdict, cases, shipped};

#[test]
fn every_shipped_dialect_is_right() {
    for name in shipped() {
        let dialect = Dialect::load(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(dialect.name(), name);
        assert!(conformance::explain(&dialect).contains("cases apply"), "{name}");
    }
}

/// The errors in the mesh dialect after a part of it is replaced.
fn wrong(from: &str, to: &str) -> String {
    let mesh = include_str!("../../dialects/mesh.toml");
    assert!(mesh.contains(from), "{from}");
    Dialect::parse("mine.toml", &mesh.replacen(from, to, 1)).expect_err(to).to_string()
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_the_nearest_right_name() {
    for (from, to, says) in [
        ("[identity]", "[idendity]", "mine.toml:6: unknown key `idendity`; did you mean `identity`?"),
        ("assigned-by = ", "asigned-by = ", "mine.toml:7: unknown key `asigned-by`; did you mean `assigned-by`?"),
        ("\"server\"", "\"sever\"", "mine.toml:7: unknown word `sever`; did you mean `server`?"),
        ("\"[0-9a-z]{8,12}\"", "\"[0-9a-z\"", "mine.toml:8: is no regular expression: "),
        ("\"server\"", "\"client\"", "mine.toml:8: `pattern` is for ids that the server assigns"),
        ("within-s = 30", "within-s = -1", "mine.toml:15: not a dialect: -1 is an integer, expected a whole number"),
        ("[join]", "[join]\nby = \"connecting\"", "`within-s` is given, but clients join by connecting"),
        (
            "binary = 1003",
            "binary = 99_999",
            "not a dialect: 99999 is an integer, expected a whole number from 0 to 65535",
        ),
        ("\"message\"?: $reason", "\"message\"?: $_", "a reason is given, but no [[match]] that is an `error`"),
        (
            "bytes-max = 262_144",
            "bytes-max = \"much\"",
            "mine.toml:28: not a dialect: \"much\" is a string, expected a whole number",
        ),
        ("\"name\"?: $name}'", "\"name\"?: $nam}'", "mine.toml:38: unknown variable `$nam`; did you mean `$name`?"),
        ("join = '{", "jion = '{", "mine.toml:38: unknown word `jion`; did you mean `join`?"),
        ("event = \"member-left\"", "event = \"member-gone\"", "unknown word `member-gone`"),
        (
            "\"name\"?: $name}'",
            "\"offers\"?: $offers}'",
            "mine.toml:38: `$offers` is a list: the shape of an offer must follow it, as in `$offers[$data]`",
        ),
        (
            "\"name\"?: $name}'",
            "\"offers\"?: $offers[$data]}'",
            "mine.toml:38: `$offers[…]` needs `$data` and `$session` in its shape, and `sessions = true` in [signals]",
        ),
        (
            "\"data\": $data}'",
            "\"data\": $offers[$data]}'",
            "mine.toml:40: `$offers[…]` belongs to `join`: `signal` has a receiver",
        ),
        (
            "event = \"member-left\"",
            "event = \"member-left\"\nanswers = \"join\"",
            "a message with `answers` or `reply` needs `$request`, the number of the request",
        ),
        (
            "event = \"member-left\"",
            "event = \"member-left\"\nanswers = \"join\"",
            "`answers`: `join` has no message with `$request` in [send]",
        ),
        (
            "event = \"member-left\"",
            "event = \"member-left\"\nreply = '{\"id\": $id}'",
            "unknown variable `$id` (variables: `$request`)",
        ),
        (
            "leave = '{\"action\"",
            "leave = '{action",
            "mine.toml:39: message: expected a key: a string in double quotes or a $variable at `action",
        ),
        ("\"data\": $data}'", "\"data\": $data'", "mine.toml:40: message: `}` must follow the last entry at its end"),
        (
            "code-points-max = 64",
            "code-points-max = -1",
            "mine.toml:12: not a dialect: -1 is an integer, expected a whole number",
        ),
        (
            "code-points-max = 64",
            "code-points-min = 0",
            "`code-points-min` is at least 1 and at most `code-points-max`",
        ),
        (
            "code-points-max = 64",
            "code-points-min = 65\ncode-points-max = 64",
            "`code-points-min` is at least 1 and at most `code-points-max`",
        ),
        (
            "join = '{\"action\": \"join\", \"roomId\": $room",
            "join = '{\"action\": \"join\", \"roomId\": \"r\"",
            "[room]",
        ),
        ("\"from\": $from, ", "", "`sender` declares that signals name their sender, but no `signal` has a `$from`"),
        (
            "addressing = \"both\"",
            "addressing = \"targeted\"",
            "`addressing` is \"targeted\", but a signal has no `$to`",
        ),
        ("hangup = \"hangup\"", "hangup = ", "mine.toml:21: "),
    ] {
        let error = wrong(from, to);
        let says = says.replace("[room]", "`in` is \"message\", but no `join` has `$room`");
        assert!(error.contains(&says), "{to}\n{error}");
    }
}

#[test]
fn what_is_wrong_with_a_rare_key_is_told_too() {
    let join = "join = '{\"action\": \"join\", \"roomId\": $room";
    let with = |key: &str| format!("framing = \"{key}\"\nurl = \"$url\"");
    let connection = |keys: &str| format!("[connection]\n{keys}\n\n[identity]");
    for (from, to, says) in [
        (
            "in = \"message\"",
            "in = \"message\"\nform = \"r-###\"",
            "has 3 `#`, expected at least 8: the suite writes a digit for each",
        ),
        ("in = \"message\"", "in = \"message\"\nform = \"$room-########\"", "unknown variable `$room`"),
        (
            "assigned-by = \"server\"",
            "assigned-by = \"server\"\nform = \"########\"",
            "mine.toml:8: `form` is for ids that clients choose: `assigned-by` is neither \"client\" nor \"user-name\"",
        ),
        (
            "addressing = \"both\"",
            "addressing = \"both\"\nsession = \"########\"",
            "`session` is given, but `sessions` is not true",
        ),
        (
            "addressing = \"both\"",
            "addressing = \"both\"\nsessions = true\nsession = \"$slef-########\"",
            "unknown variable `$slef`; did you mean `$self`?",
        ),
        ("[identity]", &connection("with-ack = [\"join\"]"), "`with-ack` is for \"socketio\" only"),
        (
            "[identity]",
            &connection(&format!("{}\nwith-ack = [\"call\"]", with("socketio"))),
            "`with-ack` names `call`, but there is no `call` to send",
        ),
        ("[identity]", &connection("with-ack = [\"joim\"]"), "unknown word `joim`; did you mean `join`?"),
        (
            "[identity]",
            &connection(&format!("{}\npost = \"$url/post\"", with("socketio"))),
            "`post` is for \"sse\" and \"websocket\" only",
        ),
        ("[identity]", &connection("post = \"$url/$nonse\""), "unknown variable `$nonse`; did you mean `$nonce`?"),
        ("[identity]", &connection("raw = true"), "`raw` is for \"adapter\" only"),
        ("[identity]", &connection("command = [\"x\"]"), "`command` is for \"adapter\" only"),
        (
            "[identity]",
            "[roster]\nnotified = \"contact\"\n\n[identity]",
            "unknown word `contact`; did you mean `contacts`?",
        ),
        (
            join,
            "join = '{\"action\": \"join\", \"nonce\": $nonce, \"roomId\": $room",
            "a message has a `$nonce`, but no [[match]] captures one",
        ),
        (
            join,
            "join = '{\"action\": \"join\", \"offer\": $data, \"roomId\": $room",
            "a `join` carries an offer only if there is one: write `\"…\"?:` for the part with `$data`",
        ),
        (
            join,
            "join = '{\"action\": \"join\", \"offer\"?: $data, \"roomId\": $room",
            "`join` carries the offer, so there can be no `signal` and no `offer`: write `answer` and `candidate`",
        ),
    ] {
        let error = wrong(from, to);
        assert!(error.contains("mine.toml:") && error.contains(says), "{to}\n{error}");
    }
}

#[test]
fn a_pattern_that_is_never_reached_is_told() {
    let any =
        "[[match]]\nevent = \"ignored\"\nmessage = '{\"action\": \"peer-left\"}'\n\n[[match]]\nevent = \"member-left\"";
    let error = wrong("[[match]]\nevent = \"member-left\"", any);
    let says = "never reached: every message that matches this `member-left` already matches the `ignored` of line 52";
    assert!(error.contains(says), "{error}");
    // In the opposite order, the second pattern can still match something.
    let first = "[[match]]\nevent = \"ignored\"\nmessage = '{\"action\": \"peer-left\", \"clientId\": \"me\"}'\n\n[[match]]\nevent = \"member-left\"";
    let mesh = include_str!("../../dialects/mesh.toml").replacen("[[match]]\nevent = \"member-left\"", first, 1);
    assert!(Dialect::parse("mine.toml", &mesh).is_ok());
}

#[test]
fn a_name_that_is_not_shipped_is_answered_with_the_nearest() {
    let error = Dialect::load("mash").expect_err("there is none").to_string();
    assert!(
        error.starts_with("mash: no shipped dialect has this name") && error.contains("did you mean `mesh`?"),
        "{error}"
    );
    let error = Dialect::load("./nowhere.toml").expect_err("there is none").to_string();
    assert_eq!(error, "./nowhere.toml: there is no such file");
}

/// The published schema is that of the code. To update it:
/// `cargo xtask dialect schema > conformance/dialects/schema.json`, or this test with `UPDATE_DOCS=1`.
#[test]
fn the_schema_is_published() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dialects/schema.json");
        std::fs::write(path, Dialect::schema()).expect("the folder is there");
        return;
    }
    assert_eq!(Dialect::schema(), include_str!("../../dialects/schema.json"));
}

#[test]
fn the_schema_describes_every_key_and_lists_words_as_words() {
    let schema: serde_json::Value = serde_json::from_str(&Dialect::schema()).expect("JSON");
    fn walk(place: &str, value: &serde_json::Value, wrong: &mut Vec<String>) {
        match value {
            serde_json::Value::Array(list) => list.iter().for_each(|value| walk(place, value, wrong)),
            serde_json::Value::Object(object) => {
                for (key, value) in object {
                    let inner = format!("{place}/{key}");
                    if ["oneOf", "allOf"].contains(&key.as_str()) {
                        wrong.push(inner.clone());
                    }
                    if let ("properties", Some(properties)) = (key.as_str(), value.as_object()) {
                        let bare = properties.iter().filter(|(_, value)| value.get("description").is_none());
                        wrong.extend(bare.map(|(name, _)| format!("{inner}/{name}")));
                    }
                    walk(&inner, value, wrong);
                }
            }
            serde_json::Value::String(word) if word == "null" && place.ends_with("/type") => {
                wrong.push(place.to_owned())
            }
            _ => {}
        }
    }
    let mut wrong = Vec::new();
    walk("", &schema, &mut wrong);
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_known_deviation_needs_a_case_and_a_reason() {
    for (text, says) in [
        (
            "[[known]]\ncase = \"msg/not-jsn\"\nreason = \"r\"",
            "k.toml:2: no case matches `msg/not-jsn`; the nearest is `msg/not-json`",
        ),
        ("[[known]]\ncase = \"msg/null\"\nreason = \" \"", "k.toml:3: a known deviation needs a reason"),
        ("[[known]]\ncase = \"msg/null\"", "missing field `reason`"),
        ("[[knwon]]\ncase = \"msg/null\"\nreason = \"r\"", "unknown field `knwon`"),
    ] {
        let error = Known::parse("k.toml", text).expect_err(text).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn what_is_known_fails_and_what_is_known_at_times_may_do_both() {
    let known = |sometimes| {
        let text = format!("[[known]]\ncase = \"msg/null\"\nreason = \"a race\"\nsometimes = {sometimes}");
        Known::parse("k.toml", &text).expect("a good file")
    };
    let passed = |known: &Known, verdict: &Verdict| {
        let mut report = report("msg/null", verdict.clone());
        known.mark(&mut report);
        report.passed()
    };
    let fails = Verdict::Fail { why: "it is mute".to_owned(), line: None };
    let acceptable = Verdict::Acceptable { why: "it closes".to_owned() };
    for (verdict, always, sometimes) in [(fails, true, true), (Verdict::Pass, false, true), (acceptable, false, true)] {
        assert_eq!(passed(&known(false), &verdict), always, "{verdict:?}");
        assert_eq!(passed(&known(true), &verdict), sometimes, "{verdict:?}");
    }
}

/// The report of a run with this one case.
fn report(slug: &str, verdict: Verdict) -> Report {
    let case = cases().iter().find(|case| case.slug == slug).expect("there is such a case");
    let (notes, known, took, transcript) = (Notes::default(), None, Duration::ZERO, Transcript::default());
    Report {
        url: "ws://127.0.0.1:1".to_owned(),
        dialect: "mesh".to_owned(),
        round_trip: Duration::ZERO,
        patience: Duration::ZERO,
        took,
        cases: vec![CaseReport { case, verdict, notes, known, took, transcript }],
        requirements: Vec::new(),
    }
}

#[test]
fn a_failure_is_told_where_the_dialect_speaks_of_it() {
    let text = include_str!("../../dialects/mesh.toml");
    let mesh = Dialect::load("mesh").expect("it is shipped");
    let joined = r#"{"action":"joined","roomId":"r","clientId":"a","peers":[]}"#;
    for (slug, heard, line) in [
        ("msg/not-json", Some(joined), r#"not-json = "error""#),
        ("room/join-ack", Some(joined), r#"message = '{"action": "joined""#),
        ("room/leave-once", None, r#"message = '{"action": "peer-left""#),
        ("msg/large-payload", Some("nonsense"), "bytes-max"),
        ("room/join-ack", None, "join ="),
    ] {
        let case = conformance::cases().iter().copied().find(|case| case.slug == slug);
        let Some(case) = case else { panic!("no case {slug}") };
        let found = text.lines().nth(case.line_in(&mesh, heard) - 1).unwrap_or_default();
        assert!(found.starts_with(line), "{slug}: {found}");
    }
}

#[test]
fn every_case_has_a_line_in_every_dialect() {
    for name in conformance::shipped() {
        let dialect = Dialect::load(name).expect("it is shipped");
        for case in conformance::cases() {
            assert!(case.line_in(&dialect, None) >= 1, "{name} {}", case.slug);
        }
    }
}
