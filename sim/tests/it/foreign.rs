//! Server programs of others: what they show, what a scenario can do to them, and what cannot be simulated.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use scenarios::Scenario;
use sim::event::{ProgramEvent, What};
use sim::run::{Cause, Crash, Outcome, run};
use sim::timeline::Timeline;

use crate::installed::skip;

/// A server that prints what happens to it: it listens, greets each connection and echoes what it receives.
const PRINTS: &str = "import socket, sys, time
server = socket.create_server(('0.0.0.0', int(sys.argv[1])))
print('ready', flush=True)
";

/// Whether Python programs can run here.
pub(crate) fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
        || skip::<()>("there is no Python 3").is_some()
}

/// A scenario whose server runs a Python program with arguments, and in which nobody joins.
fn python(code: &str, arguments: &[&str], more: &str) -> Arc<Scenario> {
    let words: Vec<_> = ["python3", "-c", code].iter().chain(arguments).map(|word| format!("{word:?}")).collect();
    alone(&format!("[{}]", words.join(", ")), more)
}

/// A scenario with this server command, in which nobody joins. `more` goes below `[server]` and what it needs.
fn alone(run: &str, more: &str) -> Arc<Scenario> {
    let actor = "[[actor]]\nname = \"ana\"\njoins = \"never\"\n";
    let text =
        format!("name = \"alone\"\nduration = \"60s\"\nidle-steps = true\n[server]\nrun = {run}\n{actor}{more}\n");
    Arc::new(scenarios::parse("alone.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

/// What the program printed and what became of it, with times.
fn lines(outcome: &Outcome) -> Vec<String> {
    let timeline = Timeline::of(&outcome.record);
    timeline.lines.iter().map(|line| format!("{:.3} {}", line.at.as_secs_f64(), line.what)).collect()
}

fn played(scenario: &Arc<Scenario>) -> Outcome {
    run(scenario, 7).unwrap_or_else(|crash| panic!("{}", crash.message))
}

fn refused(scenario: &Arc<Scenario>) -> String {
    let Crash { message, cause, .. } = run(scenario, 7).expect_err("no server");
    assert_eq!(cause, Cause::Server, "{message}");
    message
}

/// Processes that still have this variable in their environment.
fn left_behind(variable: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("Linux").filter_map(|entry| Some(entry.ok()?.path()));
    let has_it = |path: &PathBuf| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|pair| pair == variable.as_bytes())
    };
    let command = |path: PathBuf| fs::read_to_string(path.join("cmdline")).unwrap_or_default().replace('\0', " ");
    processes.filter(has_it).map(command).collect()
}

#[test]
fn a_program_sees_virtual_time_and_its_lines_are_in_the_timeline() {
    if !has_python() {
        return;
    }
    let code = "import time
print('start', time.time())
for _ in range(3):
    time.sleep(1.5)
    print('now', round(time.time(), 3))
";
    let scenario = python(&format!("{PRINTS}{code}time.sleep(9000)"), &["8787"], "");
    let expected = [
        "0.000 listens on port 8787",
        "0.000 prints: ready",
        "0.000 prints: start 1800000000.0",
        "1.500 prints: now 1800000001.5",
        "3.000 prints: now 1800000003.0",
        "4.500 prints: now 1800000004.5",
    ];
    let outcome = played(&scenario);
    assert!(outcome.passed(), "{:?}", outcome.violations);
    assert_eq!(lines(&outcome), expected);
    assert_eq!(played(&scenario).hash, outcome.hash);
}

#[test]
fn a_program_that_ends_is_a_violation_with_its_last_lines() {
    if !has_python() {
        return;
    }
    let code = format!("{PRINTS}time.sleep(5)\nprint('about to fail')\nraise SystemExit(3)");
    let outcome = played(&python(&code, &["8787"], ""));
    let [violation] = &outcome.violations[..] else { panic!("{:?}", outcome.violations) };
    assert_eq!((violation.oracle, violation.at.as_secs()), ("server-stays-up", 5));
    assert!(
        violation.message.contains("ended with code 3") && violation.message.contains("“about to fail”"),
        "{}",
        violation.message
    );
    assert!(lines(&outcome).contains(&"5.000 program ends with code 3".to_owned()), "{:?}", lines(&outcome));
}

#[test]
fn the_scenario_may_end_a_program_and_start_it_again() {
    if !has_python() {
        return;
    }
    let steps = "[[step]]\nat = \"5s\"\ndo = \"power-loss\"\nmachine = \"server\"
[[step]]\nat = \"9s\"\ndo = \"boot\"\nmachine = \"server\"";
    let outcome = played(&python(&format!("{PRINTS}time.sleep(9000)"), &["8787"], steps));
    assert!(outcome.passed(), "{:?}", outcome.violations);
    let ready: Vec<_> = lines(&outcome).into_iter().filter(|line| line.ends_with("ready")).collect();
    assert_eq!(ready, ["0.000 prints: ready", "9.000 prints: ready"]);
}

#[test]
fn a_program_is_told_to_shut_down() {
    if !has_python() {
        return;
    }
    let handler = "import signal
def stop(*_):
    print('stopping')
    time.sleep(2)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
time.sleep(9000)
";
    let step = "[[step]]\nat = \"5s\"\ndo = \"shutdown\"";
    let outcome = played(&python(&format!("{PRINTS}{handler}"), &["8787"], step));
    assert!(outcome.passed(), "{:?}", outcome.violations);
    let lines = lines(&outcome);
    assert_eq!(&lines[lines.len() - 2..], ["5.000 prints: stopping", "7.000 program ends with code 0"], "{lines:?}");
}

#[test]
fn a_program_that_ignores_the_order_is_killed_and_accused() {
    if !has_python() {
        return;
    }
    let ignores = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(100)\n";
    let step = "[[step]]\nat = \"5s\"\ndo = \"shutdown\"";
    let outcome = played(&python(&format!("{PRINTS}{ignores}"), &["8787"], step));
    let [violation] = &outcome.violations[..] else { panic!("{:?}", outcome.violations) };
    assert_eq!((violation.oracle, violation.at.as_secs()), ("shutdown-obeyed", 35));
    assert!(lines(&outcome).contains(&"35.000 program ends by SIGKILL".to_owned()), "{:?}", lines(&outcome));
}

#[test]
fn a_program_stands_still_and_its_clock_jumps() {
    if !has_python() {
        return;
    }
    let code = "for _ in range(4):
    time.sleep(1)
    print(round(time.monotonic() - START, 3), round(time.time() - WALL, 3))
time.sleep(9000)
";
    let code = format!("{PRINTS}START, WALL = time.monotonic(), time.time()\n{code}");
    let steps = "[[step]]\nat = \"1.5s\"\ndo = \"clock-jump\"\nmachine = \"server\"\nby = \"-1h\"
[[step]]\nat = \"2.5s\"\ndo = \"stall\"\nmachine = \"server\"\ntime = \"7s\"";
    let outcome = played(&python(&code, &["8787"], steps));
    assert!(outcome.passed(), "{:?}", outcome.violations);
    let lines = lines(&outcome);
    let printed: Vec<_> = lines.iter().filter_map(|line| line.split_once(" prints: ")).skip(1).collect();
    assert_eq!(
        printed,
        [("1.000", "1.0 1.0"), ("2.000", "2.0 -3598.0"), ("9.500", "9.5 -3590.5"), ("10.500", "10.5 -3589.5")]
    );
}

#[test]
fn what_a_server_looks_for_outside_is_said() {
    if !has_python() {
        return;
    }
    let code = "import socket, time
try: socket.getaddrinfo('db.example.org', 5432)
except OSError as error: print('no name', flush=True)
try: socket.create_connection(('127.0.0.1', 6379))
except OSError as error: print('no cache', flush=True)
try: socket.create_connection(('198.51.100.77', 5432), timeout=5)
except OSError as error: print('no database', flush=True)
dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.sendto(b'?', ('198.51.100.53', 53))
time.sleep(9000)
";
    let message = refused(&python(code, &[], ""));
    let sought = "it asked for the address of `db.example.org`, 127.0.0.1:6379 over TCP, where nobody listens, 198.51.100.77:5432 over TCP, the DNS server 198.51.100.53:53: a simulation has no other machines than the scenario's";
    assert!(message.contains(sought) && message.ends_with("no database"), "{message}");
}

#[test]
fn what_cannot_be_reached_is_said_with_what_was_seen() {
    if !has_python() {
        return;
    }
    let message = refused(&alone(r#"["sh", "-c", "echo no such database; exit 4"]"#, ""));
    assert!(
        message.contains("ended with code 4 before it listened") && message.contains("no such database"),
        "{message}"
    );
    let message = refused(&alone(r#"["sh", "-c", "echo waiting; sleep 10000"]"#, ""));
    assert!(
        message.contains("has not listened on any TCP port within 60 s") && message.contains("waiting"),
        "{message}"
    );
    let other = python(&format!("{PRINTS}time.sleep(9000)"), &["9000"], "");
    let mut scenario = (*other).clone();
    scenario.server.program.as_mut().expect("a program").port = Some(8787);
    let message = refused(&Arc::new(scenario));
    assert!(message.contains("does not listen on port 8787, but on 9000"), "{message}");
    let message = refused(&alone(r#"["glare-no-such-program"]"#, ""));
    assert!(message.contains("there is no program `glare-no-such-program`"), "{message}");
}

#[test]
fn no_process_is_left_whatever_the_program_does() {
    if !has_python() {
        return;
    }
    let daemon = "import os, time, socket
server = socket.create_server(('0.0.0.0', 8787))
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print('daemon')
time.sleep(100000)
";
    let mark = format!("GLARE_TEST_MARK=daemon-{}", std::process::id());
    let mut scenario = (*python(daemon, &[], "")).clone();
    let (name, value) = mark.split_once('=').expect("a pair");
    let program = scenario.server.program.as_mut().expect("a program");
    program.env.insert(name.to_owned(), value.to_owned());
    let outcome = played(&Arc::new(scenario));
    assert!(outcome.passed(), "{:?}", outcome.violations);
    assert!(lines(&outcome).contains(&"0.000 prints: daemon".to_owned()), "{:?}", lines(&outcome));
    assert_eq!(left_behind(&mark), [""; 0]);
}

#[test]
fn a_program_may_print_megabytes() {
    if !has_python() {
        return;
    }
    let code = format!("{PRINTS}\nfor n in range(40000): print(n, 'x' * 100)\nprint('end')\ntime.sleep(9000)");
    let scenario = python(&code, &["8787"], "");
    let outcome = played(&scenario);
    assert!(outcome.passed(), "{:?}", outcome.violations);
    let is_line = |event: &&sim::event::Event| matches!(event.what, What::Program(ProgramEvent::Printed { .. }));
    assert_eq!(outcome.record.events.iter().filter(is_line).count(), 2001);
    assert_eq!(played(&scenario).hash, outcome.hash);
}

#[test]
#[ignore = "waits until two programs have spun for 30 s each"]
fn a_program_that_spins_is_given_up() {
    if !has_python() {
        return;
    }
    let spins = |before: &str| python(&format!("{before}while True: pass"), &["8787"], "");
    let message = refused(&spins(""));
    assert!(message.contains("does it spin?"), "{message}");
    let outcome = played(&spins(PRINTS));
    let [violation] = &outcome.violations[..] else { panic!("{:?}", outcome.violations) };
    assert_eq!(violation.oracle, "server-stays-up");
    for words in ["does it spin?", "it printed last: “ready”"] {
        assert!(violation.message.contains(words), "{}", violation.message);
    }
}

#[test]
fn a_program_that_waits_by_looking_at_the_clock_gets_on() {
    if !has_python() {
        return;
    }
    let code = format!(
        "{PRINTS}end = time.monotonic() + 0.005\nwhile time.monotonic() < end: pass\nprint('over')\ntime.sleep(9000)"
    );
    let outcome = played(&python(&code, &["8787"], ""));
    assert!(lines(&outcome).contains(&"0.005 prints: over".to_owned()), "{:?}", lines(&outcome));
}
