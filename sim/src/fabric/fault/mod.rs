//! Faults: what can happen to a packet on its way.
//!
//! A fault is one file here, with one type that implements [`Fault`]. A fault of links is a line in `fabric/link.rs`; a fault that acts
//! where packets have arrived, as a partition does, is for [`World::inject`](crate::world::World::inject).

pub(super) mod bandwidth;
pub(super) mod duplicate;
pub(super) mod jitter;
pub(super) mod latency;
pub(super) mod loss;
pub(crate) mod partition;
pub(super) mod reorder;

use std::ops::ControlFlow;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use scenarios::Link;

use crate::event::{Drop, NodeId, Protocol};
use crate::fabric::packet::Packet;

/// Decides what happens to each packet that passes a place: a direction of a link, or the receiving machine.
///
/// Faults are asked in a fixed order, and the first that drops or holds a packet is the last that sees it. **Of TCP, a fault may only
/// delay or hold segments**: turmoil-net's kernels do not retransmit, so a segment that is lost, or overtaken, would be missing for
/// ever. Any other verdict on a segment panics.
pub trait Fault: Send {
    /// Decides about one packet. Draw randomness from `cx` alone.
    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict;

    /// Takes the settings of a link, when the link is made and whenever the scenario changes it. A fault that is not configured by the
    /// scenario's links has nothing to do.
    fn configure(&mut self, _link: &Link) {}
}

impl<F: FnMut(&Packet, &mut FaultCx<'_>) -> Verdict + Send> Fault for F {
    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        self(packet, cx)
    }
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Pass,
    /// It comes later. Packets of its flow that are sent after it still come after it. Only on links.
    Delay(Duration),
    /// It comes later, and packets of its flow that are sent after it may overtake it. Only on links.
    Reorder(Duration),
    /// It comes twice. Only on links.
    Duplicate,
    /// It waits until faults are healed.
    Hold,
    /// It is gone.
    Drop(Drop),
}

/// Where and when a fault sees a packet, and randomness.
#[derive(Debug)]
pub struct FaultCx<'a> {
    /// Virtual time since the start.
    pub now: Duration,
    /// The machine that the packet has reached; `None` on a link.
    pub receiver: Option<NodeId>,
    /// The network's random stream.
    pub rng: &'a mut ChaCha8Rng,
}

impl FaultCx<'_> {
    /// True in `ppm` of a million cases on average. Zero draws nothing.
    pub fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.rng.next_u32() % 1_000_000 < ppm
    }

    /// A whole number of milliseconds from zero to `most`.
    pub fn milliseconds_up_to(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.next_u64() % (most + 1))
    }
}

/// What has happened to a packet so far that is not stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Time it takes.
    pub(crate) delay: Duration,
    /// Whether it comes twice.
    pub(crate) duplicated: bool,
    /// Whether later packets of its flow may overtake it.
    pub(crate) reordered: bool,
}

/// Why a packet does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It waits until faults are healed.
    Hold,
    /// It is gone.
    Drop(Drop),
}

impl Passage {
    /// Has a packet meet faults, one after the other.
    pub(crate) fn meet(
        &mut self,
        faults: &mut [Box<dyn Fault>],
        packet: &Packet,
        cx: &mut FaultCx<'_>,
    ) -> ControlFlow<Stop> {
        for fault in faults {
            let verdict = fault.on_packet(packet, cx);
            assert!(
                packet.protocol() == Protocol::Udp
                    || matches!(verdict, Verdict::Pass | Verdict::Delay(_) | Verdict::Hold),
                "a fault may only delay or hold a TCP segment: {verdict:?}"
            );
            match verdict {
                Verdict::Pass => {}
                Verdict::Delay(delay) => self.delay += delay,
                Verdict::Reorder(delay) => {
                    self.delay += delay;
                    self.reordered = true;
                }
                Verdict::Duplicate => self.duplicated = true,
                Verdict::Hold => return ControlFlow::Break(Stop::Hold),
                Verdict::Drop(why) => return ControlFlow::Break(Stop::Drop(why)),
            }
        }
        ControlFlow::Continue(())
    }
}
