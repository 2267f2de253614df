//! Loss: a datagram is lost; a TCP segment arrives after its retransmissions, or, if nothing passes, once the link changes.

use std::time::Duration;

use scenarios::OneWay;

use super::{Fault, FaultCx, Verdict};
use crate::event::{Drop, Protocol};
use crate::fabric::packet::Packet;

/// First retransmission timeout of a TCP segment: Linux' minimum, which is below the lower bound of RFC 6298.
const TCP_RTO: Duration = Duration::from_millis(200);
/// Maximum number of retransmissions of a segment. The last one always arrives, so that a stream becomes slow but does
/// not break.
const TCP_RETRANSMISSIONS_MAX: u32 = 8;
/// A probability of 1.
pub(super) const PER_MILLION: u32 = 1_000_000;

#[derive(Default)]
pub(crate) struct Loss {
    ppm: u32,
}

impl Fault for Loss {
    fn configure(&mut self, way: &OneWay) {
        self.ppm = way.loss_ppm;
    }

    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        // Nothing passes until the link changes.
        if self.ppm == PER_MILLION && packet.protocol() == Protocol::Tcp {
            return Verdict::Hold;
        }
        lose(packet, || cx.chance(self.ppm))
    }
}

/// Sends a packet over a link on which each transmission is lost if `is_lost` says so. A datagram is lost with any of
/// its fragments.
pub(super) fn lose(packet: &Packet, mut is_lost: impl FnMut() -> bool) -> Verdict {
    match packet.protocol() {
        Protocol::Udp => {
            // Every fragment crosses the link, also after one is lost.
            let lost = (0..packet.pieces()).filter(|_| is_lost()).count();
            if lost > 0 { Verdict::Drop(Drop::Loss) } else { Verdict::Pass }
        }
        Protocol::Tcp => Verdict::Delay(retransmissions(is_lost)),
    }
}

/// The time until a transmission of a TCP segment is not lost.
pub(super) fn retransmissions(mut is_lost: impl FnMut() -> bool) -> Duration {
    let lost = (0..TCP_RETRANSMISSIONS_MAX).take_while(|_| is_lost());
    lost.map(|transmission| TCP_RTO * 2u32.pow(transmission)).sum()
}
