//! A packet's way: from a socket over links and through routers to the receiving socket.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;

use crate::event::TransportAddress;
use crate::event::{Drop, NatEvent, NodeId, PacketId, Protocol, Refusal};
use crate::fabric::Fabric;
use crate::fabric::fates::Leg;
use crate::fabric::fault::{FaultCx, Passage, Stop};
use crate::fabric::flow::Flow;
use crate::fabric::index::{HostIndex, RealmIndex, RouterIndex};
use crate::fabric::link::Direction;
use crate::fabric::nat::NatCx;
use crate::fabric::packet::{Body, Packet, Segment};
use crate::fabric::router::Exit;
use crate::fabric::stalls::{Place, Retry, StalledFlow};
use crate::fabric::tcp::{ConnectionId, Life};
use crate::fabric::topology::{Attachment, NextHop};
use crate::fabric::udp::Datagram;

/// A scheduled event: a packet at the end of a hop, or a check of a NAT's table.
pub(crate) enum Arrival {
    Host(HostIndex, Packet),
    /// A packet arrives at a router from the inside.
    Outward(RouterIndex, Packet),
    /// A packet arrives at a router from the outside.
    Inward(RouterIndex, Packet),
    /// Not a packet: mappings of a NAT may have expired.
    NatExpiry(RouterIndex),
    /// A TCP flow that was stopped is tried again.
    Retry(StalledFlow),
    /// A host learns by ICMP that a packet to this address was too long, and what would not be.
    FragmentationNeeded {
        host: HostIndex,
        packet: PacketId,
        destination: IpAddr,
        mtu: u16,
    },
}

impl Arrival {
    fn of(hop: NextHop, packet: Packet) -> Self {
        match hop {
            NextHop::Attached(Attachment::Host(host)) => Self::Host(host, packet),
            NextHop::Attached(Attachment::Router(router)) => Self::Inward(router, packet),
            NextHop::Gateway(router) => Self::Outward(router, packet),
        }
    }
}

impl Fabric {
    // ---- sending

    /// Sends a datagram from a socket of a host, bound at `src`.
    pub(crate) fn send_udp(&mut self, host: HostIndex, src: TransportAddress, dst: TransportAddress, payload: &[u8]) {
        self.send(host, src, dst, Body::Udp(Bytes::copy_from_slice(payload)));
    }

    /// Sends all segments that are ready.
    pub(super) fn send_segments(&mut self) {
        for out in self.tcp.take_outgoing() {
            self.send(out.host, out.src, out.dst, Body::Tcp(out.segment));
        }
    }

    /// Ends a connection of a host with an RST, after what the program has sent before.
    pub(crate) fn abort(&mut self, host: HostIndex, life: Life, connection: ConnectionId) {
        self.send_segments();
        if let Some((local, remote)) = self.tcp.abort(life, connection) {
            self.send(host, local, remote, Body::Tcp(Segment::reset()));
        }
    }

    /// Sends what a host has for `dst`. A host that has moved sends nothing from an address that it no longer has.
    fn send(&mut self, host: HostIndex, src: TransportAddress, dst: TransportAddress, body: Body) {
        let now = self.recorder.now();
        let sender = &self.topology[host];
        if !sender.addresses.has(src.ip()) {
            return;
        }
        let realm = sender.realm;
        let path_mtu = sender.path_mtus.of(dst.ip(), now).filter(|_| matches!(body, Body::Udp(_)));
        let mut packet = Packet::new(self.ledger.next_packet_id(), sender.node, now, src, dst, body);
        self.ledger.sent(&packet, now);
        if let Some(fates) = &mut self.fates {
            let receiver = self.topology.receiver(realm, packet.protocol(), dst).filter(|receiver| *receiver != host);
            if let Some(receiver) = receiver {
                fates.name(&packet, self.topology[receiver].node, now);
            }
        }
        if let Some(mtu) = path_mtu {
            packet.split(mtu);
            if packet.pieces() > 1 {
                self.ledger.fragmented(&packet, packet.pieces(), now);
            }
        }
        self.enter(realm, Some(Attachment::Host(host)), packet, now);
    }

    /// Puts a packet into a realm: over the link of `from`, or, if `None`, from the realm's own router, which has no
    /// link on its inside.
    fn enter(&mut self, realm: RealmIndex, from: Option<Attachment>, packet: Packet, now: Duration) {
        let place = Place::Entry(realm, from);
        let Some(packet) = self.stalls.wait_behind(place, packet) else { return };
        if let Err(packet) = self.try_enter(realm, from, packet, now) {
            self.stall(place, packet, now);
        }
    }

    /// Puts a packet into a realm. Returns a TCP segment that a link does not let through.
    #[allow(clippy::result_large_err)] // few packets do not get through
    fn try_enter(
        &mut self,
        realm: RealmIndex,
        from: Option<Attachment>,
        mut packet: Packet,
        now: Duration,
    ) -> Result<(), Packet> {
        if let Some(tap) = &mut self.tap {
            tap.sightings.push(packet.sighting(now, realm));
        }
        let Some(hop) = self.topology.next_hop(realm, from, packet.dst.ip()) else {
            self.ledger.dropped(&packet, Drop::NoRoute, now);
            return Ok(());
        };
        let last_link = match hop {
            NextHop::Attached(owner) => Some(owner),
            NextHop::Gateway(_) => None,
        };
        // A host's packet to itself crosses no link. A TURN server sends such packets between two of its clients.
        let is_own = matches!(from, Some(Attachment::Host(_))) && from == last_link;
        let leg = Leg {
            first: matches!(from, Some(Attachment::Host(_))),
            last: matches!(last_link, Some(Attachment::Host(_))),
        };
        let (from, last_link) = if is_own { (None, None) } else { (from, last_link) };
        let mut passage = Passage::default();
        for (owner, direction) in [(from, Direction::Up), (last_link, Direction::Down)] {
            let Some(owner) = owner else { continue };
            let mut cx = FaultCx { now, receiver: None, rng: &mut self.rng };
            match self.topology.link_mut(owner).cross(direction, &mut packet, &mut passage, &mut cx) {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(Stop::Drop(why)) => {
                    if let Some(fates) = self.fates.as_mut().filter(|_| why == Drop::Loss) {
                        fates.lost(&packet, leg);
                    }
                    self.ledger.dropped(&packet, why, now);
                    if let Drop::FragmentationNeeded { mtu } = why {
                        self.report_mtu(&packet, mtu, now);
                    }
                    return Ok(());
                }
                ControlFlow::Break(Stop::Hold) if self.is_over => {}
                ControlFlow::Break(Stop::Hold) if packet.protocol() == Protocol::Tcp => return Err(packet),
                ControlFlow::Break(Stop::Hold) => {
                    self.held.push(Arrival::of(hop, packet));
                    return Ok(());
                }
            }
        }
        let without_chance = now + passage.delay - passage.chance;
        let by_chance = passage;
        if let Some(fates) = &mut self.fates
            && let ControlFlow::Break(Stop::Drop(why)) = fates.apply(&packet, leg, &mut passage)
        {
            self.ledger.dropped(&packet, why, now);
            return Ok(());
        }
        if let Some(pieces) = passage.fragments {
            self.ledger.fragmented(&packet, pieces, now);
        }
        if passage.corrupted {
            self.ledger.corrupted(&packet, now);
        }
        let mut at = now + passage.delay;
        if passage.reordered {
            self.ledger.reordered(&packet, now);
        } else {
            let flow = Flow { realm, protocol: packet.protocol(), src: packet.src, dst: packet.dst };
            at = self.flows.in_order(flow, at, now);
        }
        if let Some(fates) = &mut self.fates {
            let decided = passage.delay - by_chance.delay;
            let late = at.saturating_sub(without_chance + decided);
            fates.passed(&packet, late, by_chance.duplicated);
        }
        if passage.duplicated {
            self.ledger.duplicated(&packet, now);
            self.schedule.add(at, Arrival::of(hop, packet.clone()));
        }
        self.schedule.add(at, Arrival::of(hop, packet));
        Ok(())
    }

    /// Tells the sender of a packet that was too long for a link what would not be: ICMP *fragmentation needed*. The
    /// message takes as long as the packet has taken so far, is never lost, and passes NATs (RFC 5508 §4).
    fn report_mtu(&mut self, packet: &Packet, mtu: u16, now: Duration) {
        let Some(host) = self.topology.host_of(packet.origin) else { return };
        let (destination, at) = (packet.sent_to, now + (now - packet.sent));
        self.schedule.add(at, Arrival::FragmentationNeeded { host, packet: packet.id, destination, mtu });
    }

    // ---- arriving

    /// Processes an arrival that is due.
    pub(super) fn arrive(&mut self, arrival: Arrival, now: Duration) {
        match arrival {
            Arrival::Host(host, packet) => {
                let Some(packet) = self.stalls.wait_behind(Place::Host(host), packet) else { return };
                if let Err(packet) = self.deliver(host, packet, now) {
                    self.stall(Place::Host(host), packet, now);
                }
            }
            Arrival::Outward(router, packet) => self.cross_outward(router, packet, now),
            Arrival::Inward(router, mut packet) => {
                if !self.hop(&mut packet, now) {
                    return;
                }
                let Some(packet) = self.stalls.wait_behind(Place::Router(router), packet) else { return };
                if let Err(packet) = self.cross_inward(router, packet, now) {
                    self.stall(Place::Router(router), packet, now);
                }
            }
            Arrival::NatExpiry(router) => {
                self.topology[router].expiry_reached(now);
                self.note_nat(router, now);
            }
            Arrival::Retry(flow) => {
                if let Some(retry) = self.stalls.retry(flow, now) {
                    self.retry(retry, now);
                }
            }
            Arrival::FragmentationNeeded { host, packet, destination, mtu } => {
                let sender = &mut self.topology[host];
                if sender.life.is_some() {
                    sender.path_mtus.learn(destination, mtu, now);
                    self.ledger.fragmentation_needed(sender.node, packet, mtu, now);
                }
            }
        }
    }

    /// Stops the flow of a TCP segment until its sender retransmits.
    fn stall(&mut self, place: Place, packet: Packet, now: Duration) {
        let (flow, due) = self.stalls.stop(place, packet, now);
        self.schedule.add(due, Arrival::Retry(flow));
    }

    /// Tries again what waits in a flow.
    fn retry(&mut self, mut retry: Retry, now: Duration) {
        while let Some(packet) = retry.next() {
            let tried = match retry.flow.place {
                Place::Entry(realm, from) => self.try_enter(realm, from, packet, now),
                Place::Host(host) => self.deliver(host, packet, now),
                Place::Router(router) => self.cross_inward(router, packet, now),
            };
            let Err(packet) = tried else { continue };
            let flow = retry.flow;
            match self.stalls.put_back(retry, packet) {
                Ok(due) => self.schedule.add(due, Arrival::Retry(flow)),
                Err(given_up) => {
                    for packet in given_up {
                        self.ledger.dropped(&packet, Drop::GivenUp, now);
                    }
                }
            }
            return;
        }
    }

    /// Delivers a packet to a host. Returns a TCP segment that does not get through.
    #[allow(clippy::result_large_err)] // few packets do not get through
    fn deliver(&mut self, host: HostIndex, mut packet: Packet, now: Duration) -> Result<(), Packet> {
        let receiver = &mut self.topology[host];
        let node = receiver.node;
        let Some(life) = receiver.life else {
            self.ledger.dropped(&packet, Drop::HostDown, now);
            return Ok(());
        };
        let mut passage = Passage::default();
        let mut cx = FaultCx { now, receiver: Some(node), rng: &mut self.rng };
        match passage.meet(&mut self.faults, &mut packet, &mut cx) {
            ControlFlow::Continue(()) => {
                assert_eq!(passage, Passage::default(), "an arrived packet is held or dropped")
            }
            ControlFlow::Break(Stop::Drop(why)) => {
                self.ledger.dropped(&packet, why, now);
                return Ok(());
            }
            ControlFlow::Break(Stop::Hold) if packet.protocol() == Protocol::Tcp => return Err(packet),
            ControlFlow::Break(Stop::Hold) => {
                self.held.push(Arrival::Host(host, packet));
                return Ok(());
            }
        }
        if packet.corrupted {
            self.ledger.dropped(&packet, Drop::Checksum, now);
            return Ok(());
        }
        match &packet.body {
            Body::Udp(payload) => {
                let datagram = Datagram { packet: packet.id, from: packet.src, payload: payload.clone() };
                match receiver.udp.deliver(packet.dst, datagram) {
                    Ok(()) => self.ledger.delivered(node, &packet, now),
                    Err(why) => self.ledger.dropped(&packet, why, now),
                }
            }
            Body::Tcp(segment) => {
                self.ledger.delivered(node, &packet, now);
                self.tcp.deliver(life, &packet, segment);
            }
        }
        Ok(())
    }

    // ---- routers

    /// Processes a packet that has reached a router from the inside.
    fn cross_outward(&mut self, router: RouterIndex, mut packet: Packet, now: Duration) {
        if !self.hop(&mut packet, now) {
            return;
        }
        let this = &mut self.topology[router];
        let (node, inner, outer, resets_tcp) = (this.node, this.inner, this.outer, this.resets_tcp);
        let exit = this.outward(&mut packet, &mut NatCx { now, rng: &mut self.rng });
        self.note_nat(router, now);
        let outside = Some(Attachment::Router(router));
        match exit {
            Ok(Exit::Outside) => self.enter(outer, outside, packet, now),
            Ok(Exit::Translated(mapping)) => {
                self.ledger.nat(node, NatEvent::Used(mapping), now);
                self.enter(outer, outside, packet, now);
            }
            Ok(Exit::Hairpin) => self.enter(inner, None, packet, now),
            Err(why) => {
                self.ledger.refused(node, &packet, why, now);
                if resets_tcp && let Some(reset) = packet.reset() {
                    self.send_reset(node, inner, None, reset, now);
                }
            }
        }
    }

    /// Processes a packet that has reached a router from the outside. Returns a TCP segment that its sender must
    /// retransmit, because its connection may come back when the inside sends.
    #[allow(clippy::result_large_err)] // few packets do not get through
    fn cross_inward(&mut self, router: RouterIndex, mut packet: Packet, now: Duration) -> Result<(), Packet> {
        let this = &mut self.topology[router];
        let (node, inner, outer) = (this.node, this.inner, this.outer);
        let used = this.inward(&mut packet, now);
        let is_ipv6 = packet.src.is_ipv6();
        let (answers, picks_up) = (this.answers_unsolicited(is_ipv6), this.picks_up(is_ipv6));
        self.note_nat(router, now);
        match used {
            Ok(mapping) => {
                if let Some(mapping) = mapping {
                    self.ledger.nat(node, NatEvent::Used(mapping), now);
                }
                self.enter(inner, None, packet, now);
            }
            Err(Refusal::NoMapping) if picks_up && !answers && packet.is_retransmitted() && !packet.opens() => {
                return Err(packet);
            }
            Err(why) => {
                self.ledger.refused(node, &packet, why, now);
                let is_unsolicited = matches!(why, Refusal::NoMapping | Refusal::Filtered);
                if answers
                    && is_unsolicited
                    && let Some(reset) = packet.reset()
                {
                    self.send_reset(node, outer, Some(Attachment::Router(router)), reset, now);
                }
            }
        }
        Ok(())
    }

    /// Sends an RST of a router into a realm.
    fn send_reset(&mut self, node: NodeId, realm: RealmIndex, from: Option<Attachment>, reset: Packet, now: Duration) {
        let reset = Packet { id: self.ledger.next_packet_id(), origin: node, sent: now, ..reset };
        self.ledger.sent(&reset, now);
        self.enter(realm, from, reset, now);
    }

    /// Decrements the TTL; returns false if the packet is dropped because it ran out.
    fn hop(&mut self, packet: &mut Packet, now: Duration) -> bool {
        packet.ttl -= 1;
        if packet.ttl == 0 {
            self.ledger.dropped(packet, Drop::TtlExceeded, now);
        }
        packet.ttl > 0
    }

    /// Records the changes in a NAT's table, and schedules a check for its next expiry.
    pub(super) fn note_nat(&mut self, router: RouterIndex, now: Duration) {
        let this = &mut self.topology[router];
        let node = this.node;
        for event in this.nat_events(now) {
            self.ledger.nat(node, event, now);
        }
        if let Some(at) = this.await_expiry() {
            self.schedule.add(at, Arrival::NatExpiry(router));
        }
    }
}
