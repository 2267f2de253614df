//! What a newcomer meets in the first minutes: the verdict in view, what ran last, and words instead of panics.

// Real programs and a person's patience, outside of every simulation.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::server::PATIENCE;
use crate::terminal::{on_terminal, plain};
use crate::{Run, glare, glare_with, program};

#[test]
fn the_verdict_of_mesh_6_is_in_view_on_a_small_terminal() {
    let Some(shown) = on_terminal(80, &["sim", "--scenario", "mesh-6"], &[]) else { return };
    let shown = plain(&shown);
    let lines: Vec<_> = shown.lines().flat_map(|line| vec![line; line.chars().count().div_ceil(80).max(1)]).collect();
    assert!(lines.len() < 24, "{} lines, and the prompt: {shown}", lines.len());
    for line in [lines[0], lines[lines.len() - 1]] {
        assert_eq!(line, "PASS  mesh-6: all 15 pairs connected");
    }
    assert!(lines[lines.len() - 2].starts_with("Replay  glare sim --scenario mesh-6"), "{shown}");
    assert_eq!(lines.iter().filter(|line| line.contains(" ⇄ ")).count(), 15, "{shown}");
}

#[test]
fn a_call_that_was_hung_up_is_no_failure_and_does_not_look_like_one() {
    let out = glare(&["sim", "--scenario", "call-accept"]).out();
    assert!(out.starts_with("PASS  call-accept: ana and ben connected 5."), "{out}");
    assert!(out.contains("–25.0 s, hung up\n") && !out.contains("not connected"), "{out}");
}

#[test]
fn what_ran_last_is_shown() {
    let dir = scratch("last");
    let cache = dir.join("cache");
    let browser = dir.join("browser");
    let env = [("XDG_CACHE_HOME", path(&cache)), ("BROWSER", path(&browser))];
    let run = |arguments: &[&str]| glare_with(arguments, &env);
    let none = run(&["report"]);
    assert_eq!((none.code(), none.err().contains("nothing has been run yet")), (2, true), "{}", none.err());
    assert_eq!(run(&["sim", "--scenario", "same-lan"]).code(), 0);
    let text = run(&["report"]);
    assert!(text.code() == 0 && text.out().starts_with("PASS  same-lan: "), "{}{}", text.out(), text.err());
    // A browser that notes what it is asked to open.
    fs::write(dir.join("browser"), format!("#!/bin/sh\necho \"$1\" > {}\n", path(&dir.join("opened"))))
        .expect("a file");
    assert!(Command::new("chmod").args(["+x", path(&dir.join("browser"))]).status().expect("chmod").success());
    let opened = run(&["report", "--open"]);
    let page = cache.join("glare/last/report.html");
    assert_eq!(opened.out(), format!("Written to {}\n", page.display()), "{}", opened.err());
    assert!(fs::read_to_string(&page).expect("a page").contains("same-lan"));
    wait_for(|| fs::read_to_string(dir.join("opened")).is_ok_and(|text| text == format!("{}\n", page.display())));
    // A result with a folder of its own is the last one too.
    assert_eq!(run(&["sim", "--scenario", "mesh-3", "--out", path(&dir.join("out"))]).code(), 0);
    assert!(run(&["report"]).out().starts_with("PASS  mesh-3: "));
    assert_eq!(run(&["conformance", "--sim", "--case", "room/join-ack"]).code(), 0);
    assert!(run(&["report"]).out().contains("conformance"), "{}", run(&["report"]).out());
    assert!(dir.join("out/result.jsonl").exists(), "only the link is replaced");
    let left: Vec<_> =
        fs::read_dir(cache.join("glare")).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["last"]);
}

#[test]
fn a_report_goes_to_standard_output_if_asked() {
    let dir = scratch("stdout");
    assert_eq!(glare(&["sim", "--scenario", "same-lan", "--out", path(&dir)]).code(), 0);
    let page = glare(&["report", path(&dir), "--format", "html", "-o", "-"]);
    assert!(page.out().starts_with("<!DOCTYPE html>"), "{:.200}", page.out());
    assert!(!dir.join("report.html").exists() && !Path::new("-").exists());
    let wrong = glare(&["report", path(&dir), "--open", "-o", "-"]);
    assert!(wrong.code() == 2 && wrong.err().contains("--open needs a file"), "{}", wrong.err());
}

#[test]
fn a_reader_that_has_read_enough_ends_nothing_with_a_panic() {
    for command in [
        "conformance --list",
        "scenarios",
        "scenarios schema",
        "dialect list",
        "dialect schema",
        "dialect check mesh",
        "completions bash",
        "man",
        "--help",
        "sim --scenario mesh-6 --timeline",
        "sim --scenario mesh-3 --seeds 0..3 --format json",
        "conformance --sim --case room/*",
        "conformance --sim --case room/* --format json",
    ] {
        // `true` reads nothing at all.
        let line = format!("{} {} | true; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_glare"), command);
        let mut bash = Command::new("bash");
        bash.args(["-c", &line]).envs(program().get_envs().filter_map(|(name, value)| Some((name, value?))));
        bash.env_remove("CARGO").env_remove("CARGO_MANIFEST_DIR");
        let run = Run(bash.output().expect("bash is there"));
        assert_eq!((run.code(), run.err()), (0, String::new()), "{command}");
    }
}

#[test]
fn what_is_wrong_is_said_in_a_persons_words() {
    let cases: [(&[&str], &str); 9] = [
        (&["sim", "--scenario", "mesh-3", "--seed", "abc"], "'abc' for '--seed <SEED>': it must be a whole number"),
        (&["sim", "--scenario", "mesh-3", "--seed", ""], "it must be a whole number"),
        (&["sim", "--scenario", "mesh-3", "--jobs", "0"], "'0' for '--jobs <N>': it must be at least 1"),
        (&["conformance", "--sim", "--repeat", "0"], "it must be at least 1"),
        (&["sim", "mesh-6"], "tip: write `--scenario mesh-6`"),
        (&["conformance", "ws://127.0.0.1:1/"], "tip: write `--url ws://127.0.0.1:1/`"),
        (&["load", "ws://127.0.0.1:1/"], "tip: write `--url ws://127.0.0.1:1/`"),
        (&["conformance", "--url", "ws://127.0.0.1:1/", "--", "/nowhere/server"], "cannot start `/nowhere/server`"),
        (&["conformance", "--sim", "--wait", "soon"], "soon"),
    ];
    for (arguments, says) in cases {
        let run = glare(arguments);
        assert_eq!(run.code(), 2, "{arguments:?}: {}", run.err());
        assert!(run.err().contains(says), "{arguments:?}: {}", run.err());
    }
}

#[test]
fn completions_know_names_and_the_manual_names_no_page_that_is_not_there() {
    for (shell, check) in [("bash", Some("bash")), ("zsh", None), ("fish", None)] {
        let script = glare(&["completions", shell]).out();
        for name in ["mesh-6-churn", "peerjs", "room/join-ack", "bittorrent-tracker"] {
            assert!(script.contains(name), "{name} for {shell}");
        }
        if let Some(shell) = check {
            let file = scratch("completions").join("script");
            fs::write(&file, &script).expect("a file");
            assert!(Command::new(shell).args(["-n", path(&file)]).status().expect("a shell").success());
            assert!(script.contains("compgen -f -W \"mesh-3 "), "files complete beside names");
        }
    }
    let man = glare(&["man"]).out();
    let pages: Vec<_> = man.lines().filter(|line| line.contains("(1)")).collect();
    assert_eq!(pages, Vec::<&str>::new());
}

#[test]
fn mutants_need_a_checkout() {
    // Cargo's folders lie in a checkout.
    let dir = std::env::temp_dir().join(format!("glare-no-checkout-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a scratch folder");
    let run = Run(program().arg("mutants").current_dir(&dir).output().expect("the program starts"));
    assert_eq!(run.code(), 2, "{}", run.err());
    assert!(
        run.err().contains("it needs a checkout of Glare") && run.err().contains("--workspace DIR"),
        "{}",
        run.err()
    );
    let run = Run(program().args(["mutants", "--workspace", path(&dir)]).output().expect("the program starts"));
    assert!(run.code() == 2 && run.err().contains("no checkout of Glare"), "{}", run.err());
    fs::remove_dir_all(&dir).expect("it is ours");
}

#[test]
fn reports_point_to_files_that_are_there() {
    let dir = scratch("elsewhere");
    let run =
        |arguments: &[&str]| Run(program().args(arguments).current_dir(&dir).output().expect("the program starts"));
    assert_eq!(run(&["conformance", "--sim", "--case", "room/join-ack", "--out", "suite"]).code(), 0);
    assert_eq!(run(&["sim", "--scenario", "same-lan", "--out", "run"]).code(), 0);
    for (folder, file) in [("suite", "suite/mesh.toml"), ("run", "run/same-lan.toml")] {
        let result = fs::read_to_string(dir.join(folder).join("result.jsonl")).expect("a result");
        assert!(result.contains(&format!("\"file\":\"{file}\"")), "{result}");
        assert!(dir.join(file).exists(), "{file}");
    }
}

#[test]
fn ctrl_c_ends_a_sweep_with_what_was_run() {
    let mut sweep = program();
    sweep.args(["sim", "--scenario", "mesh-3", "--seeds", "5..1000000", "--jobs", "1", "--format", "json"]);
    let mut child = sweep.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    // Its first lines show that it runs.
    let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = Vec::new();
    for _ in 0..3 {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
        lines.push(line);
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill is there").success());
    let rest = std::io::read_to_string(out).expect("UTF-8");
    let code = child.wait().expect("it ends").code();
    let said = std::io::read_to_string(child.stderr.take().expect("piped")).expect("UTF-8");
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("interrupted: ") && said.contains(" of 999995 seeds, from 5, were run"), "{said}");
    assert!(rest.lines().last().is_some_and(|line| line.contains("\"record\":\"closing\"")), "{rest:.300}");
}

/// A server that is started for the test, slowly, by a shell, with a child that is not its own process.
#[test]
fn a_server_is_started_waited_for_and_ended_with_its_children() {
    let dir = scratch("command");
    let port = free_port();
    let serve = format!(
        "setsid sleep 1000 & echo $! > {pid}; sleep 0.7; {glare} serve --dialects mesh --port {port} --no-stun --log error",
        pid = path(&dir.join("pid")),
        glare = env!("CARGO_BIN_EXE_glare"),
    );
    let url = format!("ws://127.0.0.1:{port}/");
    let test = ["conformance", "--url", &url, "--case", "room/join-ack", "--", "sh", "-c", &serve];
    let run = glare(&test);
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    assert!(run.out().starts_with("PASS"), "the server's output is not in the report: {}", run.out());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "it still listens");
    let pid = fs::read_to_string(dir.join("pid")).expect("it was written");
    wait_for(|| !is_running(pid.trim()));
    // One that ends by itself is not waited for.
    let ended = glare(&["conformance", "--url", &url, "--", "sh", "-c", "exit 7"]);
    assert_eq!(ended.code(), 3, "{}", ended.err());
    assert!(ended.err().contains("has ended (exit status: 7) before the server could be reached"), "{}", ended.err());
    // Another server at the address would be tested in its place.
    let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free again");
    let taken = glare(&test);
    assert_eq!(taken.code(), 2, "{}", taken.err());
    assert!(taken.err().contains(&format!("a server already listens at 127.0.0.1:{port}")), "{}", taken.err());
}

#[test]
fn a_server_that_something_else_starts_is_waited_for() {
    let port = free_port();
    let mut later = Command::new("sh");
    let serve = format!(
        "sleep 1; exec {} serve --dialects mesh --port {port} --no-stun --log error",
        env!("CARGO_BIN_EXE_glare")
    );
    let mut server = later.args(["-c", &serve]).stdout(Stdio::null()).spawn().expect("sh is there");
    let url = format!("ws://127.0.0.1:{port}/");
    let run = glare(&["conformance", "--url", &url, "--case", "room/join-ack", "--wait", "60s"]);
    let ended = server.kill().and_then(|()| server.wait());
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    ended.expect("it is a child");
    let run = glare(&["conformance", "--url", &url, "--case", "room/join-ack", "--wait", "100ms"]);
    assert_eq!(run.code(), 3, "{}", run.err());
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_for(condition: impl Fn() -> bool) {
    let pause = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if condition() {
            return;
        }
        sleep(pause);
    }
    panic!("it does not happen");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// An empty folder of this test.
fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("first-minute").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a scratch folder");
    dir
}
