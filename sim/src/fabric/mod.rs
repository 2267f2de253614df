//! What lies between hosts: realms, links, routers with their NATs, and the packets in flight.
//!
//! | module | contents |
//! |---|---|
//! | `topology` | what is attached where, and the next hop of a packet |
//! | `schedule` | future arrivals, ordered by time and then by age |
//! | `stalls` | TCP flows that do not get through, until their senders retransmit |
//! | [`fault`] | what can happen to a packet, one file per fault; `link` lists those of links |
//! | `kernels` | turmoil-net's kernels, one for each life of a machine |
//! | [`nat`] | a NAT, as a pure state machine; `router` applies it to packets |
//! | `forward` | a packet's way through all of these, from socket to socket |
//! | `ledger` | the record of packets, and the number of packets in flight |
//!
//! A packet goes hop by hop. In each realm it crosses the link of its sender and the link of its receiver. A router
//! translates it when it arrives at the router, not when it is sent.

pub mod fault;
mod flow;
mod forward;
mod index;
mod kernels;
mod ledger;
mod link;
pub mod nat;
mod orphans;
mod packet;
mod router;
mod schedule;
mod stalls;
mod tap;
mod topology;
mod udp;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use scenarios::{Link, NatBehavior, NatReboot};
use turmoil_net::EnterGuard;

use crate::event::{NodeId, Recorder};
use fault::Fault;
use flow::Flows;
use forward::Arrival;
pub use index::RealmIndex;
pub(crate) use index::{HostIndex, RouterIndex};
pub(crate) use kernels::Kernel;
use kernels::Kernels;
use ledger::Ledger;
use link::LinkState;
pub use packet::Packet;
use router::Router;
use schedule::Schedule;
use stalls::Stalls;
pub(crate) use tap::Tap;
pub use tap::{Content, Sighting, Taken};
use topology::{Host, Topology};
use udp::{Datagram, UdpPorts};

/// The network between the hosts.
pub(crate) struct Fabric {
    recorder: Recorder,
    ledger: Ledger,
    /// One stream for the whole network: the order of all draws is part of what a seed means.
    rng: ChaCha8Rng,
    topology: Topology,
    kernels: Kernels,
    schedule: Schedule<Arrival>,
    flows: Flows,
    /// Faults that act on packets at their receivers.
    faults: Vec<Box<dyn Fault>>,
    /// Packets that a fault holds until it is healed, in the order of their arrival.
    held: Vec<Arrival>,
    /// TCP flows that do not get through and are tried again.
    stalls: Stalls,
    /// Collects the packets on the wire, if the run is captured.
    tap: Option<Tap>,
}

impl Fabric {
    /// A network that consists of the internet, without hosts. `kernels` belong to `net`; there is one for every boot.
    pub(crate) fn new(seed: u64, recorder: Recorder, net: EnterGuard, kernels: Vec<Kernel>) -> Self {
        Self {
            ledger: Ledger::new(recorder.clone()),
            recorder,
            rng: ChaCha8Rng::seed_from_u64(seed),
            topology: Topology::new(),
            kernels: Kernels::new(net, kernels),
            schedule: Schedule::new(),
            flows: Flows::default(),
            faults: Vec::new(),
            held: Vec::new(),
            stalls: Stalls::default(),
            tap: None,
        }
    }

    /// Starts to keep every packet.
    pub(crate) fn open_tap(&mut self) {
        self.tap = Some(Tap::default());
    }

    /// Takes what was kept.
    pub(crate) fn close_tap(&mut self) -> Tap {
        self.tap.take().unwrap_or_default()
    }

    // ---- topology

    /// Adds a router, attached to `outer`, and the realm inside of it.
    pub(crate) fn add_router(
        &mut self,
        node: NodeId,
        outer: RealmIndex,
        external: &[Ipv4Addr],
        nat: Option<NatBehavior>,
        link: Link,
    ) -> (RealmIndex, RouterIndex) {
        let inner = self.topology.next_realm();
        let router = Router::new(node, inner, outer, link).with_nat(nat, external);
        (inner, self.topology.add_router(router, external))
    }

    /// Adds a machine, powered off.
    pub(crate) fn add_host(&mut self, node: NodeId, realm: RealmIndex, address: Ipv4Addr, link: Link) -> HostIndex {
        let (link, udp) = (LinkState::new(link), UdpPorts::default());
        self.topology.add_host(Host { node, realm, address, link, udp, kernel: None })
    }

    /// Powers a machine on, with a fresh kernel.
    pub(crate) fn power_on(&mut self, host: HostIndex) -> Kernel {
        let kernel = self.kernels.start(host);
        self.topology[host].kernel = Some(kernel);
        kernel
    }

    /// Cuts a machine's power: it sends nothing more.
    pub(crate) fn power_off(&mut self, host: HostIndex) {
        let host = &mut self.topology[host];
        host.udp.clear();
        if let Some(kernel) = host.kernel.take() {
            self.kernels.stop(kernel);
        }
    }

    pub(crate) fn router_node(&self, router: RouterIndex) -> NodeId {
        self.topology[router].node
    }

    pub(crate) fn set_host_link(&mut self, host: HostIndex, link: Link) {
        self.topology[host].link.configure(link);
    }

    pub(crate) fn set_router_link(&mut self, router: RouterIndex, link: Link) {
        self.topology[router].link.configure(link);
    }

    // ---- faults

    /// Reboots a NAT: it loses its mappings, whose number is returned, and may come back with another address.
    pub(crate) fn reboot_nat(&mut self, router: RouterIndex, reboot: NatReboot) -> usize {
        let now = self.recorder.now();
        let Some(lost) = self.topology[router].reboot(reboot, now) else { return 0 };
        if let Some(address) = reboot.new_address {
            self.topology.readdress(router, address);
        }
        self.note_nat(router, now);
        lost
    }

    /// Applies a fault to all packets that reach their receiver, until [`Fabric::heal`].
    pub(crate) fn inject(&mut self, fault: Box<dyn Fault>) {
        self.faults.push(fault);
    }

    /// Ends all injected faults. Packets that they held arrive now, before all packets that are still in flight. TCP
    /// flows go on when their senders retransmit.
    pub(crate) fn heal(&mut self) {
        self.faults.clear();
        let now = self.recorder.now();
        for arrival in std::mem::take(&mut self.held) {
            self.arrive(arrival, now);
        }
    }

    /// Tries all stalled TCP flows again at once, as if each sender retransmitted now.
    pub(crate) fn retransmit_now(&mut self) {
        let now = self.recorder.now();
        for flow in self.stalls.hurry(now) {
            self.schedule.add(now, Arrival::Retry(flow));
        }
    }

    // ---- time

    /// Takes what kernels have sent, if `tcp_touched` says that there may be something, and delivers what is due.
    /// Returns when it must be called again, if ever.
    pub(crate) fn step(&mut self, now: Duration, mut tcp_touched: bool) -> Option<Duration> {
        loop {
            if tcp_touched {
                self.send_from_kernels();
                tcp_touched = false;
            }
            while let Some(arrival) = self.schedule.pop(now) {
                tcp_touched |= self.arrive(arrival, now);
            }
            tcp_touched |= self.kernels.forget_overdue(now);
            // A kernel that received a segment may respond at once.
            if !tcp_touched {
                return self.schedule.next().into_iter().chain(self.kernels.next_overdue()).min();
            }
        }
    }

    // ---- what sockets need

    /// Takes a datagram from the receive buffer of a host's socket.
    pub(crate) fn receive_udp(
        &mut self,
        host: HostIndex,
        port: u16,
        cx: &mut Context<'_>,
    ) -> Poll<(SocketAddrV4, Bytes)> {
        let host = &mut self.topology[host];
        let Datagram { packet, from, payload } = ready!(host.udp.poll_receive(port, cx));
        if let Some(tap) = &mut self.tap {
            let (at, events) = (self.recorder.now(), self.recorder.count());
            tap.taken.push(Taken { packet, node: host.node, at, events });
        }
        Poll::Ready((from, payload))
    }

    pub(crate) fn udp(&mut self, host: HostIndex) -> &mut UdpPorts {
        &mut self.topology[host].udp
    }

    pub(crate) fn address(&self, host: HostIndex) -> Ipv4Addr {
        self.topology[host].address
    }

    /// A random number below `end`.
    pub(crate) fn draw(&mut self, end: u32) -> u32 {
        self.rng.next_u32() % end
    }

    /// A random port from Linux' ephemeral range.
    pub(crate) fn ephemeral_port(&mut self) -> u16 {
        32_768 + self.draw(28_232) as u16
    }

    /// Notes that a program has closed a TCP connection, which its kernel may keep for a while.
    pub(crate) fn closed(&mut self, kernel_address: Ipv4Addr, local_port: u16, remote: SocketAddrV4) {
        self.kernels.closed(kernel_address, local_port, remote, self.recorder.now());
    }

    pub(crate) fn udp_sockets(&self) -> usize {
        self.topology.hosts().iter().map(|host| host.udp.len()).sum()
    }

    /// Number of packets in flight, including those that a fault holds.
    pub(crate) fn packets_in_flight(&self) -> usize {
        self.ledger.packets_in_flight()
    }
}
