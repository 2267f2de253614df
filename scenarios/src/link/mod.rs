//! Links: what happens to packets between a machine or a NAT and its network. `entry` reads them from files, `write`
//! writes them.

mod entry;
mod write;

use std::time::Duration;

use serde::Serialize;

pub(crate) use entry::LinkEntry;
pub(crate) use write::differences;

use crate::value::Word;

/// The link of a host or a NAT to its network, with each direction's own settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// From the host or the NAT to the network.
    pub up: OneWay,
    /// From the network to the host or the NAT.
    pub down: OneWay,
}

impl Link {
    /// A link with the same settings in both directions.
    pub const fn both(way: OneWay) -> Self {
        Self { up: way, down: way }
    }

    /// The settings of both directions.
    pub fn ways(&self) -> [&OneWay; 2] {
        [&self.up, &self.down]
    }
}

/// The settings of one direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OneWay {
    /// The time that a packet takes, in whole milliseconds.
    pub latency: Duration,
    /// Additional time, drawn for each packet. Packets of a flow stay in order.
    pub jitter: Jitter,
    /// Number of lost packets per million, each independent of the others. A lost TCP segment arrives later, as after a
    /// retransmission.
    pub loss_ppm: u32,
    /// Loss in bursts, in addition to `loss_ppm`. TCP segments arrive later, as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_loss: Option<GilbertElliott>,
    /// Number of packets per million of which a bit is flipped. The checksum of UDP finds every single flipped bit
    /// (RFC 768), so the receiving host drops the datagram; of TCP, so the segment is sent again.
    pub corrupt_ppm: u32,
    /// Number of UDP datagrams per million that arrive twice.
    pub duplicate_ppm: u32,
    /// Number of UDP datagrams per million that later ones overtake.
    pub reorder_ppm: u32,
    /// Bits per second; `None` means no limit.
    pub bandwidth_bps: Option<u64>,
    /// What may wait for the bandwidth. A UDP datagram that finds no room is dropped; TCP segments are not.
    pub queue: Queue,
    /// The longest IPv4 packet that passes whole, bytes; `None` means no limit. TCP segments always pass: routers lower
    /// the segment size of connections to what fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// What happens to a UDP datagram that is longer than `mtu`.
    pub oversized: Oversized,
}

impl OneWay {
    /// A direction with this latency, and nothing else.
    pub const fn with_latency(latency: Duration) -> Self {
        Self {
            latency,
            jitter: Jitter::NONE,
            loss_ppm: 0,
            burst_loss: None,
            corrupt_ppm: 0,
            duplicate_ppm: 0,
            reorder_ppm: 0,
            bandwidth_bps: None,
            queue: Queue::DEFAULT,
            mtu: None,
            oversized: Oversized::Reject,
        }
    }
}

/// The distribution of the additional time of packets. What is drawn is rounded to whole milliseconds and is at most
/// [`Jitter::LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "distribution", rename_all = "kebab-case")]
pub enum Jitter {
    /// Every time from zero to the maximum is equally likely.
    Uniform {
        /// The maximum.
        max: Duration,
    },
    /// The normal distribution. A negative time counts as zero.
    Normal {
        /// The mean.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// The Pareto distribution of type II (Lomax) with shape 3: most packets are fast, and few are very slow. Its
    /// standard deviation is √3 times its mean.
    Pareto {
        /// The mean.
        mean: Duration,
    },
}

impl Jitter {
    /// No additional time.
    pub const NONE: Self = Self::Uniform { max: Duration::ZERO };
    /// The longest time that is ever drawn.
    pub const LONGEST: Duration = Duration::from_secs(60);

    /// A time that at most one packet in 100 exceeds.
    pub fn usual_max(self) -> Duration {
        match self {
            Self::Uniform { max } => max,
            Self::Normal { mean, deviation } => mean + deviation * 3,
            // 2 · (0.01^(-1/3) - 1) = 7.28
            Self::Pareto { mean } => mean * 8,
        }
    }
}

/// The model of Gilbert and Elliott for losses in bursts, with the names of its usual parameters, all per million.
///
/// Before each packet the link is in its good or its bad state. Source: G. Hasslinger and O. Hohlfeld, *The
/// Gilbert-Elliott Model for Packet Loss in Real Time Services on the Internet*, MMB 2008. `tc-netem` has the same
/// parameters: `loss gemodel p r 1-h 1-k`.
///
/// The share of lost packets is `(p · (1 - h) + r · (1 - k)) / (p + r)`. The bad state lasts for `1 / r` packets on
/// average.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GilbertElliott {
    /// Probability that the bad state follows the good one, at least 1.
    pub p_ppm: u32,
    /// Probability that the good state follows the bad one, at least 1.
    pub r_ppm: u32,
    /// Probability that a packet gets through in the bad state.
    pub h_ppm: u32,
    /// Probability that a packet gets through in the good state.
    pub k_ppm: u32,
}

impl GilbertElliott {
    /// The share of packets that are lost in the long run.
    pub fn lost_ppm(&self) -> u32 {
        let [p, r, h, k] = [self.p_ppm, self.r_ppm, self.h_ppm, self.k_ppm].map(u64::from);
        let lost = (p * (1_000_000 - h) + r * (1_000_000 - k)) / (p + r);
        u32::try_from(lost).expect("a share is at most a million")
    }
}

/// What may wait for the bandwidth of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queue {
    /// Packets that wait at most this long.
    Time(Duration),
    /// This number of bytes, IP headers included.
    Bytes(u64),
}

impl Queue {
    /// What routers at home have, roughly: half a second.
    pub const DEFAULT: Self = Self::Time(Duration::from_millis(500));
}

/// What happens to a UDP datagram that is longer than the MTU of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oversized {
    /// It is dropped, and its sender learns the MTU: ICMP *fragmentation needed* (RFC 1191). The sender then splits
    /// longer datagrams to the same address into fragments itself, for ten minutes.
    #[default]
    Reject,
    /// The router splits it into fragments (RFC 791). If one of them is lost, the datagram is.
    Fragment,
    /// It is dropped, and nobody learns that: a black hole of path MTU discovery (RFC 2923 §2.1).
    Drop,
}

impl Word for Oversized {
    const WHAT: &'static str = "way with oversized datagrams";
    const RIGHT: &'static str = "\"reject\", \"fragment\" or \"drop\"";
    const WORDS: &'static [(&'static str, Self)] =
        &[("reject", Self::Reject), ("fragment", Self::Fragment), ("drop", Self::Drop)];
}
