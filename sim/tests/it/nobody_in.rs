//! A server that lets nobody in never passes, nor does a client program that does not try; where faults keep everybody out,
//! nobody is accused.

use std::sync::Arc;

use sim::run::{Outcome, run};

use crate::foreign::has_python;

/// A server that reads the opening handshake of each connection, and then does what its argument says.
const TURNS_AWAY: &str = "import socket, struct, sys, threading
server = socket.create_server(('0.0.0.0', 8787))
def serve(connection):
    with connection:
        connection.recv(65536)
        if sys.argv[1] == 'waits':
            connection.recv(65536)
        elif sys.argv[1] == 'resets':
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        elif sys.argv[1] == 'answers':
            connection.sendall(b'HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n')
while True:
    serve(server.accept()[0]) if sys.argv[1] != 'waits' else threading.Thread(target=serve, args=server.accept()[:1]).start()
";

/// Two peers meet at a server that behaves like this. `more` follows.
fn meet(behaviour: &str, duration: &str, more: &str) -> Outcome {
    let code = TURNS_AWAY;
    let text = format!(
        "name = \"turned-away\"\nduration = {duration:?}\n[server]\nrun = [\"python3\", \"-c\", {code:?}, {behaviour:?}]\n\
         dialect = \"mesh\"\n[[actor]]\nname = \"ana\"\n[[actor]]\nname = \"ben\"\njoins = \"1s\"\n{more}"
    );
    let scenario = scenarios::parse("turned-away.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    run(&Arc::new(scenario), 1).unwrap_or_else(|crash| panic!("{}", crash.message))
}

/// The message of the violation of `somebody-joins`.
fn accused(outcome: &Outcome) -> Option<&str> {
    outcome.violations.iter().find(|found| found.oracle == "somebody-joins").map(|found| &*found.message)
}

#[test]
fn a_server_that_turns_everybody_away_does_not_pass() {
    if !has_python() {
        return;
    }
    for (behaviour, says) in [
        ("answers", "no client joined: ana tried 6 times, HTTP error: 404 Not Found"),
        ("resets", "no client joined: ana tried 6 times, IO error: connection reset"),
        ("closes", "no client joined: ana tried 6 times, "),
        ("waits", "no client joined: ana tried once, IO error: timed out"),
    ] {
        let outcome = meet(behaviour, "20s", "");
        let message = accused(&outcome).unwrap_or_else(|| panic!("{behaviour}: {:?}", outcome.violations));
        assert!(message.starts_with(says), "{behaviour}: {message}");
    }
}

#[test]
fn an_attempt_that_is_not_answered_before_the_end_counts() {
    if !has_python() {
        return;
    }
    let outcome = meet("waits", "8s", "");
    let message = accused(&outcome).expect("nobody was let in");
    assert!(message.contains("ana tried once, since 0.0"), "{message}");
}

#[test]
fn faults_that_keep_everybody_out_are_no_ones_fault() {
    if !has_python() {
        return;
    }
    for fault in [
        "[[step]]\nat = \"0ms\"\ndo = \"partition\"\nfrom = [\"ana\", \"ben\"]\nto = [\"server\"]\n",
        "[[step]]\nat = \"0ms\"\ndo = \"power-loss\"\nmachine = \"server\"\n",
    ] {
        let outcome = meet("answers", "20s", fault);
        assert_eq!(accused(&outcome), None, "{fault}");
    }
    for (why, more) in [
        ("nothing passes the links", "[link]\nloss = \"100%\"\n"),
        ("nobody waits for the answer", "[[step]]\nat = \"2s\"\ndo = \"leave\"\nactor = [\"ana\", \"ben\"]\n"),
    ] {
        let outcome = meet("waits", "20s", more);
        assert_eq!(accused(&outcome), None, "{why}");
    }
}

/// ana and this program, which speaks for ben.
fn with_program(code: &str, more: &str) -> Outcome {
    let text = format!(
        "name = \"idle-program\"\nduration = \"20s\"\n[[actor]]\nname = \"ana\"\n\
         [[actor]]\nname = \"ben\"\nrun = [\"python3\", \"-c\", {code:?}]\n{more}"
    );
    let scenario = scenarios::parse("idle-program.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    run(&Arc::new(scenario), 1).unwrap_or_else(|crash| panic!("{}", crash.message))
}

#[test]
fn a_client_program_that_does_nothing_does_not_pass() {
    if !has_python() {
        return;
    }
    let outcome = with_program("import time\ntime.sleep(100)", "");
    let found: Vec<_> = outcome.violations.iter().map(|found| (found.oracle, &*found.message)).collect();
    let message = "ben's program has been running since 0.000 s and has not connected to the signaling server";
    assert_eq!(found, [("programs-join", message)]);
    // Who was ordered to leave, or has just begun, need not be there.
    for step in ["at = \"5s\"\ndo = \"leave\"\nactor = \"ben\"", "at = \"15s\"\ndo = \"power-loss\"\nmachine = \"ben\""]
    {
        let outcome = with_program("import time\ntime.sleep(100)", &format!("[[step]]\n{step}\n"));
        assert!(outcome.violations.iter().all(|found| found.oracle != "programs-join"), "{:?}", outcome.violations);
    }
}

#[test]
fn a_client_program_that_connects_and_does_not_ask_does_not_pass() {
    if !has_python() {
        return;
    }
    let code = "import os, socket, time, urllib.parse
url = urllib.parse.urlparse(os.environ['GLARE_URL'])
server = socket.create_connection((url.hostname, url.port))
key = 'dGhlIHNhbXBsZSBub25jZQ=='
lines = ['GET / HTTP/1.1', 'Host: ' + url.netloc, 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
server.sendall('\\r\\n'.join(lines + ['Sec-WebSocket-Key: ' + key, '', '']).encode())
while server.recv(4096):
    pass
";
    let outcome = with_program(code, "");
    let found: Vec<_> = outcome.violations.iter().map(|found| (found.oracle, &*found.message)).collect();
    assert!(
        matches!(&found[..], [("programs-join", message)] if message.contains("has sent no request to join")),
        "{found:?}\n{:?}",
        outcome.record.events
    );
}
