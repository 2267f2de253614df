//! The simulated network and peers beside what libwebrtc's own tests expect of its: which pair of candidates two peers
//! select, for each pair of networks, with STUN and a TURN server over UDP.
//!
//! Source: libwebrtc, p2p/base/p2p_transport_channel_unittest.cc, the matrix of the connectivity test (2026-11-28). Its
//! cells with TCP candidates are left out, because the simulated peers have none.

use scenarios::{Builder, NatBehavior, TurnServer};
use sim::reachability::CandidateKind;

use crate::played::{Played, scenario};

const SECONDS: u64 = 15;

/// The originator's local and remote candidate: (h)ost, (s)erver-reflexive, (p)eer-reflexive, (r)elayed. The rows are
/// originators, the columns receivers, both in the order of [`NETWORKS`].
const EXPECTED: [[&str; 7]; 7] = [
    ["hh", "hs", "hs", "hs", "hp", "hs", "hp"],
    ["sh", "ss", "ss", "ss", "sp", "ss", "sp"],
    ["sh", "ss", "ss", "ss", "sp", "ss", "sp"],
    ["sh", "ss", "ss", "ss", "rp", "ss", "rp"],
    ["ph", "ps", "ps", "pr", "pr", "ps", "pr"],
    ["sh", "ss", "ss", "ss", "sp", "ss", "sp"],
    ["ph", "ps", "ps", "pr", "pr", "ps", "pr"],
];

/// The networks, from the internet inwards, each NAT by the profile that is like it.
const NETWORKS: [&[&str]; 7] = [
    &[],
    &["full-cone"],
    &["restricted-cone"],
    &["port-restricted-cone"],
    &["symmetric"],
    &["full-cone", "full-cone"],
    &["full-cone", "symmetric"],
];

/// The cells that differ, with what is found. Each of the two relays is possible here. By the formula of RFC 8445
/// §6.1.2.3, the pair of the originator's own socket (its base is a host candidate) with the receiver's relay has a
/// higher priority than the pair of the originator's relay with the receiver's peer-reflexive candidate. libwebrtc's
/// originator takes the latter, which works first in its test.
const DIFFERING: [(usize, usize, &str); 2] = [(3, 4, "sr"), (3, 6, "sr")];

#[test]
fn peers_select_what_libwebrtc_expects() {
    let mut differing = Vec::new();
    for (row, a) in NETWORKS.iter().enumerate() {
        for (column, b) in NETWORKS.iter().enumerate() {
            let built = peer(peer(scenario(SECONDS).turn(TurnServer::default()), a), b);
            let played = Played::of(built, 1);
            let found = selected(&played);
            if found != EXPECTED[row][column] {
                differing.push((row, column, found));
            }
        }
    }
    assert_eq!(differing, DIFFERING.map(|(row, column, found)| (row, column, found.to_owned())));
}

/// Adds a peer behind a row of NATs.
fn peer(built: Builder, nats: &[&str]) -> Builder {
    let nat = |profile: &str| -> NatBehavior {
        scenarios::profile(profile).and_then(|profile| profile.behavior).expect("a shipped profile")
    };
    let first = built.scenario.networks.len();
    let built = nats.iter().enumerate().fold(built, |built, (index, profile)| {
        built.network(index.checked_sub(1).map(|outer| first + outer), nat(profile))
    });
    built.peer((!nats.is_empty()).then(|| first + nats.len() - 1))
}

/// The selected pair as the originator has it.
fn selected(played: &Played) -> String {
    let letter = |one, other| match played.seen_as(one, other) {
        None => '-',
        Some(CandidateKind::Host) => 'h',
        Some(CandidateKind::ServerReflexive) => 's',
        Some(CandidateKind::PeerReflexive) => 'p',
        Some(CandidateKind::Relayed) => 'r',
    };
    if !played.connected(0, 1) {
        return "--".to_owned();
    }
    [letter(0, 1), letter(1, 0)].into_iter().collect()
}
