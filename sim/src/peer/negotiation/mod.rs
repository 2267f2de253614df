//! All WebRTC connections of one client: which side offers, what is queued, what is stale, when to hang up and when to
//! offer again.
//!
//! Sans-IO: the inputs are signals, datagrams, candidates and the time; [`poll_output`](Negotiation::poll_output)
//! returns the outputs.

mod connection;
mod demux;
mod descriptions;
mod media;
mod openly;
mod patience;
mod payload;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::event::{Closed, DtlsState, IceState, PeerChange, PeerEvent, PeerName, SignalKind};
use crate::peer::gather::Gathered;
use crate::peer::path::{Path, Transmit};
use crate::peer::stack::{Description, DescriptionKind, StackFactory, Trickled};
use connection::Connection;
use demux::Demux;
use payload::Payload;

/// Why a command that needs a connection has no effect.
const NO_CONNECTION: &str = "it has no connection to that client";

/// Number of ended connections with a peer whose offers are still recognized. An offer is not on its way for longer.
const ENDED_MAX: usize = 8;

/// A signal to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingSignal {
    pub(crate) to: PeerName,
    pub(crate) kind: SignalKind,
    pub(crate) payload: Arc<str>,
}

/// An output, in the order in which they were produced.
#[derive(Debug)]
pub(crate) enum Output {
    /// A datagram to send.
    Transmit(Transmit),
    /// A message to send to a server over TCP. It comes from the gatherer.
    Stream { server: SocketAddr, tls: bool, message: BytesMut },
    /// A signal to send.
    Signal(OutgoingSignal),
    /// Something happened to a connection.
    Event(PeerEvent),
}

/// The state that is kept for a peer, including its connection.
#[derive(Default)]
struct Remote {
    connection: Option<Connection>,
    attempts: u16,
    /// Number of connections that failed since the last success.
    failures: u32,
    /// When to send a new offer.
    offer_again: Option<Instant>,
    /// Candidates of a session whose offer has not arrived, by session.
    early: Vec<(Arc<str>, Trickled)>,
}

/// The connections of one client.
pub(crate) struct Negotiation {
    name: Arc<str>,
    stacks: Box<dyn StackFactory>,
    /// The start of the grid for the timers of quiet connections.
    epoch: Instant,
    demux: Demux,
    remotes: BTreeMap<PeerName, Remote>,
    /// The sessions of the last connections with each peer that have ended, the newest last.
    ended: BTreeMap<PeerName, VecDeque<Arc<str>>>,
    /// The gathered candidates, one for each kind and base.
    candidates: Vec<Gathered>,
    /// Whether a new ICE generation needs candidates.
    wants_candidates: bool,
    /// Whether candidates name their media section by its id. Glare's own clients need not know it.
    names_sections: bool,
    /// What has happened to the connections whose peer is not known yet, by the names that stand for these peers.
    unnamed: BTreeMap<PeerName, Vec<PeerChange>>,
    /// Whether offers go to nobody in particular.
    openly_only: bool,
    /// Whether signals can be sent. While they cannot, no connection times out and none is offered.
    signaling: bool,
    /// The audio and video that the client sends to all peers.
    sources: Option<media::Sources>,
    outputs: VecDeque<Output>,
    /// A buffer that is reused to save allocations.
    drained: Vec<connection::Output>,
}

impl Negotiation {
    /// A negotiation without connections. The client sends `name` when a data channel opens.
    pub(crate) fn new(name: Arc<str>, stacks: Box<dyn StackFactory>, epoch: Instant) -> Self {
        Self {
            names_sections: false,
            name,
            stacks,
            epoch,
            demux: Demux::default(),
            remotes: BTreeMap::new(),
            ended: BTreeMap::new(),
            candidates: Vec::new(),
            wants_candidates: false,
            unnamed: BTreeMap::new(),
            openly_only: false,
            signaling: false,
            sources: None,
            outputs: VecDeque::new(),
            drained: Vec::new(),
        }
    }

    /// Makes candidates name their media section by its id, as programs of others expect it.
    pub(crate) fn name_sections(&mut self) {
        self.names_sections = true;
    }

    /// The next output of the inputs so far. Call it after each input until it returns `None`.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns whether candidates must be gathered for a connection, and clears that flag. Pass them to
    /// [`on_gathered`](Self::on_gathered).
    pub(crate) fn wants_candidates(&mut self) -> bool {
        std::mem::take(&mut self.wants_candidates)
    }

    // ---- from the signaling

    /// Notes whether signals can be sent.
    pub(crate) fn set_signaling(&mut self, up: bool) {
        self.signaling = up;
    }

    /// Forgets the candidates that were gathered, because their sockets are gone.
    pub(crate) fn forget_candidates(&mut self) {
        self.candidates.clear();
    }

    /// Whether there is a connection to anybody.
    pub(crate) fn is_connecting(&self) -> bool {
        self.remotes.values().any(|remote| remote.connection.is_some())
    }

    /// Whether there is a connection to a peer, finished or not.
    pub(crate) fn has_connection(&self, peer: &PeerName) -> bool {
        self.remotes.get(peer).is_some_and(|remote| remote.connection.is_some())
    }

    /// Opens a connection to a peer by sending an offer.
    pub(crate) fn offer(&mut self, peer: &PeerName, now: Instant) {
        let offered = self.open(peer, true, None, now).and_then(|()| self.describe(peer, DescriptionKind::Offer, now));
        if let Err(error) = offered {
            self.error(peer, &error);
        }
        self.drain(peer, now);
    }

    /// Handles a signal that arrived.
    pub(crate) fn on_signal(&mut self, from: &PeerName, kind: SignalKind, payload: &str, now: Instant) {
        if let Err(error) = self.take_signal(from, kind, payload, now) {
            self.error(from, &error);
        }
        self.drain(from, now);
    }

    fn take_signal(
        &mut self,
        from: &PeerName,
        kind: SignalKind,
        payload: &str,
        now: Instant,
    ) -> Result<(), Box<dyn Error>> {
        match kind {
            SignalKind::Offer => {
                let mut payload: Payload<Description> = Payload::from_json(payload)?;
                if payload.session.is_empty() {
                    let known = self.connection(from).filter(|connection| connection.is_from(&payload.body));
                    payload.session = known.map_or_else(|| payload.body.ufrag(), |known| known.session.clone());
                }
                self.on_offer(from, &payload, now)?;
            }
            SignalKind::Answer => {
                let payload = self.with_session(from, Payload::from_json(payload)?);
                self.on_answer(from, &payload, now)?;
            }
            // Programs may signal the end of their candidates so.
            SignalKind::IceCandidate if payload == "null" => {}
            SignalKind::IceCandidate => {
                let mut payload: Payload<Trickled> = Payload::from_json(payload)?;
                payload = self.with_session(from, payload);
                if payload.session.is_empty() {
                    payload.session = payload.body.username_fragment.as_deref().unwrap_or_default().into();
                }
                self.on_candidate(from, payload)?;
            }
            SignalKind::Hangup => {
                let payload = self.with_session(from, Payload::from_json(payload)?);
                self.on_hangup(from, &payload, now);
            }
        }
        Ok(())
    }

    /// A payload that names no session means the connection that there is.
    fn with_session<B>(&mut self, from: &PeerName, payload: Payload<B>) -> Payload<B> {
        match self.connection(from) {
            Some(connection) if payload.session.is_empty() => {
                Payload { session: connection.session.clone(), ..payload }
            }
            _ => payload,
        }
    }

    /// Ends the connection to a peer, and forgets its number of attempts and failures.
    pub(crate) fn end(&mut self, peer: &PeerName, why: Closed, now: Instant) {
        self.close(peer, why, now);
        self.remotes.remove(peer);
        self.unnamed.remove(peer);
    }

    /// Ends all connections.
    pub(crate) fn close_all(&mut self, why: Closed, now: Instant) {
        for peer in self.peers() {
            self.close(&peer, why, now);
        }
        self.remotes.clear();
        self.unnamed.clear();
    }

    // ---- from the user

    // Each of these returns the reason if it has no effect.

    /// Sends a text to every peer with an open data channel.
    pub(crate) fn say(&mut self, text: &str, now: Instant) -> Result<(), &'static str> {
        let mut is_sent = false;
        for peer in self.peers() {
            is_sent |= self.say_to(&peer, text, now);
            self.drain(&peer, now);
        }
        if is_sent { Ok(()) } else { Err("it has no open data channel") }
    }

    /// Hangs up on a peer. The side that was the offerer will offer again.
    pub(crate) fn hangup(&mut self, peer: &PeerName, now: Instant) -> Result<(), &'static str> {
        self.connection(peer).ok_or(NO_CONNECTION)?;
        self.give_up(peer, Closed::Hangup, now);
        Ok(())
    }

    /// Restarts ICE with a peer by [`restart_ice`](Self::restart_ice), if there is a connection and offers can be sent.
    pub(crate) fn command_ice_restart(&mut self, peer: &PeerName, now: Instant) -> Result<(), &'static str> {
        self.connection(peer).ok_or(NO_CONNECTION)?;
        self.need_signaling()?;
        self.restart_ice(peer, now);
        Ok(())
    }

    /// Sends a new offer on the existing connection, or opens one if there is none.
    pub(crate) fn renegotiate(&mut self, peer: &PeerName, now: Instant) -> Result<(), &'static str> {
        self.need_signaling()?;
        match self.connection(peer).map(|connection| connection.have_local_offer) {
            None => self.offer(peer, now),
            Some(true) => return Err("its last offer has not been answered"),
            Some(false) => self.offer_change(peer, now),
        }
        Ok(())
    }

    fn need_signaling(&self) -> Result<(), &'static str> {
        if self.signaling { Ok(()) } else { Err("it cannot send signals") }
    }

    // ---- changes of a connection

    /// Restarts ICE: the connection gets new ICE credentials and new candidates. If a local offer is pending, the
    /// restart waits until it is answered, because an answer does not show which of two offers it belongs to.
    pub(crate) fn restart_ice(&mut self, peer: &PeerName, now: Instant) {
        let Some(connection) = self.connection(peer) else { return };
        connection.restart_due = connection.have_local_offer;
        if connection.restart_due {
            return;
        }
        connection.restart_ice();
        self.note(peer, PeerChange::IceRestart);
        self.offer_change(peer, now);
    }

    fn offer_change(&mut self, peer: &PeerName, now: Instant) {
        if let Err(error) = self.describe(peer, DescriptionKind::Offer, now) {
            self.error(peer, &error);
        }
        self.drain(peer, now);
    }

    // ---- from the network

    /// Handles a datagram that arrived.
    pub(crate) fn on_datagram(&mut self, path: Path, datagram: &[u8], now: Instant) {
        let Some(peer) = self.demux.route(path, datagram).cloned() else { return };
        self.demux.add_path(path, &peer);
        let Some(connection) = self.connection(&peer) else { return };
        if let Err(error) = connection.on_datagram(path, datagram, now) {
            self.error(&peer, &error);
        }
        self.drain(&peer, now);
    }

    /// Handles a candidate that was gathered: adds it to the connections that lack a candidate of its kind and base.
    pub(crate) fn on_gathered(&mut self, gathered: Gathered, now: Instant) {
        let candidate = gathered.candidate;
        let is_same =
            |known: &&mut Gathered| (known.candidate.kind, known.candidate.base) == (candidate.kind, candidate.base);
        match self.candidates.iter_mut().find(is_same) {
            Some(known) => *known = gathered,
            None => self.candidates.push(gathered),
        }
        for peer in self.peers() {
            if self.connection(&peer).is_some_and(|connection| connection.lacks(&candidate)) {
                if let Err(error) = self.add_local(&peer, candidate) {
                    self.error(&peer, &error);
                }
                self.drain(&peer, now);
            }
        }
    }

    // ---- from the stack

    /// Collects what the stacks have sent and reported without being called.
    pub(crate) fn on_stacks(&mut self, now: Instant) {
        for peer in self.peers() {
            self.drain(&peer, now);
        }
    }

    /// Collects everything that a connection sends and reports, and reacts to it.
    fn drain(&mut self, peer: &PeerName, now: Instant) {
        let epoch = self.epoch;
        let mut drained = std::mem::take(&mut self.drained);
        loop {
            if let Some(connection) = self.connection(peer) {
                connection.drain(epoch, now, &mut drained);
            }
            if drained.is_empty() {
                break;
            }
            for output in drained.drain(..) {
                match output {
                    connection::Output::Transmit(transmit) => {
                        self.demux.add_path(transmit.path, peer);
                        self.outputs.push_back(Output::Transmit(transmit));
                    }
                    connection::Output::Change(change) => self.on_change(peer, change, now),
                    connection::Output::Gathered(candidate) => self.trickle(peer, candidate),
                }
            }
        }
        self.drained = drained;
        self.start_media(peer, now);
    }

    fn on_change(&mut self, peer: &PeerName, change: PeerChange, now: Instant) {
        self.note(peer, change.clone());
        let signaling = self.signaling;
        let Some(connection) = self.connection(peer) else { return };
        match change {
            PeerChange::ChannelOpen => {
                self.succeeded(peer);
                let greeting = format!("hello from {}", self.name);
                self.say_to(peer, &greeting, now);
            }
            PeerChange::Ice { state: IceState::Connected | IceState::Completed } if connection.is_open() => {
                connection.patience = None;
            }
            PeerChange::Ice { state: IceState::Connected } | PeerChange::Dtls { state: DtlsState::Connected } => {
                self.be_patient(peer, now);
            }
            PeerChange::Ice { state: IceState::Disconnected } => {
                let offerer = connection.offerer;
                self.be_patient(peer, now);
                if offerer && signaling && !self.openly_only {
                    self.restart_ice(peer, now);
                }
            }
            PeerChange::Ice { state: IceState::Failed } if signaling => self.give_up(peer, Closed::Failed, now),
            PeerChange::Dtls { state: DtlsState::Closed | DtlsState::Failed } => {
                connection.patience = Some(now + patience::CLOSED);
            }
            _ => {}
        }
    }

    fn say_to(&mut self, peer: &PeerName, text: &str, now: Instant) -> bool {
        let is_sent = self.connection(peer).is_some_and(|connection| connection.send(text, now));
        if is_sent {
            self.note(peer, PeerChange::ChannelSent { text: text.into() });
        }
        is_sent
    }

    // ---- helpers

    fn peers(&self) -> Vec<PeerName> {
        self.remotes.keys().cloned().collect()
    }

    fn connection(&mut self, peer: &PeerName) -> Option<&mut Connection> {
        self.remotes.get_mut(peer)?.connection.as_mut()
    }

    fn signal(&mut self, to: &PeerName, kind: SignalKind, payload: Arc<str>) {
        if self.signaling {
            self.outputs.push_back(Output::Signal(OutgoingSignal { to: to.clone(), kind, payload }));
        }
    }

    fn note(&mut self, peer: &PeerName, change: PeerChange) {
        if let Some(unnamed) = self.unnamed.get_mut(peer) {
            return unnamed.push(change);
        }
        let attempt = self.remotes.get(peer).map_or(0, |remote| remote.attempts);
        self.outputs.push_back(Output::Event(PeerEvent { peer: peer.clone(), attempt, change }));
    }

    fn error(&mut self, peer: &PeerName, error: &dyn Display) {
        self.note(peer, PeerChange::Error { text: error.to_string().into() });
    }
}
