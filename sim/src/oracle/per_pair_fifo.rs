//! **Signals of one client to another arrive in the order in which they were sent.**

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Event;
use crate::oracle::signals::Origin;
use crate::oracle::{Court, Oracle, called, seconds};

/// The newest signal that came, by the sender's id and the receiver's connection.
#[derive(Default)]
pub(crate) struct PerPairFifo(BTreeMap<(Arc<str>, usize), usize>);

impl Oracle for PerPairFifo {
    fn slug(&self) -> &'static str {
        "per-pair-fifo"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let Some(arrival) = court.arrival(event) else { return };
        let Origin::Sent(number) = arrival.origin else { return };
        let Some(connection) = court.model.history.connection_at(event.node, court.now().index) else { return };
        let sent = &court.model.signals.sent[number];
        let newest = self.0.entry((sent.from.clone(), connection)).or_insert(number);
        if *newest <= number {
            *newest = number;
            return;
        }
        let before = &court.model.signals.sent[*newest];
        let message = format!(
            "{} got {} that {} sent at {} after {} sent at {}",
            court.name(event.node),
            called(sent.kind),
            court.who(&sent.from),
            seconds(sent.at.time),
            called(before.kind),
            seconds(before.at.time),
        );
        court.violated(&[event.node, sent.node], message);
    }
}
