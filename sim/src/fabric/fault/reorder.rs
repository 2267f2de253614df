//! Reordering: a datagram is held back for some milliseconds, and later ones overtake it.

use std::time::Duration;

use scenarios::OneWay;

use super::{Fault, FaultCx, Verdict};
use crate::event::Protocol;
use crate::fabric::packet::Packet;

/// Maximum time for which a datagram is held back, milliseconds.
const HELD_BACK_MS_MAX: u64 = 20;

#[derive(Default)]
pub(crate) struct Reorder {
    ppm: u32,
}

impl Fault for Reorder {
    fn configure(&mut self, way: &OneWay) {
        self.ppm = way.reorder_ppm;
    }

    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        if packet.protocol() == Protocol::Udp && cx.chance(self.ppm) {
            Verdict::Reorder(Duration::from_millis(1) + cx.milliseconds_up_to(HELD_BACK_MS_MAX - 1))
        } else {
            Verdict::Pass
        }
    }
}
