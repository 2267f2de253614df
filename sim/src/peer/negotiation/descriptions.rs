//! Offers, answers and candidates: which description wins when two cross, and which description a candidate belongs to.

use std::sync::Arc;
use std::time::Instant;

use super::Negotiation;
use super::payload::Payload;
use crate::event::{Closed, PeerChange, PeerName, SignalKind};
use crate::peer::stack::{Description, DescriptionKind, LocalCandidate, StackError, Trickled};

/// Maximum number of candidates that are kept of a peer whose offer has not arrived.
pub(super) const EARLY_MAX: usize = 64;

impl Negotiation {
    pub(super) fn on_offer(
        &mut self,
        from: &PeerName,
        payload: &Payload<Description>,
        now: Instant,
    ) -> Result<(), StackError> {
        // The other side sent it before it learned that this side had ended the connection.
        if self.ended.get(from).is_some_and(|ended| ended.contains(&payload.session)) {
            self.note(from, PeerChange::Stale { kind: SignalKind::Offer });
            return Ok(());
        }
        match self.connection(from) {
            // Glare. The side that opened the connection is impolite: its offer stands, and the other side rolls back
            // its own. If both sides opened one, the greater session wins, which both can determine.
            Some(connection)
                if connection.have_local_offer
                    && connection.offerer
                    && (connection.session >= payload.session || connection.remote_ufrag().is_some()) =>
            {
                self.note(from, PeerChange::Stale { kind: SignalKind::Offer });
                return Ok(());
            }
            Some(connection) if connection.session == payload.session => {
                if connection.have_local_offer {
                    connection.roll_back(now)?;
                    self.note(from, PeerChange::RolledBack);
                }
            }
            connection => {
                if connection.is_some_and(|connection| connection.have_local_offer) {
                    self.note(from, PeerChange::RolledBack);
                }
                self.close(from, Closed::Replaced, now);
                self.open(from, false, Some(payload.session.clone()), now)?;
            }
        }
        self.take_description(from, &payload.body, now)?;
        self.describe(from, DescriptionKind::Answer, now)?;
        self.on_stable(from, now);
        Ok(())
    }

    pub(super) fn on_answer(
        &mut self,
        from: &PeerName,
        payload: &Payload<Description>,
        now: Instant,
    ) -> Result<(), StackError> {
        match self.connection(from) {
            Some(connection) if connection.have_local_offer && connection.session == payload.session => {
                self.take_description(from, &payload.body, now)?;
                self.on_stable(from, now);
            }
            _ => self.note(from, PeerChange::Stale { kind: SignalKind::Answer }),
        }
        Ok(())
    }

    /// Called when no local offer is pending any more: restarts ICE or offers a new track if that had to wait.
    fn on_stable(&mut self, peer: &PeerName, now: Instant) {
        let Some(connection) = self.connection(peer) else { return };
        let offer_due = std::mem::take(&mut connection.offer_due);
        if connection.restart_due {
            self.restart_ice(peer, now);
        } else if offer_due {
            self.offer_change(peer, now);
        }
    }

    /// Sets a remote description, and then adds the candidates that arrived before it.
    fn take_description(&mut self, from: &PeerName, description: &Description, now: Instant) -> Result<(), StackError> {
        let Some(connection) = self.connection(from) else { return Ok(()) };
        connection.set_remote(description, now)?;
        let early = std::mem::take(&mut connection.early);
        let (kind, ufrag) = (description.kind.into(), description.ufrag());
        self.note(from, PeerChange::Described { local: false, kind, ufrag });
        for candidate in early {
            self.take_candidate(from, candidate)?;
        }
        Ok(())
    }

    pub(super) fn on_candidate(&mut self, from: &PeerName, payload: Payload<Trickled>) -> Result<(), StackError> {
        match self.connection(from) {
            Some(connection) if connection.session == payload.session => self.take_candidate(from, payload.body),
            _ => {
                let early = &mut self.remotes.entry(from.clone()).or_default().early;
                if early.len() < EARLY_MAX {
                    early.push((payload.session, payload.body));
                    self.note(from, PeerChange::CandidateQueued);
                }
                Ok(())
            }
        }
    }

    /// Adds a candidate if it belongs to the newest remote description. Queues it if its description has not arrived
    /// yet, and drops it if its description has been replaced.
    fn take_candidate(&mut self, from: &PeerName, candidate: Trickled) -> Result<(), StackError> {
        let Some(connection) = self.connection(from) else { return Ok(()) };
        let newest = connection.remote_ufrag().cloned();
        let named = candidate.username_fragment.as_deref().map(Arc::<str>::from);
        match (named.or_else(|| newest.clone()), newest) {
            (Some(ufrag), Some(newest)) if ufrag == newest => {
                connection.add_remote_candidate(&candidate)?;
                if let Some(candidate) = candidate.parse() {
                    self.note(from, PeerChange::Candidate { local: false, candidate, ufrag });
                }
            }
            (Some(ufrag), Some(_)) if connection.remote_ufrags.contains(&ufrag) => {
                self.note(from, PeerChange::Stale { kind: SignalKind::IceCandidate });
            }
            _ => {
                connection.early.push(candidate);
                self.note(from, PeerChange::CandidateQueued);
            }
        }
        Ok(())
    }

    /// Sends a local description. If that starts a new ICE generation, also sends the candidates that are already
    /// known.
    pub(super) fn describe(&mut self, peer: &PeerName, kind: DescriptionKind, now: Instant) -> Result<(), StackError> {
        let Some(connection) = self.connection(peer) else { return Ok(()) };
        let (description, is_new) = connection.describe(kind, now)?;
        let ufrag = connection.local_ufrag.clone();
        if connection.session.is_empty() {
            connection.session = ufrag.clone();
        }
        let payload = Payload { session: connection.session.clone(), body: description };
        self.note(peer, PeerChange::Described { local: true, kind: kind.into(), ufrag: ufrag.clone() });
        self.signal(peer, kind.into(), payload.to_json());
        if !is_new {
            return Ok(());
        }
        self.demux.add_ufrag(ufrag, peer);
        self.wants_candidates = true;
        self.candidates.retain(|known| known.until.is_none_or(|until| now < until));
        let known: Vec<_> = self.candidates.iter().map(|known| known.candidate).collect();
        known.into_iter().try_for_each(|candidate| self.add_local(peer, candidate))
    }

    /// Adds a local candidate to a connection, and sends it to the peer.
    pub(super) fn add_local(&mut self, peer: &PeerName, candidate: LocalCandidate) -> Result<(), StackError> {
        let names_section = self.names_sections;
        let Some(connection) = self.connection(peer) else { return Ok(()) };
        let trickled = connection.add_local(candidate, names_section)?;
        self.trickle(peer, trickled);
        Ok(())
    }

    /// Sends a local candidate to the peer.
    pub(super) fn trickle(&mut self, peer: &PeerName, trickled: Trickled) {
        let Some(connection) = self.connection(peer) else { return };
        let (session, newest) = (connection.session.clone(), connection.local_ufrag.clone());
        if let Some(candidate) = trickled.parse() {
            let ufrag = trickled.username_fragment.as_deref().map_or(newest, Arc::from);
            self.note(peer, PeerChange::Candidate { local: true, candidate, ufrag });
        }
        self.signal(peer, SignalKind::IceCandidate, Payload { session, body: trickled }.to_json());
    }
}
