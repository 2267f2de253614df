//! Jitter: a random delay in whole milliseconds, uniform up to a maximum.

use scenarios::Link;

use super::{Fault, FaultCx, Verdict};
use crate::fabric::packet::Packet;

#[derive(Default)]
pub(crate) struct Jitter {
    max_ms: u64,
}

impl Fault for Jitter {
    fn configure(&mut self, link: &Link) {
        self.max_ms = link.jitter.as_millis() as u64;
    }

    fn on_packet(&mut self, _: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        if self.max_ms == 0 { Verdict::Pass } else { Verdict::Delay(cx.milliseconds_up_to(self.max_ms)) }
    }
}
