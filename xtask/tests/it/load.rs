//! `glare load`, against the reference server and against dialects that promise something else than it does.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::reconnects::scrape;
use crate::server::Server;
use crate::{Run, glare};

/// More than the joins of all clients, so that it takes signals to reach it.
const MESSAGES: u64 = 400;
const BRIEF: [&str; 4] = ["--seconds", "0.3", "--warm-up", "0.1"];

/// The reference server with all dialects.
struct Site {
    server: Server,
    urls: Vec<(&'static str, String)>,
    /// Address of its metrics.
    metrics: String,
}

impl Site {
    fn start() -> Self {
        let free = ["--port", "--http-port", "--call-port", "--call-socketio-port", "--broadcast-port"];
        let mut flags: Vec<&str> = free.iter().flat_map(|port| [*port, "0"]).collect();
        flags.extend(["--no-stun", "--log", "error"]);
        let mut server = Server::start(&flags);
        let mut urls = Vec::new();
        for (dialect, start, scheme) in [
            ("mesh", "mesh  ws://", "ws"),
            ("sender-viewer", "sender-viewer  ws://", "ws"),
            ("relay", "relay  ws://", "ws"),
            ("", "api  ", ""),
            ("call", "call  ws://", "ws"),
            ("call-socketio", "call  http://", "http"),
            ("broadcast", "broadcast  http://", "http"),
        ] {
            urls.push((dialect, format!("{scheme}://{}", server.line(start))));
        }
        let metrics = server.line("metrics  http://").trim_end_matches("/metrics").to_owned();
        server.line("pages  http://");
        server.line("ready");
        urls.retain(|(dialect, _)| !dialect.is_empty());
        Self { server, urls, metrics }
    }

    fn url(&self, dialect: &str) -> &str {
        &self.urls.iter().find(|(name, _)| *name == dialect).expect("it is served").1
    }

    /// Messages that the server has received from its clients.
    fn received(&self) -> u64 {
        let samples = scrape(&self.metrics);
        samples
            .iter()
            .filter(|(name, _)| name.starts_with("glare_messages_received_total"))
            .map(|(_, count)| count)
            .sum()
    }

    /// Starts a load and waits until the server has received `MESSAGES` from it.
    fn start_load(&self, dialect: &str, file: &str, flags: &[&str]) -> Child {
        let before = self.received();
        let mut child = start(&[&["--url", self.url(dialect), "--dialect", file][..], flags].concat());
        while self.received() < before + MESSAGES && child.try_wait().expect("it is ours").is_none() {
            pause(Duration::from_millis(20));
        }
        child
    }

    /// Runs a load that ends after a number of messages, not after a time, so that it does the same work on a busy
    /// machine.
    fn load_until_done(&self, dialect: &str, file: &str, flags: &[&str]) -> (i32, String) {
        let endless = ["--seconds", "600", "--warm-up", "0"];
        let child = self.start_load(dialect, file, &[&endless, flags].concat());
        interrupt(&child);
        finish(child)
    }

    /// The same, with the result as JSON.
    fn counts(&self, dialect: &str, file: &str, flags: &[&str]) -> (i32, Value) {
        let id = self.server.child.id().to_string();
        let (code, out) = self.load_until_done(dialect, file, &[&["--format", "json", "--pid", &id], flags].concat());
        (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("JSON: {out}")))
    }

    /// Runs a load and reads its JSON.
    fn load(&self, dialect: &str, flags: &[&str]) -> (i32, Value) {
        let id = self.server.child.id().to_string();
        let run = load(self.url(dialect), dialect, &[&["--format", "json", "--pid", &id], flags].concat());
        let json = serde_json::from_str(&run.out()).unwrap_or_else(|_| panic!("JSON: {}{}", run.out(), run.err()));
        (run.code(), json)
    }
}

fn load(url: &str, dialect: &str, flags: &[&str]) -> Run {
    glare(&[&["load", "--url", url, "--dialect", dialect][..], &BRIEF, flags].concat())
}

fn count(json: &Value, key: &str) -> u64 {
    json[key].as_u64().unwrap_or_else(|| panic!("{key} in {json}"))
}

/// Each message that was sent should reach this many clients; returns how many did.
fn delivered_of(json: &Value, receivers: u64) -> u64 {
    assert_eq!(count(json, "expected"), count(json, "sent") * receivers, "{json}");
    count(json, "delivered")
}

fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {json}"))
}

#[test]
fn every_dialect_of_the_server_is_loaded_in_an_open_loop_and_loses_nothing() {
    let site = Site::start();
    for (dialect, _) in &site.urls {
        let (code, json) = site.counts(dialect, dialect, &["--rate", "400"]);
        assert_eq!(code, 0, "{json}");
        assert!(json["kept"] == true && json["mode"] == "open" && json["errors"] == 0 && json["unsent"] == 0, "{json}");
        // Each message reaches one other, or all others, or all.
        let receivers = match *dialect {
            "sender-viewer" | "call" | "call-socketio" => 1,
            "broadcast" => 60,
            _ => 5,
        };
        assert_eq!(delivered_of(&json, receivers), count(&json, "sent") * receivers, "{json}");
        assert_eq!(json["lost"], 0, "{json}");
        let p = ["/p50", "/p90", "/p99", "/p99.9", "/max"].map(|p| number(&json, &format!("/phases/0/latency_us{p}")));
        assert!(p[0] > 0.0 && p.is_sorted(), "{json}");
        assert!(number(&json, "/phases/0/server/memory_max_bytes") > 1e6, "{json}");
    }
}

#[test]
fn a_closed_loop_is_told_in_a_few_lines() {
    let site = Site::start();
    let flags = ["--rooms", "2", "--members", "3", "--window", "2", "--bytes", "1000", "--threads", "2"];
    let run = load(site.url("mesh"), "mesh", &flags);
    let out = run.out();
    assert_eq!(run.code(), 0, "{out}{}", run.err());
    let first = format!("mesh at {} · 2 rooms × 3 members · 1000 B · 2 in flight each\n", site.url("mesh"));
    assert!(out.starts_with(&first), "{out}");
    let names: Vec<&str> = out.lines().skip(2).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.starts_with(&["delivered", "latency", "promises", "generator"]), "{out}");
    assert!(out.contains("no message lost, duplicated, out of order, back to its sender or in another room"), "{out}");
}

#[test]
fn a_closed_loop_goes_on_after_its_window() {
    let site = Site::start();
    // Signals reach everyone, and named receivers.
    for (dialect, receivers, in_flight, flags) in [
        ("mesh", 2, 12, ["--rooms", "2", "--members", "3", "--window", "2"]),
        ("call-socketio", 1, 6, ["--rooms", "3", "--members", "2", "--window", "1"]),
    ] {
        let (code, json) = site.counts(dialect, dialect, &flags);
        assert_eq!(code, 0, "{json}");
        assert_eq!(delivered_of(&json, receivers), count(&json, "sent") * receivers, "{json}");
        assert!(count(&json, "sent") > in_flight, "deliveries let further messages go: {json}");
    }
}

#[test]
fn clients_that_stop_reading_are_compared_with_none() {
    let site = Site::start();
    // In a room where one more fits, and where the reader is half of a call.
    for (dialect, receivers) in [("mesh", Some(5)), ("call", None)] {
        let (code, json) = site.load(dialect, &["--stalled", "2", "--rate", "600"]);
        assert_eq!(code, 0, "{json}");
        assert_eq!(json["phases"].as_array().map(Vec::len), Some(2), "{json}");
        assert_eq!(json["stalled"], serde_json::json!([null, null]), "nothing is full yet: {json}");
        let [before, after] = [0, 1].map(|phase| number(&json, &format!("/phases/{phase}/latency_us/p99")));
        let ratio = json["p99_ratio"].as_f64().map(|ratio| (ratio * before - after).abs() < 1e-3);
        assert_eq!(ratio, (before > 0.0).then_some(true), "{json}");
        assert_eq!(count(&json, "delivered"), count(&json, "expected"), "{json}");
        assert!(receivers.is_none_or(|each| delivered_of(&json, each) == count(&json, "sent") * each), "{json}");
        assert_eq!(json["lost"], 0, "who does not read is not waited for: {json}");
    }
}

#[test]
fn a_client_that_does_not_read_is_told_when_the_server_gives_it_up() {
    // Present as soon as the server has closed such a connection.
    const SLOW: &str = "glare_websockets_closed_total{reason=\"slow-consumer\"}";
    let site = Site::start();
    let url = site.url("relay");
    let size = ["--rooms", "1", "--members", "2", "--rate", "100", "--bytes", "100000", "--seconds", "5"];
    let mut child =
        start(&[&["--url", url, "--dialect", "relay", "--format", "json", "--stalled", "1"][..], &size].concat());
    while !scrape(&site.metrics).contains_key(SLOW) && child.try_wait().expect("it is ours").is_none() {
        pause(Duration::from_millis(20));
    }
    interrupt(&child);
    let (code, out) = finish(child);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, 0, "{json}");
    assert!(json["stalled"][0].as_str().is_some_and(|how| how.starts_with("closed with 1008")), "{json}");
}

#[test]
fn idle_clients_join_and_stay() {
    let site = Site::start();
    for dialect in ["mesh", "sender-viewer"] {
        let (code, json) = site.load(dialect, &["--idle", "50"]);
        assert_eq!((code, &json["joined"]), (0, &50.into()), "{json}");
        assert!(json["memory_bytes_per_connection"].is_number() && number(&json, "/joins_per_s") > 0.0, "{json}");
    }
}

#[test]
fn clients_come_and_go() {
    let site = Site::start();
    for (dialect, _) in &site.urls {
        let (code, json) = site.load(dialect, &["--churn", "100"]);
        assert_eq!((code, &json["visits"]), (0, &30.into()), "{json}");
        assert!(number(&json, "/latency_us/p99") > 0.0, "{json}");
    }
}

#[test]
fn what_the_dialect_promises_and_the_server_does_not_keep_exits_with_1() {
    let site = Site::start();
    let one_room = ["--rate", "400", "--rooms", "1"];
    let silent = dialect_file("broadcast", "echo = true", "echo = false");
    let (code, json) = site.counts("broadcast", &silent, &one_room);
    assert!(code == 1 && json["kept"] == false, "{json}");
    let sent = count(&json, "sent");
    assert_eq!(delivered_of(&json, 59), sent * 59, "{json}");
    // The last ones may still be on their way.
    assert!((1..=sent).contains(&count(&json, "to_sender")), "{json}");
    assert!(json["lost"] == 0 && json["twice"] == 0, "{json}");

    let echoing = dialect_file("relay", "sender = \"absent\"", "sender = \"absent\"\necho = true");
    let (code, json) = site.counts("relay", &echoing, &one_room);
    let sent = count(&json, "sent");
    assert_eq!((code, delivered_of(&json, 6), count(&json, "lost")), (1, sent * 5, sent), "{json}");
    let (code, out) = site.load_until_done("relay", &echoing, &one_room);
    assert!(code == 1 && out.contains("BROKEN ") && out.contains(" lost\n"), "{out}");

    // All are in one room, and believe to be in two.
    let roomless = dialect_file("relay", "?room=$room", "?rome=$room");
    let (code, json) = site.counts("relay", &roomless, &["--rate", "400", "--rooms", "2"]);
    let sent = count(&json, "sent");
    assert_eq!((code, delivered_of(&json, 5)), (1, sent * 5), "{json}");
    assert!((1..=sent * 6).contains(&count(&json, "astray")), "{json}");
}

#[test]
fn a_server_that_dies_ends_the_run_with_what_was_measured() {
    let mut site = Site::start();
    let child =
        site.start_load("mesh", "mesh", &["--seconds", "600", "--warm-up", "0", "--rate", "400", "--rooms", "1"]);
    site.server.child.kill().expect("it runs");
    let (code, out) = finish(child);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("ENDED      6 connections ended early, first: lost"), "{out}");
}

#[test]
fn ctrl_c_ends_a_run_early_and_tells_what_was_measured() {
    let site = Site::start();
    let (code, out) = site.load_until_done("mesh", "mesh", &["--rate", "400"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("delivered ") && out.contains("no message lost"), "{out}");
}

#[test]
fn bad_usage_exits_with_2_and_says_what_would_be_right() {
    let mesh = ["--url", "ws://127.0.0.1:9"];
    let cases: [(&[&str], &str); 13] = [
        (&["--dialect", "mehs"], "did you mean `mesh`?"),
        (&["--dialect", "call", "--members", "3"], "--members 3: a room of call has at most 2"),
        (&["--dialect", "broadcast", "--rooms", "2"], "--rooms 2: broadcast has no rooms"),
        (&["--members", "1"], "at least two members"),
        (&["--bytes", "20"], "--bytes 20: the minimum is 55"),
        (&["--rate", "0"], "is not a number greater than 0"),
        (&["--seconds", "-1"], "--seconds"),
        (&["--window", "2", "--rate", "3"], "cannot be used with"),
        (&["--idle", "2", "--churn", "3"], "cannot be used with"),
        (&["--stalled", "2", "--window", "3"], "cannot be used with"),
        (&["--window", "0"], "--window"),
        (&["--pid", "4000000000"], "--pid 4000000000: there is no such process"),
        (&["--header", "no-colon"], "no-colon"),
    ];
    for (flags, right) in cases {
        let run = glare(&[&["load"][..], &mesh, flags].concat());
        assert_eq!(run.code(), 2, "{flags:?}: {}", run.err());
        assert!(run.err().contains(right), "{flags:?}: {}", run.err());
    }
    let run = glare(&["load", "--url", "127.0.0.1:9"]);
    assert!(run.code() == 2 && run.err().contains("write ws://HOST:PORT/PATH"), "{}", run.err());
}

#[test]
fn a_server_that_is_not_there_or_another_one_exits_with_3() {
    for mode in [&["--idle", "3"][..], &["--churn", "3"], &[]] {
        let run = load("ws://127.0.0.1:9", "mesh", mode);
        assert_eq!(run.code(), 3, "{}", run.err());
        assert!(run.err().contains("TCP to 127.0.0.1 port 9: connection refused"), "{}", run.err());
    }
    let site = Site::start();
    let run = load(&site.url("mesh").replace("ws://", "ws://user@"), "mesh", &[]);
    assert_eq!(run.code(), 2, "{}", run.err());
    let run = load(site.url("broadcast"), "mesh", &[]);
    assert_eq!(run.code(), 3, "{}", run.err());
    assert!(run.err().contains("no server of this dialect at http://"), "{}", run.err());
}

/// A shipped dialect with one line changed.
fn dialect_file(name: &str, from: &str, to: &str) -> String {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/dialects").join(format!("{name}.toml"));
    let text = fs::read_to_string(shipped).expect("it is shipped");
    assert!(text.contains(from), "{from} in {name}.toml");
    let changed = text.replace(from, to);
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&dir).expect("a scratch folder");
    let file = dir.join(format!("load-{name}-{}.toml", changed.len()));
    fs::write(&file, changed).expect("a scratch file");
    file.to_str().expect("UTF-8").to_owned()
}

fn start(flags: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glare"));
    command.arg("load").args(flags).stdout(Stdio::piped()).spawn().expect("the program starts")
}

/// Presses Ctrl-C.
fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill is there").success());
}

fn finish(mut child: Child) -> (i32, String) {
    let mut out = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("UTF-8");
    (child.wait().expect("it ends").code().expect("no signal ended it"), out)
}

#[allow(clippy::disallowed_methods)] // programs of their own, outside any simulation
fn pause(time: Duration) {
    std::thread::sleep(time);
}
