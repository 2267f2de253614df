//! `glare history`, `completions` and `man`.

use std::fs;
use std::path::PathBuf;

use crate::glare;
use crate::report::result;

#[test]
fn results_are_added_once_and_shown_over_time() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("history.jsonl");
    let _ = fs::remove_file(&file);
    let file = file.to_str().expect("UTF-8");
    let missing = glare(&["history", "show", "--file", file]);
    assert_eq!(missing.code(), 2);
    assert!(missing.err().contains("there is no such file: `history add DIR` makes it"), "{}", missing.err());
    for (name, said) in [("history-a", "Added"), ("history-b", "Added")] {
        let run = glare(&["history", "add", &result(name, "same-lan"), "--file", file, "--revision", name]);
        assert_eq!(run.out(), format!("{said}: sim same-lan\n"), "{}", run.err());
    }
    let again = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("history-b");
    let again = again.to_str().expect("UTF-8");
    let run = glare(&["history", "add", again, "--file", file, "--revision", "history-b"]);
    assert_eq!(run.out(), "Already there: sim same-lan\n");
    let shown = glare(&["history", "show", "--file", file]).out();
    assert!(shown.starts_with("same-lan  sim · reference server\n  ██  1 of 1 pass, pairs connected at "), "{shown}");
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
    assert!(run.err().contains("history.jsonl:1: is no entry of a history"), "{}", run.err());
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
