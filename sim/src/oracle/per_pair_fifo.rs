use std::collections::BTreeMap;

use crate::event::{ClientId, Event};
use crate::oracle::cx::{Oracle, OracleCx, called, seconds};
use crate::oracle::signals::Origin;

/// The newest signal that arrived, by the sender's id and the receiver's connection.
#[derive(Default)]
pub(crate) struct PerPairFifo(BTreeMap<(ClientId, usize), usize>);

impl Oracle for PerPairFifo {
    const SLUG: &'static str = "per-pair-fifo";
    const PROMISE: &'static str = "Signals from one client to another arrive in the order in which they were sent.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let Some(arrival) = cx.arrival(event) else { return };
        let Origin::Sent(number) = arrival.origin else { return };
        let Some(connection) = cx.model.history.connection_at(event.node, cx.now().index) else { return };
        let sent = &cx.model.signals.sent[number];
        let newest = self.0.entry((sent.from.clone(), connection)).or_insert(number);
        if *newest <= number {
            *newest = number;
            return;
        }
        let before = &cx.model.signals.sent[*newest];
        let message = format!(
            "{} received {} that {} sent at {} after {} sent at {}",
            cx.name(event.node),
            called(sent.kind),
            cx.who(&sent.from),
            seconds(sent.at.time),
            called(before.kind),
            seconds(before.at.time),
        );
        cx.violated(&[event.node, sent.node], message);
    }
}
