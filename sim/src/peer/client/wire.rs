//! Message parts that several dialects share.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Message, SignalKind};

/// A message in the form of an event: `{"type":…,"data":…}`.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
}

/// A decoded signal. If it has no payload, the payload is `null`.
pub(super) fn signal(room: &Arc<str>, peer: Option<Arc<str>>, kind: SignalKind, payload: Option<&RawValue>) -> Message {
    Message::Signal { room: room.clone(), peer, kind, payload: payload.map_or("null", RawValue::get).into() }
}

/// Encodes text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("every string has a JSON form")
}
