//! A link: what a packet meets between a host, or a NAT, and the network it is attached to.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use scenarios::Link;

/// Queueing delay beyond which a link with limited bandwidth drops datagrams (and a TCP sender would have backed off).
const QUEUE_DELAY_MAX: Duration = Duration::from_millis(500);
/// First retransmission timeout of a TCP segment: Linux' minimum, RFC 6298 with its lower bound relaxed.
const TCP_RTO: Duration = Duration::from_millis(200);
/// Retransmissions of a segment at most; the last one comes through, so that a stream is slow rather than torn.
const TCP_RETRANSMISSIONS_MAX: u32 = 8;
/// How long a re-ordered datagram is held back at most, milliseconds.
const REORDER_MS_MAX: u64 = 20;

/// Towards the network or away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// A link and the state of its two queues.
#[derive(Debug)]
pub(crate) struct LinkState {
    pub(crate) config: Link,
    /// When the last byte now queued will have left, up and down.
    busy_until: [Duration; 2],
}

/// How a packet comes over a link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Crossing {
    /// Time it takes.
    pub(crate) delay: Duration,
    /// Whether it comes twice.
    pub(crate) duplicated: bool,
    /// Whether later packets of its flow may overtake it.
    pub(crate) reordered: bool,
}

/// Why a packet does not come over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Random,
    Congestion,
}

impl LinkState {
    pub(crate) fn new(config: Link) -> Self {
        Self { config, busy_until: [Duration::ZERO; 2] }
    }

    /// Sends `bytes` over the link at `now`. Of TCP nothing is lost: a lost segment comes after its retransmissions.
    pub(crate) fn cross(
        &mut self,
        direction: Direction,
        bytes: usize,
        tcp: bool,
        now: Duration,
        rng: &mut ChaCha8Rng,
    ) -> Result<Crossing, Loss> {
        let link = self.config;
        let mut crossing = Crossing { delay: link.latency, ..Crossing::default() };
        if !link.jitter.is_zero() {
            crossing.delay += up_to(link.jitter.as_millis() as u64, rng);
        }
        let mut transmissions = 0;
        while transmissions < TCP_RETRANSMISSIONS_MAX && chance(link.loss_ppm, rng) {
            if !tcp {
                return Err(Loss::Random);
            }
            crossing.delay += TCP_RTO * 2u32.pow(transmissions);
            transmissions += 1;
        }
        if let Some(bandwidth) = link.bandwidth_bps {
            let busy_until = &mut self.busy_until[direction as usize];
            let start = now.max(*busy_until);
            if !tcp && start - now > QUEUE_DELAY_MAX {
                return Err(Loss::Congestion);
            }
            *busy_until = start + Duration::from_nanos(bytes as u64 * 8_000_000_000 / bandwidth.max(1));
            crossing.delay += *busy_until - now;
        }
        if !tcp {
            crossing.duplicated = chance(link.duplicate_ppm, rng);
            if chance(link.reorder_ppm, rng) {
                crossing.reordered = true;
                crossing.delay += Duration::from_millis(1) + up_to(REORDER_MS_MAX - 1, rng);
            }
        }
        Ok(crossing)
    }
}

/// Draws whole milliseconds from zero to `most`.
fn up_to(most: u64, rng: &mut ChaCha8Rng) -> Duration {
    Duration::from_millis(rng.next_u64() % (most + 1))
}

fn chance(ppm: u32, rng: &mut ChaCha8Rng) -> bool {
    ppm > 0 && rng.next_u32() % 1_000_000 < ppm
}
