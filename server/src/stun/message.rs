//! STUN messages as bytes: parsed in place, written into one reused buffer.
//!
//! This is not a library for two reasons: requests are answered without a memory allocation, which would be most of the
//! cost; and the rules that general decoders leave to the caller (trailing bytes, position and value of FINGERPRINT,
//! unknown attributes) are checked while parsing.

use std::net::{IpAddr, SocketAddr};

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;

pub(crate) const HEADER_BYTES: usize = 20;
pub(crate) const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const FINGERPRINT_XOR: u32 = 0x5354_554e;
const SOFTWARE_NAME: &[u8] = b"glare";
static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Attribute types (RFC 8489 §18.3, RFC 8656 §18, RFC 5780 §7).
pub(crate) mod attribute {
    pub(crate) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(crate) const CHANGE_REQUEST: u16 = 0x0003;
    /// RFC 3489's RESPONSE-ORIGIN.
    pub(crate) const SOURCE_ADDRESS: u16 = 0x0004;
    /// RFC 3489's OTHER-ADDRESS.
    pub(crate) const CHANGED_ADDRESS: u16 = 0x0005;
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(crate) const CHANNEL_NUMBER: u16 = 0x000c;
    pub(crate) const LIFETIME: u16 = 0x000d;
    pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(crate) const DATA: u16 = 0x0013;
    pub(crate) const REALM: u16 = 0x0014;
    pub(crate) const NONCE: u16 = 0x0015;
    pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(crate) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub(crate) const EVEN_PORT: u16 = 0x0018;
    pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(crate) const DONT_FRAGMENT: u16 = 0x001a;
    pub(crate) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(crate) const PASSWORD_ALGORITHM: u16 = 0x001d;
    pub(crate) const USERHASH: u16 = 0x001e;
    pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(crate) const RESERVATION_TOKEN: u16 = 0x0022;
    pub(crate) const PADDING: u16 = 0x0026;
    pub(crate) const RESPONSE_PORT: u16 = 0x0027;
    pub(crate) const PASSWORD_ALGORITHMS: u16 = 0x8002;
    pub(crate) const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
    pub(crate) const ADDRESS_ERROR_CODE: u16 = 0x8001;
    pub(crate) const SOFTWARE: u16 = 0x8022;
    pub(crate) const FINGERPRINT: u16 = 0x8028;
    pub(crate) const RESPONSE_ORIGIN: u16 = 0x802b;
    pub(crate) const OTHER_ADDRESS: u16 = 0x802c;
}

/// Methods (RFC 8489 §18.2, RFC 8656 §17).
pub(crate) mod method {
    pub(crate) const BINDING: u16 = 0x001;
    pub(crate) const ALLOCATE: u16 = 0x003;
    pub(crate) const REFRESH: u16 = 0x004;
    pub(crate) const SEND: u16 = 0x006;
    pub(crate) const DATA: u16 = 0x007;
    pub(crate) const CREATE_PERMISSION: u16 = 0x008;
    pub(crate) const CHANNEL_BIND: u16 = 0x009;
}

/// The class of a message (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

impl Class {
    fn bits(self) -> u16 {
        match self {
            Self::Request => 0x000,
            Self::Indication => 0x010,
            Self::Success => 0x100,
            Self::Error => 0x110,
        }
    }
}

/// An error response's code and reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorCode(pub(crate) u16, pub(crate) &'static str);

/// A well-formed message, borrowed from the datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) class: Class,
    pub(crate) method: u16,
    /// The datagram without FINGERPRINT.
    bytes: &'a [u8],
    /// The position of MESSAGE-INTEGRITY in `bytes`.
    integrity: Option<usize>,
    /// The position of MESSAGE-INTEGRITY-SHA256.
    integrity_sha256: Option<usize>,
    pub(crate) has_fingerprint: bool,
}

impl<'a> Message<'a> {
    /// Parses a datagram; `None` if it must be silently discarded.
    //= https://www.rfc-editor.org/rfc/rfc8489#section-6.3
    //# If any errors are detected, the message is silently discarded.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        if datagram.get(4..8)? != MAGIC_COOKIE {
            return None;
        }
        Self::parse_any_cookie(datagram)
    }

    /// [`parse`](Self::parse) for clients of RFC 3489, whose longer transaction id includes the cookie's bytes.
    pub(crate) fn parse_classic(datagram: &'a [u8]) -> Option<Self> {
        if datagram.get(4..8)? == MAGIC_COOKIE {
            return None;
        }
        Self::parse_any_cookie(datagram)
    }

    fn parse_any_cookie(datagram: &'a [u8]) -> Option<Self> {
        if datagram.len() < HEADER_BYTES {
            return None;
        }
        let (kind, length) = (u16_at(datagram, 0)?, usize::from(u16_at(datagram, 2)?));
        let is_long_as_said = length == datagram.len() - HEADER_BYTES && length.is_multiple_of(4);
        if kind & 0xc000 != 0 || !is_long_as_said {
            return None;
        }
        let class = match kind & 0x0110 {
            0x000 => Class::Request,
            0x010 => Class::Indication,
            0x100 => Class::Success,
            _ => Class::Error,
        };
        let method = (kind & 0x3e00) >> 2 | (kind & 0x00e0) >> 1 | (kind & 0x000f);
        let mut message =
            Self { class, method, bytes: datagram, integrity: None, integrity_sha256: None, has_fingerprint: false };
        let mut at = HEADER_BYTES;
        while at < datagram.len() {
            let (kind, length) = (u16_at(datagram, at)?, usize::from(u16_at(datagram, at + 2)?));
            let value = datagram.get(at + 4..at + 4 + length)?;
            let next = at + 4 + length.next_multiple_of(4);
            match kind {
                attribute::FINGERPRINT => {
                    //= https://www.rfc-editor.org/rfc/rfc8489#section-14.7
                    //# When present, the FINGERPRINT attribute MUST be the last attribute in
                    //# the message and thus will appear after MESSAGE-INTEGRITY and
                    //# MESSAGE-INTEGRITY-SHA256.
                    if next != datagram.len() || value != fingerprint(&datagram[..at]) {
                        return None;
                    }
                    message.has_fingerprint = true;
                    message.bytes = &datagram[..at];
                }
                attribute::MESSAGE_INTEGRITY if length == 20 => message.integrity = message.integrity.or(Some(at)),
                attribute::MESSAGE_INTEGRITY => return None,
                // A shorter one is for usages that say so, and none here does (RFC 8489 §14.6).
                attribute::MESSAGE_INTEGRITY_SHA256 if length == 32 => {
                    message.integrity_sha256 = message.integrity_sha256.or(Some(at));
                }
                _ => {}
            }
            at = next;
        }
        Some(message)
    }

    pub(crate) fn transaction_id(&self) -> [u8; 12] {
        self.bytes[8..20].try_into().expect("parse() saw 20 bytes")
    }

    pub(crate) fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    pub(crate) fn has_integrity_sha256(&self) -> bool {
        self.integrity_sha256.is_some()
    }

    /// The attributes that are not ignored, in order, without the integrity attributes themselves.
    //= https://www.rfc-editor.org/rfc/rfc8489#section-14.5
    //# With the exception of the MESSAGE-INTEGRITY-SHA256 and FINGERPRINT
    //# attributes, which appear after MESSAGE-INTEGRITY, agents MUST ignore
    //# all other attributes that follow MESSAGE-INTEGRITY.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = &self.bytes[HEADER_BYTES..];
        std::iter::from_fn(move || {
            let (kind, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
            if matches!(kind, attribute::MESSAGE_INTEGRITY | attribute::MESSAGE_INTEGRITY_SHA256) {
                rest = &[];
                return None;
            }
            let value = rest.get(4..4 + length)?;
            rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    /// The first attribute of a type: "only the first occurrence needs to be processed" (RFC 8489 §14).
    pub(crate) fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// The transport address in an XOR- attribute's value, in the client's address family; `None` if it is malformed.
    pub(crate) fn xor_address(&self, value: &[u8]) -> Option<SocketAddr> {
        let port = u16_at(value, 2)? ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]]);
        let ip = match (value.get(1)?, value.len()) {
            (1, 8) => IpAddr::from(xored::<4>(value[4..].try_into().ok()?, &self.bytes[4..20])),
            (2, 20) => IpAddr::from(xored::<16>(value[4..].try_into().ok()?, &self.bytes[4..20])),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// Whether MESSAGE-INTEGRITY is present and valid for `key` (RFC 8489 §14.5).
    pub(crate) fn is_signed_with(&self, key: &[u8]) -> bool {
        self.integrity.is_some_and(|at| self.is_signed_at::<Hmac<Sha1>>(at, 20, key))
    }

    /// Whether MESSAGE-INTEGRITY-SHA256 is present and valid for `key` (RFC 8489 §14.6).
    pub(crate) fn is_signed_sha256_with(&self, key: &[u8]) -> bool {
        self.integrity_sha256.is_some_and(|at| self.is_signed_at::<Hmac<Sha256>>(at, 32, key))
    }

    fn is_signed_at<M: Mac + KeyInit>(&self, at: usize, bytes: usize, key: &[u8]) -> bool {
        let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
        // Its length field covers the message up to and including the attribute, whatever follows.
        mac.update(&self.bytes[..2]);
        mac.update(&((at + 4 + bytes - HEADER_BYTES) as u16).to_be_bytes());
        mac.update(&self.bytes[4..at]);
        mac.verify_slice(&self.bytes[at + 4..at + 4 + bytes]).is_ok()
    }

    /// The comprehension-required attributes for which `is_known` is false, each once, at most `UNKNOWN_MAX`.
    pub(crate) fn unknown(&self, is_known: impl Fn(u16) -> bool) -> Unknown {
        let mut unknown = Unknown::NONE;
        for (kind, _) in self.attributes() {
            let is_required = kind < 0x8000;
            if is_required && !is_known(kind) && unknown.count < UNKNOWN_MAX && !unknown.as_slice().contains(&kind) {
                unknown.kinds[unknown.count] = kind;
                unknown.count += 1;
            }
        }
        unknown
    }
}

/// Maximum number of unknown attributes listed in a 420.
const UNKNOWN_MAX: usize = 32;

/// Unknown comprehension-required attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unknown {
    kinds: [u16; UNKNOWN_MAX],
    count: usize,
}

impl Unknown {
    pub(crate) const NONE: Self = Self { kinds: [0; UNKNOWN_MAX], count: 0 };

    pub(crate) fn as_slice(&self) -> &[u16] {
        &self.kinds[..self.count]
    }
}

/// Writes one message. Its length field is correct after each step.
pub(crate) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    /// Begins an indication. Clears `out`.
    pub(crate) fn indication(out: &'a mut Vec<u8>, method: u16, transaction_id: [u8; 12]) -> Self {
        out.clear();
        out.extend(kind(Class::Indication, method).to_be_bytes());
        out.extend([0, 0]);
        out.extend(MAGIC_COOKIE);
        out.extend(transaction_id);
        Self(out)
    }

    /// Begins the answer to a request. Clears `out`.
    pub(crate) fn answer(out: &'a mut Vec<u8>, class: Class, request: &Message<'_>) -> Self {
        out.clear();
        out.extend(kind(class, request.method).to_be_bytes());
        out.extend([0, 0]);
        out.extend_from_slice(&request.bytes[4..HEADER_BYTES]);
        Self(out)
    }

    pub(crate) fn attribute(self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.set_length(0)
    }

    pub(crate) fn software(self) -> Self {
        self.attribute(attribute::SOFTWARE, SOFTWARE_NAME)
    }

    /// A transport address as in MAPPED-ADDRESS (RFC 8489 §14.1).
    pub(crate) fn address(self, kind: u16, address: SocketAddr) -> Self {
        let port = address.port().to_be_bytes();
        match address.ip() {
            IpAddr::V4(ip) => {
                let ip = ip.octets();
                self.attribute(kind, &[0, 1, port[0], port[1], ip[0], ip[1], ip[2], ip[3]])
            }
            IpAddr::V6(ip) => {
                let mut value = [0, 2, port[0], port[1], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                value[4..].copy_from_slice(&ip.octets());
                self.attribute(kind, &value)
            }
        }
    }

    /// A transport address as in XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
    pub(crate) fn xor_address(self, kind: u16, address: SocketAddr) -> Self {
        let cookie_and_id: [u8; 16] = self.0[4..20].try_into().expect("a header is 20 bytes");
        let port = address.port() ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]]);
        let ip = match address.ip() {
            IpAddr::V4(ip) => IpAddr::from(xored(ip.octets(), &cookie_and_id)),
            IpAddr::V6(ip) => IpAddr::from(xored(ip.octets(), &cookie_and_id)),
        };
        self.address(kind, SocketAddr::new(ip, port))
    }

    pub(crate) fn error(self, ErrorCode(code, reason): ErrorCode) -> Self {
        let mut value = [0; 64];
        value[2..4].copy_from_slice(&[(code / 100) as u8, (code % 100) as u8]);
        value[4..4 + reason.len()].copy_from_slice(reason.as_bytes());
        self.attribute(attribute::ERROR_CODE, &value[..4 + reason.len()])
    }

    //= https://www.rfc-editor.org/rfc/rfc8489#section-6.3.1
    //# If the request contains one or more unknown comprehension-required
    //# attributes, the server replies with an error response with an error
    //# code of 420 (Unknown Attribute) and includes an UNKNOWN-ATTRIBUTES
    //# attribute in the response that lists the unknown comprehension-required attributes.
    pub(crate) fn unknown_attributes(self, unknown: &Unknown) -> Self {
        let mut kinds = [0; 2 * UNKNOWN_MAX];
        for (to, kind) in kinds.chunks_exact_mut(2).zip(unknown.as_slice()) {
            to.copy_from_slice(&kind.to_be_bytes());
        }
        self.error(UNKNOWN_ATTRIBUTE).attribute(attribute::UNKNOWN_ATTRIBUTES, &kinds[..2 * unknown.count])
    }

    /// Adds MESSAGE-INTEGRITY over everything before it (RFC 8489 §14.5).
    pub(crate) fn integrity(self, key: &[u8]) -> Self {
        let this = self.set_length(24);
        let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(this.0);
        this.attribute(attribute::MESSAGE_INTEGRITY, &mac.finalize().into_bytes())
    }

    /// Adds MESSAGE-INTEGRITY-SHA256 over everything before it (RFC 8489 §14.6).
    pub(crate) fn integrity_sha256(self, key: &[u8]) -> Self {
        let this = self.set_length(36);
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(this.0);
        this.attribute(attribute::MESSAGE_INTEGRITY_SHA256, &mac.finalize().into_bytes())
    }

    /// Adds the last attribute (RFC 8489 §14.7).
    pub(crate) fn fingerprint(self) -> Self {
        let this = self.set_length(8);
        let value = fingerprint(this.0);
        this.attribute(attribute::FINGERPRINT, &value)
    }

    /// Writes the length field as if `more` bytes followed.
    fn set_length(self, more: usize) -> Self {
        let length = (self.0.len() - HEADER_BYTES + more) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
        self
    }
}

pub(crate) const UNKNOWN_ATTRIBUTE: ErrorCode = ErrorCode(420, "Unknown Attribute");

/// The message type: the class's two bits lie between the method's twelve (RFC 8489 §5).
pub(crate) fn kind(class: Class, method: u16) -> u16 {
    class.bits() | (method & 0x0f80) << 2 | (method & 0x0070) << 1 | (method & 0x000f)
}

/// FINGERPRINT's value for the preceding bytes, whose length field already includes it.
fn fingerprint(covered: &[u8]) -> [u8; 4] {
    (CRC32.checksum(covered) ^ FINGERPRINT_XOR).to_be_bytes()
}

fn xored<const N: usize>(mut octets: [u8; N], with: &[u8]) -> [u8; N] {
    for (octet, with) in octets.iter_mut().zip(with) {
        *octet ^= with;
    }
    octets
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
