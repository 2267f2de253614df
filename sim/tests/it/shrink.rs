//! Shrinking failing runs: what is left breaks the same promise, needs everything in it, and depends on no seed.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use scenarios::{Pooling, PortAllocation, Scenario, ServerProgram};
use sim::campaign::shrink::{NoFailure, Shrunk, Status, shrink};

use crate::installed::packages;

/// Shrinks without a limit of time.
fn shrunk(scenario: &Scenario, seed: u64) -> Shrunk {
    let shrunk = shrink(scenario, seed, None, &mut |_| ControlFlow::Continue(()));
    let shrunk = shrunk.unwrap_or_else(|why| panic!("{}: {why:?}", scenario.name));
    println!("{:?}\n{}", shrunk.sizes, shrunk.file("glare sim"));
    assert!(shrunk.finished);
    shrunk
}

fn parsed(text: &str) -> Scenario {
    scenarios::parse("x.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What is expected is possible, unless packets are lost: with some seeds, it fails.
const UNLUCKY: &str = r#"
    name = "unlucky"
    duration = "30s"
    [link]
    loss = "8%"
    jitter = "6ms"
    [[network]]
    name = "home"
    nat = "home-linux"
    [[actor]]
    name = "ana"
    network = "home"
    [[actor]]
    name = "ben"
    nat = "home-median"
    joins = "1s"
    [[actor]]
    name = "cam"
    nat = "cgn-cellular"
    joins = "2s"
    [[step]]
    at = "12s"
    do = "say"
    actor = "cam"
    text = "is anybody there?"
    [[step]]
    at = "15s"
    do = "leave"
    actor = "cam"
    [expect]
    connected = [{ pair = ["ana", "ben"], from = "2s" }]
"#;

/// The draws of chance become the fates of the packets that really had to be lost.
#[test]
fn what_chance_did_becomes_fates_and_the_seed_does_not_matter() {
    let scenario = parsed(UNLUCKY);
    let fails = |seed: &u64| {
        let outcome = sim::run::run(&scenario.clone().into(), *seed).expect("no crash");
        outcome.violations.first().is_some_and(|violation| violation.oracle == "connected-as-expected")
    };
    let seeds: Vec<u64> = (0..40).filter(fails).take(3).collect();
    assert_eq!(seeds.len(), 3);
    for seed in seeds {
        let shrunk = shrunk(&scenario, seed);
        let result = &shrunk.scenario;
        assert_eq!((result.actors.len(), result.steps.len()), (2, 0), "seed {seed}");
        assert!((1..=4).contains(&result.packets.len()), "seed {seed}: {:?}", result.packets);
        assert_eq!(shrunk.needed.len(), result.packets.len(), "seed {seed}: {:?}", shrunk.needed);
        assert_eq!(shrunk.other_seeds, (8, 8), "seed {seed}");
        let read = parsed(&shrunk.file("glare sim"));
        let outcome = sim::run::run(&read.into(), seed + 1000).expect("no crash");
        assert_eq!(
            outcome.violations.iter().map(|violation| violation.oracle).collect::<Vec<_>>(),
            ["connected-as-expected"]
        );
    }
}

#[test]
fn a_result_is_the_same_again_and_a_search_can_be_ended() {
    let scenario = parsed(UNLUCKY);
    let mut seeds = 0..40;
    let fails = |seed: &u64| !sim::run::run(&scenario.clone().into(), *seed).expect("no crash").passed();
    let seed = seeds.find(fails).expect("a seed that fails");
    let [one, other] = [(); 2].map(|()| shrunk(&scenario, seed));
    assert_eq!((&one.scenario, one.played), (&other.scenario, other.played));
    let mut asked = 0;
    let mut watch = |status: Status| {
        asked += 1;
        assert!(status.played >= asked);
        if asked < 10 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let ended = shrink(&scenario, seed, None, &mut watch).expect("it fails");
    assert!(!ended.finished);
    let outcome = sim::run::run(&ended.scenario, seed).expect("no crash");
    assert!(outcome.violations.iter().any(|violation| violation.oracle == ended.failure.oracle));
}

/// The NATs must stay address-dependent. Which ports and addresses they draw does not matter, so they draw none.
#[test]
fn a_result_needs_no_draws_of_its_nats() {
    let scenario = parsed(
        r#"
        name = "apart"
        duration = "40s"
        [[actor]]
        name = "ana"
        nat = "corp-symmetric"
        [[actor]]
        name = "ben"
        nat = "cgn-cellular-symmetric"
        joins = "1s"
        [expect]
        connected = [{ pair = ["ana", "ben"], from = "20s" }]
        "#,
    );
    let shrunk = shrunk(&scenario, 3);
    assert_eq!((shrunk.failure.oracle, shrunk.scenario.networks.len()), ("everyone-connected", 2));
    for network in &shrunk.scenario.networks {
        let nat = network.nat.as_ref().expect("it is behind one");
        let draws = (nat.port_allocation, nat.pooling);
        assert_eq!(draws, (PortAllocation::Sequential, Pooling::Paired), "{}", network.name);
    }
    assert_eq!(shrunk.other_seeds, (8, 8));
}

#[test]
fn there_must_be_something_to_shrink() {
    let mut none = |_| ControlFlow::Continue(());
    let good = scenarios::load("mesh-3").expect("a shipped scenario");
    assert_eq!(shrink(&good, 1, None, &mut none).expect_err("it passes"), NoFailure::Passes);
    let mut bad = good.clone();
    bad.expect.probes = vec!["glare".to_owned()];
    let other = shrink(&bad, 1, Some("nothing-leaked"), &mut none).expect_err("another oracle");
    assert_eq!(other, NoFailure::OtherOracles(["expected-probes"].into()));
    bad.server.program = Some(ServerProgram { run: vec!["no-such-program".to_owned()], ..ServerProgram::default() });
    let unreachable = shrink(&bad, 1, None, &mut none).expect_err("no server");
    assert!(matches!(unreachable, NoFailure::Unreachable(why) if why.contains("no-such-program")));
}

/// A server on npm `ws` in which a line is wrong, and what is right there.
const DEFECTS: [(&str, &str, &str); 4] = [
    ("leave-untold", "  say([...rooms.get(roomId)], { action: 'peer-left', roomId, clientId });\n", ""),
    (
        "leave-told-twice",
        "{ action: 'peer-left', roomId, clientId });\n",
        "{ action: 'peer-left', roomId, clientId });\n  setTimeout(() => say([...(rooms.get(roomId) ?? [])], { action: 'peer-left', roomId, clientId }), 50);\n",
    ),
    ("close-is-no-leave", "client.on('close', () => leave(client));", ""),
    (
        "roster-with-ghosts",
        "  rooms.get(roomId).delete(client);\n",
        "  if (rooms.get(roomId).size < 3) rooms.get(roomId).delete(client);\n",
    ),
];

/// A server program with a planted defect: six peers who come and go for 150 s become a story of at most five steps.
#[test]
fn a_defect_of_a_server_becomes_a_story_of_a_few_steps() {
    let Some(folder) = packages() else { return };
    becomes_a_few_steps(folder, DEFECTS[0]);
}

#[test]
#[ignore = "takes minutes"]
fn each_defect_of_a_server_becomes_a_story_of_a_few_steps() {
    let folder = packages().expect("npm works");
    DEFECTS.into_iter().for_each(|defect| becomes_a_few_steps(folder, defect));
}

fn becomes_a_few_steps(folder: &Path, (name, before, after): (&str, &str, &str)) {
    let right = include_str!("../servers/mesh.mjs");
    assert_eq!(right.matches(before).count(), 1, "{name}");
    let file = folder.join(format!("mesh-{name}.mjs"));
    fs::write(&file, right.replace(before, after)).expect("the folder is ours");
    let mut scenario = scenarios::load("mesh-6-churn").expect("a shipped scenario");
    let run = vec!["node".to_owned(), file.to_str().expect("UTF-8").to_owned()];
    scenario.server.program = Some(ServerProgram { run, ..ServerProgram::default() });
    let mut limit = 400;
    let mut watch = |_| {
        limit -= 1;
        if limit > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let shrunk = shrink(&scenario, 1, None, &mut watch).unwrap_or_else(|why| panic!("{name}: {why:?}"));
    println!("{name}, after {} worlds: {:?}\n{}", shrunk.played, shrunk.sizes, shrunk.file("glare sim"));
    let [before, after] = shrunk.sizes;
    assert!(after.steps <= 5 && after.events * 10 <= before.events, "{name}: {before:?} {after:?}");
}
