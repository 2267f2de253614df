//! `glare conformance --sim`: the reference server passes every case, and the same seed gives the same bytes in any process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Run, glare};

/// The services, tested by flags of their own, and users that the command line names.
const SERVICES: [&[&str]; 2] =
    [&["--stun"], &["--turn", "--user", "cleo", "--credential", "p-1", "--user", "dan", "--credential", "p-2"]];
/// All that the reference server speaks.
const SPOKEN: [&str; 8] = ["mesh", "sender-viewer", "call", "call-socketio", "broadcast", "relay", "stun", "turn"];

fn ask(dialect: &str, more: &[&str]) -> Run {
    glare(&[&["conformance", "--sim", "--dialect", dialect], more].concat())
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-sim").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// What went over the wire, by file.
fn recordings(folder: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder).expect("it was written").flatten();
    let read = |path: &Path| std::fs::read_to_string(path).expect("UTF-8");
    files.map(|file| (file.file_name().into_string().expect("UTF-8"), read(&file.path()))).collect()
}

/// Every case passes, and twice the same comes to the byte: the report and all that went over the wire.
fn twice(server: &[&str], name: &str, more: &[&str]) {
    let sim = |more: &[&str]| glare(&[&["conformance", "--sim"], server, more].concat());
    let runs: Vec<_> = ["1", "8"]
        .map(|jobs| {
            let folder = folder(&format!("{}-{name}-{jobs}", server.concat()));
            let record = folder.to_str().expect("UTF-8");
            let run = sim(&[&["--jobs", jobs, "--format", "json", "--record", record], more].concat());
            assert_eq!(run.code(), 0, "{server:?} {more:?}\n{}", sim(more).out());
            (run.out(), recordings(&folder))
        })
        .into();
    let [(first, wire), (second, again)] = &runs[..] else { unreachable!("two") };
    for (file, text) in wire {
        assert!(again.get(file) == Some(text), "{server:?} {more:?}: {file} differs");
    }
    assert!(first == second && wire.len() == again.len(), "{server:?} {more:?}: the reports differ");
    assert!(wire.len() > 15, "{server:?}: only {} recordings", wire.len());
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    SPOKEN.iter().for_each(|dialect| twice(&["--dialect", dialect], "plain", &["--seed", "7"]));
    SERVICES.iter().for_each(|service| twice(service, "plain", &["--seed", "7"]));
}

#[test]
fn the_same_seed_gives_the_same_bytes_under_delay_and_loss() {
    let more = ["--seed", "7", "--delay", "40ms", "--loss", "1%"];
    SPOKEN.iter().for_each(|dialect| twice(&["--dialect", dialect], "far", &more));
    SERVICES.iter().for_each(|service| twice(service, "far", &more));
}

/// The simulated server has the users that are named, and no others: who shows another password is refused by it as by any.
#[test]
fn the_simulated_turn_server_has_the_users_that_are_named() {
    let folder = folder("users");
    let record = folder.to_str().expect("UTF-8");
    let case = ["--case", "turn/allocate", "--record", record];
    let run = glare(&[&["conformance", "--sim"], SERVICES[1], &case].concat());
    assert_eq!(run.code(), 0, "{}", run.out());
    let wire = &recordings(&folder)["turn.allocate.jsonl"];
    let hex = |name: &str| name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(wire.contains(&hex("cleo")) && !wire.contains(&hex("ana")), "{wire}");
    // One user is enough; what takes another one is not asked.
    let run = glare(&["conformance", "--sim", "--turn", "--user", "cleo", "--credential", "p-1"]);
    assert_eq!(run.code(), 0, "{}", run.out());
    assert!(run.out().contains("unsupported"), "{}", run.out());
    // Without any the server has its own.
    let run = glare(&["conformance", "--sim", "--turn", "--case", "turn/allocate"]);
    assert_eq!(run.code(), 0, "{}", run.out());
}

/// A run of several servers is the runs of each, and each can be repeated by itself.
#[test]
fn a_dialect_and_both_services_in_one_run() {
    let all = folder("several");
    let out = all.to_str().expect("UTF-8");
    let cases = ["--case", "room/join-ack", "stun/binding", "turn/allocate", "--seed", "9"];
    let run =
        glare(&[&["conformance", "--sim", "--dialect", "mesh", "--stun", "--turn", "--out", out], &cases[..]].concat());
    assert_eq!(run.code(), 0, "{}", run.out());
    for url in ["ws://reference:8787/", "stun:reference:3478", "turn:reference:3478"] {
        assert!(run.out().contains(url), "{url}\n{}", run.out());
    }
    for (scheme, again) in
        [("ws", "--sim --seed 9"), ("stun", "--sim --stun --seed 9"), ("turn", "--sim --turn --seed 9")]
    {
        let result = std::fs::read_to_string(all.join(scheme).join("result.jsonl")).expect("it was written");
        assert!(result.contains(&format!("conformance {again}")), "{again}\n{result}");
    }
}

#[test]
fn another_seed_gives_another_run() {
    let of = |seed: &str| {
        let folder = folder(&format!("seed-{seed}"));
        let record = folder.to_str().expect("UTF-8");
        assert_eq!(ask("mesh", &["--seed", seed, "--case", "mesh/unicast", "--record", record]).code(), 0);
        recordings(&folder)
    };
    assert_ne!(of("1"), of("2"));
}

/// Lifetimes are waited out in virtual time, so cases that need an hour elsewhere are asked at once.
#[test]
fn what_waits_out_a_lifetime_passes_too() {
    for dialect in SPOKEN {
        let run = ask(dialect, &["--slow", "--seed", "3"]);
        assert_eq!(run.code(), 0, "{dialect}\n{}", run.out());
    }
    for service in SERVICES {
        let run = glare(&[&["conformance", "--sim", "--slow", "--seed", "3"], service].concat());
        assert_eq!(run.code(), 0, "{service:?}\n{}", run.out());
    }
}

#[test]
fn no_seed_fails_however_far_the_server_is() {
    for (seed, delay, loss) in [("11", "0ms", "0%"), ("12", "120ms", "0%"), ("13", "5ms", "3%"), ("14", "40ms", "2%")] {
        for dialect in SPOKEN {
            let more = ["--seed", seed, "--delay", delay, "--loss", loss];
            let run = ask(dialect, &more);
            assert_eq!(run.code(), 0, "{dialect} {more:?}\n{}", run.out());
        }
        for service in SERVICES {
            let more = ["--seed", seed, "--delay", delay, "--loss", loss];
            let run = glare(&[&["conformance", "--sim"], service, &more[..]].concat());
            assert_eq!(run.code(), 0, "{service:?} {more:?}\n{}", run.out());
        }
    }
}

/// A case by itself is what it is among all others: the line that asks it again shows the same.
#[test]
fn a_case_alone_is_the_same() {
    let (all, one) = (folder("all"), folder("one"));
    let with = |folder: &Path, more: &[&str]| {
        let record = folder.to_str().expect("UTF-8").to_owned();
        ask("mesh", &[&["--seed", "5", "--record", &record], more].concat())
    };
    assert_eq!((with(&all, &[]).code(), with(&one, &["--case", "mesh/unicast"]).code()), (0, 0));
    let (all, one) = (recordings(&all), recordings(&one));
    assert!(one.contains_key("mesh.unicast.jsonl"), "{:?}", one.keys());
    one.iter().for_each(|(file, text)| assert!(all.get(file) == Some(text), "{file} differs"));
}

/// What one world has recorded comes again in another one, whose server gives out other ids.
#[test]
fn recordings_come_again() {
    for (dialect, at_least) in
        [("mesh", 45), ("sender-viewer", 35), ("call", 35), ("call-socketio", 20), ("broadcast", 10), ("relay", 25)]
    {
        let folder = folder(&format!("{dialect}-again"));
        let record = folder.to_str().expect("UTF-8");
        assert_eq!(ask(dialect, &["--seed", "21", "--record", record]).code(), 0, "{dialect}");
        let mut played = 0;
        for file in recordings(&folder).keys() {
            let path = folder.join(file);
            let run = glare(&["conformance", "replay", path.to_str().expect("UTF-8"), "--sim", "--seed", "22"]);
            match run.code() {
                0 => played += 1,
                // Of a race another outcome may come; plain HTTP is not played.
                1 => {
                    let excused = ["clients raced each other", "requests over plain HTTP were not made again"];
                    assert!(excused.iter().any(|why| run.out().contains(why)), "{dialect} {file}\n{}", run.out());
                }
                _ => assert!(run.err().contains("run the case with --case"), "{dialect} {file}\n{}", run.err()),
            }
        }
        assert!(played >= at_least, "{dialect}: only {played} came again");
    }
}

/// The bytes are the same in every build: this file was written by a debug build, and a release build reads it too.
#[test]
fn debug_and_release_give_the_same_bytes() {
    let folder = folder("build");
    let run = ask("mesh", &["--seed", "7", "--case", "mesh/unicast", "--record", folder.to_str().expect("UTF-8")]);
    assert_eq!(run.code(), 0, "{}", run.out());
    let now = std::fs::read_to_string(folder.join("mesh.unicast.jsonl")).expect("it was written");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mesh.unicast.jsonl");
    if std::env::var_os("UPDATE_RECORDING").is_some() {
        std::fs::write(&file, &now).expect("the sources are ours");
    }
    let then = std::fs::read_to_string(&file).expect("it is part of the sources");
    assert_eq!(now, then, "if that is meant: UPDATE_RECORDING=1 cargo test -p glare debug_and_release");
}

#[test]
fn nearly_nothing_comes_through() {
    let run = ask("mesh", &["--loss", "100%", "--case", "room/join-ack"]);
    assert!([1, 3].contains(&run.code()), "{}{}", run.out(), run.err());
}

#[test]
fn what_the_reference_does_not_speak_is_refused() {
    for (more, says) in [
        (&["--dialect", "peerjs"][..], "has no dialect `peerjs`; it has mesh,"),
        (&["--dialect", "mash"], "did you mean `mesh`?"),
        (&["--loss", "2"], "write a number and %"),
        (&["--delay", "2"], "write a number and ms"),
        (&["--url", "ws://127.0.0.1:1/"], "--url"),
        (&["--stun", "127.0.0.1:3478"], "write --stun without an address"),
        (&["--turn", "h", "--user", "u", "--credential", "p"], "write --turn without an address"),
        (&["--turn", "--user", "u"], "--credential"),
        (&["--user", "u", "--credential", "p"], "no effect without --turn"),
    ] {
        let run = glare(&[&["conformance", "--sim"], more].concat());
        assert_eq!(run.code(), 2, "{}", run.err());
        assert!(run.err().contains(says), "{says:?} is not in\n{}", run.err());
    }
    for more in [
        &["--url", "ws://127.0.0.1:1/", "--delay", "40ms"][..],
        &["--stun"],
        &["--turn", "--user", "u", "--credential", "p"],
    ] {
        let run = glare(&[&["conformance"], more].concat());
        assert_eq!(run.code(), 2, "{more:?} {}", run.err());
    }
}
