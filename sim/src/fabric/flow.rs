//! What the fabric remembers of flows: their order, and connections that a program has closed but a kernel still keeps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;
use turmoil_net::TcpFlags;

use crate::event::{NodeId, PacketId, Protocol};
use crate::fabric::packet::{Body, Packet, Segment};
use crate::fabric::realm::RealmIndex;

/// How many flows are remembered before those that have nothing under way are forgotten.
const FLOWS_KEPT: usize = 4096;
/// How long a kernel may keep a connection that its program has closed: Linux' `tcp_fin_timeout`.
const ORPHAN_LIFETIME: Duration = Duration::from_secs(60);

/// Packets of one protocol from one endpoint to another in one realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(crate) realm: RealmIndex,
    pub(crate) protocol: Protocol,
    pub(crate) src: SocketAddrV4,
    pub(crate) dst: SocketAddrV4,
}

/// When the last packet of each flow arrives: jitter and retransmission delay a flow but never re-order it.
#[derive(Debug, Default)]
pub(crate) struct Flows(BTreeMap<Flow, Duration>);

impl Flows {
    /// The arrival time of a packet that would arrive at `at` were it alone.
    pub(crate) fn in_order(&mut self, flow: Flow, at: Duration, now: Duration) -> Duration {
        if self.0.len() >= FLOWS_KEPT {
            self.0.retain(|_, last| *last >= now);
        }
        let last = self.0.entry(flow).or_insert(at);
        *last = at.max(*last);
        *last
    }
}

/// TCP connections that a program has closed. turmoil-net's kernel would go on to take data for them, and keep them for ever when the
/// other side has died; a real one answers data with RST, and gives up after a while.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    kept: BTreeSet<Orphan>,
    /// When each is forgotten at the latest, the first to come in front.
    deadlines: VecDeque<(Duration, Orphan)>,
}

/// The kernel, its port, and the remote endpoint.
type Orphan = (Ipv4Addr, u16, SocketAddrV4);

impl Orphans {
    pub(crate) fn add(&mut self, kernel: Ipv4Addr, local_port: u16, remote: SocketAddrV4, now: Duration) {
        let orphan = (kernel, local_port, remote);
        self.kept.insert(orphan);
        self.deadlines.push_back((now + ORPHAN_LIFETIME, orphan));
    }

    /// If `packet` brings data to an orphan: a RST that makes its own kernel forget it, and the RST that answers the sender.
    pub(crate) fn refuse(&mut self, kernel: Ipv4Addr, packet: &Packet) -> Option<(Packet, Packet)> {
        let Body::Tcp(segment) = &packet.body else { return None };
        let orphan = (kernel, packet.dst.port(), packet.src);
        if segment.payload.is_empty() {
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

    /// An orphan that is to be forgotten: the kernel, and the RST that makes it forget.
    pub(crate) fn overdue(&mut self, now: Duration) -> Option<(Ipv4Addr, Packet)> {
        while self.next_due()? <= now {
            let (_, orphan) = self.deadlines.pop_front()?;
            if self.kept.remove(&orphan) {
                let (kernel, port, remote) = orphan;
                return Some((kernel, kill(remote, SocketAddrV4::new(kernel, port))));
            }
        }
        None
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.deadlines.front().map(|(at, _)| *at)
    }
}

/// A RST from `src` to `dst` that no host sent: it tells a kernel what its socket's owner has decided.
fn kill(src: SocketAddrV4, dst: SocketAddrV4) -> Packet {
    let flags = TcpFlags { rst: true, ack: true, ..TcpFlags::default() };
    let body = Body::Tcp(Segment { seq: 0, ack: 0, flags, window: 0, payload: Bytes::new() });
    Packet { id: PacketId(u32::MAX), origin: NodeId(u16::MAX), ttl: 1, src, dst, body }
}
