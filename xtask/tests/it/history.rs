//! `glare history`, `completions` and `man`.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::glare;
use crate::report::result;

#[test]
fn results_are_added_once_and_shown_over_time() {
    let file = store("history");
    let file = file.as_str();
    let missing = glare(&["history", "show", "--file", file]);
    assert_eq!(missing.code(), 2);
    assert!(missing.err().contains("there is no such file: create it with `history add DIR`"), "{}", missing.err());
    for (name, said) in [("history-a", "Added"), ("history-b", "Added")] {
        let run = glare(&["history", "add", &result(name, "same-lan"), "--file", file, "--revision", name]);
        assert_eq!(run.out(), format!("{said}: sim same-lan\n"), "{}", run.err());
    }
    let again = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("history-b");
    let again = again.to_str().expect("UTF-8");
    let run = glare(&["history", "add", again, "--file", file, "--revision", "history-b"]);
    assert_eq!(run.out(), "Already present: sim same-lan\n");
    let shown = glare(&["history", "show", "--file", file]).out();
    assert!(shown.starts_with("same-lan  sim · reference server\n  ██\n  1 of 1 pass  pairs connected at "), "{shown}");
    assert!(shown.ends_with("2 results, newest of history-b\n"), "{shown}");
    let page = format!("{again}/trend.html");
    let run = glare(&["report", again, "--format", "html", "--history", file, "--output", &page]);
    assert_eq!(run.code(), 0, "{}", run.err());
    assert!(
        fs::read_to_string(&page).expect("a page").contains(r#"aria-label="passing: 100.0 % at first, 100.0 % now""#)
    );
    fs::write(file, "nonsense\n").expect("a scratch file");
    let run = glare(&["history", "show", "--file", file]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains("history.redb: is not a history"), "{}", run.err());
}

#[test]
fn programs_that_add_at_once_lose_nothing_of_each_other() {
    let (result, file) = (result("history-many", "same-lan"), store("history-many"));
    let adders: Vec<_> = (0..12).map(|n| adder(&result, &file, &format!("r{n}"))).collect();
    for adder in adders {
        let done = adder.wait_with_output().expect("it ends");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let shown = glare(&["history", "show", "--file", &file]).out();
    assert!(shown.contains("12 results"), "{shown}");
}

#[test]
fn a_program_that_is_killed_while_it_adds_spoils_nothing() {
    let (result, file) = (result("history-killed", "same-lan"), store("history-killed"));
    assert_eq!(glare(&["history", "add", &result, "--file", &file]).code(), 0);
    for n in 0..40 {
        let mut adder = adder(&result, &file, &format!("r{n}"));
        #[allow(clippy::disallowed_methods)] // a process of its own is killed at some real time
        std::thread::sleep(std::time::Duration::from_micros(n * 400));
        adder.kill().expect("it is ours");
        adder.wait().expect("it ends");
    }
    let added = glare(&["history", "add", &result, "--file", &file, "--revision", "last"]);
    assert_eq!((added.code(), added.out()), (0, "Added: sim same-lan\n".to_owned()), "{}", added.err());
    let again = glare(&["history", "add", &result, "--file", &file, "--revision", "last"]);
    assert_eq!(again.out(), "Already present: sim same-lan\n", "{}", again.err());
    assert_eq!(glare(&["history", "show", "--file", &file]).code(), 0);
}

fn adder(result: &str, file: &str, revision: &str) -> Child {
    let mut adder = Command::new(env!("CARGO_BIN_EXE_glare"));
    adder.args(["history", "add", result, "--file", file, "--revision", revision]).env_remove("CARGO");
    adder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// A store that is not there yet.
fn store(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.redb"));
    let _ = fs::remove_file(&file);
    file.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_quiet_run_says_nothing_unless_it_fails() {
    let quiet = glare(&["sim", "--scenario", "same-lan", "--quiet"]);
    assert_eq!((quiet.code(), quiet.out(), quiet.err()), (0, String::new(), String::new()));
    let many = glare(&["sim", "--scenario", "same-lan", "--seeds", "0..3", "--quiet"]);
    assert_eq!((many.code(), many.out(), many.err()), (0, String::new(), String::new()));
}

#[test]
fn completions_and_manual_know_every_command() {
    let (bash, man) = (glare(&["completions", "bash"]).out(), glare(&["man"]).out());
    for command in ["sim", "scenarios", "serve", "conformance", "report", "diff", "history"] {
        assert!(bash.contains(&format!("glare,{command})")), "{command} in the completions");
        assert!(man.contains(&format!("glare {command}")), "{command} in the manual");
    }
    for shell in ["elvish", "fish", "powershell", "zsh"] {
        assert!(glare(&["completions", shell]).out().contains("glare"), "{shell}");
    }
    assert!(man.starts_with(".ie") && man.contains(".SH SYNOPSIS"), "roff");
}
