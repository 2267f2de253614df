//! Bandwidth: packets queue for the link, and a full queue drops datagrams.

use std::time::Duration;

use scenarios::{OneWay, Queue};

use super::{Fault, FaultCx, Verdict};
use crate::event::{Drop, Protocol};
use crate::fabric::packet::Packet;

/// Nanoseconds of a second, for each bit of a byte.
const NANOS_BITS: u128 = 8_000_000_000;

pub(crate) struct Bandwidth {
    /// Bits per second; `None` means unlimited.
    bps: Option<u64>,
    /// TCP segments are never dropped: their sender would have slowed down. But they take room.
    queue: Queue,
    /// When the last byte in the queue will have left. The value is kept when the link changes.
    busy_until: Duration,
}

impl Default for Bandwidth {
    fn default() -> Self {
        Self { bps: None, queue: Queue::DEFAULT, busy_until: Duration::ZERO }
    }
}

impl Fault for Bandwidth {
    fn configure(&mut self, way: &OneWay) {
        (self.bps, self.queue) = (way.bandwidth_bps, way.queue);
    }

    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        let Some(bps) = self.bps else { return Verdict::Pass };
        let bps = bps.max(1);
        let start = cx.now.max(self.busy_until);
        let wait = start - cx.now;
        let is_full = match self.queue {
            Queue::Time(longest) => wait > longest,
            Queue::Bytes(most) => {
                let waiting = wait.as_nanos() * u128::from(bps) / NANOS_BITS;
                waiting + packet.size() as u128 > u128::from(most)
            }
        };
        if packet.protocol() == Protocol::Udp && is_full {
            return Verdict::Drop(Drop::Congestion);
        }
        self.busy_until = start + Duration::from_nanos(packet.size() as u64 * 8_000_000_000 / bps);
        Verdict::Delay(self.busy_until - cx.now)
    }
}
