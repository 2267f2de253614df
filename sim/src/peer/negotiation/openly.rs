//! Offers to nobody in particular, for dialects in which the server chooses who receives an offer. Until an answer shows
//! who that is, the connection has a name that stands for its peer, and what happens to it is not reported.

use std::time::Instant;

use super::Negotiation;
use super::payload::Payload;
use crate::event::{Closed, PeerName};
use crate::peer::stack::Description;

impl Negotiation {
    /// Makes all offers open ones: no connection is offered again to a peer by its name, and ICE is not restarted.
    pub(crate) fn offers_openly_only(&mut self) {
        self.openly_only = true;
    }

    /// Opens a connection by an offer to nobody in particular. `open` stands for the peer until
    /// [`adopt`](Self::adopt) names it.
    pub(crate) fn offer_openly(&mut self, open: &PeerName, now: Instant) {
        self.unnamed.insert(open.clone(), Vec::new());
        self.offer(open, now);
    }

    /// Gives the connection of an open offer to the peer that has answered it. Returns false if the peer's other
    /// connection stays instead: if two open offers cross, both sides keep that of the greater session.
    pub(crate) fn adopt(&mut self, open: &PeerName, peer: &PeerName, answer: &str, now: Instant) -> bool {
        let Some(session) = self.connection(open).map(|connection| connection.session.clone()) else { return false };
        let other_life = self.is_of_other_life(peer, answer);
        let stays = self
            .connection(peer)
            .is_some_and(|other| !other_life && !other.is_open() && !other.offerer && other.session >= session);
        if stays {
            self.end(open, Closed::Replaced, now);
            return false;
        }
        self.close(peer, Closed::Replaced, now);
        let connection = self.remotes.remove(open).and_then(|remote| remote.connection);
        self.demux.rename(open, peer);
        let remote = self.remotes.entry(peer.clone()).or_default();
        remote.attempts += 1;
        (remote.connection, remote.offer_again) = (connection, None);
        for change in self.unnamed.remove(open).unwrap_or_default() {
            self.note(peer, change);
        }
        true
    }

    /// Whether a description comes from another life of a peer than the connection to it: its certificate is another.
    pub(crate) fn is_of_other_life(&mut self, peer: &PeerName, description: &str) -> bool {
        let Ok(Payload { body, .. }) = Payload::<Description>::from_json(description) else { return false };
        self.connection(peer).is_some_and(|connection| connection.has_other_certificate(&body))
    }
}
