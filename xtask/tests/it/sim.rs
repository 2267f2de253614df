//! `glare sim` and `glare scenarios`.

use std::fs;
use std::path::PathBuf;

use crate::glare;

#[test]
fn a_passing_run_says_so_and_how_to_replay_it() {
    let run = glare(&["sim", "--scenario", "mesh-3", "--seed", "7"]);
    let out = run.out();
    assert_eq!(run.code(), 0, "{}", run.err());
    assert!(out.starts_with("PASS  mesh-3: all 3 pairs connected\n"), "{out}");
    let end = "\nReplay  glare sim --scenario mesh-3 --seed 7\nPASS  mesh-3: all 3 pairs connected\n";
    assert!(out.ends_with(end), "{out}");
    assert!(!out.contains("Timeline"), "{out}");
    let whole = glare(&["sim", "--scenario", "mesh-3", "--seed", "7", "--timeline"]).out();
    assert!(whole.contains("\nTimeline\n") && whole.contains("receives “hello from"), "{whole}");
    assert!(out.contains("ana ⇄ ben"), "{out}");
    assert!(!out.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn the_same_seed_gives_the_same_hash_in_another_process() {
    let hash = |seed| {
        let run = glare(&["sim", "--scenario", "same-lan", "--seed", seed, "--format", "json"]);
        let out = run.out();
        let (_, rest) = out.split_once(r#""hash":""#).expect("a hash");
        rest[..16].to_owned()
    };
    assert_eq!(hash("3"), hash("3"));
    assert_ne!(hash("3"), hash("4"));
}

#[test]
fn many_seeds_are_summed_up() {
    let run = glare(&["sim", "--scenario", "mesh-3", "--seeds", "0..6", "--jobs", "2", "--check-determinism"]);
    let out = run.out();
    assert_eq!(run.code(), 0, "{out}");
    assert!(out.starts_with("PASS  mesh-3: 6 seeds, no violation\n"), "{out}");
    assert!(out.contains("18 pairs exchanged data"), "{out}");
}

#[test]
fn a_broken_promise_is_told_with_its_events_and_exits_with_1() {
    // A scenario that expects the impossible: two friendly NATs that do not connect.
    let file = scratch("impossible.toml");
    let text = "name = \"impossible\"\nabout = \"a wrong expectation\"\nduration = \"10s\"\n\
                [[actor]]\nname = \"ana\"\nnat = \"full-cone\"\n[[actor]]\nname = \"ben\"\nnat = \"full-cone\"\n\
                [expect]\nunconnected = [[\"ana\", \"ben\"]]\n";
    fs::write(&file, text).expect("a scratch file");
    let run = glare(&["sim", "--scenario", file.to_str().expect("UTF-8")]);
    let out = run.out();
    assert_eq!(run.code(), 1, "{out}{}", run.err());
    assert!(out.starts_with("FAIL  impossible: "), "{out}");
    assert!(out.contains("Violation 1: everyone-connected"), "{out}");
    assert!(out.contains("ana → ben"), "the events around it: {out}");
}

#[test]
fn out_writes_result_report_and_events() {
    let dir = scratch("out");
    let run = glare(&["sim", "--scenario", "same-lan", "--seed", "2", "--out", dir.to_str().expect("UTF-8")]);
    assert_eq!(run.code(), 0, "{}", run.err());
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("it is written");
    let result = read("result.jsonl");
    assert_eq!(result.lines().count(), 3, "opening, one case, closing: {result}");
    assert!(result.contains(r#""verdict":"pass""#) && result.contains(r#""events_file":"same-lan-2/events.jsonl""#));
    assert!(read("same-lan-2/report.txt").starts_with("PASS"));
    assert!(read("same-lan-2/events.jsonl").lines().count() > 100);
}

#[test]
fn pcap_writes_all_packets_and_changes_nothing() {
    let file = scratch("run.pcapng");
    let arguments = ["sim", "--scenario", "same-lan", "--pcap", file.to_str().expect("UTF-8")];
    let run = glare(&arguments);
    assert_eq!(run.code(), 0, "{}", run.err());
    assert_eq!(fs::read(&file).expect("it is written")[..4], [0x0A, 0x0D, 0x0D, 0x0A], "a section header of pcapng");
    let keys = fs::read_to_string(scratch("run.keys")).expect("they are beside it");
    assert!(keys.lines().all(|line| line.starts_with("CLIENT_RANDOM ")) && !keys.is_empty(), "{keys}");
    let dir = scratch("pcap-out");
    let arguments = [&arguments[..], &["--out", dir.to_str().expect("UTF-8")]].concat();
    assert_eq!(glare(&arguments).code(), 0);
    let result = fs::read_to_string(dir.join("result.jsonl")).expect("a result");
    assert!(result.contains(r#""frames_file":"same-lan-1/frames.jsonl""#) && result.contains(r#""frame":{"number":"#));
    let frames = fs::read_to_string(dir.join("same-lan-1/frames.jsonl")).expect("frames");
    assert!(frames.starts_with(r#"{"event":"#) && frames.contains(r#""interface":"internet""#), "{frames}");
    let wrong = glare(&["sim", "--scenario", "same-lan", "--pcap", "/nowhere/at/all.pcapng"]);
    assert_eq!(wrong.code(), 2);
    assert!(wrong.err().contains("cannot write /nowhere/at/all.pcapng"), "{}", wrong.err());
}

#[test]
fn json_is_the_result_a_program_reads() {
    let run = glare(&["sim", "--scenario", "mesh-3", "--seeds", "0..3", "--format", "json"]);
    assert_eq!(run.code(), 0, "{}", run.err());
    let out = run.out();
    let kinds: Vec<_> = out.lines().filter_map(|line| line.split('"').nth(3)).collect();
    assert_eq!(kinds, ["opening", "case", "case", "case", "closing"]);
}

#[test]
fn scenarios_are_listed_a_line_each() {
    let out = glare(&["scenarios"]).out();
    for name in ["mesh-3", "mesh-6", "mesh-6-churn", "mesh-6-symmetric", "nat-reboot-mid-call", "same-lan"] {
        assert!(out.lines().any(|line| line.starts_with(name)), "{name} in {out}");
    }
}

#[test]
fn bad_usage_and_bad_files_exit_with_2_and_name_what_would_be_right() {
    let cases: [(&[&str], &str); 6] = [
        (&["sim", "--scenario", "mesh-7"], "mesh-6"),
        (&["sim", "--scenario", "mesh-3", "--seeds", "5..5"], "`5..5` contains no seed"),
        (&["sim", "--scenario", "mesh-3", "--seeds", "many"], "such as `0..1000`"),
        (&["sim", "--scenario", "mesh-3", "--seed", "x"], "--seed"),
        (&["sim", "--scenario", "mesh-3", "--heartbeat", "30"], "--server <COMMAND>"),
        (&["simulate"], "sim"),
    ];
    for (arguments, hint) in cases {
        let run = glare(arguments);
        assert_eq!(run.code(), 2, "{arguments:?}: {}", run.out());
        assert!(run.err().contains(hint), "{arguments:?}: {}", run.err());
    }
    let file = scratch("wrong.toml");
    fs::write(&file, "name = \"wrong\"\nabout = \"a\"\nduration = \"1s\"\n[[actor]]\nname = \"ana\"\nnta = \"open\"\n")
        .expect("a scratch file");
    let run = glare(&["sim", "--scenario", file.to_str().expect("UTF-8")]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains("wrong.toml:6") && run.err().contains("`nat`"), "{}", run.err());
}

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&dir).expect("a scratch folder");
    dir.join(name)
}
