//! A permission lasts 300 s, a channel 600 s, unless it is refreshed. RFC 8656 §9, §12.

use crate::event::Event;
use crate::oracle::cx::{Judges, Oracle, OracleCx};
use crate::oracle::relays::{Restarts, Wrong, findings};

#[derive(Default)]
pub(crate) struct TurnPermissionEnforced(Restarts);

impl Oracle for TurnPermissionEnforced {
    const SLUG: &'static str = "turn-permission-enforced";
    const PROMISE: &'static str =
        "A TURN server relays data only between a client and peers that the client has permitted.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        self.0.observe(event, cx);
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        for finding in findings(&self.0, cx).into_iter().filter(|finding| finding.wrong == Wrong::NotPermitted) {
            cx.violated(&[finding.server], finding.message);
        }
    }
}
