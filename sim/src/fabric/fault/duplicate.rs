//! Duplication: a datagram arrives twice.

use scenarios::OneWay;

use super::{Fault, FaultCx, Verdict};
use crate::event::Protocol;
use crate::fabric::packet::Packet;

#[derive(Default)]
pub(crate) struct Duplicate {
    ppm: u32,
}

impl Fault for Duplicate {
    fn configure(&mut self, way: &OneWay) {
        self.ppm = way.duplicate_ppm;
    }

    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        let hit = packet.protocol() == Protocol::Udp && cx.chance(self.ppm);
        if hit { Verdict::Duplicate } else { Verdict::Pass }
    }
}
