//! Links as they are written in files. Missing keys are inherited.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::{GilbertElliott, Jitter, Link, OneWay, Oversized, Queue};
use crate::error::{Problems, quote};
use crate::table::{Lined, Read, Table, mistyped};
use crate::value::{BadValue, Bandwidth, Parse, Ppm, Size, Why, Word};

/// Longer than any protocol here waits for a packet.
const SLOWEST: Duration = Duration::from_secs(60);
/// The smallest MTU that a link may have (RFC 791 §3.2).
const MTU_MIN: u16 = 68;
/// The longest packet of the internet's links. A queue must have room for it.
const PACKET: u64 = 1500;

/// A link: the keys of both directions, and those of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkEntry {
    both: OneWayEntry,
    up: OneWayEntry,
    down: OneWayEntry,
}

/// One direction.
#[derive(Clone, Debug, Default)]
struct OneWayEntry {
    latency: Option<Duration>,
    jitter: Option<Jitter>,
    loss: Option<Ppm>,
    burst_loss: Option<BurstLoss>,
    corrupt: Option<Ppm>,
    duplicate: Option<Ppm>,
    reorder: Option<Ppm>,
    bandwidth: Option<Bandwidth>,
    queue: Option<Queue>,
    mtu: Option<Mtu>,
    oversized: Option<Oversized>,
}

impl LinkEntry {
    /// A link that inherits all keys.
    pub(crate) const NONE: Self = Self { both: OneWayEntry::NONE, up: OneWayEntry::NONE, down: OneWayEntry::NONE };

    /// The link, with missing keys inherited from `base`.
    pub(crate) fn over(&self, base: Link) -> Link {
        Link { up: self.up.over(self.both.over(base.up)), down: self.down.over(self.both.over(base.down)) }
    }
}

impl OneWayEntry {
    const NONE: Self = Self {
        latency: None,
        jitter: None,
        loss: None,
        burst_loss: None,
        corrupt: None,
        duplicate: None,
        reorder: None,
        bandwidth: None,
        queue: None,
        mtu: None,
        oversized: None,
    };

    fn over(&self, base: OneWay) -> OneWay {
        OneWay {
            latency: self.latency.unwrap_or(base.latency),
            jitter: self.jitter.unwrap_or(base.jitter),
            loss_ppm: self.loss.map_or(base.loss_ppm, |share| share.0),
            burst_loss: self.burst_loss.map_or(base.burst_loss, |burst| burst.0),
            corrupt_ppm: self.corrupt.map_or(base.corrupt_ppm, |share| share.0),
            duplicate_ppm: self.duplicate.map_or(base.duplicate_ppm, |share| share.0),
            reorder_ppm: self.reorder.map_or(base.reorder_ppm, |share| share.0),
            bandwidth_bps: self.bandwidth.map_or(base.bandwidth_bps, |bandwidth| bandwidth.0),
            queue: self.queue.unwrap_or(base.queue),
            mtu: self.mtu.map_or(base.mtu, |mtu| mtu.0),
            oversized: self.oversized.unwrap_or(base.oversized),
        }
    }

    fn of(table: &mut Table<'_>) -> Self {
        let latency = table.optional::<Duration>("latency");
        // Without latency, two machines could answer each other for ever at one instant of virtual time.
        if let Some(wrong) = latency.as_ref().filter(|latency| latency.value.is_zero() || latency.value > SLOWEST) {
            table.report(wrong.line, "`latency` must be from 1ms to 60s");
        }
        let jitter = table.optional("jitter");
        let (loss, burst_loss) = (table.optional("loss"), table.optional("gilbert-elliott"));
        let corrupt = table.optional("corrupt");
        let (duplicate, reorder) = (table.optional("duplicate"), table.optional("reorder"));
        let bandwidth = table.optional::<Bandwidth>("bandwidth");
        let queue = table.optional("queue");
        if let (Some(queue), Some(Lined { value: Bandwidth(None), .. })) = (&queue, &bandwidth) {
            table.report(queue.line, "`queue` is for a link with a `bandwidth`: nothing waits on one without");
        }
        let (mtu, oversized) = (table.optional::<Mtu>("mtu"), table.optional("oversized"));
        if let (Some(oversized), Some(Lined { value: Mtu(None), .. })) = (&oversized, &mtu) {
            table
                .report(oversized.line, "`oversized` is for a link with an `mtu`: nothing is too long for one without");
        }
        Self {
            latency: value(latency),
            jitter: value(jitter),
            loss: value(loss),
            burst_loss: value(burst_loss),
            corrupt: value(corrupt),
            duplicate: value(duplicate),
            reorder: value(reorder),
            bandwidth: value(bandwidth),
            queue: value(queue),
            mtu: value(mtu),
            oversized: value(oversized),
        }
    }
}

fn value<T>(lined: Option<Lined<T>>) -> Option<T> {
    lined.map(|lined| lined.value)
}

impl Read for LinkEntry {
    const RIGHT: &'static str = "a table such as { latency = \"10ms\" }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, name, problems)?;
        let both = OneWayEntry::of(&mut table);
        let mut way = |name| table.optional::<OneWayEntry>(name).map(|way| way.value).unwrap_or_default();
        let (up, down) = (way("up"), way("down"));
        table.finish();
        Some(Self { both, up, down })
    }
}

impl Read for OneWayEntry {
    const RIGHT: &'static str = "a table such as { bandwidth = \"1Mbit\" }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, name, problems)?;
        let entry = Self::of(&mut table);
        table.finish();
        Some(entry)
    }
}

/// The distributions of jitter that are written with their name.
#[derive(Clone, Copy)]
enum Distribution {
    Normal,
    Pareto,
}

impl Word for Distribution {
    const WHAT: &'static str = "distribution";
    const RIGHT: &'static str = "\"normal\" or \"pareto\"";
    const WORDS: &'static [(&'static str, Self)] = &[("normal", Self::Normal), ("pareto", Self::Pareto)];
}

impl Read for Jitter {
    const RIGHT: &'static str = "a time such as \"20ms\", or a table such as { distribution = \"normal\", mean = \"20ms\", deviation = \"5ms\" }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let line = problems.line(&value.span());
        if let DeValue::String(_) = value.get_ref() {
            let max = Duration::read(value, name, problems)?;
            if max > SLOWEST {
                problems.report(line, "`jitter` must be at most 60s");
            }
            return Some(Self::Uniform { max });
        }
        let mut table = Table::of::<Self>(value, name, problems)?;
        let distribution = table.required::<Distribution>("distribution");
        let mean = table.required::<Duration>("mean");
        let deviation = table.optional::<Duration>("deviation");
        table.finish();
        for (key, time) in [("mean", &mean), ("deviation", &deviation)] {
            if let Some(wrong) = time.as_ref().filter(|time| time.value.is_zero() || time.value > SLOWEST) {
                problems.report(wrong.line, format!("`{key}` must be from 1ms to 60s"));
            }
        }
        let (distribution, mean) = (distribution?.value, mean?.value);
        match (distribution, deviation) {
            (Distribution::Normal, Some(deviation)) => Some(Self::Normal { mean, deviation: deviation.value }),
            (Distribution::Normal, None) => {
                problems
                    .report(line, "`jitter` with the distribution `normal` needs `deviation`: a time such as \"5ms\"");
                None
            }
            (Distribution::Pareto, None) => Some(Self::Pareto { mean }),
            (Distribution::Pareto, Some(deviation)) => {
                let message = "`deviation` is for the distribution `normal`: that of `pareto` follows from its mean";
                problems.report(deviation.line, message);
                None
            }
        }
    }
}

/// Loss in bursts; `None` means none.
#[derive(Clone, Copy, Debug)]
struct BurstLoss(Option<GilbertElliott>);

impl Read for BurstLoss {
    const RIGHT: &'static str = "a table such as { p = \"1%\", r = \"25%\" }, or \"off\"";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        if let DeValue::String(text) = value.get_ref() {
            if text == "off" {
                return Some(Self(None));
            }
            let message = format!("`{name}`: {} must be {}", quote(text), Self::RIGHT);
            problems.report(problems.line(&value.span()), message);
            return None;
        }
        let mut table = Table::of::<Self>(value, name, problems)?;
        let (p, r) = (table.required::<Ppm>("p"), table.required::<Ppm>("r"));
        let (h, k) = (table.optional::<Ppm>("h"), table.optional::<Ppm>("k"));
        table.finish();
        let (p, r) = (p?, r?);
        if p.value.0 == 0 {
            problems.report(p.line, "`p` must be over 0%: the bad state would never begin");
        }
        if r.value.0 == 0 {
            problems.report(r.line, "`r` must be over 0%: the bad state would never end");
        }
        let share = |entry: &Option<Lined<Ppm>>, default| entry.as_ref().map_or(default, |entry| entry.value.0);
        let (h_ppm, k_ppm) = (share(&h, 0), share(&k, 1_000_000));
        if h_ppm >= k_ppm {
            let line = h.or(k).map_or(p.line, |entry| entry.line);
            let message = "`h` must be less than `k`: fewer packets get through in the bad state than in the good one";
            problems.report(line, message);
        }
        Some(Self(Some(GilbertElliott { p_ppm: p.value.0, r_ppm: r.value.0, h_ppm, k_ppm })))
    }
}

/// The longest packet, bytes; `None` means no limit.
#[derive(Clone, Copy, Debug)]
struct Mtu(Option<u16>);

impl Read for Mtu {
    const RIGHT: &'static str = "a number of bytes such as 1400, or \"unlimited\"";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let written = match value.get_ref() {
            DeValue::String(text) if text == "unlimited" => return Some(Self(None)),
            DeValue::String(text) => {
                let message = format!("`{name}`: {} must be {}", quote(text), Self::RIGHT);
                problems.report(problems.line(&value.span()), message);
                return None;
            }
            DeValue::Integer(number) => number,
            _ => return mistyped(value, name, problems),
        };
        let read = u16::from_str_radix(written.as_str(), written.radix()).ok().filter(|bytes| *bytes >= MTU_MIN);
        if read.is_none() {
            let message =
                format!("`{name}`: {} must be from {MTU_MIN} (RFC 791) to {} bytes", quote(written.as_str()), u16::MAX);
            problems.report(problems.line(&value.span()), message);
        }
        read.map(|bytes| Self(Some(bytes)))
    }
}

impl Parse for Queue {
    const RIGHT: &'static str = "a time such as \"250ms\", or a size such as \"64kB\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        if let Ok(Size(bytes)) = Size::parse(text) {
            return match bytes {
                PACKET..=1_000_000_000 => Ok(Self::Bytes(bytes)),
                _ => Err(BadValue::new(text, Why::MustBe("from 1500B, one packet, to 1000MB"))),
            };
        }
        match Duration::parse(text) {
            Ok(time) if time <= SLOWEST => Ok(Self::Time(time)),
            Ok(_) => Err(BadValue::new(text, Why::MustBe("at most 60s"))),
            Err(_) => Err(BadValue::new(text, Why::MustBe(<Self as Parse>::RIGHT))),
        }
    }
}
