//! What lies between hosts: realms, links, routers with their NATs, and the packets in flight.
//!
//! | module | contents |
//! |---|---|
//! | `topology` | what is attached where, and the next hop of a packet |
//! | `schedule` | future arrivals, ordered by time and then by age |
//! | `stalls` | TCP flows that do not get through, until their senders retransmit |
//! | `fates` | single packets whose fate the scenario decides, and what chance does to all others |
//! | [`fault`] | what can happen to a packet, one file per fault; `link` lists those of links |
//! | `tcp`, `udp` | the sockets of machines |
//! | [`nat`] | a NAT, as a pure state machine; `router` applies it to packets |
//! | `forward` | a packet's way through all of these, from socket to socket |
//! | `path_mtu` | what a host knows of the MTU of its paths |
//! | `ledger` | the record of packets, and the number of packets in flight |
//!
//! A packet goes hop by hop. In each realm it crosses the link of its sender and the link of its receiver. A router
//! translates it when it arrives at the router, not when it is sent.

pub(crate) mod fates;
pub mod fault;
mod flow;
mod forward;
mod index;
mod ledger;
mod link;
pub mod nat;
mod packet;
mod path_mtu;
mod router;
mod schedule;
mod stalls;
mod tap;
mod tcp;
mod topology;
mod udp;

use std::net::Ipv4Addr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use scenarios::{Addresses, Link, NatBehavior, NatReboot};

use crate::event::TransportAddress;
use crate::event::{NodeId, Recorder};
use fates::Fates;
use fault::Fault;
use flow::Flows;
use forward::Arrival;
pub use index::RealmIndex;
pub(crate) use index::{HostIndex, RouterIndex};
use ledger::Ledger;
use link::LinkState;
pub use packet::Packet;
use path_mtu::PathMtus;
use router::Router;
use schedule::Schedule;
use stalls::Stalls;
pub(crate) use tap::Tap;
pub use tap::{Content, Sighting, Taken};
pub(crate) use tcp::{ConnectionId, Life, Service, Tcp};
use topology::{Host, Topology};
use udp::{Datagram, UdpPorts};

/// How many different ports a machine's TCP may start with. If every life began with the same port, a machine that lost
/// power would dial from a port on which the other side still holds a connection.
const FIRST_PORTS: u32 = 256;

/// The network between the hosts.
pub(crate) struct Fabric {
    recorder: Recorder,
    ledger: Ledger,
    /// One stream for the whole network: the order of all draws is part of what a seed means.
    rng: ChaCha8Rng,
    topology: Topology,
    tcp: Tcp,
    schedule: Schedule<Arrival>,
    flows: Flows,
    /// Faults that act on packets at their receivers.
    faults: Vec<Box<dyn Fault>>,
    /// Packets that a fault holds until it is healed, in the order of their arrival.
    held: Vec<Arrival>,
    /// TCP flows that do not get through and are tried again.
    stalls: Stalls,
    /// What is decided about single packets, and what chance does, if either is wanted.
    fates: Option<Fates>,
    /// Collects the packets on the wire, if the run is captured.
    tap: Option<Tap>,
    /// Whether nothing is judged any more, so that links let through what they would hold.
    is_over: bool,
}

impl Fabric {
    /// A network that consists of the internet, without hosts.
    pub(crate) fn new(seed: u64, recorder: Recorder) -> Self {
        Self {
            ledger: Ledger::new(recorder.clone()),
            recorder,
            rng: ChaCha8Rng::seed_from_u64(seed),
            topology: Topology::new(),
            tcp: Tcp::default(),
            schedule: Schedule::new(),
            flows: Flows::default(),
            faults: Vec::new(),
            held: Vec::new(),
            stalls: Stalls::default(),
            fates: None,
            tap: None,
            is_over: false,
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

    /// The fates of single packets. From the first call on, all packets are named.
    pub(crate) fn fates(&mut self) -> &mut Fates {
        self.fates.get_or_insert_default()
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

    /// Tells a router its address inside.
    pub(crate) fn set_inside(&mut self, router: RouterIndex, address: Ipv4Addr) {
        self.topology[router].set_inside(address);
    }

    /// Gives a router a firewall for IPv6, or takes it away.
    pub(crate) fn set_firewall(&mut self, router: RouterIndex, behavior: Option<NatBehavior>) {
        self.topology[router].set_firewall(behavior);
    }

    /// Moves a machine to another realm.
    pub(crate) fn move_host(&mut self, host: HostIndex, realm: RealmIndex, addresses: Addresses, link: Link) {
        self.topology.move_host(host, realm, addresses);
        self.topology[host].path_mtus.clear();
        self.set_host_link(host, link);
    }

    /// Adds a machine, powered off.
    pub(crate) fn add_host(&mut self, node: NodeId, realm: RealmIndex, addresses: Addresses, link: Link) -> HostIndex {
        let (link, udp, path_mtus) = (LinkState::new(link), UdpPorts::default(), PathMtus::default());
        self.topology.add_host(Host { node, realm, addresses, link, udp, path_mtus, life: None })
    }

    /// Keeps the datagrams of a machine with a STUN or TURN server.
    pub(crate) fn watch(&mut self, node: NodeId) {
        self.ledger.watch(node);
    }

    /// Powers a machine on.
    pub(crate) fn power_on(&mut self, host: HostIndex) -> Life {
        let first_port = self.draw(FIRST_PORTS) as u16;
        let life = self.tcp.start(host, first_port);
        self.topology[host].life = Some(life);
        life
    }

    /// Cuts a machine's power: it sends nothing more.
    pub(crate) fn power_off(&mut self, host: HostIndex) {
        let host = &mut self.topology[host];
        host.udp.clear();
        host.path_mtus.clear();
        if let Some(life) = host.life.take() {
            self.tcp.stop(life);
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

    /// Tries all stalled TCP flows again at once, as if each sender retransmitted now. From here on, links hold nothing.
    pub(crate) fn retransmit_now(&mut self) {
        self.is_over = true;
        let now = self.recorder.now();
        for flow in self.stalls.hurry(now) {
            self.schedule.add(now, Arrival::Retry(flow));
        }
    }

    // ---- time

    /// Sends the segments that are ready, and delivers what is due. Returns when it must be called again, if ever.
    pub(crate) fn step(&mut self, now: Duration) -> Option<Duration> {
        loop {
            self.send_segments();
            while let Some(arrival) = self.schedule.pop(now) {
                self.arrive(arrival, now);
            }
            self.tcp.forget_overdue(now);
            // A machine that received a segment may respond at once.
            if !self.tcp.is_busy() {
                return self.schedule.next().into_iter().chain(self.tcp.next_overdue()).min();
            }
        }
    }

    // ---- what sockets need

    /// Takes a datagram from the receive buffer of a host's socket.
    pub(crate) fn receive_udp(
        &mut self,
        host: HostIndex,
        at: TransportAddress,
        cx: &mut Context<'_>,
    ) -> Poll<(TransportAddress, Bytes)> {
        let host = &mut self.topology[host];
        let Datagram { packet, from, payload } = ready!(host.udp.poll_receive(at, cx));
        if let Some(tap) = &mut self.tap {
            let (at, events) = (self.recorder.now(), self.recorder.count());
            tap.taken.push(Taken { packet, node: host.node, at, events });
        }
        Poll::Ready((from, payload))
    }

    pub(crate) fn udp(&mut self, host: HostIndex) -> &mut UdpPorts {
        &mut self.topology[host].udp
    }

    pub(crate) fn addresses(&self, host: HostIndex) -> Addresses {
        self.topology[host].addresses
    }

    /// A random number below `end`.
    pub(crate) fn draw(&mut self, end: u32) -> u32 {
        self.rng.next_u32() % end
    }

    /// A random port from Linux' ephemeral range.
    pub(crate) fn ephemeral_port(&mut self) -> u16 {
        32_768 + self.draw(28_232) as u16
    }

    pub(crate) fn tcp(&mut self) -> &mut Tcp {
        &mut self.tcp
    }

    /// Closes the socket of a TCP connection, which may last for a while without it.
    pub(crate) fn close_tcp(&mut self, life: Life, connection: ConnectionId) {
        self.tcp.close(life, connection, self.recorder.now());
    }

    pub(crate) fn udp_sockets(&self) -> usize {
        self.topology.hosts().iter().map(|host| host.udp.len()).sum()
    }

    /// Number of packets in flight, including those that a fault holds.
    pub(crate) fn packets_in_flight(&self) -> usize {
        self.ledger.packets_in_flight()
    }
}
