//! `glare conformance` and `glare dialect`: exit codes, and what is said.

use std::process::Output;

use crate::server::Server;

fn glare(arguments: &[&str]) -> Output {
    crate::program().args(arguments).output().expect("it is built")
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
        (with(&["--group", "ws", "--case", "room/*"]), 4, "no case matches --case, --group and --level together"),
        (with(&["--dialect", "mash"]), 2, "did you mean `mesh`?"),
        (with(&["--dialect", "nowhere.toml"]), 2, "there is no such file"),
        (with(&["--known", "/nowhere.toml"]), 2, "/nowhere.toml: cannot be read"),
        (with(&["--header", "nonsense"]), 2, "write NAME:VALUE"),
        (with(&["--restart", " "]), 2, "--restart is empty: give a command that starts the server again"),
        (with(&["--restart", "true", "--list"]), 2, "cannot be used with"),
        (said(&["conformance", "--url", "gopher://h/"]), 2, "ws://HOST:PORT/PATH"),
        (said(&["conformance"]), 2, "--url"),
        (
            said(&["conformance", "--stun", "127.0.0.1:9"]),
            3,
            "no answer at stun:127.0.0.1:9\n  tried: UDP to 127.0.0.1:9: no answer",
        ),
        (said(&["conformance", "--stun", "::1"]), 2, "write HOST:PORT"),
        (said(&["conformance", "--stun", "127.0.0.1:9", "--case", "stun/xor-v5"]), 4, "the nearest is `stun/xor-v"),
        (said(&["conformance", "--stun", "127.0.0.1:9", "--case", "room/*"]), 4, "no case matches `room/*`"),
        (said(&["conformance", "--turn", "127.0.0.1:9"]), 2, "--user"),
        (
            said(&["conformance", "--turn", "h", "--user", "u", "--user", "v", "--credential", "p"]),
            2,
            "give one --credential per --user",
        ),
        (said(&["conformance", "--list", "--group", "turn"]), 0, "turn/permission-own"),
        (said(&["dialect", "check", "mash"]), 2, "did you mean `mesh`?"),
        (said(&["dialect", "check", "mesh", "--url", "ws://127.0.0.1:9/"]), 3, "connection refused"),
        (said(&["dialect", "check", "relay"]), 0, "cases apply"),
        (said(&["dialect", "list"]), 0, "y-webrtc"),
        (said(&["conformance", "--list", "--group", "sio"]), 0, "sio/max-payload"),
    ] {
        assert_eq!(code, Some(expected), "{text}");
        assert!(text.contains(says), "{says:?} is not in\n{text}");
    }
}

#[test]
fn a_scenario_that_cannot_be_played_is_refused_before_it_starts() {
    let play = |more: &[&'static str]| said(&[&["conformance", "--url", "ws://127.0.0.1:9/"], more].concat());
    for ((code, text), expected, says) in [
        (play(&["--scenario", "mesh-3"]), 3, "tried: TCP to 127.0.0.1 port 9: connection refused"),
        (play(&["--scenario", "mesh-33"]), 2, "did you mean `mesh-3`"),
        (play(&["--scenario", "mesh-3", "--dialect", "pearjs"]), 2, "did you mean `peerjs`?"),
        (play(&["--scenario", "mesh-3", "--dialect", "relay"]), 2, "use --dialect mesh"),
        (play(&["--scenario", "mesh-3", "--case", "room/*"]), 2, "cannot be used with"),
        (
            play(&["--scenario", "mesh-3", "nat-reboot-mid-call", "mesh-6-symmetric"]),
            2,
            "line 30, the step at 20 s: `nat-reboot` of `ana`: NATs exist only in simulations\n`mesh-6-symmetric` cannot be played",
        ),
        (said(&["conformance", "--scenario", "mesh-3"]), 2, "--url"),
    ] {
        assert_eq!(code, Some(expected), "{text}");
        assert!(text.contains(says), "{says:?} is not in\n{text}");
    }
}

#[test]
fn a_scenario_is_played_on_the_wire_and_written_down() {
    let mut server = Server::start(&["--dialects", "mesh", "--port", "0", "--no-stun", "--log", "error"]);
    let url = server.line("mesh  ");
    server.line("ready");
    let folder = std::env::temp_dir().join(format!("glare-live-{}", std::process::id()));
    let dir = folder.to_str().expect("UTF-8");
    let file = folder.join("two.toml");
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let scenario = "name = \"two\"\nabout = \"two meet\"\nduration = \"4s\"\n[[actor]]\nname = \"ana\"\n[[actor]]\nname = \"ben\"\n";
    std::fs::write(&file, scenario).expect("a temporary file");
    let (code, text) = said(&["conformance", "--url", &url, "--scenario", file.to_str().expect("UTF-8"), "--out", dir]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("playing in real time, 4 s: two (4 s)"), "{text}");
    assert!(text.contains("PASS  two: ana and ben connected"), "{text}");
    assert!(text.contains(&format!("two meet · against {url} · 4 s in real time")), "{text}");
    assert!(text.contains("host ↔ host"), "{text}");
    let (code, report) = said(&["report", dir, "--format", "text"]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains(&format!("conformance --url {url} --scenario {}", file.display())), "{report}");
    let events = std::fs::read_to_string(folder.join("two/events.jsonl")).expect("it is written");
    assert!(events.lines().count() > 50 && events.contains("channel-open"), "{events}");
    let _ = std::fs::remove_dir_all(folder);
}
