use crate::event::{Event, ProgramEvent, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx};

#[derive(Default)]
pub(crate) struct ShutdownObeyed {
    is_over: bool,
}

impl Oracle for ShutdownObeyed {
    const SLUG: &'static str = "shutdown-obeyed";
    const PROMISE: &'static str = "A server's program that receives SIGTERM ends within 30 s.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        self.is_over |= event.what == What::TearDown;
        // Whether a client leaves in time is judged by `client-stays-up`.
        if !self.is_over && cx.actor(event.node).is_none() && event.what == What::Program(ProgramEvent::Overdue) {
            let message = "the server's program received SIGTERM and was still running 30 s later: it was killed";
            cx.violated(&[event.node], message);
        }
    }
}
