//! STUN and TURN messages, written and read without any of the server's code.

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use std::net::{IpAddr, SocketAddr};

/// The transaction id of RFC 5769.
pub(crate) const ID: [u8; 12] = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
pub(crate) const SOFTWARE: (u16, &[u8]) = (0x8022, b"glare");

/// A message with the magic cookie and the id above.
pub(crate) fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    message_with_id(kind, ID, attributes)
}

pub(crate) fn message_with_id(kind: u16, id: [u8; 12], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = kind.to_be_bytes().to_vec();
    message.extend((body.len() as u16).to_be_bytes());
    message.extend([0x21, 0x12, 0xa4, 0x42]);
    message.extend(id);
    message.extend(body);
    message
}

/// Appends a FINGERPRINT: CRC-32 of all before it, with the length already counting it, XOR 0x5354554e.
pub(crate) fn with_fingerprint(mut message: Vec<u8>) -> Vec<u8> {
    let length = (message.len() - 20 + 8) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let mut crc = !0_u32;
    for byte in &message {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    message.extend([0x80, 0x28, 0x00, 0x04]);
    message.extend((!crc ^ 0x5354_554e).to_be_bytes());
    message
}

/// Appends a MESSAGE-INTEGRITY.
pub(crate) fn with_integrity(mut message: Vec<u8>, key: &[u8]) -> Vec<u8> {
    let length = (message.len() - 20 + 24) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let mac = Hmac::<Sha1>::new_from_slice(key).expect("any length").chain_update(&message).finalize();
    message.extend([0x00, 0x08, 0x00, 0x14]);
    message.extend(mac.into_bytes());
    message
}

/// The key of a long-term credential.
pub(crate) fn key(user: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{user}:{realm}:{password}")).into()
}

/// An address as in XOR-MAPPED-ADDRESS, for a message with this id.
pub(crate) fn xor_address(address: SocketAddr, id: [u8; 12]) -> Vec<u8> {
    let mask: Vec<u8> = [&[0x21, 0x12, 0xa4, 0x42], &id[..]].concat();
    let (family, octets) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend((address.port() ^ 0x2112).to_be_bytes());
    value.extend(octets.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
    value
}

/// A message that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) kind: u16,
    pub(crate) id: [u8; 12],
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
    bytes: Vec<u8>,
}

impl Response {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let be = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!((usize::from(be(2)), &bytes[4..8]), (bytes.len() - 20, &[0x21, 0x12, 0xa4, 0x42][..]));
        let (mut attributes, mut at) = (Vec::new(), 20);
        while at < bytes.len() {
            let length = usize::from(be(at + 2));
            attributes.push((be(at), bytes[at + 4..at + 4 + length].to_vec()));
            at += 4 + length.next_multiple_of(4);
        }
        Self { kind: be(0), id: bytes[8..20].try_into().expect("12"), attributes, bytes: bytes.to_vec() }
    }

    pub(crate) fn get(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(one, _)| *one == kind).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn text(&self, kind: u16) -> String {
        String::from_utf8(self.get(kind).expect("it is there").to_vec()).expect("it is text")
    }

    /// ERROR-CODE's number, 0 for a success.
    pub(crate) fn code(&self) -> u16 {
        self.get(0x0009).map_or(0, |value| u16::from(value[2]) * 100 + u16::from(value[3]))
    }

    /// LIFETIME, in seconds.
    pub(crate) fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.get(0x000d).expect("LIFETIME").try_into().expect("4 bytes"))
    }

    /// Reads an XOR- address.
    pub(crate) fn address(&self, kind: u16) -> SocketAddr {
        let value = self.get(kind).unwrap_or_else(|| panic!("no {kind:#06x} in {self:?}"));
        let plain = |value: &[u8]| -> SocketAddr {
            let port = u16::from_be_bytes([value[2], value[3]]) ^ 0x2112;
            match value.len() {
                8 => (<[u8; 4]>::try_from(&value[4..]).expect("4"), port).into(),
                _ => (<[u8; 16]>::try_from(&value[4..]).expect("16"), port).into(),
            }
        };
        let zero = xor_address(([0; 4], 0).into(), self.id);
        let zero_v6 = xor_address(([0_u16; 8], 0).into(), self.id);
        let mut value = value.to_vec();
        let mask = if value.len() == 8 { &zero[4..] } else { &zero_v6[4..] };
        value[4..].iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
        plain(&value)
    }

    /// Whether MESSAGE-INTEGRITY is the last attribute and right.
    pub(crate) fn is_signed_with(&self, key: &[u8]) -> bool {
        self.bytes
            .len()
            .checked_sub(24)
            .is_some_and(|end| with_integrity(self.bytes[..end].to_vec(), key) == self.bytes)
    }
}
