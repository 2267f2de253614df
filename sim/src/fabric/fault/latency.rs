//! Latency: the minimum time that a packet takes over a link.

use std::time::Duration;

use scenarios::Link;

use super::{Fault, FaultCx, Verdict};
use crate::fabric::packet::Packet;

#[derive(Default)]
pub(crate) struct Latency(Duration);

impl Fault for Latency {
    fn configure(&mut self, link: &Link) {
        self.0 = link.latency;
    }

    fn on_packet(&mut self, _: &Packet, _: &mut FaultCx<'_>) -> Verdict {
        Verdict::Delay(self.0)
    }
}
