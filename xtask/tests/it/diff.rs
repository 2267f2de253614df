//! `glare diff`

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::glare;
use crate::report::result;
use crate::server::Server;

#[test]
fn two_runs_of_one_scenario_are_the_same() {
    let (before, now) = (result("diff-a", "same-lan"), result("diff-b", "same-lan"));
    let run = glare(&["diff", &before, &now]);
    assert_eq!((run.code(), run.out()), (0, "SAME  1 case, nothing changed\n".to_owned()), "{}", run.err());
}

#[test]
fn a_regression_exits_with_1_and_tells_the_replay_line() {
    let (before, now) = (result("diff-good", "same-lan"), scratch("diff-bad"));
    fs::create_dir_all(&now).expect("a scratch folder");
    let good = fs::read_to_string(PathBuf::from(&before).join("result.jsonl")).expect("a result");
    let finding = r#""verdict":"fail","findings":[{"rule":"at-most-once","message":"twice"}]"#;
    let bad = good
        .replace(r#""verdict":"pass""#, finding)
        .replace(r#""pass":1"#, r#""pass":0"#)
        .replace(r#""fail":0"#, r#""fail":1"#);
    fs::write(now.join("result.jsonl"), bad).expect("a scratch file");
    let run = glare(&["diff", &before, now.to_str().expect("UTF-8")]);
    assert_eq!(run.code(), 1, "{}", run.err());
    assert!(
        run.out()
            .starts_with("REGRESSION  1 of 1 case newly failing\n\nNewly failing  same-lan/1\n  at-most-once: twice\n"),
        "{}",
        run.out()
    );
    assert!(run.out().contains("replay  glare sim --scenario same-lan --seed 1"), "{}", run.out());
}

#[test]
fn a_baseline_is_made_compared_with_and_updated() {
    let now = result("diff-now", "same-lan");
    let file = scratch("baseline.jsonl");
    let _ = fs::remove_file(&file);
    let file = file.to_str().expect("UTF-8");
    let run = glare(&["diff", "--baseline", file, &now]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains("baseline.jsonl does not exist: create it with --update"), "{}", run.err());
    assert_eq!(glare(&["diff", "--baseline", file, "--update", &now]).out(), format!("Saved as {file}\n"));
    let (kept, whole) =
        (fs::metadata(file).expect("kept").len(), fs::metadata(format!("{now}/result.jsonl")).expect("there").len());
    assert!(kept * 2 < whole, "a baseline leaves out what only people read: {kept} of {whole} bytes");
    let run = glare(&["diff", "--baseline", file, &now]);
    assert_eq!((run.code(), run.out()), (0, "SAME  1 case, nothing changed\n".to_owned()), "{}", run.err());
}

#[test]
fn a_baseline_of_a_revision_is_read_from_git() {
    let now = result("diff-git", "same-lan");
    let repository = scratch("diff-repository");
    let _ = fs::remove_dir_all(&repository);
    fs::create_dir_all(&repository).expect("a scratch folder");
    fs::copy(format!("{now}/result.jsonl"), repository.join("base.jsonl")).expect("a copy");
    let git = |arguments: &[&str]| {
        let done = Command::new("git")
            .current_dir(&repository)
            .args(["-c", "user.name=a", "-c", "user.email=a@b.c"])
            .args(arguments)
            .output();
        assert!(done.expect("git starts").status.success(), "{arguments:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "base.jsonl"]);
    git(&["commit", "-q", "-m", "base"]);
    let diff = |base: &str| {
        Command::new(env!("CARGO_BIN_EXE_glare"))
            .current_dir(&repository)
            .args(["diff", base, &now])
            .output()
            .expect("it starts")
    };
    let same = diff("HEAD:base.jsonl");
    assert_eq!(
        String::from_utf8_lossy(&same.stdout),
        "SAME  1 case, nothing changed\n",
        "{}",
        String::from_utf8_lossy(&same.stderr)
    );
    let wrong = diff("HEAD:nowhere.jsonl");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("HEAD:nowhere.jsonl is not a file, and git reports: "));
}

#[test]
fn what_cannot_be_compared_exits_with_2() {
    let one = result("diff-one", "same-lan");
    for (arguments, hint) in [
        (vec!["diff", &one], "name two results"),
        (vec!["diff", &one, "/nowhere"], "there is no such file or folder"),
        (vec!["diff", "--update", &one], "--baseline"),
    ] {
        let run = glare(&arguments);
        assert_eq!(run.code(), 2, "{arguments:?}: {}", run.out());
        assert!(run.err().contains(hint), "{arguments:?}: {}", run.err());
    }
}

#[test]
fn repeated_runs_of_the_correct_server_raise_no_alarm() {
    repeat("repeat-few", 3, &["--group", "room", "role"]);
    let base = result("repeat-sim", "mesh-3");
    for _ in 0..10 {
        let run = glare(&["diff", &base, &result("repeat-sim-now", "mesh-3")]);
        assert_eq!((run.code(), run.out()), (0, "SAME  1 case, nothing changed\n".to_owned()), "{}", run.err());
    }
}

#[test]
#[ignore = "asks the whole suite 51 times, which takes minutes"]
fn fifty_runs_of_the_whole_suite_raise_no_alarm() {
    repeat("repeat-fifty", 50, &[]);
}

/// Asks the reference server again and again, over real sockets, and compares each answer with the first.
fn repeat(name: &str, runs: usize, what: &[&str]) {
    let mut server = Server::start(&["--dialects", "mesh", "--port", "0", "--no-stun"]);
    let url = format!("ws://{}", server.address("mesh  ws://"));
    let ask = |out: &str| {
        let run = glare(&[&["conformance", "--url", &url, "--out", out], what].concat());
        assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    };
    let (base, now) = (scratch(&format!("{name}-base")), scratch(&format!("{name}-now")));
    let (base, now) = (base.to_str().expect("UTF-8"), now.to_str().expect("UTF-8"));
    ask(base);
    let mut said = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..runs {
        ask(now);
        let run = glare(&["diff", base, now]);
        assert_eq!(run.code(), 0, "a false regression: {}{}", run.out(), run.err());
        *said.entry(run.out().lines().next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    println!("{said:#?}");
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}
