//! Client programs of others as actors: their sockets, what the record shows of them, orders and reports, programs that
//! do not behave, and real WebRTC stacks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{env, fs};

use scenarios::FilterState::PerMapping;
use scenarios::{ActorIndex, NatBehavior, Scenario};
use sim::event::{Fault, Message, PeerChange, PeerEvent, Signaling, What};
use sim::hash::first_difference;
use sim::pairs::pairs;
use sim::reachability::{Place, Verdict, can_connect};
use sim::run::{Outcome, check_program, run};
use sim::timeline::Timeline;

use crate::busy::{Busy, double_runs};
use crate::matrix::{DEPENDENCES, behavior};

/// Whether Python programs can run here.
fn has_python() -> bool {
    installed("python3", &["--version"]).is_some()
}

/// A scenario in which ben, behind a NAT, runs a Python program. `steps` is the end of the file.
fn python(code: &str, steps: &str) -> Arc<Scenario> {
    let text = format!(
        "name = \"one\"\nduration = \"30s\"
[[actor]]\nname = \"ana\"\njoins = \"never\"
[[actor]]\nname = \"ben\"\nnat = \"home-linux\"\njoins = \"1s\"\nrun = [\"python3\", \"-u\", \"-c\", {code:?}]
{steps}"
    );
    Arc::new(scenarios::parse("one.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn played(scenario: &Arc<Scenario>) -> Outcome {
    let [first, second] = [(); 2].map(|()| run(scenario, 7).unwrap_or_else(|crash| panic!("{}", crash.message)));
    assert_eq!(first_difference(&first.record, &second.record), None);
    first
}

/// What the timeline says about ben, with times.
fn lines(outcome: &Outcome) -> Vec<String> {
    let timeline = Timeline::of(&outcome.record);
    timeline.lines.iter().map(|line| format!("{:.3} {}", line.at.as_secs_f64(), line.what)).collect()
}

/// What is wrong with a program that tries its sockets, and does not join.
const IDLE: (&str, &str) =
    ("programs-join", "ben's program has been running since 1.000 s and has not connected to the signaling server");

/// The violations of a run, each with its oracle.
fn violations(outcome: &Outcome) -> Vec<(&str, &str)> {
    outcome.violations.iter().map(|violation| (violation.oracle, violation.message.as_str())).collect()
}

/// Asks a STUN server where a socket is seen, as a Python function.
const STUN: &str = r"
import os, socket, struct, time
def ask(s, to=None):
    request = struct.pack('>HHI', 1, 0, 0x2112a442) + b'123456789012'
    s.sendto(request, to) if to else s.send(request)
    answer, _ = s.recvfrom(2000)
    port, ip = struct.unpack('>HI', answer[26:32])
    return socket.inet_ntoa(struct.pack('>I', ip ^ 0x2112a442)), port ^ 0x2112
_, name, port = os.environ['GLARE_STUN'].split(':')
server = (socket.gethostbyname(name), int(port))
udp = lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
";

#[test]
fn datagrams_cross_the_nat_from_sockets_of_every_kind() {
    if !has_python() {
        return;
    }
    let code = format!(
        "{STUN}
unbound, connected, bound = udp(), udp(), udp()
connected.connect(server)
bound.bind((connected.getsockname()[0], 5000))
for s, to in (unbound, server), (connected, None), (bound, server):
    ip, port = ask(s, to)
    print(ip, port == s.getsockname()[1], s.getsockname()[0])
unbound.sendmsg([b'in ', b'parts'], [], 0, ('192.168.1.11', 5000))
print(bound.recvmsg(100)[0])
nobody = udp()
nobody.connect(('127.0.0.1', 9))
nobody.send(b'?')
try: nobody.recv(10)
except ConnectionRefusedError: print('refused')
try: udp().bind(('10.1.2.3', 0))
except OSError as error: print(error.errno)
connected.settimeout(0.25)
try: connected.recv(10)
except TimeoutError: print('silence')
time.sleep(1000)
"
    );
    let outcome = played(&python(&code, ""));
    assert_eq!(violations(&outcome), [IDLE]);
    let lines = lines(&outcome);
    let printed: Vec<_> = lines.iter().filter_map(|line| line.split_once(" prints: ")).collect();
    assert_eq!(
        printed,
        [
            ("1.042", "198.51.100.10 True 0.0.0.0"),
            ("1.084", "198.51.100.10 True 192.168.1.11"),
            ("1.126", "198.51.100.10 True 192.168.1.11"),
            ("1.126", "b'in parts'"),
            ("1.126", "refused"),
            ("1.126", "99"),
            ("1.376", "silence"),
        ]
    );
    let seen = lines.iter().filter(|line| line.contains("STUN: 192.168.1.11:")).count();
    assert_eq!(seen, 3, "the wire shows what STUN answered: {lines:?}");
}

#[test]
fn a_program_is_told_where_and_as_whom_to_join() {
    if !has_python() {
        return;
    }
    let code = "import os, socket, time
print(*(os.environ['GLARE_' + name] for name in ('URL', 'ROOM', 'NAME', 'ROLE', 'STUN')))
print(socket.gethostname(), socket.gethostbyname('server'))
try: socket.gethostbyname('example.org')
except socket.gaierror: print('unknown')
time.sleep(1000)
";
    let outcome = played(&python(code, ""));
    let expected = ["ws://server:8787/ demo ben mesh stun:server:3478", "ben 203.0.113.1", "unknown"];
    assert_eq!(lines(&outcome), expected.map(|text| format!("1.000 prints: {text}")));
}

#[test]
fn orders_arrive_on_standard_input_and_reports_count() {
    if !has_python() {
        return;
    }
    let code = "import sys
for line in sys.stdin:
    print('got', line.strip())
    if 'leave' in line: sys.exit(0)
";
    let steps = "[[step]]\nat = \"2s\"\ndo = \"say\"\nactor = \"ben\"\ntext = \"a \\\"b\\\"\"
[[step]]\nat = \"3s\"\ndo = \"leave\"\nactor = \"ben\"
[[step]]\nat = \"5s\"\ndo = \"join\"\nactor = \"ben\"
";
    let outcome = played(&python(code, steps));
    assert_eq!(violations(&outcome), []);
    assert_eq!(
        lines(&outcome),
        [
            "2.000 is ordered to say “a \"b\"”",
            "2.000 prints: got {\"op\":\"say\",\"text\":\"a \\\"b\\\"\"}",
            "3.000 is ordered to leave",
            "3.000 prints: got {\"op\":\"leave\"}",
            "3.000 program ends with code 0",
        ]
    );
}

#[test]
fn a_program_that_does_not_leave_is_ended() {
    if !has_python() {
        return;
    }
    let leave = "[[step]]\nat = \"2s\"\ndo = \"leave\"\nactor = \"ben\"";
    let outcome = played(&python("import time\ntime.sleep(1000)", leave));
    assert_eq!(violations(&outcome), [], "SIGTERM is an order that every program knows");
    assert_eq!(lines(&outcome).last().map(String::as_str), Some("7.000 program ends by SIGTERM"));
    let ignores = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(100)";
    let mut scenario = (*python(ignores, leave)).clone();
    scenario.duration = std::time::Duration::from_secs(60);
    let outcome = played(&Arc::new(scenario));
    let [(oracle, message)] = violations(&outcome)[..] else { panic!("{:?}", outcome.violations) };
    assert!(oracle == "client-stays-up" && message.contains("ignored SIGTERM"), "{message}");
    assert_eq!(lines(&outcome).last().map(String::as_str), Some("37.000 program ends by SIGKILL"));
}

#[test]
fn a_program_that_ends_by_itself_is_a_violation_with_its_last_lines() {
    if !has_python() {
        return;
    }
    let outcome = played(&python("print('no such room')\nraise SystemExit(3)", ""));
    let [(oracle, message)] = violations(&outcome)[..] else { panic!("{:?}", outcome.violations) };
    assert_eq!(oracle, "client-stays-up");
    let right = "ben's program ended with code 3, and nobody had ordered it to leave; it printed last: “no such room”";
    assert_eq!(message, right);
}

#[test]
fn a_program_may_print_megabytes_and_stand_still() {
    if !has_python() {
        return;
    }
    let code = "import time\nfor n in range(30000): print(n, 'x' * 100)
while True:
    time.sleep(1)
    print('never shown')
";
    let steps = "[[step]]\nat = \"2.5s\"\ndo = \"stall\"\nmachine = \"ben\"\ntime = \"3s\"";
    let outcome = played(&python(code, steps));
    assert_eq!(violations(&outcome), [IDLE]);
    let lines = lines(&outcome);
    assert!(lines.iter().any(|line| line.contains("the rest of the output is not recorded")), "{}", lines.len());
}

#[test]
fn what_cannot_be_an_actor_is_refused_before_the_run() {
    let parse = |actor: &str| {
        let text = format!("name = \"x\"\nduration = \"9s\"\n[[actor]]\nname = \"ben\"\n{actor}");
        scenarios::parse("x.toml", &text).unwrap_or_else(|error| panic!("{error}"))
    };
    let refused = |actor: &str| check_program(&parse(actor)).expect_err("refused");
    let message = refused("run = [\"glare-no-such-program\"]");
    assert_eq!(message, "`ben`: there is no program `glare-no-such-program` on the search path (PATH)");
    let message = refused("run = [\"sh\"]\nplays = \"sender\"");
    assert!(message.contains("speaks `sender-viewer`") && message.contains("such as `mesh`"), "{message}");
}

// ---- real WebRTC stacks

/// Skips a test whose tool cannot be installed, with a message; on CI that is a failure.
fn skip<T>(why: &str) -> Option<T> {
    assert!(env::var_os("CI").is_none(), "a peer of others cannot be installed: {why}");
    eprintln!("SKIPPED: a peer of others cannot be installed: {why}");
    None
}

fn installed(program: &str, arguments: &[&str]) -> Option<()> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Some(()),
        Ok(output) => skip(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => skip(&error.to_string()),
    }
}

/// A folder with the shipped peers and what they need.
fn peers() -> Option<PathBuf> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("strangers-1");
        let path = folder.to_str().expect("UTF-8");
        fs::create_dir_all(&folder).expect("the target folder is ours");
        for (name, text) in [
            ("mesh.py", include_str!("../peers/mesh.py")),
            ("mesh.mjs", include_str!("../peers/mesh.mjs")),
            ("package.json", include_str!("../peers/package.json")),
            ("requirements.txt", include_str!("../peers/requirements.txt")),
        ] {
            fs::write(folder.join(name), text).expect("the folder is ours");
        }
        if !folder.join("installed").exists() {
            installed("npm", &["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", path])?;
            installed("python3", &["-m", "venv", &format!("{path}/.venv")])?;
            let python = format!("{path}/.venv/bin/python");
            installed(&python, &["-m", "pip", "install", "--quiet", "-r", &format!("{path}/requirements.txt")])?;
            fs::write(folder.join("installed"), "").expect("the folder is ours");
        }
        Some(folder)
    };
    INSTALLED.get_or_init(install).clone()
}

/// The scenario with a peer of each origin.
fn three(change: impl FnOnce(&mut Scenario)) -> Option<Arc<Scenario>> {
    let folder = peers()?;
    let text = include_str!("../peers/mesh-3-strangers.toml");
    let mut scenario = scenarios::parse("mesh-3-strangers.toml", text).unwrap_or_else(|error| panic!("{error}"));
    for program in scenario.actors.iter_mut().filter_map(|actor| actor.program.as_mut()) {
        program.directory = Some(folder.clone());
    }
    change(&mut scenario);
    assert_eq!(check_program(&scenario), Ok(()));
    Some(Arc::new(scenario))
}

#[test]
fn peers_of_three_origins_connect() {
    let Some(scenario) = three(|_| {}) else { return };
    for seed in 1..=2 {
        let [first, second] =
            [(); 2].map(|()| run(&scenario, seed).unwrap_or_else(|crash| panic!("{}", crash.message)));
        assert_eq!(violations(&first), [], "seed {seed}\n{}", Timeline::of(&first.record));
        assert_eq!(first_difference(&first.record, &second.record), None, "seed {seed}");
        let pairs = pairs(&first.record);
        assert!(pairs.len() == 3 && pairs.iter().all(|pair| pair.connection.is_some()), "{pairs:?}");
        let heard = |text: &str| {
            let is_it = |what: &What| matches!(what, What::Peer(PeerEvent { change: PeerChange::ChannelReceived { text: heard }, .. }) if **heard == *text);
            first.record.events.iter().filter(|event| is_it(&event.what)).count()
        };
        assert_eq!(heard("is everybody here?"), 6, "each hears both others");
    }
}

/// Two peers on aiortc behind two NATs, and one of ours beside them, over links that lose one packet in twenty.
fn two_on_aiortc() -> Option<Arc<Scenario>> {
    three(|scenario| {
        scenario.name = "aiortc-two".into();
        scenario.steps.clear();
        let at = |name| scenario.actors.iter().position(|actor| actor.name == name).expect("it is there");
        let (wim, pia) = (at("wim"), at("pia"));
        scenario.actors[wim].program = scenario.actors[pia].program.clone();
        for actor in &mut scenario.actors {
            (actor.link.up.loss_ppm, actor.link.down.loss_ppm) = (50_000, 50_000);
        }
    })
}

/// Which pairs of NATs let one of Glare's own peers and this program connect, otherwise than [`can_connect`] predicts.
/// Each has the nine combinations of mapping and filtering, and each offers once. Returns a line for each difference.
fn differences_behind_nats(program: &str) -> Option<Vec<String>> {
    let behaviors = || DEPENDENCES.iter().flat_map(|m| DEPENDENCES.iter().map(|f| behavior(*m, *f, PerMapping)));
    let mut differing = Vec::new();
    for (ours, theirs) in behaviors().flat_map(|ours| behaviors().map(move |theirs| (ours.clone(), theirs))) {
        // Who comes later answers.
        for later in ["gus", program] {
            let scenario = three(|scenario| {
                scenario.steps.clear();
                scenario.duration = Duration::from_secs(30);
                scenario.actors.retain(|actor| actor.name == "gus" || actor.name == program);
                for actor in &mut scenario.actors {
                    actor.joins = Some(Duration::from_secs(if actor.name == later { 2 } else { 0 }));
                    let nat = if actor.name == "gus" { &ours } else { &theirs };
                    scenario.networks[actor.network.expect("it has a home").0].nat = Some(nat.clone());
                }
            })?;
            let outcome = run(&scenario, 1).unwrap_or_else(|crash| panic!("{}", crash.message));
            let found = pairs(&outcome.record).iter().any(|pair| pair.connection.is_some());
            let place = |actor| Place::of(&scenario, ActorIndex(actor));
            let expected = matches!(can_connect(&place(0), &place(1)), Verdict::Connects(_));
            if found != expected {
                let side = |nat: &NatBehavior| format!("{:?}/{:?}", nat.mapping, nat.filtering);
                let (ours, theirs) = (side(&ours), side(&theirs));
                let words = if found { "connect" } else { "do not connect" };
                differing
                    .push(format!("Glare behind {ours}, {program} behind {theirs}, {later} answers: they {words}"));
            }
        }
    }
    Some(differing)
}

/// Ignored by default because it takes minutes.
#[test]
#[ignore = "takes minutes"]
fn aiortc_and_werift_connect_behind_the_nats_that_let_them() {
    for program in ["pia", "wim"] {
        let Some(differing) = differences_behind_nats(program) else { return };
        assert_eq!(differing, Vec::<String>::new());
    }
}

/// Ignored by default because it takes minutes.
#[test]
#[ignore = "takes minutes"]
fn double_runs_of_client_programs_are_equal_on_a_busy_machine() {
    let (Some(three), Some(two)) = (three(|_| {}), two_on_aiortc()) else { return };
    let _busy = Busy::start();
    let different: Vec<_> = [two, three].iter().flat_map(double_runs).collect();
    assert!(different.is_empty(), "{different:#?}");
}

/// The wire and the reports agree: what a program says is what its packets showed.
#[test]
fn the_wire_shows_what_the_programs_do() {
    let Some(scenario) = three(|scenario| scenario.steps.clear()) else { return };
    let outcome = run(&scenario, 1).unwrap_or_else(|crash| panic!("{}", crash.message));
    assert_eq!(violations(&outcome), []);
    let record = &outcome.record;
    for name in ["wim", "pia"] {
        let of = |is_it: &dyn Fn(&What) -> bool| {
            let is_it = |event: &&sim::event::Event| **record.name(event.node) == *name && is_it(&event.what);
            record.events.iter().filter(is_it).count()
        };
        let peer = |is_it: fn(&PeerChange) -> bool| {
            of(&|what| matches!(what, What::Peer(PeerEvent { change, .. }) if is_it(change)))
        };
        let received = |is_it: fn(&Message) -> bool| {
            of(&|what| matches!(what, What::Signaling(Signaling::Received(message)) if is_it(message)))
        };
        assert_eq!(received(|message| matches!(message, Message::Joined { .. })), 1, "{name}");
        assert_eq!(peer(|change| matches!(change, PeerChange::Selected { .. })), 2, "{name}");
        assert_eq!(peer(|change| matches!(change, PeerChange::Flows { .. })), 4, "{name}");
        assert_eq!(peer(|change| matches!(change, PeerChange::ChannelOpen)), 2, "{name}");
        assert_eq!(peer(|change| matches!(change, PeerChange::ChannelReceived { .. })), 2, "{name}");
    }
}

/// A program that keeps its answers to itself is found out by the wire, without a report.
#[test]
fn a_peer_that_does_not_answer_is_accused() {
    let Some(folder) = peers() else { return };
    let answers = "await self.describe(await self.connection.createAnswer())";
    let text = include_str!("../peers/mesh.py");
    assert!(text.contains(answers));
    fs::write(folder.join("mute.py"), text.replace(answers, "pass")).expect("the folder is ours");
    let mute = three(|scenario| {
        scenario.steps.clear();
        let pia = scenario.actors.iter_mut().find(|actor| actor.name == "pia").expect("it is there");
        pia.program.as_mut().expect("a program").run[1] = "mute.py".to_owned();
    });
    let outcome = run(&mute.expect("it is installed"), 1).unwrap_or_else(|crash| panic!("{}", crash.message));
    let found = violations(&outcome);
    for pair in ["wim (id ", "gus (id "] {
        let is_it = |(oracle, message): &(&str, &str)| *oracle == "everyone-connected" && message.contains(pair);
        assert!(found.iter().any(is_it), "{found:?}");
    }
    assert!(found.iter().all(|(_, message)| message.contains("pia")), "{found:?}");
}

/// The signaling connection breaks: a program sees a reset, and joins again as it likes.
#[test]
fn a_dropped_connection_is_seen_by_both_sides() {
    let Some(scenario) = three(|_| {}) else { return };
    let outcome = run(&scenario, 1).unwrap_or_else(|crash| panic!("{}", crash.message));
    let record = &outcome.record;
    let dropped = record.events.iter().position(|event| event.what == What::Fault(Fault::SignalingDropped));
    let after = &record.events[dropped.expect("a step does it")..];
    let is_back = |event: &&sim::event::Event| {
        **record.name(event.node) == *"pia" && matches!(event.what, What::Signaling(Signaling::Connected))
    };
    assert_eq!(after.iter().filter(is_back).count(), 1);
}
