//! STUN messages as bytes, written and read without any server's codec: a bug in a shared codec would hide itself.
//!
//! [`Draft`] writes what a case needs, valid or not. [`Message::parse`] reads strictly what a server sent.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::crypto::{fingerprint, hmac_sha1, hmac_sha256};
use super::names::{attr, attribute_name, method_name};

/// RFC 8489 §5.
pub(crate) const MAGIC_COOKIE: u32 = 0x2112_a442;
/// Bytes of type, length, cookie and transaction id.
pub(crate) const HEADER_BYTES: usize = 20;

/// The 96 bits that match an answer to its request.
pub(crate) type TransactionId = [u8; 12];

/// The two class bits of a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A message under construction.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) bytes: Vec<u8>,
}

impl Draft {
    pub(crate) fn new(method: u16, class: Class, id: TransactionId) -> Self {
        let (m, c) = (method, class as u16);
        let kind = (m & 0x000f) | (m & 0x0070) << 1 | (m & 0x0f80) << 2 | (c & 1) << 4 | (c & 2) << 7;
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend(id);
        Self { bytes }
    }

    /// The transaction id: the bytes where every message has it.
    pub(crate) fn id(&self) -> TransactionId {
        self.bytes[8..HEADER_BYTES].try_into().expect("a draft has its header")
    }

    /// Appends an attribute, padded with zeros.
    pub(crate) fn with(self, kind: u16, value: impl AsRef<[u8]>) -> Self {
        self.with_padding(kind, value, 0)
    }

    /// Appends an attribute, padded with this byte.
    pub(crate) fn with_padding(mut self, kind: u16, value: impl AsRef<[u8]>, padding: u8) -> Self {
        let value = value.as_ref();
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(u16::try_from(value.len()).expect("a case sends short attributes").to_be_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), padding);
        let length = self.bytes.len() - HEADER_BYTES;
        self.with_length(length)
    }

    /// Sets the length field to this value, true or not.
    pub(crate) fn with_length(mut self, length: usize) -> Self {
        let length = u16::try_from(length).expect("a case sends short messages");
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
        self
    }

    pub(crate) fn with_xor_address(self, kind: u16, address: SocketAddr) -> Self {
        let value = write_address(xor(address, self.id()));
        self.with(kind, value)
    }

    /// Whether the draft has an attribute of this type.
    pub(crate) fn has(&self, kind: u16) -> bool {
        Message::parse(&self.bytes).is_ok_and(|message| message.has(kind))
    }

    /// Appends MESSAGE-INTEGRITY over everything so far.
    pub(crate) fn sealed(self, key: &[u8]) -> Self {
        let covered = self.clone().with_length(self.bytes.len() - HEADER_BYTES + 24);
        self.with(attr::MESSAGE_INTEGRITY, hmac_sha1(key, &covered.bytes))
    }

    /// Appends MESSAGE-INTEGRITY-SHA256 over everything so far.
    pub(crate) fn sealed_sha256(self, key: &[u8]) -> Self {
        let covered = self.clone().with_length(self.bytes.len() - HEADER_BYTES + 36);
        self.with(attr::MESSAGE_INTEGRITY_SHA256, hmac_sha256(key, &covered.bytes))
    }

    pub(crate) fn with_fingerprint(self) -> Self {
        let covered = self.clone().with_length(self.bytes.len() - HEADER_BYTES + 8);
        self.with(attr::FINGERPRINT, fingerprint(&covered.bytes).to_be_bytes())
    }
}

/// Why bytes are not a valid STUN message: a fragment that fits behind "the answer".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

/// A message that follows RFC 8489 §5 and §14.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) class: Class,
    pub(crate) method: u16,
    pub(crate) id: TransactionId,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    pub(crate) kind: u16,
    pub(crate) value: Vec<u8>,
    /// Its position in the message.
    at: usize,
}

impl Message {
    /// # Errors
    /// The bytes break a rule that every reader relies on.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let wrong = |why: String| Malformed(why);
        let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(wrong(format!("has {} bytes; a header has {HEADER_BYTES}", bytes.len())));
        };
        let (kind, length) = (u16_at(header, 0), usize::from(u16_at(header, 2)));
        if kind & 0xc000 != 0 {
            return Err(wrong(format!("begins with 0x{kind:04x}; the first two bits must be 0")));
        }
        if header[4..8] != MAGIC_COOKIE.to_be_bytes() {
            return Err(wrong("has no magic cookie".to_owned()));
        }
        if length != body.len() || !length.is_multiple_of(4) {
            return Err(wrong(format!("announces {length} bytes after its header, but has {}", body.len())));
        }
        let class = match kind >> 7 & 2 | kind >> 4 & 1 {
            0 => Class::Request,
            1 => Class::Indication,
            2 => Class::Success,
            _ => Class::Error,
        };
        let method = kind & 0x000f | kind >> 1 & 0x0070 | kind >> 2 & 0x0f80;
        let id = header[8..].try_into().expect("a header has 20 bytes");
        let mut message = Self { class, method, id, attributes: Vec::new(), bytes: bytes.to_vec() };
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            // What remains is a multiple of four bytes, so type and length are complete.
            let (kind, length) = (u16_at(bytes, at), usize::from(u16_at(bytes, at + 2)));
            let Some(value) = bytes.get(at + 4..at + 4 + length) else {
                return Err(wrong(format!("has a {} that extends beyond its end", attribute_name(kind))));
            };
            message.attributes.push(Attribute { kind, value: value.to_vec(), at });
            at += 4 + length.next_multiple_of(4);
        }
        Ok(message)
    }

    /// The value of the first attribute of this type.
    pub(crate) fn get(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|attribute| attribute.kind == kind).map(|attribute| attribute.value.as_slice())
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.get(kind).is_some()
    }

    /// # Errors
    /// The attribute is present, but is not a valid address.
    pub(crate) fn address(&self, kind: u16) -> Result<Option<SocketAddr>, Malformed> {
        let read = |value: &[u8]| read_address(value).map_err(|bad| in_attribute(kind, &bad.to_string()));
        self.get(kind).map(read).transpose()
    }

    /// Like [`address`](Self::address), with the XOR undone.
    pub(crate) fn xor_address(&self, kind: u16) -> Result<Option<SocketAddr>, Malformed> {
        Ok(self.address(kind)?.map(|address| xor(address, self.id)))
    }

    /// The number and the phrase of ERROR-CODE.
    ///
    /// # Errors
    /// The attribute is present, but breaks RFC 8489 §14.8.
    pub(crate) fn error(&self) -> Result<Option<(u16, String)>, Malformed> {
        let Some(value) = self.get(attr::ERROR_CODE) else { return Ok(None) };
        let wrong = |why: &str| in_attribute(attr::ERROR_CODE, why);
        let [_, _, class, number, phrase @ ..] = value else { return Err(wrong("has less than 4 bytes")) };
        let class = class & 7;
        if !(3..=6).contains(&class) || *number > 99 {
            return Err(wrong(&format!("has class {class} and number {number}, expected 3 to 6 and 0 to 99")));
        }
        let phrase = std::str::from_utf8(phrase).map_err(|_| wrong("has a phrase that is not UTF-8"))?;
        if phrase.chars().count() > 127 {
            return Err(wrong("has a phrase of more than 127 characters"));
        }
        Ok(Some((u16::from(class) * 100 + u16::from(*number), phrase.to_owned())))
    }

    /// An attribute read as 16-bit numbers: UNKNOWN-ATTRIBUTES, CHANNEL-NUMBER.
    pub(crate) fn numbers(&self, kind: u16) -> Option<Vec<u16>> {
        let value = self.get(kind)?;
        Some(value.chunks_exact(2).map(|pair| u16_at(pair, 0)).collect())
    }

    /// An attribute read as a 32-bit number: LIFETIME.
    pub(crate) fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    pub(crate) fn text(&self, kind: u16) -> Option<String> {
        String::from_utf8(self.get(kind)?.to_vec()).ok()
    }

    /// Whether there is a MESSAGE-INTEGRITY that is valid for this key.
    pub(crate) fn is_sealed(&self, key: &[u8]) -> bool {
        self.seal(attr::MESSAGE_INTEGRITY, |covered| hmac_sha1(key, covered))
    }

    /// Whether there is a MESSAGE-INTEGRITY-SHA256 that is valid for this key.
    pub(crate) fn is_sealed_sha256(&self, key: &[u8]) -> bool {
        self.seal(attr::MESSAGE_INTEGRITY_SHA256, |covered| hmac_sha256(key, covered))
    }

    fn seal(&self, kind: u16, mac: impl Fn(&[u8]) -> Vec<u8>) -> bool {
        let Some(found) = self.attributes.iter().find(|attribute| attribute.kind == kind) else { return false };
        mac(&self.covered(found)) == found.value
    }

    /// The bytes before an attribute, with the length field set as if the attribute were the last.
    fn covered(&self, attribute: &Attribute) -> Vec<u8> {
        let draft = Draft { bytes: self.bytes[..attribute.at].to_vec() };
        draft.with_length(attribute.at + 4 + attribute.value.len() - HEADER_BYTES).bytes
    }

    /// Broken rules of form that a reader can tolerate but a writer must follow, in words.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (index, attribute) in self.attributes.iter().enumerate() {
            let name = attribute_name(attribute.kind);
            let end = attribute.at + 4 + attribute.value.len();
            if self.bytes[end..end.next_multiple_of(4)].iter().any(|byte| *byte != 0) {
                faults.push(format!("the padding of {name} is not zero"));
            }
            if attribute.kind == attr::FINGERPRINT {
                if index + 1 < self.attributes.len() {
                    faults.push("FINGERPRINT is not the last attribute".to_owned());
                }
                if attribute.value != fingerprint(&self.covered(attribute)).to_be_bytes() {
                    faults.push("FINGERPRINT is wrong".to_owned());
                }
            }
            if attribute.kind == attr::SOFTWARE
                && self.text(attr::SOFTWARE).is_none_or(|text| text.chars().count() > 127)
            {
                faults.push("SOFTWARE is not UTF-8 of less than 128 characters".to_owned());
            }
        }
        faults
    }
}

/// A message as the transcript shows it: class, method, and attributes with their values if short.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            Class::Request => "request",
            Class::Indication => "indication",
            Class::Success => "success",
            Class::Error => "error",
        };
        write!(f, "{} {class} {}", method_name(self.method), hex(&self.id[..4]))?;
        for attribute in &self.attributes {
            write!(f, " {}", attribute_name(attribute.kind))?;
            match attribute.kind {
                attr::XOR_MAPPED_ADDRESS | attr::XOR_RELAYED_ADDRESS | attr::XOR_PEER_ADDRESS => {
                    match read_address(&attribute.value) {
                        Ok(address) => write!(f, "={}", xor(address, self.id))?,
                        Err(_) => write!(f, "={}", hex(&attribute.value))?,
                    }
                }
                attr::MAPPED_ADDRESS | attr::RESPONSE_ORIGIN | attr::OTHER_ADDRESS | attr::ALTERNATE_SERVER => {
                    match read_address(&attribute.value) {
                        Ok(address) => write!(f, "={address}")?,
                        Err(_) => write!(f, "={}", hex(&attribute.value))?,
                    }
                }
                attr::ERROR_CODE => match self.error() {
                    Ok(Some((code, phrase))) => write!(f, "={code} {phrase:?}")?,
                    _ => write!(f, "={}", hex(&attribute.value))?,
                },
                attr::LIFETIME => write!(f, "={}", self.number(attr::LIFETIME).unwrap_or_default())?,
                // A nonce is long and means nothing to a reader; a user name may be confidential.
                attr::NONCE | attr::USERNAME | attr::MESSAGE_INTEGRITY | attr::MESSAGE_INTEGRITY_SHA256 => {}
                attr::FINGERPRINT => {}
                attr::REALM | attr::SOFTWARE => {
                    write!(f, "={:?}", String::from_utf8_lossy(&attribute.value))?;
                }
                _ if attribute.value.len() <= 16 => write!(f, "={}", hex(&attribute.value))?,
                _ => write!(f, " of {} bytes", attribute.value.len())?,
            }
        }
        Ok(())
    }
}

/// A ChannelData message (RFC 8656 §12.4), without padding.
pub(crate) fn channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("a case sends short messages");
    [&channel.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
}

/// Channel and data, if the bytes are one complete ChannelData message, padded or not.
pub(crate) fn read_channel_data(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (header, rest) = bytes.split_at_checked(4)?;
    let (channel, length) = (u16_at(header, 0), usize::from(u16_at(header, 2)));
    let (data, padding) = rest.split_at_checked(length)?;
    ((0x4000..0x8000).contains(&channel) && padding.len() < 4).then_some((channel, data))
}

fn in_attribute(kind: u16, why: &str) -> Malformed {
    Malformed(format!("has a {} that {why}", attribute_name(kind)))
}

/// The value of MAPPED-ADDRESS: family, port and address (RFC 8489 §14.1).
pub(crate) fn write_address(address: SocketAddr) -> Vec<u8> {
    let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }];
    value.extend(address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => value.extend(ip.octets()),
        IpAddr::V6(ip) => value.extend(ip.octets()),
    }
    value
}

/// What is wrong with an address attribute: a fragment that fits behind "an attribute that".
#[derive(Debug)]
enum BadAddress {
    NoZeroByte,
    Short { bytes: usize },
    Family { family: u8, address_bytes: usize },
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoZeroByte => f.write_str("does not begin with a zero byte"),
            Self::Short { bytes } => write!(f, "has {bytes} bytes"),
            Self::Family { family, address_bytes } => {
                write!(f, "has family 0x{family:02x} and an address of {address_bytes} bytes")
            }
        }
    }
}

fn read_address(value: &[u8]) -> Result<SocketAddr, BadAddress> {
    let (family, ip) = match value {
        [0, family, _, _, ip @ ..] => (*family, ip),
        [_, _, _, _, ..] => return Err(BadAddress::NoZeroByte),
        _ => return Err(BadAddress::Short { bytes: value.len() }),
    };
    let ip: IpAddr = match (family, ip.len()) {
        (1, 4) => <[u8; 4]>::try_from(ip).expect("there are four").into(),
        (2, 16) => <[u8; 16]>::try_from(ip).expect("there are sixteen").into(),
        (family, address_bytes) => return Err(BadAddress::Family { family, address_bytes }),
    };
    Ok(SocketAddr::new(ip, u16_at(value, 2)))
}

/// Applies the XOR of RFC 8489 §14.2; applying it twice gives the address back.
pub(crate) fn xor(address: SocketAddr, id: TransactionId) -> SocketAddr {
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let ip: IpAddr = match address.ip() {
        IpAddr::V4(ip) => (u32::from(ip) ^ MAGIC_COOKIE).to_be_bytes().into(),
        IpAddr::V6(ip) => {
            let mask: [u8; 16] = [&MAGIC_COOKIE.to_be_bytes()[..], &id].concat().try_into().expect("4 and 12 make 16");
            (u128::from(ip) ^ u128::from_be_bytes(mask)).to_be_bytes().into()
        }
    };
    SocketAddr::new(ip, port)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
