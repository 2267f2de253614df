//! Scenarios with real WebRTC peers against servers that nobody here wrote, in the dialects of their files.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::glare;
use crate::server::PATIENCE;
use crate::tools::npm;

/// A server of an npm package, ended when it is dropped.
struct Outsider(Child);

impl Outsider {
    /// Starts a server, and waits until it listens.
    #[allow(clippy::disallowed_methods)] // nothing of this is simulated
    fn start(mut command: Command, port: u16) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Self(child.expect("node starts where npm does"));
        let pause = Duration::from_millis(50);
        for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return server;
            }
            std::thread::sleep(pause);
        }
        panic!("the server does not listen on port {port}");
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Plays a scenario against a server, and needs it to pass.
fn passes(scenario: &str, dialect: &str, url: &str) {
    let run = glare(&["conformance", "--url", url, "--dialect", dialect, "--scenario", scenario]);
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
}

#[test]
fn peers_of_peerjs_connect_through_its_server() {
    let Some(modules) = npm("peer", &["peer@1.0.2"]) else { return };
    let port = free_port();
    let mut node = Command::new("node");
    node.arg(modules.join("node_modules/peer/dist/bin/peerjs.js"));
    node.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    let _server = Outsider::start(node, port);
    passes("mesh-3", "peerjs", &format!("ws://127.0.0.1:{port}/peerjs"));
}

#[test]
fn peers_of_y_webrtc_connect_through_its_server() {
    let Some(modules) = npm("y-webrtc", &["y-webrtc@10.3.0"]) else { return };
    let port = free_port();
    let mut node = Command::new("node");
    node.arg(modules.join("node_modules/y-webrtc/bin/server.js")).env("PORT", port.to_string());
    let _server = Outsider::start(node, port);
    passes("mesh-3", "y-webrtc", &format!("ws://127.0.0.1:{port}/"));
}

/// A text that is no JSON ends this server's process. Without the second start, 17 cases would not be tested.
#[test]
fn a_server_that_crashes_is_started_again_with_its_command() {
    let Some(modules) = npm("y-webrtc", &["y-webrtc@10.3.0"]) else { return };
    let port = free_port();
    let program = modules.join("node_modules/y-webrtc/bin/server.js");
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/known/y-webrtc.toml");
    let [program, known] = [&program, &known].map(|path| path.to_str().expect("UTF-8"));
    let (url, setting) = (format!("ws://127.0.0.1:{port}/"), format!("PORT={port}"));
    let test = ["conformance", "--url", &url, "--dialect", "y-webrtc", "--known", known, "--case", "msg/*"];
    let run = glare(&[&test[..], &["--", "env", &setting, "node", program]].concat());
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    assert!(run.out().contains("msg/not-json") && !run.out().contains("not tested"), "{}", run.out());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "it is ended after the test");
}

/// A server that no longer answers, but still holds its port, is ended before the next start.
#[test]
fn a_server_that_hangs_is_ended_and_started_again() {
    let Some(modules) = npm("y-webrtc", &["y-webrtc@10.3.0"]) else { return };
    let port = free_port();
    let right = fs::read_to_string(modules.join("node_modules/y-webrtc/bin/server.js")).expect("it is installed");
    // What would end the process makes it spin instead, deaf to SIGTERM.
    let spins = format!(
        "process.on('SIGTERM', () => {{}})\nprocess.on('uncaughtException', () => {{ for (;;); }})\n{}",
        right.replace("#!/usr/bin/env node", "")
    );
    let program = modules.join("node_modules/y-webrtc/bin/spins.js");
    fs::write(&program, spins).expect("the folder is ours");
    let (url, setting) = (format!("ws://127.0.0.1:{port}/"), format!("PORT={port}"));
    let program = program.to_str().expect("UTF-8");
    let test = ["conformance", "--url", &url, "--dialect", "y-webrtc", "--case", "msg/not-json", "--case", "msg/null"];
    let run = glare(&[&test[..], &["--", "env", &setting, "node", program]].concat());
    assert_eq!(run.code(), 1, "{}{}", run.out(), run.err());
    assert!(!run.out().contains("not tested"), "{}", run.out());
    let again = format!("--dialect y-webrtc --case msg/not-json -- env {setting} node {program}\n");
    assert!(run.out().contains(&again), "{}", run.out());
}
