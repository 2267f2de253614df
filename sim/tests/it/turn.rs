//! Peers with TURN servers: which pairs are relayed and over which candidates, and what the oracles see.

use std::time::Duration;

use scenarios::Dependence::{self, AddressAndPortDependent, EndpointIndependent};
use scenarios::FilterState::{self, PerEndpoint, PerMapping};
use scenarios::{ActorIndex, Builder, IceTransportPolicy, NatBehavior, TurnServer};
use sim::event::{
    CandidateKind, Event, Message, PacketEvent, PeerChange, PeerEvent, Protocol, Signaling, TransportAddress,
    TurnChange, What,
};
use sim::reachability::{Path, Place, Verdict, can_connect};

use crate::matrix::{DEPENDENCES, behavior};
use crate::oracle::Case;
use crate::played::{Played, SERVER, scenario};

/// Long enough for a direct pair to be found or given up, and for a relayed one.
const SECONDS: u64 = 15;

fn cone() -> NatBehavior {
    behavior(EndpointIndependent, AddressAndPortDependent, PerMapping)
}

fn symmetric() -> NatBehavior {
    behavior(AddressAndPortDependent, AddressAndPortDependent, PerMapping)
}

/// Two peers behind a NAT each, with a TURN server.
fn pair(a: NatBehavior, b: NatBehavior) -> Builder {
    scenario(SECONDS).turn(TurnServer::default()).home(a).home(b).peer(0).peer(1)
}

/// What the selected pair is, as each side sees the other.
fn found(played: &Played) -> Option<Path> {
    let end = |one, other| played.seen_as(one, other).expect("who is connected has selected a pair");
    played.connected(0, 1).then(|| Path { a: end(0, 1), b: end(1, 0) })
}

fn expected(played: &Played) -> Path {
    let place = |actor| Place::of(&played.scenario, ActorIndex(actor));
    match can_connect(&place(0), &place(1)) {
        Verdict::Connects(path) => path,
        other => panic!("with TURN everybody connects: {other:?}"),
    }
}

/// Every mapping with every filtering, on both sides, in both filter states: 2 × 81 pairs. All connect, and over the
/// candidates that are worked out from the NATs.
#[test]
fn with_turn_every_pair_of_nats_connects_over_the_candidates_that_are_worked_out() {
    let every = |state: FilterState| {
        let of = move |mapping: Dependence| DEPENDENCES.map(|filtering| behavior(mapping, filtering, state));
        DEPENDENCES.into_iter().flat_map(of).collect::<Vec<_>>()
    };
    let (mut differing, mut relayed) = (Vec::new(), 0);
    for state in [PerMapping, PerEndpoint] {
        for a in every(state) {
            for b in every(state) {
                let played = Played::of(pair(a.clone(), b.clone()), 1);
                let (found, expected) = (found(&played), expected(&played));
                relayed += usize::from(expected.is_relayed());
                if found != Some(expected) {
                    let side = |nat: &NatBehavior| format!("{:?}/{:?}", nat.mapping, nat.filtering);
                    differing.push(format!(
                        "{state:?} {} with {}: {found:?}, but expected {expected:?}",
                        side(&a),
                        side(&b)
                    ));
                }
            }
        }
    }
    assert_eq!(differing, Vec::<String>::new());
    // As many as the tables without TURN have cells without a connection.
    assert_eq!(relayed, 39 + 36);
}

#[test]
fn a_direct_pair_is_preferred_to_a_relayed_one_and_no_allocation_is_left_behind() {
    let played = Played::of(pair(cone(), cone()), 1);
    assert!(!found(&played).expect("they connect").is_relayed(), "{}", played.story());
    let count = |wanted: fn(&TurnChange) -> bool| {
        let is_it = |what: &What| matches!(what, What::Peer(PeerEvent { change: PeerChange::Turn { change, .. }, .. }) if wanted(change));
        played.record.events.iter().filter(|event| is_it(&event.what)).count()
    };
    assert_eq!(count(|change| matches!(change, TurnChange::Allocated { .. })), 2);
    assert_eq!(count(|change| *change == TurnChange::Released), 2);
}

#[test]
fn a_relayed_pair_sends_nothing_but_to_the_turn_server_once_it_is_selected() {
    let played = Played::of(pair(symmetric(), symmetric()), 1);
    assert!(found(&played).expect("they connect").is_relayed(), "{}", played.story());
    let connected = played.ice_connected(0, 1).max(played.ice_connected(1, 0)).expect("they connect");
    let later = played.record.events.iter().filter(|event| event.at > connected + Duration::from_secs(1));
    let of_peers = later.filter(|event| played.actor(event).is_some());
    let sent = of_peers.filter_map(|event| match event.what {
        What::Packet(PacketEvent::Sent(view)) if view.protocol == Protocol::Udp => Some(view.dst),
        _ => None,
    });
    let (server, others): (Vec<_>, Vec<_>) = sent.partition(|dst| dst.ip() == SERVER);
    assert!(others.is_empty(), "{others:?}");
    assert!(server.len() > 10, "{} datagrams", server.len());
}

#[test]
fn who_uses_relayed_candidates_only_is_reached_through_the_relay_in_every_network() {
    let relay_only = |actor: &mut scenarios::Actor| actor.ice_transport_policy = IceTransportPolicy::Relay;
    let turn = || scenario(SECONDS).turn(TurnServer::default());
    for build in [
        turn().peer(None).with(relay_only).peer(None),
        turn().home(cone()).peer(0).with(relay_only).peer(0),
        turn().home(symmetric()).home(cone()).peer(0).with(relay_only).peer(1).with(relay_only),
    ] {
        let played = Played::of(build, 1);
        assert_eq!(found(&played), Some(expected(&played)), "{}", played.story());
        assert!(expected(&played).is_relayed());
    }
}

#[test]
fn turn_over_udp_does_not_help_where_udp_is_blocked() {
    let blocked = NatBehavior { udp_blocked: true, ..cone() };
    let played = Played::of(scenario(60).turn(TurnServer::default()).home(blocked).peer(0).peer(None), 1);
    assert_eq!(found(&played), None);
    assert!(played.story().contains("unanswered"), "{}", played.story());
    let place = |actor| Place::of(&played.scenario, ActorIndex(actor));
    assert!(matches!(can_connect(&place(0), &place(1)), Verdict::NeedsRelay(_)));
}

#[test]
fn turn_over_tcp_helps_where_udp_is_blocked() {
    let blocked = || NatBehavior { udp_blocked: true, ..cone() };
    let turn = || scenario(SECONDS).turn(TurnServer { tcp: true, ..TurnServer::default() });
    for build in [
        turn().home(blocked()).peer(0).peer(None),
        turn().home(blocked()).home(symmetric()).peer(0).peer(1),
        turn().home(blocked()).home(blocked()).peer(0).peer(1),
    ] {
        let played = Played::of(build, 1);
        assert_eq!(found(&played), Some(expected(&played)), "{}", played.story());
        assert_eq!(played.seen_as(0, 1), Some(sim::reachability::CandidateKind::Relayed));
    }
}

#[test]
fn turn_over_tls_helps_where_only_web_servers_are_reached() {
    let web_only = || NatBehavior { udp_blocked: true, tcp_ports_blocked: vec![3478, 5349], ..cone() };
    let built = |turn: TurnServer| scenario(30).ice_server(Some(turn)).home(web_only()).peer(0).peer(None);
    let over = |tcp, tls| TurnServer { tcp, tls, ..TurnServer::default() };
    let without = Played::of(built(over(true, false)), 1);
    assert_eq!(found(&without), None, "{}", without.story());
    let place = |actor| Place::of(&without.scenario, ActorIndex(actor));
    assert!(matches!(can_connect(&place(0), &place(1)), Verdict::NeedsRelay(_)));
    for tcp in [false, true] {
        let played = Played::of(built(over(tcp, true)), 1);
        assert_eq!(found(&played), Some(expected(&played)), "{}", played.story());
        assert_eq!(played.seen_as(0, 1), Some(sim::reachability::CandidateKind::Relayed));
        let has = "\"server\":\"203.0.113.2:443\",\"tcp\":true,\"change\":{\"turn\":\"allocated\"";
        assert!(played.story().contains(has), "{}", played.story());
    }
    let both = scenario(30).ice_server(Some(over(false, true))).home(web_only()).home(web_only()).peer(0).peer(1);
    let played = Played::of(both, 1);
    assert_eq!(found(&played), Some(expected(&played)), "{}", played.story());
}

/// Handshakes draw random numbers and read the clock: the seed determines both.
#[test]
fn a_run_with_tls_is_the_same_every_time() {
    let scenario = std::sync::Arc::new(scenarios::load("turn-tls").expect("it is shipped"));
    let hash = |seed| sim::run::run(&scenario, seed).unwrap_or_else(|crash| panic!("{crash:?}")).hash;
    for seed in 1..4 {
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
    }
    assert_ne!(hash(1), hash(2));
}

// ---- oracles

fn shipped(name: &str) -> Case {
    Case::play(scenarios::load(name).expect("it is shipped"))
}

#[test]
fn relayed_as_expected_sees_a_pair_that_is_not_relayed_and_one_that_is_not_listed() {
    let mut case = shipped("turn-fallback");
    assert_eq!(case.violations(), []);
    let listed = case.scenario.expect.relayed.replace(Vec::new());
    case.turns_red("relayed-as-expected", &["does not list ana and ben", "connect only through a relay"]);
    case.scenario.expect.relayed = listed;
    case.scenario.expect.probes.clear();
    for event in &mut case.record.events {
        if let What::Peer(PeerEvent { change: PeerChange::Selected { local, remote }, .. }) = &mut event.what {
            (local.kind, remote.kind) = (CandidateKind::Host, CandidateKind::Prflx);
        }
    }
    case.turns_red("relayed-as-expected", &["ana and ben are connected without a relay", "lists them"]);
}

#[test]
fn relayed_as_expected_sees_a_pair_that_needs_no_relay() {
    let mut case = shipped("relay-only");
    assert_eq!(case.violations(), []);
    let relayed = case.scenario.expect.relayed.as_mut().expect("it lists pairs");
    relayed.push((ActorIndex(1), ActorIndex(2)));
    case.turns_red("relayed-as-expected", &["lists ben and cam, but they connect without a relay"]);
}

#[test]
fn everyone_connected_sees_that_a_turn_server_would_help() {
    let mut case = shipped("turn-fallback");
    case.scenario.expect.unconnected = vec![(ActorIndex(0), ActorIndex(1))];
    case.turns_red("everyone-connected", &["lists ana and ben, but a TURN server lets them connect"]);
}

#[test]
fn relay_only_obeyed_sees_a_candidate_a_signal_and_a_datagram() {
    let unchanged = shipped("relay-only");
    let ana = unchanged.node("ana");
    let address = unchanged.scenario.actors[0].address;

    let mut case = unchanged.clone();
    let is_candidate =
        |what: &What| matches!(what, What::Peer(PeerEvent { change: PeerChange::Candidate { local: true, .. }, .. }));
    let at = case.find(|event| event.node == ana && is_candidate(&event.what));
    let What::Peer(PeerEvent { change: PeerChange::Candidate { candidate, .. }, .. }) =
        &mut case.record.events[at].what
    else {
        unreachable!()
    };
    candidate.kind = CandidateKind::Srflx;
    case.turns_red("relay-only-obeyed", &["ana uses relayed candidates only, but has the candidate"]);

    let mut case = unchanged.clone();
    for event in &mut case.record.events {
        let (What::Signaling(Signaling::Sent(Message::Signal { payload, .. }))
        | What::Signaling(Signaling::Received(Message::Signal { payload, .. }))) = &mut event.what
        else {
            continue;
        };
        *payload = payload.replace("raddr 0.0.0.0", &format!("raddr {address}")).into();
    }
    case.turns_red("relay-only-obeyed", &["ana", &format!("told its peer the address {address}")]);

    let mut case = unchanged.clone();
    // The last one, so that ana's NAT may let the server in.
    let is_datagram = |event: &Event| {
        event.node == ana
            && matches!(event.what, What::Packet(PacketEvent::Sent(view)) if view.protocol == Protocol::Udp)
    };
    let at = case.record.events.iter().rposition(is_datagram).expect("it sent some");
    let What::Packet(PacketEvent::Sent(view)) = &mut case.record.events[at].what else { unreachable!() };
    view.dst = TransportAddress::new(unchanged.scenario.actors[2].address, view.dst.port());
    case.turns_red("relay-only-obeyed", &["ana", "sent a datagram to 203.0.113.12:3478"]);
}

/// What happened to a client's allocations, and to its list of servers, in whole seconds.
fn turn_changes(case: &Case, name: &str) -> Vec<(u64, PeerChange)> {
    let node = case.node(name);
    let of = |event: &Event| match &event.what {
        What::Peer(PeerEvent { change, .. }) if event.node == node => Some((event.at.as_secs(), change.clone())),
        _ => None,
    };
    let is_shown = |(_, change): &(u64, PeerChange)| {
        matches!(change, PeerChange::Turn { .. } | PeerChange::IceServers { .. } | PeerChange::NoIceServers { .. })
    };
    case.record.events.iter().filter_map(of).filter(is_shown).collect()
}

const BOTH: &str = "[[actor]]\nname = 'ana'\nnat = 'symmetric'\nice-servers = 'from-config'\n\
    [[actor]]\nname = 'ben'\nnat = 'symmetric'\nice-servers = 'from-config'\njoins = '100ms'\n";

#[test]
fn servers_that_are_requested_have_a_credential_that_is_valid_from_then_on() {
    let case = Case::of(&format!("[server]\nturn = {{ credential-lifetime = '60s' }}\n{BOTH}"));
    assert_eq!(case.violations(), []);
    let changes = turn_changes(&case, "ben");
    let [(0, PeerChange::IceServers { servers: 1, relays: 1 }), (_, PeerChange::Turn { .. }), ..] = &changes[..] else {
        panic!("{changes:?}")
    };
}

#[test]
fn who_gets_no_servers_joins_without_any_and_nobody_blames_the_nats() {
    // The server is there again before ben gives his signaling up, but too late for his request.
    let steps = "[[step]]\nat = '5s'\ndo = 'power-loss'\nmachine = 'server'\n\
        [[step]]\nat = '8s'\ndo = 'boot'\nmachine = 'server'\n";
    let late = BOTH.replace("joins = '100ms'", "joins = '6s'");
    let case = Case::of(&format!("[server]\nturn = true\n{late}{steps}"));
    let changes = turn_changes(&case, "ben");
    assert!(matches!(&changes[..], [(6..=16, PeerChange::NoIceServers { .. })]), "{changes:?}");
    assert_eq!(case.violations(), []);
}

#[test]
fn a_new_secret_makes_credentials_wrong_until_they_are_requested_anew() {
    let steps = "[[step]]\nat = '10s'\ndo = 'new-secret'\nmachine = 'server'\n\
        [[step]]\nat = '25s'\ndo = 'leave'\nactor = ['ana', 'ben']\n\
        [[step]]\nat = '26s'\ndo = 'join'\nactor = ['ana', 'ben']\n";
    let case = Case::of(&format!("[server]\nturn = {{ allocation-lifetime = '10s' }}\n{BOTH}{steps}"));
    assert_eq!(case.violations(), []);
    let at = |wanted: fn(&TurnChange) -> bool| {
        let is_it = |change: &PeerChange| matches!(change, PeerChange::Turn { change, .. } if wanted(change));
        turn_changes(&case, "ana").into_iter().filter(|(_, change)| is_it(change)).map(|(at, _)| at).collect::<Vec<_>>()
    };
    let allocated = at(|change| matches!(change, TurnChange::Allocated { .. }));
    let refused = at(|change| matches!(change, TurnChange::Refused { code: 401, .. }));
    assert!(matches!(allocated[..], [0, 26 | 27]), "{allocated:?}");
    assert!(refused.first().is_some_and(|at| (10..=20).contains(at)), "{refused:?}");
    assert!(refused.last().is_some_and(|at| *at < 26), "{refused:?}");
}
