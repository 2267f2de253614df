//! Bandwidth: packets queue for the link, and a full queue drops datagrams.

use std::time::Duration;

use scenarios::Link;

use super::{Fault, FaultCx, Verdict};
use crate::event::{Drop, Protocol};
use crate::fabric::packet::Packet;

/// Queueing delay beyond which datagrams are dropped. TCP segments are never dropped: their sender would have slowed
/// down.
const QUEUE_DELAY_MAX: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Bandwidth {
    /// Bits per second; `None` means unlimited.
    bps: Option<u64>,
    /// When the last byte in the queue will have left. The value is kept when the link changes.
    busy_until: Duration,
}

impl Fault for Bandwidth {
    fn configure(&mut self, link: &Link) {
        self.bps = link.bandwidth_bps;
    }

    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        let Some(bps) = self.bps else { return Verdict::Pass };
        let start = cx.now.max(self.busy_until);
        if packet.protocol() == Protocol::Udp && start - cx.now > QUEUE_DELAY_MAX {
            return Verdict::Drop(Drop::Congestion);
        }
        self.busy_until = start + Duration::from_nanos(packet.size() as u64 * 8_000_000_000 / bps.max(1));
        Verdict::Delay(self.busy_until - cx.now)
    }
}
