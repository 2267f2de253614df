//! The record of packets and NATs, and the number of packets in flight. Both are updated together, so that they agree.

use std::time::Duration;

use crate::event::{Drop, NatEvent, NodeId, PacketEvent, PacketId, Recorder, Refusal, What};
use crate::fabric::packet::Packet;

pub(crate) struct Ledger {
    recorder: Recorder,
    packets_made: u32,
    packets_in_flight: usize,
}

impl Ledger {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self { recorder, packets_made: 0, packets_in_flight: 0 }
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

    fn packet(&self, node: NodeId, event: PacketEvent, now: Duration) {
        self.recorder.write_at(now, node, What::Packet(event));
    }
}
