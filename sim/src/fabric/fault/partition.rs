//! A partition: nothing passes from some machines to others.

use super::{Fault, FaultCx, Verdict};
use crate::event::{Drop, NodeId, Protocol};
use crate::fabric::packet::Packet;

/// Datagrams are dropped; TCP segments are held, as their sender would retransmit them until the partition heals.
///
/// It acts at the receiver. A packet that it stops has crossed its sender's NAT, so mappings are refreshed as they would be.
pub(crate) struct Partition {
    pub(crate) from: Vec<NodeId>,
    pub(crate) to: Vec<NodeId>,
}

impl Fault for Partition {
    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        let is_cut = self.from.contains(&packet.origin()) && cx.receiver.is_some_and(|node| self.to.contains(&node));
        match packet.protocol() {
            _ if !is_cut => Verdict::Pass,
            Protocol::Udp => Verdict::Drop(Drop::Partition),
            Protocol::Tcp => Verdict::Hold,
        }
    }
}
