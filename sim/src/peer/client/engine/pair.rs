//! Two clients with different roles: one offers as soon as the other is there, and the other answers.
//!
//! A sender is INIT → WAITING (joined) → ACTIVE (a viewer is ready) → WAITING (the viewer left). A viewer is INIT →
//! ACTIVE (an offer arrived) → WAITING (the sender left). Either is in ERROR while another client holds its role, and
//! after it has stopped dialling. When it loses its signaling connection, it returns to INIT.

use dialect::{EventName, Operation, Reading};
use scenarios::Role;

use super::Engine;
use crate::event::{ClientState, Closed, Message, PeerName, SignalKind};
use crate::peer::client::codec::Args;
use crate::peer::client::cx::ClientCx;
use crate::peer::client::speaker::Speaker;

/// A client that is a sender or a viewer.
pub(super) struct Pair {
    speaker: Speaker,
    role: Role,
    /// The name that the negotiation uses for the other side, because the dialect has no ids.
    partner: PeerName,
}

impl Pair {
    pub(super) fn new(speaker: Speaker, role: Role) -> Self {
        let partner = if role == Role::Sender { Role::Viewer } else { Role::Sender };
        Self { speaker, role, partner: PeerName::Role(partner) }
    }

    fn admitted(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        let codec = &mut self.speaker.codec;
        let (room, id) = (codec.room_in(reading), codec.own_id().unwrap_or_else(|| self.role.name().into()));
        cx.received(&Message::Admitted { room, id });
        self.speaker.stop_asking();
        cx.end(&self.partner, Closed::Replaced);
        cx.set_signaling(true);
        cx.enter(if self.role == Role::Sender { ClientState::Waiting } else { ClientState::Init });
    }

    /// The other side is there.
    fn partner_ready(&mut self, cx: &mut ClientCx) {
        cx.received(&Message::PartnerReady { room: cx.room() });
        if self.role == Role::Sender {
            cx.enter(ClientState::Active);
            // A viewer that is ready again has no state of the earlier connection.
            cx.end(&self.partner, Closed::Replaced);
            cx.offer(&self.partner);
        }
    }
}

impl Engine for Pair {
    fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    fn speaker_mut(&mut self) -> &mut Speaker {
        &mut self.speaker
    }

    fn join(&mut self, cx: &mut ClientCx) {
        let message = Message::Join { room: cx.room() };
        self.speaker.send(Operation::Join, &Args::default(), message, cx);
    }

    fn on_lost(&mut self, is_over: bool, cx: &mut ClientCx) {
        self.speaker.lost();
        cx.enter(if is_over { ClientState::Error } else { ClientState::Init });
    }

    fn on_message(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        match reading.event() {
            EventName::Joined => self.admitted(reading, cx),
            EventName::Ready | EventName::MemberJoined => self.partner_ready(cx),
            EventName::MemberLeft => {
                cx.received(&Message::PartnerLeft { room: cx.room() });
                cx.enter(ClientState::Waiting);
                cx.end(&self.partner, Closed::PeerLeft);
            }
            EventName::Signal => {
                let message = self.speaker.codec.signal_in(reading).unwrap_or(Message::Unknown);
                cx.received(&message);
                let Message::Signal { kind, payload, .. } = message else { return };
                if (self.role, kind) == (Role::Viewer, SignalKind::Offer) {
                    cx.enter(ClientState::Active);
                }
                self.speaker.take_signal(&self.partner, kind, &payload, cx);
            }
            EventName::Error => {
                let message = self.speaker.codec.error_in(reading);
                cx.received(&message);
                if let Message::Refused { .. } = message {
                    cx.enter(ClientState::Error);
                    self.speaker.ask_again(cx);
                }
            }
            _ => {}
        }
    }

    fn known_as(&self, _name: &str, _cx: &ClientCx) -> Vec<PeerName> {
        vec![self.partner.clone()]
    }
}
