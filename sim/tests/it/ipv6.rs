//! Two families of addresses: firewalls, the candidates that are preferred, relays between the families, and what the
//! prediction says about all of that.

use std::sync::Arc;

use scenarios::{ActorIndex, Dependence, Scenario};
use sim::event::{NatEvent, PacketEvent, PeerChange, PeerEvent, Protocol, What};
use sim::reachability::{CandidateKind, Obstacle, Path, Place, Verdict, can_connect};

use crate::played::Played;

const DIRECT: Path = Path { a: CandidateKind::Host, b: CandidateKind::Host };

/// A scenario of 15 s, with these keys of its two actors and of its server.
fn pair(ana: &str, ben: &str, server: &str) -> Arc<Scenario> {
    let text = format!(
        "name = \"built\"\nduration = \"15s\"\n[server]\n{server}\n[[actor]]\nname = \"ana\"\n{ana}\n[[actor]]\nname = \"ben\"\n{ben}\njoins = \"50ms\"\n"
    );
    Arc::new(scenarios::parse("built.toml", &text).unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}")))
}

fn play(scenario: &Arc<Scenario>) -> Played {
    let record = sim::run::record(scenario, 1).unwrap_or_else(|crash| panic!("{crash:?}"));
    Played::read(scenario.clone(), record)
}

fn predicted(scenario: &Scenario) -> Verdict {
    let place = |actor| Place::of(scenario, ActorIndex(actor));
    can_connect(&place(0), &place(1))
}

/// What the pair selected, as each side sees the other.
fn found(played: &Played) -> Option<Path> {
    let end = |one, other| played.seen_as(one, other).expect("who is connected has selected a pair");
    played.connected(0, 1).then(|| Path { a: end(0, 1), b: end(1, 0) })
}

fn selects_ipv6(played: &Played) -> bool {
    let mut selected = played.record.events.iter().filter_map(|event| match &event.what {
        What::Peer(PeerEvent { change: PeerChange::Selected { local, remote }, .. }) => {
            Some(local.address.is_ipv6() && remote.address.is_ipv6())
        }
        _ => None,
    });
    selected.all(|is_ipv6| is_ipv6)
}

/// Each filtering on both sides, one without a firewall, and one whose UDP is blocked.
#[test]
fn behind_firewalls_every_pair_connects_directly_unless_udp_is_blocked() {
    let firewalls = [
        "{ filtering = \"endpoint-independent\" }",
        "{ filtering = \"address-dependent\" }",
        "true",
        "{ firewall = false }",
        "{ udp-blocked = true }",
    ];
    let actor = |firewall: &str| format!("nat = \"symmetric\"\nipv6 = {firewall}");
    for (a, one) in firewalls.iter().enumerate() {
        for other in &firewalls[a..] {
            let played = play(&pair(&actor(one), &actor(other), ""));
            let is_blocked = [one, other].iter().any(|firewall| firewall.contains("blocked"));
            let expected = (!is_blocked).then_some(DIRECT);
            assert_eq!(found(&played), expected, "{one} and {other}\n{}", played.story());
            match predicted(&played.scenario) {
                Verdict::Connects(path) => assert_eq!(Some(path), expected, "{one} and {other}"),
                Verdict::NeedsRelay(_) => assert!(is_blocked, "{one} and {other}"),
                chance => panic!("nothing is left to chance: {chance:?}"),
            }
            assert!(selects_ipv6(&played));
        }
    }
}

/// Without the firewall's state, a check from a stranger would arrive.
#[test]
fn a_firewall_lets_in_whom_the_inside_has_sent_to() {
    let scenario = pair("nat = \"symmetric\"\nipv6 = true", "nat = \"symmetric\"\nipv6 = true", "");
    let played = play(&scenario);
    let refused = played.record.events.iter().filter(
        |event| matches!(event.what, What::Nat(NatEvent::Refused { src, dst, .. }) if src.is_ipv6() && dst.is_ipv6()),
    );
    assert!(refused.count() > 0, "the first check meets a closed firewall");
    let translated = played.record.events.iter().any(|event| {
        matches!(event.what, What::Nat(NatEvent::Used(used)) if used.internal.is_ipv6() && used.internal != used.external)
    });
    assert!(!translated, "a firewall translates nothing");
}

#[test]
fn of_two_direct_paths_that_of_ipv6_is_preferred() {
    // On the internet both ways are equally long, and nothing filters.
    let played = play(&pair("ipv6 = true", "ipv6 = true", ""));
    assert_eq!(found(&played), Some(DIRECT));
    assert!(selects_ipv6(&played), "{}", played.story());
}

#[test]
fn signaling_goes_over_ipv6_if_both_have_it() {
    let over_ipv6 = |played: &Played| {
        let mut tcp = played.packets().filter(|seen| seen.sent && seen.view.protocol == Protocol::Tcp);
        tcp.all(|seen| seen.view.dst.is_ipv6())
    };
    assert!(over_ipv6(&play(&pair("ipv6 = true", "ipv6 = true\nipv4 = false", ""))));
    assert!(!over_ipv6(&play(&pair("ipv6 = true", "ipv6 = true", "ipv6 = false"))));
}

#[test]
fn one_family_on_each_side_connects_through_a_relay_with_both_or_not_at_all() {
    let (ana, ben) = ("nat = \"home-linux\"\nipv6 = true\nipv4 = false", "nat = \"home-linux\"");
    let apart = pair(ana, ben, "");
    assert_eq!(predicted(&apart), Verdict::NeedsRelay(Obstacle::NoCommonFamily));
    assert_eq!(found(&play(&apart)), None);

    let relayed = pair(ana, ben, "turn = true");
    let Verdict::Connects(path) = predicted(&relayed) else { panic!("the TURN server has both families") };
    assert!(path.is_relayed());
    let played = play(&relayed);
    assert_eq!(found(&played), Some(path), "{}", played.story());

    // ana cannot ask a TURN server that has IPv4 only.
    let unserved = pair(ana, ben, "[[ice-server]]\nname = \"turn\"\nipv6 = false");
    assert_eq!(predicted(&unserved), Verdict::NeedsRelay(Obstacle::NoCommonFamily));
    assert_eq!(found(&play(&unserved)), None);
}

/// A tunnel with the smallest MTU: what is longer is split by its sender, once it knows.
#[test]
fn packets_of_both_families_are_all_accounted_for() {
    let played = play(&pair("nat = \"home-linux\"\nipv6 = true", "nat = \"home-linux\"\nipv6 = true", "turn = true"));
    let lost = played.record.events.iter().filter(|event| {
        matches!(event.what, What::Packet(PacketEvent::Dropped { why: sim::event::Drop::NoRoute, .. }))
    });
    let (violations, _) = sim::oracle::judge(&played.scenario, &played.record);
    assert!(violations.is_empty(), "{violations:#?}");
    // Private addresses of the other home lead nowhere; addresses of IPv6 always lead somewhere.
    assert!(lost.count() < 40);
}

#[test]
fn filters_of_a_firewall_are_those_of_a_nat_that_translates_nothing() {
    let scenario =
        pair("nat = \"symmetric\"\nipv6 = { filtering = \"address-dependent\", udp-lifetime = \"90s\" }", "", "");
    let firewall = scenario.networks[0].ipv6.as_ref().and_then(|ipv6| ipv6.firewall.as_ref()).expect("a firewall");
    assert_eq!(firewall.filtering, Dependence::AddressDependent);
    assert_eq!(firewall.udp_lifetime.as_secs(), 90);
}

/// Clients would dial a program at an address that it does not have, and nobody would ever be connected.
#[test]
fn programs_of_others_are_refused_beside_ipv6() {
    let run = "run = [\"node\", \"server.mjs\"]\ndialect = \"mesh\"";
    for (scenario, name) in [(pair("ipv6 = true", "", run), "ana"), (pair("", "ipv4 = false\nipv6 = true", run), "ben")]
    {
        let why = sim::run::check_program(&scenario).expect_err("it has IPv6");
        let says = format!("`{name}` has IPv6, but programs of others have IPv4 only in simulations");
        assert!(why.starts_with(&says), "{why}");
    }
    let why = sim::run::check_program(&pair("", "", run)).err().unwrap_or_default();
    assert!(!why.contains("IPv6"), "{why}");
}
