//! Message parts that several dialects share.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{ClientId, Message, RoomName, SignalKind};

/// A message in the form of an event: `{"type":…,"data":…}`.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
}

/// A decoded signal. If it has no payload, the payload is `null`.
pub(super) fn signal(room: &RoomName, peer: Option<ClientId>, kind: SignalKind, payload: Option<&RawValue>) -> Message {
    Message::Signal { room: room.clone(), peer, kind, payload: payload.map_or("null", RawValue::get).into() }
}

/// Encodes text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("every string has a JSON form")
}
