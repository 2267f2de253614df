//! One WebRTC connection: a stack, and the state that the stack leaves to its driver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::media::Media;
use crate::event::{Candidate, CandidateKind, DtlsState, IceState, PeerChange, TrackKind};
use crate::peer::path::{Path, Transmit, is_stun};
use crate::peer::sdp::Section;
use crate::peer::stack::{
    self, Description, DescriptionKind, Input, LocalCandidate, MediaPacket, Stack, StackError, StackEvent, Trickled,
};

/// Time after the last packet other than STUN at which a connection counts as quiet.
const QUIET: Duration = Duration::from_secs(3);
/// The timers of a quiet connection are rounded to this grid. The stack requests a call every 200 ms in every state.
/// Its keep-alives (2 s) and its limits for disconnected (5 s) and failed (25 s) do not need such a fine interval.
const QUIET_GRID: Duration = Duration::from_secs(1);
/// How long the consent to send lasts after the last answer to a check on the selected pair.
//= https://www.rfc-editor.org/rfc/rfc7675#section-5.1
//# Consent expires after 30 seconds.
const CONSENT: Duration = Duration::from_secs(30);
/// The type of a success response to a Binding request. RFC 8489 §5.
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
/// How often one call of [`Connection::drain`] drains the stack at most. A deadline in the past is handled at once, but
/// not without limit at one instant.
const ROUNDS_MAX: usize = 3;

/// What a connection sends or reports.
pub(super) enum Output {
    Transmit(Transmit),
    Change(PeerChange),
    /// A candidate for the other side.
    Gathered(Trickled),
}

/// A connection to one peer, from its first offer to its end.
pub(super) struct Connection {
    stack: Box<dyn Stack>,
    /// The identifier that both sides use for it: the username fragment of the offer that opened it.
    pub(super) session: Arc<str>,
    pub(super) offerer: bool,
    /// The newest local username fragment.
    pub(super) local_ufrag: Arc<str>,
    /// The remote username fragments, the newest last.
    pub(super) remote_ufrags: Vec<Arc<str>>,
    /// The fingerprint of the other side's certificate and its session id, from its newest description.
    remote_identity: [Option<String>; 2],
    /// The section that candidates name, of the newest local description.
    section: Section,
    /// Whether a local offer waits for its answer.
    pub(super) have_local_offer: bool,
    /// Whether to restart ICE once that offer has been answered or rolled back.
    pub(super) restart_due: bool,
    /// Whether to send another offer then.
    pub(super) offer_due: bool,
    /// The tracks that the next description adds.
    tracks: Vec<TrackKind>,
    pub(super) media: Media,
    /// The candidates of the newest ICE generation.
    local_candidates: Vec<LocalCandidate>,
    /// The relayed candidates that the other side has signaled.
    remote_relayed: Vec<Candidate>,
    /// Remote candidates that arrived before their description.
    pub(super) early: Vec<Trickled>,
    ice: IceState,
    /// Whether DTLS is connected, so that there are keys for SRTP.
    pub(super) has_keys: bool,
    channel_open: bool,
    /// When to hang up unless the connection makes progress; `None` once it is connected.
    pub(super) patience: Option<Instant>,
    /// When to call the stack next.
    pub(super) deadline: Option<Instant>,
    last_data: Instant,
    consent: Option<Consent>,
}

/// The consent of the other side to receive data. RFC 7675.
struct Consent {
    /// The other end of the selected pair.
    remote: SocketAddr,
    /// When the last answer arrived, or the pair was selected.
    confirmed: Instant,
    has_expired: bool,
}

impl Connection {
    /// A connection without descriptions.
    pub(super) fn new(stack: Box<dyn Stack>, offerer: bool, now: Instant) -> Self {
        Self {
            stack,
            session: Arc::default(),
            offerer,
            local_ufrag: Arc::default(),
            remote_ufrags: Vec::new(),
            remote_identity: [None, None],
            section: Section::default(),
            have_local_offer: false,
            restart_due: false,
            offer_due: false,
            tracks: Vec::new(),
            media: Media::default(),
            local_candidates: Vec::new(),
            remote_relayed: Vec::new(),
            early: Vec::new(),
            ice: IceState::New,
            has_keys: false,
            channel_open: false,
            patience: None,
            deadline: None,
            last_data: now,
            consent: None,
        }
    }

    /// Creates and sets the local description. Also returns whether it starts a new ICE generation.
    pub(super) fn describe(&mut self, kind: DescriptionKind, now: Instant) -> Result<(Description, bool), StackError> {
        // A track that is added after the other side's offer gets a section of it.
        for track in std::mem::take(&mut self.tracks) {
            self.stack.add_track(track)?;
        }
        let description = match kind {
            DescriptionKind::Offer => self.stack.offer(now)?,
            DescriptionKind::Answer => self.stack.answer(now)?,
        };
        self.have_local_offer = kind == DescriptionKind::Offer;
        let ufrag = description.ufrag();
        let is_new = ufrag != self.local_ufrag;
        if is_new {
            self.local_candidates.clear();
        }
        self.local_ufrag = ufrag;
        self.section = description.read().section();
        Ok((description, is_new))
    }

    /// Rolls back the local offer, as the polite side when two offers cross. RFC 9429 §4.1.10.2.
    pub(super) fn roll_back(&mut self, now: Instant) -> Result<(), StackError> {
        self.stack.roll_back(now)?;
        self.have_local_offer = false;
        Ok(())
    }

    /// Sets the remote description.
    pub(super) fn set_remote(&mut self, description: &Description, now: Instant) -> Result<(), StackError> {
        if description.kind == DescriptionKind::Answer {
            self.have_local_offer = false;
        }
        self.stack.accept(description, now)?;
        self.remote_identity = identity(description).map(|id| id.map(str::to_owned));
        let ufrag = description.ufrag();
        if self.remote_ufrag() != Some(&ufrag) {
            self.remote_ufrags.push(ufrag);
        }
        Ok(())
    }

    /// Whether a description comes from the connection of the other side that this one belongs to: then it has the same
    /// credentials, or at least the same certificate and session id.
    pub(super) fn is_from(&self, description: &Description) -> bool {
        let [fingerprint, session_id] = &self.remote_identity;
        let is_same = identity(description) == [fingerprint.as_deref(), session_id.as_deref()];
        self.remote_ufrags.contains(&description.ufrag()) || (is_same && !self.remote_ufrags.is_empty())
    }

    /// Whether the other side of this connection has a certificate, and a description shows another.
    pub(super) fn has_other_certificate(&self, description: &Description) -> bool {
        let [fingerprint, _] = &self.remote_identity;
        fingerprint.is_some() && fingerprint.as_deref() != description.read().fingerprint()
    }

    /// The newest remote username fragment.
    pub(super) fn remote_ufrag(&self) -> Option<&Arc<str>> {
        self.remote_ufrags.last()
    }

    pub(super) fn add_remote_candidate(&mut self, candidate: &Trickled) -> Result<(), StackError> {
        self.remote_relayed.extend(candidate.parse().filter(|candidate| candidate.kind == CandidateKind::Relay));
        self.stack.add_remote(candidate)
    }

    /// Whether the newest ICE generation has no local candidate with the same kind and base.
    pub(super) fn lacks(&self, candidate: &LocalCandidate) -> bool {
        let is_same = |known: &LocalCandidate| known.kind == candidate.kind && known.base == candidate.base;
        !self.local_ufrag.is_empty() && !self.local_candidates.iter().any(is_same)
    }

    /// Adds a local candidate, and returns its trickled form, which names its media section if `names_section`.
    pub(super) fn add_local(&mut self, candidate: LocalCandidate, names_section: bool) -> Result<Trickled, StackError> {
        self.local_candidates.push(candidate);
        let unnamed = Section::default();
        let section = if names_section { &self.section } else { &unnamed };
        Ok(Trickled::new(self.stack.add_local(&candidate)?, section, &self.local_ufrag))
    }

    /// Adds a track of this side to the next description.
    pub(super) fn add_track(&mut self, kind: TrackKind) {
        self.tracks.push(kind);
    }

    /// Whether ICE has found a way to the other side and not given it up.
    pub(super) fn is_reached(&self) -> bool {
        matches!(self.ice, IceState::Connected | IceState::Completed | IceState::Disconnected)
    }

    /// Sends a packet of a track. Returns whether the other side has agreed to receive it.
    pub(super) fn send_packet(&mut self, packet: MediaPacket, now: Instant) -> Result<bool, StackError> {
        self.stack.send_packet(packet, now)
    }

    /// Makes the next offer use new ICE credentials.
    pub(super) fn restart_ice(&mut self) {
        self.stack.restart_ice();
    }

    /// Whether ICE and DTLS are connected and the data channel is open.
    pub(super) fn is_open(&self) -> bool {
        self.channel_open && matches!(self.ice, IceState::Connected | IceState::Completed)
    }

    /// Sends a message on the data channel; returns false if that is not possible.
    pub(super) fn send(&mut self, text: &str, now: Instant) -> bool {
        self.stack.send(text, now).is_ok()
    }

    /// Passes a datagram to the stack.
    pub(super) fn on_datagram(&mut self, path: Path, bytes: &[u8], now: Instant) -> Result<(), StackError> {
        if !is_stun(bytes) {
            self.last_data = now;
        }
        if let Some(consent) = self.consent.as_mut().filter(|consent| consent.remote == path.remote)
            && bytes.starts_with(&BINDING_SUCCESS)
        {
            (consent.confirmed, consent.has_expired) = (now, false);
        }
        self.stack.handle(Input::Datagram { path, bytes }, now)
    }

    /// Ends the connection. [`drain`](Self::drain) returns what is still to be sent.
    pub(super) fn close(&mut self) -> Result<(), StackError> {
        self.stack.close()
    }

    /// Handles a deadline that has passed.
    pub(super) fn on_time(&mut self, now: Instant) -> Result<(), StackError> {
        self.stack.handle(Input::Timeout, now)
    }

    /// Collects everything that the stack sends and reports, and sets the time of its next call. The grid for the
    /// timers of a quiet connection begins at `epoch`.
    pub(super) fn drain(&mut self, epoch: Instant, now: Instant, out: &mut Vec<Output>) {
        // A client that was suspended for a long time has lost its consent before it sends anything.
        self.check_consent(now, out);
        self.media.on_time(now, |change| out.push(Output::Change(change)));
        self.drain_stack(epoch, now, out);
        self.deadline = self.deadline.into_iter().chain(self.media.deadline()).min();
        if let Some(expires) = self.check_consent(now, out) {
            self.deadline = Some(self.deadline.map_or(expires, |deadline| deadline.min(expires)));
        }
    }

    /// Notes that the consent to send has expired, if it has. Returns when it will.
    fn check_consent(&mut self, now: Instant, out: &mut Vec<Output>) -> Option<Instant> {
        let is_up = self.is_reached();
        let consent = self.consent.as_mut().filter(|consent| is_up && !consent.has_expired)?;
        let expires = consent.confirmed + CONSENT;
        if now < expires {
            return Some(expires);
        }
        consent.has_expired = true;
        out.push(Output::Change(PeerChange::ConsentExpired));
        None
    }

    fn drain_stack(&mut self, epoch: Instant, now: Instant, out: &mut Vec<Output>) {
        for _ in 0..ROUNDS_MAX {
            self.deadline = self.drain_once(now, out);
            match self.deadline {
                Some(deadline) if deadline <= now => {
                    if let Err(error) = self.stack.handle(Input::Timeout, now) {
                        out.push(Output::Change(PeerChange::Error { text: error.to_string().into() }));
                    }
                    self.deadline = Some(now + Duration::from_millis(1));
                }
                Some(deadline) if self.is_open() && now > self.last_data + QUIET => {
                    let due = (deadline - epoch).as_millis() as u64;
                    let grid = QUIET_GRID.as_millis() as u64;
                    self.deadline = Some(deadline + Duration::from_millis(due.next_multiple_of(grid) - due));
                    return;
                }
                _ => return,
            }
        }
    }

    /// Polls the stack until it has no more outputs; returns the time at which it requests its next call.
    fn drain_once(&mut self, now: Instant, out: &mut Vec<Output>) -> Option<Instant> {
        loop {
            let event = match self.stack.poll() {
                stack::Output::Timeout(deadline) => return deadline,
                stack::Output::Transmit(transmit) => {
                    if !is_stun(&transmit.bytes) {
                        if self.consent.as_ref().is_some_and(|consent| consent.has_expired) {
                            continue;
                        }
                        self.last_data = now;
                    }
                    out.push(Output::Transmit(transmit));
                    continue;
                }
                stack::Output::Event(event) => event,
            };
            out.push(Output::Change(match event {
                StackEvent::Ice(state) => {
                    self.ice = state;
                    PeerChange::Ice { state }
                }
                StackEvent::Selected { local, remote } => {
                    self.consent = Some(Consent { remote: remote.address.into(), confirmed: now, has_expired: false });
                    // The stack may have learned it from a check that came before the signal.
                    let known = self.remote_relayed.iter().find(|known| known.address == remote.address);
                    PeerChange::Selected { local, remote: known.copied().unwrap_or(remote) }
                }
                StackEvent::Dtls(state) => {
                    self.has_keys = state == DtlsState::Connected;
                    PeerChange::Dtls { state }
                }
                StackEvent::ChannelOpen => {
                    self.channel_open = true;
                    PeerChange::ChannelOpen
                }
                StackEvent::ChannelClosed => {
                    self.channel_open = false;
                    continue;
                }
                StackEvent::Text(text) => PeerChange::ChannelReceived { text },
                StackEvent::Track(kind) => PeerChange::Track { kind },
                StackEvent::Plays(kind) => PeerChange::Plays { kind },
                StackEvent::Packet { kind, number } => {
                    self.media.arrived(kind, number, now, |change| out.push(Output::Change(change)));
                    continue;
                }
                StackEvent::Gathered(candidate) => {
                    out.push(Output::Gathered(candidate));
                    continue;
                }
            }));
        }
    }
}

/// The fingerprint and the session id of a description.
fn identity(description: &Description) -> [Option<&str>; 2] {
    [description.read().fingerprint(), description.read().session_id()]
}
