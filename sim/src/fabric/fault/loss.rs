//! Loss: a datagram is lost; a TCP segment arrives after its retransmissions.

use std::time::Duration;

use scenarios::Link;

use super::{Fault, FaultCx, Verdict};
use crate::event::{Drop, Protocol};
use crate::fabric::packet::Packet;

/// First retransmission timeout of a TCP segment: Linux' minimum, which is below the lower bound of RFC 6298.
const TCP_RTO: Duration = Duration::from_millis(200);
/// Maximum number of retransmissions of a segment. The last one always arrives, so that a stream becomes slow but does
/// not break.
const TCP_RETRANSMISSIONS_MAX: u32 = 8;

#[derive(Default)]
pub(crate) struct Loss {
    ppm: u32,
}

impl Fault for Loss {
    fn configure(&mut self, link: &Link) {
        self.ppm = link.loss_ppm;
    }

    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        let mut delay = Duration::ZERO;
        let mut transmissions = 0;
        while transmissions < TCP_RETRANSMISSIONS_MAX && cx.chance(self.ppm) {
            if packet.protocol() == Protocol::Udp {
                return Verdict::Drop(Drop::Loss);
            }
            delay += TCP_RTO * 2u32.pow(transmissions);
            transmissions += 1;
        }
        Verdict::Delay(delay)
    }
}
