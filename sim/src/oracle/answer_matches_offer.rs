//! RFC 3264 §6. At the end, no client has sent more answers over a connection than it received offers there. When a
//! client accepts an answer, the offer that the answer was made for must still be pending; the ICE generations of both
//! show which offer that is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{ClientId, Event, Message, NodeId, PeerChange, PeerEvent, PeerName, SignalKind, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx};
use crate::oracle::signals::Origin;

/// A client and the id of its peer.
type Side = (NodeId, PeerName);

/// A signaling connection and the peer with which its client negotiates; `None` if the dialect does not name peers.
type Way = (usize, Option<ClientId>);

#[derive(Default)]
pub(crate) struct AnswerMatchesOffer {
    /// Number of offers received and of answers sent over a signaling connection, by peer.
    counts: BTreeMap<Way, (usize, usize)>,
    /// The ICE generations of the newest local offer and of the newest remote offer that was accepted.
    offers: BTreeMap<Side, [Arc<str>; 2]>,
    /// For each answer, by its own ICE generation: the generation of the offer that it answers.
    answers: BTreeMap<Arc<str>, Arc<str>>,
}

impl Oracle for AnswerMatchesOffer {
    const SLUG: &'static str = "answer-matches-offer";
    const PROMISE: &'static str = "Every answer belongs to the pending offer, and no offer is answered twice.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let (history, sent) = (&cx.model.history, &cx.model.signals.sent);
        match &event.what {
            What::Signaling(Signaling::Received(Message::Signal { peer, kind: SignalKind::Offer, .. })) => {
                let Some(connection) = history.connection_at(event.node, cx.now().index) else { return };
                let origin = cx.model.signals.origin(cx.now().index);
                if matches!(origin, Origin::Sent(number) if sent[number].node == event.node) {
                    // In a dialect with broadcasts, a client receives its own signals.
                    return;
                }
                // Counted for the true sender. A wrong sender in the message is the finding of
                // `sender-identity-stamped`.
                let from = match origin {
                    Origin::ByAnother(number) if sent[number].dialect.names_others => Some(&sent[number].from),
                    _ => peer.as_ref(),
                };
                self.counts.entry((connection, from.cloned())).or_default().0 += 1;
            }
            What::Signaling(Signaling::Sent(Message::Signal { peer, kind: SignalKind::Answer, .. })) => {
                let Some(connection) = history.connection_at(event.node, cx.now().index) else { return };
                self.counts.entry((connection, peer.clone())).or_default().1 += 1;
            }
            What::Peer(PeerEvent { peer, change: PeerChange::Described { local, kind, ufrag }, .. }) => {
                let offers = self.offers.entry((event.node, peer.clone())).or_default();
                match (local, kind) {
                    (true, SignalKind::Offer) => offers[0] = ufrag.clone(),
                    (false, SignalKind::Offer) => offers[1] = ufrag.clone(),
                    (true, _) => {
                        self.answers.insert(ufrag.clone(), offers[1].clone());
                    }
                    (false, _) => {
                        let made_for = self.answers.get(ufrag);
                        // Of a program only the signals are known, not whether it accepts what they carry.
                        if made_for == Some(&offers[0]) || cx.is_program(event.node) {
                            return;
                        }
                        let made_for = made_for.map_or("no offer".to_owned(), |ufrag| format!("offer `{ufrag}`"));
                        let (name, ours, who) = (cx.name(event.node), &offers[0], cx.who(peer));
                        let message = format!(
                            "{name} accepted an answer from {who} for its offer `{ours}`, but it was made for {made_for}"
                        );
                        cx.violated(&cx.with_owner(event.node, peer), message);
                    }
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        for ((connection, peer), (offers, answers)) in &self.counts {
            if answers > offers {
                let node = cx.model.history.connections[*connection].node;
                let from = peer.as_ref().map_or_else(|| "the other side".to_owned(), |peer| cx.who(peer));
                let name = cx.name(node);
                let message = format!("{name} received {offers} offers from {from}, but sent {answers} answers");
                cx.violated(&[node], message);
            }
        }
    }
}
