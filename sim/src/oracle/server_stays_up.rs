//! The reference server cannot crash without ending the run. A program of others can.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{Event, Fault, ProgramEvent, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

/// Lines of the program that the message repeats.
const LINES: usize = 6;

#[derive(Default)]
pub(crate) struct ServerStaysUp {
    /// Whether a step of the scenario ended the program, or the scenario is over.
    is_expected: bool,
    last_lines: VecDeque<Arc<str>>,
}

impl Oracle for ServerStaysUp {
    const SLUG: &'static str = "server-stays-up";
    const PROMISE: &'static str = "The server's program runs until a step of the scenario ends it.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        match &event.what {
            What::TearDown => self.is_expected = true,
            What::Fault(Fault::Shutdown | Fault::PowerLoss) if cx.actor(event.node).is_none() => {
                self.is_expected = true
            }
            What::Fault(Fault::Boot) if cx.actor(event.node).is_none() => {
                self.is_expected = false;
                self.last_lines.clear();
            }
            // `client-stays-up` judges the programs of actors.
            What::Program(_) if cx.actor(event.node).is_some() => {}
            What::Program(ProgramEvent::Printed { text }) => {
                if self.last_lines.len() == LINES {
                    self.last_lines.pop_front();
                }
                self.last_lines.push_back(text.clone());
            }
            What::Program(ProgramEvent::Ended { how }) if !self.is_expected => {
                let message = format!("the server's program ended {how}, and no step had ended it{}", self.said());
                cx.violated(&[event.node], message);
            }
            What::Program(ProgramEvent::Lost { why }) if !self.is_expected => {
                cx.violated(&[event.node], format!("the server's program was lost: {why}{}", self.said()));
            }
            _ => {}
        }
    }
}

impl ServerStaysUp {
    fn said(&self) -> String {
        match &self.last_lines {
            lines if lines.is_empty() => "; it has printed nothing".to_owned(),
            lines => {
                let lines: Vec<_> = lines.iter().map(|line| format!("“{line}”")).collect();
                format!("; it printed last: {}", lines.join(" / "))
            }
        }
    }
}
