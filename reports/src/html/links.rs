//! The links of the simulated network, in words.

use crate::model::{Distribution, Link, OneWay, Oversized};

/// Latency and loss: `20–30 ms, 1% loss`. Two directions that differ in these are told apart:
/// `up 20 ms, down 10 ms`.
pub(super) fn brief(link: &Link) -> String {
    each(link, brief_way)
}

/// All settings.
pub(super) fn words(link: &Link) -> String {
    each(link, way_words)
}

fn each(link: &Link, words: fn(&OneWay) -> String) -> String {
    let up = words(&link.up);
    match link.down.as_ref().map(words) {
        Some(down) if down != up => format!("up {up}; down {down}"),
        _ => up,
    }
}

fn brief_way(way: &OneWay) -> String {
    let (least, jitter) = (way.latency * 1e3, way.jitter * 1e3);
    let mut words = match way.jitter_distribution {
        None if jitter > 0.0 => format!("{least:.0}–{:.0} ms", least + jitter),
        None => format!("{least:.0} ms"),
        Some(_) => format!("{least:.0} ms + {jitter:.0} ms on average"),
    };
    if way.loss > 0.0 {
        words.push_str(&format!(", {} loss", percent(way.loss)));
    }
    if let Some(model) = &way.gilbert_elliott {
        let share = (model.p * (1.0 - model.h) + model.r * (1.0 - model.k)) / (model.p + model.r);
        words.push_str(&format!(", {} loss in bursts", percent(share)));
    }
    words
}

fn way_words(way: &OneWay) -> String {
    let mut words = brief_way(way);
    match (way.jitter_distribution, way.jitter_deviation) {
        (Some(Distribution::Normal), deviation) => {
            words.push_str(&format!(", normal with deviation {:.0} ms", deviation.unwrap_or_default() * 1e3));
        }
        (Some(Distribution::Pareto), _) => words.push_str(", Pareto"),
        (None, _) => {}
    }
    if let Some(model) = &way.gilbert_elliott {
        let [p, r, h, k] = [model.p, model.r, model.h, model.k].map(percent);
        words.push_str(&format!(" (Gilbert–Elliott: p {p}, r {r}, h {h}, k {k})"));
    }
    for (share, what) in [(way.corrupt, "corrupted"), (way.duplicate, "twice"), (way.reorder, "overtaken")] {
        if share > 0.0 {
            words.push_str(&format!(", {} {what}", percent(share)));
        }
    }
    if let Some(bps) = way.bandwidth_bps {
        let (number, unit) = match bps {
            1_000_000.. => (bps as f64 / 1e6, "Mbit/s"),
            1_000.. => (bps as f64 / 1e3, "kbit/s"),
            _ => (bps as f64, "bit/s"),
        };
        words.push_str(&format!(", {number} {unit}"));
    }
    if let Some(time) = way.queue {
        words.push_str(&format!(", queue {:.0} ms", time * 1e3));
    }
    if let Some(bytes) = way.queue_bytes {
        words.push_str(&format!(", queue {bytes} bytes"));
    }
    if let Some(mtu) = way.mtu {
        let what = match way.oversized {
            Some(Oversized::Fragment) => "longer datagrams are split",
            Some(Oversized::Drop) => "longer datagrams vanish",
            Some(Oversized::Reject) | None => "longer datagrams are rejected by ICMP",
        };
        words.push_str(&format!(", MTU {mtu}: {what}"));
    }
    words
}

/// A share from 0 to 1 as `0.5%`.
fn percent(share: f64) -> String {
    // Results have shares per million, so more digits are noise of the number format.
    format!("{}%", (share * 1e6).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GilbertElliott;

    #[test]
    fn what_a_link_does_is_said_and_what_it_does_not_do_is_left_out() {
        let both = |up| Link { up, down: None };
        let plain = OneWay { latency: 0.02, ..OneWay::default() };
        assert_eq!((brief(&both(plain)), words(&both(plain))), ("20 ms".to_owned(), "20 ms".to_owned()));
        let bad = OneWay {
            jitter: 0.01,
            loss: 0.005,
            duplicate: 0.000_1,
            reorder: 0.03,
            bandwidth_bps: Some(1_500_000),
            queue: Some(0.5),
            ..plain
        };
        assert_eq!(brief(&both(bad)), "20–30 ms, 0.5% loss");
        assert_eq!(words(&both(bad)), "20–30 ms, 0.5% loss, 0.01% twice, 3% overtaken, 1.5 Mbit/s, queue 500 ms");
    }

    #[test]
    fn directions_that_differ_are_told_apart() {
        let up = OneWay { latency: 0.02, ..OneWay::default() };
        let down = OneWay {
            jitter: 0.004,
            jitter_distribution: Some(Distribution::Pareto),
            gilbert_elliott: Some(GilbertElliott { p: 0.01, r: 0.24, h: 0.0, k: 1.0 }),
            mtu: Some(1280),
            oversized: Some(Oversized::Drop),
            ..up
        };
        let link = Link { up, down: Some(down) };
        assert_eq!(brief(&link), "up 20 ms; down 20 ms + 4 ms on average, 4% loss in bursts");
        assert_eq!(
            words(&link),
            "up 20 ms; down 20 ms + 4 ms on average, 4% loss in bursts, Pareto (Gilbert–Elliott: p 1%, r 24%, h 0%, \
             k 100%), MTU 1280: longer datagrams vanish"
        );
        assert_eq!(
            brief(&Link { up, down: Some(OneWay { bandwidth_bps: Some(1), ..up }) }),
            "20 ms",
            "the rest is not brief"
        );
    }
}
