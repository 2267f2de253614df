//! Faults: what can happen to a packet on its way.
//!
//! Each fault has one file here, with one type that implements [`Fault`]. A fault of links is listed in
//! `fabric/link.rs`. A fault that acts on packets at their receiver, such as a partition, is passed to
//! [`World::inject`](crate::world::World::inject).

pub(super) mod bandwidth;
pub(super) mod burst_loss;
pub(super) mod corrupt;
pub(super) mod duplicate;
pub(super) mod jitter;
pub(super) mod latency;
pub(super) mod loss;
pub(super) mod mtu;
pub(crate) mod partition;
pub(super) mod reorder;

use std::ops::ControlFlow;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use scenarios::OneWay;

use crate::event::{Drop, NodeId, Protocol};
use crate::fabric::packet::Packet;

/// Decides what happens to each packet that passes one place: a direction of a link, or the receiving machine.
///
/// Faults apply in a fixed order, and the first that drops or holds a packet is the last that sees it. **A fault may
/// only delay or hold TCP segments**: machines do not retransmit, so a segment that is lost or overtaken would be
/// missing for ever. Any other verdict on a segment panics.
pub trait Fault: Send {
    /// Decides about one packet. All randomness must come from `cx`.
    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict;

    /// Receives the settings of a direction of a link, when the link is created and whenever the scenario changes it. The default does
    /// nothing, for faults that are not configured by links.
    fn configure(&mut self, _way: &OneWay) {}
}

impl<F: FnMut(&Packet, &mut FaultCx<'_>) -> Verdict + Send> Fault for F {
    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        self(packet, cx)
    }
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing happens to it.
    Pass,
    /// It arrives later. Packets of its flow that are sent after it still arrive after it. Valid only on links.
    Delay(Duration),
    /// It arrives later, and packets of its flow that are sent after it may overtake it. Valid only on links.
    Reorder(Duration),
    /// It arrives twice. Valid only on links.
    Duplicate,
    /// A datagram is split into fragments, packets of at most this number of bytes, and goes on. Valid only on links.
    Fragment(u16),
    /// A bit of a datagram is flipped. Its receiver drops it, because the checksum is wrong. Valid only on links.
    Corrupt,
    /// A datagram waits until faults are healed. A TCP segment is tried again whenever its sender would retransmit it, and
    /// what its flow sends later waits behind it.
    Hold,
    /// It is dropped.
    Drop(Drop),
}

/// Where and when a fault sees a packet, and a source of randomness.
#[derive(Debug)]
pub struct FaultCx<'a> {
    /// Virtual time since the start.
    pub now: Duration,
    /// The machine that the packet has reached; `None` on a link.
    pub receiver: Option<NodeId>,
    /// The random number generator of the network.
    pub rng: &'a mut ChaCha8Rng,
}

impl FaultCx<'_> {
    /// True with a probability of `ppm` in a million. If `ppm` is zero, no random number is drawn.
    pub fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.rng.next_u32() % 1_000_000 < ppm
    }

    /// A random whole number of milliseconds from zero to `most`, inclusive.
    pub fn milliseconds_up_to(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.next_u64() % (most + 1))
    }
}

/// What has happened so far to a packet that still passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passage {
    /// The total delay.
    pub(crate) delay: Duration,
    /// The part of the delay that was drawn.
    pub(crate) chance: Duration,
    /// Whether it arrives twice.
    pub(crate) duplicated: bool,
    /// Whether later packets of its flow may overtake it.
    pub(crate) reordered: bool,
    /// The number of packets into which it was split, if it was.
    pub(crate) fragments: Option<u16>,
    /// Whether a bit of it was flipped.
    pub(crate) corrupted: bool,
}

/// Why a packet does not pass any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It waits until faults are healed.
    Hold,
    /// It is dropped.
    Drop(Drop),
}

impl Passage {
    /// Applies faults to a packet, one after the other.
    pub(crate) fn meet(
        &mut self,
        faults: &mut [Box<dyn Fault>],
        packet: &mut Packet,
        cx: &mut FaultCx<'_>,
    ) -> ControlFlow<Stop> {
        for fault in faults {
            let before = cx.rng.get_word_pos();
            let verdict = fault.on_packet(packet, cx);
            let is_drawn = cx.rng.get_word_pos() != before;
            assert!(
                packet.protocol() == Protocol::Udp
                    || matches!(verdict, Verdict::Pass | Verdict::Delay(_) | Verdict::Hold),
                "a fault may only delay or hold a TCP segment: {verdict:?}"
            );
            match verdict {
                Verdict::Pass => {}
                Verdict::Delay(delay) | Verdict::Reorder(delay) => {
                    self.delay += delay;
                    if is_drawn {
                        self.chance += delay;
                    }
                    self.reordered |= matches!(verdict, Verdict::Reorder(_));
                }
                Verdict::Duplicate => self.duplicated = true,
                Verdict::Fragment(mtu) => {
                    packet.split(mtu);
                    self.fragments = Some(packet.pieces());
                }
                Verdict::Corrupt => {
                    packet.corrupted = true;
                    self.corrupted = true;
                }
                Verdict::Hold => return ControlFlow::Break(Stop::Hold),
                Verdict::Drop(why) => return ControlFlow::Break(Stop::Drop(why)),
            }
        }
        ControlFlow::Continue(())
    }
}
