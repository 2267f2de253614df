//! Every command that README and the documents print can be run as printed.
//!
//! A command that needs a server of others, minutes or a file of the reader is run as far as possible: against an address
//! where nothing listens (exit code 3: every word of it is right), with one case instead of all, with a few seeds. What
//! is not run at all is listed in [`SKIPPED`], with the reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::glare_with;
use crate::server::Server;

/// Documents whose commands are run.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "docs/browser.md",
    "docs/campaigns.md",
    "docs/faults.md",
    "docs/found.md",
    "docs/matrix/README.md",
    "docs/nats.md",
    "docs/pages.md",
    "docs/scale/README.md",
    "docs/shrink.md",
    "docs/simulate-your-server.md",
    "docs/stacks.md",
    "docs/conformance/test-your-server.md",
    "docs/conformance/test-your-stun-turn-server.md",
    "docs/conformance/write-a-dialect.md",
    "scenarios/README.md",
    "server/README.md",
];

/// Beginnings of commands that are not run here, and why.
const SKIPPED: &[(&str, &str)] = &[
    ("serve", "runs until it is ended: serve.rs runs it"),
    ("mutants", "builds a server with defects for minutes: the tests in src/mutants do that"),
    ("sim --scenario mesh-6 --server 'node server.js'", "needs a server of the reader"),
    ("sim --scenario mesh-6 --server 'node server.mjs'", "needs npm ws: sim/tests/it/real_servers.rs runs this server"),
    ("conformance --sim --server 'node server.", "needs a server: simulated_servers.rs runs some"),
    ("sim --scenario mesh-6-churn --server 'node server.mjs'", "needs a defect that the reader makes in such a server"),
    (
        "sim --scenario mesh-3 --server '.venv/bin/python server.py'",
        "needs PyPI websockets: real_servers.rs runs this server",
    ),
    ("sim --scenario mesh-3 --dialect peerjs --server", "needs npm peer: real_servers.rs runs it"),
    ("sim --scenario nat-reboot-mid-call --server 'npx peerjs", "needs npm peer: real_servers.rs plays it"),
    ("campaign --server 'node server.js'", "needs a server of the reader: campaign.rs runs a program"),
    ("campaign --mutant", "builds a server with defects for minutes: mutants/tests.rs does that"),
    ("conformance --url ws://127.0.0.1:8787 --scenario mesh-3 --browser", "needs Chromium: browser.rs plays in it"),
    ("conformance --url … --record", "the recording that the next command replays: recordings.rs does both"),
    ("shrink FILE --seed N", "needs a failing run: shrink.rs has one"),
    ("shrink my-failing.toml --seed 3", "needs a failing run: shrink.rs has one"),
    ("shrink mesh-6-churn --server 'node server.mjs'", "needs a defect that the reader makes in such a server"),
    ("matrix DIR…", "needs results of the suite: matrix.rs makes some"),
    ("conformance replay", "needs a recording: recordings.rs replays some"),
];

/// What stands for something of the reader, and what stands for it here. `{…}` are made by the test.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("--dialect NAME", "--dialect mesh"),
    ("campaign --out target/campaign --seeds 0..4000", "campaign --seeds 0..3 --out {campaign}"),
    ("campaign --out DIR", "campaign --seeds 0..3 --out {campaign}"),
    ("campaign --out target/campaign", "campaign --seeds 0..3 --out {campaign}"),
    ("--minutes 10 --out target/campaign-guided", "--minutes 0.01 --out {out}-guided"),
    ("--queue nats://127.0.0.1:4222", "--queue {no-queue}"),
    ("--out target/campaign-shared", "--out {out}-shared"),
    ("/campaigns/shared", "{campaign}"),
    ("ask DIR", "ask {result}"),
    ("ask target/campaign", "ask {result}"),
    ("target/campaign 7", "{campaign} 7"),
    ("target/campaign", "{campaign}"),
    ("campaign corpus DIR --into FOLDER", "campaign corpus {campaign} --into {out}-corpus"),
    ("--scenario NAME", "--scenario mesh-3"),
    ("--seed N", "--seed 1"),
    ("sim --scenario my.toml", "sim --scenario {scenario}"),
    ("dialect check my.toml", "dialect check {dialect}"),
    ("report DIR", "report {result}"),
    ("history add DIR", "history add {result} --file {history}"),
    ("diff BASE NEW", "diff {result} {result}"),
    ("completions SHELL", "completions bash"),
    ("--out DIR", "--out {out}"),
    ("--record DIR", "--record {out}"),
    ("--pcap FILE", "--pcap {out}.pcapng"),
    ("--turn HOST:PORT --user U --credential P", "--turn {turn} --user u --credential p"),
    ("--turn 127.0.0.1:3478", "--turn {turn}"),
    ("nat-probe --stun HOST:PORT", "nat-probe --stun {turn}"),
    ("target/nat-matrix.html", "{out}-nat-matrix.html"),
    ("--stun 127.0.0.1:3478", "--stun {turn}"),
    ("--url ws://127.0.0.1:8787 -- node server.js", "--url {nobody} -- false"),
    ("-- npx peerjs --host 127.0.0.1 --port 9000", "-- false"),
    ("--url ws://127.0.0.1:8787", "--url {mesh}"),
    ("--url wss://…", "--url {mesh}"),
    ("--url ws://…:3000", "--url {nobody}"),
    ("--url ws://…/ws", "--url {nobody}"),
    ("--url ws://…", "--url {nobody}"),
    ("--url …", "--url {mesh}"),
    ("--seeds 0..1000", "--seeds 0..3"),
    ("--bearer TOKEN", "--bearer t"),
    ("target/found", "{out}"),
    ("target/servers", "{out}-servers"),
    ("target/evening", "{out}"),
];

#[test]
fn every_command_of_the_documents_runs() {
    let commands = commands();
    assert!(commands.len() > 40, "{commands:#?}");
    let unused: Vec<_> =
        SKIPPED.iter().filter(|(start, _)| !commands.iter().any(|(_, c)| c.starts_with(start))).collect();
    assert!(unused.is_empty(), "no document prints these any more: {unused:#?}");
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for (place, command) in &commands {
        if SKIPPED.iter().any(|(start, _)| command.starts_with(start)) {
            continue;
        }
        if let Err(why) = stage.run(command) {
            wrong.push(format!("{place}: {command}\n{why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn commands_are_found_where_a_reader_finds_them() {
    let text = "| `cargo xtask sim --scenario a` | x |\n| `… --out DIR` | `--not this` |\n```console\n$ cargo xtask man   # prints\nPASS\n```\n";
    let found: Vec<_> = commands_of(text).into_iter().collect();
    assert_eq!(found, ["sim --scenario a", "sim --scenario a --out DIR", "man"]);
}

/// What the commands need.
struct Stage {
    dir: PathBuf,
    mesh: String,
    turn: String,
    _server: Server,
}

impl Stage {
    fn new() -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("documents");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a scratch folder");
        let scenario = "name = \"mine\"\nduration = \"10s\"\n[[actor]]\nname = \"ana\"\n[[actor]]\nname = \"ben\"\n";
        std::fs::write(dir.join("my.toml"), scenario).expect("a file");
        let text = read("docs/conformance/write-a-dialect.md");
        let dialect = text.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).expect("a dialect").0;
        std::fs::write(dir.join("dialect.toml"), dialect).expect("a file");
        let result = dir.join("result");
        let cache = dir.join("cache");
        let arguments = ["sim", "--scenario", "mesh-3", "--out", result.to_str().expect("UTF-8")];
        let made = glare_with(&arguments, &[("XDG_CACHE_HOME", cache.to_str().expect("UTF-8"))]);
        assert_eq!(made.code(), 0, "{}", made.err());
        // The settings are those that the guide prints, on ports that are free.
        let printed = commands().into_iter().find(|(_, command)| command.starts_with("serve --turn-users"));
        let printed = printed.expect("the guide prints a server that passes").1;
        let mut words: Vec<_> = printed.split(' ').skip(1).collect();
        words.extend(["--dialects", "mesh", "--port", "0", "--stun-port", "0"]);
        let mut server = Server::start(&words);
        let mesh = format!("ws://{}", server.address("mesh  ws://"));
        let _ = server.address("stun  stun:");
        let turn = server.address("turn  turn:").replace("?transport=udp", "");
        Self { dir, mesh, turn, _server: server }
    }

    fn run(&self, command: &str) -> Result<(), String> {
        let mut line = command.to_owned();
        for (from, to) in PLACEHOLDERS {
            line = line.replacen(from, to, 1);
        }
        let path = |name: &str| self.dir.join(name).display().to_string();
        let is_played = line.contains("--scenario") && line.starts_with("conformance");
        let (nobody, no_queue) = ("ws://127.0.0.1:9/", "nats://127.0.0.1:9");
        // Real time, and servers of others: whether every word is right shows before anything is reached.
        let mesh = if is_played { nobody } else { self.mesh.as_str() };
        for (from, to) in [
            ("{mesh}", mesh),
            ("{nobody}", nobody),
            ("{no-queue}", no_queue),
            ("{turn}", self.turn.as_str()),
            ("{scenario}", path("my.toml").as_str()),
            ("{dialect}", path("dialect.toml").as_str()),
            ("{result}", path("result").as_str()),
            ("{history}", path("history.redb").as_str()),
            ("{campaign}", path("campaign").as_str()),
            ("{out}", path("out").as_str()),
        ] {
            line = line.replace(from, to);
        }
        let mut words: Vec<String> = shlex::split(&line).ok_or("its quotes are not closed")?;
        let is_of_others = line.starts_with("conformance --url") && !line.contains(mesh);
        if let Some(url) = words.iter_mut().find(|word| is_of_others && word.contains("://")) {
            nobody.clone_into(url);
        }
        let is_reached = !is_of_others && !is_played;
        let is_suite =
            words.first().is_some_and(|word| word == "conformance") && !words.iter().any(|word| word == "--list");
        if is_suite && is_reached && !["--case", "--group"].iter().any(|flag| words.iter().any(|word| word == flag)) {
            let case = if line.contains("--turn") {
                "turn/allocate"
            } else if line.contains("--stun") {
                "stun/binding"
            } else {
                "room/join-ack"
            };
            let at = words.iter().position(|word| word == "--").unwrap_or(words.len());
            drop(words.splice(at..at, ["--case".to_owned(), case.to_owned()]));
        }
        let mut expected: &[i32] = &[0];
        if (is_of_others || is_played || line.contains(nobody) || line.contains(no_queue))
            && !words.iter().any(|word| word == "--sim")
        {
            expected = &[3];
            words.retain(|word| word != "--wait" && word != "30s");
        }
        if words.first().is_some_and(|word| word == "load") {
            words.extend(["--seconds", "0.2", "--warm-up", "0", "--rooms", "1"].map(str::to_owned));
        }
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let run = glare_with(&words, &[("BROWSER", "true"), ("XDG_CACHE_HOME", &path("cache"))]);
        if expected.contains(&run.code()) {
            return Ok(());
        }
        let tail = |text: String| {
            text.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        Err(format!(
            "as {words:?}: exit code {}, expected {expected:?}\n{}\n{}",
            run.code(),
            tail(run.out()),
            tail(run.err())
        ))
    }
}

/// All commands of the documents, without the program, each with the document in which it comes first.
fn commands() -> Vec<(&'static str, String)> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for document in DOCUMENTS {
        for command in commands_of(&read(document)) {
            if seen.insert(command.clone()) {
                all.push((*document, command));
            }
        }
    }
    all
}

/// The commands of a text: in blocks for a shell, and in code on a line. `… --more` continues the last command of a
/// table.
fn commands_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<&str> = None;
    let mut before = String::new();
    for line in text.lines() {
        if let Some(kind) = line.trim().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(kind) };
            continue;
        }
        match block {
            Some("console") => found.extend(line.trim().strip_prefix("$ ").and_then(arguments)),
            Some("sh") => found.extend(arguments(line.trim())),
            Some(_) => {}
            None => {
                for code in line.split('`').skip(1).step_by(2) {
                    let continued =
                        code.strip_prefix("… ").filter(|_| line.starts_with("| `…") || line.contains("`, `… "));
                    let command = match continued {
                        Some(more) => Some(format!("{before} {more}")),
                        None => arguments(code),
                    };
                    if let (None, true, Some(command)) = (continued, line.starts_with('|'), &command) {
                        before = command.clone();
                    }
                    found.extend(command);
                }
            }
        }
    }
    found
}

/// The words after the program of a command; `None` if it is not one of Glare's.
fn arguments(command: &str) -> Option<String> {
    let command = command.split("  #").next().unwrap_or(command).trim();
    let command = command.split(" # ").next().unwrap_or(command).trim();
    let with_str0m = "cargo run --features str0m --package glare -- ";
    let programs = ["cargo xtask ", "cargo run --release -p glare -- ", with_str0m, "glare "];
    let words = programs.iter().find_map(|program| command.strip_prefix(program))?;
    // `sim …` stands for any command of that kind.
    (!words.ends_with(" …")).then(|| words.to_owned())
}

fn read(document: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
