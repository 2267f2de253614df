//! What datagrams say: those of STUN and TURN servers as far as their bytes tell without a key (RFC 8489, RFC 8656), those of
//! peers as far as the consent to send depends on it (RFC 7675).
//!
//! They are beside the events, not among them: each belongs to the event of a packet, whose hash covers its bytes.

use std::net::IpAddr;
use std::time::Duration;

use server::STUN_PORT;

use crate::event::node::NodeId;
use crate::event::packet::{PacketId, TransportAddress};

/// Size of a STUN header, bytes, and the magic cookie in it. RFC 8489 §5.
const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A datagram that the machine of a STUN or TURN server has sent or received.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerDatagram {
    /// Virtual time since the start.
    pub at: Duration,
    /// The server's machine.
    pub node: NodeId,
    /// The index of the packet's event in the record.
    pub event: usize,
    /// Whether the server sent it.
    pub is_sent: bool,
    /// The server's address.
    pub local: TransportAddress,
    /// The other address, as the server sees it.
    pub remote: TransportAddress,
    /// What it is.
    pub content: Content,
}

/// What a datagram of a STUN or TURN server is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A STUN message. It is boxed, because most datagrams carry data.
    Stun(Box<StunMessage>),
    /// A ChannelData message on this channel. RFC 8656 §12.4.
    ChannelData(u16),
    /// Anything else: at a relayed address, data of a peer or for it.
    Other,
}

/// The class of a STUN message. RFC 8489 §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A request.
    Request,
    /// An indication.
    Indication,
    /// A success response.
    Success,
    /// An error response.
    Error,
}

/// What the oracles need of a STUN message.
#[derive(Clone, Debug, PartialEq)]
pub struct StunMessage {
    /// The class.
    pub class: Class,
    /// The method: Binding 1, Allocate 3, Refresh 4, Send 6, Data 7, CreatePermission 8, ChannelBind 9.
    pub method: u16,
    /// The transaction id.
    pub id: [u8; 12],
    /// Whether it has a MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256.
    pub is_signed: bool,
    /// All XOR-PEER-ADDRESS.
    pub peers: Vec<TransportAddress>,
    /// All XOR-RELAYED-ADDRESS.
    pub relayed: Vec<TransportAddress>,
    /// CHANNEL-NUMBER.
    pub channel: Option<u16>,
    /// LIFETIME, seconds.
    pub lifetime: Option<u32>,
    /// Whether REQUESTED-ADDRESS-FAMILY asks for IPv6, if there is one.
    pub wants_ipv6: Option<bool>,
}

/// A datagram of a machine without a STUN or TURN server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerDatagram {
    /// The packet. A duplicate has the number of the original.
    pub packet: PacketId,
    /// What it is.
    pub kind: PeerDatagramKind,
}

/// What is kept of the datagrams between peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerDatagramKind {
    /// A machine received a success response to a Binding request.
    Answer,
    /// A machine sent DTLS, SRTP or SRTCP.
    Data,
}

impl PeerDatagram {
    /// What a datagram is by its first bytes (RFC 7983 §7); `None` if it is nothing that is kept. ChannelData is not, because it
    /// goes to a TURN server.
    pub(crate) fn of(packet: PacketId, is_sent: bool, bytes: &[u8]) -> Option<Self> {
        let kind = match (is_sent, bytes) {
            (false, [1, 1, ..]) => PeerDatagramKind::Answer,
            (true, [20..=63 | 128..=191, ..]) => PeerDatagramKind::Data,
            _ => return None,
        };
        Some(Self { packet, kind })
    }
}

impl ServerDatagram {
    /// Whether it is one between the server itself and a client, and not one at a relayed address.
    pub fn is_of_server(&self) -> bool {
        self.local.port() == STUN_PORT
    }

    /// The STUN message of this class that it is, if it is one between the server itself and a client.
    pub(crate) fn message(&self, class: Class) -> Option<&StunMessage> {
        match &self.content {
            Content::Stun(message) if message.class == class && self.is_of_server() => Some(message),
            _ => None,
        }
    }
}

impl Content {
    /// Reads a datagram.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        match bytes {
            [0x40..=0x4f, _, _, _, ..] => Self::ChannelData(u16::from_be_bytes([bytes[0], bytes[1]])),
            _ => StunMessage::read(bytes).map_or(Self::Other, |message| Self::Stun(Box::new(message))),
        }
    }
}

impl StunMessage {
    /// Reads a STUN message; `None` if it is none, or if an attribute does not fit into it.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        if header[0] > 0x3f || header[4..8] != MAGIC_COOKIE {
            return None;
        }
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let class = match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
            (false, false) => Class::Request,
            (false, true) => Class::Indication,
            (true, false) => Class::Success,
            (true, true) => Class::Error,
        };
        // The bits of the class lie between those of the method.
        let method = (kind & 0x000f) | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2;
        let mut message = Self {
            class,
            method,
            id: header[8..].try_into().expect("12 bytes follow the cookie"),
            is_signed: false,
            peers: Vec::new(),
            relayed: Vec::new(),
            channel: None,
            lifetime: None,
            wants_ipv6: None,
        };
        while let [t0, t1, l0, l1, value @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            message.attribute(u16::from_be_bytes([*t0, *t1]), value.get(..length)?);
            rest = value.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(message)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        match (kind, value) {
            // The first of several counts.
            (0x000c, [n0, n1, ..]) => self.channel = self.channel.or(Some(u16::from_be_bytes([*n0, *n1]))),
            (0x000d, [a, b, c, d]) => self.lifetime = self.lifetime.or(Some(u32::from_be_bytes([*a, *b, *c, *d]))),
            (0x0012, _) => self.peers.extend(self.address(value)),
            (0x0016, _) => self.relayed.extend(self.address(value)),
            (0x0017, [family, ..]) => self.wants_ipv6 = self.wants_ipv6.or(Some(*family == 2)),
            (0x0008 | 0x001c, _) => self.is_signed = true,
            _ => {}
        }
    }

    /// The value of an XOR-…-ADDRESS attribute. RFC 8489 §14.2.
    fn address(&self, value: &[u8]) -> Option<TransportAddress> {
        let (&[_, family, p0, p1], ip) = value.split_first_chunk::<4>()?;
        let mut plain = ip.iter().zip(MAGIC_COOKIE.iter().chain(&self.id)).map(|(byte, mask)| byte ^ mask);
        let ip = match (family, ip.len()) {
            (1, 4) => IpAddr::from(std::array::from_fn::<u8, 4, _>(|_| plain.next().expect("it has 4 bytes"))),
            (2, 16) => IpAddr::from(std::array::from_fn::<u8, 16, _>(|_| plain.next().expect("it has 16 bytes"))),
            _ => return None,
        };
        let port = u16::from_be_bytes([p0 ^ MAGIC_COOKIE[0], p1 ^ MAGIC_COOKIE[1]]);
        Some(TransportAddress::new(ip, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.2: a response with XOR-MAPPED-ADDRESS and MESSAGE-INTEGRITY.
    const RESPONSE: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643\
        000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter_map(|digit| (digit as char).to_digit(16)).map(|d| d as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn read(hex: &str) -> StunMessage {
        match Content::read(&bytes(hex)) {
            Content::Stun(message) => *message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_are_read() {
        let response = read(RESPONSE);
        assert_eq!((response.class, response.method, response.is_signed), (Class::Success, 1, true));
        assert_eq!(response.id[..2], [0xb7, 0xe7]);
        // A ChannelBind request: channel 0x4001, peer 192.0.2.1:32853, which is the address of RFC 5769.
        let bind = read("000900182112a442b7e7a701bc34d686fa87dfae000c000440010000001200080001a147e112a643");
        assert_eq!((bind.class, bind.method, bind.channel, bind.is_signed), (Class::Request, 9, Some(0x4001), false));
        assert_eq!(bind.peers, ["192.0.2.1:32853".parse().expect("an address")]);
        assert_eq!(read("001600002112a442000000000000000000000000").class, Class::Indication);
        assert_eq!(read("011300002112a442000000000000000000000000").class, Class::Error);
    }

    #[test]
    fn what_is_no_message_is_other() {
        assert_eq!(Content::read(&[0x40, 1, 0, 0]), Content::ChannelData(0x4001));
        for other in [&b""[..], b"hello, this is some text", &[0x16; 40]] {
            assert_eq!(Content::read(other), Content::Other);
        }
        // An attribute that is longer than the message.
        assert_eq!(Content::read(&bytes("000300042112a442000000000000000000000000000c00ff")), Content::Other);
    }
}
