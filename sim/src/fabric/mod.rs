//! What lies between hosts: realms, links, routers with their NATs, and the packets under way.
//!
//! A packet goes hop by hop. In each realm it crosses the link of its sender and the link of its receiver; at a router it is translated
//! when it arrives, not when it was sent. Everything that comes at a later time waits in one heap, ordered by time and then by age.

mod flow;
mod link;
pub mod nat;
mod packet;
mod realm;
mod router;
mod udp;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use scenarios::{Link, NatBehavior, NatReboot};
use turmoil_net::{EnterGuard, HostId};

use crate::capture::{KeyLog, Taken};
use crate::event::{
    Drop, MachineEvent, Mapping, NatEvent, NodeId, PacketEvent, PacketId, Protocol, Recorder, Refusal, What,
};
use flow::{Flow, Flows, Orphans};
use link::{Crossing, Direction, LinkState, Loss};
use nat::{Change, FiveTuple, Nat, NatCx};
use packet::{Body, Packet, Segment};
pub use packet::{Content, Sighting};
use realm::{Attachment, INTERNET, LinkOwner, Realm};
pub(crate) use realm::{HostIndex, RealmIndex, RouterIndex};
use router::Router;
use udp::{Datagram, UdpPorts};

/// Hops a packet may take, as Linux sets it.
const TTL: u8 = 64;

/// A machine's place in the network.
struct Host {
    node: NodeId,
    realm: RealmIndex,
    address: Ipv4Addr,
    link: LinkState,
    udp: UdpPorts,
    /// The kernel that runs its TCP, and that kernel's own address; `None` while it has no power.
    kernel: Option<(HostId, Ipv4Addr)>,
}

/// A packet that will arrive, or a look at a NAT's table.
struct Arrival {
    at: Duration,
    /// Ties are broken by age.
    number: u64,
    to: Destination,
}

enum Destination {
    Host(HostIndex, Packet),
    /// A router's inside.
    Outward(RouterIndex, Packet),
    /// A router's outside.
    Inward(RouterIndex, Packet),
    /// No packet: mappings of a NAT may have expired.
    NatExpiry(RouterIndex),
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Arrival {}
impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Nothing passes from the first nodes to the second.
struct Cut {
    from: Vec<NodeId>,
    to: Vec<NodeId>,
}

/// What is seen of a run from outside of its record.
#[derive(Default)]
pub(crate) struct Tap {
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) taken: Vec<Taken>,
    pub(crate) keys: KeyLog,
}

/// The network between the hosts.
pub(crate) struct Fabric {
    recorder: Recorder,
    rng: ChaCha8Rng,
    kernels: EnterGuard,
    /// Kernels that no machine has used yet.
    spare: Vec<(HostId, Ipv4Addr)>,
    realms: Vec<Realm>,
    hosts: Vec<Host>,
    /// Which host a kernel runs on, by the kernel's address.
    powered: BTreeMap<Ipv4Addr, HostIndex>,
    routers: Vec<Router>,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    arrivals_made: u64,
    packets_made: u32,
    packets_in_flight: usize,
    flows: Flows,
    orphans: Orphans,
    cuts: Vec<Cut>,
    /// TCP segments that a partition holds back: a sender would go on to retransmit them.
    held: Vec<(HostIndex, Packet)>,
    egress: Vec<turmoil_net::Packet>,
    /// What passes on the wires, if somebody wants to see it.
    tap: Option<Tap>,
}

impl Fabric {
    pub(crate) fn new(seed: u64, recorder: Recorder, kernels: EnterGuard, mut spare: Vec<(HostId, Ipv4Addr)>) -> Self {
        spare.reverse();
        Self {
            recorder,
            rng: ChaCha8Rng::seed_from_u64(seed),
            kernels,
            spare,
            realms: vec![Realm::default()],
            hosts: Vec::new(),
            powered: BTreeMap::new(),
            routers: Vec::new(),
            arrivals: BinaryHeap::new(),
            arrivals_made: 0,
            packets_made: 0,
            packets_in_flight: 0,
            flows: Flows::default(),
            orphans: Orphans::default(),
            cuts: Vec::new(),
            held: Vec::new(),
            egress: Vec::new(),
            tap: None,
        }
    }

    /// Keeps every packet from now on.
    pub(crate) fn open_tap(&mut self) {
        self.tap = Some(Tap::default());
    }

    /// What was kept.
    pub(crate) fn close_tap(&mut self) -> Tap {
        self.tap.take().unwrap_or_default()
    }

    /// Where secrets are noted, if somebody wants to see them.
    pub(crate) fn key_log(&self) -> Option<KeyLog> {
        self.tap.as_ref().map(|tap| tap.keys.clone())
    }

    // ---- topology

    /// Adds a realm behind a new router.
    pub(crate) fn add_router(
        &mut self,
        node: NodeId,
        outer: Option<RealmIndex>,
        external: &[Ipv4Addr],
        nat: Option<NatBehavior>,
        link: Link,
    ) -> (RealmIndex, RouterIndex) {
        let outer = outer.unwrap_or(INTERNET);
        let (inner, router) = (self.realms.len(), self.routers.len());
        self.realms.push(Realm { gateway: Some(router), ..Realm::default() });
        for address in external {
            self.realms[outer].attached.insert(*address, Attachment::Router(router));
        }
        self.routers.push(Router {
            node,
            inner,
            outer,
            link: LinkState::new(link),
            nat: nat.map(|behavior| Nat::new(behavior, external)),
            resets_tcp: false,
            expiry_check: None,
        });
        (inner, router)
    }

    /// Adds a machine, without power.
    pub(crate) fn add_host(
        &mut self,
        node: NodeId,
        realm: Option<RealmIndex>,
        address: Ipv4Addr,
        link: Link,
    ) -> HostIndex {
        let (realm, host) = (realm.unwrap_or(INTERNET), self.hosts.len());
        self.realms[realm].attached.insert(address, Attachment::Host(host));
        // A router that translates nothing makes its hosts part of the realm outside.
        let mut inside = realm;
        while let Some(router) = self.realms[inside].gateway.filter(|&router| self.routers[router].nat.is_none()) {
            inside = self.routers[router].outer;
            self.realms[inside].attached.insert(address, Attachment::Router(router));
        }
        let (link, udp) = (LinkState::new(link), UdpPorts::default());
        self.hosts.push(Host { node, realm, address, link, udp, kernel: None });
        host
    }

    /// Gives a machine power and a fresh kernel.
    pub(crate) fn power_on(&mut self, host: HostIndex) -> (HostId, Ipv4Addr) {
        let kernel = self.spare.pop().expect("a kernel was set aside for every boot of the scenario");
        self.hosts[host].kernel = Some(kernel);
        self.powered.insert(kernel.1, host);
        self.recorder.write(self.hosts[host].node, What::Machine(MachineEvent::Booted));
        kernel
    }

    /// Cuts a machine's power: from now on nothing leaves it.
    pub(crate) fn power_off(&mut self, host: HostIndex) {
        if let Some((_, kernel_address)) = self.hosts[host].kernel.take() {
            self.powered.remove(&kernel_address);
        }
        self.hosts[host].udp.clear();
    }

    pub(crate) fn router_node(&self, router: RouterIndex) -> NodeId {
        self.routers[router].node
    }

    pub(crate) fn set_host_link(&mut self, host: HostIndex, link: Link) {
        self.hosts[host].link.config = link;
    }

    pub(crate) fn set_router_link(&mut self, router: RouterIndex, link: Link) {
        self.routers[router].link.config = link;
    }

    // ---- faults

    /// A NAT forgets everything, and may come back with another address.
    pub(crate) fn reboot_nat(&mut self, router: RouterIndex, reboot: NatReboot) {
        let now = self.recorder.now();
        let this = &mut self.routers[router];
        let Some(nat) = &mut this.nat else { return };
        nat.reboot(now, reboot.new_address);
        this.resets_tcp = reboot.resets_tcp;
        if let Some(address) = reboot.new_address {
            let attached = &mut self.realms[this.outer].attached;
            attached.retain(|_, attachment| *attachment != Attachment::Router(router));
            attached.insert(address, Attachment::Router(router));
        }
        self.note_nat(router, now);
    }

    pub(crate) fn partition(&mut self, from: Vec<NodeId>, to: Vec<NodeId>) {
        self.cuts.push(Cut { from, to });
    }

    /// All partitions end. What was held back arrives now, ahead of all that is still under way.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        let now = self.recorder.now();
        for (host, packet) in std::mem::take(&mut self.held) {
            self.deliver(host, packet, now);
        }
    }

    // ---- sending

    /// A datagram from a socket of a host.
    pub(crate) fn send_udp(&mut self, host: HostIndex, src_port: u16, dst: SocketAddrV4, payload: &[u8]) {
        let src = SocketAddrV4::new(self.hosts[host].address, src_port);
        self.send(host, src, dst, Body::Udp(Bytes::copy_from_slice(payload)));
    }

    fn send(&mut self, host: HostIndex, src: SocketAddrV4, dst: SocketAddrV4, body: Body) {
        let now = self.recorder.now();
        let origin = self.hosts[host].node;
        let packet = Packet { id: self.next_packet_id(), origin, ttl: TTL, src, dst, body };
        self.recorder.write_at(now, origin, What::Packet(PacketEvent::Sent(packet.view())));
        self.enter(self.hosts[host].realm, Some(Attachment::Host(host)), packet, now);
    }

    /// Numbers a new packet, which is under way from then on.
    fn next_packet_id(&mut self) -> PacketId {
        self.packets_made = self.packets_made.wrapping_add(1);
        self.packets_in_flight += 1;
        PacketId(self.packets_made)
    }

    /// A packet enters a realm over `from`'s link; from a realm's own gateway it comes without one.
    fn enter(&mut self, realm: RealmIndex, from: Option<LinkOwner>, packet: Packet, now: Duration) {
        if let Some(tap) = &mut self.tap {
            tap.sightings.push(packet.sighting(now, realm));
        }
        let (to, last_link) = match self.realms[realm].attached.get(packet.dst.ip()) {
            Some(&Attachment::Host(host)) => (Attachment::Host(host), Some(Attachment::Host(host))),
            // What comes from a router's inside and goes there again has nowhere to go.
            Some(&to @ Attachment::Router(router)) if from != Some(to) || self.routers[router].nat.is_some() => {
                (to, Some(to))
            }
            _ => match self.realms[realm].gateway {
                Some(gateway) if from.is_some() => (Attachment::Router(gateway), None),
                _ => return self.drop_packet(&packet, Drop::NoRoute, now),
            },
        };
        let (tcp, size) = (packet.protocol() == Protocol::Tcp, packet.size());
        let mut whole = Crossing::default();
        for (link, direction) in [(from, Direction::Up), (last_link, Direction::Down)] {
            let Some(owner) = link else { continue };
            let link = match owner {
                Attachment::Host(host) => &mut self.hosts[host].link,
                Attachment::Router(router) => &mut self.routers[router].link,
            };
            match link.cross(direction, size, tcp, now, &mut self.rng) {
                Ok(crossing) => {
                    whole.delay += crossing.delay;
                    whole.duplicated |= crossing.duplicated;
                    whole.reordered |= crossing.reordered;
                }
                Err(Loss::Random) => return self.drop_packet(&packet, Drop::Loss, now),
                Err(Loss::Congestion) => return self.drop_packet(&packet, Drop::Congestion, now),
            }
        }
        let flow = Flow { realm, protocol: packet.protocol(), src: packet.src, dst: packet.dst };
        let at = whole_milliseconds(now + whole.delay);
        let at = if whole.reordered {
            self.note(&packet, PacketEvent::Reordered { packet: packet.id }, now);
            at
        } else {
            self.flows.in_order(flow, at, now)
        };
        let destination = |packet| match (to, last_link) {
            (Attachment::Host(host), _) => Destination::Host(host, packet),
            (Attachment::Router(router), Some(_)) => Destination::Inward(router, packet),
            (Attachment::Router(router), None) => Destination::Outward(router, packet),
        };
        if whole.duplicated {
            self.note(&packet, PacketEvent::Duplicated { packet: packet.id }, now);
            self.packets_in_flight += 1;
            self.arrive_later(at, destination(packet.clone()));
        }
        self.arrive_later(at, destination(packet));
    }

    fn arrive_later(&mut self, at: Duration, to: Destination) {
        self.arrivals.push(Reverse(Arrival { at, number: self.arrivals_made, to }));
        self.arrivals_made += 1;
    }

    // ---- arriving

    /// Takes what kernels have sent, if `tcp_touched` says that there may be something, and delivers what is due. Returns when there
    /// will be something to do next.
    pub(crate) fn step(&mut self, now: Duration, mut tcp_touched: bool) -> Option<Duration> {
        loop {
            if tcp_touched {
                self.take_egress();
                tcp_touched = false;
            }
            while let Some(Reverse(first)) = self.arrivals.peek()
                && first.at <= now
            {
                let Some(Reverse(Arrival { to, .. })) = self.arrivals.pop() else { break };
                match to {
                    Destination::Host(host, packet) => tcp_touched |= self.deliver(host, packet, now),
                    Destination::Outward(router, packet) => self.cross_outward(router, packet, now),
                    Destination::Inward(router, packet) => self.cross_inward(router, packet, now),
                    Destination::NatExpiry(router) => {
                        self.routers[router].expiry_check = None;
                        self.note_nat(router, now);
                    }
                }
            }
            while let Some((kernel, packet)) = self.orphans.overdue(now) {
                self.hand_to_kernel(kernel, &packet);
                tcp_touched = true;
            }
            if !tcp_touched {
                let orphans = self.orphans.next_due();
                return self.arrivals.peek().map(|Reverse(first)| first.at).into_iter().chain(orphans).min();
            }
        }
    }

    fn take_egress(&mut self) {
        let mut egress = std::mem::take(&mut self.egress);
        self.kernels.egress_all(&mut egress);
        for packet in egress.drain(..) {
            let Some((src, dst, segment)) = packet::from_kernel(packet) else { continue };
            // A kernel whose machine has lost power belongs to no host: what it says is heard by nobody.
            let Some(&host) = self.powered.get(src.ip()) else { continue };
            let src = SocketAddrV4::new(self.hosts[host].address, src.port());
            self.send(host, src, dst, Body::Tcp(segment));
        }
        self.egress = egress;
    }

    /// Delivers to a host; true if its kernel may have something to answer.
    fn deliver(&mut self, host: HostIndex, packet: Packet, now: Duration) -> bool {
        let node = self.hosts[host].node;
        let Some((_, kernel_address)) = self.hosts[host].kernel else {
            self.drop_packet(&packet, Drop::HostDown, now);
            return false;
        };
        if self.cuts.iter().any(|cut| cut.from.contains(&packet.origin) && cut.to.contains(&node)) {
            match packet.body {
                Body::Udp(_) => self.drop_packet(&packet, Drop::Partition, now),
                Body::Tcp(_) => self.held.push((host, packet)),
            }
            return false;
        }
        match &packet.body {
            Body::Udp(payload) => {
                let datagram = Datagram { packet: packet.id, from: packet.src, payload: payload.clone() };
                match self.hosts[host].udp.deliver(packet.dst.port(), datagram) {
                    Ok(()) => self.delivered(node, &packet, now),
                    Err(why) => self.drop_packet(&packet, why, now),
                }
                false
            }
            Body::Tcp(_) => {
                self.delivered(node, &packet, now);
                if let Some(reset) = self.orphans.refuse(kernel_address, &packet) {
                    // The program has closed this connection: data for it are refused, and the kernel forgets it.
                    let (own, other) = reset;
                    self.hand_to_kernel(kernel_address, &own);
                    self.send(host, other.src, other.dst, other.body);
                } else {
                    self.hand_to_kernel(kernel_address, &packet);
                }
                true
            }
        }
    }

    fn delivered(&mut self, node: NodeId, packet: &Packet, now: Duration) {
        self.packets_in_flight -= 1;
        self.recorder.write_at(now, node, What::Packet(PacketEvent::Delivered(packet.view())));
    }

    fn hand_to_kernel(&mut self, kernel_address: Ipv4Addr, packet: &Packet) {
        if let Body::Tcp(segment) = &packet.body {
            let segment: Segment = segment.clone();
            self.kernels.deliver(packet::to_kernel(packet.src, packet.dst.port(), kernel_address, segment));
        }
    }

    /// A packet has reached a router from the inside.
    fn cross_outward(&mut self, router: RouterIndex, mut packet: Packet, now: Duration) {
        if !self.hop(&mut packet, now) {
            return;
        }
        let (inner, outer) = (self.routers[router].inner, self.routers[router].outer);
        let Some(nat) = &mut self.routers[router].nat else {
            return self.enter(outer, Some(Attachment::Router(router)), packet, now);
        };
        let five_tuple = FiveTuple { protocol: packet.protocol(), internal: packet.src, remote: packet.dst };
        let FiveTuple { protocol, internal, remote } = five_tuple;
        let mut cx = NatCx { now, rng: &mut self.rng };
        let hairpin = nat.owns(*remote.ip());
        let translated = if hairpin {
            nat.hairpin(five_tuple, packet.opens(), &mut cx)
        } else {
            nat.outbound(five_tuple, packet.opens(), &mut cx).map(|external| (external, remote))
        };
        self.note_nat(router, now);
        match translated {
            Ok((src, dst)) => {
                (packet.src, packet.dst) = (src, dst);
                if hairpin {
                    self.enter(inner, None, packet, now);
                } else {
                    self.note_used(router, Mapping { protocol, internal, external: src, remote }, now);
                    self.enter(outer, Some(Attachment::Router(router)), packet, now);
                }
            }
            Err(why) => {
                self.refuse(router, &packet, why, now);
                if self.routers[router].resets_tcp {
                    self.reset_from_router(router, &packet, now);
                }
            }
        }
    }

    /// A router tells the sender inside that a TCP connection is no more.
    fn reset_from_router(&mut self, router: RouterIndex, packet: &Packet, now: Duration) {
        let Some(reset) = packet.reset() else { return };
        let (origin, inner) = (self.routers[router].node, self.routers[router].inner);
        let reset = Packet { id: self.next_packet_id(), origin, ..reset };
        self.recorder.write_at(now, origin, What::Packet(PacketEvent::Sent(reset.view())));
        self.enter(inner, None, reset, now);
    }

    /// A packet has reached a router from the outside.
    fn cross_inward(&mut self, router: RouterIndex, mut packet: Packet, now: Duration) {
        if !self.hop(&mut packet, now) {
            return;
        }
        let inner = self.routers[router].inner;
        let Some(nat) = &mut self.routers[router].nat else { return self.enter(inner, None, packet, now) };
        let (protocol, external, remote) = (packet.protocol(), packet.dst, packet.src);
        let translated = nat.inbound(now, protocol, external, remote);
        self.note_nat(router, now);
        match translated {
            Ok(internal) => {
                packet.dst = internal;
                self.note_used(router, Mapping { protocol, internal, external, remote }, now);
                self.enter(inner, None, packet, now);
            }
            Err(why) => self.refuse(router, &packet, why, now),
        }
    }

    /// Counts a hop; false if the packet has made too many.
    fn hop(&mut self, packet: &mut Packet, now: Duration) -> bool {
        packet.ttl -= 1;
        if packet.ttl == 0 {
            self.drop_packet(packet, Drop::TtlExceeded, now);
        }
        packet.ttl > 0
    }

    /// Records what a NAT did to its table, and sees to it that its next expiry is noticed.
    fn note_nat(&mut self, router: RouterIndex, now: Duration) {
        let this = &mut self.routers[router];
        let Some(nat) = &mut this.nat else { return };
        nat.expire(now);
        for change in nat.drain_changes() {
            let event = match change {
                Change::Created(mapping) => NatEvent::Created(mapping),
                Change::Expired { mapping, .. } => NatEvent::Expired(mapping),
                Change::Flushed { mappings } => NatEvent::Rebooted { lost: mappings },
            };
            self.recorder.write_at(now, this.node, What::Nat(event));
        }
        if this.expiry_check.is_none()
            && let Some(next) = nat.next_expiry()
        {
            let at = whole_milliseconds(next);
            this.expiry_check = Some(at);
            self.arrive_later(at, Destination::NatExpiry(router));
        }
    }

    fn note_used(&mut self, router: RouterIndex, mapping: Mapping, now: Duration) {
        self.recorder.write_at(now, self.routers[router].node, What::Nat(NatEvent::Used(mapping)));
    }

    /// A NAT lets a packet go no further.
    fn refuse(&mut self, router: RouterIndex, packet: &Packet, why: Refusal, now: Duration) {
        let refused = NatEvent::Refused { protocol: packet.protocol(), src: packet.src, dst: packet.dst, why };
        self.recorder.write_at(now, self.routers[router].node, What::Nat(refused));
        self.drop_packet(packet, Drop::Refused(why), now);
    }

    fn drop_packet(&mut self, packet: &Packet, why: Drop, now: Duration) {
        self.packets_in_flight -= 1;
        self.note(packet, PacketEvent::Dropped { packet: packet.id, why }, now);
    }

    fn note(&mut self, packet: &Packet, event: PacketEvent, now: Duration) {
        self.recorder.write_at(now, packet.origin, What::Packet(event));
    }

    // ---- what sockets need

    /// Takes a datagram from a socket of a host.
    pub(crate) fn receive_udp(
        &mut self,
        host: HostIndex,
        port: u16,
        cx: &mut Context<'_>,
    ) -> Poll<(SocketAddrV4, Bytes)> {
        let host = &mut self.hosts[host];
        let Datagram { packet, from, payload } = ready!(host.udp.poll_receive(port, cx));
        if let Some(tap) = &mut self.tap {
            let (at, events) = (self.recorder.now(), self.recorder.count());
            tap.taken.push(Taken { packet, node: host.node, at, events });
        }
        Poll::Ready((from, payload))
    }

    pub(crate) fn udp(&mut self, host: HostIndex) -> &mut UdpPorts {
        &mut self.hosts[host].udp
    }

    pub(crate) fn address(&self, host: HostIndex) -> Ipv4Addr {
        self.hosts[host].address
    }

    /// A number below `end`.
    pub(crate) fn draw(&mut self, end: u32) -> u32 {
        self.rng.next_u32() % end
    }

    /// A port from Linux' ephemeral range.
    pub(crate) fn ephemeral_port(&mut self) -> u16 {
        32_768 + (self.rng.next_u32() % 28_232) as u16
    }

    /// A program has closed a TCP connection, which its kernel may keep for a while.
    pub(crate) fn closed(&mut self, kernel_address: Ipv4Addr, local_port: u16, remote: SocketAddrV4) {
        self.orphans.add(kernel_address, local_port, remote, self.recorder.now());
    }

    pub(crate) fn udp_sockets(&self) -> usize {
        self.hosts.iter().map(|host| host.udp.len()).sum()
    }

    /// Packets under way, those that a partition holds among them.
    pub(crate) fn packets_in_flight(&self) -> usize {
        self.packets_in_flight
    }
}

/// Timers have a grain of a millisecond: an arrival between two would come late, and in another order.
fn whole_milliseconds(at: Duration) -> Duration {
    Duration::from_millis(at.as_nanos().div_ceil(1_000_000) as u64)
}
