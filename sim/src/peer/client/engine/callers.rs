//! Users with names, who call each other.
//!
//! The caller sends an offer when its call is accepted. Two points are not in the protocols' documents: a user whose
//! name is taken (by its own ghost, for example) asks for it again, and a call ends with the signaling connection,
//! because the server ends it too.

use std::collections::BTreeSet;
use std::sync::Arc;

use dialect::{EventName, Operation, Reading};
use scenarios::MediaKind;

use super::Engine;
use crate::event::{CallStep, ClientId, ClientState, Closed, Member, Message, PeerName, Refused, SignalKind};
use crate::peer::client::Command;
use crate::peer::client::codec::Args;
use crate::peer::client::cx::ClientCx;
use crate::peer::client::speaker::Speaker;
use crate::peer::client::step::NoEffect;
use crate::peer::negotiation::OutgoingSignal;

/// The state of a user's call, with the other user's name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CallState {
    Idle,
    /// The user has called another, who has not answered yet.
    Calling(ClientId),
    /// The user is being called. The second value is the session that the call came with, as JSON.
    Ringing(ClientId, Option<Arc<str>>),
    InCall(ClientId),
}

impl CallState {
    fn peer(&self) -> Option<&ClientId> {
        match self {
            Self::Idle => None,
            Self::Calling(peer) | Self::Ringing(peer, _) | Self::InCall(peer) => Some(peer),
        }
    }
}

/// A user.
pub(super) struct User {
    speaker: Speaker,
    call: CallState,
    /// Whether both users called at once, so that this user's own call accepted the other's.
    was_glare: bool,
    /// The other users, once it has joined.
    others: Option<BTreeSet<ClientId>>,
    /// Whether the next offer is sent without regard to the call; below, the same for the answer.
    offers_by_name: bool,
    answers_by_name: bool,
}

impl User {
    pub(super) fn new(speaker: Speaker) -> Self {
        Self {
            speaker,
            call: CallState::Idle,
            was_glare: false,
            others: None,
            offers_by_name: false,
            answers_by_name: false,
        }
    }

    fn set(&mut self, call: CallState, cx: &mut ClientCx) {
        cx.enter(match &call {
            CallState::Idle => ClientState::Idle,
            CallState::Calling(_) => ClientState::Calling,
            CallState::Ringing(..) => ClientState::Ringing,
            CallState::InCall(_) => ClientState::InCall,
        });
        self.call = call;
        self.was_glare = false;
    }

    /// Sends a step of a call. `session` is the one that the call came with.
    fn step(&mut self, peer: &ClientId, step: CallStep, session: Option<&str>, cx: &mut ClientCx) {
        let (operation, media) = match step {
            CallStep::Ring => (Operation::Call, None),
            CallStep::Accept => (Operation::Accept, None),
            CallStep::Reject | CallStep::Busy => (Operation::Reject, None),
            CallStep::End => (Operation::End, None),
            CallStep::Media { kind, enabled } => (Operation::Media, Some((kind, enabled))),
        };
        let args = Args { to: Some(peer), session, media, ..Args::default() };
        self.speaker.send(operation, &args, Message::Call { peer: peer.clone(), step }, cx);
    }

    /// Ends the call, whichever side ended it.
    fn end(&mut self, why: Closed, cx: &mut ClientCx) {
        if let Some(peer) = self.call.peer().cloned() {
            cx.end(&peer.into(), why);
        }
        (self.offers_by_name, self.answers_by_name) = (false, false);
        self.set(CallState::Idle, cx);
    }

    fn hang_up(&mut self, cx: &mut ClientCx) {
        if let Some(peer) = self.call.peer().cloned() {
            self.step(&peer, CallStep::End, None, cx);
            self.end(Closed::Hangup, cx);
        }
    }

    fn call(&mut self, name: &Arc<str>, cx: &mut ClientCx) -> Result<(), NoEffect> {
        match &self.call {
            // Before its own join is answered, a user does not know who is there.
            CallState::Idle if self.others.is_none() => Err("it has not joined"),
            CallState::Idle => {
                let callee = ClientId::from(name.clone());
                self.step(&callee, CallStep::Ring, None, cx);
                self.set(CallState::Calling(callee), cx);
                Ok(())
            }
            // Calling the user who is calling accepts the call.
            CallState::Ringing(caller, _) if **caller == **name => self.accept(cx),
            _ => Err("it is already in a call"),
        }
    }

    fn accept(&mut self, cx: &mut ClientCx) -> Result<(), NoEffect> {
        let CallState::Ringing(caller, session) = self.call.clone() else { return Err("nobody is calling it") };
        self.step(&caller, CallStep::Accept, session.as_deref(), cx);
        self.set(CallState::InCall(caller), cx);
        Ok(())
    }

    fn reject(&mut self, cx: &mut ClientCx) -> Result<(), NoEffect> {
        let CallState::Ringing(caller, session) = self.call.clone() else { return Err("nobody is calling it") };
        self.step(&caller, CallStep::Reject, session.as_deref(), cx);
        self.set(CallState::Idle, cx);
        Ok(())
    }

    /// Sends an offer to the other user in the call, by name if the dialect has that.
    fn offer(&mut self, name: &Arc<str>, cx: &mut ClientCx) -> Result<(), NoEffect> {
        let peer = ClientId::from(name.clone());
        if self.call != CallState::InCall(peer.clone()) {
            return Err("it is not in a call with that user");
        }
        let before = std::mem::replace(
            &mut self.offers_by_name,
            cx.is_webrtc() && self.speaker.codec.has(Operation::OfferByName),
        );
        let outcome = cx.renegotiate(&peer.into());
        if outcome.is_err() {
            self.offers_by_name = before;
        }
        outcome
    }

    /// Handles the list of users. The first list answers the client's own join; later ones show who came and who left.
    fn on_list(&mut self, names: Vec<ClientId>, cx: &mut ClientCx) {
        let own = ClientId::from(cx.config.name.clone());
        let is_listed = names.contains(&own);
        let now_there: BTreeSet<_> = names.into_iter().filter(|name| *name != own).collect();
        let member = |name: &ClientId| Member { id: name.clone(), name: Some((**name).into()) };
        match self.others.take() {
            None if is_listed => {
                let roster = now_there.iter().map(member).collect();
                cx.received(&Message::Joined { room: cx.room(), id: own, roster });
                self.speaker.stop_asking();
                cx.set_signaling(true);
                self.others = Some(now_there);
            }
            // The server may also send the list to clients that have not joined.
            None => cx.received(&Message::Unknown),
            Some(before) => {
                for gone in before.difference(&now_there) {
                    cx.received(&Message::PeerLeft { room: cx.room(), id: gone.clone() });
                }
                for new in now_there.difference(&before) {
                    cx.received(&Message::PeerJoined { room: cx.room(), member: member(new) });
                }
                self.others = Some(now_there);
            }
        }
    }

    fn on_step(&mut self, peer: ClientId, step: CallStep, session: Option<Arc<str>>, cx: &mut ClientCx) {
        match (step, self.call.clone()) {
            (CallStep::Ring, CallState::Idle) => self.set(CallState::Ringing(peer, session), cx),
            // Call glare: the server treats the later call as the acceptance of the earlier one, and notifies only the
            // first caller.
            (CallStep::Ring, CallState::Calling(called)) if called == peer => {
                self.set(CallState::InCall(peer), cx);
                self.was_glare = true;
            }
            // A correct server does not let a call ring at a user who is not free.
            (CallStep::Ring, _) => {
                self.step(&peer, CallStep::Reject, session.as_deref(), cx);
            }
            (CallStep::Accept, CallState::Calling(called)) if called == peer => {
                self.set(CallState::InCall(peer.clone()), cx);
                cx.offer(&peer.into());
            }
            (CallStep::Reject | CallStep::Busy, CallState::Calling(called)) if called == peer => {
                self.end(Closed::RemoteHangup, cx);
            }
            (CallStep::End, call) if call.peer() == Some(&peer) => {
                if self.was_glare {
                    // The other user may have hung up before this user's own call arrived there. That call would still
                    // be ringing.
                    self.step(&peer, CallStep::End, None, cx);
                }
                self.end(Closed::RemoteHangup, cx);
            }
            _ => {}
        }
    }

    fn on_signal(&mut self, from: &ClientId, kind: SignalKind, payload: &str, by_name: bool, cx: &mut ClientCx) {
        if self.call != CallState::InCall(from.clone()) {
            // The signal belongs to a call that is over on this side.
            return;
        }
        if kind == SignalKind::Offer {
            self.answers_by_name = by_name;
        }
        cx.on_signal(&from.clone().into(), kind, payload);
    }

    fn on_error(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        let message = self.speaker.codec.error_in(reading);
        cx.received(&message);
        match message {
            Message::Refused { why: Refused::NameTaken, .. } => self.speaker.ask_again(cx),
            Message::Refused { why: Refused::NoSuchUser | Refused::Busy, .. } => {
                if let CallState::Calling(_) = self.call {
                    self.end(Closed::RemoteHangup, cx);
                }
            }
            _ => {}
        }
    }
}

impl Engine for User {
    fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    fn speaker_mut(&mut self) -> &mut Speaker {
        &mut self.speaker
    }

    fn join(&mut self, cx: &mut ClientCx) {
        self.speaker.send(Operation::Join, &Args::default(), Message::Join { room: cx.room() }, cx);
    }

    fn on_lost(&mut self, _is_over: bool, cx: &mut ClientCx) {
        self.speaker.lost();
        self.others = None;
        self.end(Closed::SignalingLost, cx);
    }

    fn on_message(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx) {
        let codec = &mut self.speaker.codec;
        let from = codec.id_in(reading, "from");
        let step = match reading.event() {
            EventName::Roster => {
                let members = codec.members(reading).unwrap_or_default();
                return self.on_list(members.into_iter().map(|member| member.id).collect(), cx);
            }
            EventName::Signal | EventName::Description => {
                let message = codec.signal_in(reading).unwrap_or(Message::Unknown);
                cx.received(&message);
                if let Message::Signal { peer: Some(from), kind, payload, .. } = message {
                    self.on_signal(&from, kind, &payload, reading.event() == EventName::Description, cx);
                }
                return;
            }
            EventName::Error => return self.on_error(reading, cx),
            EventName::Ringing => Some(CallStep::Ring),
            EventName::Answered => {
                let is_busy = codec.file().calls.busy.as_deref() == reading.text("reason").as_deref();
                match reading.accepted() {
                    Some(true) => Some(CallStep::Accept),
                    Some(false) if is_busy && reading.json("reason").is_some() => Some(CallStep::Busy),
                    _ => Some(CallStep::Reject),
                }
            }
            EventName::Ended => Some(CallStep::End),
            EventName::Media => media(reading),
            _ => return,
        };
        let Some((peer, step)) = from.zip(step) else { return cx.received(&Message::Unknown) };
        cx.received(&Message::Call { peer: peer.clone(), step });
        self.on_step(peer, step, reading.json("session").map(Arc::from), cx);
    }

    fn send_signal(&mut self, signal: OutgoingSignal, cx: &mut ClientCx) {
        let Some(to) = signal.to.id().filter(|to| self.call == CallState::InCall((*to).clone())).cloned() else {
            return;
        };
        let by_name = match signal.kind {
            SignalKind::Offer => std::mem::take(&mut self.offers_by_name).then_some(Operation::OfferByName),
            SignalKind::Answer => std::mem::take(&mut self.answers_by_name).then_some(Operation::AnswerByName),
            SignalKind::IceCandidate => None,
            // The end of a call would end it for the users, but after a failed connection the client only sends a new
            // offer.
            SignalKind::Hangup => return,
        };
        let Some(operation) = by_name else { return self.speaker.signal(signal, cx) };
        let OutgoingSignal { kind, payload, .. } = signal;
        let args = Args { to: Some(&to), data: Some(&payload), ..Args::default() };
        let message = Message::Signal { room: cx.room(), peer: Some(to.clone()), kind, payload: payload.clone() };
        self.speaker.send(operation, &args, message, cx);
    }

    fn known_as(&self, name: &str, _cx: &ClientCx) -> Vec<PeerName> {
        self.call.peer().filter(|peer| &***peer == name).cloned().map(PeerName::from).into_iter().collect()
    }

    fn on_command(&mut self, command: &Command, cx: &mut ClientCx) -> Result<(), NoEffect> {
        match command {
            Command::Call(name) => self.call(name, cx),
            Command::Accept => self.accept(cx),
            Command::Reject => self.reject(cx),
            Command::Offer(name) => self.offer(name, cx),
            Command::Hangup(name) => {
                if self.call.peer().is_none_or(|peer| **peer != **name) {
                    return Err("there is no call between them");
                }
                self.hang_up(cx);
                Ok(())
            }
            Command::Media(kind, enabled) => {
                let Some(peer) = self.call.peer().cloned() else { return Err("it is not in a call") };
                self.step(&peer, CallStep::Media { kind: *kind, enabled: *enabled }, None, cx);
                Ok(())
            }
            _ => Err("its role cannot do that"),
        }
    }

    fn leave(&mut self, cx: &mut ClientCx) {
        self.hang_up(cx);
    }
}

/// The media that the other user has turned on or off.
fn media(reading: &Reading<'_, '_>) -> Option<CallStep> {
    let named = reading.text("media")?;
    let kind = [MediaKind::Video, MediaKind::Audio].into_iter().find(|kind| named == kind.name())?;
    Some(CallStep::Media { kind, enabled: reading.flag("enabled")? })
}
