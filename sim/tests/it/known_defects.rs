//! Defects of the WebRTC library that the simulator carries: each is seen with its seed. A test here fails when a release
//! of the library has mended its defect; then remove the test and what works round the defect.

use std::sync::Arc;

use sim::event::{DtlsState, PeerChange, What};

/// Of the seeds 0 to 39, 0, 4, 8, 23, 33, 34 and 37 hang.
const HANGS: u64 = 0;

/// `rtc-dtls` stops its retransmission timer at any datagram, so a handshake that loses a flight may hang for ever: ICE is
/// connected, DTLS never is (webrtc-rs/rtc#243). Clients hang up after a while and offer again.
#[test]
fn a_dtls_handshake_that_loses_a_flight_may_hang() {
    let text = include_str!("../peers/two-with-loss.toml");
    let scenario = Arc::new(scenarios::parse("two-with-loss.toml", text).unwrap_or_else(|error| panic!("{error}")));
    let outcome = sim::run::run(&scenario, HANGS).expect("no crash");
    assert_eq!(outcome.violations, [], "the clients help themselves");
    assert!(outcome.probes.contains_key("dtls-hung"), "no handshake hangs any more: {:?}", outcome.probes);
    let is_connected = |what: &What| matches!(what, What::Peer(peer) if peer.change == PeerChange::Dtls { state: DtlsState::Connected } && peer.attempt > 1);
    assert!(outcome.record.events.iter().any(|event| is_connected(&event.what)), "a later attempt succeeds");
}
