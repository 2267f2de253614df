//! A client program that does nothing breaks no other promise: nobody is in a room who could miss it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{Event, Fault, MachineEvent, NodeId, ProgramEvent, Signaling, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx, seconds};

/// Time within which a program connects to the signaling server, and then asks to join.
const PATIENCE: Duration = Duration::from_secs(10);

/// The programs that run and have not been ordered to leave.
#[derive(Default)]
pub(crate) struct ProgramsJoin(BTreeMap<NodeId, Progress>);

/// How far a program has come since its machine started.
struct Progress {
    started: Duration,
    /// Whether it has dialled the signaling server.
    has_dialled: bool,
    /// Since when it is connected.
    connected: Option<Duration>,
}

impl Oracle for ProgramsJoin {
    const SLUG: &'static str = "programs-join";
    const PROMISE: &'static str = "An actor's program connects to the signaling server and asks to join.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        if !cx.is_program(event.node) {
            return;
        }
        match &event.what {
            What::Machine(MachineEvent::Booted) => {
                let progress = Progress { started: event.at, has_dialled: false, connected: None };
                self.0.insert(event.node, progress);
            }
            // `client-stays-up` judges whether it may end.
            What::Machine(MachineEvent::PowerLost | MachineEvent::Ended)
            | What::Program(ProgramEvent::Ended { .. } | ProgramEvent::Lost { .. } | ProgramEvent::Overdue) => {
                self.0.remove(&event.node);
            }
            What::Fault(Fault::Told { what }) if **what == *"leave" => {
                self.0.remove(&event.node);
            }
            What::Signaling(signaling) => {
                let Some(progress) = self.0.get_mut(&event.node) else { return };
                match signaling {
                    Signaling::Connecting { .. } => progress.has_dialled = true,
                    Signaling::Connected => progress.connected = Some(event.at),
                    Signaling::Closed { .. } => progress.connected = None,
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let now = cx.now();
        for (node, Progress { started, has_dialled, connected }) in &self.0 {
            let is_due = |since: Duration| since + PATIENCE < now.time;
            let what = match connected {
                None if !has_dialled && is_due(*started) => {
                    format!(
                        "has been running since {} and has not connected to the signaling server",
                        seconds(*started)
                    )
                }
                Some(since) if is_due(*since) && !has_asked(*node, cx) => {
                    let since = seconds(*since);
                    format!(
                        "has been connected to the signaling server since {since} and has sent no request to join that can be read"
                    )
                }
                _ => continue,
            };
            cx.violated(&[*node], format!("{}'s program {what}", cx.name(*node)));
        }
    }
}

/// Whether a client has asked to join on the connection that it has now.
fn has_asked(node: NodeId, cx: &OracleCx<'_>) -> bool {
    let history = &cx.model.history;
    let connection = history.connection_at(node, cx.now().index).map(|connection| &history.connections[connection]);
    connection.is_none_or(|connection| !connection.asked.is_empty()) || history.stay_at(node, cx.now().index).is_some()
}
