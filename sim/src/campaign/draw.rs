//! Draws from a string of bytes. At its end every draw gives the first possibility, so a short string is a short story.

use std::time::Duration;

use arbitrary::Unstructured;
use scenarios::{
    Dependence, FilterState, GilbertElliott, Hairpinning, Jitter, Link, NatBehavior, OneWay, Pooling, PortAllocation,
    Queue, Unsolicited, WorstLink,
};

/// A source of numbers whose results depend only on its bytes.
pub(crate) struct Draw<'a>(Unstructured<'a>);

impl<'a> Draw<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// A number from 0 to `limit` - 1. `limit` is at least 1.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0.int_in_range(0..=limit - 1).expect("at the end of the bytes, this is the first number")
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// A time below `limit`, in whole milliseconds. `limit` is at least 1 ms.
    pub(crate) fn time(&mut self, limit: Duration) -> Duration {
        Duration::from_millis(self.below(limit.as_millis() as u64))
    }

    /// The index of a weight, drawn with a probability in proportion to the weight. `None` if all are 0.
    pub(crate) fn weighted(&mut self, weights: impl Iterator<Item = u64> + Clone) -> Option<usize> {
        let sum = weights.clone().sum();
        if sum == 0 {
            return None;
        }
        let mut drawn = self.below(sum);
        for (number, weight) in weights.enumerate() {
            if drawn < weight {
                return Some(number);
            }
            drawn -= weight;
        }
        unreachable!("the draw is below the sum")
    }

    /// How bad the links of one story may be: half of the faults do not occur in it, the others up to a rate of its own.
    pub(crate) fn worst(&mut self, worst: &WorstLink) -> WorstLink {
        let mut rate = |most: u64| if self.coin() { 0 } else { self.below(most + 1) };
        WorstLink {
            jitter: Duration::from_millis(rate(worst.jitter.as_millis() as u64)),
            loss_ppm: rate(worst.loss_ppm.into()) as u32,
            duplicate_ppm: rate(worst.duplicate_ppm.into()) as u32,
            reorder_ppm: rate(worst.reorder_ppm.into()) as u32,
            // Half of the stories have none, as with the others.
            shapes: worst.shapes && self.coin(),
        }
    }

    /// A link like `base`, but with faults.
    pub(crate) fn link(&mut self, base: Link, worst: &WorstLink) -> Link {
        let latency = Duration::from_millis(1 + self.below(79));
        let mut rate = |most: u64| if self.coin() { 0 } else { self.below(most + 1) };
        let jitter = Jitter::Uniform { max: Duration::from_millis(rate(worst.jitter.as_millis() as u64)) };
        let loss_ppm = rate(worst.loss_ppm.into()) as u32;
        let duplicate_ppm = rate(worst.duplicate_ppm.into()) as u32;
        let reorder_ppm = rate(worst.reorder_ppm.into()) as u32;
        let worse = |way: OneWay| OneWay { latency, jitter, loss_ppm, duplicate_ppm, reorder_ppm, ..way };
        let link = Link { up: worse(base.up), down: worse(base.down) };
        if worst.shapes { Link { up: self.shape(link.up), down: self.shape(link.down) } } else { link }
    }

    /// A direction of a link with some of what cannot be said by rates alone.
    fn shape(&mut self, way: OneWay) -> OneWay {
        // Files have whole milliseconds, at least one.
        let part = |parts: u32| Duration::from_millis((way.jitter.usual_max() / parts).as_millis().max(1) as u64);
        let jitter = match self.below(3) {
            1 => Jitter::Normal { mean: part(4), deviation: part(4) },
            2 => Jitter::Pareto { mean: part(8) },
            _ => way.jitter,
        };
        let burst_loss = (self.below(4) == 1).then(|| GilbertElliott {
            p_ppm: 1 + self.below(10_000) as u32,
            r_ppm: 200_000 + self.below(600_000) as u32,
            h_ppm: self.below(500_000) as u32,
            k_ppm: 1_000_000,
        });
        let (bandwidth_bps, queue) = match self.below(4) {
            1 => {
                let bits = 500_000 + self.below(5_000_000) / 1_000 * 1_000;
                (Some(bits), Queue::Time(Duration::from_millis(50 + self.below(950))))
            }
            _ => (way.bandwidth_bps, way.queue),
        };
        OneWay { jitter, burst_loss, bandwidth_bps, queue, ..way }
    }

    /// Any behaviour that keeps a mapping for at least the interval of ICE's keep-alives. It may block UDP.
    pub(crate) fn nat(&mut self) -> NatBehavior {
        const DEPENDENCES: [Dependence; 3] =
            [Dependence::EndpointIndependent, Dependence::AddressDependent, Dependence::AddressAndPortDependent];
        let overloads = self.below(5) == 1;
        let mut dependence = || if overloads { Dependence::AddressAndPortDependent } else { self.pick(&DEPENDENCES) };
        let (mapping, filtering) = (dependence(), dependence());
        NatBehavior {
            mapping,
            filtering,
            filter_state: self.pick(&[FilterState::PerMapping, FilterState::PerEndpoint]),
            port_allocation: if overloads {
                PortAllocation::PreserveOverloading
            } else {
                self.pick(&[
                    PortAllocation::Preserve,
                    PortAllocation::Sequential,
                    PortAllocation::Random,
                    PortAllocation::Block,
                ])
            },
            hairpinning: self.pick(&[Hairpinning::Off, Hairpinning::InternalSource, Hairpinning::ExternalSource]),
            pooling: Pooling::Paired,
            udp_lifetime_new: Duration::from_secs(30),
            udp_lifetime: Duration::from_secs(30 + self.below(150)),
            udp_stream_after: Duration::from_secs(self.below(3)),
            udp_inbound_refresh: self.coin(),
            tcp_lifetime: Duration::from_secs(7440),
            tcp_lifetime_opening: Duration::from_secs(240),
            tcp_lifetime_closing: Duration::from_secs(10 + self.below(110)),
            tcp_lifetime_reset: Duration::from_secs(10 + self.below(110)),
            tcp_pick_up: self.coin(),
            unsolicited: self.pick(&[Unsolicited::Drop, Unsolicited::Reject, Unsolicited::Accept]),
            max_mappings: 65_536,
            udp_blocked: self.below(10) == 1,
            tcp_ports_blocked: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_bytes_every_draw_is_the_first_possibility() {
        let mut draw = Draw::new(&[]);
        assert_eq!((draw.below(100), draw.index(7), draw.coin()), (0, 0, true));
        assert_eq!(draw.weighted([0, 3, 5].into_iter()), Some(1));
        assert_eq!(draw.weighted([0, 0].into_iter()), None);
    }

    #[test]
    fn every_possibility_is_drawn() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut draw = Draw::new(&bytes);
        let mut drawn = [0; 3];
        for _ in 0..200 {
            drawn[draw.weighted([1, 2, 3].into_iter()).expect("they are not 0")] += 1;
        }
        assert!(drawn[0] > 20 && drawn[0] < drawn[1] && drawn[1] < drawn[2], "{drawn:?}");
    }
}
