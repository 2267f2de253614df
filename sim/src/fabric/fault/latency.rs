//! Latency: the minimum time that a packet takes over a link.

use std::time::Duration;

use scenarios::OneWay;

use super::{Fault, FaultCx, Verdict};
use crate::fabric::packet::Packet;

#[derive(Default)]
pub(crate) struct Latency(Duration);

impl Fault for Latency {
    fn configure(&mut self, way: &OneWay) {
        self.0 = way.latency;
    }

    fn on_packet(&mut self, _: &Packet, _: &mut FaultCx<'_>) -> Verdict {
        Verdict::Delay(self.0)
    }
}
