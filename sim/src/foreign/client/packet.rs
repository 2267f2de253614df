//! What one datagram is: STUN, DTLS or SRTP (RFC 7983 §7).

use crate::event::TransportAddress;
use std::net::Ipv4Addr;

/// A datagram of WebRTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Stun(Stun),
    /// The records of a DTLS datagram, in short.
    Dtls(Dtls),
    /// SRTP or SRTCP.
    Media,
}

/// A STUN Binding message (RFC 8489).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stun {
    pub(super) class: Class,
    pub(super) transaction: [u8; 12],
    /// The username fragments of the receiver and the sender of a request.
    pub(super) username: Option<(String, String)>,
    /// Whether it nominates the pair (RFC 8445 §8.1.1).
    pub(super) nominates: bool,
    /// XOR-MAPPED-ADDRESS.
    pub(super) mapped: Option<TransportAddress>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Class {
    #[default]
    Request,
    Indication,
    Success,
    Error,
}

/// The kinds of records in a DTLS datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dtls {
    /// A handshake message.
    pub(super) handshake: bool,
    /// An encrypted handshake message: its sender has finished. Of DTLS 1.3, any encrypted record.
    pub(super) finished: bool,
    /// Encrypted data.
    pub(super) data: bool,
    /// An alert that is not encrypted: the handshake has failed.
    pub(super) failed: bool,
    /// An encrypted alert, which closes the connection.
    pub(super) closes: bool,
}

impl Packet {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? {
            0..4 => stun(bytes).map(Self::Stun),
            20..64 => Some(Self::Dtls(dtls(bytes))),
            128..192 => Some(Self::Media),
            _ => None,
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn stun(bytes: &[u8]) -> Option<Stun> {
    const HEADER_BYTES: usize = 20;
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    if bytes.get(4..8)? != COOKIE {
        return None;
    }
    let class = match number(bytes, 0)? {
        0x0001 => Class::Request,
        0x0011 => Class::Indication,
        0x0101 => Class::Success,
        0x0111 => Class::Error,
        _ => return None,
    };
    let mut stun = Stun { class, transaction: bytes.get(8..20)?.try_into().ok()?, ..Stun::default() };
    let mut rest = bytes.get(HEADER_BYTES..)?;
    while let (Some(kind), Some(length)) = (number(rest, 0), number(rest, 2)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..4 + length) else { break };
        match kind {
            0x0006 => {
                let name = std::str::from_utf8(value).ok().and_then(|name| name.split_once(':'));
                stun.username = name.map(|(to, from)| (to.to_owned(), from.to_owned()));
            }
            0x0025 => stun.nominates = true,
            0x0020 if value.get(1) == Some(&1) => {
                let port = number(value, 2)? ^ 0x2112;
                let ip: [u8; 4] = value.get(4..8)?.try_into().ok()?;
                let ip = u32::from_be_bytes(ip) ^ u32::from_be_bytes(COOKIE);
                stun.mapped = Some(TransportAddress::new(Ipv4Addr::from(ip), port));
            }
            _ => {}
        }
        rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(stun)
}

fn dtls(bytes: &[u8]) -> Dtls {
    const HEADER_BYTES: usize = 13;
    let mut dtls = Dtls::default();
    let mut rest = bytes;
    while let Some(kind) = rest.first() {
        // DTLS 1.3 hides what it encrypts (RFC 9147 §4).
        if (32..64).contains(kind) {
            (dtls.finished, dtls.data) = (true, true);
            return dtls;
        }
        let (Some(epoch), Some(length)) = (number(rest, 3), number(rest, 11)) else { break };
        match (kind, epoch) {
            (22, 0) => dtls.handshake = true,
            (22, _) => (dtls.handshake, dtls.finished) = (true, true),
            (23, 1..) => dtls.data = true,
            (21, 0) => dtls.failed |= rest.get(HEADER_BYTES) == Some(&2),
            (21, _) => dtls.closes = true,
            _ => {}
        }
        rest = rest.get(HEADER_BYTES + usize::from(length)..).unwrap_or_default();
    }
    dtls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = u16::try_from(body.len()).expect("short");
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), &[0x21, 0x12, 0xa4, 0x42], &[7; 12], &body].concat()
    }

    fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short");
        [&[kind, 0xfe, 0xfd][..], &epoch.to_be_bytes(), &[0; 6], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn checks_name_both_sides_and_may_nominate() {
        let check = message(1, &[(6, b"theirs:ours"), (0x24, &[0; 4]), (0x25, b"")]);
        let Some(Packet::Stun(stun)) = Packet::parse(&check) else { panic!("a STUN message") };
        assert_eq!(stun.username, Some(("theirs".to_owned(), "ours".to_owned())));
        assert!(stun.nominates && stun.class == Class::Request && stun.transaction == [7; 12]);
        // 192.0.2.1:32853, from RFC 5769 §2.2.
        let answer = message(0x101, &[(0x20, &[0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43])]);
        let Some(Packet::Stun(stun)) = Packet::parse(&answer) else { panic!("a STUN message") };
        assert_eq!(stun.mapped, "192.0.2.1:32853".parse().ok());
        for length in 0..check.len() {
            let _ = Packet::parse(&check[..length]);
        }
    }

    #[test]
    fn records_show_how_far_a_handshake_is() {
        let parse = |bytes: &[u8]| match Packet::parse(bytes) {
            Some(Packet::Dtls(dtls)) => dtls,
            other => panic!("{other:?}"),
        };
        let none = Dtls::default();
        assert_eq!(parse(&record(22, 0, &[1, 2])), Dtls { handshake: true, ..none });
        let last = [record(22, 0, &[1]), record(20, 0, &[1]), record(22, 1, &[9; 40])].concat();
        assert_eq!(parse(&last), Dtls { handshake: true, finished: true, ..none });
        assert_eq!(parse(&record(23, 1, &[1])), Dtls { data: true, ..none });
        assert_eq!(parse(&record(21, 0, &[2, 40])), Dtls { failed: true, ..none });
        assert_eq!(parse(&record(21, 1, &[9; 20])), Dtls { closes: true, ..none });
        assert_eq!(parse(&[0x2e, 1, 2, 3]), Dtls { finished: true, data: true, ..none });
        assert_eq!(Packet::parse(&[0x80, 96, 0, 1]), Some(Packet::Media));
        assert_eq!(Packet::parse(b"hello"), None);
    }
}
