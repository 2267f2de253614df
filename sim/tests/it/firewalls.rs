//! What a router does with packets that nobody inside asked for, and whether peers behind it connect.

use std::sync::Arc;

use scenarios::Scenario;
use sim::pairs::pairs;
use sim::reachability::{Place, Verdict, can_connect};

const SEEDS: std::ops::Range<u64> = 0..24;

/// Measured with a Linux kernel and the same stack: 0 of 20 calls connect when both homes have no firewall, 12 of 24
/// when one has none, 20 of 20 behind firewalls that drop, 16 of 16 behind firewalls that reject.
#[test]
fn without_a_firewall_it_depends_on_who_sends_first() {
    let connected = |a, b| SEEDS.filter(|seed| connects(&homes(a, b), *seed)).count();
    assert_eq!(connected("home-linux", "home-linux"), SEEDS.count());
    assert_eq!(connected("home-linux-reject", "home-linux-reject"), SEEDS.count());
    assert_eq!(connected("home-linux-open", "home-linux-open"), 0);
    let one_open = connected("home-linux-open", "home-linux") + connected("home-linux", "home-linux-open");
    assert!((1..2 * SEEDS.count()).contains(&one_open), "{one_open} of {}", 2 * SEEDS.count());
}

/// What is left to chance is not judged.
#[test]
fn the_verdict_about_a_home_without_a_firewall_is_chance() {
    let verdict = |a, b| {
        let scenario = homes(a, b);
        let [a, b] = [0, 1].map(|actor| Place::of(&scenario, scenarios::ActorIndex(actor)));
        can_connect(&a, &b)
    };
    for other in ["home-linux", "home-linux-open", "home-linux-reject", "home-median"] {
        assert!(matches!(verdict("home-linux-open", other), Verdict::Chance(_)), "{other}");
        assert!(matches!(verdict("home-linux-reject", "home-linux"), Verdict::Connects(_)));
    }
    for other in ["open", "full-cone", "restricted-cone"] {
        assert!(matches!(verdict("home-linux-open", other), Verdict::Connects(_)), "{other}: from any port");
        assert!(SEEDS.take(5).all(|seed| connects(&homes("home-linux-open", other), seed)), "{other}");
    }
}

fn homes(a: &str, b: &str) -> Arc<Scenario> {
    let text = format!(
        "name = \"firewalls\"\nduration = \"20s\"\n[link]\nlatency = \"20ms\"\njitter = \"10ms\"\n\
         [[actor]]\nname = \"ana\"\nnat = \"{a}\"\n[[actor]]\nname = \"ben\"\nnat = \"{b}\"\njoins = \"100ms\"\n"
    );
    Arc::new(scenarios::parse("firewalls.toml", &text).unwrap_or_else(|error| panic!("{error}")))
}

fn connects(scenario: &Arc<Scenario>, seed: u64) -> bool {
    let outcome = sim::run::run(scenario, seed).expect("no crash");
    assert_eq!(outcome.violations, [], "seed {seed}");
    pairs(&outcome.record).iter().any(|pair| pair.connection.is_some())
}
