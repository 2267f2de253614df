//! STUN Binding over UDP, against bytes written down here and the test vectors of RFC 5769, never against stun-rs.

use std::net::SocketAddr;

use proptest::prelude::*;
use server::stun::{Origin, Route, answer};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::client::{PATIENCE, start};
use crate::wire::{ID, SOFTWARE, message, with_fingerprint};

/// More than any answer but one with PADDING has.
const ANSWER_BYTES_MAX: usize = 256;

fn answer_to(datagram: &[u8], from: &str) -> Option<Vec<u8>> {
    let (from, mut out) = (from.parse().expect("an address"), Vec::new());
    let own = [SocketAddr::from(([192, 0, 2, 9], 3478))];
    let route = answer(datagram, from, Origin { addresses: &own, index: 0 }, &mut out)?;
    assert_eq!(route, Route { from: 0, to: from });
    Some(out)
}

const FROM_V4: &str = "192.0.2.1:32853";
const MAPPED_V4: (u16, &[u8]) = (0x0020, &[0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
const FROM_V6: &str = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
const MAPPED_V6: (u16, &[u8]) = (
    0x0020,
    &[
        0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2,
        0xb9, 0xd9,
    ],
);

//= https://www.rfc-editor.org/rfc/rfc5769#section-2.2
#[test]
fn the_mapped_address_is_the_source() {
    let request = message(0x0001, &[]);
    assert_eq!(answer_to(&request, FROM_V4), Some(message(0x0101, &[MAPPED_V4, SOFTWARE])));
    assert_eq!(answer_to(&request, FROM_V6), Some(message(0x0101, &[MAPPED_V6, SOFTWARE])));
    assert_eq!(answer_to(&request, "[::ffff:192.0.2.1]:32853"), Some(message(0x0101, &[MAPPED_V4, SOFTWARE])));
}

#[test]
fn a_fingerprint_is_checked_and_answered() {
    let request = with_fingerprint(message(0x0001, &[(0x8022, b"test")]));
    assert_eq!(answer_to(&request, FROM_V4), Some(with_fingerprint(message(0x0101, &[MAPPED_V4, SOFTWARE]))));
    for at in [8, 24, request.len() - 1] {
        let mut broken = request.clone();
        broken[at] ^= 1;
        assert_eq!(answer_to(&broken, FROM_V4), None, "byte {at} differs");
    }
    // It must be the last attribute.
    let mut followed = request.clone();
    followed.extend([0x80, 0x22, 0x00, 0x00]);
    followed[3] += 4;
    assert_eq!(answer_to(&followed, FROM_V4), None);
}

//= https://www.rfc-editor.org/rfc/rfc5769#section-2.1
#[test]
fn the_sample_request_of_rfc_5769_asks_for_what_only_ice_knows() {
    let request = [
        b"\x00\x01\x00\x58\x21\x12\xa4\x42".as_slice(),
        &ID,
        b"\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff",
        b"\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY   ",
        b"\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2",
        b"\x80\x28\x00\x04\xe5\x7a\x3b\xcf",
    ]
    .concat();
    let refusal = message(0x0111, &[(0x0009, b"\0\0\x04\x14Unknown Attribute"), (0x000a, b"\0\x24"), SOFTWARE]);
    assert_eq!(answer_to(&request, FROM_V4), Some(with_fingerprint(refusal)));
}

#[test]
fn unknown_comprehension_required_attributes_are_listed_once_each() {
    let refusal =
        |unknown: &[u8]| message(0x0111, &[(0x0009, b"\0\0\x04\x14Unknown Attribute"), (0x000a, unknown), SOFTWARE]);
    // CHANGE-REQUEST, which a server with one address does not understand, and two of nobody's.
    let request =
        message(0x0001, &[(0x0003, &[0; 4]), (0x7777, b""), (0x8fff, b"?"), (0x0003, &[0; 4]), (0x0002, b"")]);
    assert_eq!(answer_to(&request, FROM_V4), Some(refusal(b"\x00\x03\x77\x77\x00\x02")));
    // What follows MESSAGE-INTEGRITY is ignored.
    let sealed = message(0x0001, &[(0x0006, b"user"), (0x0008, &[0; 20]), (0x7777, b"")]);
    assert_eq!(answer_to(&sealed, FROM_V4), Some(message(0x0101, &[MAPPED_V4, SOFTWARE])));
    // More than fit are cut; the answer still does.
    let many: Vec<(u16, &[u8])> = (0x4000..0x4100).map(|kind| (kind, b"".as_slice())).collect();
    let answer = answer_to(&message(0x0001, &many), FROM_V4).expect("a refusal");
    assert_eq!(answer[..2], [0x01, 0x11]);
    let fingerprinted = answer_to(&with_fingerprint(message(0x0001, &many)), FROM_V6).expect("a refusal");
    assert!(fingerprinted.len() <= ANSWER_BYTES_MAX);
}

#[test]
fn all_else_is_met_with_silence() {
    let request = message(0x0001, &[(0x8022, b"test")]);
    let changed = |at: usize, to: u8| {
        let mut datagram = request.clone();
        datagram[at] = to;
        datagram
    };
    let longer = [&request[..], &[0; 4]].concat();
    for (what, datagram) in [
        ("nothing", Vec::new()),
        ("half a header", request[..10].to_vec()),
        ("a cut attribute", request[..request.len() - 4].to_vec()),
        ("trailing bytes", longer),
        ("a bad cookie", changed(4, 0x20)),
        ("first bits not 0", changed(0, 0x80)),
        ("first bits not 0", changed(0, 0x40)),
        ("a length that is no multiple of 4", changed(3, 7)),
        ("an attribute longer than the message", changed(23, 9)),
        ("an indication", changed(1, 0x11)),
        ("a success response", changed(0, 0x01)),
        ("an error response", message(0x0111, &[])),
        ("another method", message(0x0003, &[])),
        ("a fingerprint of 3 bytes", message(0x0001, &[(0x8028, b"abc")])),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        assert_eq!(answer_to(&datagram, FROM_V4), None, "{what}");
    }
    assert!(answer_to(&request, FROM_V4).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_datagram_makes_it_panic_or_answer_at_length(
        mut datagram in proptest::collection::vec(any::<u8>(), 0..200),
        looks_like_stun: bool,
    ) {
        if looks_like_stun && datagram.len() >= 20 {
            datagram.truncate(datagram.len() / 4 * 4);
            let length = (datagram.len() - 20) as u16;
            datagram[..8].copy_from_slice(&message(0x0001, &[])[..8]);
            datagram[2..4].copy_from_slice(&length.to_be_bytes());
        }
        if let Some(answer) = answer_to(&datagram, FROM_V6) {
            prop_assert!(answer.len() <= ANSWER_BYTES_MAX);
            prop_assert_eq!(&answer[8..20], &datagram[8..20]);
        }
    }
}

#[tokio::test]
async fn a_request_after_garbage_is_answered_on_the_wire() {
    let server = start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("port 0 is free");
    let garbage = [vec![], b"garbage".to_vec(), vec![0; 20], message(0x0101, &[MAPPED_V4]), vec![0xff; 65_000]];
    for datagram in &garbage {
        socket.send_to(datagram, server.stun).await.expect("loopback takes it");
    }
    socket.send_to(&message(0x0001, &[]), server.stun).await.expect("loopback takes it");
    let mut answer = [0; 512];
    let (length, from) = timeout(PATIENCE, socket.recv_from(&mut answer)).await.expect("it answers").expect("received");
    let own: SocketAddr = socket.local_addr().expect("it is bound");
    let port = (own.port() ^ 0x2112).to_be_bytes();
    let mapped = [0, 1, port[0], port[1], 127 ^ 0x21, 0x12, 0xa4, 0x43];
    assert_eq!((&answer[..length], from), (message(0x0101, &[(0x0020, &mapped), SOFTWARE]).as_slice(), server.stun));
}
