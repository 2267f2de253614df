//! MTU: a datagram that is too long for the link is split, or dropped.

use scenarios::{OneWay, Oversized};

use super::{Fault, FaultCx, Verdict};
use crate::event::{Drop, Protocol};
use crate::fabric::packet::Packet;

/// TCP segments always pass. Routers with a small MTU lower the segment size that connections agree on.
#[derive(Default)]
pub(crate) struct Mtu {
    /// Bytes; `None` means no limit.
    bytes: Option<u16>,
    oversized: Oversized,
}

impl Fault for Mtu {
    fn configure(&mut self, way: &OneWay) {
        (self.bytes, self.oversized) = (way.mtu, way.oversized);
    }

    fn on_packet(&mut self, packet: &Packet, _: &mut FaultCx<'_>) -> Verdict {
        let Some(mtu) = self.bytes else { return Verdict::Pass };
        if packet.protocol() == Protocol::Tcp || packet.longest_piece() <= usize::from(mtu) {
            return Verdict::Pass;
        }
        match self.oversized {
            //= https://www.rfc-editor.org/rfc/rfc8200#section-5
            //# Unlike IPv4, fragmentation in IPv6 is performed only by source
            //# nodes, not by routers along a packet's delivery path
            Oversized::Fragment if !packet.src.is_ipv6() => Verdict::Fragment(mtu),
            Oversized::Fragment | Oversized::Reject => Verdict::Drop(Drop::FragmentationNeeded { mtu }),
            Oversized::Drop => Verdict::Drop(Drop::Oversized),
        }
    }
}
