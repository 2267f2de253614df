//! The client side of the `sender-viewer` dialect: a sender that offers as soon as a viewer is there, and the viewer
//! that answers.
//!
//! A sender is INIT → WAITING (joined) → ACTIVE (a viewer is ready) → WAITING (the viewer left). A viewer is INIT →
//! ACTIVE (an offer arrived) → WAITING (the sender left). Either is in ERROR while another client holds its role, and
//! after it has stopped dialling. When it loses its signaling connection, it returns to INIT.

use std::borrow::Cow;
use std::time::Instant;

use scenarios::Role;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{ClientState, Closed, Message, PeerName, Refused, RoomName, SignalKind};
use crate::peer::client::cx::ClientCx;
use crate::peer::client::wire::{self, quoted};
use crate::peer::client::{ASK_AGAIN, Dialect};
use crate::peer::negotiation::OutgoingSignal;

/// A client that is a sender or a viewer.
pub(super) struct SenderViewer {
    role: Role,
    /// The name that the negotiation uses for the other side, because the dialect has no ids.
    partner: PeerName,
    /// When to ask to join again, after a refusal.
    ask_again: Option<Instant>,
}

impl SenderViewer {
    pub(super) fn new(role: Role) -> Self {
        let partner = if role == Role::Sender { Role::Viewer } else { Role::Sender };
        Self { role, partner: PeerName::Role(partner), ask_again: None }
    }

    fn join(&self, cx: &mut ClientCx) {
        let text = format!(r#"{{"type":"join","role":"{}","room":{}}}"#, self.role.name(), quoted(&cx.config.room));
        cx.send(text, Message::Join { room: cx.room() });
    }
}

impl Dialect for SenderViewer {
    fn path(&self, _room: &str) -> String {
        "/ws".to_owned()
    }

    fn on_connected(&mut self, cx: &mut ClientCx) {
        self.join(cx);
    }

    fn on_lost(&mut self, is_over: bool, cx: &mut ClientCx) {
        self.ask_again = None;
        cx.enter(if is_over { ClientState::Error } else { ClientState::Init });
    }

    fn on_text(&mut self, text: &str, cx: &mut ClientCx) {
        let message = read(text, &cx.config.room);
        cx.received(&message);
        match message {
            Message::Admitted { .. } => {
                self.ask_again = None;
                cx.end(&self.partner, Closed::Replaced);
                cx.set_signaling(true);
                cx.enter(if self.role == Role::Sender { ClientState::Waiting } else { ClientState::Init });
            }
            Message::PartnerReady { .. } if self.role == Role::Sender => {
                cx.enter(ClientState::Active);
                // A viewer that is ready again has no state of the earlier connection.
                cx.end(&self.partner, Closed::Replaced);
                cx.offer(&self.partner);
            }
            Message::PartnerLeft { .. } => {
                cx.enter(ClientState::Waiting);
                cx.end(&self.partner, Closed::PeerLeft);
            }
            Message::Signal { kind, payload, .. } => {
                if (self.role, kind) == (Role::Viewer, SignalKind::Offer) {
                    cx.enter(ClientState::Active);
                }
                cx.on_signal(&self.partner, kind, &payload);
            }
            Message::Refused { .. } => {
                cx.enter(ClientState::Error);
                self.ask_again = Some(cx.now() + ASK_AGAIN);
            }
            _ => {}
        }
    }

    fn send_signal(&mut self, OutgoingSignal { kind, payload, .. }: OutgoingSignal, cx: &mut ClientCx) {
        let text = match kind {
            SignalKind::Offer => format!(r#"{{"type":"offer","sdp":{payload}}}"#),
            SignalKind::Answer => format!(r#"{{"type":"answer","sdp":{payload}}}"#),
            SignalKind::IceCandidate => format!(r#"{{"type":"ice-candidate","candidate":{payload}}}"#),
            // The dialect has no hangup: the other side times out by itself.
            SignalKind::Hangup => return,
        };
        cx.send(text, Message::Signal { room: cx.room(), peer: None, kind, payload });
    }

    fn known_as(&self, _name: &str) -> Vec<PeerName> {
        vec![self.partner.clone()]
    }

    fn deadline(&self) -> Option<Instant> {
        self.ask_again
    }

    fn on_time(&mut self, cx: &mut ClientCx) {
        self.ask_again = None;
        self.join(cx);
    }
}

fn refused(reason: &str) -> Message {
    let text = reason.into();
    match reason {
        "sender-already-exists" | "viewer-already-exists" => Message::Refused { why: Refused::RoleTaken, text },
        _ => Message::Error { text },
    }
}

/// Decodes a message from the server to a client in `room`.
fn read(text: &str, room: &RoomName) -> Message {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        room: Option<Cow<'a, str>>,
        #[serde(borrow)]
        client_id: Option<Cow<'a, str>>,
        #[serde(borrow)]
        sdp: Option<&'a RawValue>,
        // `null` is a valid candidate too: it marks the end of candidates.
        #[serde(borrow, default)]
        candidate: Option<&'a RawValue>,
        #[serde(borrow)]
        reason: Option<Cow<'a, str>>,
    }
    let Ok(wire) = serde_json::from_str::<Wire<'_>>(text) else { return Message::Unknown };
    match &*wire.r#type {
        "joined" => match (wire.room, wire.client_id) {
            (Some(room), Some(id)) => Message::Admitted { room: room.into(), id: id.into() },
            _ => Message::Unknown,
        },
        "viewer-ready" => Message::PartnerReady { room: room.clone() },
        "viewer-left" | "sender-left" => Message::PartnerLeft { room: room.clone() },
        "offer" => wire::signal(room, None, SignalKind::Offer, wire.sdp),
        "answer" => wire::signal(room, None, SignalKind::Answer, wire.sdp),
        "ice-candidate" => wire::signal(room, None, SignalKind::IceCandidate, wire.candidate),
        "error" => wire.reason.map_or(Message::Unknown, |reason| refused(&reason)),
        _ => Message::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_read_by_its_meaning() {
        let read = |text| read(text, &"r".into());
        let signal =
            |kind, payload: &str| Message::Signal { room: "r".into(), peer: None, kind, payload: payload.into() };
        assert_eq!(
            read(r#"{"type":"joined","role":"viewer","room":"r","clientId":"pj5ksv0o"}"#),
            Message::Admitted { room: "r".into(), id: "pj5ksv0o".into() }
        );
        assert_eq!(read(r#"{"type":"viewer-ready"}"#), Message::PartnerReady { room: "r".into() });
        assert_eq!(read(r#"{"type":"sender-left"}"#), Message::PartnerLeft { room: "r".into() });
        assert_eq!(read(r#"{"type":"offer","sdp":{"z":1,"a":1.0}}"#), signal(SignalKind::Offer, r#"{"z":1,"a":1.0}"#));
        assert_eq!(read(r#"{"type":"ice-candidate","candidate":null}"#), signal(SignalKind::IceCandidate, "null"));
        assert_eq!(read(r#"{"type":"error","reason":"no-peer"}"#), Message::Error { text: "no-peer".into() });
        for taken in ["sender-already-exists", "viewer-already-exists"] {
            let refused = Message::Refused { why: Refused::RoleTaken, text: taken.into() };
            let text = format!(r#"{{"type":"error","reason":"{taken}"}}"#);
            assert_eq!(super::read(&text, &"r".into()), refused);
        }
        for text in ["", "null", "{}", r#"{"type":"zzz"}"#, r#"{"type":"joined"}"#, r#"{"type":1}"#] {
            assert_eq!(read(text), Message::Unknown, "{text}");
        }
    }
}
