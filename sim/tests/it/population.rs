//! Many peers behind a mix of NATs: as many pairs connect directly as follows from the NATs, and the others need the relay.
//! And what a measured mix gives, beside what others have measured.

use std::fmt::Write as _;
use std::sync::Arc;

use scenarios::{ActorIndex, Dependence, NatBehavior, Scenario};
use sim::event::CandidateKind;
use sim::nat_matrix::Paths;
use sim::pairs::pairs;
use sim::reachability::{Path, Place, Verdict, can_connect};
use sim::run::run;

/// The profiles of `internet-mix`, as Halkes and Pouwelse name them: EIM-EIF, EIM-APDF, EIM-ADF, A(P)DM and blocked.
const MIX: [&str; 5] = ["full-cone", "home-median", "restricted-cone", "symmetric", "udp-blocked"];
/// Their shares.
const SHARES: [f64; 5] = [0.21, 0.57, 0.07, 0.105, 0.045];

/// How many of the attempts between two kinds succeeded, read from table 1 of G. Halkes, J. Pouwelse, UDP NAT and
/// Firewall Puncturing in the Wild, 2011. The first four of [`MIX`]; a row is who begins.
const MEASURED: [[f64; 4]; 4] =
    [[0.86, 0.85, 0.88, 0.70], [0.84, 0.84, 0.92, 0.03], [0.84, 0.93, 0.90, 0.75], [0.85, 0.05, 0.78, 0.05]];

#[test]
fn the_shares_of_direct_and_relayed_pairs_follow_from_the_nats() {
    // 82 % of 82 % connect directly, on average.
    let relayed = relayed_as_predicted("internet-100", 50);
    assert!((10..=23).contains(&relayed), "{relayed}");
    // 22 % and 9 %, within three standard errors.
    let relayed = relayed_as_predicted("internet-mix", 100);
    assert!((10..=34).contains(&relayed), "{relayed}");
    let relayed = relayed_as_predicted("internet-mix-ipv6", 100);
    assert!((1..=17).contains(&relayed), "{relayed}");
}

/// Plays a scenario with this number of pairs. Every one of them is connected, and by a relay if that is predicted. Returns
/// how many are.
fn relayed_as_predicted(name: &str, number_of_pairs: usize) -> usize {
    let scenario = Arc::new(scenarios::load(name).expect("it is shipped"));
    let outcome = run(&scenario, 1).expect("no crash");
    assert_eq!(outcome.violations, []);
    let pairs = pairs(&outcome.record);
    assert_eq!(pairs.len(), number_of_pairs, "two in each room");
    let mut relayed = 0;
    for (number, pair) in pairs.iter().enumerate() {
        let connection = pair.connection.as_ref().unwrap_or_else(|| panic!("{pair:?}"));
        let is_relay = [connection.local, connection.remote].iter().any(|end| end.kind == CandidateKind::Relay);
        let Verdict::Connects(path) = predicted(&scenario, number) else { panic!("{pair:?}") };
        assert_eq!(is_relay, path.is_relayed(), "{pair:?}");
        relayed += usize::from(is_relay);
    }
    relayed
}

/// What is predicted for a pair: of the two actors of a room.
fn predicted(scenario: &Scenario, pair: usize) -> Verdict {
    let place = |actor| Place::of(scenario, ActorIndex(actor));
    can_connect(&place(2 * pair), &place(2 * pair + 1))
}

#[test]
fn the_mix_is_the_one_of_its_source() {
    let scenario = scenarios::load("internet-1k").expect("it is shipped");
    let count = |is: fn(&NatBehavior) -> bool| {
        scenario.networks.iter().filter(|network| network.nat.as_ref().is_some_and(is)).count()
    };
    let by_profile = |name: &str| scenario.networks.iter().filter(|network| network.profile == name).count();
    // `home-linux` maps by destination only if several of its hosts use the same port.
    let punched = count(|nat| nat.mapping == Dependence::EndpointIndependent) + by_profile("home-linux");
    assert_eq!((scenario.networks.len(), punched), (1000, 820));
    assert_eq!(count(|nat| nat.hairpinning != scenarios::Hairpinning::Off), 240);
    assert_eq!(count(|nat| nat.udp_blocked), 20);

    for name in ["internet-mix", "internet-mix-ipv6"] {
        let scenario = scenarios::load(name).expect("it is shipped");
        for (profile, share) in MIX.into_iter().zip(SHARES) {
            let found = scenario.networks.iter().filter(|network| network.profile == profile).count();
            assert_eq!(found as f64, (share * 200.0).round(), "{name}: {profile}");
        }
    }
}

/// Of the pairs for which the rules leave a way, 70 to 93 % were measured to connect; of the others, at most 5 %.
#[test]
fn the_measured_success_of_each_pair_of_kinds_is_what_the_rules_say() {
    let (scenario, _) = everybody_with_everybody("turn = false", "");
    for (from, row) in MEASURED.into_iter().enumerate() {
        for (to, success) in row.into_iter().enumerate() {
            let verdict = predicted(&scenario, from * MIX.len() + to);
            let connects = matches!(verdict, Verdict::Connects(_));
            assert_eq!(connects, success > 0.5, "{} to {}: {success}", MIX[from], MIX[to]);
            assert!(!(0.10..0.65).contains(&success), "the measurement leaves no doubt");
        }
    }
}

/// D. Trautwein et al., 2025: of the holes that peers of IPFS tried to punch, 70 ± 7.1 % opened; they try only if neither can
/// be reached anyway. callstats.io, 2015: 22 % of the conferences needed a relay.
#[test]
fn with_the_measured_mix_as_many_holes_open_and_as_many_pairs_are_relayed_as_others_have_measured() {
    let found = Shares::of("turn = { tcp = true }", "");
    let [open, by_port, _, symmetric, blocked] = SHARES;
    let one_is = |share: f64| 1.0 - (1.0 - share) * (1.0 - share);
    let no_way = one_is(blocked) + 2.0 * by_port * symmetric + symmetric * symmetric;
    assert!((found.relayed - no_way).abs() < 1e-9, "{found:?}: {no_way}");
    assert!((found.direct - (1.0 - no_way)).abs() < 1e-9, "{found:?}");
    assert!(found.failed < 0.01, "{found:?}");

    let who_punches = (1.0 - open) * (1.0 - open);
    let not_punched = no_way - 2.0 * open * blocked;
    assert!((found.punched - (1.0 - not_punched / who_punches)).abs() < 1e-9, "{found:?}");
    let published = [(found.punched, 0.70, 0.071), (found.relayed, 0.22, 0.01)];
    assert!(published.iter().all(|(found, published, error)| (found - published).abs() < *error), "{found:?}");

    let found = Shares::of("turn = false", "");
    assert!((found.failed - no_way).abs() < 1e-9 && found.relayed == 0.0, "{found:?}");
}

#[test]
fn if_both_have_ipv6_over_nine_in_ten_connect_directly() {
    let found = Shares::of("turn = { tcp = true }", "ipv6 = true");
    let blocked = SHARES[4];
    assert!((found.direct - (1.0 - blocked) * (1.0 - blocked)).abs() < 1e-9, "{found:?}");
    assert!(found.direct > 0.9 && found.failed < 0.01, "{found:?}");
}

/// What becomes of the pairs of a population with the shares of [`MIX`].
#[derive(Debug, Default)]
struct Shares {
    direct: f64,
    relayed: f64,
    failed: f64,
    /// The direct ones among those of which neither side lets in whom it does not know.
    punched: f64,
}

impl Shares {
    /// Plays a call between each two kinds, and counts it as often as there are such pairs.
    fn of(server: &str, actor: &str) -> Self {
        let (scenario, combinations) = everybody_with_everybody(server, actor);
        let outcome = run(&scenario, 1).expect("no crash");
        assert_eq!(outcome.violations, []);
        let paths = Paths::of(&scenario, &outcome.record);
        let mut shares = Self::default();
        let mut both_filter = 0.0;
        for (pair, Combination { from, to, weight }) in combinations.into_iter().enumerate() {
            let path = paths.between(ActorIndex(2 * pair), ActorIndex(2 * pair + 1));
            let is_relayed = path.map(Path::is_relayed);
            let sum = match is_relayed {
                Some(true) => &mut shares.relayed,
                Some(false) => &mut shares.direct,
                None => &mut shares.failed,
            };
            *sum += weight;
            if from != 0 && to != 0 {
                both_filter += weight;
                shares.punched += if is_relayed == Some(false) { weight } else { 0.0 };
            }
        }
        shares.punched /= both_filter;
        shares
    }
}

/// Two kinds of [`MIX`], and how often they meet.
struct Combination {
    from: usize,
    to: usize,
    weight: f64,
}

/// A room for each two kinds, in both orders: 25 calls. Returns how often each occurs in the population.
fn everybody_with_everybody(server: &str, actor: &str) -> (Arc<Scenario>, Vec<Combination>) {
    let mut text = format!("name = \"mix\"\nduration = \"20s\"\n[server]\n{server}\n");
    let mut combinations = Vec::new();
    let mut not_connected = Vec::new();
    for (from, one) in MIX.into_iter().enumerate() {
        for (to, other) in MIX.into_iter().enumerate() {
            let names = [format!("{one}-{from}-{to}"), format!("to-{other}-{from}-{to}")];
            for (name, nat, joins) in [(&names[0], one, "50ms"), (&names[1], other, "0s")] {
                let room = format!("{from}-{to}");
                let _ = writeln!(
                    text,
                    "[[actor]]\nname = \"{name}\"\nnat = \"{nat}\"\nroom = \"{room}\"\njoins = \"{joins}\"\n{actor}"
                );
            }
            combinations.push(Combination { from, to, weight: SHARES[from] * SHARES[to] });
            not_connected.push(format!("[\"{}\", \"{}\"]", names[0], names[1]));
        }
    }
    let parsed = scenarios::parse("mix.toml", &text).unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}"));
    // Without a relay, who cannot connect is expected not to.
    let apart = (0..combinations.len()).filter(|pair| !matches!(predicted(&parsed, *pair), Verdict::Connects(_)));
    let apart: Vec<_> = apart.map(|pair| not_connected[pair].as_str()).collect();
    if !apart.is_empty() {
        let _ = writeln!(text, "[expect]\nunconnected = [{}]", apart.join(", "));
    }
    (Arc::new(scenarios::parse("mix.toml", &text).expect("it was right before")), combinations)
}
