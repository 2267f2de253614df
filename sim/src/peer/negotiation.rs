//! All WebRTC connections of one client: who offers, what is queued, what is stale, when to hang up and offer again.
//!
//! Sans-IO: signals and datagrams go in, signals and datagrams come out.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{RTCCryptoProvider, SignatureScheme};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::shared::error::Error;

use crate::event::{Closed, DtlsState, IceState, NodeId, PeerChange, PeerEvent, Recorder, SignalKind, What};
use crate::peer::connection::{Connection, Output, parse_trickled, ufrag};
use crate::peer::demux::Demux;
use crate::peer::keys::KeyLog;
use crate::peer::payload::{Description, Nothing, Payload, Trickled};
use crate::peer::stun::BindingClient;

/// How long the offerer waits for the next step of a connection (ICE, DTLS, the data channel) before it hangs up and offers again. Long
/// enough for three flights of a DTLS handshake over a slow path; a handshake that lost a flight may hang for ever (a known fault of
/// rtc-dtls).
const OFFERER_PATIENCE: Duration = Duration::from_secs(6);
/// How long the answerer waits before it hangs up: longer, so that the offerer comes first.
const ANSWERER_PATIENCE: Duration = Duration::from_secs(10);
/// How much longer either waits after each failure: a path may be slower than thought.
const PATIENCE_GROWTH: Duration = Duration::from_secs(2);
/// Failures after which patience grows no more.
const PATIENCE_GROWTHS_MAX: u32 = 5;
/// How long a connection that the other side has closed over DTLS may stay before it is offered anew.
const CLOSED_PATIENCE: Duration = Duration::from_secs(2);
/// The longest pause before offering again; it grows by a second with each failure.
const OFFER_AGAIN_MAX: Duration = Duration::from_secs(5);
/// Candidates kept of a peer whose offer has not come.
const EARLY_MAX: usize = 64;

/// A signal to send.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: Arc<str>,
    pub(crate) kind: SignalKind,
    pub(crate) payload: Arc<str>,
}

/// What is known of a peer beside the connection.
#[derive(Default)]
struct Remote {
    connection: Option<Connection>,
    attempts: u16,
    /// Connections that ended unconnected since the last that did not.
    failures: u32,
    /// When to offer again.
    offer_again: Option<Instant>,
    early: Vec<(Arc<str>, Trickled)>,
}

/// The connections of one client over one socket.
pub(crate) struct Negotiation {
    name: Arc<str>,
    node: NodeId,
    recorder: Recorder,
    local: SocketAddrV4,
    stun: Option<BindingClient>,
    certificate: RTCCertificate,
    /// What all connections take their cryptography from.
    provider: Arc<dyn RTCCryptoProvider>,
    demux: Demux,
    remotes: BTreeMap<Arc<str>, Remote>,
    /// Whether signals can be sent; without that nobody is hung up on.
    signaling: bool,
    pub(crate) datagrams: Vec<(BytesMut, SocketAddr)>,
    pub(crate) signals: Vec<Outgoing>,
    outputs: Vec<Output>,
}

impl Negotiation {
    /// `local` is the socket's address; without a STUN server there are host candidates only. The secrets of DTLS go to `keys`, if that is
    /// there.
    ///
    /// # Errors
    /// No certificate can be made.
    pub(crate) fn new(
        name: Arc<str>,
        node: NodeId,
        recorder: Recorder,
        local: SocketAddrV4,
        stun: Option<BindingClient>,
        keys: Option<&KeyLog>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let provider = rtc::crypto::default_provider()?;
        let provider = keys.map_or(provider.clone(), |keys| keys.overhear(provider));
        let params = CertificateParams::new(vec![name.to_string()])?;
        let certificate = RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, params)?;
        Ok(Self {
            name,
            node,
            recorder,
            local,
            stun,
            certificate,
            provider,
            demux: Demux::default(),
            remotes: BTreeMap::new(),
            signaling: false,
            datagrams: Vec::new(),
            signals: Vec::new(),
            outputs: Vec::new(),
        })
    }

    // ---- what the signaling tells

    /// Signals can, or can not, be sent.
    pub(crate) fn set_signaling(&mut self, up: bool) {
        self.signaling = up;
        if !up {
            self.signals.clear();
        }
    }

    /// Offers a connection to a peer.
    pub(crate) fn offer(&mut self, peer: &Arc<str>, now: Instant) {
        if let Err(error) = self.open(peer, true, None, now).and_then(|()| self.describe(peer, SignalKind::Offer, now))
        {
            self.error(peer, &error);
        }
        self.drain(peer, now);
    }

    /// A signal came.
    pub(crate) fn on_signal(&mut self, from: &Arc<str>, kind: SignalKind, payload: &str, now: Instant) {
        let taken = match kind {
            SignalKind::Offer => Payload::from_json(payload).map(|payload| self.on_offer(from, payload, now)),
            SignalKind::Answer => Payload::from_json(payload).map(|payload| self.on_answer(from, payload, now)),
            SignalKind::IceCandidate => Payload::from_json(payload).map(|payload| self.on_candidate(from, payload)),
            SignalKind::Hangup => Payload::from_json(payload).map(|payload| {
                self.on_hangup(from, &payload, now);
                Ok(())
            }),
        };
        match taken {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.error(from, &error),
            Err(error) => self.error(from, &error),
        }
        self.drain(from, now);
    }

    /// It is over with a peer, and what was counted of it is forgotten.
    pub(crate) fn end(&mut self, peer: &Arc<str>, why: Closed, now: Instant) {
        self.close(peer, why, now);
        self.remotes.remove(peer);
    }

    /// Ends everything with everybody.
    pub(crate) fn close_all(&mut self, why: Closed, now: Instant) {
        let peers: Vec<_> = self.remotes.keys().cloned().collect();
        for peer in peers {
            self.close(&peer, why, now);
        }
        self.remotes.clear();
    }

    // ---- what the user tells

    /// Says something to everybody who is connected.
    pub(crate) fn say(&mut self, text: &str, now: Instant) {
        let peers: Vec<_> = self.remotes.keys().cloned().collect();
        for peer in peers {
            self.say_to(&peer, text, now);
            self.drain(&peer, now);
        }
    }

    /// Hangs up on a peer; the offerer will offer again.
    pub(crate) fn hangup(&mut self, peer: &Arc<str>, now: Instant) {
        self.give_up(peer, Closed::Hangup, now);
    }

    /// Gives a connection new ICE credentials and new candidates. While an offer waits for its answer, that comes first: an answer
    /// does not tell which of two offers it was made for.
    pub(crate) fn restart_ice(&mut self, peer: &Arc<str>, now: Instant) {
        let Some(connection) = self.connection(peer) else { return };
        connection.restart_due = connection.have_local_offer;
        if connection.restart_due {
            return;
        }
        connection.restart_ice();
        self.note(peer, PeerChange::IceRestart);
        if let Err(error) = self.describe(peer, SignalKind::Offer, now) {
            self.error(peer, &error);
        }
        self.drain(peer, now);
    }

    /// Offers anew on a connection that stands; without one, offers a connection. Nothing while an offer waits for its answer.
    pub(crate) fn renegotiate(&mut self, peer: &Arc<str>, now: Instant) {
        match self.connection(peer).map(|connection| connection.have_local_offer) {
            None => self.offer(peer, now),
            Some(true) => {}
            Some(false) => {
                if let Err(error) = self.describe(peer, SignalKind::Offer, now) {
                    self.error(peer, &error);
                }
                self.drain(peer, now);
            }
        }
    }

    // ---- what the network and the clock tell

    /// A datagram came.
    pub(crate) fn on_datagram(&mut self, datagram: &[u8], from: SocketAddr, now: Instant) {
        if let Some(stun) = self.stun.as_mut().filter(|stun| stun.server == from) {
            if let Some(mapped) = stun.on_datagram(datagram, now) {
                self.on_mapped(mapped, now);
            }
            return;
        }
        let Some(peer) = self.demux.route(from, datagram).cloned() else { return };
        self.demux.add_source(from, &peer);
        let local = self.local.into();
        let Some(connection) = self.connection(&peer) else { return };
        if let Err(error) = connection.read(datagram, from, local, now) {
            self.error(&peer, &error);
        }
        self.drain(&peer, now);
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let remotes = self.remotes.values().flat_map(|remote| {
            let connection = remote.connection.as_ref();
            let patience = connection.and_then(|c| c.patience).filter(|_| self.signaling);
            [connection.and_then(|c| c.deadline), patience, remote.offer_again.filter(|_| self.signaling)]
        });
        remotes.chain([self.stun.as_ref().and_then(BindingClient::deadline)]).flatten().min()
    }

    /// Time has passed.
    pub(crate) fn on_time(&mut self, now: Instant) {
        if let Some(stun) = &mut self.stun
            && let Some(request) = stun.poll(now).map(BytesMut::from)
        {
            self.datagrams.push((request, stun.server));
        }
        let peers: Vec<_> = self.remotes.keys().cloned().collect();
        for peer in peers {
            let Some(remote) = self.remotes.get_mut(&peer) else { continue };
            if let Some(connection) = &mut remote.connection
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

    // ---- descriptions and candidates

    fn on_offer(&mut self, from: &Arc<str>, payload: Payload<Description>, now: Instant) -> Result<(), Error> {
        match self.connection(from) {
            // Glare. The side that opened the connection is impolite: its offer stands, the other takes its own back. Where both open
            // one, the greater session stands, which both can tell.
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
                self.open(from, false, Some(payload.session), now)?;
            }
        }
        self.take_description(from, SignalKind::Offer, payload.body, now)?;
        self.describe(from, SignalKind::Answer, now)?;
        self.on_stable(from, now);
        Ok(())
    }

    fn on_answer(&mut self, from: &Arc<str>, payload: Payload<Description>, now: Instant) -> Result<(), Error> {
        match self.connection(from) {
            Some(connection) if connection.have_local_offer && connection.session == payload.session => {
                self.take_description(from, SignalKind::Answer, payload.body, now)?;
                self.on_stable(from, now);
            }
            _ => self.note(from, PeerChange::Stale { kind: SignalKind::Answer }),
        }
        Ok(())
    }

    /// No offer waits for its answer any more: what had to wait for that is done.
    fn on_stable(&mut self, peer: &Arc<str>, now: Instant) {
        if self.connection(peer).is_some_and(|connection| connection.restart_due) {
            self.restart_ice(peer, now);
        }
    }

    /// Sets a remote description, and then the candidates that came before it.
    fn take_description(
        &mut self,
        from: &Arc<str>,
        kind: SignalKind,
        description: Description,
        now: Instant,
    ) -> Result<(), Error> {
        let ufrag = ufrag(&description.sdp);
        let Some(connection) = self.connection(from) else { return Ok(()) };
        connection.set_remote(description, now)?;
        let early = std::mem::take(&mut connection.early);
        self.note(from, PeerChange::Described { local: false, kind, ufrag });
        for candidate in early {
            self.take_candidate(from, candidate)?;
        }
        Ok(())
    }

    fn on_candidate(&mut self, from: &Arc<str>, payload: Payload<Trickled>) -> Result<(), Error> {
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

    /// Adds a candidate if it belongs to the remote description, queues it if that is still to come, drops it if it is past.
    fn take_candidate(&mut self, from: &Arc<str>, candidate: Trickled) -> Result<(), Error> {
        let Some(connection) = self.connection(from) else { return Ok(()) };
        let ufrag = candidate.username_fragment.as_deref().map(Arc::<str>::from).or(connection.remote_ufrag().cloned());
        let Some(ufrag) = ufrag.filter(|_| connection.remote_ufrag().is_some()) else {
            connection.early.push(candidate);
            self.note(from, PeerChange::CandidateQueued);
            return Ok(());
        };
        if connection.remote_ufrag() == Some(&ufrag) {
            connection.add_remote_candidate(candidate.clone())?;
            if let Some(candidate) = parse_trickled(&candidate) {
                self.note(from, PeerChange::Candidate { local: false, candidate, ufrag });
            }
        } else if connection.remote_ufrags.contains(&ufrag) {
            self.note(from, PeerChange::Stale { kind: SignalKind::IceCandidate });
        } else {
            connection.early.push(candidate);
            self.note(from, PeerChange::CandidateQueued);
        }
        Ok(())
    }

    fn on_hangup(&mut self, from: &Arc<str>, payload: &Payload<Nothing>, now: Instant) {
        match self.connection(from) {
            Some(connection) if connection.session == payload.session => {
                let offerer = connection.offerer;
                self.close(from, Closed::RemoteHangup, now);
                self.failed(from, offerer, now);
            }
            _ => self.note(from, PeerChange::Stale { kind: SignalKind::Hangup }),
        }
    }

    /// The STUN server has told the mapped address: those who wait for it get their candidate.
    fn on_mapped(&mut self, mapped: SocketAddrV4, now: Instant) {
        let change = PeerChange::Mapped { base: self.local, mapped };
        let event = PeerEvent { peer: Arc::default(), attempt: 0, change };
        self.recorder.write(self.node, What::Peer(event));
        let waiting: Vec<_> = self
            .remotes
            .iter()
            .filter(|(_, remote)| remote.connection.as_ref().is_some_and(|connection| connection.wants_srflx))
            .map(|(peer, _)| peer.clone())
            .collect();
        for peer in waiting {
            if let Err(error) = self.add_srflx(&peer, mapped) {
                self.error(&peer, &error);
            }
            self.drain(&peer, now);
        }
    }

    /// Opens a connection without descriptions.
    fn open(&mut self, peer: &Arc<str>, offerer: bool, session: Option<Arc<str>>, now: Instant) -> Result<(), Error> {
        let remote = self.remotes.entry(peer.clone()).or_default();
        remote.attempts += 1;
        remote.offer_again = None;
        let mut connection = Connection::new(self.certificate.clone(), self.provider.clone(), offerer, now)?;
        connection.patience = Some(now + patience(offerer, remote.failures));
        if let Some(session) = session {
            let early = std::mem::take(&mut remote.early);
            connection.early = early.into_iter().filter(|(of, _)| *of == session).map(|(_, early)| early).collect();
            connection.session = session;
        }
        remote.connection = Some(connection);
        self.note(peer, PeerChange::Opened { offerer });
        Ok(())
    }

    /// Sends a local description, and with a new ICE generation its candidates.
    fn describe(&mut self, peer: &Arc<str>, kind: SignalKind, now: Instant) -> Result<(), Error> {
        let Some(connection) = self.connection(peer) else { return Ok(()) };
        let (description, fresh) = connection.describe(kind, now)?;
        let ufrag = connection.local_ufrag.clone();
        if connection.session.is_empty() {
            connection.session = ufrag.clone();
        }
        let payload = Payload { session: connection.session.clone(), body: description };
        self.note(peer, PeerChange::Described { local: true, kind, ufrag: ufrag.clone() });
        self.signal(peer, kind, payload.to_json());
        if !fresh {
            return Ok(());
        }
        self.demux.add_ufrag(ufrag, peer);
        let local = self.local;
        if let Some(connection) = self.connection(peer) {
            let host = connection.add_host(local)?;
            connection.wants_srflx = true;
            self.trickle(peer, host);
        }
        if let Some(mapped) = self.stun.as_mut().and_then(|stun| stun.mapped(now)) {
            self.add_srflx(peer, mapped)?;
        }
        Ok(())
    }

    fn add_srflx(&mut self, peer: &Arc<str>, mapped: SocketAddrV4) -> Result<(), Error> {
        let local = self.local;
        let Some(connection) = self.connection(peer) else { return Ok(()) };
        connection.wants_srflx = false;
        // Where nothing translates, the mapped address is the base: a redundant candidate (RFC 8445 §5.1.3).
        if mapped != local {
            let srflx = connection.add_srflx(local, mapped)?;
            self.trickle(peer, srflx);
        }
        Ok(())
    }

    fn trickle(&mut self, peer: &Arc<str>, candidate: Trickled) {
        let Some(connection) = self.connection(peer) else { return };
        let (session, ufrag) = (connection.session.clone(), connection.local_ufrag.clone());
        if let Some(candidate) = parse_trickled(&candidate) {
            self.note(peer, PeerChange::Candidate { local: true, candidate, ufrag });
        }
        self.signal(peer, SignalKind::IceCandidate, Payload { session, body: candidate }.to_json());
    }

    // ---- ends

    /// Hangs up, and offers again later if offering is this side's part.
    fn give_up(&mut self, peer: &Arc<str>, why: Closed, now: Instant) {
        let Some(connection) = self.connection(peer) else { return };
        let (session, offerer) = (connection.session.clone(), connection.offerer);
        self.signal(peer, SignalKind::Hangup, Payload { session, body: Nothing {} }.to_json());
        self.close(peer, why, now);
        self.failed(peer, offerer, now);
    }

    /// Counts a failure, on both sides so that both wait longer for the next connection, and plans the next offer.
    fn failed(&mut self, peer: &Arc<str>, offerer: bool, now: Instant) {
        let Some(remote) = self.remotes.get_mut(peer) else { return };
        let pause = Duration::from_secs(u64::from(remote.failures)).min(OFFER_AGAIN_MAX);
        remote.failures += 1;
        remote.offer_again = offerer.then(|| now + pause);
    }

    fn close(&mut self, peer: &Arc<str>, why: Closed, now: Instant) {
        let Some(connection) = self.connection(peer) else { return };
        if let Err(error) = connection.close() {
            self.error(peer, &error);
        }
        // Its farewell is sent, its last words are not events any more.
        let elapsed = self.recorder.now();
        let mut outputs = std::mem::take(&mut self.outputs);
        if let Some(connection) = self.connection(peer) {
            connection.drain(now, elapsed, &mut outputs);
        }
        self.datagrams.extend(outputs.drain(..).filter_map(|output| match output {
            Output::Datagram(datagram, to) => Some((datagram, to)),
            Output::Change(_) => None,
        }));
        self.outputs = outputs;
        self.note(peer, PeerChange::Closed { why });
        self.demux.remove(peer);
        if let Some(remote) = self.remotes.get_mut(peer) {
            remote.connection = None;
        }
    }

    // ---- what the stack tells

    /// Takes all that a connection has to say and reacts to it.
    fn drain(&mut self, peer: &Arc<str>, now: Instant) {
        let elapsed = self.recorder.now();
        loop {
            let mut outputs = std::mem::take(&mut self.outputs);
            if let Some(connection) = self.connection(peer) {
                connection.drain(now, elapsed, &mut outputs);
            }
            let said = !outputs.is_empty();
            for output in outputs.drain(..) {
                match output {
                    Output::Datagram(datagram, to) => {
                        self.demux.add_source(to, peer);
                        self.datagrams.push((datagram, to));
                    }
                    Output::Change(change) => self.on_change(peer, change, now),
                }
            }
            self.outputs = outputs;
            if !said {
                return;
            }
        }
    }

    fn on_change(&mut self, peer: &Arc<str>, change: PeerChange, now: Instant) {
        self.note(peer, change.clone());
        let signaling = self.signaling;
        let Some(remote) = self.remotes.get_mut(peer) else { return };
        let Some(connection) = &mut remote.connection else { return };
        match change {
            PeerChange::ChannelOpen => {
                connection.patience = None;
                remote.failures = 0;
                let greeting = format!("hello from {}", self.name);
                self.say_to(peer, &greeting, now);
            }
            PeerChange::Ice { state: IceState::Connected | IceState::Completed } if connection.is_open() => {
                connection.patience = None;
            }
            PeerChange::Ice { state: IceState::Connected } | PeerChange::Dtls { state: DtlsState::Connected } => {
                connection.patience = Some(now + patience(connection.offerer, remote.failures));
            }
            PeerChange::Ice { state: IceState::Disconnected } => {
                connection.patience = Some(now + patience(connection.offerer, remote.failures));
                if connection.offerer && signaling {
                    self.restart_ice(peer, now);
                }
            }
            PeerChange::Ice { state: IceState::Failed } if signaling => self.give_up(peer, Closed::Failed, now),
            PeerChange::Dtls { state: DtlsState::Closed | DtlsState::Failed } => {
                connection.patience = Some(now + CLOSED_PATIENCE);
            }
            _ => {}
        }
    }

    fn say_to(&mut self, peer: &Arc<str>, text: &str, now: Instant) {
        if self.connection(peer).is_some_and(|connection| connection.send(text, now)) {
            self.note(peer, PeerChange::ChannelSent { text: text.into() });
        }
    }

    // ---- helpers

    fn connection(&mut self, peer: &Arc<str>) -> Option<&mut Connection> {
        self.remotes.get_mut(peer)?.connection.as_mut()
    }

    fn signal(&mut self, to: &Arc<str>, kind: SignalKind, payload: Arc<str>) {
        if self.signaling {
            self.signals.push(Outgoing { to: to.clone(), kind, payload });
        }
    }

    fn note(&mut self, peer: &Arc<str>, change: PeerChange) {
        let attempt = self.remotes.get(peer).map_or(0, |remote| remote.attempts);
        self.recorder.write(self.node, What::Peer(PeerEvent { peer: peer.clone(), attempt, change }));
    }

    fn error(&mut self, peer: &Arc<str>, error: &dyn std::fmt::Display) {
        self.note(peer, PeerChange::Error { text: error.to_string().into() });
    }
}

/// How long a side waits for the next step of a connection.
fn patience(offerer: bool, failures: u32) -> Duration {
    let patience = if offerer { OFFERER_PATIENCE } else { ANSWERER_PATIENCE };
    patience + PATIENCE_GROWTH * failures.min(PATIENCE_GROWTHS_MAX)
}
