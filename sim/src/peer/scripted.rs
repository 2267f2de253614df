//! A stand-in for WebRTC where only the signaling is played: an offer is answered, and each side trickles a candidate.

use std::sync::Arc;

use crate::event::SignalKind;
use crate::peer::negotiation::Outgoing;

/// Payloads of the size and shape that real ones have, with what a careless server would spoil: the order of keys, a big
/// number, escapes.
const OFFER: &str =
    r#"{"type":"offer","sdp":"v=0\r\no=- 9007199254740993 2 IN IP4 127.0.0.1\r\n","zeta":1,"alpha":1.0}"#;
const ANSWER: &str =
    r#"{"type":"answer","sdp":"v=0\r\no=- 9007199254740995 2 IN IP4 127.0.0.1\r\n","note":"\u00e9\/"}"#;
const CANDIDATE: &str =
    r#"{"candidate":"candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host","sdpMid":"0","sdpMLineIndex":null}"#;

/// The signals that offer a connection.
pub(crate) fn offer(to: &Arc<str>) -> Vec<Outgoing> {
    describe(to, SignalKind::Offer, OFFER)
}

/// The signals that answer what came.
pub(crate) fn answer(from: &Arc<str>, kind: SignalKind) -> Vec<Outgoing> {
    if kind == SignalKind::Offer { describe(from, SignalKind::Answer, ANSWER) } else { Vec::new() }
}

fn describe(to: &Arc<str>, kind: SignalKind, payload: &str) -> Vec<Outgoing> {
    let signal = |kind, payload: &str| Outgoing { to: to.clone(), kind, payload: payload.into() };
    vec![signal(kind, payload), signal(SignalKind::IceCandidate, CANDIDATE)]
}
