//! What our clients put into the opaque payload of a signal.

use std::sync::Arc;

use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Any payload: `{"session":…, …}`. The session is the ICE username fragment of the offer that opened the connection; by it, what
/// belongs to an older connection between the same two is told apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Payload<B> {
    pub(crate) session: Arc<str>,
    #[serde(flatten)]
    pub(crate) body: B,
}

/// The body of an offer and of an answer.
pub(crate) type Description = RTCSessionDescription;
/// The body of an ICE candidate.
pub(crate) type Trickled = RTCIceCandidateInit;
/// The body of a hangup.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Nothing {}

impl<B: Serialize> Payload<B> {
    pub(crate) fn to_json(&self) -> Arc<str> {
        serde_json::to_string(self).expect("strings and numbers have a JSON form").into()
    }
}

impl<B: DeserializeOwned> Payload<B> {
    pub(crate) fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}
