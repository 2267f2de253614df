//! What the Action and the container run, run here: `.ci/test-server` against a real server.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::server::Server;
use crate::tools;

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
fn a_server_that_it_starts_itself_is_waited_for_and_ended() {
    let dir = scratch("ask-started");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("it has one").port();
    let server = format!("sleep 1; {} serve --dialects mesh --port {port} --no-stun", env!("CARGO_BIN_EXE_glare"));
    let run = ask_with(&dir, &format!("ws://127.0.0.1:{port}/"), "--case room/join-ack", &[("GLARE_SERVER", &server)]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(), "it was ended");
}

#[test]
fn the_action_runs_that_script_and_every_input_of_it_is_declared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(root.join(name)).expect(name);
    let (action, script) = (read("action.yml"), read(".ci/test-server"));
    assert!(action.contains(r#"run: bash "$GITHUB_ACTION_PATH/.ci/test-server""#));
    for line in action.lines().filter(|line| line.trim_start().starts_with("GLARE")) {
        let name = line.trim().split(':').next().expect("a name");
        assert!(script.contains(&format!("${{{name}:")), "{name} is read by the script");
        if let Some((_, input)) = line.split_once("inputs.") {
            let input = input.trim_end_matches([' ', '}']);
            assert!(action.contains(&format!("\n  {input}:\n")), "{input} is declared");
        }
    }
}

#[test]
fn its_steps_run_as_a_runner_runs_them_and_give_the_declared_outputs() {
    let mut server = Server::start(&["--dialects", "mesh", "--port", "0", "--no-stun"]);
    let url = format!("ws://{}", server.address("mesh  ws://"));
    let dir = scratch("action-good");
    install(&dir);
    let inputs = [("INPUT_url", url.as_str()), ("INPUT_arguments", "--case room/join-ack")];
    let Some((code, said)) = act(&dir, &inputs, &["Download"]) else { return };
    let page = format!("{}/result/report.html", dir.display());
    assert_eq!((code, said), (0, json!({ "status": 0, "outputs": { "html": page } })));
    assert!(fs::read_to_string(page).expect("the page").starts_with("<!DOCTYPE html>"));
    assert!(fs::read_to_string(dir.join("summary")).expect("a step's summary").starts_with("### ✅ mesh"));
}

#[test]
fn its_failure_is_the_jobs_failure() {
    let dir = scratch("action-nobody");
    install(&dir);
    let inputs = [("INPUT_url", "ws://127.0.0.1:9/"), ("INPUT_wait", "1s")];
    let Some((code, said)) = act(&dir, &inputs, &["Download"]) else { return };
    assert_eq!((code, &said["status"]), (3, &json!(3)));
    let Some((code, _)) = act(&dir, &[], &["Download"]) else { return };
    assert_ne!(code, 0, "the URL is required");
}

#[test]
#[ignore = "builds everything for release, which takes minutes"]
fn away_from_a_release_its_steps_compile_the_program_that_they_run() {
    let mut server = Server::start(&["--dialects", "mesh", "--port", "0", "--no-stun"]);
    let url = format!("ws://{}", server.address("mesh  ws://"));
    let dir = scratch("action-compile");
    let inputs = [("ACTION_REF", "main"), ("INPUT_url", &url), ("INPUT_arguments", "--group room")];
    let Some((code, said)) = act(&dir, &inputs, &[]) else {
        return;
    };
    assert_eq!(code, 0, "{said}");
    assert!(dir.join("glare/bin/glare").exists());
}

/// Puts the program where the first step would have put it.
fn install(temp: &Path) {
    fs::create_dir_all(temp.join("glare/bin")).expect("a scratch folder");
    let _ = fs::remove_file(temp.join("glare/bin/glare"));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_glare"), temp.join("glare/bin/glare")).expect("a scratch folder");
}

/// Runs the Action's steps, but for some; its exit code and what it says of its outputs.
fn act(dir: &Path, inputs: &[(&str, &str)], but: &[&str]) -> Option<(i32, Value)> {
    let modules = tools::npm("action-runner", &["yaml@2.9.1"])?;
    let action = Path::new(env!("CARGO_MANIFEST_DIR")).join("../action.yml");
    let (out, temp, summary) = (dir.join("result"), dir.to_path_buf(), dir.join("summary"));
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (out, temp, summary) = (text(&out), text(&temp), text(&summary));
    let own = [("INPUT_out", out.as_str()), ("RUNNER_TEMP", &temp), ("GITHUB_STEP_SUMMARY", &summary)];
    let arguments: Vec<_> = [action.to_str().expect("UTF-8")].into_iter().chain(but.iter().copied()).collect();
    let output = tools::node("action.mjs", &modules, &arguments, &[&own, inputs].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
    Some((output.status.code().expect("no signal ended it"), last))
}

fn ask(dir: &Path, url: &str, arguments: &str) -> Output {
    // Nothing listens where nothing is to be found.
    ask_with(dir, url, arguments, &[("GLARE_WAIT", "1s")])
}

fn ask_with(dir: &Path, url: &str, arguments: &str, more: &[(&str, &str)]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/test-server");
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
        .envs(more.iter().copied())
        .output()
        .expect("bash starts")
}

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a scratch folder");
    dir
}
