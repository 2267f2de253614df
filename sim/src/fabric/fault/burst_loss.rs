//! Loss in bursts, by the model of Gilbert and Elliott.

use scenarios::{GilbertElliott, OneWay};

use super::loss::{PER_MILLION, lose};
use super::{Fault, FaultCx, Verdict};
use crate::fabric::packet::Packet;

#[derive(Default)]
pub(crate) struct BurstLoss {
    model: Option<GilbertElliott>,
    is_bad: bool,
}

impl BurstLoss {
    /// Whether the next packet is lost. Then the state may change.
    fn loses(&mut self, model: GilbertElliott, cx: &mut FaultCx<'_>) -> bool {
        let (passes, changes) = if self.is_bad { (model.h_ppm, model.r_ppm) } else { (model.k_ppm, model.p_ppm) };
        let is_lost = cx.chance(PER_MILLION - passes);
        self.is_bad ^= cx.chance(changes);
        is_lost
    }
}

impl Fault for BurstLoss {
    /// The state is kept while there is a model.
    fn configure(&mut self, way: &OneWay) {
        self.model = way.burst_loss;
        self.is_bad &= self.model.is_some();
    }

    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        let Some(model) = self.model else { return Verdict::Pass };
        lose(packet, || self.loses(model, cx))
    }
}
