//! Session descriptions as clients exchange them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::SignalKind;
use crate::peer::sdp::Sdp;

/// A session description: `{"type":"offer","sdp":…}`. W3C WebRTC §4.6.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    #[serde(rename = "type")]
    pub(crate) kind: DescriptionKind,
    pub(crate) sdp: String,
}

/// The type of a session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DescriptionKind {
    Offer,
    Answer,
}

impl Description {
    /// What its text says.
    pub(crate) fn read(&self) -> Sdp<'_> {
        Sdp(&self.sdp)
    }

    /// The ICE username fragment; empty if it has none.
    pub(crate) fn ufrag(&self) -> Arc<str> {
        self.read().ufrag().unwrap_or_default().into()
    }
}

/// The kind of signal that carries a description.
impl From<DescriptionKind> for SignalKind {
    fn from(kind: DescriptionKind) -> Self {
        match kind {
            DescriptionKind::Offer => Self::Offer,
            DescriptionKind::Answer => Self::Answer,
        }
    }
}
