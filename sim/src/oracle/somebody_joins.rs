//! A run in which nobody gets in shows nothing about the server: every other oracle is silent about clients that are not
//! there. So a wrong path, which the server answers with 404, must not look like a server that does what it should.
//!
//! Not for real sockets: there `signaling-kept` judges every attempt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scenarios::Machine;

use crate::event::{Event, Fault, NodeId, NodeKind, Signaling, What};
use crate::oracle::connection_kept::has_poor_link;
use crate::oracle::cx::{Judges, Oracle, OracleCx, seconds};

/// Time within which a server answers an opening handshake. A client gives up after 10 s; this is for the last attempt.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct SomebodyJoins {
    /// Whether packets are held back.
    is_partitioned: bool,
    /// The newest attempt of each client that has not failed yet.
    attempts: BTreeMap<NodeId, Attempt>,
    /// What became of the attempts that no fault disturbed.
    failed: BTreeMap<NodeId, Failed>,
}

/// A client's attempt to get in: from dialling until its connection is closed.
struct Attempt {
    since: Duration,
    is_open: bool,
    /// Whether a fault may be the reason if it fails.
    is_disturbed: bool,
}

struct Failed {
    count: usize,
    /// Why the last one failed.
    why: Arc<str>,
}

impl Oracle for SomebodyJoins {
    const SLUG: &'static str = "somebody-joins";
    const PROMISE: &'static str = "At least one client gets into a room, unless faults keep every client out.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        // Somebody joins at some time: nothing needs to be noted.
        if !cx.model.history.stays.is_empty() {
            return;
        }
        match &event.what {
            What::Fault(Fault::Partition { .. }) => {
                self.is_partitioned = true;
                self.disturb(|_| true);
            }
            What::Fault(Fault::Heal) => self.is_partitioned = false,
            What::Fault(Fault::Told { .. } | Fault::NoEffect { .. } | Fault::NoPacket { .. }) => {}
            // What happens to one client says nothing about the others.
            What::Fault(Fault::SignalingDropped | Fault::Suspend | Fault::Resume | Fault::Move { .. }) => {
                self.disturb(|node| node == event.node);
            }
            What::Fault(_) if cx.actor(event.node).is_some() => self.disturb(|node| node == event.node),
            What::Fault(_) => self.disturb(|_| true),
            What::Machine(_) if is_server(event.node, cx) => self.disturb(|_| true),
            // Who is gone does not wait for an answer.
            What::Machine(_) => {
                self.attempts.remove(&event.node);
            }
            What::Signaling(Signaling::Connecting { .. }) => {
                let is_disturbed = self.is_partitioned || !cx.model.serves();
                let attempt = Attempt { since: event.at, is_open: false, is_disturbed };
                self.attempts.insert(event.node, attempt);
            }
            What::Signaling(Signaling::Connected) => {
                self.attempts.entry(event.node).and_modify(|attempt| attempt.is_open = true);
            }
            What::Signaling(Signaling::Closed { code, reason }) => {
                let Some(attempt) = self.attempts.remove(&event.node) else { return };
                if attempt.is_disturbed || (*code, &**reason) == (Some(1000), "left") {
                    return;
                }
                let why: Arc<str> = match (code, reason.is_empty()) {
                    (Some(code), true) => format!("the server closed the connection with {code}").into(),
                    (Some(code), false) => format!("the server closed the connection with {code}: {reason}").into(),
                    (None, _) => reason.clone(),
                };
                let count = self.failed.get(&event.node).map_or(0, |failed| failed.count) + 1;
                self.failed.insert(event.node, Failed { count, why });
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        if !cx.model.history.stays.is_empty() {
            return;
        }
        let now = cx.time();
        for (node, attempt) in &self.attempts {
            if !attempt.is_open && !attempt.is_disturbed && attempt.since + PATIENCE < now {
                let why = format!("since {} the server has not answered the opening handshake", seconds(attempt.since));
                self.failed.entry(*node).or_insert(Failed { count: 1, why: why.into() });
            }
        }
        self.failed.retain(|node, _| cx.actor(*node).is_none_or(|actor| !has_poor_link(&[actor], cx)));
        let Some((first, Failed { count, why })) = self.failed.iter().next() else { return };
        let nodes: Vec<NodeId> = self.failed.keys().copied().collect();
        let tried = if *count == 1 { "tried once".to_owned() } else { format!("tried {count} times") };
        cx.violated(&nodes, format!("no client joined: {} {tried}, {why}", cx.name(*first)));
    }
}

impl SomebodyJoins {
    /// Notes that a fault may be the reason why the current attempts of some clients fail.
    fn disturb(&mut self, is_concerned: impl Fn(NodeId) -> bool) {
        for (node, attempt) in &mut self.attempts {
            attempt.is_disturbed |= is_concerned(*node);
        }
    }
}

fn is_server(node: NodeId, cx: &OracleCx<'_>) -> bool {
    cx.record.nodes[usize::from(node.0)].kind == NodeKind::Machine(Machine::Server)
}
