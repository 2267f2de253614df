//! How connections begin and end: how long to wait for progress, when to hang up, and when to offer again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{self, Connection};
use super::media::Sources;
use super::payload::{Nothing, Payload};
use super::{ENDED_MAX, Negotiation, Output, Remote};
use crate::event::{Closed, PeerChange, PeerName, SignalKind};
use crate::peer::stack::StackError;

/// How long the offerer waits for the next step of a connection (ICE, DTLS, the data channel) before it hangs up and
/// offers again. The time is enough for three flights of a DTLS handshake over a slow path. A handshake that lost a
/// flight may hang for ever, which is a known defect of rtc-dtls (`tests/it/known_defects.rs`).
const OFFERER: Duration = Duration::from_secs(6);
/// How long the answerer waits before it hangs up. This is longer, so that the offerer acts first.
const ANSWERER: Duration = Duration::from_secs(10);
/// Added to both times for each failure, because the path may be slower than expected.
const GROWTH: Duration = Duration::from_secs(2);
/// Number of failures after which the times stop growing.
const GROWTHS_MAX: u32 = 5;
/// How long a connection that the other side has closed over DTLS may remain before a new offer is sent.
pub(super) const CLOSED: Duration = Duration::from_secs(2);
/// The longest delay before a new offer. The delay grows by one second with each failure.
const OFFER_AGAIN_MAX: Duration = Duration::from_secs(5);

impl Remote {
    /// When to hang up unless the connection makes progress.
    fn patience(&self, offerer: bool, now: Instant) -> Instant {
        let patience = if offerer { OFFERER } else { ANSWERER };
        now + patience + GROWTH * self.failures.min(GROWTHS_MAX)
    }
}

impl Negotiation {
    /// When to call [`on_time`](Self::on_time) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.remotes.values().flat_map(|remote| {
            let connection = remote.connection.as_ref();
            let patience = connection.and_then(|c| c.patience).filter(|_| self.signaling);
            [connection.and_then(|c| c.deadline), patience, remote.offer_again.filter(|_| self.signaling)]
        });
        deadlines.flatten().chain(self.media_deadline()).min()
    }

    /// Handles the deadlines that have passed.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.on_media(now);
        for peer in self.peers() {
            if let Some(connection) = self.connection(&peer)
                && connection.deadline.is_some_and(|deadline| deadline <= now)
            {
                if let Err(error) = connection.on_time(now) {
                    self.error(&peer, &error);
                }
                self.drain(&peer, now);
            }
            if !self.signaling {
                continue;
            }
            let Some(remote) = self.remotes.get_mut(&peer) else { continue };
            if remote.connection.as_ref().and_then(|c| c.patience).is_some_and(|patience| patience <= now) {
                self.give_up(&peer, Closed::Timeout, now);
            } else if remote.offer_again.is_some_and(|at| at <= now) {
                remote.offer_again = None;
                self.offer(&peer, now);
            }
        }
    }

    /// Opens a connection without descriptions.
    pub(super) fn open(
        &mut self,
        peer: &PeerName,
        offerer: bool,
        session: Option<Arc<str>>,
        now: Instant,
    ) -> Result<(), StackError> {
        let remote = self.remotes.entry(peer.clone()).or_default();
        remote.attempts += 1;
        remote.offer_again = None;
        let mut connection = Connection::new(self.stacks.open(offerer, now)?, offerer, now);
        connection.patience = Some(remote.patience(offerer, now));
        self.sources.iter().flat_map(Sources::kinds).for_each(|kind| connection.add_track(kind));
        if let Some(session) = session {
            let early = std::mem::take(&mut remote.early);
            connection.early =
                early.into_iter().filter(|(of, _)| *of == session || of.is_empty()).map(|(_, early)| early).collect();
            connection.session = session;
        }
        remote.connection = Some(connection);
        self.note(peer, PeerChange::Opened { offerer });
        Ok(())
    }

    /// Restarts the waiting time of a connection that has made progress.
    pub(super) fn be_patient(&mut self, peer: &PeerName, now: Instant) {
        let Some(remote) = self.remotes.get_mut(peer) else { return };
        let patience = remote.connection.as_ref().map(|connection| remote.patience(connection.offerer, now));
        if let Some(connection) = &mut remote.connection {
            connection.patience = patience;
        }
    }

    /// Ends the waiting time of a connection that is connected, and resets its peer's failures.
    pub(super) fn succeeded(&mut self, peer: &PeerName) {
        let Some(remote) = self.remotes.get_mut(peer) else { return };
        remote.failures = 0;
        if let Some(connection) = &mut remote.connection {
            connection.patience = None;
        }
    }

    /// Counts a failure and schedules the next offer. Both sides count, so that both wait longer for the next
    /// connection.
    fn failed(&mut self, peer: &PeerName, offerer: bool, now: Instant) {
        let offers_again = offerer && !self.openly_only;
        let Some(remote) = self.remotes.get_mut(peer) else { return };
        let pause = Duration::from_secs(u64::from(remote.failures)).min(OFFER_AGAIN_MAX);
        remote.failures += 1;
        remote.offer_again = offers_again.then(|| now + pause);
    }

    /// Hangs up, and schedules a new offer if this side was the offerer.
    pub(super) fn give_up(&mut self, peer: &PeerName, why: Closed, now: Instant) {
        let Some(connection) = self.connection(peer) else { return };
        let (session, offerer) = (connection.session.clone(), connection.offerer);
        self.signal(peer, SignalKind::Hangup, Payload { session, body: Nothing {} }.to_json());
        self.close(peer, why, now);
        self.failed(peer, offerer, now);
    }

    pub(super) fn on_hangup(&mut self, from: &PeerName, payload: &Payload<Nothing>, now: Instant) {
        match self.connection(from) {
            Some(connection) if connection.session == payload.session => {
                let offerer = connection.offerer;
                self.close(from, Closed::RemoteHangup, now);
                self.failed(from, offerer, now);
            }
            _ => self.note(from, PeerChange::Stale { kind: SignalKind::Hangup }),
        }
    }

    /// Closes a connection. What it still sends is passed on, but its remaining events are discarded.
    pub(super) fn close(&mut self, peer: &PeerName, why: Closed, now: Instant) {
        let epoch = self.epoch;
        let mut drained = Vec::new();
        let Some(connection) = self.connection(peer) else { return };
        let closed = connection.close();
        let session = connection.session.clone();
        connection.drain(epoch, now, &mut drained);
        if !session.is_empty() {
            let ended = self.ended.entry(peer.clone()).or_default();
            ended.push_back(session);
            if ended.len() > ENDED_MAX {
                ended.pop_front();
            }
        }
        if let Err(error) = closed {
            self.error(peer, &error);
        }
        self.outputs.extend(drained.into_iter().filter_map(|output| match output {
            connection::Output::Transmit(transmit) => Some(Output::Transmit(transmit)),
            connection::Output::Change(_) | connection::Output::Gathered(_) => None,
        }));
        self.note_totals(peer);
        self.note(peer, PeerChange::Closed { why });
        self.demux.remove(peer);
        if let Some(remote) = self.remotes.get_mut(peer) {
            remote.connection = None;
        }
    }
}
