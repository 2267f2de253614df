//! Which peers connect: the real stack behind simulated NATs, cell by cell as [`predicted`] says.

use std::net::Ipv4Addr;
use std::sync::Arc;

use scenarios::Dependence::{self, AddressAndPortDependent, AddressDependent, EndpointIndependent};
use scenarios::FilterState::{self, PerEndpoint, PerMapping};
use scenarios::{Actor, Builder, Hairpinning, NatBehavior, PortAllocation, Stack};
use sim::event::Protocol;
use sim::nat_matrix::{Found, pair as profiles, play, predicted};
use sim::reachability::{CandidateKind, Obstacle, Path, Verdict};

use crate::nat;
use crate::played::{Played, SERVER, Seen, scenario};

/// Long enough for a second offer, which meets all the state that the first has left in the NATs.
const SECONDS: u64 = 15;

//= https://www.rfc-editor.org/rfc/rfc3489#section-5
//# It has been observed that NAT treatment of UDP varies among implementations.
#[test]
fn of_the_textbook_classes_only_port_restricted_and_symmetric_fail_with_symmetric() {
    let full = behavior(EndpointIndependent, EndpointIndependent, PerMapping);
    let restricted = behavior(EndpointIndependent, AddressDependent, PerMapping);
    let classes =
        [("full cone", full), ("restricted", restricted), ("port-restricted", cone()), ("symmetric", symmetric())];
    let mut table = String::from("\n");
    for (name, a) in &classes {
        let row = classes.iter().map(|(_, b)| found(&Played::of(pair(a, b), 1)).to_string());
        table += &format!("        {name:<16} {}\n", row.collect::<Vec<_>>().join("  "));
    }
    assert_eq!(
        table + "        ",
        "
        full cone        srflx-srflx  srflx-srflx  srflx-srflx  srflx-prflx
        restricted       srflx-srflx  srflx-srflx  srflx-srflx  srflx-prflx
        port-restricted  srflx-srflx  srflx-srflx  srflx-srflx  nothing gets through
        symmetric        prflx-srflx  prflx-srflx  nothing gets through  nothing gets through
        "
    );
}

/// Every mapping with every filtering and either filter state, on both sides: 18 × 18. The offerer is always the first
/// peer, so the table contains both orders of each pair.
///
/// The stack's agents behave exactly as RFC 8445 predicts: no deviation is known.
#[test]
fn all_324_pairs_are_as_worked_out() {
    let every: Vec<NatBehavior> = [PerMapping, PerEndpoint]
        .iter()
        .flat_map(|&state| DEPENDENCES.iter().flat_map(move |&m| DEPENDENCES.map(|f| behavior(m, f, state))))
        .collect();
    let mut differing = Vec::new();
    let mut tally = [0; 4];
    for (row, a) in every.iter().enumerate() {
        for (column, b) in every.iter().enumerate() {
            let played = Played::of(pair(a, b), (row * every.len() + column) as u64);
            let (found, expected) = (found(&played), expected(&played));
            tally[match found {
                Found::Connected(Path { a: CandidateKind::ServerReflexive, b: CandidateKind::ServerReflexive }) => 0,
                Found::Connected(_) | Found::Split(_) => 1,
                Found::ChecksArrive => 2,
                Found::Nothing => 3,
            }] += 1;
            if found != expected {
                let side = |nat: &NatBehavior| format!("{:?}/{:?} {:?}", nat.mapping, nat.filtering, nat.filter_state);
                differing.push(format!("{} with {}: {found}, but expected {expected}", side(a), side(b)));
            }
        }
    }
    assert_eq!(differing, Vec::<String>::new());
    // Server-reflexive, peer-reflexive, checks alone, nothing: a table with the same letter in every cell would prove
    // little.
    assert_eq!(tally, [36, 141, 95, 52]);
}

/// The shipped profiles with each other, as `glare nat-matrix` plays them.
#[test]
fn pairs_of_profiles_are_as_worked_out() {
    profiles_are_as_worked_out([Stack::Rtc; 2]);
}

/// The same with the other stack, and with one of each. Whether two peers connect, and over which candidates, is a matter
/// of the NATs, not of the stack.
#[test]
fn pairs_of_profiles_are_as_worked_out_with_the_other_stack() {
    for stacks in [[Stack::Str0m; 2], [Stack::Rtc, Stack::Str0m], [Stack::Str0m, Stack::Rtc]] {
        profiles_are_as_worked_out(stacks);
    }
}

fn profiles_are_as_worked_out(stacks: [Stack; 2]) {
    let names: Vec<String> = scenarios::profiles().map(|profile| profile.name).collect();
    for turn in [false, true] {
        let (mut differing, mut tally, mut sure) = (Vec::new(), [0; 3], 0);
        for (a, b) in names.iter().flat_map(|a| names.iter().map(move |b| (a, b))) {
            let scenario = Arc::new(profiles(a, b, turn, stacks).unwrap_or_else(|error| panic!("{error}")));
            let found = play(&scenario, 1).unwrap_or_else(|crash| panic!("{a} with {b}: {crash:?}"));
            tally[match found {
                Found::Connected(path) if path.is_relayed() => 1,
                Found::Split(_) => 1,
                Found::Connected(_) => 0,
                _ => 2,
            }] += 1;
            let predicted = predicted(&scenario);
            sure += usize::from(predicted.is_sure);
            if !found.is_as(predicted) {
                differing.push(format!("{a} with {b}: {found}, but expected {predicted:?}"));
            }
        }
        assert_eq!(differing, Vec::<String>::new(), "{stacks:?}, with TURN: {turn}");
        assert!(sure >= 180, "{sure} of 225 are not left to chance");
        assert!(tally[0] > 100 && (tally[1] > 20) == turn && (tally[2] > 20) != turn, "{stacks:?}: {tally:?}");
    }
}

/// If responses come from another address than the one to which the check was sent, the stack must notice and reject
/// them.
#[test]
fn an_answer_from_another_address_is_no_answer() {
    let open_symmetric = behavior(AddressAndPortDependent, EndpointIndependent, PerMapping);
    let played = Played::of(pair(&open_symmetric, &open_symmetric), 1);
    assert_eq!(found(&played), Found::ChecksArrive);
    // Nothing is filtered here: every success response reaches the agent that sent the check, from a mapping to which
    // the check was not sent.
    let answers = between_peers(&played).filter(|packet| !packet.sent && packet.view.bytes == SUCCESS_RESPONSE).count();
    assert!(answers > 50, "{answers} success responses arrive");
    for end in [0, 1] {
        assert!(played.ice_connected(end, 1 - end).is_none(), "{}", played.story());
    }
}

#[test]
fn in_one_network_the_hosts_reach_each_other() {
    for nat in [cone(), symmetric(), NatBehavior { udp_blocked: true, ..cone() }] {
        assert_found(scenario(SECONDS).home(nat).peer(0).peer(0), "host-host");
    }
}

#[test]
fn on_the_internet_any_nat_will_do() {
    assert_found(scenario(SECONDS).peer(None).peer(None), "host-host");
    assert_found(scenario(SECONDS).home(cone()).peer(0).peer(None), "srflx-host");
    assert_found(scenario(SECONDS).home(symmetric()).peer(0).peer(None), "prflx-host");
    assert_found(scenario(SECONDS).home(symmetric()).peer(None).peer(0), "host-prflx");
}

#[test]
fn blocked_udp_connects_nobody_but_signals() {
    let blocked = NatBehavior { udp_blocked: true, ..cone() };
    let played = assert_found(scenario(SECONDS).home(blocked).peer(0).peer(None), "nothing gets through");
    assert!(played.story().contains("\"kind\":\"answer\""), "signaling is TCP:\n{}", played.story());
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-6
//# REQ-9:  A NAT MUST support "Hairpinning".
#[test]
fn two_homes_behind_one_carrier_nat_need_it_to_hairpin() {
    let homes = |hairpinning, home: NatBehavior| {
        let carrier = NatBehavior { hairpinning, ..cone() };
        scenario(SECONDS).home(carrier).network(Some(0), home.clone()).network(Some(0), home).peer(1).peer(2)
    };
    let open_home = behavior(EndpointIndependent, EndpointIndependent, PerMapping);
    assert_found(homes(Hairpinning::Off, cone()), "nothing gets through");
    assert_found(homes(Hairpinning::ExternalSource, cone()), "srflx-srflx");
    assert_found(homes(Hairpinning::InternalSource, open_home.clone()), "prflx-prflx");
    assert_found(homes(Hairpinning::InternalSource, cone()), "nothing gets through");
    assert_found(homes(Hairpinning::RouterSource, cone()), "nothing gets through");
    // Each side's check shows the router. By which candidate they know each other depends on who is first.
    let scenario = Arc::new(homes(Hairpinning::RouterSource, open_home).build());
    let outcome = sim::run::run(&scenario, 1).expect("no crash");
    assert_eq!(outcome.violations, []);
    let played = Played::read(scenario, outcome.record);
    assert!(matches!(expected(&played), Found::Connected(path) if !path.is_relayed()), "{:?}", expected(&played));
    assert!(matches!(found(&played), Found::Connected(path) if !path.is_relayed()), "{}", played.story());
    let gateway = played.scenario.networks[0].gateway;
    let is_from_router = |packet: &Seen| packet.view.src.ip() == gateway;
    assert!(between_peers(&played).any(|packet| is_from_router(&packet)), "{}", played.story());
}

#[test]
fn a_row_of_nats_is_as_bad_as_its_worst() {
    let row = |home, carrier| scenario(SECONDS).home(carrier).network(Some(0), home).home(cone()).peer(1).peer(2);
    assert_found(row(cone(), cone()), "srflx-srflx");
    assert_found(row(symmetric(), cone()), "nothing gets through");
    assert_found(row(cone(), symmetric()), "nothing gets through");
    let deep = scenario(SECONDS).home(cone()).network(Some(0), cone()).network(Some(1), cone());
    assert_found(deep.peer(2).peer(None), "srflx-host");
}

#[test]
fn somebody_inside_the_carriers_network_is_a_host_to_those_in_its_homes() {
    assert_found(scenario(SECONDS).home(cone()).network(Some(0), symmetric()).peer(1).peer(0), "prflx-host");
}

/// The host candidate of each peer leads the other peer to itself.
#[test]
fn two_homes_may_have_the_same_addresses() {
    let at_10 = |actor: &mut Actor| actor.address = Ipv4Addr::new(192, 168, 1, 10);
    let homes = scenario(SECONDS).home(cone()).home(cone());
    let twins = homes.peer(0).with(at_10).peer(1).with(at_10);
    assert_found(twins, "srflx-srflx");
}

/// Size of a success response, bytes: header, XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT. A check is longer.
const SUCCESS_RESPONSE: u16 = 20 + 12 + 24 + 8;
pub(crate) const DEPENDENCES: [Dependence; 3] = [EndpointIndependent, AddressDependent, AddressAndPortDependent];

/// With random ports, so that no port can be predicted.
pub(crate) fn behavior(mapping: Dependence, filtering: Dependence, filter_state: FilterState) -> NatBehavior {
    NatBehavior { port_allocation: PortAllocation::Random, ..nat::behavior(mapping, filtering, filter_state) }
}

fn cone() -> NatBehavior {
    behavior(EndpointIndependent, AddressAndPortDependent, PerMapping)
}

fn symmetric() -> NatBehavior {
    behavior(AddressAndPortDependent, AddressAndPortDependent, PerMapping)
}

fn pair(a: &NatBehavior, b: &NatBehavior) -> Builder {
    scenario(SECONDS).home(a.clone()).home(b.clone()).peer(0).peer(1)
}

fn found(played: &Played) -> Found {
    Found::of(&played.scenario, &played.record)
}

fn expected(played: &Played) -> Found {
    match predicted(&played.scenario).verdict {
        Verdict::Connects(path) => Found::Connected(path),
        Verdict::NeedsRelay(Obstacle::NoAnswerFits) => Found::ChecksArrive,
        Verdict::NeedsRelay(_) => Found::Nothing,
        Verdict::Chance(path) => panic!("no NAT here leaves {path:?} to chance"),
    }
}

#[track_caller]
fn assert_found(build: Builder, text: &str) -> Played {
    let played = Played::of(build, 1);
    let found = found(&played);
    assert_eq!((found.to_string().as_str(), found), (text, expected(&played)), "{}", played.story());
    played
}

/// Datagrams that are not between a peer and the server.
fn between_peers(played: &Played) -> impl Iterator<Item = Seen> {
    played.packets().filter(|packet| {
        let ends = [packet.view.src, packet.view.dst];
        packet.view.protocol == Protocol::Udp && ends.iter().all(|end| end.ip() != SERVER)
    })
}
