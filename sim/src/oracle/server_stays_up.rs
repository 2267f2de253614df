//! The reference server cannot crash without ending the run. A program of others can.

use std::collections::BTreeMap;

use scenarios::Machine;

use crate::event::{Event, Fault, NodeId, NodeKind, ProgramEvent, What};
use crate::last_lines::LastLines;
use crate::oracle::cx::{Judges, Oracle, OracleCx};

#[derive(Default)]
pub(crate) struct ServerStaysUp {
    is_over: bool,
    programs: BTreeMap<NodeId, Program>,
}

/// The program on one machine.
#[derive(Default)]
struct Program {
    /// Whether a step of the scenario ended it.
    is_ended: bool,
    last_lines: LastLines,
}

impl Oracle for ServerStaysUp {
    const SLUG: &'static str = "server-stays-up";
    const PROMISE: &'static str = "The server's program runs until a step of the scenario ends it.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        if event.what == What::TearDown {
            self.is_over = true;
        }
        let is_about = matches!(event.what, What::Fault(_) | What::Program(_));
        // `client-stays-up` judges the programs of actors.
        if !is_about || cx.actor(event.node).is_some() {
            return;
        }
        let program = self.programs.entry(event.node).or_default();
        let wrong = match &event.what {
            What::Fault(Fault::Shutdown | Fault::PowerLoss) => {
                program.is_ended = true;
                return;
            }
            What::Fault(Fault::Boot) => {
                *program = Program::default();
                return;
            }
            What::Program(ProgramEvent::Printed { text }) => {
                program.last_lines.push(text);
                return;
            }
            What::Program(ProgramEvent::Ended { how }) => format!("ended {how}, and no step had ended it"),
            What::Program(ProgramEvent::Lost { why }) => format!("was lost: {why}"),
            _ => return,
        };
        if !self.is_over && !program.is_ended {
            let said = program.last_lines.words();
            let whose = match cx.record.nodes[usize::from(event.node.0)].kind {
                NodeKind::Machine(Machine::Server) => "the server's program".to_owned(),
                _ => format!("the program of {}", cx.name(event.node)),
            };
            cx.violated(&[event.node], format!("{whose} {wrong}{said}"));
        }
    }
}
