//! The client side of the `call` dialect: a user with a name who calls others and is called.
//!
//! The caller sends an offer when its call is accepted. Two points are not in the protocol's documents: a user whose
//! name is taken (by its own ghost, for example) asks for it again, and a call ends with the signaling connection,
//! because the server ends it too.

mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::event::{CallStep, ClientId, ClientState, Closed, Member, Message, PeerName, Refused, SignalKind};
use crate::peer::client::cx::ClientCx;
use crate::peer::client::step::NoEffect;
use crate::peer::client::{ASK_AGAIN, Command, Dialect};
use crate::peer::negotiation::OutgoingSignal;
use wire::Incoming;

/// The state of a user's call, with the other user's name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CallState {
    Idle,
    /// The user has called another, who has not answered yet.
    Calling(ClientId),
    /// The user is being called. The second value identifies the caller's connection.
    Ringing(ClientId, Arc<str>),
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

/// A user of the `call` dialect.
pub(super) struct User {
    call: CallState,
    /// Whether both users called at once, so that this user's own call accepted the other's.
    was_glare: bool,
    /// The other users, once it has joined.
    others: Option<BTreeSet<ClientId>>,
    /// When to ask to join again, after a refusal.
    ask_again: Option<Instant>,
    /// Whether the next offer is sent as a named message, `video-offer`; below, the same for the answer:
    /// `video-answer`.
    offers_video: bool,
    answers_video: bool,
}

impl User {
    pub(super) fn new() -> Self {
        Self {
            call: CallState::Idle,
            was_glare: false,
            others: None,
            ask_again: None,
            offers_video: false,
            answers_video: false,
        }
    }

    fn join(&self, cx: &mut ClientCx) {
        cx.send(wire::join(&cx.config.name), Message::Join { room: cx.room() });
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

    fn step(cx: &mut ClientCx, peer: &ClientId, step: CallStep, text: String) {
        cx.send(text, Message::Call { peer: peer.clone(), step });
    }

    /// Ends the call, whichever side ended it.
    fn end(&mut self, why: Closed, cx: &mut ClientCx) {
        if let Some(peer) = self.call.peer().cloned() {
            cx.end(&peer.into(), why);
        }
        (self.offers_video, self.answers_video) = (false, false);
        self.set(CallState::Idle, cx);
    }

    fn hang_up(&mut self, cx: &mut ClientCx) {
        if let Some(peer) = self.call.peer().cloned() {
            Self::step(cx, &peer, CallStep::End, wire::end_call(&peer));
            self.end(Closed::Hangup, cx);
        }
    }

    fn call(&mut self, name: &Arc<str>, cx: &mut ClientCx) -> Result<(), NoEffect> {
        match &self.call {
            // Before its own join is answered, a user does not know who is there.
            CallState::Idle if self.others.is_none() => Err("it has not joined"),
            CallState::Idle => {
                let callee = ClientId::from(name.clone());
                Self::step(cx, &callee, CallStep::Ring, wire::call(name));
                self.set(CallState::Calling(callee), cx);
                Ok(())
            }
            // Calling the user who is calling accepts the call.
            CallState::Ringing(caller, _) if **caller == **name => self.accept(cx),
            _ => Err("it is already in a call"),
        }
    }

    fn accept(&mut self, cx: &mut ClientCx) -> Result<(), NoEffect> {
        let CallState::Ringing(caller, id) = self.call.clone() else { return Err("nobody is calling it") };
        Self::step(cx, &caller, CallStep::Accept, wire::call_response(true, &caller, &id));
        self.set(CallState::InCall(caller), cx);
        Ok(())
    }

    fn reject(&mut self, cx: &mut ClientCx) -> Result<(), NoEffect> {
        let CallState::Ringing(caller, id) = self.call.clone() else { return Err("nobody is calling it") };
        Self::step(cx, &caller, CallStep::Reject, wire::call_response(false, &caller, &id));
        self.set(CallState::Idle, cx);
        Ok(())
    }

    /// Sends a `video-offer` to the other user in the call.
    fn offer(&mut self, name: &Arc<str>, cx: &mut ClientCx) -> Result<(), NoEffect> {
        let peer = ClientId::from(name.clone());
        if self.call != CallState::InCall(peer.clone()) {
            return Err("it is not in a call with that user");
        }
        let before = std::mem::replace(&mut self.offers_video, cx.is_webrtc());
        let outcome = cx.renegotiate(&peer.into());
        if outcome.is_err() {
            self.offers_video = before;
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
                self.ask_again = None;
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

    fn on_step(&mut self, peer: ClientId, step: CallStep, caller_id: Arc<str>, cx: &mut ClientCx) {
        match (step, self.call.clone()) {
            (CallStep::Ring, CallState::Idle) => self.set(CallState::Ringing(peer, caller_id), cx),
            // Call glare: the server treats the later call as the acceptance of the earlier one, and notifies only the
            // first caller.
            (CallStep::Ring, CallState::Calling(called)) if called == peer => {
                self.set(CallState::InCall(peer), cx);
                self.was_glare = true;
            }
            // A correct server does not let a call ring at a user who is not free.
            (CallStep::Ring, _) => {
                Self::step(cx, &peer, CallStep::Reject, wire::call_response(false, &peer, &caller_id));
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
                    Self::step(cx, &peer, CallStep::End, wire::end_call(&peer));
                }
                self.end(Closed::RemoteHangup, cx);
            }
            _ => {}
        }
    }

    fn on_signal(&mut self, from: &ClientId, kind: SignalKind, payload: &str, is_video: bool, cx: &mut ClientCx) {
        if self.call != CallState::InCall(from.clone()) {
            // The signal belongs to a call that is over on this side.
            return;
        }
        if kind == SignalKind::Offer {
            self.answers_video = is_video;
        }
        cx.on_signal(&from.clone().into(), kind, payload);
    }
}

impl Dialect for User {
    fn path(&self, _room: &str) -> String {
        "/".to_owned()
    }

    fn on_connected(&mut self, cx: &mut ClientCx) {
        self.join(cx);
    }

    fn on_lost(&mut self, _is_over: bool, cx: &mut ClientCx) {
        (self.others, self.ask_again) = (None, None);
        self.end(Closed::SignalingLost, cx);
    }

    fn on_text(&mut self, text: &str, cx: &mut ClientCx) {
        match wire::read(text, &cx.room()) {
            Incoming::List(names) => self.on_list(names, cx),
            Incoming::Step { peer, step, caller_id } => {
                cx.received(&Message::Call { peer: peer.clone(), step });
                self.on_step(peer, step, caller_id, cx);
            }
            Incoming::Signal { message, is_video } => {
                cx.received(&message);
                if let Message::Signal { peer: Some(from), kind, payload, .. } = message {
                    self.on_signal(&from, kind, &payload, is_video, cx);
                }
            }
            Incoming::Other(message) => {
                cx.received(&message);
                match &message {
                    Message::Refused { why: Refused::NameTaken, .. } => {
                        self.ask_again = Some(cx.now() + ASK_AGAIN);
                    }
                    Message::Refused { why: Refused::NoSuchUser, .. } => {
                        if let CallState::Calling(_) = self.call {
                            self.end(Closed::RemoteHangup, cx);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn send_signal(&mut self, OutgoingSignal { to, kind, payload }: OutgoingSignal, cx: &mut ClientCx) {
        let Some(to) = to.id().filter(|to| self.call == CallState::InCall((*to).clone())).cloned() else { return };
        let is_video = match kind {
            SignalKind::Offer => std::mem::take(&mut self.offers_video),
            SignalKind::Answer => std::mem::take(&mut self.answers_video),
            SignalKind::IceCandidate => false,
            // `endCall` would end the whole call, but after a failed connection the client only sends a new offer.
            SignalKind::Hangup => return,
        };
        let text = match is_video {
            true => wire::description(kind, &cx.config.name, &to, &payload),
            false => wire::signal(kind, &to, &payload),
        };
        cx.send(text, Message::Signal { room: cx.room(), peer: Some(to), kind, payload });
    }

    fn known_as(&self, name: &str) -> Vec<PeerName> {
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
                let Some(peer) = self.call.peer() else { return Err("it is not in a call") };
                let text = wire::media_state_change(peer, *kind, *enabled);
                Self::step(cx, peer, CallStep::Media { kind: *kind, enabled: *enabled }, text);
                Ok(())
            }
            _ => Err("its role cannot do that"),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.ask_again
    }

    fn on_time(&mut self, cx: &mut ClientCx) {
        self.ask_again = None;
        self.join(cx);
    }

    fn leave(&mut self, cx: &mut ClientCx) {
        self.hang_up(cx);
    }
}
