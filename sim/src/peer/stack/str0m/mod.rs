//! A WebRTC stack built on the crate `str0m`. What the crate cannot do, and what is done instead, is in
//! `docs/stacks.md`.

mod candidate;
mod certificate;
mod clock;
mod crypto;
mod description;
mod dtls;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ring::rand::{SecureRandom as _, SystemRandom};
use scenarios::Timing;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::config::DtlsCert;
use str0m::crypto::CryptoProvider;
use str0m::net::{Protocol, Receive};
use str0m::{Event, IceConnectionState, Rtc, RtcConfig};

use super::{
    Description, DescriptionKind, Input, KeyLog, LocalCandidate, Output, Stack, StackError, StackEvent, StackFactory,
    Trickled,
};
use crate::event::{Candidate, CandidateKind, DtlsState, IceState};
use crate::peer::path::{Path, Transmit, is_stun};
use candidate::{attribute, of_library};
use clock::Clock;
use description::{as_offer, with_origin};

/// Label of the data channel.
const CHANNEL: &str = "chat";
/// How often the library tells which pair is nominated. It has no event for that.
const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// After how long without a datagram on the nominated pair a browser-like client takes the connection for interrupted, as
/// browsers and `rtc` do. The library takes a pair for gone after 24.5 s, or later.
const SILENCE: Duration = Duration::from_secs(5);

/// How often a browser-like client checks a pair that works: as often as `rtc`, so that not each delay looks like silence. The
/// library does so every 3 s.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Creates connections that share a certificate.
pub(crate) struct Str0mFactory {
    certificate: DtlsCert,
    provider: Arc<CryptoProvider>,
    timing: Timing,
}

impl Str0mFactory {
    /// A factory whose certificate carries `name`. The secrets of DTLS sessions go to `keys`, if given.
    ///
    /// # Errors
    /// No certificate can be created.
    pub(crate) fn new(
        name: &str,
        keys: Option<&KeyLog>,
        timing: Timing,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        dtls::log_keys(keys.cloned());
        // The library's own generator for what need not be secret starts from the clock and the thread.
        let mut seed = [0; 8];
        SystemRandom::new().fill(&mut seed).map_err(|_| "no randomness")?;
        fastrand::seed(u64::from_le_bytes(seed));
        Ok(Self { certificate: certificate::generate(name)?, provider: Arc::new(crypto::provider()), timing })
    }
}

impl StackFactory for Str0mFactory {
    fn open(&self, offerer: bool, now: Instant) -> Result<Box<dyn Stack>, StackError> {
        let mut config = RtcConfig::new()
            .set_crypto_provider(self.provider.clone())
            .set_dtls_cert(self.certificate.clone())
            .set_stats_interval(Some(STATS_INTERVAL))
            .clear_codecs();
        if self.timing != Timing::Rtc {
            config.set_max_stun_rto(KEEP_ALIVE);
        }
        let clock = Clock::new(now);
        Ok(Box::new(Str0m {
            rtc: clock.call(now, |now| config.build(now)),
            clock,
            creates_channel: offerer,
            channel: None,
            offered: None,
            answer: None,
            origin: fastrand::u64(..) >> 1,
            version: 0,
            described: String::new(),
            remote_ufrag: Arc::default(),
            restart_due: false,
            locals: Vec::new(),
            remotes: Vec::new(),
            ice: IceState::New,
            library_ice: IceState::New,
            was_connected: false,
            silence: (self.timing != Timing::Rtc).then_some(SILENCE),
            heard: now,
            dtls: DtlsState::New,
            selected: None,
            now,
            deadline: None,
            has_changed: false,
            error: None,
            outputs: VecDeque::new(),
        }))
    }
}

/// A local offer that waits for its answer.
enum Offered {
    /// The library has changes that the answer puts in force; whether ICE restarts is one of them.
    Changes { pending: SdpPendingOffer, restarts: bool },
    /// It changes nothing. The library makes no such offer, so it does not know of it.
    Nothing,
}

/// A local candidate.
struct Local {
    candidate: LocalCandidate,
    of_library: str0m::Candidate,
    /// Its `candidate` attribute.
    attribute: String,
    /// Whether it belongs to the newest ICE generation.
    is_current: bool,
}

/// A connection of the crate `str0m`.
struct Str0m {
    rtc: Rtc,
    clock: Clock,
    /// Whether the next offer creates the data channel.
    creates_channel: bool,
    channel: Option<ChannelId>,
    offered: Option<Offered>,
    /// The answer to the remote offer: the library makes it when it takes the offer.
    answer: Option<String>,
    /// The session id of this side's descriptions, and the version of the newest one.
    origin: u64,
    version: u64,
    /// The newest local description.
    described: String,
    remote_ufrag: Arc<str>,
    restart_due: bool,
    locals: Vec<Local>,
    /// The candidates that the other side has signaled for the current ICE generation.
    remotes: Vec<Candidate>,
    /// The state that was reported, and what the library says.
    ice: IceState,
    library_ice: IceState,
    was_connected: bool,
    /// After how long without a datagram the connection counts as interrupted; `None` leaves that to the library.
    silence: Option<Duration>,
    /// When the last datagram arrived on the nominated pair, or the pair was nominated.
    heard: Instant,
    dtls: DtlsState,
    /// The path of the nominated pair, as far as it is known.
    selected: Option<Path>,
    /// The time of the last call that named one.
    now: Instant,
    deadline: Option<Instant>,
    /// Whether something has changed after which the library may have something to do at once.
    has_changed: bool,
    /// An error that [`poll`](Stack::poll) met, for the next call that can return one.
    error: Option<StackError>,
    outputs: VecDeque<Output>,
}

impl Stack for Str0m {
    fn offer(&mut self, now: Instant) -> Result<Description, StackError> {
        self.now = now;
        let creates_channel = std::mem::take(&mut self.creates_channel);
        let restarts = std::mem::take(&mut self.restart_due);
        let offer = self.library(|rtc| {
            let mut changes = rtc.sdp_api();
            if creates_channel {
                changes.add_channel(CHANNEL.to_owned());
            }
            if restarts {
                changes.ice_restart(true);
            }
            changes.apply()
        });
        if restarts {
            // The candidates of the new generation are told one by one, as they are gathered anew.
            self.locals.iter_mut().for_each(|local| local.is_current = false);
        }
        let (sdp, offered) = match offer {
            Some((offer, pending)) => (offer.to_sdp_string(), Offered::Changes { pending, restarts }),
            None => (as_offer(&self.described), Offered::Nothing),
        };
        self.offered = Some(offered);
        self.changed();
        Ok(self.described(DescriptionKind::Offer, &sdp))
    }

    fn answer(&mut self, now: Instant) -> Result<Description, StackError> {
        self.now = now;
        let answer = self.answer.take().ok_or_else(|| StackError::from("no offer to answer".to_owned()))?;
        Ok(self.described(DescriptionKind::Answer, &answer))
    }

    fn accept(&mut self, remote: &Description, now: Instant) -> Result<(), StackError> {
        self.now = now;
        let ufrag = remote.ufrag();
        let restarts = !self.remote_ufrag.is_empty() && ufrag != self.remote_ufrag;
        match remote.kind {
            DescriptionKind::Offer => {
                let offer = SdpOffer::from_sdp_string(&remote.sdp)?;
                let answer = self.library(|rtc| rtc.sdp_api().accept_offer(offer))?;
                self.answer = Some(answer.to_sdp_string());
                if restarts {
                    self.locals.iter_mut().for_each(|local| local.is_current = false);
                }
            }
            DescriptionKind::Answer => match self.offered.take() {
                Some(Offered::Changes { pending, .. }) => {
                    let answer = SdpAnswer::from_sdp_string(&remote.sdp)?;
                    self.library(|rtc| rtc.sdp_api().accept_answer(pending, answer))?;
                }
                Some(Offered::Nothing) if restarts => {
                    return Err("the answer restarts ICE, but its offer does not".to_owned().into());
                }
                Some(Offered::Nothing) => {}
                None => return Err("no offer waits for this answer".to_owned().into()),
            },
        }
        if restarts {
            self.remotes.clear();
            self.discard_old_candidates();
        }
        self.remote_ufrag = ufrag;
        self.changed();
        Ok(())
    }

    fn roll_back(&mut self, now: Instant) -> Result<(), StackError> {
        self.now = now;
        // The library changes nothing before the answer, so that to forget an offer is to roll it back.
        if let Some(Offered::Changes { restarts: true, .. }) = self.offered.take() {
            self.locals.iter_mut().for_each(|local| local.is_current = true);
        }
        Ok(())
    }

    fn restart_ice(&mut self) {
        self.restart_due = true;
    }

    fn add_local(&mut self, candidate: &LocalCandidate) -> Result<String, StackError> {
        let known = self.locals.iter().position(|local| local.candidate == *candidate);
        let of_library = match known {
            Some(known) => self.locals[known].of_library.clone(),
            None => of_library(candidate)?,
        };
        // It is redundant if the library has it from the generation before.
        let added = self.library(|rtc| rtc.add_local_candidate(of_library.clone()).map(attribute));
        let attribute = match known {
            Some(known) => {
                self.locals[known].is_current = true;
                self.locals[known].attribute.clone()
            }
            None => {
                let attribute = added.unwrap_or_else(|| attribute(&of_library));
                let local = Local { candidate: *candidate, of_library, attribute: attribute.clone(), is_current: true };
                self.locals.push(local);
                attribute
            }
        };
        self.changed();
        Ok(attribute)
    }

    fn add_remote(&mut self, candidate: &Trickled) -> Result<(), StackError> {
        // The end of candidates, a name, and other components mean nothing to the library.
        let Some(parsed) = candidate.parse() else { return Ok(()) };
        self.remotes.push(parsed);
        let candidate = str0m::Candidate::from_sdp_string(&candidate.candidate)?;
        self.library(|rtc| rtc.add_remote_candidate(candidate));
        self.changed();
        Ok(())
    }

    fn send(&mut self, text: &str, now: Instant) -> Result<(), StackError> {
        self.now = now;
        let channel = self.channel;
        let written = self.library(|rtc| Some(rtc.channel(channel?)?.write(false, text.as_bytes())));
        match written.transpose()? {
            Some(true) => {}
            Some(false) => return Err("the data channel has no room for more".to_owned().into()),
            None => return Err("the data channel is not open".to_owned().into()),
        }
        self.changed();
        Ok(())
    }

    fn close(&mut self) -> Result<(), StackError> {
        // Nobody has been told anything that could be closed.
        if self.dtls != DtlsState::New {
            self.library(Rtc::close)?;
            self.changed();
        }
        Ok(())
    }

    fn handle(&mut self, input: Input<'_>, now: Instant) -> Result<(), StackError> {
        self.now = now;
        self.has_changed = false;
        if let Input::Datagram { path, .. } = input
            && self.selected == Some(path)
        {
            self.heard = now;
        }
        let received = match input {
            Input::Timeout => Ok(None),
            Input::Datagram { path: Path { remote, base }, bytes } => {
                Receive::new(Protocol::Udp, remote, base, bytes).map(Some)
            }
        };
        let rtc = &mut self.rtc;
        let handled = self.clock.call(now, |now| match received {
            Ok(None) => rtc.handle_input(str0m::Input::Timeout(now)),
            Ok(Some(received)) => rtc.handle_input(str0m::Input::Receive(now, received)),
            // It is none of the protocols that share the socket, or damaged: RFC 7983 §7 wants it dropped.
            Err(_) => Ok(()),
        });
        self.collect();
        self.report_ice();
        handled?;
        self.error.take().map_or(Ok(()), Err)
    }

    fn poll(&mut self) -> Output {
        match self.outputs.pop_front() {
            Some(output) => output,
            None if self.has_changed => Output::Timeout(Some(self.now)),
            None => Output::Timeout(self.deadline.into_iter().chain(self.silent_at()).min()),
        }
    }
}

impl Str0m {
    /// Calls the library.
    fn library<T>(&mut self, f: impl FnOnce(&mut Rtc) -> T) -> T {
        let rtc = &mut self.rtc;
        self.clock.call(self.now, |_| f(rtc))
    }

    /// Takes the outputs after a change, as the library demands after each. It acts on a change when it is called next,
    /// which should be at once.
    fn changed(&mut self) {
        self.collect();
        self.has_changed = true;
    }

    /// Collects all outputs that the library has ready.
    fn collect(&mut self) {
        loop {
            match self.library(Rtc::poll_output) {
                Ok(str0m::Output::Timeout(at)) => {
                    self.deadline = self.clock.deadline(at, self.now);
                    return;
                }
                Ok(str0m::Output::Transmit(transmit)) => {
                    let path = Path { remote: transmit.destination, base: transmit.source };
                    let bytes = BytesMut::from(&*transmit.contents);
                    // Everything but checks takes the nominated pair.
                    if !is_stun(&bytes) {
                        self.select(path);
                    }
                    self.outputs.push_back(Output::Transmit(Transmit { path, bytes }));
                }
                Ok(str0m::Output::Event(event)) => self.on_event(event),
                Err(error) => {
                    self.error = Some(error.into());
                    self.report_dtls(DtlsState::Failed);
                    self.deadline = None;
                    return;
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::IceConnectionStateChange(state) => self.on_ice(state),
            Event::Connected => self.report_dtls(DtlsState::Connected),
            Event::Closed => self.report_dtls(DtlsState::Closed),
            Event::ChannelOpen(id, _) => {
                self.channel = Some(id);
                self.report(StackEvent::ChannelOpen);
            }
            Event::ChannelClose(_) => {
                self.channel = None;
                self.report(StackEvent::ChannelClosed);
            }
            Event::ChannelData(data) => self.report(StackEvent::Text(String::from_utf8_lossy(&data.data).into())),
            Event::PeerStats(stats) => {
                if let Some(pair) = stats.selected_candidate_pair {
                    self.select(Path { remote: pair.remote.addr, base: pair.local.addr });
                }
            }
            _ => {}
        }
    }

    fn on_ice(&mut self, state: IceConnectionState) {
        let state = match state {
            IceConnectionState::New => IceState::New,
            IceConnectionState::Checking => IceState::Checking,
            IceConnectionState::Connected => IceState::Connected,
            IceConnectionState::Completed => IceState::Completed,
            // The library says so too when no pair has answered yet and the known ones are given up. More candidates may
            // come, so it goes on checking.
            IceConnectionState::Disconnected if !self.was_connected => IceState::Checking,
            IceConnectionState::Disconnected => IceState::Disconnected,
        };
        let was_up = is_up(std::mem::replace(&mut self.library_ice, state));
        if is_up(state) && !was_up {
            self.was_connected = true;
            self.heard = self.now;
        }
        self.report_ice();
    }

    /// When the connection counts as interrupted if no datagram arrives.
    fn silent_at(&self) -> Option<Instant> {
        self.silence.filter(|_| is_up(self.ice)).map(|silence| self.heard + silence)
    }

    /// Reports the state of ICE if it has changed.
    fn report_ice(&mut self) {
        let is_silent = self.silence.is_some_and(|silence| self.heard + silence <= self.now);
        let state = if is_up(self.library_ice) && is_silent { IceState::Disconnected } else { self.library_ice };
        if state == self.ice {
            return;
        }
        self.ice = state;
        self.report(StackEvent::Ice(state));
        if is_up(state) && self.dtls == DtlsState::New {
            self.report_dtls(DtlsState::Connecting);
        }
    }

    fn report_dtls(&mut self, state: DtlsState) {
        if self.dtls != state {
            self.dtls = state;
            self.report(StackEvent::Dtls(state));
        }
    }

    fn report(&mut self, event: StackEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Reports the nominated pair if it is another than before.
    fn select(&mut self, path: Path) {
        if self.selected == Some(path) {
            return;
        }
        self.selected = Some(path);
        self.heard = self.now;
        let is_relay =
            |local: &Local| local.candidate.kind == CandidateKind::Relay && local.candidate.base == path.base;
        let kind = if self.locals.iter().any(is_relay) { CandidateKind::Relay } else { CandidateKind::Host };
        let local = Candidate { kind, address: path.base.into() };
        let address = path.remote.into();
        let known = self.remotes.iter().find(|remote| remote.address == address);
        let remote = known.copied().unwrap_or(Candidate { kind: CandidateKind::Prflx, address });
        self.report(StackEvent::Selected { local, remote });
    }

    /// Makes the library forget the candidates of older ICE generations, which it would check again.
    fn discard_old_candidates(&mut self) {
        for local in self.locals.iter().filter(|local| !local.is_current) {
            let rtc = &mut self.rtc;
            self.clock.call(self.now, |_| rtc.direct_api().invalidate_candidate(&local.of_library));
        }
    }

    /// A local description as it is signaled.
    fn described(&mut self, kind: DescriptionKind, sdp: &str) -> Description {
        self.version += 1;
        self.described = with_origin(sdp, self.origin, self.version);
        Description { kind, sdp: self.described.clone() }
    }
}

/// Whether ICE has a pair that works.
fn is_up(state: IceState) -> bool {
    matches!(state, IceState::Connected | IceState::Completed)
}

macro_rules! errors {
    ($($error:ty),*) => {$(
        impl From<$error> for StackError {
            fn from(error: $error) -> Self {
                Self(Box::new(error))
            }
        }
    )*};
}

errors!(str0m::RtcError, str0m::error::SdpError, str0m::error::IceError);
