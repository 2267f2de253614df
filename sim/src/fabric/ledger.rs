//! The record of packets and NATs, and the number of packets in flight. Both are updated together, so that they agree.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::datagrams::{Content, PeerDatagram, ServerDatagram};
use crate::event::{Drop, NatEvent, NodeId, PacketEvent, PacketId, Recorder, Refusal, What};
use crate::fabric::packet::{Body, Packet};

pub(crate) struct Ledger {
    recorder: Recorder,
    /// The machines with a STUN or TURN server.
    servers: BTreeSet<NodeId>,
    packets_made: u32,
    packets_in_flight: usize,
}

impl Ledger {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self { recorder, servers: BTreeSet::new(), packets_made: 0, packets_in_flight: 0 }
    }

    /// Keeps the datagrams of a machine, because it has a STUN or TURN server.
    pub(crate) fn watch(&mut self, node: NodeId) {
        self.servers.insert(node);
    }

    /// Number of packets in flight, including those that a fault holds.
    pub(crate) fn packets_in_flight(&self) -> usize {
        self.packets_in_flight
    }

    /// A number for a new packet.
    pub(crate) fn next_packet_id(&mut self) -> PacketId {
        self.packets_made = self.packets_made.wrapping_add(1);
        PacketId(self.packets_made)
    }

    /// Records that a packet was sent.
    pub(crate) fn sent(&mut self, packet: &Packet, now: Duration) {
        self.packets_in_flight += 1;
        self.packet(packet.origin, PacketEvent::Sent(packet.view()), now);
        self.keep(packet.origin, true, packet, now);
    }

    /// Records that a packet was duplicated: a second copy is in flight.
    pub(crate) fn duplicated(&mut self, packet: &Packet, now: Duration) {
        self.packets_in_flight += 1;
        self.packet(packet.origin, PacketEvent::Duplicated { packet: packet.id }, now);
    }

    pub(crate) fn reordered(&mut self, packet: &Packet, now: Duration) {
        self.packet(packet.origin, PacketEvent::Reordered { packet: packet.id }, now);
    }

    /// Records that a packet was split into this number of fragments.
    pub(crate) fn fragmented(&mut self, packet: &Packet, pieces: u16, now: Duration) {
        self.packet(packet.origin, PacketEvent::Fragmented { packet: packet.id, pieces }, now);
    }

    pub(crate) fn corrupted(&mut self, packet: &Packet, now: Duration) {
        self.packet(packet.origin, PacketEvent::Corrupted { packet: packet.id }, now);
    }

    /// Records that ICMP told a host that a packet was too long.
    pub(crate) fn fragmentation_needed(&mut self, host: NodeId, packet: PacketId, mtu: u16, now: Duration) {
        self.packet(host, PacketEvent::FragmentationNeeded { packet, mtu }, now);
    }

    /// Records that a packet arrived at `node`.
    pub(crate) fn delivered(&mut self, node: NodeId, packet: &Packet, now: Duration) {
        self.packets_in_flight -= 1;
        self.packet(node, PacketEvent::Delivered(packet.view()), now);
        self.keep(node, false, packet, now);
    }

    pub(crate) fn dropped(&mut self, packet: &Packet, why: Drop, now: Duration) {
        self.packets_in_flight -= 1;
        self.packet(packet.origin, PacketEvent::Dropped { packet: packet.id, why }, now);
    }

    /// Records that a NAT refused a packet.
    pub(crate) fn refused(&mut self, nat: NodeId, packet: &Packet, why: Refusal, now: Duration) {
        let refused = NatEvent::Refused { protocol: packet.protocol(), src: packet.src, dst: packet.dst, why };
        self.nat(nat, refused, now);
        self.dropped(packet, Drop::Refused(why), now);
    }

    pub(crate) fn nat(&self, node: NodeId, event: NatEvent, now: Duration) {
        self.recorder.write_at(now, node, What::Nat(event));
    }

    /// Keeps a datagram that a watched machine has sent or received, and of others' what it is.
    fn keep(&self, node: NodeId, is_sent: bool, packet: &Packet, at: Duration) {
        let Body::Udp(payload) = &packet.body else { return };
        if self.servers.contains(&node) {
            let (local, remote) = if is_sent { (packet.src, packet.dst) } else { (packet.dst, packet.src) };
            let content = Content::read(payload);
            self.recorder.keep(|event| ServerDatagram { at, node, event, is_sent, local, remote, content });
        } else if let Some(datagram) = PeerDatagram::of(packet.id, is_sent, payload) {
            self.recorder.keep_of_peer(datagram);
        }
    }

    fn packet(&self, node: NodeId, event: PacketEvent, now: Duration) {
        self.recorder.write_at(now, node, What::Packet(event));
    }
}
