//! Not for simulations, which crash servers and lose mappings on purpose. On real sockets the server is expected to be
//! there all the time. If it is not, clients reconnect, and that hides the outage from every other oracle. A connection
//! may break if packets were held back on its path, or if its client stood still.

use std::collections::BTreeSet;

use scenarios::Machine;

use crate::event::{Event, Fault, NodeId, NodeKind, Signaling, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

#[derive(Default)]
pub(crate) struct SignalingKept {
    is_over: bool,
    /// Clients that are cut off.
    cut: BTreeSet<NodeId>,
    /// Clients that were cut off or stood still at some time since they dialled.
    hurt: BTreeSet<NodeId>,
}

impl Oracle for SignalingKept {
    const SLUG: &'static str = "signaling-kept";
    const PROMISE: &'static str =
        "Every client that dials is admitted and stays connected, unless the scenario breaks the connection.";
    const JUDGES: Judges = Judges::RealSockets;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        match &event.what {
            What::TearDown => self.is_over = true,
            What::Fault(Fault::Partition { from, to, .. }) => {
                let is_client =
                    |node: &&NodeId| cx.record.nodes[usize::from(node.0)].kind != NodeKind::Machine(Machine::Server);
                self.cut.extend(from.iter().chain(to).filter(is_client));
                self.hurt.extend(&self.cut);
            }
            What::Fault(Fault::Heal) => self.cut.clear(),
            // A page that stands still answers no pings.
            What::Fault(Fault::Suspend) => {
                self.hurt.insert(event.node);
            }
            What::Signaling(Signaling::Connecting { .. }) if !self.cut.contains(&event.node) => {
                self.hurt.remove(&event.node);
            }
            What::Signaling(Signaling::Closed { code, reason }) if !self.is_over => {
                let by_itself = matches!((code, &**reason), (Some(1000), "left") | (None, "torn by the scenario"));
                if by_itself || self.hurt.contains(&event.node) {
                    return;
                }
                let connection = cx.model.history.connection_at(event.node, cx.now().index - 1);
                let connections = &cx.model.history.connections;
                // A server may close the connection of a client that it has refused.
                if connection.is_some_and(|connection| connections[connection].refused.is_some_and(|at| at < cx.now()))
                {
                    return;
                }
                let was_open = connection.is_some();
                let what = if was_open { "lost" } else { "could not open" };
                let why = match (code, reason.is_empty()) {
                    (Some(code), true) => format!("the server closed with {code}"),
                    (Some(code), false) => format!("the server closed with {code}: {reason}"),
                    (None, _) => reason.to_string(),
                };
                let message = format!("{} {what} its signaling connection: {why}", cx.name(event.node));
                cx.violated(&[event.node], message);
            }
            _ => {}
        }
    }
}
