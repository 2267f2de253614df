//! What a person sees on a terminal of some width, and what a pipe gets. The terminal is a real one: `script` of util-linux makes it.

use std::process::{Command, Stdio};

use crate::{glare, glare_with};

/// Commands that print columns.
const COMMANDS: [&[&str]; 6] = [
    &["sim", "--scenario", "mesh-6"],
    &["sim", "--scenario", "nat-reboot-mid-call", "--timeline"],
    &["sim", "--scenario", "mesh-3", "--seeds", "0..4"],
    &["scenarios"],
    &["dialect", "list"],
    &["conformance", "--list"],
];

#[test]
fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
    for columns in [72, 100, 200] {
        for arguments in COMMANDS {
            let Some(shown) = on_terminal(columns, arguments, &[]) else { return };
            let piped = glare(arguments).out();
            for line in table_lines(&plain(&shown)) {
                let width = line.chars().count();
                assert!(width <= columns, "{arguments:?} in {columns} columns has {width}: {line}");
            }
            assert_eq!(words(&plain(&shown)), words(&piped), "{arguments:?} in {columns} columns");
        }
    }
}

#[test]
fn a_terminal_too_narrow_for_columns_loses_nothing() {
    for arguments in COMMANDS {
        let Some(shown) = on_terminal(20, arguments, &[]) else { return };
        assert_eq!(words(&plain(&shown)), words(&glare(arguments).out()), "{arguments:?}");
    }
}

#[test]
fn colours_are_for_terminals_and_not_for_who_wants_none() {
    let arguments = ["sim", "--scenario", "mesh-3"];
    let Some(colourful) = on_terminal(100, &arguments, &[]) else { return };
    assert!(colourful.contains("\u{1b}[32m"), "green: {colourful:?}");
    let plain = on_terminal(100, &arguments, &[("NO_COLOR", "1")]).expect("it was there before");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let sweep = ["sim", "--scenario", "mesh-3", "--seeds", "0..4"];
    let plain = on_terminal(100, &sweep, &[("NO_COLOR", "1")]).expect("it was there before");
    // A progress bar moves the cursor, and is grey.
    assert!(
        !plain
            .split("\u{1b}[")
            .skip(1)
            .any(|code| code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')),
        "{plain:?}"
    );
}

#[test]
fn a_pipe_gets_neither_colours_nor_progress_nor_a_cut() {
    for arguments in COMMANDS {
        let run = glare_with(arguments, &[("COLUMNS", "40")]);
        assert!(!run.out().contains('\u{1b}'), "{arguments:?}");
        assert_eq!(run.err(), "", "{arguments:?}: no progress");
    }
    let widest = glare(&["scenarios"]).out().lines().map(str::len).max().expect("lines");
    assert!(widest > 80, "one line per scenario: {widest}");
    let lines = glare(&["scenarios"]).out().lines().count();
    let shipped = scenarios::shipped().count();
    assert!((shipped..shipped + 5).contains(&lines), "one line per scenario, so that `grep` finds it: {lines}");
}

/// What a command shows on a terminal of so many columns; `None` if no terminal can be had.
pub(crate) fn on_terminal(columns: usize, arguments: &[&str], env: &[(&str, &str)]) -> Option<String> {
    let command = format!("stty cols {columns} rows 50; {} {}", env!("CARGO_BIN_EXE_glare"), arguments.join(" "));
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env_remove("CARGO")
        .env_remove("CARGO_MANIFEST_DIR")
        .env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"))
        .env_remove("NO_COLOR")
        .env("TERM", "xterm-256color")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: `script` cannot be had: {error}");
            return None;
        }
    };
    let text = String::from_utf8(output.stdout).expect("UTF-8").replace("\r\n", "\n");
    assert!(output.status.success(), "{text}");
    Some(text)
}

pub(crate) fn plain(text: &str) -> String {
    // A bar that is cleared away is no part of what stays.
    let text = text.rsplit('\r').next().unwrap_or_default();
    let text = anstream::adapter::strip_str(text).to_string();
    text.trim_start_matches('\n').to_owned()
}

/// Lines of tables; headlines, and replay lines, which are there to be copied, wrap as the terminal wraps.
fn table_lines(text: &str) -> Vec<&str> {
    let is_free = |line: &str| {
        ["PASS", "Replay", "six peers", "Rare"].iter().any(|start| line.starts_with(start)) || line.contains(" · ")
    };
    text.lines().filter(|line| !is_free(line)).collect()
}

/// The words, but for what differs from run to run: how long it took.
fn words(text: &str) -> Vec<&str> {
    let timed = |line: &&str| line.contains("real time") || line.contains("ms per seed");
    text.lines().filter(|line| !timed(line)).flat_map(str::split_whitespace).collect()
}
