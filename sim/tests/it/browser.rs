//! Actors in tabs of a real browser, alone and among Glare's own clients, on every protocol.
//!
//! Without Chromium the tests are skipped, with a message that says how to install it; on CI that is a failure. Time is real
//! here. One test at a time has tabs, because a machine that has too much to do makes browsers late.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sim::event::{DtlsState, Event, PeerChange, PeerEvent, TrackKind, What};
use sim::live::{Browser, Script, run};
use sim::run::{Outcome, check_program};

use crate::live::{Background, broken, report, scenario, target};
use crate::mini::Defect;

/// Three meet; ICE restarts, a new offer, a hang-up, texts.
const MESH: &str = r#"
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
    do = "ice-restart"
    actor = "ben"
    with = "ana"
    [[step]]
    at = "4500ms"
    do = "offer"
    actor = "ben"
    with = "cam"
    [[step]]
    at = "6s"
    do = "hangup"
    actor = "cam"
    with = "ana"
    [[step]]
    at = "14s"
    do = "say"
    actor = ["ana", "ben", "cam"]
    text = "still here"
"#;

#[test]
#[ignore = "takes minutes of real time, and a machine with little else to do"]
fn tabs_and_own_clients_meet_in_every_mix() {
    let Some(tabs) = Tabs::take() else { return };
    let scenario = scenario(MESH);
    for chosen in [&["ben"][..], &["ana", "cam"], &["ana", "ben", "cam"]] {
        let server = Background::reference(scenario.server.heartbeat);
        let outcome = tabs.play(&scenario, "mesh", &server.url("mesh"), chosen);
        assert!(outcome.passed(), "{chosen:?}\n{}", report(&outcome));
        // Every text reached both others, whatever stack each of them has.
        let texts = |name: &str| changes(&outcome, name).filter(|change| is_text(change, "still here")).count();
        assert_eq!(["ana", "ben", "cam"].map(texts), [2, 2, 2], "{chosen:?}\n{}", report(&outcome));
        let is_restart = |change: &&PeerChange| matches!(change, PeerChange::IceRestart);
        assert!(changes(&outcome, "ben").any(|change| is_restart(&change)), "{}", report(&outcome));
        // Tracks are between browsers only, and each that was agreed on arrives.
        for name in ["ana", "ben", "cam"] {
            let counterparts = chosen.len().saturating_sub(1) * usize::from(chosen.contains(&name));
            let played: BTreeSet<TrackKind> = changes(&outcome, name).filter_map(plays).collect();
            assert_eq!(played.len(), if counterparts > 0 { 2 } else { 0 }, "{name}\n{}", report(&outcome));
        }
    }
}

#[test]
#[ignore = "takes minutes of real time, and a machine with little else to do"]
fn two_tabs_speak_every_dialect() {
    let Some(tabs) = Tabs::take() else { return };
    for (protocol, name) in [
        ("sender-viewer", "viewer-first"),
        ("relay", "relay-two"),
        ("call", "call-reject"),
        ("call-socketio", "media-toggle"),
        ("broadcast", "broadcast-two"),
    ] {
        let scenario = scenarios::load(name).expect("it is shipped");
        let server = Background::reference(scenario.server.heartbeat);
        let everybody: Vec<&str> = scenario.actors.iter().map(|actor| actor.name.as_str()).collect();
        // Whether two offers cross on a busy machine is left to chance.
        let mut tries = (0..3).map(|_| tabs.play(&scenario, protocol, &server.url(protocol), &everybody));
        let missed = |outcome: &Outcome| broken(outcome) == ["expected-probes"].into();
        let outcome = tries.find(|outcome| !missed(outcome)).expect("what it aims at occurs");
        assert!(outcome.passed(), "{protocol}\n{}", report(&outcome));
        let open = |change: &PeerChange| matches!(change, PeerChange::Dtls { state: DtlsState::Connected });
        let connected = everybody.iter().filter(|name| changes(&outcome, name).any(open)).count();
        assert!(connected >= 2, "{protocol}\n{}", report(&outcome));
    }
}

#[test]
fn a_tab_is_closed_killed_and_opened_again() {
    let Some(tabs) = Tabs::take() else { return };
    let scenario = scenario(
        r#"
        duration = "22s"
        [server]
        heartbeat = "2s"
        [[actor]]
        name = "ana"
        [[actor]]
        name = "ben"
        joins = "100ms"
        # A page is loaded again: it joins before the old connection is closed.
        [[step]]
        at = "3s"
        do = "leave"
        actor = "ben"
        [[step]]
        at = "3001ms"
        do = "join"
        actor = "ben"
        [[step]]
        at = "7s"
        do = "power-loss"
        machine = "ben"
        [[step]]
        at = "9s"
        do = "boot"
        machine = "ben"
        [[step]]
        at = "20s"
        do = "say"
        actor = "ana"
        text = "welcome back"
        [expect]
        probes = ["power-lost"]
        "#,
    );
    let server = Background::reference(scenario.server.heartbeat);
    let outcome = tabs.play(&scenario, "mesh", &server.url("mesh"), &["ana", "ben"]);
    assert!(outcome.passed(), "{}", report(&outcome));
    assert!(changes(&outcome, "ben").any(|change| is_text(change, "welcome back")), "{}", report(&outcome));
    // A tab without power closes nothing: after the loss, the other side hears nothing of DTLS until the new tab is there.
    let [lost, back] = [7, 9].map(Duration::from_secs);
    let closed = |event: &Event| {
        let change = of(&outcome, event, "ana");
        matches!(change, Some(PeerChange::Dtls { state: DtlsState::Closed })) && (lost..back).contains(&event.at)
    };
    assert!(!outcome.record.events.iter().any(closed), "{}", report(&outcome));
}

#[test]
fn a_broken_server_is_accused_and_the_browser_is_not() {
    let Some(tabs) = Tabs::take() else { return };
    let scenario = scenario(
        r#"
        duration = "14s"
        [server]
        heartbeat = "1s"
        [[actor]]
        name = "ana"
        [[actor]]
        name = "ben"
        joins = "100ms"
        "#,
    );
    // The promise that is broken first. Others may be broken as a consequence.
    for (defect, oracle) in [
        (None, None),
        (Some(Defect::EchoToSender), Some("no-echo-to-sender")),
        (Some(Defect::PayloadReserialised), Some("payload-byte-exact")),
        (Some(Defect::SignalsNowhere), Some("everyone-connected")),
    ] {
        let server = Background::mini(defect);
        let outcome = tabs.play(&scenario, "mesh", &server.url("mesh"), &["ana", "ben"]);
        let first = outcome.violations.first().map(|violation| violation.oracle);
        assert_eq!(first, oracle, "{defect:?}\n{}", report(&outcome));
    }
}

#[test]
fn a_browser_that_ends_is_no_verdict_about_the_server() {
    let Some(_alone) = Tabs::take() else { return };
    let browser = Browser::start("chromium").expect("it has been started before");
    let scenario = scenario("duration = '9s'\n[[actor]]\nname = 'ana'\n[[actor]]\nname = 'ben'\njoins = '4s'\n");
    let server = Background::reference(scenario.server.heartbeat);
    let target = target("mesh", &server.url("mesh"), scenario.server.heartbeat);
    let mut script = Script::of(&scenario, &target.protocol, 7).expect("it can be played");
    script.run_in_chromium(|_| true);
    script.browser = Some(browser.clone());
    let profile = browser.profile().to_owned();
    let played = std::thread::scope(|scope| {
        let playing = scope.spawn(|| run(&script, &target, 7));
        #[allow(clippy::disallowed_methods)] // a real browser, outside of every simulation
        std::thread::sleep(Duration::from_secs(3));
        let of_profile = |pid: &str| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).into_owned();
            words.contains(&*profile.to_string_lossy()) && !words.contains("--type=") && !words.starts_with("sh\0")
        };
        let main = processes().into_iter().find(|pid| of_profile(pid)).expect("it runs");
        let socket = std::fs::read_link(profile.join("SingletonSocket")).expect("it has one");
        assert!(socket.starts_with(&profile), "it would be left behind: {}", socket.display());
        assert!(std::process::Command::new("kill").args(["-KILL", &main]).status().is_ok_and(|done| done.success()));
        playing.join().expect("no panic")
    });
    let crash = played.expect_err("a run without its browser says nothing");
    assert!(crash.message.contains("the browser has ended"), "{crash:?}");
    drop((script, browser));
    assert!(!profile.exists(), "its profile is removed");
    assert_eq!(mentions(&profile), Vec::<String>::new(), "nothing of it is left");
}

#[test]
fn a_browser_that_is_not_there_is_an_error_that_says_what_to_do() {
    let missing = Browser::start("/nowhere/chromium").expect_err("there is none").to_string();
    assert_eq!(
        missing,
        "there is no program /nowhere/chromium: give the path of Chromium or Chrome, or `chromium` for the one that is installed"
    );
    let ended = Browser::start("/bin/false").expect_err("it is no browser").to_string();
    assert!(ended.starts_with("Chromium ended at once"), "{ended}");
    // Its error output is part of the message.
    let ended = Browser::start("/bin/ls").expect_err("it is no browser").to_string();
    assert!(ended.contains("ls"), "{ended}");
}

#[test]
fn a_browser_cannot_be_simulated_and_the_error_says_where_it_can_run() {
    let one = scenario("duration = '5s'\n[[actor]]\nname = 'ana'\nruns = 'chromium'\n[[actor]]\nname = 'ben'\n");
    let why = check_program(&one).expect_err("it cannot be simulated");
    assert!(
        why.starts_with("`ana` has `runs`, but a browser cannot be simulated: play the scenario on the wire"),
        "{why}"
    );
    let crash = sim::run::run(&one.clone().into(), 1).expect_err("it is not played in another way");
    assert_eq!(crash.message, why);
    let spaces = sim::live::netns::Script::of(&one.into()).expect_err("nor in namespaces").to_string();
    assert!(spaces.contains("`runs`"), "{spaces}");
    let without = scenario("duration = '5s'\n[[actor]]\nname = 'ana'\nruns = 'chromium'\n[[actor]]\nname = 'ben'\n");
    let server = Background::reference(Duration::from_secs(20));
    let target = target("mesh", &server.url("mesh"), Duration::from_secs(20));
    let script = Script::of(&without, &target.protocol, 7).expect("it can be played");
    assert_eq!(script.in_browser().map(|actor| actor.name.as_str()).collect::<Vec<_>>(), ["ana"]);
    let crash = run(&script, &target, 7).expect_err("no browser was given");
    assert!(crash.message.contains("no browser was started"), "{crash:?}");
}

/// The browser, for one test at a time.
struct Tabs {
    browser: Browser,
    _alone: MutexGuard<'static, ()>,
}

impl Tabs {
    /// `None` if there is no browser: then the test is skipped.
    fn take() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        match Browser::start("chromium") {
            Ok(browser) => Some(Self { browser, _alone: alone }),
            Err(why) => {
                eprintln!("SKIPPED: {why}");
                assert!(std::env::var_os("CI").is_none(), "CI plays scenarios in a browser: it needs Chromium");
                None
            }
        }
    }

    /// Plays a scenario with these actors in tabs.
    fn play(&self, scenario: &scenarios::Scenario, protocol: &str, url: &str, chosen: &[&str]) -> Outcome {
        let target = target(protocol, url, scenario.server.heartbeat);
        let mut script = Script::of(scenario, &target.protocol, 7).expect("it can be played");
        script.run_in_chromium(|name| chosen.contains(&name));
        script.browser = Some(self.browser.clone());
        run(&script, &target, 7).expect("no crash")
    }
}

/// What happened to the connections of a client.
fn changes<'o>(outcome: &'o Outcome, name: &str) -> impl Iterator<Item = &'o PeerChange> {
    let name = name.to_owned();
    outcome.record.events.iter().filter_map(move |event| of(outcome, event, &name))
}

fn of<'o>(outcome: &'o Outcome, event: &'o Event, name: &str) -> Option<&'o PeerChange> {
    match &event.what {
        What::Peer(PeerEvent { change, .. }) if &**outcome.record.name(event.node) == name => Some(change),
        _ => None,
    }
}

fn is_text(change: &PeerChange, wanted: &str) -> bool {
    matches!(change, PeerChange::ChannelReceived { text } if **text == *wanted)
}

fn plays(change: &PeerChange) -> Option<TrackKind> {
    match change {
        PeerChange::Plays { kind } => Some(*kind),
        _ => None,
    }
}

/// The ids of all processes.
fn processes() -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("Linux has it").flatten();
    all.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.parse::<u32>().is_ok()).collect()
}

/// The processes that were started with this profile, by their ids.
fn mentions(profile: &Path) -> Vec<String> {
    let words = |pid: &String| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let profile = profile.to_string_lossy().into_owned();
    let all: BTreeMap<_, _> = processes().into_iter().map(|pid| (words(&pid), pid)).collect();
    all.into_iter().filter(|(words, _)| String::from_utf8_lossy(words).contains(&profile)).map(|(_, pid)| pid).collect()
}
