//! What CI reads: each format against its own schema or validator, and hostile strings in all of them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reports::Results;
use reports::model::{Case, Location, Opening, Suite};

use crate::model::{conformance_cases, full_case, opening, read, written, written_by};
use crate::tools;

const EVIL: &str =
    "a|b `c` <d> & \"e\" @everyone %0A::error::x\r\n::warning::y\u{1b}[31m\u{0}\u{202e}]]>```` --> \u{fffe} ðŸ 😀";

#[test]
fn junit_keeps_to_the_schema_of_jenkins() {
    let (Some(xmllint), Some(schema)) = (tools::program("xmllint", "libxml2-utils"), jenkins_schema()) else { return };
    for (name, results) in all() {
        let errors = lint(&xmllint, &schema, &reports::junit(&results));
        assert!(errors.is_empty(), "{name}: {errors}");
    }
    assert!(!lint(&xmllint, &schema, "<testsuites><case/></testsuites>").is_empty(), "it does refuse");
}

#[test]
fn junit_says_how_each_case_ended() {
    let xml = reports::junit(&[conformance()]);
    for part in [
        r#"tests="4" failures="1" errors="1""#,
        r#"<skipped message="not tested: it needs a case that fails"/>"#,
        r#"<failure message="the roster is empty" type="room/roster-exact">"#,
        r#"<error message="a panic" type="room/join-name">"#,
        r#"classname="glare.conformance.room""#,
        "replay: glare conformance --url ws://127.0.0.1:8787/ --case room/roster-exact",
    ] {
        assert!(xml.contains(part), "{part} in {xml}");
    }
}

#[test]
fn a_known_failure_is_no_news_and_one_that_passes_is() {
    let mut cases = conformance_cases();
    cases.truncate(2);
    cases.iter_mut().for_each(|case| case.known = Some("we are at it".to_owned()));
    let opening = Opening { suite: Suite::Conformance, ..opening() };
    let only = |case: &Case| [read(&written_by(&opening, vec![case.clone()])).expect("a result")];
    let (passes, fails) = (only(&cases[0]), only(&cases[1]));
    assert_eq!((passes[0].verdict(), fails[0].verdict()), (reports::Overall::Fail, reports::Overall::Pass));
    assert!(
        reports::junit(&fails).contains(r#"<skipped message="known to fail (we are at it): the roster is empty"/>"#)
    );
    assert!(reports::junit(&passes).contains("<failure "));
    assert!(
        reports::ctrf(&fails).contains(r#""status": "skipped""#)
            && reports::ctrf(&passes).contains(r#""status": "failed""#)
    );
    assert!(!reports::github(&fails).contains("::error") && reports::github(&passes).contains("::error"));
    assert!(!reports::sarif(&fails).contains("ruleId"));
    assert!(reports::markdown(&fails).starts_with("### ✅") && reports::markdown(&passes).starts_with("### ❌"));
    // A matrix has a row for it; a page of one case alone has none.
    let both = [only(&cases[1]), only(&cases[1])].concat();
    assert!(reports::html(&both).contains("known to fail: we are at it"));
}

#[test]
fn a_file_that_is_cut_off_is_an_error_in_every_format() {
    let text = written(vec![full_case()]);
    let end = text.trim_end().rfind('\n').expect("three lines") + 1;
    let cut = [read(&text[..end]).expect("a result")];
    assert!(reports::junit(&cut).contains(r#"<error message="the result file is truncated"#));
    assert!(reports::ctrf(&cut).contains(r#""complete": false"#));
    assert!(reports::sarif(&cut).contains(r#""executionSuccessful": false"#));
    assert!(reports::markdown(&cut).contains("**The result file is truncated**"));
    assert!(reports::html(&cut).contains("The result file is truncated"));
}

#[test]
fn ctrf_keeps_to_its_schema() {
    let Some(modules) = tools::npm("ctrf", &["ctrf@0.3.0"]) else { return };
    let schema =
        std::fs::read_to_string(modules.join("node_modules/ctrf/dist/ctrf-schema-0.0.json")).expect("its schema");
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).expect("JSON")).expect("a JSON schema");
    for (name, results) in all() {
        let value = serde_json::from_str(&reports::ctrf(&results)).expect("JSON");
        let errors: Vec<_> =
            schema.iter_errors(&value).map(|error| format!("{error} at {}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    assert!(!schema.is_valid(&serde_json::json!({ "results": {} })), "it does refuse");
}

#[test]
fn sarif_is_what_its_own_validator_and_code_scanning_want() {
    let Some(modules) = tools::npm("sarif", &["@microsoft/sarif-multitool-linux@5.7.0"]) else { return };
    let multitool = modules.join("node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool");
    for (name, results) in all() {
        let said = multitool_says(&multitool, &modules.join(format!("{name}.sarif")), &reports::sarif(&results));
        assert!(!said.contains("error") && !said.contains("warning"), "{name}: {said}");
    }
    let said =
        multitool_says(&multitool, &modules.join("wrong.sarif"), r#"{"version":"2.1.0","runs":[{"results":[]}]}"#);
    assert!(said.contains("error"), "it does refuse: {said}");
}

#[test]
fn sarif_points_at_the_line_of_the_scenario_that_says_what_did_not_come() {
    let scenario = "name = \"told\"\nabout = \"a step\"\nduration = \"10s\"\n[[actor]]\nname = \"ana\"\nnat = \"full-cone\"\n[[actor]]\n\
                    name = \"ben\"\nnat = \"full-cone\"\n\n[[step]]\nat = \"4s\"\ndo = \"say\"\nactor = \"ana\"\ntext = \"hi\"\n\
                    [expect]\nunconnected = [[\"ana\", \"ben\"]]\n";
    let Ok(parsed) = scenarios::parse("told.toml", scenario) else {
        panic!("{:?}", scenarios::parse("told.toml", scenario));
    };
    let line = scenario.lines().position(|line| line == "[expect]").expect("a table") + 1;
    let outcome = sim::run::run(&std::sync::Arc::new(parsed), 1).expect("no crash");
    let case = reports::case_of_outcome(&outcome, crate::WALL, &crate::replay(), reports::Detail::Full, None);
    let sarif: serde_json::Value =
        serde_json::from_str(&reports::sarif(&[read(&written(vec![case])).expect("a result")])).expect("JSON");
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], line);
    assert_eq!(place["artifactLocation"]["uri"], "friends.toml");
}

#[test]
fn sarif_points_at_what_the_dialect_says_of_a_case() {
    let sarif: serde_json::Value = serde_json::from_str(&reports::sarif(&[asked()])).expect("JSON");
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    let file = place["artifactLocation"]["uri"].as_str().expect("a file");
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).expect("it is there");
    let line = place["region"]["startLine"].as_u64().expect("a line") as usize;
    // The message that shows the failure is the server's answer to a join.
    let shown = text.lines().nth(line - 1).expect("as many lines");
    assert!(shown.starts_with(r#"message = '{"action": "joined""#), "{file}:{line}: {shown}");
}

#[test]
fn annotations_of_github() {
    let mut case = full_case();
    case.location = Some(Location { file: "my, scenarios/a:b.toml".to_owned(), line: Some(7) });
    let text = reports::github(&[read(&written(vec![case])).expect("a result")]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "one command a line: {text}");
    assert!(
        lines[0].starts_with("::error file=my%2C scenarios/a%3Ab.toml,line=7,title=friends/1::everyone-connected: ")
    );
    assert_eq!(lines[1], "::notice title=FAIL friends::the run fails");
    let text = reports::github(&[hostile()]);
    assert!(text.lines().all(|line| line.starts_with("::error ") || line.starts_with("::notice ")), "{text}");
    assert!(!text.contains("\n::warning"), "a result gives no commands: {text}");
}

#[test]
fn markdown_for_a_pull_request() {
    insta::assert_snapshot!(crate::plain(&reports::markdown(&[
        read(&written(vec![full_case()])).expect("a result"),
        conformance()
    ])));
}

#[test]
fn hostile_strings_stay_in_their_cell_and_mention_nobody() {
    let text = reports::markdown(&[hostile()]);
    let row = text.lines().find(|line| line.starts_with("| ❌")).expect("a row");
    assert_eq!(row.matches(" | ").count(), 3, "four cells: {row}");
    // The last cell is code, in which nothing is markup.
    let (words, code) = row.rsplit_once(" | ").expect("cells");
    assert!(!words.contains("@everyone") && !words.contains("<d>") && !words.contains("````"), "{words}");
    assert!(code.starts_with("````` ") && code.ends_with(" ````` |"), "{code}");
    let long: Vec<Case> = (0..40).map(|_| Case { title: "x".repeat(5_000), ..full_case() }).collect();
    assert!(reports::markdown(&[read(&written(long)).expect("a result")]).len() < 65_536);
}

// ---- helpers

fn all() -> Vec<(&'static str, Vec<Results>)> {
    let simulated = || read(&written(vec![full_case()])).expect("a result");
    vec![
        ("simulation", vec![simulated()]),
        ("conformance", vec![conformance()]),
        ("both", vec![simulated(), conformance()]),
        ("hostile", vec![hostile()]),
        ("empty", vec![read(&written(vec![])).expect("a result")]),
    ]
}

/// The same with the places that the suite gives them.
fn asked() -> Results {
    read(&written_by(&Opening { suite: Suite::Conformance, ..opening() }, conformance_cases())).expect("a result")
}

fn conformance() -> Results {
    let opening = Opening {
        suite: Suite::Conformance,
        name: "mesh".to_owned(),
        target: "ws://127.0.0.1:8787/".to_owned(),
        ..opening()
    };
    let mut cases = conformance_cases();
    for (line, case) in cases.iter_mut().enumerate() {
        case.location = Some(Location { file: "conformance/dialects/mesh.toml".to_owned(), line: Some(line + 1) });
    }
    read(&written_by(&opening, cases)).expect("a result")
}

fn hostile() -> Results {
    let evil = || EVIL.to_owned();
    let mut case = full_case();
    (case.id, case.group, case.title, case.replay) = (evil(), evil(), evil(), evil());
    case.remarks = vec![evil()];
    case.location = Some(Location { file: evil(), line: None });
    (case.findings[0].rule, case.findings[0].message, case.findings[0].promise) =
        (evil(), EVIL.repeat(9_000), Some(evil()));
    case.story.iter_mut().for_each(|step| step.text = evil());
    case.parties.iter_mut().for_each(|party| party.name = evil());
    read(&written_by(&Opening { name: evil(), target: evil(), command: evil(), tool: evil(), ..opening() }, vec![case]))
        .expect("a result")
}

/// Jenkins' schema, as pytest's own tests bring it.
fn jenkins_schema() -> Option<PathBuf> {
    let dir = tools::pypi_source("pytest", "8.3.5")?;
    let schema = dir.join("pytest-8.3.5/testing/example_scripts/junit-10.xsd");
    assert!(schema.exists(), "it is in that version");
    Some(schema)
}

fn lint(xmllint: &str, schema: &Path, xml: &str) -> String {
    let mut child = Command::new(xmllint)
        .args(["--noout", "--nonet", "--schema"])
        .arg(schema)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xmllint starts");
    child.stdin.take().expect("a pipe").write_all(xml.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said == "- validates" { String::new() } else { said }
}

fn multitool_says(multitool: &Path, file: &Path, sarif: &str) -> String {
    std::fs::write(file, sarif).expect("a scratch file");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(multitool, std::fs::Permissions::from_mode(0o755))
            .expect("npm leaves it unexecutable");
    }
    let output = Command::new(multitool)
        .args(["validate", "--rule-kind", "Sarif;Ghas", "--level", "Error;Warning"])
        .arg(file)
        .env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1")
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // Beside its findings it says what it does.
    let found = text.lines().filter(|line| line.contains(".sarif("));
    // SARIF2005 wants the tool's page on the web, and Glare has none.
    found.filter(|line| !line.contains("SARIF2005")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_action_keeps_to_what_github_reads() {
    let Some(modules) = tools::npm("action", &["@action-validator/cli@0.6.0", "@action-validator/core@0.6.0"]) else {
        return;
    };
    let check = |file: &Path| {
        let program = modules.join("node_modules/.bin/action-validator");
        Command::new(program).arg(file).output().expect("it starts")
    };
    let action = Path::new(env!("CARGO_MANIFEST_DIR")).join("../action.yml");
    let good = check(&action);
    let said = String::from_utf8_lossy(&good.stdout).into_owned() + &String::from_utf8_lossy(&good.stderr);
    assert!(good.status.success(), "{said}");
    let broken = modules.join("action.yml");
    let text = std::fs::read_to_string(action).expect("it is there").replace("using: composite", "using: magic");
    std::fs::write(&broken, text).expect("a scratch file");
    assert!(!check(&broken).status.success(), "it does refuse");
}

#[test]
fn the_recipe_for_github_is_a_workflow_and_gives_the_action_inputs_that_it_has() {
    let Some(modules) = tools::npm("action", &["@action-validator/cli@0.6.0", "@action-validator/core@0.6.0"]) else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipes = std::fs::read_to_string(root.join("CI.md")).expect("it is there");
    let (_, rest) = recipes.split_once("## GitHub\n\n```yaml\n").expect("a recipe");
    let (steps, _) = rest.split_once("```").expect("it ends");
    let indented: String = steps.lines().map(|line| format!("      {line}\n")).collect();
    let workflow = format!("on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n{indented}");
    let folder = modules.join(".github/workflows");
    std::fs::create_dir_all(&folder).expect("a scratch folder");
    let check = |workflow: &str| {
        std::fs::write(folder.join("test.yml"), workflow).expect("a scratch file");
        let program = modules.join("node_modules/.bin/action-validator");
        let done = Command::new(program).arg(".github/workflows/test.yml").current_dir(&modules).output();
        let done = done.expect("it starts");
        (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    assert_eq!(check(&workflow), (true, String::new()), "{workflow}");
    assert!(!check(&workflow.replace("uses:", "using:")).0, "it does refuse");
    let action = std::fs::read_to_string(root.join("../action.yml")).expect("it is there");
    let (_, with) = steps.split_once("  with:\n").expect("inputs");
    let inputs =
        with.lines().take_while(|line| line.starts_with("    ")).filter_map(|line| line.trim().split(':').next());
    for input in inputs {
        assert!(action.contains(&format!("\n  {input}:\n")), "{input} is an input of the Action");
    }
}
