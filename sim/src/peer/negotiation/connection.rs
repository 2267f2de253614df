//! One WebRTC connection: a stack with what it leaves to its driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::demux::is_stun;
use crate::event::{IceState, PeerChange};
use crate::peer::path::{Path, Transmit};
use crate::peer::stack::{
    self, Description, DescriptionKind, Input, LocalCandidate, Stack, StackError, StackEvent, Trickled,
};

/// How long after the last packet that was not STUN a connection counts as quiet.
const QUIET: Duration = Duration::from_secs(3);
/// The grid on which a quiet connection's timers run. The stack asks for a turn each 200 ms in every state; keep-alives (2 s) and
/// the limits for disconnected (5 s) and failed (25 s) do not need it.
const QUIET_GRID: Duration = Duration::from_secs(1);
/// How often one call of [`Connection::drain`] drains the stack at most: a deadline in the past is handled, but not for ever at one
/// instant.
const ROUNDS_MAX: usize = 3;

/// What a connection wants of its driver, or reports.
pub(super) enum Output {
    Transmit(Transmit),
    Change(PeerChange),
}

/// A connection to one peer, from one offer to its end.
pub(super) struct Connection {
    stack: Box<dyn Stack>,
    /// Its name between the two: the username fragment of the offer that opened it.
    pub(super) session: Arc<str>,
    pub(super) offerer: bool,
    /// Own username fragment, the newest.
    pub(super) local_ufrag: Arc<str>,
    /// The other side's username fragments, the newest last.
    pub(super) remote_ufrags: Vec<Arc<str>>,
    /// Whether an offer of ours waits for its answer.
    pub(super) have_local_offer: bool,
    /// Whether ICE is to restart once that offer is out of the way.
    pub(super) restart_due: bool,
    /// The candidates of the newest ICE generation.
    local_candidates: Vec<LocalCandidate>,
    /// Remote candidates that came before their description.
    pub(super) early: Vec<Trickled>,
    ice: IceState,
    channel_open: bool,
    /// When the driver loses patience, if it is not connected by then.
    pub(super) patience: Option<Instant>,
    /// When the stack wants a turn.
    pub(super) deadline: Option<Instant>,
    last_data: Instant,
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
            have_local_offer: false,
            restart_due: false,
            local_candidates: Vec::new(),
            early: Vec::new(),
            ice: IceState::New,
            channel_open: false,
            patience: None,
            deadline: None,
            last_data: now,
        }
    }

    /// Makes and sets the local description; true beside it if it starts a new ICE generation.
    pub(super) fn describe(&mut self, kind: DescriptionKind, now: Instant) -> Result<(Description, bool), StackError> {
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
        Ok((description, is_new))
    }

    /// Takes the own offer back, as the polite side of two offers that cross. RFC 9429 §4.1.10.2.
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
        let ufrag = description.ufrag();
        if self.remote_ufrag() != Some(&ufrag) {
            self.remote_ufrags.push(ufrag);
        }
        Ok(())
    }

    /// The other side's newest username fragment.
    pub(super) fn remote_ufrag(&self) -> Option<&Arc<str>> {
        self.remote_ufrags.last()
    }

    pub(super) fn add_remote_candidate(&mut self, candidate: &Trickled) -> Result<(), StackError> {
        self.stack.add_remote(candidate)
    }

    /// Whether the newest ICE generation has no candidate of the same kind and base.
    pub(super) fn lacks(&self, candidate: &LocalCandidate) -> bool {
        let is_same = |known: &LocalCandidate| known.kind == candidate.kind && known.base == candidate.base;
        !self.local_ufrag.is_empty() && !self.local_candidates.iter().any(is_same)
    }

    /// Adds a local candidate, and returns it as it is to be trickled.
    pub(super) fn add_local(&mut self, candidate: LocalCandidate) -> Result<Trickled, StackError> {
        self.local_candidates.push(candidate);
        Ok(Trickled::new(self.stack.add_local(&candidate)?, &self.local_ufrag))
    }

    /// Asks for new ICE credentials with the next offer.
    pub(super) fn restart_ice(&mut self) {
        self.stack.restart_ice();
    }

    /// Whether ICE is connected, DTLS too, and the data channel is open.
    pub(super) fn is_open(&self) -> bool {
        self.channel_open && matches!(self.ice, IceState::Connected | IceState::Completed)
    }

    /// Sends a message on the data channel; false if that is not possible.
    pub(super) fn send(&mut self, text: &str, now: Instant) -> bool {
        self.stack.send(text, now).is_ok()
    }

    /// Feeds a datagram.
    pub(super) fn on_datagram(&mut self, path: Path, bytes: &[u8], now: Instant) -> Result<(), StackError> {
        if !is_stun(bytes) {
            self.last_data = now;
        }
        self.stack.handle(Input::Datagram { path, bytes }, now)
    }

    /// Ends the connection; what it still has to send comes out of [`drain`](Self::drain).
    pub(super) fn close(&mut self) -> Result<(), StackError> {
        self.stack.close()
    }

    /// Lets time pass.
    pub(super) fn on_time(&mut self, now: Instant) -> Result<(), StackError> {
        self.stack.handle(Input::Timeout, now)
    }

    /// Takes all that the stack has to send and to report, and learns when it wants its next turn. The grid of a quiet connection's
    /// timers begins at `epoch`.
    pub(super) fn drain(&mut self, epoch: Instant, now: Instant, out: &mut Vec<Output>) {
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

    /// Polls the stack until it has nothing more; returns when it wants its next turn.
    fn drain_once(&mut self, now: Instant, out: &mut Vec<Output>) -> Option<Instant> {
        loop {
            let event = match self.stack.poll() {
                stack::Output::Timeout(deadline) => return deadline,
                stack::Output::Transmit(transmit) => {
                    if !is_stun(&transmit.bytes) {
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
                StackEvent::Selected { local, remote } => PeerChange::Selected { local, remote },
                StackEvent::Dtls(state) => PeerChange::Dtls { state },
                StackEvent::ChannelOpen => {
                    self.channel_open = true;
                    PeerChange::ChannelOpen
                }
                StackEvent::ChannelClosed => {
                    self.channel_open = false;
                    continue;
                }
                StackEvent::Text(text) => PeerChange::ChannelReceived { text },
            }));
        }
    }
}
