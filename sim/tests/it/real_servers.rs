//! Servers of others, installed from their registries, as machines of the simulated world: real WebRTC peers connect
//! through them, and the same seed gives the same run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scenarios::{Action, Command, Scenario, ServerProgram, Step};
use sim::run::{Outcome, check_program, run};
use sim::timeline::Timeline;

use crate::busy::{Busy, double_runs};
use crate::installed::{packages, python_with};

/// A server of others.
#[derive(Clone)]
struct Real {
    name: &'static str,
    dialect: Option<&'static str>,
    program: ServerProgram,
    /// Scenarios in which its clients connect.
    connects: &'static [&'static str],
    /// The scenario of its double runs, with as much change as its protocol allows.
    churn: &'static str,
    /// Whether its protocol lets a client hang up on another.
    hangs_up: bool,
}

fn program(words: &[&Path]) -> ServerProgram {
    let run = words.iter().map(|word| word.to_str().expect("UTF-8").to_owned()).collect();
    ServerProgram { run, ..ServerProgram::default() }
}

/// The Node servers; none if npm does not work.
fn on_node() -> Vec<Real> {
    let Some(folder) = packages() else { return Vec::new() };
    let modules = folder.join("node_modules");
    let node = |file: PathBuf| program(&[Path::new("node"), &file]);
    // A module finds its packages only beside itself.
    fs::write(folder.join("mesh.mjs"), include_str!("../servers/mesh.mjs")).expect("the folder is ours");
    let ws = Real {
        name: "ws",
        dialect: None,
        program: node(folder.join("mesh.mjs")),
        connects: &["mesh-3", "mesh-6", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: true,
    };
    let peer = Real {
        name: "peer",
        dialect: Some("peerjs"),
        program: node(modules.join("peer/dist/bin/peerjs.js")),
        connects: &["mesh-3", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: false,
    };
    let y_webrtc = Real {
        name: "y-webrtc",
        dialect: Some("y-webrtc"),
        program: node(modules.join("y-webrtc/bin/server.js")),
        connects: &["mesh-3", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: false,
    };
    let mut socketio = Real {
        name: "socket.io",
        dialect: None,
        program: node(Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/tests/servers/socket.io.js")),
        connects: &["broadcast-two"],
        churn: "broadcast-two",
        hangs_up: true,
    };
    let mut rxdb = Real {
        name: "rxdb",
        dialect: Some("rxdb"),
        program: node(Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/tests/servers/rxdb.js")),
        connects: &["mesh-3", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: false,
    };
    for server in [&mut socketio, &mut rxdb] {
        server.program.env.insert("NODE_PATH".to_owned(), modules.display().to_string());
    }
    let mut servers = vec![ws, peer, y_webrtc, socketio, rxdb];
    for server in &mut servers {
        server.program.env.insert("PORT".to_owned(), "8787".to_owned());
    }
    servers
}

/// The Python server; none if pip does not work.
fn on_python() -> Option<Real> {
    let python = python_with("websockets", "17.4")?;
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/mesh.py");
    Some(Real {
        name: "websockets",
        dialect: None,
        program: program(&[&python, &server]),
        connects: &["mesh-3", "mesh-6", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: true,
    })
}

/// A server on tokio with one worker. Cargo builds it with these tests.
fn on_tokio() -> Real {
    let tests = std::env::current_exe().expect("it runs");
    let build = tests.ancestors().nth(2).expect("cargo keeps tests two folders below its build");
    let server = build.join("examples/mesh-server");
    assert!(server.exists(), "{} is built by `cargo test`, if no test is named", server.display());
    Real {
        name: "tokio",
        dialect: None,
        program: program(&[&server]),
        connects: &["mesh-3", "mesh-6", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: true,
    }
}

fn scenario(name: &str, server: &Real) -> Arc<Scenario> {
    let mut scenario = scenarios::load(name).unwrap_or_else(|error| panic!("{error}"));
    scenario.server.program = Some(server.program.clone());
    scenario.server.dialect = server.dialect.map(str::to_owned);
    let is_hangup = |step: &Step| matches!(step.action, Action::Actor(_, Command::Hangup(_)));
    scenario.steps.retain(|step| server.hangs_up || !is_hangup(step));
    assert_eq!(check_program(&scenario), Ok(()), "{}, {name}", server.name);
    Arc::new(scenario)
}

fn played(scenario: &Arc<Scenario>, seed: u64) -> Outcome {
    run(scenario, seed).unwrap_or_else(|crash| panic!("{}", crash.message))
}

/// Plays a scenario twice; returns the first of the runs, which are equal.
fn twice(name: &str, server: &Real, seed: u64) -> Outcome {
    let scenario = scenario(name, server);
    let [first, second] = [(); 2].map(|()| played(&scenario, seed));
    let difference = sim::hash::first_difference(&first.record, &second.record);
    assert_eq!(difference, None, "{}, {name}, seed {seed}", server.name);
    first
}

fn connects(server: &Real) {
    for name in server.connects {
        // The long one takes seconds.
        let seeds = if *name == server.churn { 1..=1 } else { 1..=3 };
        for seed in seeds {
            let outcome = twice(name, server, seed);
            let timeline = Timeline::of(&outcome.record);
            assert!(outcome.passed(), "{}, {name}, seed {seed}: {:?}\n{timeline}", server.name, outcome.violations);
        }
    }
}

#[test]
fn node_servers_connect_real_peers() {
    on_node().iter().for_each(connects);
}

#[test]
fn a_python_server_connects_real_peers() {
    on_python().iter().for_each(connects);
}

#[test]
fn a_tokio_server_connects_real_peers() {
    connects(&on_tokio());
}

/// A known defect, of which docs/found.md tells.
#[test]
fn peer_leaves_who_returns_before_its_ghost_is_gone_without_an_answer() {
    for server in on_node().iter().filter(|server| server.name == "peer") {
        let outcome = twice("nat-reboot-mid-call", server, 1);
        let is_it = |(oracle, message): &(&str, &str)| {
            *oracle == "rosters-converge" && message.contains("ana requested") && message.contains("got no answer")
        };
        let found = outcome.violations.iter().map(|violation| (violation.oracle, violation.message.as_str()));
        assert!(found.clone().any(|violation| is_it(&violation)), "{:?}", found.collect::<Vec<_>>());
    }
}

#[test]
fn wrappers_do_not_matter() {
    for mut server in on_node().into_iter().take(1) {
        let command = format!("echo starting; {}", server.program.run.join(" "));
        server.program.run = ["sh", "-c", &command].map(str::to_owned).to_vec();
        assert!(twice("mesh-3", &server, 1).passed());
    }
}

/// Ignored by default because it takes minutes. `GLARE_SERVER` says which server alone is tried.
#[test]
#[ignore = "takes minutes"]
fn double_runs_are_equal_on_a_busy_machine() {
    let wanted = std::env::var("GLARE_SERVER").ok();
    let _busy = Busy::start();
    let servers = on_node().into_iter().chain(on_python()).chain([on_tokio()]);
    let servers = servers.filter(|server| wanted.as_ref().is_none_or(|wanted| wanted == server.name));
    let different: Vec<_> = servers
        .flat_map(|server| {
            eprintln!("{}:", server.name);
            double_runs(&scenario(server.churn, &server))
        })
        .collect();
    assert!(different.is_empty(), "{different:#?}");
}
