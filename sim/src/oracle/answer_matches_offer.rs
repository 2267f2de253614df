//! RFC 3264 §6. By the end nobody has answered more offers over one connection than arrived there. A client that
//! accepts an answer still has the very offer open that the answer was made for, according to the ICE generations of
//! both.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Event, Message, NodeId, PeerChange, PeerEvent, SignalKind, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx};
use crate::oracle::signals::Origin;

/// A client and what it calls the other side.
type Side = (NodeId, Arc<str>);

/// A signaling connection and whom its client negotiates with; `None` where the dialect names nobody.
type Way = (usize, Option<Arc<str>>);

#[derive(Default)]
pub(crate) struct AnswerMatchesOffer {
    /// Offers that came and answers that left over a signaling connection, by whom they are from and to.
    came: BTreeMap<Way, (usize, usize)>,
    /// The ICE generation of the newest own offer, and of the newest that was taken.
    offers: BTreeMap<Side, [Arc<str>; 2]>,
    /// By its own ICE generation, the generation of the offer that an answer was made for.
    answers: BTreeMap<Arc<str>, Arc<str>>,
}

impl Oracle for AnswerMatchesOffer {
    const SLUG: &'static str = "answer-matches-offer";
    const PROMISE: &'static str = "An answer answers the pending offer, and no offer is answered twice.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let (history, sent) = (&cx.model.history, &cx.model.signals.sent);
        match &event.what {
            What::Signaling(Signaling::Received(Message::Signal { peer, kind: SignalKind::Offer, .. })) => {
                let Some(connection) = history.connection_at(event.node, cx.now().index) else { return };
                let origin = cx.model.signals.origin(cx.now().index);
                if matches!(origin, Origin::Sent(number) if sent[number].node == event.node) {
                    // Who broadcasts hears itself.
                    return;
                }
                // Whose it is, whatever the server says: that is another promise's.
                let from = match origin {
                    Origin::ByAnother(number) if sent[number].dialect.names_others => Some(&sent[number].from),
                    _ => peer.as_ref(),
                };
                self.came.entry((connection, from.cloned())).or_default().0 += 1;
            }
            What::Signaling(Signaling::Sent(Message::Signal { peer, kind: SignalKind::Answer, .. })) => {
                let Some(connection) = history.connection_at(event.node, cx.now().index) else { return };
                self.came.entry((connection, peer.clone())).or_default().1 += 1;
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
                        if made_for == Some(&offers[0]) {
                            return;
                        }
                        let made_for =
                            made_for.map_or("no offer at all".to_owned(), |ufrag| format!("offer `{ufrag}`"));
                        let (name, ours, who) = (cx.name(event.node), &offers[0], cx.who(peer));
                        let message = format!(
                            "{name} took an answer of {who} to its offer `{ours}` that was made for {made_for}"
                        );
                        cx.violated(&cx.with_owner(event.node, peer), message);
                    }
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        for ((connection, peer), (offers, answers)) in &self.came {
            if answers > offers {
                let node = cx.model.history.connections[*connection].node;
                let to = peer.as_ref().map_or_else(|| "the other side".to_owned(), |peer| cx.who(peer));
                let name = cx.name(node);
                let message = format!("{name} sent {answers} answers to {to}, from where {offers} offers came");
                cx.violated(&[node], message);
            }
        }
    }
}
