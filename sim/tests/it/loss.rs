//! Loss delays, it does not prevent: every pair that the NATs allow ends up connected.

use std::sync::Arc;

use scenarios::Scenario;

#[test]
fn every_pair_connects_at_two_and_at_ten_percent_loss() {
    for (loss_ppm, seeds) in [(20_000, 0..10), (100_000, 0..10)] {
        let scenario = Arc::new(lossy(loss_ppm));
        for seed in seeds {
            let outcome = sim::run::run(&scenario, seed).expect("no crash");
            assert_eq!(outcome.violations, [], "{loss_ppm} ppm, seed {seed}");
            let unconnected =
                sim::pairs::pairs(&outcome.record).iter().filter(|pair| pair.connection.is_none()).count();
            assert_eq!(unconnected, 0, "{loss_ppm} ppm, seed {seed}");
        }
    }
}

/// `mesh-6` with that loss on the link of every NAT: each datagram between two homes meets it twice.
fn lossy(loss_ppm: u32) -> Scenario {
    let mut scenario = scenarios::load("mesh-6").expect("a shipped scenario");
    // Half of it on each of the two links on the way.
    scenario.networks.iter_mut().for_each(|network| network.link.loss_ppm = loss_ppm / 2);
    scenario
}
