//! TCP connections that a program has closed but that its kernel still keeps.
//!
//! turmoil-net's kernels would continue to accept data for them, and keep them for ever if the other side has vanished.
//! A real kernel answers data with RST, and drops the connection after a while.

use std::collections::{BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::event::{NodeId, PacketId};
use crate::fabric::packet::{Body, Packet, Segment};

/// How long a kernel may keep a connection that its program has closed: Linux' `tcp_fin_timeout`.
const ORPHAN_LIFETIME: Duration = Duration::from_secs(60);

/// The closed connections of all kernels.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    kept: BTreeSet<Orphan>,
    /// The deadline of each, the earliest first.
    deadlines: VecDeque<(Duration, Orphan)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Orphan {
    kernel: Ipv4Addr,
    port: u16,
    remote: SocketAddrV4,
}

impl Orphans {
    pub(crate) fn add(&mut self, kernel: Ipv4Addr, port: u16, remote: SocketAddrV4, now: Duration) {
        let orphan = Orphan { kernel, port, remote };
        self.kept.insert(orphan);
        self.deadlines.push_back((now + ORPHAN_LIFETIME, orphan));
    }

    /// If `packet` brings data to an orphan, returns two segments: an RST that makes the orphan's own kernel forget it,
    /// and the RST to send to the other side.
    pub(crate) fn refuse(&mut self, kernel: Ipv4Addr, packet: &Packet) -> Option<(Packet, Packet)> {
        let Body::Tcp(segment) = &packet.body else { return None };
        let orphan = Orphan { kernel, port: packet.dst.port(), remote: packet.src };
        if segment.payload.is_empty() {
            // A SYN starts a new connection between the endpoints, and an RST makes the kernel forget the old one
            // anyway.
            if segment.flags.syn || segment.flags.rst {
                self.kept.remove(&orphan);
            }
            return None;
        }
        if !self.kept.remove(&orphan) {
            return None;
        }
        Some((kill(packet.src, packet.dst), packet.reset()?))
    }

    /// Removes an orphan whose deadline has passed; returns its kernel, and the RST that makes the kernel forget it.
    pub(crate) fn overdue(&mut self, now: Duration) -> Option<(Ipv4Addr, Packet)> {
        while self.next_due()? <= now {
            let (_, orphan) = self.deadlines.pop_front()?;
            if self.kept.remove(&orphan) {
                let Orphan { kernel, port, remote } = orphan;
                return Some((kernel, kill(remote, SocketAddrV4::new(kernel, port))));
            }
        }
        None
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.deadlines.front().map(|(at, _)| *at)
    }
}

/// An RST from `src` to `dst` that no host has sent. It makes a kernel forget a connection that its program has closed.
pub(crate) fn kill(src: SocketAddrV4, dst: SocketAddrV4) -> Packet {
    let body = Body::Tcp(Segment::reset());
    Packet { id: PacketId(u32::MAX), origin: NodeId(u16::MAX), ttl: 1, sent: Duration::ZERO, src, dst, body }
}
