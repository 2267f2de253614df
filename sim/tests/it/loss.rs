//! Loss delays connections but does not prevent them: every pair that the NATs allow is connected in the end.

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

/// `mesh-6` with this loss between any two homes, spread over the links of their NATs.
fn lossy(loss_ppm: u32) -> Scenario {
    let mut scenario = scenarios::load("mesh-6").expect("a shipped scenario");
    // Each datagram crosses two of these links, so each link gets half of the loss.
    for network in &mut scenario.networks {
        (network.link.up.loss_ppm, network.link.down.loss_ppm) = (loss_ppm / 2, loss_ppm / 2);
    }
    scenario
}
