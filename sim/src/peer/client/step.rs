//! A command for a client, and what is recorded if it has no effect.

use std::sync::Arc;

use super::{Command, Moved};
use crate::event::{Fault, Line, NodeId, Recorder, What};

/// Why a command has no effect, as it follows a colon: `it is not in a call`.
pub(crate) type NoEffect = &'static str;

/// A command for a client. A command of a step that has no effect is recorded. That includes a command that is dropped,
/// because the program that it was for has ended.
#[derive(Debug)]
pub struct StepCommand {
    command: Command,
    /// The step that has not been carried out yet.
    step: Option<Step>,
}

#[derive(Debug)]
struct Step {
    line: usize,
    what: Arc<str>,
    recorder: Recorder,
    node: NodeId,
}

impl StepCommand {
    /// The command of a step on this line of the scenario's file. `what` is the command in words, and `node` the
    /// client's machine.
    pub(crate) fn new(command: Command, line: usize, what: Arc<str>, recorder: Recorder, node: NodeId) -> Self {
        Self { command, step: Some(Step { line, what, recorder, node }) }
    }

    /// A command to leave that does not belong to a step, because the scenario is over.
    pub(crate) fn leave() -> Self {
        Self { command: Command::Leave, step: None }
    }

    /// Tells a client that its machine has moved.
    pub(crate) fn moved(moved: Moved) -> Self {
        Self { command: Command::Moved(Box::new(moved)), step: None }
    }

    pub(crate) fn command(&self) -> &Command {
        &self.command
    }

    /// Records the outcome of the command.
    pub(crate) fn done(mut self, outcome: Result<(), NoEffect>) {
        if let (Some(step), Err(why)) = (self.step.take(), outcome) {
            step.record(why);
        }
    }
}

impl Drop for StepCommand {
    fn drop(&mut self) {
        if let Some(step) = self.step.take() {
            step.record("its program has ended");
        }
    }
}

impl Step {
    fn record(self, why: NoEffect) {
        let why = format!("cannot {}: {why}", self.what).into();
        self.recorder.write(self.node, What::Fault(Fault::NoEffect { line: Line(self.line), why }));
    }
}
