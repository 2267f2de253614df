//! Scenarios on real sockets: the reference server keeps every promise, and deliberate defects are detected.
//!
//! Time is real here, so all scenarios run at the same time, within one test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use server::net::Tokio;
use server::socketio::SocketIoSettings;
use server::{Config, Heartbeat, Listen, Server};
use sim::event::{Event, Fault, Frame, Message, PacketEvent, Signaling, What};
use sim::live::{Endpoint, Protocol, Script, Target, Upstream, run};
use sim::run::Outcome;
use sim::timeline::Timeline;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::mini::{self, Behaviour, Defect};

/// Scenarios up to this length run with every test run.
const SHORT: Duration = Duration::from_secs(30);

#[test]
fn scenarios_on_the_wire() {
    let parts: [(&str, fn()); 6] = [
        ("short scenarios pass on the reference server", short_scenarios_pass_on_the_reference_server),
        ("what befalls connections is survived", what_befalls_connections_is_played_and_survived),
        ("a dead machine is noticed", a_server_that_never_notices_a_dead_machine_keeps_a_ghost),
        ("broken servers are found out", broken_servers_are_found_out),
        ("a server that closes is reported", a_server_that_closes_is_reported),
        ("a flood is a finding and ends", a_flood_is_a_finding_and_ends),
    ];
    std::thread::scope(|scope| {
        for (name, part) in parts {
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.spawn_scoped(scope, part).expect("the system has room for a thread");
        }
    });
}

fn short_scenarios_pass_on_the_reference_server() {
    let parts = shipped(|duration| duration <= SHORT);
    assert!(parts.len() >= 9, "only {} scenarios are short", parts.len());
    passes(&parts);
}

/// `cargo test -p sim --test it -- --ignored long_scenarios`
#[test]
#[ignore = "takes 80 seconds of real time"]
fn long_scenarios_pass_on_the_reference_server() {
    passes(&shipped(|duration| duration > SHORT));
}

fn what_befalls_connections_is_played_and_survived() {
    let faulty = [
        (
            "mesh",
            r#"
            duration = "16s"
            [server]
            heartbeat = "1s"
            [[actor]]
            name = "ana"
            [[actor]]
            name = "ben"
            joins = "100ms"
            [[actor]]
            name = "cam"
            joins = "200ms"
            [[step]]
            at = "3s"
            do = "drop"
            actor = "ana"
            [[step]]
            at = "5s"
            do = "partition"
            from = "ben"
            to = "server"
            [[step]]
            at = "6s"
            do = "heal"
            [[step]]
            at = "7s"
            do = "link"
            machine = "cam"
            link = { latency = "80ms", jitter = "20ms" }
            [expect]
            probes = ["reconnected"]
            "#,
        ),
        (
            "sender-viewer",
            r#"
            duration = "18s"
            [server]
            heartbeat = "4s"
            [[actor]]
            name = "ana"
            plays = "sender"
            [[actor]]
            name = "ben"
            plays = "viewer"
            joins = "500ms"
            [[step]]
            at = "1500ms"
            do = "power-loss"
            machine = "ana"
            [[step]]
            at = "1700ms"
            do = "boot"
            machine = "ana"
            [expect]
            probes = ["power-lost", "ghost-holds-role"]
            "#,
        ),
        (
            "broadcast",
            r#"
            duration = "20s"
            [server]
            heartbeat = "1s"
            [[actor]]
            name = "ana"
            plays = "broadcast"
            [[actor]]
            name = "ben"
            plays = "broadcast"
            joins = "200ms"
            [[step]]
            at = "1s"
            do = "offer"
            actor = "ana"
            with = "ben"
            "#,
        ),
        // A page is loaded again: it joins before the old connection is closed.
        (
            "mesh",
            r#"
            duration = "14s"
            [[actor]]
            name = "ana"
            [[actor]]
            name = "ben"
            joins = "100ms"
            link = { latency = "100ms" }
            [[step]]
            at = "4s"
            do = "leave"
            actor = "ben"
            [[step]]
            at = "4001ms"
            do = "join"
            actor = "ben"
            "#,
        ),
    ];
    let parts = faulty.map(|(protocol, text)| (protocol, scenario(text)));
    let [mesh, sender_viewer, _, reloaded] = &passes(&parts)[..] else { unreachable!("as many as there are parts") };
    let joined = |event: &&Event| {
        let is_answer = matches!(event.what, What::Signaling(Signaling::Received(Message::Joined { .. })));
        &**reloaded.record.name(event.node) == "ben" && is_answer
    };
    assert_eq!(reloaded.record.events.iter().filter(joined).count(), 2, "{}", report(reloaded));
    // The partition held back packets in both directions, and only while it lasted. Packets sent after it did not
    // overtake those that it held.
    let cut = when(mesh, |what| matches!(what, What::Fault(Fault::Partition { .. })));
    let healed = when(mesh, |what| matches!(what, What::Fault(Fault::Heal)));
    let passed = packets(mesh, "ben");
    let held: Vec<_> = passed.iter().filter(|(sent, _)| (cut..healed).contains(sent)).collect();
    let next = passed.iter().filter(|(sent, _)| *sent >= healed).map(|(_, came)| *came).min().expect("pings go on");
    assert!(!held.is_empty() && held.iter().all(|(_, came)| (healed..=next).contains(came)), "{held:?}, next {next:?}");
    // The link became slower: 80 ms to the internet, and from there to the server.
    let slower = when(mesh, |what| matches!(what, What::Fault(Fault::Link)));
    let slow = |(sent, came): &(Duration, Duration)| *came - *sent >= Duration::from_millis(80);
    let passed = packets(mesh, "cam");
    let (before, after): (Vec<_>, Vec<_>) = passed.iter().partition(|(sent, _)| *sent < slower);
    // This machine may be busy, but not for every single packet.
    assert!(!before.into_iter().all(slow));
    assert!(!after.is_empty() && after.iter().copied().all(slow), "{after:?}");
    // The machine that came back answers the first ping with a reset. If the server had noticed by missed pongs, the
    // partner would have received two pings first.
    let left = |what: &What| matches!(what, What::Signaling(Signaling::Received(Message::PartnerLeft { .. })));
    let ping = |what: &What| matches!(what, What::Signaling(Signaling::FrameReceived(Frame::Ping)));
    let until = sender_viewer.record.events.iter().position(|event| left(&event.what));
    let until = until.unwrap_or_else(|| panic!("{}", report(sender_viewer)));
    let pings = sender_viewer.record.events[..until].iter().filter(|event| ping(&event.what)).count();
    assert!(pings <= 1, "{pings} pings\n{}", report(sender_viewer));
}

/// When an event first happened.
fn when(outcome: &Outcome, is_meant: impl Fn(&What) -> bool) -> Duration {
    let event = outcome.record.events.iter().find(|event| is_meant(&event.what));
    event.unwrap_or_else(|| panic!("{}", report(outcome))).at
}

fn a_flood_is_a_finding_and_ends() {
    let two = "duration = \"4s\"\n[[actor]]\nname = \"ana\"\n[[actor]]\nname = \"ben\"\njoins = \"1s\"";
    let server = Background::mini(Some(Defect::FloodsAfterJoin));
    let outcome = play(&scenario(two), "mesh", &server.url("mesh"));
    assert!(!outcome.passed());
}

/// For each piece of data to or from a client: when it was sent and when it arrived.
fn packets(outcome: &Outcome, client: &str) -> Vec<(Duration, Duration)> {
    let record = &outcome.record;
    let of_client = |node| &**record.name(node) == client;
    let mut sent = BTreeMap::new();
    let mut passed = Vec::new();
    for event in &record.events {
        match event.what {
            What::Packet(PacketEvent::Sent(view)) => {
                sent.insert(view.packet, (event.at, of_client(event.node)));
            }
            What::Packet(PacketEvent::Delivered(view)) => {
                let (at, from_client) = sent[&view.packet];
                passed.extend((from_client || of_client(event.node)).then_some((at, event.at)));
            }
            _ => {}
        }
    }
    passed
}

fn a_server_that_closes_is_reported() {
    let two = "duration = \"4s\"\n[[actor]]\nname = \"ana\"\n[[actor]]\nname = \"ben\"";
    let server = Background::start(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("port 0 is free");
        let address = listener.local_addr().expect("it listens");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut socket = tokio_tungstenite::accept_async(stream).await.expect("our clients shake hands");
                let frame = CloseFrame { code: CloseCode::Again, reason: "full".into() };
                let _ = socket.close(Some(frame)).await;
            }
        });
        vec![("mesh", format!("ws://{address}/"))]
    });
    let outcome = play(&scenario(two), "mesh", &server.url("mesh"));
    assert_eq!(broken(&outcome), ["signaling-kept"].into(), "{}", report(&outcome));
    let says = "ana lost its signaling connection: the server closed with 1013: full";
    assert!(outcome.violations.iter().any(|violation| violation.message == says), "{}", report(&outcome));
}

/// A machine that loses power leaves its connection open. When the server notices, the others are notified.
fn a_server_that_never_notices_a_dead_machine_keeps_a_ghost() {
    let scenario = scenario(
        r#"
        duration = "16s"
        [server]
        heartbeat = "1s"
        [[actor]]
        name = "ana"
        webrtc = false
        [[actor]]
        name = "ben"
        webrtc = false
        joins = "100ms"
        [[step]]
        at = "2s"
        do = "power-loss"
        machine = "ben"
        "#,
    );
    let noticing = Background::reference(scenario.server.heartbeat);
    let outcome = play(&scenario, "mesh", &noticing.url("mesh"));
    assert!(outcome.passed(), "{}", report(&outcome));
    // The small server has no heartbeat.
    let sleeping = Background::mini(None);
    let outcome = play(&scenario, "mesh", &sleeping.url("mesh"));
    assert_eq!(broken(&outcome), ["ghosts-purged"].into(), "{}", report(&outcome));
    assert!(outcome.violations[0].message.contains("no client was notified that ben"), "{}", report(&outcome));
}

fn broken_servers_are_found_out() {
    let scenario = &scenario(
        r#"
        duration = "14s"
        [server]
        heartbeat = "1s"
        [[actor]]
        name = "ana"
        [[actor]]
        name = "ben"
        joins = "100ms"
        [[actor]]
        name = "cam"
        joins = "200ms"
        [[step]]
        at = "3s"
        do = "drop"
        actor = "cam"
        "#,
    );
    // The promise that is broken first. Others may be broken as a consequence.
    let defects = [
        (None, None),
        (Some(Defect::EchoToSender), Some("no-echo-to-sender")),
        (Some(Defect::TargetedMessageToAll), Some("at-most-once")),
        (Some(Defect::PayloadReserialised), Some("payload-byte-exact")),
        (Some(Defect::LeftToldTwice), Some("one-leave-notice")),
        (Some(Defect::RosterWithOneself), Some("roster-matches-model")),
        (Some(Defect::GhostAfterAbruptClose), Some("ghosts-purged")),
        (Some(Defect::SignalsNowhere), Some("everyone-connected")),
        (Some(Defect::GarbageForJoined), Some("rosters-converge")),
    ];
    std::thread::scope(|scope| {
        for (defect, oracle) in defects {
            scope.spawn(move || {
                let server = Background::mini(defect);
                let outcome = play(scenario, "mesh", &server.url("mesh"));
                let first = outcome.violations.first().map(|violation| violation.oracle);
                assert_eq!(first, oracle, "{defect:?}\n{}", report(&outcome));
            });
        }
    });
}

#[test]
fn what_only_a_simulator_can_do_is_refused_with_its_place() {
    let refused = |name: &str, protocol: &str| {
        let scenario = scenarios::load(name).expect("it is shipped");
        Script::of(&scenario, &Protocol::load(protocol).expect("a protocol"), 1)
            .expect_err("it cannot be played")
            .to_string()
    };
    for (name, protocol, why) in [
        (
            "reconnect-backoff",
            "sender-viewer",
            "`reconnect-backoff` cannot be played on the wire: line 25, the step at 8 s: `shutdown`: the server at the URL cannot be switched off",
        ),
        ("server-crash-restart", "mesh", "the step at 15 s: `power-loss` of the server"),
        ("nat-reboot-mid-call", "mesh", "the step at 20 s: `nat-reboot` of `ana`: NATs exist only in simulations"),
        ("mesh-6-symmetric-no-turn", "mesh", "lists ana and ben, but only simulations have NATs"),
        ("mesh-6-symmetric", "mesh", "TURN servers exist only in simulations"),
        ("turn-fallback", "mesh", "TURN servers exist only in simulations"),
        ("turn-expiry", "mesh", "TURN servers exist only in simulations"),
        ("mesh-3", "call", "fewer than two of its actors speak this dialect; use --dialect mesh"),
        ("call-across-framings", "call", "its users use two framings"),
    ] {
        let said = refused(name, protocol);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_server_that_is_not_there_is_reported_before_anything_is_played() {
    let nobody =
        target("mesh", "ws://127.0.0.1:9/", Duration::ZERO).reach().expect_err("nobody listens there").to_string();
    assert!(nobody.contains("TCP to 127.0.0.1 port 9: connection refused"), "{nobody}");
    let server = Background::reference(Duration::from_secs(20));
    let elsewhere = server.url("sender-viewer").replace("/ws", "/nowhere");
    let elsewhere =
        target("sender-viewer", &elsewhere, Duration::ZERO).reach().expect_err("nothing is there").to_string();
    assert!(elsewhere.contains("404"), "{elsewhere}");
}

/// The protocols of the reference server that roles speak.
const PROTOCOLS: [&str; 6] = ["sender-viewer", "relay", "mesh", "call", "call-socketio", "broadcast"];

/// Every shipped scenario with a matching length, for each protocol that can run it.
fn shipped(is_meant: fn(Duration) -> bool) -> Vec<(&'static str, scenarios::Scenario)> {
    let all = scenarios::shipped().filter(|shipped| !shipped.is_slow());
    let all = all.map(|shipped| scenarios::load(shipped.name).expect("it is shipped"));
    let meant: Vec<_> = all.filter(|scenario| is_meant(scenario.duration)).collect();
    let with = |protocol: &'static str| {
        let plays = move |scenario: &&scenarios::Scenario| {
            Script::of(scenario, &Protocol::load(protocol).expect("a protocol"), 0).is_ok()
        };
        meant.iter().filter(plays).cloned().map(move |scenario| (protocol, scenario)).collect::<Vec<_>>()
    };
    PROTOCOLS.into_iter().flat_map(with).collect()
}

/// Maximum number of runs of one scenario, until the situation that it aims at occurs.
const TRIES_MAX: usize = 3;

/// Runs all scenarios at the same time, each on its own server, and checks that they pass. On a busy machine two
/// messages that should cross may not. That is not a failure, and the scenario runs again.
fn passes(parts: &[(&'static str, scenarios::Scenario)]) -> Vec<Outcome> {
    std::thread::scope(|scope| {
        let played: Vec<_> = parts
            .iter()
            .map(|(protocol, scenario)| {
                scope.spawn(move || {
                    let server = Background::reference(scenario.server.heartbeat);
                    let mut tries: Vec<Outcome> = Vec::new();
                    let is_missed = |slug| ["expected-probes", "steps-take-effect"].contains(&slug);
                    let missed = |outcome: &Outcome| outcome.violations.iter().all(|one| is_missed(one.oracle));
                    while tries.last().is_none_or(|last| !last.passed() && missed(last) && tries.len() < TRIES_MAX) {
                        tries.push(play(scenario, protocol, &server.url(protocol)));
                    }
                    let last = tries.pop().expect("it was tried");
                    assert!(last.passed(), "{protocol}, try {}\n{}", tries.len() + 1, report(&last));
                    last
                })
            })
            .collect();
        played.into_iter().map(|thread| thread.join().expect("it passed")).collect()
    })
}

fn play(scenario: &scenarios::Scenario, protocol: &str, url: &str) -> Outcome {
    let target = target(protocol, url, scenario.server.heartbeat);
    target.reach().expect("it listens");
    let script = Script::of(scenario, &target.protocol, 7).expect("it can be played");
    run(&script, &target, 7).expect("no crash")
}

pub(crate) fn target(protocol: &str, url: &str, heartbeat: Duration) -> Target {
    let address: SocketAddr = url.split('/').nth(2).and_then(|at| at.parse().ok()).expect("an address");
    Target {
        upstream: Upstream::new(&address.ip().to_string(), address.port()),
        endpoint: Arc::new(Endpoint::of_url(url, Vec::new()).expect("a URL")),
        protocol: Protocol::load(protocol).expect("a protocol"),
        heartbeat,
    }
}

pub(crate) fn scenario(text: &str) -> scenarios::Scenario {
    let named = format!("name = \"built\"\nabout = \"built by a test\"\n{text}");
    scenarios::parse("built.toml", &named).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn broken(outcome: &Outcome) -> BTreeSet<&'static str> {
    outcome.violations.iter().map(|violation| violation.oracle).collect()
}

pub(crate) fn report(outcome: &Outcome) -> String {
    format!("{}\n{:#?}\n{}", outcome.scenario.name, outcome.violations, Timeline::of(&outcome.record))
}

/// A server that runs on its own thread until it is dropped.
pub(crate) struct Background {
    /// Its URLs, by protocol.
    urls: Vec<(&'static str, String)>,
    _stop: oneshot::Sender<()>,
}

impl Background {
    /// The reference server with all dialects. With a short heartbeat it notices ghosts within seconds.
    pub(crate) fn reference(interval: Duration) -> Self {
        Self::start(async move {
            let heartbeat = Heartbeat { interval, ..Heartbeat::default() };
            let socketio =
                SocketIoSettings { ping_interval: interval, ping_timeout: interval, ..SocketIoSettings::default() };
            let listen = Listen::each(PROTOCOLS, |_| (Ipv4Addr::LOCALHOST, 0).into());
            let config = Config { listen, stun: None, heartbeat, socketio, ..Config::default() };
            let server = Server::bind(Tokio, config).await.expect("port 0 is free");
            let urls = PROTOCOLS.into_iter().map(|name| (name, server.url(name).expect("it listens"))).collect();
            tokio::spawn(server.run());
            urls
        })
    }

    /// The small mesh server.
    pub(crate) fn mini(defect: Option<Defect>) -> Self {
        Self::start(async move {
            let address = mini::start(Behaviour { defect, ..Behaviour::default() }).await;
            vec![("mesh", format!("ws://{address}/"))]
        })
    }

    fn start(server: impl Future<Output = Vec<(&'static str, String)>> + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (started, urls) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    started.send(server.await).expect("the test waits for it");
                    let _ = stopped.await;
                });
            })
            .expect("the system has room for a thread");
        Self { urls: urls.recv().expect("it starts"), _stop: stop }
    }

    pub(crate) fn url(&self, protocol: &str) -> String {
        self.urls.iter().find(|(known, _)| *known == protocol).expect("it is served").1.clone()
    }
}
