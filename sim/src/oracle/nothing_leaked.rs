use scenarios::{Action, Machine, MachineAction, NetworkAction, Scenario, WorldAction};

use crate::event::{Census, Event, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

#[derive(Default)]
pub(crate) struct NothingLeaked {
    was_counted: bool,
}

impl Oracle for NothingLeaked {
    const SLUG: &'static str = "nothing-leaked";
    const PROMISE: &'static str = "After all clients have left and the server has shut down, nothing remains: no task, socket, connection, room or queued message.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let What::Census(census) = &event.what else { return };
        self.was_counted = true;
        // Packets in flight at the end have no receiver left; they are judged by `packet-conservation`.
        let Census { tasks, sockets, packets_in_flight: _, connections, rooms, queued_messages } = census;
        let connections = if has_forgotten_relays(cx.scenario) { &0 } else { connections };
        let of_server = [
            (connections, "connections at the server"),
            (rooms, "rooms at the server"),
            (queued_messages, "messages in the server's queues"),
        ];
        // A program that is not part of Glare does not report what it holds, so that is not judged.
        let of_server = of_server.into_iter().filter(|_| cx.scenario.server.program.is_none());
        let left = [(tasks, "running tasks"), (sockets, "open sockets")].into_iter().chain(of_server);
        let left: Vec<_> = left.filter(|(n, _)| **n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !left.is_empty() {
            let left = left.join(", ");
            let message = format!("after all clients had left and the server had shut down, these remained: {left}");
            cx.violated(&[event.node], message);
        }
    }

    fn finish(&mut self, cx: &mut OracleCx<'_>) {
        if !self.was_counted {
            cx.violated(&[], "the record has no census, so what remained was not counted");
        }
    }
}

/// Whether the server may hold TCP connections of its TURN server whose clients have vanished without a FIN. It keeps them as
/// long as their allocations, which is longer than a run waits.
fn has_forgotten_relays(scenario: &Scenario) -> bool {
    let is_over_tcp = scenario.server.turn.is_some_and(|turn| turn.tcp);
    is_over_tcp
        && scenario.steps.iter().any(|step| {
            matches!(
                &step.action,
                Action::Machine(Machine::Actor(_), MachineAction::PowerLoss | MachineAction::Move(_))
                    | Action::Network(_, NetworkAction::Reboot(_))
                    | Action::World(WorldAction::Partition { .. })
            )
        })
}
