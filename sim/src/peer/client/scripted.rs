//! Replaces WebRTC where only the signaling is simulated: each offer is answered, and each side trickles one candidate.

use std::time::Duration;

use crate::event::{NodeId, PeerName, SignalKind};
use crate::peer::negotiation::OutgoingSignal;

/// Produces the signals of one client. No two of its payloads are equal, so that the oracles can tell them apart.
pub(crate) struct Script {
    /// Makes payloads differ from those of other clients and, because it contains the start time, from those that the
    /// same client sent in an earlier life.
    client: String,
    said: u64,
}

impl Script {
    pub(crate) fn new(node: NodeId, begun: Duration) -> Self {
        Self { client: format!("{}{:010}", node.0, begun.as_micros()), said: 0 }
    }

    /// The signals that offer a connection to a peer.
    pub(crate) fn offer(&mut self, to: &PeerName) -> Vec<OutgoingSignal> {
        self.describe(to, SignalKind::Offer)
    }

    /// The signals that respond to a signal from a peer.
    pub(crate) fn answer(&mut self, from: &PeerName, kind: SignalKind) -> Vec<OutgoingSignal> {
        if kind == SignalKind::Offer { self.describe(from, SignalKind::Answer) } else { Vec::new() }
    }

    fn describe(&mut self, to: &PeerName, kind: SignalKind) -> Vec<OutgoingSignal> {
        self.said += 1;
        let number = format!("{}{:03}", self.client, self.said);
        let signal = |kind, payload: String| OutgoingSignal { to: to.clone(), kind, payload: payload.into() };
        vec![signal(kind, description(kind, &number)), signal(SignalKind::IceCandidate, candidate(&number))]
    }
}

/// A description of realistic size and shape. It contains details that a careless server would damage: the order of
/// keys, a large number, escapes.
fn description(kind: SignalKind, number: &str) -> String {
    let sdp = format!(r"v=0\r\no=- 9007199254740993 {number} IN IP4 127.0.0.1\r\n");
    if kind == SignalKind::Offer {
        format!(r#"{{"type":"offer","sdp":"{sdp}","zeta":1,"alpha":1.0}}"#)
    } else {
        format!(r#"{{"type":"answer","sdp":"{sdp}","note":"\u00e9\/"}}"#)
    }
}

fn candidate(number: &str) -> String {
    format!(
        r#"{{"candidate":"candidate:{number} 1 udp 2130706431 192.0.2.1 5000 typ host","sdpMid":"0","sdpMLineIndex":null}}"#
    )
}
