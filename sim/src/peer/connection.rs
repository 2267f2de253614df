//! One WebRTC connection: the sans-IO stack with what it leaves to its driver.
//!
//! The stack neither gathers candidates nor opens sockets nor keeps time. This wrapper feeds it, drains it, and says in our words what
//! happened to it.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;
use rtc::data_channel::RTCDataChannelId;
use rtc::ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;
use rtc::peer_connection::certificate::RTCCertificate;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSdpType;
use rtc::peer_connection::state::RTCIceConnectionState;
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCDtlsTransportState, RTCIceCandidate, RTCIceCandidateType,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use crate::event::{Candidate, CandidateKind, DtlsState, IceState, PeerChange, SignalKind};
use crate::peer::demux::is_stun;
use crate::peer::payload::{Description, Trickled};

/// Label of the data channel.
const CHANNEL: &str = "chat";
/// How long after the last packet that was not STUN a connection counts as quiet.
const QUIET: Duration = Duration::from_secs(3);
/// The grid on which a quiet connection's timers run. The stack asks for a turn each 200 ms in every state; keep-alives (2 s) and
/// the limits for disconnected (5 s) and failed (25 s) do not need it.
const QUIET_GRID: Duration = Duration::from_secs(1);
/// Drains of one call at most: a deadline in the past is handled, but not for ever at one instant.
const ROUNDS_MAX: usize = 3;

/// What a connection wants of its driver, or tells it.
pub(crate) enum Output {
    Datagram(BytesMut, SocketAddr),
    Change(PeerChange),
}

/// A connection to one peer, from one offer to its end.
pub(crate) struct Connection {
    stack: RTCPeerConnection,
    /// Its name between the two: the username fragment of the offer that opened it.
    pub(crate) session: Arc<str>,
    pub(crate) offerer: bool,
    /// Own username fragment, the newest.
    pub(crate) local_ufrag: Arc<str>,
    /// The other side's username fragments, the newest last.
    pub(crate) remote_ufrags: Vec<Arc<str>>,
    /// Whether an offer of ours waits for its answer.
    pub(crate) have_local_offer: bool,
    /// Whether ICE is to restart once that offer is out of the way.
    pub(crate) restart_due: bool,
    /// Whether a server-reflexive candidate is still to come.
    pub(crate) wants_srflx: bool,
    /// Remote candidates that came before their description.
    pub(crate) early: Vec<Trickled>,
    pub(crate) ice: IceState,
    dtls: DtlsState,
    channel: Option<RTCDataChannelId>,
    /// When the driver loses patience, if it is not connected by then.
    pub(crate) patience: Option<Instant>,
    /// When the stack wants a turn.
    pub(crate) deadline: Option<Instant>,
    last_data: Instant,
}

impl Connection {
    /// A connection without descriptions. The offerer's has the data channel.
    pub(crate) fn new(
        certificate: RTCCertificate,
        provider: Arc<dyn RTCCryptoProvider>,
        offerer: bool,
        now: Instant,
    ) -> Result<Self, Error> {
        let settings = SettingEngineBuilder::new()
            .with_crypto_provider(provider)
            .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
            .with_prflx_acceptance_min_wait(Some(Duration::ZERO));
        let configuration = RTCConfigurationBuilder::new().with_certificates(vec![certificate]);
        let mut stack = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration.build())
            .with_setting_engine(settings.build())
            .build(now)?;
        if offerer {
            stack.create_data_channel(CHANNEL, None)?;
        }
        Ok(Self {
            stack,
            session: Arc::default(),
            offerer,
            local_ufrag: Arc::default(),
            remote_ufrags: Vec::new(),
            have_local_offer: false,
            restart_due: false,
            wants_srflx: false,
            early: Vec::new(),
            ice: IceState::New,
            dtls: DtlsState::New,
            channel: None,
            patience: None,
            deadline: None,
            last_data: now,
        })
    }

    /// Makes and sets the local description; true beside it if it starts a new ICE generation.
    pub(crate) fn describe(&mut self, kind: SignalKind, now: Instant) -> Result<(Description, bool), Error> {
        let description = match kind {
            SignalKind::Answer => self.stack.create_answer(None)?,
            _ => self.stack.create_offer(None)?,
        };
        self.stack.set_local_description(now, description.clone())?;
        self.have_local_offer = kind == SignalKind::Offer;
        let ufrag = ufrag(&description.sdp);
        let fresh = ufrag != self.local_ufrag;
        self.local_ufrag = ufrag;
        Ok((description, fresh))
    }

    /// Takes the own offer back, as the polite side of two offers that cross. RFC 9429 §4.1.10.2.
    pub(crate) fn roll_back(&mut self, now: Instant) -> Result<(), Error> {
        let mut rollback = Description::default();
        rollback.sdp_type = RTCSdpType::Rollback;
        self.stack.set_local_description(now, rollback)?;
        self.have_local_offer = false;
        Ok(())
    }

    /// Sets the remote description and, with it, the candidates that came before it.
    pub(crate) fn set_remote(&mut self, description: Description, now: Instant) -> Result<(), Error> {
        let ufrag = ufrag(&description.sdp);
        if description.sdp_type == RTCSdpType::Answer {
            self.have_local_offer = false;
        }
        self.stack.set_remote_description(now, description)?;
        if self.remote_ufrags.last() != Some(&ufrag) {
            self.remote_ufrags.push(ufrag);
        }
        Ok(())
    }

    /// The other side's newest username fragment.
    pub(crate) fn remote_ufrag(&self) -> Option<&Arc<str>> {
        self.remote_ufrags.last()
    }

    pub(crate) fn add_remote_candidate(&mut self, candidate: Trickled) -> Result<(), Error> {
        self.stack.add_remote_candidate(candidate)
    }

    /// Adds a host candidate, and returns it as it is to be trickled.
    pub(crate) fn add_host(&mut self, base: SocketAddrV4) -> Result<Trickled, Error> {
        let config = CandidateHostConfig { base_config: base_config(base), ..Default::default() };
        self.add_local(&config.new_candidate_host()?)
    }

    /// Adds a server-reflexive candidate, and returns it as it is to be trickled.
    pub(crate) fn add_srflx(&mut self, base: SocketAddrV4, mapped: SocketAddrV4) -> Result<Trickled, Error> {
        let (rel_addr, rel_port) = (base.ip().to_string(), base.port());
        let config = CandidateServerReflexiveConfig { base_config: base_config(mapped), rel_addr, rel_port, url: None };
        self.add_local(&config.new_candidate_server_reflexive()?)
    }

    fn add_local(&mut self, candidate: &rtc::ice::candidate::Candidate) -> Result<Trickled, Error> {
        let mut trickled = RTCIceCandidate::from(candidate).to_json()?;
        trickled.username_fragment = Some(self.local_ufrag.to_string());
        self.stack.add_local_candidate(trickled.clone())?;
        Ok(trickled)
    }

    /// Asks for new ICE credentials with the next offer.
    pub(crate) fn restart_ice(&mut self) {
        self.stack.restart_ice();
    }

    /// Whether ICE is connected, DTLS too, and the data channel is open.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.is_some() && matches!(self.ice, IceState::Connected | IceState::Completed)
    }

    /// Sends a message on the data channel; false if it is not open.
    pub(crate) fn send(&mut self, text: &str, now: Instant) -> bool {
        let Some(mut channel) = self.channel.and_then(|id| self.stack.data_channel(id)) else { return false };
        channel.send_text(now, text).is_ok()
    }

    /// Feeds a datagram.
    pub(crate) fn read(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        local: SocketAddr,
        now: Instant,
    ) -> Result<(), Error> {
        if !is_stun(datagram) {
            self.last_data = now;
        }
        let transport_protocol = TransportProtocol::UDP;
        let transport = TransportContext { local_addr: local, peer_addr: from, transport_protocol, ecn: None };
        self.stack.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(datagram) })
    }

    /// Ends the connection; what it still has to say comes out of [`drain`](Self::drain).
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.stack.close()
    }

    /// Lets time pass.
    pub(crate) fn on_time(&mut self, now: Instant) -> Result<(), Error> {
        self.stack.handle_timeout(now)
    }

    /// Takes all that the stack has to say, and learns when it wants its next turn. `elapsed` is the time on the grid.
    pub(crate) fn drain(&mut self, now: Instant, elapsed: Duration, out: &mut Vec<Output>) {
        for _ in 0..ROUNDS_MAX {
            while self.drain_once(now, out) {}
            self.deadline = self.stack.poll_timeout();
            match self.deadline {
                Some(deadline) if deadline <= now => {
                    if let Err(error) = self.stack.handle_timeout(now) {
                        out.push(Output::Change(PeerChange::Error { text: error.to_string().into() }));
                    }
                    self.deadline = Some(now + Duration::from_millis(1));
                }
                Some(deadline) if self.is_open() && now > self.last_data + QUIET => {
                    let due = (elapsed + (deadline - now)).as_millis() as u64;
                    let grid = QUIET_GRID.as_millis() as u64;
                    self.deadline = Some(deadline + Duration::from_millis(due.next_multiple_of(grid) - due));
                    return;
                }
                _ => return,
            }
        }
    }

    fn drain_once(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        let before = out.len();
        while let Some(TaggedBytesMut { transport, message, .. }) = self.stack.poll_write() {
            if !is_stun(&message) {
                self.last_data = now;
            }
            out.push(Output::Datagram(message, transport.peer_addr));
        }
        while let Some(event) = self.stack.poll_event() {
            match event {
                RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(state) => {
                    self.ice = ice_state(state);
                    out.push(Output::Change(PeerChange::Ice { state: self.ice }));
                    if matches!(self.ice, IceState::Connected | IceState::Completed) {
                        out.extend(self.selected().map(Output::Change));
                    }
                }
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                    self.channel = Some(id);
                    out.push(Output::Change(PeerChange::ChannelOpen));
                }
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(_)) => self.channel = None,
                _ => {}
            }
        }
        while let Some(TaggedRTCMessage { message, .. }) = self.stack.poll_read() {
            if let RTCMessage::DataChannelMessage(_, message) = message {
                let text = String::from_utf8_lossy(&message.data).into();
                out.push(Output::Change(PeerChange::ChannelReceived { text }));
            }
        }
        let dtls = self.stack.sctp().map_or(DtlsState::New, |sctp| dtls_state(sctp.transport().state()));
        if dtls != self.dtls {
            self.dtls = dtls;
            out.push(Output::Change(PeerChange::Dtls { state: dtls }));
        }
        out.len() > before
    }

    fn selected(&self) -> Option<PeerChange> {
        let pair = self.stack.sctp()?.transport().ice_transport().get_selected_candidate_pair()?;
        Some(PeerChange::Selected { local: candidate(pair.local())?, remote: candidate(pair.remote())? })
    }
}

fn base_config(address: SocketAddrV4) -> CandidateConfig {
    let (network, component) = ("udp".to_owned(), 1);
    CandidateConfig {
        network,
        address: address.ip().to_string(),
        port: address.port(),
        component,
        ..Default::default()
    }
}

/// The value of `a=ice-ufrag`; one transport has one.
pub(crate) fn ufrag(sdp: &str) -> Arc<str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap_or_default().trim_end().into()
}

fn candidate(candidate: &RTCIceCandidate) -> Option<Candidate> {
    let kind = match candidate.typ {
        RTCIceCandidateType::Host => CandidateKind::Host,
        RTCIceCandidateType::Srflx => CandidateKind::Srflx,
        RTCIceCandidateType::Prflx => CandidateKind::Prflx,
        RTCIceCandidateType::Relay => CandidateKind::Relay,
        _ => return None,
    };
    Some(Candidate { kind, address: SocketAddrV4::new(candidate.address.parse().ok()?, candidate.port) })
}

/// Reads a trickled candidate: `candidate:FOUNDATION COMPONENT PROTOCOL PRIORITY ADDRESS PORT typ TYPE …`. RFC 8839 §5.1.
pub(crate) fn parse_trickled(trickled: &Trickled) -> Option<Candidate> {
    let mut words = trickled.candidate.split_ascii_whitespace().skip(4);
    let (address, port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let kind = match words.nth(1)? {
        "host" => CandidateKind::Host,
        "srflx" => CandidateKind::Srflx,
        "prflx" => CandidateKind::Prflx,
        "relay" => CandidateKind::Relay,
        _ => return None,
    };
    Some(Candidate { kind, address: SocketAddrV4::new(address, port) })
}

fn ice_state(state: RTCIceConnectionState) -> IceState {
    match state {
        RTCIceConnectionState::Checking => IceState::Checking,
        RTCIceConnectionState::Connected => IceState::Connected,
        RTCIceConnectionState::Completed => IceState::Completed,
        RTCIceConnectionState::Disconnected => IceState::Disconnected,
        RTCIceConnectionState::Failed => IceState::Failed,
        RTCIceConnectionState::Closed => IceState::Closed,
        _ => IceState::New,
    }
}

fn dtls_state(state: RTCDtlsTransportState) -> DtlsState {
    match state {
        RTCDtlsTransportState::Connecting => DtlsState::Connecting,
        RTCDtlsTransportState::Connected => DtlsState::Connected,
        RTCDtlsTransportState::Closed => DtlsState::Closed,
        RTCDtlsTransportState::Failed => DtlsState::Failed,
        _ => DtlsState::New,
    }
}
