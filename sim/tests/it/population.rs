//! Many peers behind a mix of NATs: as many pairs connect directly as follows from the NATs, and the others need the relay.

use std::sync::Arc;

use scenarios::{ActorIndex, NatBehavior};
use sim::event::CandidateKind;
use sim::pairs::pairs;
use sim::reachability::{Place, Verdict, can_connect};
use sim::run::run;

#[test]
fn the_shares_of_direct_and_relayed_pairs_follow_from_the_nats() {
    let scenario = Arc::new(scenarios::load("internet-100").expect("it is shipped"));
    let outcome = run(&scenario, 1).expect("no crash");
    assert_eq!(outcome.violations, []);
    let pairs = pairs(&outcome.record);
    assert_eq!(pairs.len(), 50, "two in each room");
    let mut relayed = 0;
    for (number, pair) in pairs.iter().enumerate() {
        let connection = pair.connection.as_ref().unwrap_or_else(|| panic!("{pair:?}"));
        let is_relay = [connection.local, connection.remote].iter().any(|end| end.kind == CandidateKind::Relay);
        let place = |actor| Place::of(&scenario, ActorIndex(actor));
        let Verdict::Connects(path) = can_connect(&place(2 * number), &place(2 * number + 1)) else {
            panic!("{pair:?}")
        };
        assert_eq!(is_relay, path.is_relayed(), "{pair:?}");
        relayed += usize::from(is_relay);
    }
    // 82 % of 82 % connect directly, on average.
    assert!((10..=23).contains(&relayed), "{relayed}");
}

#[test]
fn the_mix_is_the_one_of_its_source() {
    let scenario = scenarios::load("internet-1k").expect("it is shipped");
    let count = |is: fn(&NatBehavior) -> bool| {
        scenario.networks.iter().filter(|network| network.nat.as_ref().is_some_and(is)).count()
    };
    let by_profile = |name: &str| scenario.networks.iter().filter(|network| network.profile == name).count();
    // `home-linux` maps by destination only if several of its hosts use the same port.
    let punched = count(|nat| nat.mapping == scenarios::Dependence::EndpointIndependent) + by_profile("home-linux");
    assert_eq!((scenario.networks.len(), punched), (1000, 820));
    assert_eq!(count(|nat| nat.hairpinning != scenarios::Hairpinning::Off), 240);
    assert_eq!(count(|nat| nat.udp_blocked), 20);
}
