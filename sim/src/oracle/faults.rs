//! When the scenario last disturbed something, for oracles that judge only what nothing disturbs.

use std::time::Duration;

use crate::event::{Event, Fault, What};

#[derive(Default)]
pub(super) struct Faults {
    /// Whether a partition is in force.
    pub(super) is_parted: bool,
    /// The time of the last fault.
    pub(super) last: Option<Duration>,
}

impl Faults {
    pub(super) fn observe(&mut self, event: &Event) {
        let What::Fault(fault) = &event.what else { return };
        match fault {
            // An order, and what could not be done.
            Fault::Told { .. } | Fault::NoEffect { .. } | Fault::NoPacket { .. } => return,
            Fault::Partition { .. } => self.is_parted = true,
            Fault::Heal => self.is_parted = false,
            _ => {}
        }
        self.last = Some(event.at);
    }
}
