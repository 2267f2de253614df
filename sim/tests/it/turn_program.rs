//! STUN and TURN servers that are programs of others: Debian's coturn relays a call, and what goes wrong is said.

use std::path::PathBuf;
use std::sync::Arc;

use scenarios::Scenario;
use sim::event::{CandidateKind, PeerChange, What};
use sim::hash::first_difference;
use sim::run::{Cause, Outcome, check_program, run};
use sim::timeline::Timeline;

use crate::busy::{Busy, double_runs};
use crate::installed::{debian, folder, skip};

/// Where coturn writes the number of its process, and keeps its database.
fn home() -> PathBuf {
    let home = folder().join("coturn");
    std::fs::create_dir_all(&home).expect("the target folder is ours");
    home
}

/// A scenario in which ana and ben need the relay of a machine that runs coturn; `None` if it cannot be installed.
fn coturn(name: &str, more: &str) -> Option<Arc<Scenario>> {
    coturn_with(1, name, more)
}

/// The same, with so many relay threads.
fn coturn_with(threads: usize, name: &str, more: &str) -> Option<Arc<Scenario>> {
    debian("turnserver", "coturn")?;
    let command = &format!(
        "exec turnserver -n --no-tls --no-dtls --no-cli -m {threads} --log-file=stdout --pidfile=pid --userdb=db \
         --use-auth-secret --static-auth-secret=\"$GLARE_TURN_SECRET\" --realm=example.org"
    );
    let directory = home();
    let text = format!(
        "name = \"{name}\"\nduration = \"40s\"
[link]\njitter = \"4ms\"
[[ice-server]]\nname = \"turn\"\nrun = [\"sh\", \"-c\", {command:?}]\ndirectory = {directory:?}
[[actor]]\nname = \"ana\"\nnat = \"corp-symmetric\"
[[actor]]\nname = \"ben\"\nnat = \"symmetric\"\njoins = \"100ms\"
{more}"
    );
    let scenario = scenarios::parse("coturn.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(check_program(&scenario), Ok(()));
    Some(Arc::new(scenario))
}

fn twice(scenario: &Arc<Scenario>, seed: u64) -> Outcome {
    let [first, second] = [(); 2].map(|()| run(scenario, seed).unwrap_or_else(|crash| panic!("{}", crash.message)));
    assert_eq!(first_difference(&first.record, &second.record), None, "seed {seed}");
    first
}

const RELAYED: &str = "[expect]\nprobes = [\"relayed\"]\nrelayed = [[\"ana\", \"ben\"]]\n";

#[test]
fn coturn_relays_a_call() {
    let Some(scenario) = coturn("coturn", RELAYED) else { return };
    for seed in 1..=2 {
        let outcome = twice(&scenario, seed);
        assert!(outcome.passed(), "{:?}\n{}", outcome.violations, Timeline::of(&outcome.record));
        let relayed = outcome.record.events.iter().filter(|event| match &event.what {
            What::Peer(peer) => {
                matches!(&peer.change, PeerChange::Selected { local, .. } if local.kind == CandidateKind::Relay)
            }
            _ => false,
        });
        assert!(relayed.count() > 0, "{}", Timeline::of(&outcome.record));
    }
}

/// Its threads have a socket each, and all of them have the same port.
#[test]
fn coturn_with_several_threads_relays_a_call() {
    let Some(scenario) = coturn_with(4, "coturn-threads", RELAYED) else { return };
    let outcome = run(&scenario, 1).unwrap_or_else(|crash| panic!("{}", crash.message));
    assert!(outcome.passed(), "{:?}\n{}", outcome.violations, Timeline::of(&outcome.record));
    let threads: Vec<_> =
        outcome.record.threads.iter().map(|(node, count)| (outcome.record.name(*node), count)).collect();
    assert!(matches!(threads[..], [(name, count)] if **name == *"turn" && *count > 4), "{threads:?}");
}

#[test]
fn a_call_returns_when_coturn_comes_back() {
    let steps = "[[step]]\nat = \"10s\"\ndo = \"power-loss\"\nmachine = \"turn\"
[[step]]\nat = \"12s\"\ndo = \"boot\"\nmachine = \"turn\"\n";
    let Some(mut scenario) = coturn("coturn-restart", steps) else { return };
    Arc::get_mut(&mut scenario).expect("it is the only one").duration = std::time::Duration::from_secs(90);
    let outcome = twice(&scenario, 1);
    let timeline = Timeline::of(&outcome.record);
    assert!(outcome.passed(), "{:?}\n{timeline}", outcome.violations);
    let starts = timeline.lines.iter().filter(|line| line.what.contains("Relay ports initialization done"));
    assert_eq!(starts.count(), 2, "{timeline}");
}

/// Ignored by default because it takes minutes.
#[test]
#[ignore = "takes minutes"]
fn double_runs_with_coturn_are_equal_on_a_busy_machine() {
    let Some(scenario) = coturn("coturn", RELAYED) else { return };
    let _busy = Busy::start();
    let different = double_runs(&scenario);
    assert!(different.is_empty(), "{different:#?}");
}

/// A scenario whose only ICE server is a Python program, and in which nobody joins.
fn python(code: &str, more: &str) -> Option<Arc<Scenario>> {
    let found = std::process::Command::new("python3").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        return skip("there is no Python 3");
    }
    let text = format!(
        "name = \"one\"\nduration = \"30s\"
[[ice-server]]\nname = \"turn\"\nrun = [\"python3\", \"-c\", {code:?}]
[[actor]]\nname = \"ana\"\njoins = \"never\"\n{more}"
    );
    Some(Arc::new(scenarios::parse("one.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))))
}

#[test]
fn a_program_that_does_not_take_the_port_of_stun_is_named() {
    let code = "import socket, time
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
other.bind(('0.0.0.0', 3479))
print('here', flush=True)
time.sleep(9000)";
    let Some(scenario) = python(code, "") else { return };
    let crash = run(&scenario, 1).expect_err("nobody receives");
    assert_eq!(crash.cause, Cause::Server);
    let expected = "the program of `turn` has not bound UDP port 3478 within 60 s, but 3479; it printed:\n    here";
    assert_eq!(crash.message, expected);
    let Some(scenario) = python("raise SystemExit('no configuration')", "") else { return };
    let crash = run(&scenario, 1).expect_err("it has ended");
    let expected =
        "the program of `turn` ended with code 1 before it had bound UDP port 3478; it printed:\n    no configuration";
    assert_eq!(crash.message, expected);
}

#[test]
fn a_stun_program_stands_still_like_any_other() {
    let code = "import os, socket, time
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind((os.environ['GLARE_ADDRESS'], 3478))
begin = time.monotonic()
for _ in range(3):
    time.sleep(1)
    print(round(time.monotonic() - begin, 3), flush=True)
time.sleep(9000)";
    let step = "[[step]]\nat = \"1.5s\"\ndo = \"stall\"\nmachine = \"turn\"\ntime = \"7s\"";
    let Some(scenario) = python(code, step) else { return };
    let outcome = twice(&scenario, 1);
    assert!(outcome.passed(), "{:?}", outcome.violations);
    let timeline = Timeline::of(&outcome.record);
    let printed = timeline.lines.iter().filter_map(|line| line.what.strip_prefix("prints: "));
    assert_eq!(printed.collect::<Vec<_>>(), ["1.0", "8.5", "9.5"]);
}
