//! The TCP connections between clients and the server: what is under way, what is lost, when the server last heard of each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::event::{Event, NodeId, PacketEvent, PacketId, PacketView, Protocol};

/// Control bits of a segment that opens a connection: SYN alone.
const SYN: u8 = 2;

/// A TCP connection to the server: whose it is, from which of their endpoints, and the how-manieth from there. A machine that has lost power
/// may dial from the same port again.
pub(crate) type Line = (NodeId, SocketAddrV4, u32);

/// The newest line of each endpoint of a client.
#[derive(Debug, Default)]
pub(crate) struct Lines(BTreeMap<(NodeId, SocketAddrV4), u32>);

impl Lines {
    /// The line that a client's packet belongs to.
    pub(crate) fn of(&mut self, node: NodeId, view: &PacketView) -> Line {
        let number = self.0.entry((node, view.src)).or_default();
        *number += u32::from(is_syn(view));
        (node, view.src, *number)
    }
}

/// Whether a packet opens a TCP connection.
pub(crate) fn is_syn(view: &PacketView) -> bool {
    view.protocol == Protocol::Tcp && view.flags == SYN
}

#[derive(Debug, Default)]
struct Traffic {
    under_way: BTreeSet<(Duration, PacketId)>,
    heard: Option<Duration>,
    lost: Option<Duration>,
}

/// All lines.
#[derive(Debug)]
pub(crate) struct Wire {
    server: Option<NodeId>,
    address: Ipv4Addr,
    lines: Lines,
    traffic: BTreeMap<Line, Traffic>,
    /// The line of each endpoint that the server sees.
    seen_as: BTreeMap<SocketAddrV4, Line>,
    packets: BTreeMap<PacketId, (Line, Duration)>,
}

impl Wire {
    pub(crate) fn new(server: Option<NodeId>, address: Ipv4Addr) -> Self {
        let (traffic, seen_as, packets) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { server, address, lines: Lines::default(), traffic, seen_as, packets }
    }

    pub(crate) fn advance(&mut self, event: &Event, packet: &PacketEvent) {
        match packet {
            PacketEvent::Sent(view) if view.protocol == Protocol::Tcp => {
                let line = if Some(event.node) == self.server {
                    self.seen_as.get(&view.dst).copied()
                } else if *view.dst.ip() == self.address {
                    Some(self.lines.of(event.node, view))
                } else {
                    None
                };
                let Some(line) = line else { return };
                self.packets.insert(view.packet, (line, event.at));
                self.traffic.entry(line).or_default().under_way.insert((event.at, view.packet));
            }
            PacketEvent::Delivered(view) => {
                let Some(line) = self.ended(view.packet) else { return };
                if Some(event.node) == self.server {
                    self.seen_as.insert(view.src, line);
                    if view.bytes > 0 {
                        self.traffic.entry(line).or_default().heard = Some(event.at);
                    }
                }
            }
            PacketEvent::Dropped { packet, .. } => {
                if let Some(line) = self.ended(*packet) {
                    self.traffic.entry(line).or_default().lost = Some(event.at);
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, packet: PacketId) -> Option<Line> {
        let (line, sent) = self.packets.remove(&packet)?;
        self.traffic.entry(line).or_default().under_way.remove(&(sent, packet));
        Some(line)
    }

    /// When the server last got something from a client over this line.
    pub(crate) fn heard(&self, line: Line) -> Option<Duration> {
        self.traffic.get(&line)?.heard
    }

    /// Whether a segment, either way, is under way for longer than `patience`.
    pub(crate) fn is_late(&self, line: Line, now: Duration, patience: Duration) -> bool {
        let oldest = self.traffic.get(&line).and_then(|traffic| traffic.under_way.first());
        oldest.is_some_and(|(sent, _)| *sent + patience < now)
    }

    /// Whether a segment was lost for good, either way, at `since` or later.
    pub(crate) fn has_lost_since(&self, line: Line, since: Duration) -> bool {
        self.traffic.get(&line).and_then(|traffic| traffic.lost).is_some_and(|lost| lost >= since)
    }
}
