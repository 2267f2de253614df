//! Which parts of a scenario the failure needs: each is taken away once.

use scenarios::{Scenario, show_time};

use super::{Search, edit};

/// The faults and the packets of the best scenario that the failure needs, as in the file: `power-loss at 5s`,
/// `stun-request 2 from ana to ben: lost`.
pub(super) fn parts(search: &mut Search<'_>) -> Vec<String> {
    let best = search.best.clone();
    let text = scenarios::write(&best);
    let mut needed = Vec::new();
    for (index, step) in best.steps.iter().enumerate().filter(|(_, step)| edit::is_fault(&step.action)) {
        let mut without = best.clone();
        without.steps.remove(index);
        if is_needed(search, without) {
            let verb = key_after(&text, step.line, "do").unwrap_or_default();
            needed.push(format!("{verb} at {}", show_time(step.at)));
        }
    }
    for (index, fate) in best.packets.iter().enumerate() {
        let mut without = best.clone();
        without.packets.remove(index);
        if is_needed(search, without) {
            let packet = fate.packet;
            let (from, to) = (best.machine_name(packet.from), best.machine_name(packet.to));
            let (kind, number) = (packet.kind.name(), packet.number);
            let fate_name = key_after(&text, fate.line, "fate").unwrap_or_default();
            needed.push(format!("{kind} {number} from {from} to {to}: {fate_name}"));
        }
    }
    needed
}

/// Whether the promise holds in a scenario from which something was taken away.
fn is_needed(search: &mut Search<'_>, mut without: Scenario) -> bool {
    edit::tidy(&mut without);
    search.keeps(&without)
}

/// The text of a key in the element that begins on a line.
fn key_after(text: &str, line: usize, key: &str) -> Option<String> {
    let mut lines = text.lines().skip(line).take_while(|line| !line.starts_with("[["));
    let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
    Some(value.trim_matches('"').to_owned())
}
