//! The links of the simulated network, in words.

use crate::model::Link;

/// Latency and loss: `20–30 ms, 1% loss`.
pub(super) fn brief(link: &Link) -> String {
    let (least, most) = (link.latency * 1e3, (link.latency + link.jitter) * 1e3);
    let time = if link.jitter > 0.0 { format!("{least:.0}–{most:.0} ms") } else { format!("{least:.0} ms") };
    if link.loss > 0.0 { format!("{time}, {} loss", percent(link.loss)) } else { time }
}

/// All settings.
pub(super) fn words(link: &Link) -> String {
    let mut words = brief(link);
    for (share, what) in [(link.duplicate, "twice"), (link.reorder, "overtaken")] {
        if share > 0.0 {
            words.push_str(&format!(", {} {what}", percent(share)));
        }
    }
    if let Some(bps) = link.bandwidth_bps {
        let (number, unit) = match bps {
            1_000_000.. => (bps as f64 / 1e6, "Mbit/s"),
            1_000.. => (bps as f64 / 1e3, "kbit/s"),
            _ => (bps as f64, "bit/s"),
        };
        words.push_str(&format!(", {number} {unit}"));
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

    #[test]
    fn what_a_link_does_is_said_and_what_it_does_not_do_is_left_out() {
        let plain = Link { latency: 0.02, jitter: 0.0, loss: 0.0, duplicate: 0.0, reorder: 0.0, bandwidth_bps: None };
        assert_eq!((brief(&plain), words(&plain)), ("20 ms".to_owned(), "20 ms".to_owned()));
        let bad = Link {
            jitter: 0.01,
            loss: 0.005,
            duplicate: 0.000_1,
            reorder: 0.03,
            bandwidth_bps: Some(1_500_000),
            ..plain
        };
        assert_eq!(brief(&bad), "20–30 ms, 0.5% loss");
        assert_eq!(words(&bad), "20–30 ms, 0.5% loss, 0.01% twice, 3% overtaken, 1.5 Mbit/s");
    }
}
