//! A WebRTC stack built on the crate `rtc`.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{RTCCryptoProvider, SignatureScheme};
use rtc::data_channel::RTCDataChannelId;
use rtc::ice::candidate::candidate_relay::CandidateRelayConfig;
use rtc::ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::RTCIceConnectionState;
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCDtlsTransportState, RTCIceCandidate, RTCIceCandidateInit,
    RTCIceCandidateType,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use scenarios::{IceTransportPolicy, Timing};

use super::pacing::{CHECK_INTERVAL, CHECKS_MAX, Pacing};
use super::rtc_media::{self, RtcMedia};
use super::{
    Description, DescriptionKind, Input, KeyLog, LocalCandidate, MediaPacket, MediaSections, Output, Stack, StackError,
    StackEvent, StackFactory, Trickled,
};
use crate::event::TransportAddress;
use crate::event::{Candidate, CandidateKind, DtlsState, IceState, TrackKind};
use crate::peer::path::{Path, Transmit};

/// The component of all candidates: there is one transport.
const COMPONENT: u16 = 1;
/// Label of the data channel.
const CHANNEL: &str = "chat";

/// The related address of a relayed candidate. The mapped address, which belongs there, is hidden, as browsers do: the
/// other side may not learn it.
//= https://www.rfc-editor.org/rfc/rfc8839#section-5.1
//# use an "<address>" value of "0.0.0.0" or "::" and a "<port>" value of "9"
const HIDDEN: ([&str; 2], u16) = (["0.0.0.0", "::"], 9);
/// How long a relayed pair waits for a better one before it is nominated: as long as the libraries `rtc` and pion wait.
const RELAY_WAIT: Duration = Duration::from_secs(2);

impl From<Error> for StackError {
    fn from(error: Error) -> Self {
        Self(Box::new(error))
    }
}

/// Creates connections that share a certificate.
pub(crate) struct RtcFactory {
    certificate: RTCCertificate,
    /// The cryptography of all connections.
    provider: Arc<dyn RTCCryptoProvider>,
    timing: Timing,
    policy: IceTransportPolicy,
    media: MediaSections,
}

/// Which side opens the DTLS association: the value of `a=setup` in this side's answers. RFC 8842 §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    Active,
    Passive,
}

impl RtcFactory {
    /// A factory whose certificate carries `name`. The secrets of DTLS sessions go to `keys`, if given.
    ///
    /// # Errors
    /// No certificate can be created.
    pub(crate) fn new(
        name: &str,
        keys: Option<&KeyLog>,
        timing: Timing,
        policy: IceTransportPolicy,
        media: MediaSections,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let provider = rtc::crypto::default_provider()?;
        let provider = keys.map_or(provider.clone(), |keys| keys.overhear(provider));
        let params = CertificateParams::new(vec![name.to_owned()])?;
        let certificate = RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, params)?;
        Ok(Self { certificate, provider, timing, policy, media })
    }
}

impl StackFactory for RtcFactory {
    fn open(&self, offerer: bool, now: Instant) -> Result<Box<dyn Stack>, StackError> {
        let mut settings = SettingEngineBuilder::new().with_crypto_provider(self.provider.clone());
        let pacing = Pacing::new(self.timing);
        // There is nothing better to wait for.
        let relay_wait = if self.policy == IceTransportPolicy::Relay { Duration::ZERO } else { RELAY_WAIT };
        if pacing.is_some() {
            settings = settings
                .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
                .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
                .with_relay_acceptance_min_wait(Some(relay_wait))
                .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS_MAX));
        }
        let configuration = RTCConfigurationBuilder::new().with_certificates(vec![self.certificate.clone()]);
        let mut builder = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration.build())
            .with_setting_engine(settings.build());
        if !self.media.known.is_empty() {
            builder = builder
                .with_media_engine(rtc_media::engine(&self.media.known)?)
                .with_interceptor_registry(rtc_media::reports());
        }
        let mut connection = builder.build(now)?;
        if offerer {
            connection.create_data_channel(CHANNEL, None)?;
        }
        let media = RtcMedia::new(&mut connection, &self.media, offerer, now)?;
        let (ice, dtls, outputs) = (IceState::New, DtlsState::New, VecDeque::new());
        let policy = self.policy;
        Ok(Box::new(Rtc { connection, media, channel: None, setup: None, ice, dtls, pacing, policy, now, outputs }))
    }
}

/// The role that an answer claims. Without a word, an answerer opens the association (RFC 8842 §5.3).
fn setup_of(answer: &Description) -> Setup {
    match answer.read().setup() {
        Some("passive") => Setup::Passive,
        _ => Setup::Active,
    }
}

/// An answer that claims a role in each of its sections.
fn with_setup(sdp: &str, setup: Setup) -> String {
    let [claimed, other] = match setup {
        Setup::Active => ["a=setup:active", "a=setup:passive"],
        Setup::Passive => ["a=setup:passive", "a=setup:active"],
    };
    sdp.replace(other, claimed)
}

/// A connection of the crate `rtc`.
struct Rtc {
    connection: RTCPeerConnection,
    media: RtcMedia,
    channel: Option<RTCDataChannelId>,
    /// This side's role in the DTLS association, once the first answer has decided it.
    setup: Option<Setup>,
    ice: IceState,
    dtls: DtlsState,
    /// Decides about checks until ICE is connected; `None` if the library does.
    pacing: Option<Pacing>,
    policy: IceTransportPolicy,
    /// The time of the last call that named one.
    now: Instant,
    /// Outputs that [`poll`](Stack::poll) returns before it queries the connection again.
    outputs: VecDeque<Output>,
}

impl Stack for Rtc {
    fn offer(&mut self, now: Instant) -> Result<Description, StackError> {
        let offer = self.connection.create_offer(None)?;
        self.set_local(DescriptionKind::Offer, offer, now)
    }

    fn answer(&mut self, now: Instant) -> Result<Description, StackError> {
        let answer = self.connection.create_answer(None)?;
        let answer = self.set_local(DescriptionKind::Answer, answer, now)?;
        // Without a new DTLS association its roles stay (RFC 8842 §5.3). The library forgets them, and browsers refuse
        // such an answer.
        let setup = *self.setup.get_or_insert(setup_of(&answer));
        Ok(Description { sdp: with_setup(&answer.sdp, setup), ..answer })
    }

    fn accept(&mut self, remote: &Description, now: Instant) -> Result<(), StackError> {
        self.happened(now);
        let kind = match remote.kind {
            DescriptionKind::Offer => RTCSdpType::Offer,
            DescriptionKind::Answer => RTCSdpType::Answer,
        };
        if remote.kind == DescriptionKind::Answer {
            self.setup.get_or_insert(match setup_of(remote) {
                Setup::Active => Setup::Passive,
                Setup::Passive => Setup::Active,
            });
        }
        self.connection.set_remote_description(now, description(kind, &remote.sdp))?;
        for track in self.media.announced(&remote.sdp) {
            self.report(StackEvent::Track(track));
        }
        Ok(())
    }

    fn roll_back(&mut self, now: Instant) -> Result<(), StackError> {
        Ok(self.connection.set_local_description(now, description(RTCSdpType::Rollback, ""))?)
    }

    fn restart_ice(&mut self) {
        self.connection.restart_ice();
    }

    fn add_local(&mut self, candidate: &LocalCandidate) -> Result<String, StackError> {
        let LocalCandidate { kind, address, base, preference } = *candidate;
        let base_config = CandidateConfig {
            network: "udp".to_owned(),
            address: address.ip().to_string(),
            port: address.port(),
            component: COMPONENT,
            priority: priority(kind, preference),
            ..Default::default()
        };
        let candidate = match kind {
            CandidateKind::Host => CandidateHostConfig { base_config, ..Default::default() }.new_candidate_host()?,
            CandidateKind::Srflx => {
                let (rel_addr, rel_port) = (base.ip().to_string(), base.port());
                let config = CandidateServerReflexiveConfig { base_config, rel_addr, rel_port, url: None };
                config.new_candidate_server_reflexive()?
            }
            CandidateKind::Relay => {
                let (hidden, rel_port) = HIDDEN;
                let rel_addr = hidden[usize::from(address.is_ipv6())].to_owned();
                let config = CandidateRelayConfig { base_config, rel_addr, rel_port, url: None };
                config.new_candidate_relay()?
            }
            CandidateKind::Prflx => return Err(Error::ErrICECandidateTypeUnknown.into()),
        };
        let (now, is_hidden) = (self.now, self.policy == IceTransportPolicy::Relay);
        if kind == CandidateKind::Relay && !is_hidden {
            self.pacing.iter_mut().for_each(|pacing| pacing.relay(address, now));
        }
        let trickled = RTCIceCandidate::from(&candidate).to_json()?;
        let attribute = trickled.candidate.clone();
        self.happened(self.now);
        self.connection.add_local_candidate(trickled)?;
        Ok(attribute)
    }

    fn add_remote(&mut self, candidate: &Trickled) -> Result<(), StackError> {
        self.happened(self.now);
        Ok(self.connection.add_remote_candidate(RTCIceCandidateInit {
            candidate: candidate.candidate.clone(),
            sdp_mid: candidate.sdp_mid.clone(),
            sdp_mline_index: candidate.sdp_mline_index,
            username_fragment: candidate.username_fragment.clone(),
            url: None,
        })?)
    }

    fn send(&mut self, text: &str, now: Instant) -> Result<(), StackError> {
        let id = self.channel.ok_or(Error::ErrDataChannelNotOpen)?;
        let mut channel = self.connection.data_channel(id).ok_or(Error::ErrDataChannelNotOpen)?;
        Ok(channel.send_text(now, text)?)
    }

    fn add_track(&mut self, kind: TrackKind) -> Result<(), StackError> {
        self.media.add(&mut self.connection, kind)
    }

    fn send_packet(&mut self, packet: MediaPacket, now: Instant) -> Result<bool, StackError> {
        self.now = now;
        Ok(self.media.send(&mut self.connection, packet, now)?)
    }

    fn close(&mut self) -> Result<(), StackError> {
        Ok(self.connection.close()?)
    }

    fn handle(&mut self, input: Input<'_>, now: Instant) -> Result<(), StackError> {
        self.now = now;
        match input {
            Input::Datagram { path: path @ Path { remote, base }, bytes } => {
                self.pacing.iter_mut().for_each(|pacing| pacing.received(path, bytes));
                let transport = TransportContext {
                    local_addr: base,
                    peer_addr: remote,
                    transport_protocol: TransportProtocol::UDP,
                    ecn: None,
                };
                self.connection.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(bytes) })?;
            }
            Input::Timeout => {
                self.pacing.iter_mut().for_each(|pacing| pacing.called(now));
                self.connection.handle_timeout(now)?;
            }
        }
        Ok(())
    }

    fn poll(&mut self) -> Output {
        if self.outputs.is_empty() {
            self.take_outputs();
        }
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let asked = self.connection.poll_timeout();
        let is_checking = self.is_checking();
        match self.pacing.as_ref().filter(|_| is_checking) {
            Some(pacing) => Output::Timeout(asked.map(|asked| pacing.deadline(asked))),
            None => Output::Timeout(asked),
        }
    }
}

impl Rtc {
    /// Whether ICE is checking pairs, so that nothing else has a deadline.
    fn is_checking(&self) -> bool {
        matches!(self.ice, IceState::New | IceState::Checking)
    }

    /// Notes that something has happened to the connection.
    fn happened(&mut self, now: Instant) {
        self.now = now;
        self.pacing.iter_mut().for_each(Pacing::happened);
    }

    fn set_local(
        &mut self,
        kind: DescriptionKind,
        description: RTCSessionDescription,
        now: Instant,
    ) -> Result<Description, StackError> {
        let sdp = description.sdp.clone();
        self.connection.set_local_description(now, description)?;
        Ok(Description { kind, sdp })
    }

    /// Collects all outputs that the connection has ready.
    fn take_outputs(&mut self) {
        while let Some(TaggedBytesMut { transport, message: bytes, .. }) = self.connection.poll_write() {
            let path = Path { remote: transport.peer_addr, base: transport.local_addr };
            let is_checking = self.is_checking();
            let pacing = self.pacing.as_mut().filter(|_| is_checking);
            if pacing.is_some_and(|pacing| !pacing.admits(path, &bytes, self.now)) {
                continue;
            }
            self.outputs.push_back(Output::Transmit(Transmit { path, bytes }));
        }
        while let Some(event) = self.connection.poll_event() {
            match event {
                RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(state) => {
                    let state = ice_state(state);
                    self.ice = state;
                    self.pacing.iter_mut().for_each(Pacing::clear);
                    self.report(StackEvent::Ice(state));
                    if matches!(state, IceState::Connected | IceState::Completed)
                        && let Some(selected) = self.selected()
                    {
                        self.report(selected);
                    }
                }
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                    self.channel = Some(id);
                    self.report(StackEvent::ChannelOpen);
                }
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(_)) => {
                    self.channel = None;
                    self.report(StackEvent::ChannelClosed);
                }
                _ => {}
            }
        }
        while let Some(TaggedRTCMessage { message, .. }) = self.connection.poll_read() {
            match message {
                RTCMessage::DataChannelMessage(_, message) => {
                    self.report(StackEvent::Text(String::from_utf8_lossy(&message.data).into()));
                }
                RTCMessage::RtpPacket(track, packet) => {
                    let number = packet.header.sequence_number;
                    if let Some(kind) = RtcMedia::kind_of(&mut self.connection, &track) {
                        self.report(StackEvent::Packet { kind, number });
                    }
                }
                _ => {}
            }
        }
        let dtls = self.connection.sctp().map_or(DtlsState::New, |sctp| dtls_state(sctp.transport().state()));
        if dtls != self.dtls {
            self.dtls = dtls;
            self.report(StackEvent::Dtls(dtls));
        }
    }

    fn report(&mut self, event: StackEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn selected(&self) -> Option<StackEvent> {
        let pair = self.connection.sctp()?.transport().ice_transport().get_selected_candidate_pair()?;
        Some(StackEvent::Selected { local: candidate(pair.local())?, remote: candidate(pair.remote())? })
    }
}

/// The priority of a candidate; 0 stands for the one that the library computes itself, with the highest preference.
//= https://www.rfc-editor.org/rfc/rfc8445#section-5.1.2.1
//# priority = (2^24)*(type preference) +
//#            (2^8)*(local preference) +
//#            (2^0)*(256 - component ID)
fn priority(kind: CandidateKind, preference: u16) -> u32 {
    let of_type = match kind {
        CandidateKind::Host => 126,
        CandidateKind::Prflx => 110,
        CandidateKind::Srflx => 100,
        CandidateKind::Relay => 0,
    };
    match preference {
        u16::MAX => 0,
        _ => (of_type << 24) + (u32::from(preference) << 8) + (256 - u32::from(COMPONENT)),
    }
}

/// A description that has not been parsed: the stack parses it when it is set.
fn description(kind: RTCSdpType, sdp: &str) -> RTCSessionDescription {
    let mut description = RTCSessionDescription::default();
    description.sdp_type = kind;
    description.sdp = sdp.to_owned();
    description
}

fn candidate(candidate: &RTCIceCandidate) -> Option<Candidate> {
    let kind = match candidate.typ {
        RTCIceCandidateType::Host => CandidateKind::Host,
        RTCIceCandidateType::Srflx => CandidateKind::Srflx,
        RTCIceCandidateType::Prflx => CandidateKind::Prflx,
        RTCIceCandidateType::Relay => CandidateKind::Relay,
        _ => return None,
    };
    Some(Candidate { kind, address: TransportAddress::new(candidate.address.parse::<IpAddr>().ok()?, candidate.port) })
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
