//! Links as text.

use super::{Jitter, Link, OneWay, Queue};
use crate::value::{show, word};
use crate::write::{quoted, table};

/// The keys of a link that differ from `base`, as a TOML table.
pub(crate) fn differences(link: Link, base: Link) -> String {
    let (mut both, mut up, mut down) = (Vec::new(), Vec::new(), Vec::new());
    let ours = keys(&link.up).into_iter().zip(keys(&link.down));
    let bases = keys(&base.up).into_iter().zip(keys(&base.down));
    for ((ours, theirs), (base_up, base_down)) in ours.zip(bases) {
        let (differs_up, differs_down) = (ours != base_up, theirs != base_down);
        if ours == theirs && (differs_up || differs_down) {
            both.push(ours);
        } else {
            up.extend(differs_up.then_some(ours));
            down.extend(differs_down.then_some(theirs));
        }
    }
    for (name, keys) in [("up", up), ("down", down)] {
        if !keys.is_empty() {
            both.push((name, table(&keys)));
        }
    }
    table(&both)
}

/// All keys of a direction, with their values as TOML.
fn keys(way: &OneWay) -> Vec<(&'static str, String)> {
    let share = |ppm: u32| quoted(&format!("{ppm}ppm"));
    let jitter = match way.jitter {
        Jitter::Uniform { max } => quoted(&show(max)),
        Jitter::Normal { mean, deviation } => table(&[
            ("distribution", quoted("normal")),
            ("mean", quoted(&show(mean))),
            ("deviation", quoted(&show(deviation))),
        ]),
        Jitter::Pareto { mean } => table(&[("distribution", quoted("pareto")), ("mean", quoted(&show(mean)))]),
    };
    let burst_loss = way.burst_loss.map_or_else(
        || quoted("off"),
        |model| {
            let keys = [("p", model.p_ppm), ("r", model.r_ppm), ("h", model.h_ppm), ("k", model.k_ppm)];
            table(&keys.map(|(key, ppm)| (key, share(ppm))))
        },
    );
    let bandwidth = way.bandwidth_bps.map_or_else(|| "unlimited".to_owned(), |bits| format!("{bits}bit"));
    let queue = match way.queue {
        Queue::Time(time) => show(time),
        Queue::Bytes(bytes) => format!("{bytes}B"),
    };
    vec![
        ("latency", quoted(&show(way.latency))),
        ("jitter", jitter),
        ("loss", share(way.loss_ppm)),
        ("gilbert-elliott", burst_loss),
        ("corrupt", share(way.corrupt_ppm)),
        ("duplicate", share(way.duplicate_ppm)),
        ("reorder", share(way.reorder_ppm)),
        ("bandwidth", quoted(&bandwidth)),
        ("queue", quoted(&queue)),
        ("mtu", way.mtu.map_or_else(|| quoted("unlimited"), |bytes| bytes.to_string())),
        ("oversized", quoted(word(way.oversized))),
    ]
}
