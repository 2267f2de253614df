//! Snapshots of the timeline of each shipped scenario. A change of behaviour shows here first.

use std::sync::Arc;

use sim::timeline::Timeline;

/// Number of actors whose timeline somebody would read.
const READABLE: usize = 20;

#[test]
fn every_shipped_scenario_has_the_same_timeline_as_before() {
    for shipped in scenarios::shipped().filter(|shipped| !shipped.is_slow()) {
        let scenario = Arc::new(scenarios::load(shipped.name).expect("a shipped scenario is valid"));
        let outcome = sim::run::run(&scenario, 1).expect("no crash");
        assert_eq!(outcome.violations, [], "{}", shipped.name);
        // Nobody reads the timeline of a hundred peers.
        if scenario.actors.len() <= READABLE {
            insta::assert_snapshot!(shipped.name, Timeline::of(&outcome.record));
        }
    }
}
