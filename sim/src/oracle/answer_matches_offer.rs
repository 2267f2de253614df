//! **An answer answers the offer that waits for it, and no offer is answered twice.** RFC 3264 §6.
//!
//! Over one connection nobody answers more offers than have come, in the end; and who takes an answer has the very offer open that it was made for, as told by the ICE
//! generations of both.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Event, Message, NodeId, PeerChange, PeerEvent, SignalKind, Signaling, What};
use crate::oracle::signals::Origin;
use crate::oracle::{Court, Oracle};

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
    fn slug(&self) -> &'static str {
        "answer-matches-offer"
    }

    fn observe(&mut self, event: &Event, court: &mut Court<'_>) {
        let (history, sent) = (&court.model.history, &court.model.signals.sent);
        match &event.what {
            What::Signaling(Signaling::Received(Message::Signal { peer, kind: SignalKind::Offer, .. })) => {
                let Some(connection) = history.connection_at(event.node, court.now().index) else { return };
                let origin = court.model.signals.origin(court.now().index);
                if matches!(origin, Origin::Sent(number) if sent[number].node == event.node) {
                    // Who broadcasts hears itself.
                    return;
                }
                // Whose it is, whatever the server says: that is another promise's.
                let from = match origin {
                    Origin::ByAnother(number) if sent[number].dialect.names_others() => Some(&sent[number].from),
                    _ => peer.as_ref(),
                };
                self.came.entry((connection, from.cloned())).or_default().0 += 1;
            }
            What::Signaling(Signaling::Sent(Message::Signal { peer, kind: SignalKind::Answer, .. })) => {
                let Some(connection) = history.connection_at(event.node, court.now().index) else { return };
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
                        let (name, ours, who) = (court.name(event.node), &offers[0], court.who(peer));
                        let message = format!(
                            "{name} took an answer of {who} to its offer `{ours}` that was made for {made_for}"
                        );
                        court.violated(&court.with_owner(event.node, peer), message);
                    }
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, court: &mut Court<'_>) {
        for ((connection, peer), (offers, answers)) in &self.came {
            if answers > offers {
                let node = court.model.history.connections[*connection].node;
                let to = peer.as_ref().map_or_else(|| "the other side".to_owned(), |peer| court.who(peer));
                let name = court.name(node);
                let message = format!("{name} sent {answers} answers to {to}, from where {offers} offers came");
                court.violated(&[node], message);
            }
        }
    }
}
