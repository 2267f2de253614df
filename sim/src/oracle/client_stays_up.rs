//! Glare's own client cannot end by itself without ending the run. A program of others can.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Event, Fault, MachineEvent, NodeId, ProgramEvent, What};
use crate::last_lines::LastLines;
use crate::oracle::cx::{Judges, Oracle, OracleCx};

#[derive(Default)]
pub(crate) struct ClientStaysUp {
    is_over: bool,
    /// Actors that were ordered to leave.
    leave: BTreeSet<NodeId>,
    last_lines: BTreeMap<NodeId, LastLines>,
}

impl Oracle for ClientStaysUp {
    const SLUG: &'static str = "client-stays-up";
    const PROMISE: &'static str = "An actor's program runs until it is ordered to leave, and then ends in time.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        self.is_over |= event.what == What::TearDown;
        if self.is_over || !cx.is_program(event.node) {
            return;
        }
        let name = cx.name(event.node).to_owned();
        match &event.what {
            What::Fault(Fault::Told { what }) if **what == *"leave" => {
                self.leave.insert(event.node);
            }
            What::Machine(MachineEvent::PowerLost) => {
                self.leave.remove(&event.node);
                self.last_lines.remove(&event.node);
            }
            What::Program(ProgramEvent::Printed { text }) => {
                self.last_lines.entry(event.node).or_default().push(text);
            }
            What::Program(ProgramEvent::Overdue) => {
                let message =
                    format!("{name}'s program was ordered to leave, did not end, ignored SIGTERM, and was killed");
                cx.violated(&[event.node], message);
            }
            What::Program(ProgramEvent::Ended { how }) => {
                let said = self.said(event.node);
                if !self.leave.remove(&event.node) {
                    let message = format!("{name}'s program ended {how}, and nobody had ordered it to leave{said}");
                    cx.violated(&[event.node], message);
                }
            }
            What::Program(ProgramEvent::Lost { why }) => {
                let said = self.said(event.node);
                cx.violated(&[event.node], format!("{name}'s program was lost: {why}{said}"));
            }
            _ => {}
        }
    }
}

impl ClientStaysUp {
    /// What the program printed last, which is forgotten: the next life prints anew.
    fn said(&mut self, node: NodeId) -> String {
        self.last_lines.remove(&node).unwrap_or_default().words()
    }
}
