//! `glare conformance --sim --server`: the suite against server programs of others, in virtual time. It finds what it
//! finds on real sockets, where `conformance/tests` asks the same servers: all that is in `conformance/known`.

use std::path::Path;

use crate::glare;
use crate::installed::packages;

/// The servers on npm: name, dialect, and words of the command behind `node`. `@` is the folder of the packages, `%` that
/// of the small servers that are made with libraries.
const SERVERS: [(&str, &str, &[&str]); 4] = [
    ("peerjs", "peerjs", &["@/peer/dist/bin/peerjs.js", "--port", "9000"]),
    ("y-webrtc", "y-webrtc", &["@/y-webrtc/bin/server.js"]),
    ("socket.io", "broadcast", &["%/socket.io.js"]),
    ("ws", "relay", &["%/ws.js"]),
];

/// The flags that ask a server, with the deviations that are known of it.
fn flags(name: &str, dialect: &str, words: &[&str], modules: &Path) -> Vec<String> {
    let conformance = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
    let servers = conformance.join("tests/servers");
    let place =
        |word: &&str| word.replace('@', &modules.display().to_string()).replace('%', &servers.display().to_string());
    let command = format!("node {}", words.iter().map(place).collect::<Vec<_>>().join(" "));
    let mut flags = ["conformance", "--sim", "--server", &command, "--dialect", dialect].map(str::to_owned).to_vec();
    for variable in ["PORT=8787", &format!("NODE_PATH={}", modules.display())] {
        flags.extend(["--env".to_owned(), variable.to_owned()]);
    }
    let known = conformance.join(format!("known/{name}.toml"));
    if known.exists() {
        flags.extend(["--known".to_owned(), known.display().to_string()]);
    }
    flags
}

#[test]
fn the_suite_finds_the_same_in_virtual_time() {
    let Some(folder) = packages() else { return };
    for (name, dialect, words) in SERVERS {
        let flags = flags(name, dialect, words, &folder.join("node_modules"));
        let run = glare(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(run.code(), 0, "{name}: {}\n{}", run.out(), run.err());
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let Some(folder) = packages() else { return };
    let (name, dialect, words) = SERVERS[3];
    let mut flags = flags(name, dialect, words, &folder.join("node_modules"));
    flags.extend(["--format", "json", "--delay", "40ms", "--loss", "1%", "--seed", "7"].map(str::to_owned));
    let run = |jobs: &str| {
        let words = flags.iter().map(String::as_str).chain(["--jobs", jobs]);
        glare(&words.collect::<Vec<_>>()).out()
    };
    let (first, second) = (run("1"), run("8"));
    assert!(first.len() > 10_000, "{first}");
    assert!(first == second, "the reports differ");
}

#[test]
fn a_server_that_cannot_be_reached_is_told() {
    for (server, said) in [
        ("no-such-program", "no-such-program"),
        ("sh -c 'echo broken; exit 3'", "ended with code 3 before it listened; it printed:\n    broken"),
        ("sleep 9000", "has not listened on any TCP port within 60 s"),
    ] {
        let run = glare(&["conformance", "--sim", "--server", server]);
        assert_eq!(run.code(), 3, "{server}: {}", run.err());
        assert!(run.err().contains(said), "{server}: {}", run.err());
    }
    let run = glare(&["conformance", "--url", "ws://127.0.0.1:9/", "--server", "node server.js"]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains("add --sim"), "{}", run.err());
}

/// A server that ends when it is sent `null`: the case says so, with the program's own last words.
#[test]
fn a_crash_is_in_the_case_that_caused_it() {
    let Some(folder) = packages() else { return };
    let modules = folder.join("node_modules");
    let code = "const { WebSocketServer } = require('ws'); const rooms = new WebSocketServer({ port: 8787 }); \
                rooms.on('connection', (client) => client.on('message', (text) => { if (`${text}` === 'null') { \
                console.log('giving up'); process.exit(9); } for (const other of rooms.clients) \
                if (other !== client) other.send(`${text}`); }));";
    let command = format!("node -e {}", quoted(code));
    let path = format!("NODE_PATH={}", modules.display());
    let run = glare(&[
        "conformance",
        "--sim",
        "--server",
        &command,
        "--env",
        &path,
        "--dialect",
        "relay",
        "--case",
        "msg/null",
    ]);
    assert_eq!(run.code(), 1, "{}", run.err());
    let out = run.out();
    assert!(out.contains("the server's program ended with code 9") && out.contains("giving up"), "{out}");
}

/// A word in single quotes, as a shell reads it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[test]
fn a_recording_comes_again_only_with_its_program() {
    let Some(folder) = packages() else { return };
    let (name, dialect, words) = SERVERS[3];
    let flags = flags(name, dialect, words, &folder.join("node_modules"));
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recording-of-a-program");
    let record = room.to_str().expect("UTF-8");
    let flags: Vec<_> =
        flags.iter().map(String::as_str).chain(["--case", "mesh/delivery", "--record", record]).collect();
    assert_eq!(glare(&flags).code(), 0);
    let file = room.join("mesh.delivery.jsonl");
    let replay = ["conformance", "replay", file.to_str().expect("UTF-8")];
    let run = glare(&replay);
    assert!(run.code() == 2 && run.err().contains("name it with --sim --server"), "{} {}", run.code(), run.err());
    let run = glare(&[&replay[..], &["--sim"], &flags[2..10]].concat());
    assert_eq!(run.code(), 0, "{}\n{}", run.out(), run.err());
}
