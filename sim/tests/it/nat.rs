//! Tests of the NAT, requirement by requirement of RFC 4787: each input with its exact output.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use scenarios::Dependence::{self, AddressAndPortDependent, AddressDependent, EndpointIndependent};
use scenarios::FilterState::{self, PerEndpoint, PerMapping};
use scenarios::{Hairpinning, NatBehavior, NatReboot, Pooling, PortAllocation, Unsolicited};
use sim::event::Protocol::{Tcp, Udp};
use sim::event::TransportAddress;
use sim::event::{Mapping, Protocol, Refusal};
use sim::fabric::nat::{Change, FiveTuple, Nat, NatCx, Signal};

const X: &str = "10.0.0.2:5000";
const Y: &str = "198.51.100.7:3478";
/// The address of [`Y`] with another port.
const Y_PORT: &str = "198.51.100.7:9999";
const Z: &str = "192.0.2.9:3478";

//= https://www.rfc-editor.org/rfc/rfc4787#section-4.1
//# Endpoint-Independent Mapping
#[test]
fn endpoint_independent_mapping_is_the_same_towards_everybody() {
    let mut nat = Bench::new(behavior(EndpointIndependent, EndpointIndependent, PerMapping));
    assert_eq!([Y, Y_PORT, Z].map(|to| nat.send(X, to)), [ok("203.0.113.1:20000"); 3]);
    assert_eq!(nat.send("10.0.0.2:5001", Y), ok("203.0.113.1:20001"));
    assert_eq!(nat.send("10.0.0.3:5000", Y), ok("203.0.113.1:20002"));
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-4.1
//# Address-Dependent Mapping
#[test]
fn address_dependent_mapping_differs_by_address() {
    let mut nat = Bench::new(behavior(AddressDependent, EndpointIndependent, PerMapping));
    let sent = [Y, Y_PORT, Z, Y].map(|to| nat.send(X, to).unwrap().port());
    assert_eq!(sent, [20000, 20000, 20001, 20000]);
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-4.1
//# Address and Port-Dependent Mapping
#[test]
fn address_and_port_dependent_mapping_differs_by_address_and_port() {
    let mut nat = Bench::new(behavior(AddressAndPortDependent, EndpointIndependent, PerMapping));
    let sent = [Y, Y_PORT, Z, Y].map(|to| nat.send(X, to).unwrap().port());
    assert_eq!(sent, [20000, 20001, 20002, 20000]);
}

#[test]
fn udp_and_tcp_have_mappings_of_their_own() {
    let mut nat = Bench::new(behavior(EndpointIndependent, EndpointIndependent, PerMapping));
    assert_eq!(nat.send(X, Y), ok("203.0.113.1:20000"));
    assert_eq!(nat.segment(X, Y, true), ok("203.0.113.1:20000"));
    nat.after(30);
    assert_eq!(nat.receive("203.0.113.1:20000", Y), Err(Refusal::NoMapping));
    assert_eq!(nat.receive_segment("203.0.113.1:20000", Y), ok(X));
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-5
//# Endpoint-Independent Filtering
#[test]
fn endpoint_independent_filtering_lets_anybody_in() {
    let mut nat = Bench::new(behavior(EndpointIndependent, EndpointIndependent, PerMapping));
    nat.send(X, Y).unwrap();
    assert_eq!([Y, Y_PORT, Z].map(|from| nat.receive("203.0.113.1:20000", from)), [ok(X); 3]);
    assert_eq!(nat.receive("203.0.113.1:20001", Y), Err(Refusal::NoMapping));
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-5
//# Address-Dependent Filtering
#[test]
fn address_dependent_filtering_wants_the_address_sent_to() {
    let mut nat = Bench::new(behavior(EndpointIndependent, AddressDependent, PerMapping));
    nat.send(X, Y).unwrap();
    let received = [Y, Y_PORT, Z].map(|from| nat.receive("203.0.113.1:20000", from));
    assert_eq!(received, [ok(X), ok(X), Err(Refusal::Filtered)]);
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-5
//# Address and Port-Dependent Filtering
#[test]
fn address_and_port_dependent_filtering_wants_the_endpoint_sent_to() {
    let mut nat = Bench::new(behavior(EndpointIndependent, AddressAndPortDependent, PerMapping));
    nat.send(X, Y).unwrap();
    let received = [Y, Y_PORT, Z].map(|from| nat.receive("203.0.113.1:20000", from));
    assert_eq!(received, [ok(X), Err(Refusal::Filtered), Err(Refusal::Filtered)]);
}

#[test]
fn a_filter_is_of_one_mapping_or_of_all_of_an_endpoint() {
    for (filter_state, crosswise) in [(PerMapping, Err(Refusal::Filtered)), (PerEndpoint, ok(X))] {
        let mut nat = Bench::new(behavior(AddressAndPortDependent, AddressAndPortDependent, filter_state));
        assert_eq!([Y, Z].map(|to| nat.send(X, to)), [ok("203.0.113.1:20000"), ok("203.0.113.1:20001")]);
        assert_eq!(nat.receive("203.0.113.1:20000", Z), crosswise);
        assert_eq!(nat.receive("203.0.113.1:20001", Y), crosswise);
        assert_eq!(nat.receive("203.0.113.1:20001", "192.0.2.77:1"), Err(Refusal::Filtered));
    }
}

/// The STUN server keeps the mapping alive, but a remote to which the inside has not sent for the lifetime is filtered
/// again.
#[test]
fn a_filter_entry_ages_though_its_mapping_lives() {
    let mut nat = Bench::new(behavior(EndpointIndependent, AddressAndPortDependent, PerMapping));
    nat.send(X, Y).unwrap();
    nat.send(X, Z).unwrap();
    nat.after(29).send(X, Y).unwrap();
    nat.after(1);
    assert_eq!(nat.receive("203.0.113.1:20000", Z), Err(Refusal::Filtered));
    assert_eq!(nat.receive("203.0.113.1:20000", Y), ok(X));
    nat.send(X, Z).unwrap();
    assert_eq!(nat.receive("203.0.113.1:20000", Z), ok(X));
}

#[test]
fn a_filter_entry_that_has_ended_begins_anew() {
    let mut nat = Bench::new(cone());
    nat.send(X, Z).unwrap();
    nat.receive("203.0.113.1:20000", Z).unwrap();
    nat.after(100).send(X, Y).unwrap();
    nat.after(20).send(X, Z).unwrap();
    nat.after(30);
    assert_eq!(
        nat.receive("203.0.113.1:20000", Z),
        Err(Refusal::Filtered),
        "its answer of long ago does not lengthen its life"
    );
}

#[test]
fn a_filter_of_an_endpoint_dies_with_its_last_mapping() {
    let mut nat = Bench::new(behavior(AddressAndPortDependent, AddressDependent, PerEndpoint));
    nat.send(X, Y).unwrap();
    assert_eq!(nat.receive("203.0.113.1:20000", Y), ok(X));
    // Y's address has answered, so its filter entry is valid until 220 s. The mapping for this packet, which is never
    // answered, ends at 130 s.
    assert_eq!(nat.after(100).send(X, Y_PORT), ok("203.0.113.1:20001"));
    assert_eq!(nat.after(30).send(X, Z), ok("203.0.113.1:20002"));
    assert_eq!(nat.receive("203.0.113.1:20002", Y), Err(Refusal::Filtered));
}

/// RFC 4787 §4.2.1: port preservation without overloading.
#[test]
fn preserved_ports_fall_to_the_next_free_one_in_their_range() {
    let mut nat = Bench::new(NatBehavior { port_allocation: PortAllocation::Preserve, ..cone() });
    let sent = ["10.0.0.2:5000", "10.0.0.3:5000", "10.0.0.4:5000", "10.0.0.2:5001"].map(|from| nat.send(from, Y));
    assert_eq!(sent.map(|external| external.unwrap().port()), [5000, 5001, 5002, 5003]);
    let wrapping = ["10.0.0.2:65535", "10.0.0.3:65535", "10.0.0.2:1023", "10.0.0.3:1023"].map(|from| nat.send(from, Y));
    assert_eq!(wrapping.map(|external| external.unwrap().port()), [65535, 1024, 1023, 1]);
}

#[test]
fn sequential_ports_do_not_return_at_once() {
    let mut nat = Bench::new(cone());
    assert_eq!(nat.send(X, Y), ok("203.0.113.1:20000"));
    nat.after(30);
    assert_eq!(nat.send(X, Y), ok("203.0.113.1:20001"));
}

#[test]
fn random_ports_are_free_and_from_1024_on() {
    let mut nat = Bench::new(NatBehavior { port_allocation: PortAllocation::Random, ..cone() });
    let mut ports: Vec<u16> = (0..5000).map(|from| nat.send(&format!("10.0.0.2:{from}"), Y).unwrap().port()).collect();
    // If the draw were not uniform, half of the ports would not be below the middle.
    assert!((2300..2700).contains(&ports.iter().filter(|port| **port < 33_280).count()));
    ports.sort_unstable();
    assert!(ports[0] >= 1024 && ports.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_block_of_ports_is_one_internal_addresss_until_its_last_mapping_ends() {
    let mut nat = Bench::new(NatBehavior { port_allocation: PortAllocation::Block, ..cone() });
    let mut ports = |host: u8, ports: std::ops::Range<u16>| -> Vec<u16> {
        ports.map(|port| nat.send(&format!("10.0.0.{host}:{port}"), Y).unwrap().port()).collect()
    };
    assert_eq!(ports(2, 1..64), Vec::from_iter(1024..1087));
    assert_eq!(ports(3, 1..3), [1088, 1089]);
    assert_eq!(ports(2, 64..66), [1087, 1152]);
    nat.after(30);
    let mut send = |host: u8| nat.send(&format!("10.0.0.{host}:1"), Y).unwrap().port();
    assert_eq!([send(4), send(2)], [1216, 1280]);
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-4.2.1
//# REQ-3:  A NAT MUST NOT have a "Port assignment" behavior of "Port
//# overloading".
#[test]
fn with_every_port_in_use_a_new_mapping_is_refused() {
    for port_allocation in [PortAllocation::Sequential, PortAllocation::Preserve, PortAllocation::Random] {
        let mut nat = Bench::new(NatBehavior { port_allocation, max_mappings: usize::MAX, ..cone() });
        for port in 1024..=u16::MAX {
            nat.out(Udp, TransportAddress::new(Ipv4Addr::new(10, 0, 0, 2), port), at(Y), Signal::Data).unwrap();
        }
        assert_eq!(nat.send("10.0.0.3:5000", Y), Err(Refusal::PortsExhausted));
        assert!(nat.segment("10.0.0.3:5000", Y, true).is_ok(), "TCP has ports of its own");
        assert!(nat.send("10.0.0.2:5000", Y).is_ok(), "who has a mapping keeps it");
        nat.after(30);
        assert!(nat.send("10.0.0.3:5000", Y).is_ok(), "ports of expired mappings are free");
    }
}

#[test]
fn with_every_block_given_out_a_new_address_is_refused() {
    let mut nat = Bench::new(NatBehavior { port_allocation: PortAllocation::Block, ..cone() });
    for host in 0..1008u32 {
        nat.out(Udp, TransportAddress::new(Ipv4Addr::from_bits(0x0a00_0000 + host), 5000), at(Y), Signal::Data)
            .unwrap();
    }
    assert_eq!(nat.send("10.9.0.1:5000", Y), Err(Refusal::PortsExhausted));
    assert_eq!(nat.send("10.0.0.0:5001", Y), ok("203.0.113.1:1025"));
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-4.1
//# REQ-2:  It is RECOMMENDED that a NAT have an "IP address pooling"
//# behavior of "Paired".
#[test]
fn paired_pooling_keeps_an_internal_address_to_one_external() {
    let mut nat = Bench::pooled(Pooling::Paired);
    let sent = |nat: &mut Bench, host: u8, port: u16| nat.send(&format!("10.0.0.{host}:{port}"), Y).unwrap().ip();
    let [first, second] = [at("203.0.113.1:0"), at("203.0.113.2:0")].map(|address| address.ip());
    assert_eq!([2, 3, 4].map(|host| sent(&mut nat, host, 1)), [first, second, first]);
    assert!((2..50).all(|port| sent(&mut nat, 3, port) == second));
    nat.nat.reboot(nat.now, REBOOT);
    assert_eq!(sent(&mut nat, 3, 1), first, "after a reboot the turn begins anew");
}

#[test]
fn arbitrary_pooling_draws_anew_for_each_mapping() {
    let mut nat = Bench::pooled(Pooling::Arbitrary);
    let firsts = (1..101)
        .filter(|port| nat.send(&format!("10.0.0.2:{port}"), Y).unwrap().ip() == Ipv4Addr::new(203, 0, 113, 1))
        .count();
    assert!((30..70).contains(&firsts), "{firsts} of 100");
    let again = nat.send("10.0.0.2:1", Z);
    assert_eq!(again, nat.send("10.0.0.2:1", Y), "a mapping keeps its address");
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-4.3
//# REQ-5:  A NAT UDP mapping timer MUST NOT expire in less than two
//# minutes, unless REQ-5a applies.
#[test]
fn a_mapping_is_gone_at_its_lifetime_and_not_before() {
    let just_before = Duration::from_nanos(29_999_999_999);
    let mut nat = Bench::new(cone());
    nat.send(X, Y).unwrap();
    nat.now = just_before;
    assert_eq!(nat.receive("203.0.113.1:20000", Y), ok(X), "an answer comes in the last nanosecond");
    nat.now = just_before + Duration::from_nanos(119_999_999_999);
    assert_eq!(nat.receive("203.0.113.1:20000", Y), ok(X), "with it the longer lifetime has begun");
    nat.after(120);
    assert_eq!(nat.receive("203.0.113.1:20000", Y), Err(Refusal::NoMapping));
}

#[test]
fn an_expired_mapping_does_not_come_back_from_inside() {
    let mut nat = Bench::new(cone());
    nat.send(X, Y).unwrap();
    nat.after(30);
    assert_eq!(nat.send(X, Y), ok("203.0.113.1:20001"));
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-4.3
//# REQ-6:  The NAT mapping Refresh Direction MUST have a "NAT Outbound
//# refresh behavior" of "True".
#[test]
fn outbound_packets_always_refresh() {
    for udp_inbound_refresh in [false, true] {
        let mut nat = Bench::new(NatBehavior { udp_inbound_refresh, ..cone() });
        assert!((0..10).all(|_| nat.after(29).send(X, Y) == ok("203.0.113.1:20000")));
    }
}

//= https://www.rfc-editor.org/rfc/rfc4787#section-4.3
//# a) The NAT mapping Refresh Direction MAY have a "NAT Inbound
//#    refresh behavior" of "True".
#[test]
fn inbound_packets_refresh_if_the_nat_is_so_minded() {
    for (udp_inbound_refresh, at_120) in [(false, Err(Refusal::NoMapping)), (true, ok(X))] {
        let mut nat = Bench::new(NatBehavior { udp_inbound_refresh, ..cone() });
        nat.send(X, Y).unwrap();
        nat.after(1).receive("203.0.113.1:20000", Y).unwrap();
        nat.after(118);
        assert_eq!(
            nat.receive("203.0.113.1:20000", Y),
            ok(X),
            "answered, it lives for the longer lifetime from the last refresh"
        );
        nat.after(1);
        assert_eq!(nat.receive("203.0.113.1:20000", Y), at_120);
    }
}

#[test]
fn what_is_filtered_refreshes_nothing() {
    let mut nat = Bench::new(cone());
    nat.send(X, Y).unwrap();
    assert_eq!(nat.after(29).receive("203.0.113.1:20000", Z), Err(Refusal::Filtered));
    nat.after(1);
    assert_eq!(nat.receive("203.0.113.1:20000", Y), Err(Refusal::NoMapping));
}

/// Linux: `nf_conntrack_udp_packet` gives the longer lifetime to a packet that comes after an answer and more than 2 s
/// after the first packet.
#[test]
fn an_answer_alone_makes_no_stream() {
    let mut nat = Bench::new(linux());
    nat.send(X, Y).unwrap();
    nat.after(1).receive("203.0.113.1:5000", Y).unwrap();
    nat.after(29);
    assert_eq!(nat.receive("203.0.113.1:5000", Y), ok(X), "an answer refreshes");
    nat.after(120);
    assert_eq!(nat.receive("203.0.113.1:5000", Y), Err(Refusal::NoMapping), "it was a stream from then on");
    nat.send(X, Y).unwrap();
    nat.after(1).receive("203.0.113.1:5000", Y).unwrap();
    nat.after(1).send(X, Y).unwrap();
    nat.after(30);
    assert_eq!(nat.receive("203.0.113.1:5000", Y), Err(Refusal::NoMapping), "2 s are not more than 2 s");
    nat.send(X, Y).unwrap();
    nat.after(3).receive("203.0.113.1:5000", Y).unwrap();
    nat.after(30);
    assert_eq!(nat.receive("203.0.113.1:5000", Y), Err(Refusal::NoMapping), "the first answer alone is not enough");
}

#[test]
fn tcp_has_lifetimes_of_its_own_that_both_directions_refresh() {
    let mut nat = Bench::new(NatBehavior { udp_inbound_refresh: false, ..cone() });
    let external = nat.handshake(X, Y);
    assert_eq!(nat.after(7439).receive_segment(&external, Y), ok(X));
    assert_eq!(nat.after(7439).segment(X, Y, false), ok(&external));
    assert_eq!(nat.after(7440).receive_segment(&external, Y), Err(Refusal::NoMapping));
}

//= https://www.rfc-editor.org/rfc/rfc5382#section-5
//# REQ-5:  If a NAT cannot determine whether the endpoints of a TCP
//# connection are active, it MAY abandon the session if it has been
//# idle for some time.
#[test]
fn each_state_of_a_tcp_connection_has_its_lifetime() {
    // What comes after the handshake, and for how long the NAT remembers the connection then, seconds.
    let inside: fn(&mut Bench, &str, Signal) = |nat, _, signal| {
        nat.tcp(X, Y, signal).unwrap();
    };
    let outside: fn(&mut Bench, &str, Signal) = |nat, external, signal| {
        nat.tcp_in(external, Y, signal).unwrap();
    };
    for from in [inside, outside] {
        for (signal, lifetime) in [(Signal::Data, 7440), (Signal::Close, 120), (Signal::Reset, 10)] {
            let mut nat = Bench::new(cone());
            let external = nat.handshake(X, Y);
            from(&mut nat, &external, signal);
            assert_eq!(nat.nat.next_expiry(), Some(Duration::from_secs(lifetime)), "{signal:?}");
        }
    }
    let mut nat = Bench::new(cone());
    let external = nat.segment(X, Y, true).unwrap().to_string();
    assert_eq!(nat.nat.next_expiry(), Some(Duration::from_secs(240)), "nobody has answered");
    nat.tcp_in(&external, Y, Signal::Accept).unwrap();
    assert_eq!(nat.nat.next_expiry(), Some(Duration::from_secs(240)), "the handshake is not complete");
}

#[test]
fn a_new_connection_between_the_same_endpoints_begins_anew() {
    for end in [Signal::Close, Signal::Reset] {
        let mut nat = Bench::new(cone());
        let external = nat.handshake(X, Y);
        nat.tcp(X, Y, end).unwrap();
        assert_eq!(nat.after(5).handshake(X, Y), external);
        assert_eq!(nat.nat.next_expiry(), Some(Duration::from_secs(7445)));
    }
}

#[test]
fn a_tcp_mapping_lives_as_long_as_one_of_its_connections() {
    let mut nat = Bench::new(cone());
    let external = nat.handshake(X, Y);
    assert_eq!(nat.handshake(X, Z), external);
    nat.tcp(X, Y, Signal::Reset).unwrap();
    nat.after(10);
    assert_eq!(nat.tcp_in(&external, Y, Signal::Data), Err(Refusal::Filtered), "this connection is forgotten");
    assert_eq!(nat.tcp_in(&external, Z, Signal::Data), ok(X));
    nat.tcp_in(&external, Z, Signal::Close).unwrap();
    nat.after(120);
    assert_eq!(nat.tcp_in(&external, Z, Signal::Data), Err(Refusal::NoMapping));
}

/// 100 clients that drop their connection every 8 s fill the 1024 mappings of `home-median` after 78 s if an RST does
/// not end a mapping.
#[test]
fn connections_that_are_reset_do_not_fill_the_table() {
    let mut nat = Bench::new(scenarios::profile("home-median").unwrap().behavior.unwrap());
    let mut most = 0;
    for round in 0..40u16 {
        for host in 0..100 {
            let from = format!("192.168.1.{}:{}", 10 + host, 1024 + round);
            nat.handshake(&from, Y);
            nat.tcp(&from, Y, Signal::Reset).unwrap();
        }
        most = most.max(nat.nat.mappings().count());
        nat.after(8);
    }
    assert_eq!(most, 200);
}

#[test]
fn a_tcp_segment_of_an_unknown_connection_gets_no_mapping() {
    let mut nat = Bench::new(cone());
    assert_eq!(nat.segment(X, Y, false), Err(Refusal::TcpMidStream));
    assert_eq!(nat.segment(X, Y, true), ok("203.0.113.1:20000"));
    nat.nat.reboot(nat.now, REBOOT);
    assert_eq!(nat.segment(X, Y, false), Err(Refusal::TcpMidStream));
    assert_eq!(nat.nat.mappings().count(), 0);
}

/// Linux: `nf_conntrack_tcp_loose`.
#[test]
fn a_nat_that_picks_up_knows_a_connection_again_when_the_inside_sends() {
    let mut nat = Bench::new(linux());
    let external = nat.handshake(X, Y);
    nat.nat.reboot(nat.now, REBOOT);
    assert_eq!(nat.tcp_in(&external, Y, Signal::Data), Err(Refusal::NoMapping), "the outside cannot");
    for signal in [Signal::Close, Signal::Reset, Signal::Accept] {
        assert_eq!(nat.tcp(X, Y, signal), Err(Refusal::TcpMidStream), "nor can {signal:?}");
    }
    assert_eq!(nat.tcp(X, Y, Signal::Data), ok(&external));
    assert_eq!(nat.tcp_in(&external, Y, Signal::Data), ok(X));
    assert_eq!(nat.nat.next_expiry(), Some(Duration::from_secs(432_000)), "it is established");
    nat.nat.reboot(nat.now, NatReboot { resets_tcp: true, ..REBOOT });
    assert_eq!(nat.tcp(X, Y, Signal::Data), Err(Refusal::TcpMidStream), "a reboot that resets connections");
}

/// Linux: `nf_nat_l4proto_unique_tuple`.
#[test]
fn overloaded_ports_are_kept_towards_different_remotes_and_random_towards_one() {
    let mut nat = Bench::new(linux());
    let other = "10.0.0.3:5000";
    assert_eq!([Y, Y_PORT].map(|to| nat.send(X, to)), [ok("203.0.113.1:5000"); 2]);
    assert_eq!(nat.send(other, Z), ok("203.0.113.1:5000"), "nobody else sends there from this port");
    let ports: Vec<u16> = (0..20)
        .map(|_| {
            let port = nat.send(other, Y).unwrap().port();
            nat.after(30).send(X, Y).unwrap();
            port
        })
        .collect();
    assert!(ports.iter().all(|port| *port >= 1024 && *port != 5000), "{ports:?}");
    assert!(ports.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) > 1000).count() > 10, "random: {ports:?}");
    let port = nat.send(other, Y).unwrap();
    assert_eq!(nat.receive("203.0.113.1:5000", Y), ok(X), "the remote tells the mappings apart");
    assert_eq!(nat.receive(&port.to_string(), Y), ok(other));
    assert_eq!(nat.send(other, Y_PORT), Ok(port), "the next mapping of this endpoint has the port of its newest one");
    assert_eq!(nat.send(X, Y_PORT), ok("203.0.113.1:5000"));
    assert_eq!(nat.receive("203.0.113.1:5000", "192.0.2.77:1"), Err(Refusal::Filtered));
    assert_eq!(nat.receive("203.0.113.1:5001", Y), Err(Refusal::NoMapping));
}

/// Measured with a Linux kernel: of 20 calls between two such homes, none connects.
#[test]
fn without_a_firewall_who_is_sent_to_first_loses_its_port_towards_the_sender() {
    for (unsolicited, kept) in [(Unsolicited::Drop, true), (Unsolicited::Reject, true), (Unsolicited::Accept, false)] {
        let mut nat = Bench::new(NatBehavior { unsolicited, ..linux() });
        assert_eq!(nat.send(X, Y), ok("203.0.113.1:5000"));
        assert!(nat.receive("203.0.113.1:5000", Z).is_err());
        let towards = nat.after(29).send(X, Z).unwrap();
        assert_eq!(towards == at("203.0.113.1:5000"), kept, "{unsolicited:?}");
        assert_eq!(nat.receive(&towards.to_string(), Z), ok(X));
        nat.after(200);
        assert!(nat.receive("203.0.113.1:5000", Z).is_err());
        assert_eq!(nat.after(30).send(X, Z), ok("203.0.113.1:5000"), "after 30 s the router has forgotten it");
    }
}

#[test]
fn a_hairpin_is_off_or_shows_one_of_two_sources() {
    let peer = "10.0.0.3:6000";
    let turned = [Hairpinning::Off, Hairpinning::InternalSource, Hairpinning::ExternalSource].map(|hairpinning| {
        let mut nat =
            Bench::new(NatBehavior { hairpinning, ..behavior(EndpointIndependent, EndpointIndependent, PerMapping) });
        assert_eq!(nat.send(peer, Y), ok("203.0.113.1:20000"));
        nat.turn(X, "203.0.113.1:20000")
    });
    //= https://www.rfc-editor.org/rfc/rfc4787#section-6
    //# a) A NAT Hairpinning behavior MUST be "External source IP
    //#    address and port".
    let [off, internal, external] = turned;
    assert_eq!(off, Err(Refusal::HairpinOff));
    assert_eq!(internal, Ok((at(X), at(peer))));
    assert_eq!(external, Ok((at("203.0.113.1:20001"), at(peer))));
}

/// Who is sent to at an external endpoint sees the router. What it answers there comes from that external endpoint.
#[test]
fn with_the_routers_source_answers_come_from_where_was_sent_to() {
    let nat = NatBehavior { hairpinning: Hairpinning::RouterSource, ..cone() };
    let mut nat = Bench::new(nat);
    nat.nat.set_inside(Ipv4Addr::new(10, 0, 0, 1));
    let peer = "10.0.0.3:6000";
    nat.send(X, Y).unwrap();
    nat.send(peer, Y).unwrap();
    assert_eq!(nat.turn(X, "203.0.113.1:20001"), Err(Refusal::Filtered));
    assert_eq!(nat.turn(peer, "203.0.113.1:20000"), Ok((at("10.0.0.1:20001"), at(X))));
    assert_eq!(nat.turn(X, "10.0.0.1:20001"), Ok((at("203.0.113.1:20000"), at(peer))));
    assert_eq!(nat.turn(X, "10.0.0.1:20002"), Err(Refusal::NoMapping), "nothing is mapped there");
    assert_eq!(["10.0.0.1:0", "203.0.113.1:0", X].map(|own| nat.nat.owns(at(own).ip())), [true, true, false]);
    let mut other = Bench::new(cone());
    other.nat.set_inside(Ipv4Addr::new(10, 0, 0, 1));
    assert!(!other.nat.owns(at("10.0.0.1:0").ip()), "only that kind of hairpinning uses it");
}

#[test]
fn a_hairpin_passes_the_filter_once_both_have_sent() {
    for hairpinning in [Hairpinning::InternalSource, Hairpinning::ExternalSource] {
        let mut nat = Bench::new(NatBehavior { hairpinning, ..cone() });
        let peer = "10.0.0.3:6000";
        nat.send(X, Y).unwrap();
        nat.send(peer, Y).unwrap();
        assert_eq!(nat.turn(X, "203.0.113.1:20001"), Err(Refusal::Filtered));
        assert_eq!(nat.turn(peer, "203.0.113.1:20000").unwrap().1, at(X));
        assert_eq!(nat.turn(X, "203.0.113.1:20001").unwrap().1, at(peer));
        assert_eq!(nat.turn(X, "203.0.113.1:20002"), Err(Refusal::NoMapping));
    }
}

#[test]
fn a_full_table_takes_a_new_mapping_when_one_has_expired() {
    let mut nat = Bench::new(NatBehavior { max_mappings: 2, ..cone() });
    nat.send("10.0.0.2:1", Y).unwrap();
    nat.after(1).send("10.0.0.2:2", Y).unwrap();
    assert_eq!(nat.send("10.0.0.2:3", Y), Err(Refusal::TableFull));
    assert_eq!(nat.segment("10.0.0.2:3", Y, true), Err(Refusal::TableFull));
    assert_eq!(nat.after(29).send("10.0.0.2:3", Y), ok("203.0.113.1:20002"));
}

#[test]
fn blocked_udp_leaves_tcp_alone() {
    let mut nat = Bench::new(NatBehavior { udp_blocked: true, hairpinning: Hairpinning::ExternalSource, ..cone() });
    assert_eq!(nat.send(X, Y), Err(Refusal::UdpBlocked));
    assert_eq!(nat.receive("203.0.113.1:20000", Y), Err(Refusal::UdpBlocked));
    assert_eq!(nat.turn(X, "203.0.113.1:20000"), Err(Refusal::UdpBlocked));
    assert_eq!(nat.segment(X, Y, true), ok("203.0.113.1:20000"));
}

#[test]
fn a_blocked_tcp_port_lets_no_segment_out_and_leaves_udp_alone() {
    let mut nat = Bench::new(NatBehavior { tcp_ports_blocked: vec![3478, 5349], tcp_pick_up: true, ..cone() });
    for opens in [true, false] {
        assert_eq!(nat.segment(X, "192.0.2.1:3478", opens), Err(Refusal::TcpPortBlocked));
    }
    assert_eq!(nat.send(X, "192.0.2.1:3478"), ok("203.0.113.1:20000"));
    assert_eq!(nat.segment(X, "192.0.2.1:443", true), ok("203.0.113.1:20000"));
}

#[test]
fn a_reboot_forgets_all_and_gives_out_other_ports() {
    for (port_allocation, before, after) in [
        (PortAllocation::Sequential, 20000, 20001),
        (PortAllocation::Block, 1024, 1088),
        (PortAllocation::Preserve, 5000, 5000),
    ] {
        let mut nat =
            Bench::new(NatBehavior { port_allocation, ..behavior(EndpointIndependent, AddressDependent, PerEndpoint) });
        assert_eq!(nat.send(X, Y).unwrap().port(), before);
        nat.nat.reboot(nat.now, REBOOT);
        assert_eq!(nat.receive(&format!("203.0.113.1:{before}"), Y), Err(Refusal::NoMapping));
        assert_eq!(nat.send(X, Z).unwrap().port(), after);
        assert_eq!(nat.receive(&format!("203.0.113.1:{after}"), Y), Err(Refusal::Filtered));
    }
}

#[test]
fn a_reboot_may_bring_a_new_address() {
    let mut nat = Bench::pooled(Pooling::Paired);
    nat.send(X, Y).unwrap();
    let new = Ipv4Addr::new(203, 0, 113, 99);
    nat.nat.reboot(nat.now, NatReboot { new_address: Some(new), ..REBOOT });
    assert_eq!(
        ["203.0.113.1:0", "203.0.113.2:0", "203.0.113.99:0"].map(|a| nat.nat.owns(at(a).ip())),
        [false, false, true]
    );
    assert_eq!(nat.send(X, Y), ok("203.0.113.99:20001"));
    assert_eq!(nat.send("10.0.0.3:5000", Y), ok("203.0.113.99:20002"));
}

#[test]
fn changes_are_reported_at_their_times() {
    let mut nat = Bench::new(cone());
    nat.send(X, Y).unwrap();
    nat.after(1).send("10.0.0.3:5000", Y).unwrap();
    nat.after(10).send(X, Y).unwrap();
    assert_eq!(nat.nat.next_expiry(), Some(Duration::from_secs(31)));
    nat.after(30).send("10.0.0.4:5000", Y).unwrap();
    nat.nat.reboot(nat.now, REBOOT);
    let mapping =
        |internal, external| Mapping { protocol: Udp, internal: at(internal), external: at(external), remote: at(Y) };
    let first = mapping(X, "203.0.113.1:20000");
    let second = mapping("10.0.0.3:5000", "203.0.113.1:20001");
    let expected = [
        Change::Created(first),
        Change::Created(second),
        Change::Expired { at: Duration::from_secs(31), mapping: second },
        Change::Expired { at: Duration::from_secs(41), mapping: first },
        Change::Created(mapping("10.0.0.4:5000", "203.0.113.1:20002")),
        Change::Flushed { mappings: 1 },
    ];
    assert_eq!(Vec::from_iter(nat.nat.drain_changes()), expected);
    assert_eq!((nat.nat.drain_changes().count(), nat.nat.next_expiry()), (0, None));
}

/// A behaviour with the lifetimes of Linux and no other special settings.
pub(crate) fn behavior(mapping: Dependence, filtering: Dependence, filter_state: FilterState) -> NatBehavior {
    NatBehavior {
        mapping,
        filtering,
        filter_state,
        port_allocation: PortAllocation::Sequential,
        hairpinning: Hairpinning::Off,
        pooling: Pooling::Paired,
        udp_lifetime_new: Duration::from_secs(30),
        udp_lifetime: Duration::from_secs(120),
        udp_stream_after: Duration::ZERO,
        udp_inbound_refresh: true,
        tcp_lifetime: Duration::from_secs(7440),
        tcp_lifetime_opening: Duration::from_secs(240),
        tcp_lifetime_closing: Duration::from_secs(120),
        tcp_lifetime_reset: Duration::from_secs(10),
        tcp_pick_up: false,
        unsolicited: Unsolicited::Drop,
        max_mappings: 65_536,
        udp_blocked: false,
        tcp_ports_blocked: Vec::new(),
    }
}

fn ipv4(endpoint: TransportAddress) -> Ipv4Addr {
    let IpAddr::V4(ip) = endpoint.ip() else { panic!("an endpoint of IPv4") };
    ip
}

pub(crate) fn at(endpoint: &str) -> TransportAddress {
    endpoint.parse().expect("an endpoint is a.b.c.d:port")
}

const REBOOT: NatReboot = NatReboot { resets_tcp: false, new_address: None };

fn ok(endpoint: &str) -> Result<TransportAddress, Refusal> {
    Ok(at(endpoint))
}

fn cone() -> NatBehavior {
    behavior(EndpointIndependent, AddressAndPortDependent, PerMapping)
}

/// A Linux router.
fn linux() -> NatBehavior {
    scenarios::profile("home-linux").and_then(|profile| profile.behavior).expect("a shipped profile")
}

/// A NAT with its own time and randomness.
struct Bench {
    nat: Nat,
    now: Duration,
    rng: ChaCha8Rng,
}

impl Bench {
    fn new(behavior: NatBehavior) -> Self {
        Self::with(behavior, &["203.0.113.1:0"])
    }

    fn pooled(pooling: Pooling) -> Self {
        Self::with(NatBehavior { pooling, ..cone() }, &["203.0.113.1:0", "203.0.113.2:0"])
    }

    fn with(behavior: NatBehavior, external: &[&str]) -> Self {
        let external: Vec<_> = external.iter().map(|address| ipv4(at(address))).collect();
        Self { nat: Nat::new(behavior, &external), now: Duration::ZERO, rng: ChaCha8Rng::seed_from_u64(1) }
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    fn out(
        &mut self,
        protocol: Protocol,
        internal: TransportAddress,
        remote: TransportAddress,
        signal: Signal,
    ) -> Result<TransportAddress, Refusal> {
        let mut cx = NatCx { now: self.now, rng: &mut self.rng };
        self.nat.outbound(FiveTuple { protocol, internal, remote }, signal, &mut cx)
    }

    fn send(&mut self, from: &str, to: &str) -> Result<TransportAddress, Refusal> {
        self.out(Udp, at(from), at(to), Signal::Data)
    }

    fn segment(&mut self, from: &str, to: &str, opens: bool) -> Result<TransportAddress, Refusal> {
        self.tcp(from, to, if opens { Signal::Open } else { Signal::Data })
    }

    fn tcp(&mut self, from: &str, to: &str, signal: Signal) -> Result<TransportAddress, Refusal> {
        self.out(Tcp, at(from), at(to), signal)
    }

    /// The three segments of a handshake.
    fn handshake(&mut self, from: &str, to: &str) -> String {
        let external = self.tcp(from, to, Signal::Open).expect("it opens").to_string();
        self.tcp_in(&external, to, Signal::Accept).expect("it is answered");
        self.tcp(from, to, Signal::Data).expect("it goes on");
        external
    }

    fn tcp_in(&mut self, external: &str, from: &str, signal: Signal) -> Result<TransportAddress, Refusal> {
        self.nat.inbound(self.now, Tcp, at(external), at(from), signal)
    }

    fn receive(&mut self, external: &str, from: &str) -> Result<TransportAddress, Refusal> {
        self.nat.inbound(self.now, Udp, at(external), at(from), Signal::Data)
    }

    fn receive_segment(&mut self, external: &str, from: &str) -> Result<TransportAddress, Refusal> {
        self.tcp_in(external, from, Signal::Data)
    }

    fn turn(&mut self, from: &str, external: &str) -> Result<(TransportAddress, TransportAddress), Refusal> {
        let packet = FiveTuple { protocol: Udp, internal: at(from), remote: at(external) };
        self.nat.hairpin(packet, Signal::Data, &mut NatCx { now: self.now, rng: &mut self.rng })
    }
}
