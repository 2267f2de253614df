//! Without the keys of the users a signature cannot be checked, but it can be missing. RFC 8656 §5.

use crate::event::Event;
use crate::oracle::cx::{Judges, Oracle, OracleCx};
use crate::oracle::relays::{Restarts, Wrong, findings};

#[derive(Default)]
pub(crate) struct NoOpenRelay(Restarts);

impl Oracle for NoOpenRelay {
    const SLUG: &'static str = "no-open-relay";
    const PROMISE: &'static str = "A TURN server grants nothing to a request that is not signed.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        self.0.observe(event, cx);
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        for finding in findings(&self.0, cx).into_iter().filter(|finding| finding.wrong == Wrong::Unsigned) {
            cx.violated(&[finding.server], finding.message);
        }
    }
}
