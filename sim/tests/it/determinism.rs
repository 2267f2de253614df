//! The same seed gives the same hash: in one process, on many threads, and in another process.

use std::collections::BTreeSet;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use scenarios::Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
use scenarios::{
    Action, ActorIndex, Command, FilterState, Jitter, Link, Machine, MachineAction, NatBehavior, NatReboot,
    NetworkAction, NetworkIndex, OneWay, PortAllocation, Scenario, Stack, WorldAction,
};
use sim::hash::{event_hash, story_hash};

use crate::nat;
use crate::played::{scenario, way};

/// Set in the child process that a test starts: the seed whose hash the child prints.
const CHILD: &str = "GLARE_TEST_PRINT_HASH_OF_SEED";
/// The same: the scenario that the child plays first.
const FIRST: &str = "GLARE_TEST_PLAY_FIRST";

#[test]
fn one_seed_has_one_hash_and_another_seed_another() {
    let scenario = eventful();
    let once = [1, 2, 3, 4].map(|seed| hash(&scenario, seed));
    let twice = [4, 3, 2, 1].map(|seed| hash(&scenario, seed));
    assert_eq!(once.iter().collect::<Vec<_>>(), twice.iter().rev().collect::<Vec<_>>());
    for (place, one) in once.iter().enumerate() {
        assert!(!once[..place].contains(one), "{once:?}");
    }
}

#[test]
fn a_hash_is_the_same_on_four_threads_at_once() {
    let scenario = eventful();
    let alone = hash(&scenario, 7);
    let together = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| hash(&scenario, 7))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(together, vec![alone; 4]);
}

/// Runs alone and runs side by side give the same hash, because threads share no random state.
#[test]
fn every_shipped_scenario_has_one_hash_on_any_thread() {
    let scenarios: Vec<_> =
        scenarios::shipped().filter(|shipped| !shipped.is_slow()).map(|shipped| shipped.name).collect();
    let play = |name: &&str| hash(&Arc::new(scenarios::load(name).expect("it is shipped")), 5);
    let alone: Vec<_> = scenarios.iter().map(play).collect();
    let together = std::thread::scope(|scope| {
        let threads: Vec<_> = scenarios.iter().map(|name| scope.spawn(move || play(name))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(alone, together, "{scenarios:?}");
}

/// A sweep is of use only if its seeds test different things.
#[test]
fn no_two_seeds_give_a_shipped_scenario_the_same_story() {
    for shipped in scenarios::shipped().filter(|shipped| !shipped.is_slow()) {
        let scenario = Arc::new(scenarios::load(shipped.name).expect("it is shipped"));
        let story = |seed| story_hash(&sim::run::record(&scenario, seed).expect("no crash"));
        let stories: BTreeSet<_> = (1..=4).map(story).collect();
        assert_eq!(stories.len(), 4, "{}", shipped.name);
    }
}

#[test]
fn a_story_without_jitter_is_one_for_all_seeds() {
    let scenario = Arc::new(
        scenario(10)
            .home(nat::behavior(EndpointIndependent, AddressDependent, FilterState::PerMapping))
            .peer(0)
            .peer(None)
            .build(),
    );
    let record = |seed| sim::run::record(&scenario, seed).expect("no crash");
    let (one, other) = (record(1), record(2));
    assert_ne!(event_hash(&one), event_hash(&other));
    assert_eq!(story_hash(&one), story_hash(&other));
}

#[test]
fn a_hash_is_the_same_in_another_process() {
    if let Ok(seed) = std::env::var(CHILD) {
        println!("hash={}", hash(&eventful(), seed.parse().expect("the parent sends a seed")));
        return;
    }
    let here = [8, 9].map(|seed| hash(&eventful(), seed));
    let there = [8, 9].map(|seed: u64| {
        let child = process::Command::new(std::env::current_exe().expect("a test has a binary"))
            .args(["--exact", "determinism::a_hash_is_the_same_in_another_process", "--nocapture"])
            .env(CHILD, seed.to_string())
            .output()
            .expect("a test binary can be started");
        let text = String::from_utf8_lossy(&child.stdout).into_owned();
        let (_, rest) = text.split_once("hash=").unwrap_or_else(|| panic!("no hash in {text}"));
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    });
    assert_eq!(here, there);
}

/// What libraries make once per process shifts the keys of hash maps in the run in which it is made. The parent has played
/// the scenario before, so only the child could be different.
#[test]
fn the_first_run_in_a_process_is_as_any_other() {
    if let Ok(name) = std::env::var(FIRST) {
        println!("first={}", keys_and_hash(&name));
        return;
    }
    let names = scenarios::shipped().filter(|shipped| !shipped.is_slow()).map(|shipped| shipped.name);
    for name in names.chain(["mesh-3 with str0m"]) {
        let child = process::Command::new(std::env::current_exe().expect("a test has a binary"))
            .args(["--exact", "determinism::the_first_run_in_a_process_is_as_any_other", "--nocapture"])
            .env(FIRST, name)
            .output()
            .expect("a test binary can be started");
        let text = String::from_utf8_lossy(&child.stdout).into_owned();
        let (_, rest) = text.split_once("first=").unwrap_or_else(|| panic!("nothing in {text}"));
        let first = rest.split_whitespace().next().unwrap_or_default();
        keys_and_hash(name);
        assert_eq!(first, keys_and_hash(name), "{name}");
    }
}

/// How the hash maps of a run are ordered, and the hash of its events.
fn keys_and_hash(name: &str) -> String {
    let (name, stack) = name.split_once(" with ").unwrap_or((name, ""));
    let mut scenario = scenarios::load(name).expect("it is shipped");
    if stack == "str0m" {
        scenario.set_stacks(&[Stack::Str0m]);
    }
    let scenario = Arc::new(scenario);
    let keys = sim::run::hash_map_keys(&scenario, 5).expect("no crash");
    format!("{keys:016x}-{}", hash(&scenario, 5))
}

/// The server's tasks all wait for the shutdown, and a client starts at the same instant. The order in which the tasks
/// wake affects the events.
#[test]
fn a_graceful_shutdown_wakes_tasks_in_the_same_order_each_time() {
    let built = scenario(12).peer(None).with(|actor| (actor.joins, actor.webrtc) = (None, false));
    let shutdown = Duration::from_secs(8);
    let built = built.at(shutdown, Action::World(WorldAction::Shutdown)).at(shutdown, Action::Join(ActorIndex(0)));
    let scenario = Arc::new(built.build());
    let first = hash(&scenario, 1);
    for run in 0..50 {
        assert_eq!(hash(&scenario, 1), first, "run {run}");
    }
}

/// The hash covers every field of a record.
#[test]
fn whatever_differs_in_a_record_differs_in_its_hash() {
    let record = sim::run::record(&eventful(), 1).expect("no crash");
    let hash = event_hash(&record);
    for place in (0..record.events.len()).step_by(97) {
        let mut other = record.clone();
        other.events[place].at += Duration::from_nanos(1);
        assert_ne!(event_hash(&other), hash, "the time of event {place}");
        let mut other = record.clone();
        other.events.remove(place);
        assert_ne!(event_hash(&other), hash, "without event {place}");
    }
    let mut other = record.clone();
    other.nodes[1].name = "somebody else".into();
    assert_ne!(event_hash(&other), hash, "a name");
}

fn hash(scenario: &Arc<Scenario>, seed: u64) -> String {
    event_hash(&sim::run::record(scenario, seed).expect("no crash")).to_string()
}

/// A scenario with everything that draws random numbers: loss, jitter, duplication, reordering, random ports, DTLS,
/// ids, and all faults.
fn eventful() -> Arc<Scenario> {
    let random = |mapping, filtering| NatBehavior {
        port_allocation: PortAllocation::Random,
        ..nat::behavior(mapping, filtering, FilterState::PerEndpoint)
    };
    let reboot = NatReboot { resets_tcp: true, new_address: Some([198, 51, 100, 77].into()) };
    let machine = |actor| Machine::Actor(ActorIndex(actor));
    let command = |actor, command| Action::Actor(ActorIndex(actor), command);
    let mut builder = scenario(30)
        .home(random(EndpointIndependent, AddressAndPortDependent))
        .home(random(AddressDependent, AddressDependent))
        .home(random(AddressAndPortDependent, EndpointIndependent))
        .peer(0)
        .peer(1)
        .peer(2)
        .peer(None)
        .at(Duration::from_secs(3), command(0, Command::Say("to all".to_owned())))
        .at(Duration::from_secs(4), Action::Network(NetworkIndex(0), NetworkAction::Reboot(reboot)))
        .at(Duration::from_secs(6), command(1, Command::Drop))
        .at(Duration::from_secs(8), command(1, Command::IceRestart(ActorIndex(2))))
        .at(Duration::from_secs(10), Action::Machine(machine(2), MachineAction::PowerLoss))
        .at(Duration::from_secs(12), Action::Machine(machine(2), MachineAction::Boot))
        .at(
            Duration::from_secs(14),
            Action::World(WorldAction::Partition { from: vec![machine(3)], to: vec![Machine::Server], one_way: false }),
        )
        .at(Duration::from_secs(17), Action::World(WorldAction::Heal))
        .at(Duration::from_secs(18), Action::Machine(Machine::Server, MachineAction::PowerLoss))
        .at(Duration::from_secs(20), Action::Machine(Machine::Server, MachineAction::Boot))
        .at(Duration::from_secs(24), command(0, Command::Hangup(ActorIndex(3))));
    builder.scenario.server.heartbeat = Duration::from_secs(3);
    for actor in &mut builder.scenario.actors {
        let (loss_ppm, duplicate_ppm, reorder_ppm) = (20_000, 20_000, 20_000);
        let jitter = Jitter::Uniform { max: Duration::from_millis(9) };
        actor.link = Link::both(OneWay { jitter, loss_ppm, duplicate_ppm, reorder_ppm, ..way(9) });
    }
    Arc::new(builder.build())
}
