//! Tests like those of `oracle.rs`, for what STUN and TURN servers do.

use std::sync::OnceLock;
use std::time::Duration;

use sim::event::datagrams::{Class, Content, ServerDatagram, StunMessage};

use crate::oracle::Case;

const ALLOCATE: u16 = 3;
const CREATE_PERMISSION: u16 = 8;
const CHANNEL_BIND: u16 = 9;

/// Two peers whose NATs let them meet at a TURN server only.
fn relayed() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    let text = "[[ice-server]]\nname = \"turn\"\n[[actor]]\nname = \"ana\"\nnat = \"symmetric\"\n\
        [[actor]]\nname = \"ben\"\nnat = \"symmetric\"\n[expect]\nrelayed = [[\"ana\", \"ben\"]]\n";
    CASE.get_or_init(|| Case::of(text)).clone()
}

/// All STUN messages of a class between the server and its clients.
fn messages(case: &mut Case, class: Class) -> impl Iterator<Item = &mut StunMessage> {
    let of_server = case.record.server_datagrams.iter_mut().filter(|datagram| datagram.is_of_server());
    of_server.filter_map(move |datagram| match &mut datagram.content {
        Content::Stun(message) if message.class == class => Some(&mut **message),
        _ => None,
    })
}

fn is_response(datagram: &ServerDatagram) -> bool {
    let is_success = matches!(&datagram.content, Content::Stun(message) if message.class == Class::Success);
    datagram.is_of_server() && is_success
}

#[test]
fn what_really_happens_breaks_no_promise() {
    let mut case = relayed();
    assert_eq!(case.violations(), []);
    // The tests below change what really is there.
    let methods: Vec<u16> = messages(&mut case, Class::Success).map(|message| message.method).collect();
    assert!([ALLOCATE, CREATE_PERMISSION, CHANNEL_BIND].iter().all(|method| methods.contains(method)), "{methods:?}");
    let datagrams = &case.record.server_datagrams;
    assert!(datagrams.iter().any(|datagram| datagram.is_sent && matches!(datagram.content, Content::ChannelData(_))));
}

#[test]
fn transaction_id_echoed_sees_an_id_that_nobody_used() {
    let mut case = relayed();
    messages(&mut case, Class::Success).next().expect("there are some").id[11] ^= 1;
    case.turns_red("transaction-id-echoed", &["responded to 198.51.100.", "no request from there had"]);
}

#[test]
fn transaction_id_echoed_sees_a_second_response() {
    let mut case = relayed();
    let datagrams = &mut case.record.server_datagrams;
    let first = datagrams.iter().position(is_response).expect("there is one");
    datagrams.insert(first + 1, datagrams[first].clone());
    case.turns_red("transaction-id-echoed", &["responded to 198.51.100.", "once more"]);
}

#[test]
fn no_open_relay_sees_a_grant_to_somebody_unknown() {
    for method in [ALLOCATE, CREATE_PERMISSION, CHANNEL_BIND] {
        let mut case = relayed();
        for request in messages(&mut case, Class::Request).filter(|request| request.method == method) {
            request.is_signed = false;
        }
        case.turns_red("no-open-relay", &["turn granted", "no MESSAGE-INTEGRITY"]);
    }
}

#[test]
fn turn_permission_enforced_sees_data_of_a_peer_without_permission() {
    let mut case = relayed();
    for request in messages(&mut case, Class::Request) {
        request.peers.clear();
        request.channel = None;
    }
    case.turns_red("turn-permission-enforced", &["turn relayed data", "for which it has no permission"]);
    let (_, message) = &case.violations()[0];
    assert!(message.contains(" and 198.51.100."), "{message}");
}

#[test]
fn turn_permission_enforced_sees_data_on_a_channel_that_nobody_bound() {
    let mut case = relayed();
    for request in messages(&mut case, Class::Request) {
        request.channel = None;
    }
    case.turns_red("turn-permission-enforced", &["on channel 0x4000", "has not bound"]);
}

#[test]
fn turn_permission_enforced_sees_a_channel_that_has_ended() {
    let mut case = relayed();
    for response in messages(&mut case, Class::Success).filter(|response| response.method == ALLOCATE) {
        response.lifetime = Some(3_600);
    }
    let last = case.record.server_datagrams.iter_mut().rev().find(|datagram| {
        datagram.is_sent && datagram.at < Duration::from_secs(40) && matches!(datagram.content, Content::ChannelData(_))
    });
    last.expect("data is relayed").at += Duration::from_secs(700);
    case.turns_red("turn-permission-enforced", &["on channel 0x4", "which ended at 6"]);
}

#[test]
fn turn_expiry_honoured_sees_data_for_an_allocation_that_has_ended() {
    let mut case = relayed();
    for response in messages(&mut case, Class::Success) {
        response.lifetime = response.lifetime.map(|_| 1);
    }
    case.turns_red("turn-expiry-honoured", &["turn relayed data for", "its allocation ended at"]);
}
