//! **A payload arrives as it was sent, byte for byte.**

use crate::event::Event;
use crate::oracle::signals::Origin;
use crate::oracle::{Court, Oracle, called};

/// Bytes shown on either side of the first that differs.
const SHOWN: usize = 20;

pub(crate) struct PayloadByteExact;

impl Oracle for PayloadByteExact {
    fn slug(&self) -> &'static str {
        "payload-byte-exact"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let Some(arrival) = court.arrival(event) else { return };
        let Origin::Altered(number) = arrival.origin else { return };
        let sent = &court.model.signals.sent[number];
        let (ours, theirs) = (sent.payload.as_bytes(), arrival.payload.as_bytes());
        let equal = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        let message = format!(
            "{} got {} from {} altered from byte {equal} on: sent `{}` ({} bytes), came `{}` ({} bytes)",
            court.name(event.node),
            called(sent.kind),
            court.who(&sent.from),
            around(ours, equal),
            ours.len(),
            around(theirs, equal),
            theirs.len(),
        );
        court.violated(&[event.node, sent.node], message);
    }
}

fn around(payload: &[u8], at: usize) -> String {
    let (from, to) = (at.saturating_sub(SHOWN), (at + SHOWN).min(payload.len()));
    String::from_utf8_lossy(&payload[from.min(to)..to]).into_owned()
}
