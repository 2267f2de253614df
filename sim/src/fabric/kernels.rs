//! The kernels that run TCP: turmoil-net's, one for each life of a machine.
//!
//! turmoil-net can add hosts only before the start, so a pool of kernels is created in advance. They have addresses of
//! their own, which are never visible: a packet gets its machine's address as soon as it leaves. So two homes can both
//! use 192.168.1.0/24, and a machine that boots again with the same address gets a kernel without any state of its
//! earlier life.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use turmoil_net::{EnterGuard, HostId};

use crate::fabric::index::HostIndex;
use crate::fabric::orphans::{self, Orphans};
use crate::fabric::packet::{self, Body, Packet, Segment};

/// One of turmoil-net's kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    pub(crate) id: HostId,
    /// The kernel's own address.
    pub(crate) address: Ipv4Addr,
}

/// A segment that a kernel sends.
pub(crate) struct Outgoing {
    pub(crate) host: HostIndex,
    pub(crate) src_port: u16,
    pub(crate) dst: SocketAddrV4,
    pub(crate) segment: Segment,
}

pub(crate) struct Kernels {
    net: EnterGuard,
    /// Kernels that no machine has used yet; the last one is used next.
    spare: Vec<Kernel>,
    /// The host on which each kernel runs, by the kernel's address.
    running: BTreeMap<Ipv4Addr, HostIndex>,
    orphans: Orphans,
    /// Segments that were collected and not yet taken, in reverse order.
    egress: Vec<turmoil_net::Packet>,
}

impl Kernels {
    pub(crate) fn new(net: EnterGuard, mut spare: Vec<Kernel>) -> Self {
        spare.reverse();
        Self { net, spare, running: BTreeMap::new(), orphans: Orphans::default(), egress: Vec::new() }
    }

    /// Starts a fresh kernel on a host.
    pub(crate) fn start(&mut self, host: HostIndex) -> Kernel {
        let kernel = self.spare.pop().expect("a kernel was created for every boot of the scenario");
        self.running.insert(kernel.address, host);
        kernel
    }

    /// Detaches a kernel from its host: nothing that it sends leaves it any more.
    pub(crate) fn stop(&mut self, kernel: Kernel) {
        self.running.remove(&kernel.address);
    }

    /// Collects what all kernels have to send, for [`Kernels::next_outgoing`].
    pub(crate) fn collect(&mut self) {
        self.net.egress_all(&mut self.egress);
        self.egress.reverse();
    }

    /// The next segment of those collected, in the order of sending.
    pub(crate) fn next_outgoing(&mut self) -> Option<Outgoing> {
        loop {
            let Some((src, dst, segment)) = packet::from_kernel(self.egress.pop()?) else { continue };
            // A kernel whose machine has lost power belongs to no host.
            let Some(&host) = self.running.get(src.ip()) else { continue };
            return Some(Outgoing { host, src_port: src.port(), dst, segment });
        }
    }

    /// Delivers a segment. If the segment brings data for a connection that its program has closed, returns the RST to
    /// answer it with.
    pub(crate) fn deliver(&mut self, kernel: Kernel, packet: &Packet) -> Option<Packet> {
        let Some((own, answer)) = self.orphans.refuse(kernel.address, packet) else {
            self.hand_over(kernel.address, packet);
            return None;
        };
        self.hand_over(kernel.address, &own);
        Some(answer)
    }

    /// Notes that a program has closed a connection, which the kernel may keep for a while.
    pub(crate) fn closed(&mut self, kernel: Ipv4Addr, local_port: u16, remote: SocketAddrV4, now: Duration) {
        self.orphans.add(kernel, local_port, remote, now);
    }

    /// Makes a kernel forget a connection that its program aborts.
    pub(crate) fn abort(&mut self, kernel: Ipv4Addr, local_port: u16, remote: SocketAddrV4) {
        self.hand_over(kernel, &orphans::kill(remote, SocketAddrV4::new(kernel, local_port)));
    }

    /// Makes kernels forget closed connections whose deadline has passed; returns whether there was one.
    pub(crate) fn forget_overdue(&mut self, now: Duration) -> bool {
        let mut any = false;
        while let Some((kernel, packet)) = self.orphans.overdue(now) {
            self.hand_over(kernel, &packet);
            any = true;
        }
        any
    }

    /// The next deadline of a closed connection.
    pub(crate) fn next_overdue(&self) -> Option<Duration> {
        self.orphans.next_due()
    }

    fn hand_over(&mut self, kernel: Ipv4Addr, packet: &Packet) {
        if let Body::Tcp(segment) = &packet.body {
            self.net.deliver(packet::to_kernel(packet.src, packet.dst.port(), kernel, segment.clone()));
        }
    }
}
