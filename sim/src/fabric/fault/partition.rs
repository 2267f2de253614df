//! A partition: nothing passes from some machines to others.

use super::{Fault, FaultCx, Verdict};
use crate::event::{Drop, NodeId, Protocol};
use crate::fabric::packet::Packet;

/// Datagrams are dropped. TCP segments are held, because their sender would retransmit them: a flow goes on with the
/// first retransmission after the partition heals.
///
/// It acts at the receiver. A packet that it stops has already passed its sender's NAT, so mappings are refreshed as in
/// a real network.
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use bytes::Bytes;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::event::PacketId;
    use crate::event::TransportAddress;
    use crate::fabric::packet::Body;

    fn verdict(from: u16, receiver: Option<u16>) -> Verdict {
        let any = TransportAddress::new(Ipv4Addr::UNSPECIFIED, 0);
        let body = Body::Udp(Bytes::new());
        let packet = Packet::new(PacketId(1), NodeId(from), Duration::ZERO, any, any, body);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut cx = FaultCx { now: Duration::ZERO, receiver: receiver.map(NodeId), rng: &mut rng };
        let mut partition = Partition { from: vec![NodeId(1), NodeId(2)], to: vec![NodeId(2), NodeId(3)] };
        partition.on_packet(&packet, &mut cx)
    }

    #[test]
    fn it_cuts_from_the_first_machines_to_the_second_and_nothing_else() {
        let cut = Verdict::Drop(Drop::Partition);
        assert_eq!([(1, 2), (1, 3), (2, 3)].map(|(from, to)| verdict(from, Some(to))), [cut; 3]);
        assert_eq!([(2, 1), (3, 1), (3, 2), (1, 4)].map(|(from, to)| verdict(from, Some(to))), [Verdict::Pass; 4]);
    }

    #[test]
    fn it_acts_at_the_receiver_and_not_on_links() {
        assert_eq!(verdict(1, None), Verdict::Pass);
    }
}
