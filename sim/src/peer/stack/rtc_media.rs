//! Sound and picture of a connection of the crate `rtc`: one codec for each, RTP packets with nothing in them, and the
//! reports of RTCP.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::interceptor_registry::configure_rtcp_reports;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine};
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RTCRtpEncodingParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpSenderId, RTCRtpTransceiverId};
use rtc::shared::error::Error;

use super::{MediaPacket, MediaSections, StackError};
use crate::event::TrackKind;

/// The codecs of a connection that knows these kinds of tracks. Lost packets are not asked for again (RFC 4585 NACK), so
/// that a receiver sees the losses of the path.
pub(super) fn engine(kinds: &[TrackKind]) -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    for kind in kinds {
        engine.register_codec(codec(*kind), codec_kind(*kind))?;
    }
    Ok(engine)
}

/// What sends and reads the sender and receiver reports of RTCP. RFC 3550 §6.4.
pub(super) fn reports() -> Registry {
    configure_rtcp_reports(Registry::new())
}

/// Opus with the clock of RFC 7587 §4.1, and VP8 with that of RFC 7741 §6. The payload types are those of browsers.
fn codec(kind: TrackKind) -> RTCRtpCodecParameters {
    let (mime_type, clock_rate, channels, payload_type) = match kind {
        TrackKind::Audio => (MIME_TYPE_OPUS, 48_000, 2, 111),
        TrackKind::Video => (MIME_TYPE_VP8, 90_000, 0, 96),
    };
    let rtp_codec = RTCRtpCodec { mime_type: mime_type.to_owned(), clock_rate, channels, ..Default::default() };
    RTCRtpCodecParameters { rtp_codec, payload_type }
}

fn codec_kind(kind: TrackKind) -> RtpCodecKind {
    match kind {
        TrackKind::Audio => RtpCodecKind::Audio,
        TrackKind::Video => RtpCodecKind::Video,
    }
}

/// The tracks of a connection.
pub(super) struct RtcMedia {
    kinds: Vec<TrackKind>,
    /// Whether this side made the first offer.
    offerer: bool,
    senders: BTreeMap<TrackKind, RTCRtpSenderId>,
    /// The other side's tracks that its descriptions have announced.
    announced: BTreeSet<TrackKind>,
    /// The start of RTP timestamps.
    epoch: Instant,
}

impl RtcMedia {
    /// Prepares a connection for the kinds that it knows: an offer has sections for those that somebody sends.
    pub(super) fn new(
        connection: &mut RTCPeerConnection,
        sections: &MediaSections,
        offerer: bool,
        now: Instant,
    ) -> Result<Self, Error> {
        for kind in sections.offered.iter().filter(|_| offerer) {
            // Without a track of its own, it only receives.
            connection.add_transceiver_from_kind(codec_kind(*kind), None)?;
        }
        let kinds = sections.known.clone();
        Ok(Self { kinds, offerer, senders: BTreeMap::new(), announced: BTreeSet::new(), epoch: now })
    }

    /// Adds a track of this side, which the next description has.
    pub(super) fn add(&mut self, connection: &mut RTCPeerConnection, kind: TrackKind) -> Result<(), StackError> {
        if !self.kinds.contains(&kind) {
            return Err(StackError::from(format!("this connection knows no {}", kind.name())));
        }
        let encoding = RTCRtpEncodingParameters { codec: codec(kind).rtp_codec, ..Default::default() };
        let name = || kind.name().to_owned();
        let track = MediaStreamTrack::new("media".to_owned(), name(), name(), codec_kind(kind), vec![encoding]);
        // An offer that only receives makes the other side's library forget that it could ever receive in this section. So
        // an offerer that sends later uses another one.
        let sender = if self.offerer && connection.local_description().is_some() {
            connection.add_transceiver_from_track(track, None)?.into()
        } else {
            connection.add_track(track)?
        };
        self.senders.insert(kind, sender);
        Ok(())
    }

    /// Sends a packet of a track, if the other side has agreed to receive it. Returns whether it has.
    pub(super) fn send(
        &self,
        connection: &mut RTCPeerConnection,
        packet: MediaPacket,
        now: Instant,
    ) -> Result<bool, Error> {
        let Some(id) = self.senders.get(&packet.kind).copied() else { return Ok(false) };
        let transceiver = connection.rtp_transceiver(RTCRtpTransceiverId::from(id));
        if !transceiver.is_some_and(|transceiver| transceiver.current_direction().has_send()) {
            return Ok(false);
        }
        let Some(mut sender) = connection.rtp_sender(id) else { return Ok(false) };
        let codec = sender.get_parameters().rtp_parameters.codecs.first();
        let payload_type = codec.map(|codec| codec.payload_type).ok_or(Error::ErrRTPTransceiverCodecUnsupported)?;
        let ssrc = sender.track().ssrcs().last().ok_or(Error::ErrSenderWithNoSSRCs)?;
        let clock = u128::from(self::codec(packet.kind).rtp_codec.clock_rate);
        let ticks = (now - self.epoch).as_millis() * clock / 1000;
        let header = rtp::header::Header {
            version: 2,
            payload_type,
            sequence_number: packet.number,
            // It wraps around: RFC 3550 §5.1.
            timestamp: ticks as u32,
            ssrc,
            ..Default::default()
        };
        sender.write_rtp(now, rtp::Packet { header, payload: Bytes::from(vec![0; usize::from(packet.bytes)]) })?;
        Ok(true)
    }

    /// The tracks that a description of the other side announces for the first time. W3C WebRTC §5.1.1, `ontrack`.
    pub(super) fn announced(&mut self, sdp: &str) -> Vec<TrackKind> {
        let sent = sent_kinds(sdp).into_iter().filter(|kind| self.kinds.contains(kind));
        sent.filter(|kind| self.announced.insert(*kind)).collect()
    }

    /// What the other side's track with this id carries.
    pub(super) fn kind_of(connection: &mut RTCPeerConnection, track: &str) -> Option<TrackKind> {
        let receivers: Vec<_> = connection.get_receivers().collect();
        receivers.into_iter().find_map(|id| {
            let receiver = connection.rtp_receiver(id)?;
            let found = receiver.track();
            (found.track_id() == track).then_some(match found.kind() {
                RtpCodecKind::Video => TrackKind::Video,
                _ => TrackKind::Audio,
            })
        })
    }
}

/// The kinds of the sections that the writer of a description sends in. RFC 9429 §5.2.1: without a direction, it is both.
fn sent_kinds(sdp: &str) -> Vec<TrackKind> {
    let mut sent = Vec::new();
    for section in sdp.split("\nm=").skip(1) {
        let mut words = section.split([' ', '\r', '\n']);
        let kind = match words.next() {
            Some("audio") => TrackKind::Audio,
            Some("video") => TrackKind::Video,
            _ => continue,
        };
        let is_rejected = words.next() == Some("0");
        let is_silent = section.lines().any(|line| ["a=recvonly", "a=inactive"].contains(&line.trim_end()));
        if !is_rejected && !is_silent {
            sent.push(kind);
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_sent_unless_it_is_rejected_or_only_received() {
        let sdp =
            |port: u16, direction: &str| format!("v=0\r\nm=audio {port} X 111\r\na={direction}\r\nm=video 9 X 96\r\n");
        assert_eq!(sent_kinds(&sdp(9, "sendrecv")), [TrackKind::Audio, TrackKind::Video]);
        assert_eq!(sent_kinds(&sdp(9, "sendonly")), [TrackKind::Audio, TrackKind::Video]);
        assert_eq!(sent_kinds(&sdp(9, "recvonly")), [TrackKind::Video]);
        assert_eq!(sent_kinds(&sdp(9, "inactive")), [TrackKind::Video]);
        assert_eq!(sent_kinds(&sdp(0, "sendrecv")), [TrackKind::Video]);
        assert_eq!(sent_kinds("v=0\r\nm=application 9 X webrtc-datachannel\r\n"), []);
    }
}
