//! What the Action and the container run, run here: `.ci/ask` against a real server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::server::Server;

#[test]
fn a_server_that_passes_leaves_every_report_and_no_annotation_of_an_error() {
    let mut server = Server::start(&["--dialects", "mesh", "--port", "0", "--no-stun"]);
    let url = format!("ws://{}", server.address("mesh  ws://"));
    let dir = scratch("ask-good");
    let run = ask(&dir, &url, "--case room/join-ack");
    let out = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{out}{}", String::from_utf8_lossy(&run.stderr));
    for file in ["result.jsonl", "report.html", "junit.xml", "ctrf.json", "glare.sarif", "summary.md"] {
        assert!(fs::metadata(dir.join("result").join(file)).expect(file).len() > 100, "{file}");
    }
    assert!(out.contains("::notice title=PASS mesh::") && !out.contains("::error"), "{out}");
    assert!(fs::read_to_string(dir.join("summary")).expect("a step's summary").starts_with("### ✅ mesh"));
    assert_eq!(
        fs::read_to_string(dir.join("output")).expect("outputs"),
        format!("html={}/result/report.html\n", dir.display())
    );
}

#[test]
fn a_server_that_is_not_there_exits_with_3_and_leaves_no_old_result_looking_new() {
    let dir = scratch("ask-nobody");
    fs::create_dir_all(dir.join("result")).expect("a scratch folder");
    fs::write(dir.join("result/result.jsonl"), "of yesterday").expect("a scratch file");
    let run = ask(&dir, "ws://127.0.0.1:9/", "");
    assert_eq!(run.status.code(), Some(3), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(!dir.join("result/result.jsonl").exists());
}

#[test]
fn the_action_runs_that_script_and_every_input_of_it_is_declared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(root.join(name)).expect(name);
    let (action, script) = (read("action.yml"), read(".ci/ask"));
    assert!(action.contains(r#"run: bash "$GITHUB_ACTION_PATH/.ci/ask""#));
    for line in action.lines().filter(|line| line.trim_start().starts_with("GLARE")) {
        let name = line.trim().split(':').next().expect("a name");
        assert!(script.contains(&format!("${{{name}:")), "{name} is read by the script");
        if let Some((_, input)) = line.split_once("inputs.") {
            let input = input.trim_end_matches([' ', '}']);
            assert!(action.contains(&format!("\n  {input}:\n")), "{input} is declared");
        }
    }
}

fn ask(dir: &Path, url: &str, arguments: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/ask");
    Command::new("bash")
        .arg(script)
        .env_remove("CARGO")
        .env("GLARE", env!("CARGO_BIN_EXE_glare"))
        .env("GLARE_URL", url)
        .env("GLARE_OUT", dir.join("result"))
        .env("GLARE_ARGUMENTS", arguments)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_OUTPUT", dir.join("output"))
        .env("GITHUB_STEP_SUMMARY", dir.join("summary"))
        .output()
        .expect("bash starts")
}

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a scratch folder");
    dir
}
