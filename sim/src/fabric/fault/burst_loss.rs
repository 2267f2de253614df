//! Loss in bursts, by the model of Gilbert and Elliott.

use scenarios::{GilbertElliott, OneWay};

use super::loss::{PER_MILLION, lose};
use super::{Fault, FaultCx, Verdict};
use crate::event::Protocol;
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
        // The state is that of the moment. Until a TCP segment is sent again, it has changed many times.
        let mut is_first = true;
        let is_tcp = packet.protocol() == Protocol::Tcp;
        lose(packet, || {
            let is_now = std::mem::take(&mut is_first) || !is_tcp;
            if is_now { self.loses(model, cx) } else { cx.chance(model.lost_ppm()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng as _;
    use scenarios::Link;

    use super::*;
    use crate::event::{NodeId, PacketId, TransportAddress};
    use crate::fabric::packet::{Body, Segment};

    /// In the bad state seven of ten packets are lost, but a retransmission comes later: the bad state is over by then.
    #[test]
    fn a_segment_is_not_lost_again_and_again_because_the_first_time_was_a_bad_one() {
        let model = GilbertElliott { p_ppm: 10_000, r_ppm: 300_000, h_ppm: 0, k_ppm: 1_000_000 };
        assert_eq!(model.lost_ppm(), 32_258);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let any = TransportAddress::new(std::net::Ipv4Addr::UNSPECIFIED, 0);
        let segment = Packet::new(PacketId(1), NodeId(0), Duration::ZERO, any, any, Body::Tcp(Segment::reset()));
        let mut burst = BurstLoss::default();
        let way = OneWay { burst_loss: Some(model), ..Link::both(OneWay::with_latency(Duration::ZERO)).up };
        burst.configure(&way);
        let mut delay = || {
            burst.is_bad = true;
            let mut cx = FaultCx { now: Duration::ZERO, receiver: None, rng: &mut rng };
            match burst.on_packet(&segment, &mut cx) {
                Verdict::Delay(delay) => delay,
                other => panic!("{other:?}"),
            }
        };
        let delays: Vec<Duration> = (0..1_000).map(|_| delay()).collect();
        let long = delays.iter().filter(|delay| **delay > Duration::from_millis(200)).count();
        assert!((10..60).contains(&long), "3.2 % are lost a second time: {long}");
        assert!(delays.iter().all(|delay| *delay < Duration::from_secs(5)));
    }
}
