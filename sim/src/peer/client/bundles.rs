//! Descriptions that are held back until their candidates are gathered, for dialects without a message for candidates,
//! as in implementations that do not trickle (RFC 8838 §3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::PeerName;
use crate::peer::negotiation::OutgoingSignal;

/// How long a description waits for its candidates: enough for a response of the STUN server over a slow path.
const GATHERING: Duration = Duration::from_millis(500);

/// A description with the candidates that were gathered for it.
#[derive(Debug)]
pub(super) struct Bundle {
    description: OutgoingSignal,
    candidates: Vec<Arc<str>>,
    until: Instant,
}

/// The descriptions that wait, by their receivers.
#[derive(Debug, Default)]
pub(super) struct Bundles(BTreeMap<PeerName, Bundle>);

impl Bundles {
    /// Holds a description back. Returns the one that waited for the same receiver.
    pub(super) fn hold(&mut self, description: OutgoingSignal, now: Instant) -> Option<Bundle> {
        let to = description.to.clone();
        self.0.insert(to, Bundle { description, candidates: Vec::new(), until: now + GATHERING })
    }

    /// Adds a candidate to its description. One that is gathered too late is lost.
    pub(super) fn add(&mut self, candidate: &OutgoingSignal) {
        if let Some(bundle) = self.0.get_mut(&candidate.to) {
            bundle.candidates.push(candidate.payload.clone());
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.values().map(|bundle| bundle.until).min()
    }

    /// A description that has waited long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Bundle> {
        let due = self.0.iter().find(|(_, bundle)| bundle.until <= now)?.0.clone();
        self.0.remove(&due)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The payload of a bundle: each part is what a trickling dialect would send by itself.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    description: &'a RawValue,
    #[serde(borrow)]
    candidates: Vec<&'a RawValue>,
}

impl Bundle {
    /// The signal that carries it: `{"description":…,"candidates":[…]}`.
    pub(super) fn into_signal(self) -> OutgoingSignal {
        let OutgoingSignal { to, kind, payload } = self.description;
        let payload = format!(r#"{{"description":{payload},"candidates":[{}]}}"#, self.candidates.join(",")).into();
        OutgoingSignal { to, kind, payload }
    }

    /// The description and the candidates in a payload; `None` if it is no bundle.
    pub(super) fn read(payload: &str) -> Option<(&str, impl Iterator<Item = &str>)> {
        let Parts { description, candidates } = serde_json::from_str(payload).ok()?;
        Some((description.get(), candidates.into_iter().map(RawValue::get)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SignalKind;

    fn signal(kind: SignalKind, payload: &str) -> OutgoingSignal {
        OutgoingSignal { to: PeerName::Other, kind, payload: payload.into() }
    }

    #[test]
    fn a_description_goes_with_its_candidates_byte_for_byte() {
        let (mut bundles, now) = (Bundles::default(), crate::peer::client::now());
        bundles.add(&signal(SignalKind::IceCandidate, "0"));
        assert!(bundles.hold(signal(SignalKind::Offer, r#"{"z":1,"a":1.0}"#), now).is_none());
        bundles.add(&signal(SignalKind::IceCandidate, "1"));
        bundles.add(&signal(SignalKind::IceCandidate, "null"));
        assert!(bundles.take_due(now).is_none());
        let sent = bundles.take_due(now + GATHERING).expect("it is due").into_signal();
        assert_eq!(sent, signal(SignalKind::Offer, r#"{"description":{"z":1,"a":1.0},"candidates":[1,null]}"#));
        let (description, candidates) = Bundle::read(&sent.payload).expect("a bundle");
        assert_eq!((description, candidates.collect::<Vec<_>>()), (r#"{"z":1,"a":1.0}"#, vec!["1", "null"]));
        assert!(Bundle::read("{}").is_none() && bundles.deadline().is_none());
    }

    #[test]
    fn a_new_description_sends_the_one_before_it() {
        let (mut bundles, now) = (Bundles::default(), crate::peer::client::now());
        assert!(bundles.hold(signal(SignalKind::Offer, "1"), now).is_none());
        let earlier = bundles.hold(signal(SignalKind::Answer, "2"), now).expect("the offer waited");
        assert_eq!(&*earlier.into_signal().payload, r#"{"description":1,"candidates":[]}"#);
    }
}
