//! **When everybody has left and the server was shut down, nothing is left: no task, socket, connection, room or queued message.**

use crate::event::{Census, Event, What};
use crate::oracle::{Court, Oracle};

#[derive(Default)]
pub(crate) struct NothingLeaked {
    was_counted: bool,
}

impl Oracle for NothingLeaked {
    fn slug(&self) -> &'static str {
        "nothing-leaked"
    }

    fn needs_a_simulation(&self) -> bool {
        true
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let What::Census(census) = &event.what else { return };
        self.was_counted = true;
        // Packets that are still under way are on their way to nobody; `packet-conservation` counts them.
        let Census { tasks, sockets, packets_in_flight: _, connections, rooms, queued_messages } = census;
        let left = [
            (tasks, "tasks that run"),
            (sockets, "open sockets"),
            (connections, "signaling connections at the server"),
            (rooms, "rooms at the server"),
            (queued_messages, "messages in the server's queues"),
        ];
        let left: Vec<_> = left.iter().filter(|(n, _)| **n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !left.is_empty() {
            let message = format!("after everybody had left there were still {}", left.join(", "));
            court.violated(&[event.node], message);
        }
    }

    fn finish(&mut self, court: &mut Court<'_>) {
        if !self.was_counted {
            court.violated(&[], "nobody counted what was left: the record has no census");
        }
    }
}
