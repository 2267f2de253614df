//! A packet between hosts: UDP or TCP over IPv4 or IPv6.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::event::TransportAddress;
use crate::event::{NodeId, PacketId, PacketView, Protocol};
use crate::fabric::index::RealmIndex;
use crate::fabric::nat::Signal;
use crate::fabric::tap::{Content, Sighting};
use crate::hash::digest;

/// Size of an IPv4 header without options, bytes.
const IPV4_HEADER: usize = 20;
/// Size of an IPv6 header, bytes. RFC 8200 §3.
const IPV6_HEADER: usize = 40;
/// Size of the extension header of a fragment of IPv6, bytes. RFC 8200 §4.5.
const FRAGMENT_HEADER: usize = 8;
/// Size of a UDP header, bytes.
const UDP_HEADER: usize = 8;
/// Size of a TCP header without options, bytes.
const TCP_HEADER: usize = 20;
/// Initial TTL of a packet, as Linux sets it.
const TTL: u8 = 64;

/// A packet in flight.
#[derive(Clone, Debug)]
pub struct Packet {
    pub(crate) id: PacketId,
    pub(crate) origin: NodeId,
    /// Remaining hops.
    pub(crate) ttl: u8,
    /// When it was sent first.
    pub(crate) sent: Duration,
    pub(crate) src: TransportAddress,
    pub(crate) dst: TransportAddress,
    /// The address to which its sender sent it.
    pub(crate) sent_to: IpAddr,
    /// The longest packet in which it travels, bytes, if it is split into fragments.
    pub(crate) fragment: Option<u16>,
    /// Whether a bit was flipped on the way.
    pub(crate) corrupted: bool,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Udp(Bytes),
    Tcp(Segment),
}

/// The control bits of a TCP segment that are used here (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) fin: bool,
    pub(crate) syn: bool,
    pub(crate) rst: bool,
    pub(crate) psh: bool,
    pub(crate) ack: bool,
}

/// A TCP segment without its ports, which belong to the packet.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: Flags,
    pub(crate) window: u16,
    pub(crate) payload: Bytes,
}

impl Segment {
    /// A segment that ends a connection at once. Its receiver does not look at its numbers.
    pub(crate) fn reset() -> Self {
        let flags = Flags { rst: true, ack: true, ..Flags::default() };
        Self { seq: 0, ack: 0, flags, window: 0, payload: Bytes::new() }
    }
}

impl Packet {
    /// A packet as its sender makes it.
    pub(crate) fn new(
        id: PacketId,
        origin: NodeId,
        sent: Duration,
        src: TransportAddress,
        dst: TransportAddress,
        body: Body,
    ) -> Self {
        Self { id, origin, ttl: TTL, sent, src, dst, sent_to: dst.ip(), fragment: None, corrupted: false, body }
    }

    /// The machine or router that sent it first.
    pub fn origin(&self) -> NodeId {
        self.origin
    }

    /// Source, as seen here: a NAT may have translated it.
    pub fn src(&self) -> SocketAddr {
        self.src.into()
    }

    /// Destination, as seen here: a NAT may have translated it.
    pub fn dst(&self) -> SocketAddr {
        self.dst.into()
    }

    /// UDP or TCP.
    pub fn protocol(&self) -> Protocol {
        match self.body {
            Body::Udp(_) => Protocol::Udp,
            Body::Tcp(_) => Protocol::Tcp,
        }
    }

    /// Size on a link, the headers of all fragments included, bytes.
    pub fn size(&self) -> usize {
        usize::from(self.pieces()) * self.headers() + self.content()
    }

    /// Size of the IP headers of each packet in which it travels, bytes.
    fn headers(&self) -> usize {
        match (self.src.is_ipv6(), self.fragment) {
            (false, _) => IPV4_HEADER,
            (true, None) => IPV6_HEADER,
            (true, Some(_)) => IPV6_HEADER + FRAGMENT_HEADER,
        }
    }

    /// Size without IP headers, bytes.
    fn content(&self) -> usize {
        match &self.body {
            Body::Udp(payload) => UDP_HEADER + payload.len(),
            Body::Tcp(segment) => TCP_HEADER + segment.payload.len(),
        }
    }

    /// Splits it into packets of at most `mtu` bytes if it is longer: at least 68 (RFC 791 §2.3), with IPv6 at least 1280.
    pub(crate) fn split(&mut self, mtu: u16) {
        if self.longest_piece() > usize::from(mtu) {
            self.fragment = Some(mtu);
        }
    }

    /// The number of packets in which it travels.
    pub fn pieces(&self) -> u16 {
        // Fragments begin at multiples of 8 bytes.
        let each = self.fragment.map(|mtu| (usize::from(mtu) - self.headers()) / 8 * 8);
        each.map_or(1, |each| self.content().div_ceil(each) as u16)
    }

    /// The size of the longest packet in which it travels, bytes.
    pub(crate) fn longest_piece(&self) -> usize {
        let whole = self.headers() + self.content();
        self.fragment.map_or(whole, |mtu| whole.min(usize::from(mtu)))
    }

    /// The packet as captured on the wire of a realm.
    pub(crate) fn sighting(&self, at: Duration, realm: RealmIndex) -> Sighting {
        let content = match &self.body {
            Body::Udp(payload) => Content::Udp(payload.clone()),
            Body::Tcp(Segment { seq, ack, flags, window, payload }) => Content::Tcp {
                seq: *seq,
                ack: *ack,
                flags: control_bits(*flags),
                window: *window,
                payload: payload.clone(),
            },
        };
        let Self { id, origin, ttl, src, dst, .. } = *self;
        Sighting { at, realm, packet: id, origin, ttl, src, dst, content }
    }

    /// Whether it is the first segment of a TCP connection.
    pub(crate) fn opens(&self) -> bool {
        self.signal() == Signal::Open && self.protocol() == Protocol::Tcp
    }

    /// Whether its sender would send it again: a TCP segment that takes sequence numbers.
    pub(crate) fn is_retransmitted(&self) -> bool {
        let Body::Tcp(segment) = &self.body else { return false };
        !segment.flags.rst && (segment.flags.syn || segment.flags.fin || !segment.payload.is_empty())
    }

    /// What the packet says about its connection, as a NAT sees it.
    pub(crate) fn signal(&self) -> Signal {
        let Body::Tcp(segment) = &self.body else { return Signal::Data };
        match segment.flags {
            Flags { rst: true, .. } => Signal::Reset,
            Flags { syn: true, ack: false, .. } => Signal::Open,
            Flags { syn: true, .. } => Signal::Accept,
            Flags { fin: true, .. } => Signal::Close,
            _ => Signal::Data,
        }
    }

    /// The packet as shown in the record.
    pub(crate) fn view(&self) -> PacketView {
        let (protocol, flags, payload) = match &self.body {
            Body::Udp(payload) => (Protocol::Udp, 0, payload),
            Body::Tcp(segment) => (Protocol::Tcp, control_bits(segment.flags), &segment.payload),
        };
        PacketView {
            packet: self.id,
            protocol,
            flags,
            src: self.src,
            dst: self.dst,
            bytes: u16::try_from(payload.len()).expect("a payload is shorter than the MTU"),
            digest: digest(payload),
        }
    }

    /// The RST that refuses this segment (RFC 9293 §3.5.2), as its destination host would send it. `None` for UDP and
    /// for an RST.
    pub(crate) fn reset(&self) -> Option<Packet> {
        let Body::Tcp(segment) = &self.body else { return None };
        if segment.flags.rst {
            return None;
        }
        let length = segment.payload.len() as u32 + u32::from(segment.flags.syn) + u32::from(segment.flags.fin);
        let reply = Segment {
            seq: if segment.flags.ack { segment.ack } else { 0 },
            ack: segment.seq.wrapping_add(length),
            flags: Flags { rst: true, ack: !segment.flags.ack, ..Flags::default() },
            window: 0,
            payload: Bytes::new(),
        };
        Some(Packet::new(self.id, self.origin, self.sent, self.dst, self.src, Body::Tcp(reply)))
    }
}

/// The control bits of RFC 9293 §3.1, with FIN as the lowest bit.
fn control_bits(flags: Flags) -> u8 {
    u8::from(flags.fin)
        | u8::from(flags.syn) << 1
        | u8::from(flags.rst) << 2
        | u8::from(flags.psh) << 3
        | u8::from(flags.ack) << 4
}
