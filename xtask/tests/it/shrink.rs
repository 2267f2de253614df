//! `glare shrink` and `glare sim --exhaustive`: what they print and write, their exit codes, and what is continued.

use std::fs;
use std::path::{Path, PathBuf};

use crate::queue::{Program, ended, said, until};
use crate::{glare, program};

/// What is expected is possible, unless a packet is lost.
const UNLUCKY: &str = "name = 'unlucky'\nduration = '20s'\n[link]\nloss = '10%'
[[actor]]\nname = 'ana'\nnat = 'home-linux'\n[[actor]]\nname = 'ben'\nnat = 'home-median'\n[[actor]]\nname = 'cam'
[expect]\nconnected = [{ pair = ['ana', 'ben'], from = '1200ms' }]\n";

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a scratch folder");
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_failing_run_is_shrunk_and_the_printed_command_plays_it() {
    let folder = scratch("shrink");
    let (scenario, result) = (folder.join("unlucky.toml"), folder.join("small.toml"));
    fs::write(&scenario, UNLUCKY).expect("a file");
    let fails = |seed: &u64| {
        let run = glare(&["sim", "--scenario", text(&scenario), "--seed", &seed.to_string(), "--timeline"]);
        run.out().contains("connected-as-expected") && !run.out().contains("everyone-connected")
    };
    let seed = (0..50).find(fails).expect("a seed that fails").to_string();
    let shrink = |more: &[&str]| {
        let words = ["shrink", text(&scenario), "--seed", &seed, "--out", text(&result)];
        glare(&words.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let run = shrink(&[]);
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    assert!(
        run.out().starts_with("SHRUNK  unlucky: connected-as-expected\nana and ben are not connected "),
        "{}",
        run.out()
    );
    assert!(run.out().contains("\nto    2 actors, 0 networks, 0 steps, "), "{}", run.out());
    assert!(run.out().contains("\nIt does not happen without\n  "), "{}", run.out());
    assert!(run.out().contains("\nIt depends on no seed: all of 8 others break it, too.\n"), "{}", run.out());
    assert_eq!(run.err(), "", "no progress where there is no terminal");
    let written = fs::read_to_string(&result).expect("it is written");
    assert!(
        written.starts_with(&format!("# shrunk from unlucky with seed {seed}: breaks connected-as-expected.\n")),
        "{written}"
    );
    let line = format!("Replay  glare sim --scenario {} --seed {seed}\n", result.display());
    assert!(run.out().ends_with(&line), "{}", run.out());
    assert_eq!(glare(&["sim", "--scenario", text(&result), "--seed", &seed]).code(), 1);
    // The same again, over the result of before.
    let first_line = |out: String| out.split(" runs in ").next().map(str::to_owned);
    let again = shrink(&["--quiet"]);
    assert_eq!(first_line(again.out()), first_line(run.out()));
    assert_eq!(fs::read_to_string(&result).expect("it is written"), written);
    // A file of somebody else stays.
    fs::write(&result, "mine").expect("a file");
    let run = shrink(&[]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains("small.toml is there already and was not written by `shrink`"), "{}", run.err());
    assert_eq!(fs::read_to_string(&result).expect("it is there"), "mine");
}

#[test]
fn there_must_be_a_failure_and_flags_must_be_right() {
    for (words, code, said) in [
        (&["shrink", "mesh-3", "--seed", "1"][..], 1, "mesh-3 breaks no promise with seed 1: nothing to shrink"),
        (&["shrink", "--scenario", "mesh-3", "--seed", "1"], 1, "nothing to shrink"),
        (&["shrink", "mesh-3"], 2, "--seed <N>"),
        (&["shrink", "--seed", "1"], 2, "NAME|FILE"),
        (&["shrink", "mesh-3", "--seed", "1", "--oracle", "no-such"], 2, "there is no oracle `no-such`"),
        (&["shrink", "mesh-3", "--seed", "1", "--minutes", "0"], 2, "must be a number of minutes"),
        (&["shrink", "mesh-3", "--seed", "1", "--minutes", "nan"], 2, "must be a number of minutes"),
        (&["shrink", "no-such.toml", "--seed", "1"], 2, "there is no such file"),
        (&["shrink", "mesh-3", "--seed", "1", "--server", "no-such-program"], 2, "no-such-program"),
        (&["sim", "--scenario", "mesh-3", "--worlds", "loss"], 2, "--exhaustive"),
        (
            &["sim", "--scenario", "mesh-3", "--exhaustive", "--worlds", "gain"],
            2,
            "must be one of loss, two-losses, twice, swap, crash",
        ),
        (&["sim", "--scenario", "mesh-3", "--exhaustive", "--seeds", "0..3"], 2, "cannot be used with"),
    ] {
        let run = glare(words);
        assert_eq!(run.code(), code, "{words:?}: {}{}", run.out(), run.err());
        assert!(run.err().contains(said), "{words:?}: {}", run.err());
    }
}

#[test]
fn small_worlds_are_counted_and_a_search_is_continued() {
    let folder = scratch("exhaustive");
    let (scenario, out) = (folder.join("two.toml"), folder.join("out"));
    let base = "name = 'two'\nduration = '4s'\n[[actor]]\nname = 'ana'\n[[actor]]\nname = 'ben'\n";
    fs::write(&scenario, format!("{base}[expect]\nconnected = [{{ pair = ['ana', 'ben'], from = '1s' }}]\n"))
        .expect("a file");
    let explore = |seed: &str| {
        let words = [
            "sim",
            "--scenario",
            text(&scenario),
            "--seed",
            seed,
            "--exhaustive",
            "--worlds",
            "loss,twice",
            "--out",
            text(&out),
        ];
        glare(&words)
    };
    let run = explore("1");
    assert_eq!(run.code(), 1, "{}{}", run.out(), run.err());
    assert!(run.out().starts_with("FAIL  two: a promise is broken in "), "{}", run.out());
    assert!(run.out().contains("\nconnected-as-expected: "), "{}", run.out());
    let replay =
        run.out().lines().find_map(|line| line.trim().strip_prefix("glare ").map(str::to_owned)).expect("a command");
    assert_eq!(glare(&replay.split(' ').collect::<Vec<_>>()).code(), 1, "{replay}");
    // All but the first units are lost, and half a line: the rest is played again, with the same result.
    let log = out.join("worlds.jsonl");
    let whole = fs::read_to_string(&log).expect("the log");
    let cut: usize = whole.lines().take(4).map(|line| line.len() + 1).sum::<usize>() + 10;
    fs::write(&log, &whole[..cut]).expect("a file");
    let without_time = |out: String| out.split("Played in").next().map(str::to_owned);
    let again = explore("1");
    assert_eq!(without_time(again.out()), without_time(run.out()));
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&fs::read_to_string(&log).expect("the log")), sorted(&whole));
    // Another seed is another search.
    let other = explore("2");
    assert_eq!(other.code(), 2);
    assert!(other.err().contains("worlds.jsonl is of another scenario, seed or version of Glare"), "{}", other.err());
    fs::write(&scenario, base.replace("[[actor]]", "[[actor]]\nwebrtc = false")).expect("a file");
    let pass = glare(&["sim", "--scenario", text(&scenario), "--exhaustive", "--worlds", "loss", "--jobs", "3"]);
    assert_eq!(pass.code(), 0, "{}{}", pass.out(), pass.err());
    assert!(pass.out().starts_with("PASS  two: every promise is kept in all of "), "{}", pass.out());
}

const SIGNALING: &str = "name = 'three'\nduration = '60s'\n[[actor]]\nname = 'ana'\nwebrtc = false
[[actor]]\nname = 'ben'\nwebrtc = false\n[[actor]]\nname = 'cam'\nwebrtc = false\n";

#[test]
fn a_search_without_a_world_is_no_success() {
    let scenario = scratch("no-worlds").join("three.toml");
    fs::write(&scenario, SIGNALING).expect("a file");
    // Signaling is TCP, and only datagrams arrive twice.
    let run = glare(&["sim", "--scenario", text(&scenario), "--exhaustive", "--worlds", "twice"]);
    assert_eq!(run.code(), 4, "{}{}", run.out(), run.err());
    assert!(run.out().starts_with("NOTHING  three: no world was played, so this says nothing\n"), "{}", run.out());
}

#[test]
fn a_search_that_is_interrupted_says_so_and_is_finished_later() {
    let folder = scratch("unfinished");
    let (scenario, out) = (folder.join("three.toml"), folder.join("out"));
    fs::write(&scenario, SIGNALING).expect("a file");
    let words = ["sim", "--scenario", text(&scenario), "--exhaustive", "--worlds", "two-losses", "--out", text(&out)];
    let search = Program::start(program().args(words).args(["--jobs", "1"]));
    let done = || fs::read_to_string(out.join("worlds.jsonl")).map_or(0, |log| log.lines().count());
    // The first line is about the scenario.
    until("a unit is done", || done() > 1);
    search.signal("INT");
    let run = ended(search);
    assert_eq!(run.status.code(), Some(130), "{}", said(&run));
    assert!(said(&run).starts_with("UNFINISHED  three: every promise is kept in the "), "{}", said(&run));
    assert!(said(&run).contains("the same command continues"), "{}", said(&run));
    let rest = glare(&words);
    assert!(rest.code() == 0 && rest.out().starts_with("PASS  three: "), "{}{}", rest.out(), rest.err());
}
