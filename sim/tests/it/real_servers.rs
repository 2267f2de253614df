//! Servers of others, installed from their registries, as machines of the simulated world: real WebRTC peers connect
//! through them, and the same seed gives the same run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scenarios::{Action, Command, Scenario, ServerProgram, Step};
use sim::run::{Outcome, check_program, run};
use sim::timeline::Timeline;

use crate::busy::{Busy, double_runs};
use crate::installed::{matchbox_server, packages, python, python_with};

/// A server of others.
#[derive(Clone)]
struct Real {
    name: &'static str,
    /// The protocol of its clients, if it is not that of their roles.
    dialect: Option<String>,
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
        dialect: Some("peerjs".to_owned()),
        program: node(modules.join("peer/dist/bin/peerjs.js")),
        connects: &["mesh-3", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: false,
    };
    let y_webrtc = Real {
        name: "y-webrtc",
        dialect: Some("y-webrtc".to_owned()),
        program: node(modules.join("y-webrtc/bin/server.js")),
        connects: &["mesh-3", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: false,
    };
    let binary = Real {
        name: "ws with binary frames",
        dialect: Some(binary_mesh(folder)),
        program: ws.program.clone(),
        connects: &["mesh-3"],
        churn: "mesh-6-churn",
        hangs_up: true,
    };
    let signalhub = Real {
        name: "signalhub",
        dialect: Some("signalhub".to_owned()),
        program: {
            let mut program = node(modules.join("signalhub/bin.js"));
            program.run.extend(["listen", "--quiet", "--port", "8787"].map(str::to_owned));
            program
        },
        // Its event streams carry no heartbeat: a client never learns that the server lost power, and hears nothing more.
        connects: &["mesh-3"],
        churn: "mesh-6-churn",
        hangs_up: false,
    };
    let ours = |name: &'static str, file: &str, hangs_up| Real {
        name,
        dialect: Some(name.to_owned()),
        program: node(Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/tests/servers").join(file)),
        connects: &["mesh-3", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up,
    };
    let mut tracker = ours("bittorrent-tracker", "bittorrent-tracker.mjs", false);
    let mut protoo = ours("protoo", "protoo.js", true);
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
        dialect: Some("rxdb".to_owned()),
        program: node(Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/tests/servers/rxdb.js")),
        connects: &["mesh-3", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: false,
    };
    for server in [&mut socketio, &mut rxdb, &mut tracker, &mut protoo] {
        server.program.env.insert("NODE_PATH".to_owned(), modules.display().to_string());
    }
    let mut servers = vec![ws, binary, peer, y_webrtc, socketio, rxdb, tracker, protoo, signalhub];
    for server in &mut servers {
        server.program.env.insert("PORT".to_owned(), "8787".to_owned());
        server.program.env.insert("HOST".to_owned(), "0.0.0.0".to_owned());
    }
    servers[1].program.env.insert("BINARY".to_owned(), "yes".to_owned());
    servers
}

/// The dialect `mesh` in binary frames, as a file.
fn binary_mesh(folder: &Path) -> String {
    let text = dialect::shipped_text("mesh").expect("it is shipped");
    let marked = text.replacen("[identity]", "[connection]\nframing = \"websocket-binary\"\n\n[identity]", 1);
    assert!(marked != text && !text.contains("[connection]"), "the place of the new table");
    let file = folder.join("binary-mesh.toml");
    fs::write(&file, marked).expect("the folder is ours");
    file.to_str().expect("UTF-8").to_owned()
}

/// The PeerJS server of PyPI; none if pip does not work, or Python is too old.
fn on_new_python() -> Option<Real> {
    let program_path = python("python-peerjs-server", "peerjs-server", "1.0.0b2", &["websockets==17.4"])?;
    let mut program = program(&[&program_path]);
    program.run.extend(["--host", "0.0.0.0", "--port", "9000"].map(str::to_owned));
    Some(Real {
        name: "python-peerjs-server",
        dialect: Some("peerjs".to_owned()),
        program,
        connects: &["mesh-3", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: false,
    })
}

/// The matchbox server of crates.io, on tokio.
fn on_matchbox() -> Real {
    let mut program = program(&[&matchbox_server()]);
    program.run.push("0.0.0.0:3536".to_owned());
    // It would use a thread for each core.
    program.env.insert("TOKIO_WORKER_THREADS".to_owned(), "1".to_owned());
    Real {
        name: "matchbox_server",
        dialect: Some("matchbox".to_owned()),
        program,
        connects: &["mesh-3", "mesh-6-churn"],
        churn: "mesh-6-churn",
        hangs_up: false,
    }
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
    scenario.server.dialect = server.dialect.clone();
    let is_hangup = |step: &Step| matches!(step.action, Action::Actor(_, Command::Hangup(_)));
    scenario.steps.retain(|step| server.hangs_up || !is_hangup(step));
    // There an offer cannot go to a certain member.
    scenario.expect.probes.retain(|probe| server.name != "bittorrent-tracker" || *probe != "ice-restarted");
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
#[ignore = "needs Python 3.13"]
fn a_peerjs_server_on_python_connects_real_peers() {
    on_new_python().iter().for_each(connects);
}

/// Its members are told of a newcomer before the newcomer's own handshake is answered. The oracle of rosters counts from
/// that answer, so it does not know the newcomer yet: of its notices nothing is asserted.
#[test]
#[ignore = "builds matchbox_server, which takes minutes"]
fn matchbox_server_connects_real_peers() {
    let server = on_matchbox();
    for name in server.connects {
        let outcome = twice(name, &server, 1);
        let others: Vec<_> =
            outcome.violations.iter().filter(|violation| violation.oracle != "roster-matches-model").collect();
        assert!(others.is_empty(), "{name}: {others:?}\n{}", Timeline::of(&outcome.record));
    }
}

#[test]
fn a_tokio_server_connects_real_peers() {
    connects(&on_tokio());
}

/// Between its start and its exec, the program of one world has copies of the descriptors of the others: a connection that one
/// of them ends would end later. The server's old connection to `cam` is reset.
#[test]
fn worlds_side_by_side_do_not_disturb_each_other() {
    let server = on_tokio();
    let text = include_str!("../servers/signaling.toml");
    let mut scenario = scenarios::parse("signaling.toml", text).unwrap_or_else(|error| panic!("{error}"));
    scenario.server.program = Some(server.program);
    let scenario = Arc::new(scenario);
    let hashes = |seeds: std::ops::Range<u64>| -> Vec<_> { seeds.map(|seed| played(&scenario, seed).hash).collect() };
    let alone = hashes(1..61);
    #[allow(clippy::disallowed_methods)] // each world has a thread of its own in any case
    let both = std::thread::scope(|scope| {
        let halves = [1..31, 31..61].map(|seeds| scope.spawn(|| hashes(seeds)));
        halves.map(|half| half.join().expect("no panic"))
    });
    assert_eq!(both.concat(), alone);
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
