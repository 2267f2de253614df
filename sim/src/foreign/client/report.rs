//! What a program reports by itself: lines of JSON on its standard output, in the form of the suite's adapters.
//!
//! | line | meaning |
//! |---|---|
//! | `{"event":"state","peer":ID,"state":"connected"}` | the state of a connection: as `RTCPeerConnection.connectionState` |
//! | `{"event":"channel","peer":ID}` | the data channel to a peer is open |
//! | `{"event":"sent","peer":ID,"text":…}` | it has sent a message to a peer |
//! | `{"event":"received","peer":ID,"text":…}` | a message has arrived from a peer |
//! | `{"event":"error","peer":ID,"text":…}` | its WebRTC stack has reported an error |

use serde::Deserialize;

use crate::event::{Closed, IceState, PeerChange};

/// A report.
#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    peer: String,
    state: Option<String>,
    text: Option<String>,
}

/// The peer and the change that a line reports; `None` if it is not a report. A state that the wire already shows has no
/// change.
pub(super) fn parse(line: &str) -> Option<(String, Option<PeerChange>)> {
    let Line { event, peer, state, text } = serde_json::from_str(line).ok()?;
    let change = match (event.as_str(), state.as_deref(), text) {
        ("state", Some("new" | "connecting"), _) => None,
        ("state", Some("connected"), _) => Some(PeerChange::Ice { state: IceState::Connected }),
        ("state", Some("disconnected"), _) => Some(PeerChange::Ice { state: IceState::Disconnected }),
        ("state", Some("failed"), _) => Some(PeerChange::Ice { state: IceState::Failed }),
        ("state", Some("closed"), _) => Some(PeerChange::Closed { why: Closed::Hangup }),
        ("channel", ..) => Some(PeerChange::ChannelOpen),
        ("sent", _, Some(text)) => Some(PeerChange::ChannelSent { text: text.into() }),
        ("received", _, Some(text)) => Some(PeerChange::ChannelReceived { text: text.into() }),
        ("error", _, Some(text)) => Some(PeerChange::Error { text: text.into() }),
        _ => return None,
    };
    Some((peer, change))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_from_other_output() {
        let parsed = parse(r#"{"event":"received","peer":"x1","text":"hello","at":7}"#);
        assert_eq!(parsed, Some(("x1".to_owned(), Some(PeerChange::ChannelReceived { text: "hello".into() }))));
        assert_eq!(parse(r#"{"event":"state","peer":"x1","state":"connecting"}"#), Some(("x1".to_owned(), None)));
        for other in ["hello", "{}", r#"{"event":"state","peer":"x","state":"odd"}"#, r#"{"event":"sent","peer":"x"}"#]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
