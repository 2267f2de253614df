//! Tests like those of `oracle.rs`, for what NATs do.

use std::sync::OnceLock;
use std::time::Duration;

use sim::event::{Event, Mapping, NatEvent, NodeId, NodeKind, Protocol, TransportAddress, What};

use crate::oracle::Case;

const SLUG: &str = "nat-table-sound";

/// Two peers behind NATs which filter by address and port, and do not hairpin. UDP mappings live for 180 s.
fn homes() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    let actors = "[[actor]]\nname = \"ana\"\nnat = \"port-restricted-cone\"\n\
        [[actor]]\nname = \"ben\"\nnat = \"symmetric\"\n[expect]\nunconnected = [[\"ana\", \"ben\"]]\n";
    CASE.get_or_init(|| Case::of(actors)).clone()
}

/// The index of the first creation of a UDP mapping by the NAT of an actor, and the mapping.
fn created(case: &Case, network: &str) -> (usize, NodeId, Mapping) {
    let node =
        case.record.nodes.iter().position(|node| matches!(node.kind, NodeKind::Nat(_)) && *node.name == *network);
    let node = NodeId(node.expect("it has a NAT") as u16);
    let index = case.find(|event| {
        event.node == node && matches!(event.what, What::Nat(NatEvent::Created(new)) if new.protocol == Protocol::Udp)
    });
    match case.record.events[index].what {
        What::Nat(NatEvent::Created(mapping)) => (index, node, mapping),
        _ => unreachable!("found as one"),
    }
}

fn insert_after(case: &mut Case, index: usize, node: NodeId, what: NatEvent) {
    let at = case.record.events[index].at;
    case.record.events.insert(index + 1, Event { at, node, what: What::Nat(what) });
}

fn with_port(endpoint: TransportAddress, port: u16) -> TransportAddress {
    TransportAddress::new(endpoint.ip(), port)
}

#[test]
fn what_really_happens_breaks_no_promise() {
    assert_eq!(homes().violations(), []);
}

#[test]
fn nat_table_sound_sees_a_second_mapping_of_an_endpoint() {
    let mut case = homes();
    let (index, node, first) = created(&case, "ana");
    let second = Mapping { external: with_port(first.external, 9), remote: with_port(first.remote, 9), ..first };
    insert_after(&mut case, index, node, NatEvent::Created(second));
    case.turns_red(SLUG, &["ana", "created a mapping of", "though it has a mapping of"]);
    // With a mapping for each remote endpoint, that is right.
    let mut case = homes();
    let (index, node, first) = created(&case, "ben");
    let second = Mapping { external: with_port(first.external, 9), remote: with_port(first.remote, 9), ..first };
    insert_after(&mut case, index, node, NatEvent::Created(second));
    assert_eq!(case.violations(), []);
}

#[test]
fn nat_table_sound_sees_an_external_endpoint_that_two_share() {
    let mut case = homes();
    let (index, node, first) = created(&case, "ana");
    let other = Mapping { internal: with_port(first.internal, 9), ..first };
    insert_after(&mut case, index, node, NatEvent::Created(other));
    case.turns_red(SLUG, &["though another mapping has that external endpoint"]);
}

#[test]
fn nat_table_sound_sees_a_stranger_let_in() {
    let mut case = homes();
    let (index, node, mapping) = created(&case, "ana");
    let stranger = with_port(mapping.remote, 9);
    insert_after(&mut case, index, node, NatEvent::Used(Mapping { remote: stranger, ..mapping }));
    case.turns_red(SLUG, &[&format!("let {stranger} in to {}, which has never sent to it", mapping.internal)]);
}

#[test]
fn nat_table_sound_sees_a_mapping_that_is_not_there() {
    let mut case = homes();
    let (index, _, _) = created(&case, "ana");
    case.record.events.remove(index);
    case.turns_red(SLUG, &["which it does not have"]);
}

#[test]
fn nat_table_sound_sees_a_mapping_that_ends_too_early() {
    let mut case = homes();
    let (index, node, mapping) = created(&case, "ana");
    let expired = NatEvent::Expired(Mapping { internal: with_port(mapping.internal, 9), ..mapping });
    let new = NatEvent::Created(Mapping {
        internal: with_port(mapping.internal, 9),
        external: with_port(mapping.external, 9),
        ..mapping
    });
    insert_after(&mut case, index, node, expired);
    insert_after(&mut case, index, node, new);
    case.turns_red(SLUG, &["forgot a mapping", "was idle for 0.000 s; its lifetime is at least"]);
}

#[test]
fn nat_table_sound_sees_a_mapping_that_does_not_end() {
    let mut case = homes();
    let lifetime = case.scenario.networks.iter().filter_map(|network| network.nat.as_ref());
    let lifetime = lifetime.map(|nat| nat.udp_lifetime).max().expect("there is a NAT");
    // The run goes on for long, and no NAT says that anything ended.
    let last = case.record.events.last_mut().expect("something happened");
    last.at += lifetime + Duration::from_secs(30);
    case.record.events.retain(|event| !matches!(event.what, What::Nat(NatEvent::Expired(_))));
    let wrong: Vec<_> = case.violations().into_iter().filter(|(oracle, _)| *oracle == SLUG).collect();
    assert!(wrong.iter().any(|(_, message)| message.contains("still has a mapping")), "{wrong:?}");
}
