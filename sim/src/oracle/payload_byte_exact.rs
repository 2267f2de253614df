use crate::event::Event;
use crate::oracle::cx::{Oracle, OracleCx, called};
use crate::oracle::signals::Origin;
use crate::rewritten::canonical;

/// Number of bytes shown on either side of the first difference.
const SHOWN: usize = 20;

#[derive(Default)]
pub(crate) struct PayloadByteExact;

impl Oracle for PayloadByteExact {
    const SLUG: &'static str = "payload-byte-exact";
    const PROMISE: &'static str = "A payload arrives as it was sent, byte for byte.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let Some(arrival) = cx.arrival(event) else { return };
        let Origin::Altered(number) = arrival.origin else { return };
        let sent = &cx.model.signals.sent[number];
        let (ours, theirs) = (sent.payload.as_bytes(), arrival.payload.as_bytes());
        let equal = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        // Many servers parse what they pass on. Only the protocol's author knows whether that is allowed.
        let hint = match canonical(&sent.payload).is_some_and(|value| Some(value) == canonical(arrival.payload)) {
            true => {
                "; both have the same JSON value: if the protocol allows that, its dialect says `payload = \"json\"`"
            }
            false => "",
        };
        let message = format!(
            "{} received {} from {} altered from byte {equal} on: sent `{}` ({} bytes), received `{}` ({} bytes){hint}",
            cx.name(event.node),
            called(sent.kind),
            cx.who(&sent.from),
            around(ours, equal),
            ours.len(),
            around(theirs, equal),
            theirs.len(),
        );
        cx.violated(&[event.node, sent.node], message);
    }
}

fn around(payload: &[u8], at: usize) -> String {
    let (from, to) = (at.saturating_sub(SHOWN), (at + SHOWN).min(payload.len()));
    String::from_utf8_lossy(&payload[from.min(to)..to]).into_owned()
}
