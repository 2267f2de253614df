//! A link: it attaches a host or a router to a network.

use std::ops::ControlFlow;

use scenarios::Link;

use crate::fabric::fault::bandwidth::Bandwidth;
use crate::fabric::fault::burst_loss::BurstLoss;
use crate::fabric::fault::corrupt::Corrupt;
use crate::fabric::fault::duplicate::Duplicate;
use crate::fabric::fault::jitter::Jitter;
use crate::fabric::fault::latency::Latency;
use crate::fabric::fault::loss::Loss;
use crate::fabric::fault::mtu::Mtu;
use crate::fabric::fault::reorder::Reorder;
use crate::fabric::fault::{Fault, FaultCx, Passage, Stop};
use crate::fabric::packet::Packet;

/// The faults of one direction of a link, in the order in which they apply to packets. To add a fault, add a line here.
fn faults() -> Vec<Box<dyn Fault>> {
    vec![
        Box::<Mtu>::default(),
        Box::<Latency>::default(),
        Box::<Jitter>::default(),
        Box::<Loss>::default(),
        Box::<BurstLoss>::default(),
        Box::<Bandwidth>::default(),
        Box::<Corrupt>::default(),
        Box::<Duplicate>::default(),
        Box::<Reorder>::default(),
    ]
}

/// The direction of a packet: towards the network or away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// A link, with the faults of each direction.
pub(crate) struct LinkState {
    up: Vec<Box<dyn Fault>>,
    down: Vec<Box<dyn Fault>>,
}

impl LinkState {
    pub(crate) fn new(config: Link) -> Self {
        let mut link = Self { up: faults(), down: faults() };
        link.configure(config);
        link
    }

    /// Changes the link's settings. Packets that are queued on it stay queued.
    pub(crate) fn configure(&mut self, config: Link) {
        for (faults, way) in [(&mut self.up, &config.up), (&mut self.down, &config.down)] {
            faults.iter_mut().for_each(|fault| fault.configure(way));
        }
    }

    /// Sends a packet over the link, and records in `passage` what happens to it.
    pub(crate) fn cross(
        &mut self,
        direction: Direction,
        packet: &mut Packet,
        passage: &mut Passage,
        cx: &mut FaultCx<'_>,
    ) -> ControlFlow<Stop> {
        let faults = match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        passage.meet(faults, packet, cx)
    }
}
