//! `glare conformance` and `glare dialect`: exit codes, and what is said.

use std::process::{Command, Output};

fn glare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_glare")).args(arguments).output().expect("it is built")
}

/// The exit code, and all that is printed.
fn said(arguments: &[&str]) -> (Option<i32>, String) {
    let output = glare(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn what_is_wrong_has_an_exit_code_of_its_own() {
    let unreachable = ["conformance", "--url", "ws://127.0.0.1:9/"];
    let with = |more: &[&'static str]| said(&[&unreachable[..], more].concat());
    for ((code, text), expected, says) in [
        (with(&[]), 3, "TCP to 127.0.0.1 port 9: connection refused"),
        (with(&["--case", "sec/from-spof"]), 4, "the nearest is `sec/from-spoof`"),
        (with(&["--group", "rooms"]), 4, "no case matches `rooms`"),
        (with(&["--group", "ws", "--case", "room/*"]), 4, "no case is of all that was asked for"),
        (with(&["--dialect", "mash"]), 2, "did you mean `mesh`?"),
        (with(&["--dialect", "nowhere.toml"]), 2, "there is no such file"),
        (with(&["--known", "/nowhere.toml"]), 2, "/nowhere.toml: cannot be read"),
        (with(&["--header", "nonsense"]), 2, "write NAME:VALUE"),
        (said(&["conformance", "--url", "gopher://h/"]), 2, "ws://HOST:PORT/PATH"),
        (said(&["conformance"]), 2, "--url"),
        (
            said(&["conformance", "--stun", "127.0.0.1:9"]),
            3,
            "nobody answers at stun:127.0.0.1:9\n  tried: UDP to 127.0.0.1:9: no answer",
        ),
        (said(&["conformance", "--stun", "::1"]), 2, "write HOST:PORT"),
        (said(&["conformance", "--stun", "127.0.0.1:9", "--case", "stun/xor-v5"]), 4, "the nearest is `stun/xor-v"),
        (said(&["conformance", "--stun", "127.0.0.1:9", "--case", "room/*"]), 4, "no case matches `room/*`"),
        (said(&["conformance", "--turn", "127.0.0.1:9"]), 2, "--user"),
        (
            said(&["conformance", "--turn", "h", "--user", "u", "--user", "v", "--credential", "p"]),
            2,
            "each user needs one",
        ),
        (said(&["conformance", "--list", "--group", "turn"]), 0, "turn/permission-own"),
        (said(&["dialect", "check", "mash"]), 2, "did you mean `mesh`?"),
        (said(&["dialect", "check", "mesh", "--url", "ws://127.0.0.1:9/"]), 3, "connection refused"),
        (said(&["dialect", "check", "relay"]), 0, "cases can be asked"),
        (said(&["dialect", "list"]), 0, "y-webrtc"),
        (said(&["conformance", "--list", "--group", "sio"]), 0, "sio/max-payload"),
    ] {
        assert_eq!(code, Some(expected), "{text}");
        assert!(text.contains(says), "{says:?} is not in\n{text}");
    }
}
