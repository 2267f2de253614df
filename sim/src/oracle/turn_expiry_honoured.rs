//! An allocation ends when its lifetime is over, or when its client gives it back. RFC 8656 §8.

use crate::event::Event;
use crate::oracle::cx::{Judges, Oracle, OracleCx};
use crate::oracle::relays::{Restarts, Wrong, findings};

#[derive(Default)]
pub(crate) struct TurnExpiryHonoured(Restarts);

impl Oracle for TurnExpiryHonoured {
    const SLUG: &'static str = "turn-expiry-honoured";
    const PROMISE: &'static str = "A TURN server relays nothing for an allocation that has ended.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        self.0.observe(event, cx);
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        for finding in findings(&self.0, cx).into_iter().filter(|finding| finding.wrong == Wrong::Ended) {
            cx.violated(&[finding.server], finding.message);
        }
    }
}
